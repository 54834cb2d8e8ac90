//! One way of serving a model.

use optimizer::id::Namespace;
use optimizer::observation::Bounds;
use optimizer::units::{Gpus, HourlyCost};

use super::Resolver;
use super::hardware::Hardware;
use super::model::Facts;
use super::traffic::ShortestPrompt;
use crate::catalog::{Catalog, Gpu};
use crate::document::FieldPath;
use crate::engine::EngineArgs;
use crate::scenario::file::{ReplicasFile, VariantFile};
use crate::setup::VariantSetup;

/// What a variant takes from its model.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The position of the model.
    pub(super) model: usize,
    pub(super) namespace: &'a Namespace,
    pub(super) catalog: Option<&'a Catalog>,
    pub(super) facts: Option<Facts<'a>>,
    pub(super) shortest_prompts: &'a [ShortestPrompt],
}

impl Resolver<'_> {
    pub(super) fn variant(
        &mut self,
        at: &FieldPath,
        file: &VariantFile,
        surroundings: &Surroundings<'_>,
    ) -> Option<VariantSetup> {
        if !self.names.insert((surroundings.namespace.clone(), file.name.clone())) {
            let message = format!("expected a name once in namespace {}", surroundings.namespace);
            self.note(&at.key("name"), message);
        }
        self.check_replicas(&at.key("replicas"), &file.replicas);
        let gpu = self.gpu(at, file, surroundings.catalog?)?;
        let facts = surroundings.facts?;
        let Hardware { plant, num_gpu_blocks } = self.hardware(at, file, gpu, facts)?;
        let args = self.engine_args(&at.key("engine"), &file.engine, gpu, facts, num_gpu_blocks)?;
        self.check_prompts_fit(file, &args, surroundings.shortest_prompts);
        let data_parallel = file.engine.data_parallel_size.unwrap_or(1);
        let gpus = file.tensor_parallel.saturating_mul(data_parallel);
        let price = gpu.price_per_hour.value() * f64::from(gpus);
        let Some(cost) = file.hourly_cost.or(HourlyCost::checked(price)) else {
            self.note(
                &at.key("hourlyCost"),
                "expected a cost, because that of the GPUs is endless",
            );
            return None;
        };
        Some(VariantSetup {
            variant: file.name.clone(),
            model: surroundings.model,
            accelerator: file.accelerator.clone(),
            gpus_per_replica: Gpus::new(gpus),
            cost,
            bounds: Bounds { min: file.replicas.min, max: file.replicas.max },
            initial: file.replicas.initial(),
            cold_start: file.cold_start,
            drain_timeout: file.drain_timeout,
            engine: self.engine(&at.key("engine"), args)?,
            data_parallel,
            plant,
        })
    }

    /// The kind of GPU, and enough of them.
    fn gpu<'c>(
        &mut self,
        at: &FieldPath,
        file: &VariantFile,
        catalog: &'c Catalog,
    ) -> Option<&'c Gpu> {
        let enough = file.tensor_parallel > 0;
        if !enough {
            self.note(&at.key("tensorParallel"), "expected at least 1");
        }
        let gpu = catalog.gpu(&file.accelerator);
        if gpu.is_none() {
            let known: Vec<_> = catalog.gpu_names().map(str::to_owned).collect();
            self.note_problem(self.document.unknown_name(&at.key("accelerator"), &known));
        }
        gpu.filter(|_| enough)
    }

    fn check_replicas(&mut self, at: &FieldPath, file: &ReplicasFile) {
        if self.guesses.cover(at) {
            return;
        }
        let ReplicasFile { min, max, .. } = *file;
        let initial = file.initial();
        match max {
            Some(max) if max.get() == 0 => self.note(&at.key("max"), "expected at least 1"),
            Some(max) if max < min => {
                self.note(&at.key("max"), format!("expected at least min, which is {min}"));
            }
            Some(max) if max < initial => {
                let message = format!("expected at most max, which is {max}");
                self.note(&at.key("initial"), message);
            }
            _ if initial < min => {
                let message = format!("expected at least min, which is {min}");
                self.note(&at.key("initial"), message);
            }
            _ => {}
        }
    }

    /// A prompt that does not fit is rejected, which is a result; a run in which none fits is a
    /// mistake.
    fn check_prompts_fit(
        &mut self,
        file: &VariantFile,
        args: &EngineArgs,
        shortest: &[ShortestPrompt],
    ) {
        let context = u64::from(args.max_model_len);
        for ShortestPrompt { tokens, at } in shortest {
            if tokens.get() < context {
                continue;
            }
            let message = format!(
                "expected a prompt that fits the context of {}, which is {context} tokens; the \
                 shortest has {tokens}",
                file.name
            );
            self.note(at, message);
        }
    }
}
