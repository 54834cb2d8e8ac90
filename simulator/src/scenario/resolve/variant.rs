//! One way of serving a model.

use std::num::NonZeroU32;

use optimizer::id::Namespace;
use optimizer::observation::{self, Bounds};
use optimizer::units::{Gpus, HourlyCost, Tokens};

use super::Resolver;
use super::hardware::Hardware;
use super::model::Facts;
use super::traffic::ShortestPrompt;
use crate::catalog::{Catalog, Gpu};
use crate::document::FieldPath;
use crate::engine::EngineArgs;
use crate::scenario::file::{ReplicasFile, VariantFile};
use crate::setup::{Knowledge, VariantSetup};

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
        let Hardware { plant, num_gpu_blocks, profile } = self.hardware(at, file, gpu, facts)?;
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
        let known = Knowledge {
            engine: told(file, &args, data_parallel),
            profile: profile.filter(|_| file.knows_profile),
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
            known,
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

/// The engine's settings as the controller reads them off a pod. The size of the cache is nothing
/// that stands there: it is known with the profile.
fn told(file: &VariantFile, args: &EngineArgs, data_parallel: u32) -> observation::EngineConfig {
    let count = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let held = args.kv_capacity_tokens() * u64::from(data_parallel);
    observation::EngineConfig {
        max_batched_tokens: Tokens::new(args.max_num_batched_tokens.into()),
        max_sequences: count(args.max_num_seqs),
        max_model_len: Some(Tokens::new(args.max_model_len.into())),
        block_size: Tokens::new(args.block_size.into()),
        tensor_parallel: count(file.tensor_parallel),
        kv_cache_dtype: file.engine.kv_cache_dtype.as_str().to_owned(),
        num_blocks: file.engine.num_gpu_blocks,
        kv_capacity: file.knows_profile.then_some(Tokens::new(held)),
        ..observation::EngineConfig::default()
    }
}
