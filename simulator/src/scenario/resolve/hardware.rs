//! A model on a GPU: how fast, and with how much KV cache.

use optimizer::step_time::StepTime;

use super::Resolver;
use super::model::Facts;
use crate::catalog::{
    Deployment, Evidence, Gpu, KvCacheDtype, PROFILE_BLOCK_SIZE, Profile, served,
};
use crate::document::FieldPath;
use crate::engine::step_time::Plant;
use crate::scenario::file::{StepTimeFile, VariantFile};

/// A model on the GPUs of one replica.
#[derive(Debug)]
pub(super) struct Hardware {
    /// The time of a step.
    pub(super) plant: Plant,
    /// KV blocks of [`PROFILE_BLOCK_SIZE`] tokens, where the file does not say how many.
    pub(super) num_gpu_blocks: Option<u32>,
    /// What the catalog says of the plant, in the optimizer's terms.
    pub(super) profile: Option<StepTime>,
}

impl Resolver<'_> {
    /// How fast the model runs on the GPU: as the file says, or else as the catalog does.
    pub(super) fn hardware(
        &mut self,
        at: &FieldPath,
        file: &VariantFile,
        gpu: &Gpu,
        facts: Facts<'_>,
    ) -> Option<Hardware> {
        let key = ["tensorParallel", "precision", "stepTime"];
        if key.iter().any(|field| self.guesses.cover(&at.key(*field))) {
            return None;
        }
        let VariantFile { accelerator, tensor_parallel, precision, .. } = file;
        let profile = facts.catalog.profile(facts.name, accelerator, *tensor_parallel, *precision);
        let plant = match &file.step_time {
            Some(StepTimeFile::Roofline) => return self.estimated(at, file, gpu, facts),
            Some(StepTimeFile::Linear(linear)) => Some(Plant::Linear(*linear)),
            Some(StepTimeFile::Hinge(hinge)) => Some(Plant::Hinge(*hinge)),
            None => None,
        };
        self.check_kv_cache_dtype(at, file);
        let Some(profile) = profile else {
            if let (Some(plant), Some(_)) = (&plant, file.engine.num_gpu_blocks) {
                return Some(Hardware {
                    plant: plant.clone(),
                    num_gpu_blocks: None,
                    profile: None,
                });
            }
            self.note_no_profile(at, file, facts);
            return None;
        };
        if plant.is_none() {
            self.note_weak_evidence(file, profile);
        }
        let believed = plant.is_none().then(|| belief(&profile.step_time)).flatten();
        let plant = plant.unwrap_or_else(|| profile.served(facts.architecture, is_async(file)));
        let num_gpu_blocks = Some(profile.num_gpu_blocks);
        Some(Hardware { plant, num_gpu_blocks, profile: believed })
    }

    /// What the data sheet and the architecture let one expect.
    fn estimated(
        &mut self,
        at: &FieldPath,
        file: &VariantFile,
        gpu: &Gpu,
        facts: Facts<'_>,
    ) -> Option<Hardware> {
        let Some(data_sheet) = &gpu.data_sheet else {
            let message = "expected a GPU with a data sheet, which a roofline needs";
            let problem = self.document.problem(&at.key("accelerator"), message);
            self.note_problem(problem.with_help("give its dataSheet in a catalog"));
            return None;
        };
        let Some(architecture) = facts.architecture else {
            let message =
                format!("expected a model whose architecture is known, not {}", facts.name);
            let problem = self.document.problem(&at.key("stepTime"), message);
            self.note_problem(problem.with_help("name its config.json with modelConfig"));
            return None;
        };
        if let Err(message) = architecture.check_division(file.tensor_parallel) {
            self.note(&at.key("tensorParallel"), message);
            return None;
        }
        let deployment = Deployment {
            architecture,
            gpu: data_sheet,
            tensor_parallel: file.tensor_parallel,
            precision: file.precision,
            kv_cache_dtype: file.engine.kv_cache_dtype,
        };
        let num_gpu_blocks =
            match (file.engine.num_gpu_blocks, deployment.num_gpu_blocks(PROFILE_BLOCK_SIZE)) {
                (Some(_), _) => None,
                (None, Ok(blocks)) => Some(blocks),
                (None, Err(error)) => {
                    let message = format!("expected GPUs on which the model fits: {error}");
                    let problem = self.document.problem(&at.key("accelerator"), message);
                    self.note_problem(
                        problem.with_help("raise tensorParallel, or lower precision"),
                    );
                    return None;
                }
            };
        self.notes.push(format!(
            "{}: the step times are estimated from the data sheet of {}, not measured",
            file.name, file.accelerator
        ));
        let roofline = Plant::Roofline(deployment.roofline());
        let plant = served(roofline, architecture, is_async(file));
        Some(Hardware { plant, num_gpu_blocks, profile: None })
    }

    fn check_kv_cache_dtype(&mut self, at: &FieldPath, file: &VariantFile) {
        let given = file.step_time.is_some() && file.engine.num_gpu_blocks.is_some();
        if file.engine.kv_cache_dtype != KvCacheDtype::Auto && !given {
            let message = "expected auto, because profiles are of 16-bit caches";
            let problem = self.document.problem(&at.key("engine").key("kvCacheDtype"), message);
            self.note_problem(problem.with_help("give stepTime: roofline for an estimate"));
        }
    }

    fn note_weak_evidence(&mut self, file: &VariantFile, profile: &Profile) {
        if profile.evidence == Some(Evidence::D) {
            self.notes.push(format!(
                "{}: the step times of {profile} are known to an order of magnitude only",
                file.name
            ));
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
        let known = match known.as_slice() {
            [] => String::new(),
            known => format!("there are profiles for {}; or ", known.join(", ")),
        };
        let help = format!(
            "{known}give stepTime: roofline for an estimate, or a stepTime and engine.numGpuBlocks \
             of your own"
        );
        let problem = self.document.problem(&at.key("accelerator"), message);
        self.note_problem(problem.with_help(help));
    }
}

/// A profile as an operator would have it: the catalog's numbers as they stand, in the linear form
/// that the optimizer reckons with. The plant may differ from it, by what a server of today does
/// otherwise and by the bends of prefill; a real GPU differs from its profile, too. `None` for an
/// estimate, which is no measurement that somebody could have.
fn belief(measured: &Plant) -> Option<StepTime> {
    match measured {
        Plant::Linear(linear) => Some(StepTime {
            overhead: linear.base,
            per_prompt_token: linear.per_prefill_token,
            per_sequence: linear.per_decode_sequence,
            per_context_token: linear.per_context_token,
        }),
        Plant::Hinge(hinge) => Some(StepTime {
            overhead: hinge.base,
            per_prompt_token: hinge.per_prefill_token,
            per_sequence: hinge.per_decode_sequence,
            per_context_token: hinge.per_context_token,
        }),
        Plant::Roofline(_) | Plant::Served(_) => None,
    }
}

/// Whether the engine schedules asynchronously.
fn is_async(file: &VariantFile) -> bool {
    file.engine.async_scheduling.unwrap_or(true)
}
