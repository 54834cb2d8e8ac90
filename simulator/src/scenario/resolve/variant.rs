//! One way of serving a model.

use optimizer::id::Namespace;
use optimizer::observation::Bounds;
use optimizer::units::{Gpus, HourlyCost};

use super::Resolver;
use super::model::Facts;
use super::traffic::ShortestPrompt;
use crate::catalog::{Evidence, Gpu, PROFILE_BLOCK_SIZE, Profile};
use crate::document::FieldPath;
use crate::engine::{EngineArgs, EngineConfig, EngineConfigError};
use crate::scenario::file::{EngineFile, ReplicasFile, VariantFile};
use crate::setup::VariantSetup;

/// What a variant takes from its model.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The position of the model.
    pub(super) model: usize,
    pub(super) namespace: &'a Namespace,
    pub(super) facts: Option<Facts<'a>>,
    pub(super) shortest_prompt: Option<&'a ShortestPrompt>,
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
        if file.tensor_parallel == 0 {
            self.note(&at.key("tensorParallel"), "expected at least 1");
            return None;
        }

        let facts = surroundings.facts?;
        let Some(gpu) = facts.catalog.gpu(&file.accelerator) else {
            let known: Vec<_> = facts.catalog.gpu_names().map(str::to_owned).collect();
            self.note_problem(self.document.unknown_name(&at.key("accelerator"), &known));
            return None;
        };
        let profile = facts.catalog.profile(
            facts.name,
            &file.accelerator,
            file.tensor_parallel,
            file.precision,
        );
        if ["tensorParallel", "precision", "stepTime"]
            .iter()
            .any(|f| self.guesses.cover(&at.key(*f)))
        {
            return None;
        }
        let needs_profile = file.step_time.is_none() || file.engine.num_gpu_blocks.is_none();
        if needs_profile && profile.is_none() {
            self.note_no_profile(at, file, facts);
            return None;
        }
        let plant = file.step_time.clone().or_else(|| Some(profile?.step_time.clone()))?;
        let args = self.engine(&at.key("engine"), &file.engine, gpu, facts, profile)?;
        self.check_prompts_fit(file, &args, surroundings.shortest_prompt);
        if needs_profile && profile.is_some_and(|p| p.evidence == Some(Evidence::D)) {
            self.notes.push(format!(
                "{}: the step times of {} are known to an order of magnitude only",
                file.name, profile?,
            ));
        }
        let engine = self.start(&at.key("engine"), args)?;
        let price = gpu.price_per_hour.value() * f64::from(file.tensor_parallel);
        Some(VariantSetup {
            variant: file.name.clone(),
            model: surroundings.model,
            accelerator: file.accelerator.clone(),
            gpus_per_replica: Gpus::new(file.tensor_parallel),
            cost: file.hourly_cost.unwrap_or(HourlyCost::new(price)),
            bounds: Bounds { min: file.replicas.min, max: file.replicas.max },
            initial: file.replicas.initial(),
            cold_start: file.cold_start,
            drain_timeout: file.drain_timeout,
            engine,
            plant,
        })
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

    fn note_no_profile(&mut self, at: &FieldPath, file: &VariantFile, facts: Facts<'_>) {
        let VariantFile { accelerator, tensor_parallel, precision, .. } = file;
        let message = format!(
            "expected a pair with a profile, and there is none for {} on {accelerator} with tensor \
             parallelism {tensor_parallel} in {precision}",
            facts.name
        );
        let known: Vec<_> = facts
            .catalog
            .profiles_of(facts.name)
            .map(|p| format!("{} ×{} {}", p.gpu, p.tensor_parallel, p.precision))
            .collect();
        let help = format!(
            "there are profiles for {}; or give stepTime and engine.numGpuBlocks",
            known.join(", ")
        );
        let problem = self.document.problem(&at.key("accelerator"), message);
        self.note_problem(problem.with_help(help));
    }

    /// The engine arguments, with the defaults that vLLM would find.
    fn engine(
        &mut self,
        at: &FieldPath,
        file: &EngineFile,
        gpu: &Gpu,
        facts: Facts<'_>,
        profile: Option<&Profile>,
    ) -> Option<EngineArgs> {
        if self.guesses.cover(at) {
            return None;
        }
        let known = self.problems.len();
        for (name, value, least) in [
            ("maxNumSeqs", file.max_num_seqs, 1),
            ("maxNumBatchedTokens", file.max_num_batched_tokens, 1),
            ("maxModelLen", file.max_model_len, 1),
            ("blockSize", file.block_size, 1),
            // One of them is the null block.
            ("numGpuBlocks", file.num_gpu_blocks, 2),
        ] {
            if value.is_some_and(|value| value < least) {
                self.note(&at.key(name), format!("expected at least {least}"));
            }
        }
        if file.max_model_len.is_some_and(|len| len > facts.max_model_len) {
            let message = format!("expected at most {}, the model's context", facts.max_model_len);
            self.note(&at.key("maxModelLen"), message);
        }
        if self.problems.len() > known {
            return None;
        }

        let block_size = file.block_size.unwrap_or(PROFILE_BLOCK_SIZE);
        let profiled = || Some(profile?.num_gpu_blocks * PROFILE_BLOCK_SIZE / block_size);
        let num_gpu_blocks = file.num_gpu_blocks.or_else(profiled)?;
        let mut args = EngineArgs {
            max_num_batched_tokens: gpu.max_num_batched_tokens,
            max_num_seqs: gpu.max_num_seqs,
            max_model_len: facts.max_model_len,
            block_size,
            num_gpu_blocks,
        };
        let held = u32::try_from(args.kv_capacity_tokens()).unwrap_or(u32::MAX);
        args.max_model_len = file.max_model_len.unwrap_or(facts.max_model_len.min(held));
        // Of a pair of limits, a default gives way to what is given: a step never needs more
        // tokens than all sequences have, nor more sequences than it computes tokens.
        let seqs = file.max_num_seqs.unwrap_or(args.max_num_seqs);
        let useful = seqs.saturating_mul(args.max_model_len);
        args.max_num_batched_tokens =
            file.max_num_batched_tokens.unwrap_or(args.max_num_batched_tokens.min(useful));
        args.max_num_seqs = file.max_num_seqs.unwrap_or(seqs.min(args.max_num_batched_tokens));
        Some(args)
    }

    fn start(&mut self, at: &FieldPath, args: EngineArgs) -> Option<EngineConfig> {
        let error = match EngineConfig::try_from(args) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let (field, message) = match error {
            EngineConfigError::Zero(name) => (name, "expected at least 1".to_owned()),
            EngineConfigError::BudgetBelowSequences { budget, .. } => {
                ("maxNumSeqs", format!("expected at most maxNumBatchedTokens, which is {budget}"))
            }
            EngineConfigError::ContextBeyondCache { capacity, .. } => (
                "maxModelLen",
                format!("expected at most the {capacity} tokens that the KV cache holds"),
            ),
        };
        self.note(&at.key(field), message);
        None
    }

    /// A prompt that does not fit is rejected, which is a result; a run in which none fits is a
    /// mistake.
    fn check_prompts_fit(
        &mut self,
        file: &VariantFile,
        args: &EngineArgs,
        shortest: Option<&ShortestPrompt>,
    ) {
        let Some(ShortestPrompt { tokens, at }) = shortest else { return };
        let context = u64::from(args.max_model_len);
        if tokens.get() >= context {
            let message = format!(
                "expected a prompt that fits the context of {}, which is {context} tokens; the \
                 shortest has {tokens}",
                file.name
            );
            self.note(at, message);
        }
    }
}
