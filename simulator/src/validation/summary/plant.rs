//! How fast the server of a run is, from the catalog alone.

use std::fmt;

use optimizer::id::AcceleratorId;

use super::{ServerArgs, SummaryError, SummaryRun};
use crate::catalog::{
    Catalog, DataSheet, Deployment, Evidence, KvCacheDtype, Precision, Profile, served,
};
use crate::engine::step_time::{Batch, Experts, Linear, Matrices, Plant, Roofline};
use crate::engine::{EngineArgs, EngineConfig, StepTime, Ticks};

/// The plant of a run, and the engine arguments that go with it.
#[derive(Debug, Clone)]
pub struct SummaryPlant {
    /// The kind of GPU, by its name in the catalog.
    pub gpu: String,
    /// The model, by its name in the catalog.
    pub model: String,
    /// The time of a step.
    pub step_time: Plant,
    /// What the engine starts with.
    pub engine: EngineConfig,
    /// Where the step time comes from.
    pub source: PlantSource,
}

/// Where a step time comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PlantSource {
    /// A profile of the model on the GPU.
    Profile(Option<Evidence>),
    /// The roofline, corrected by what the profile of another model on the same GPUs is beside its
    /// own roofline.
    Alike {
        /// The other model.
        model: String,
    },
    /// The roofline as it is.
    Roofline,
}

impl fmt::Display for PlantSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(Some(evidence)) => write!(f, "profile, evidence {evidence:?}"),
            Self::Profile(None) => f.write_str("profile"),
            Self::Alike { model } => {
                write!(f, "roofline: no profile to trust; corrected as {model}'s is")
            }
            Self::Roofline => f.write_str("roofline: no profile"),
        }
    }
}

/// The number format that a run calls `name`.
pub(super) fn precision(name: &str) -> Option<Precision> {
    match name.to_lowercase().as_str() {
        "fp16" | "bf16" | "float16" | "bfloat16" | "auto" => Some(Precision::Bf16),
        "fp8" => Some(Precision::Fp8),
        "mxfp4" => Some(Precision::Mxfp4),
        _ => None,
    }
}

/// As vLLM does by default since 0.14.
const ASYNC_SCHEDULING: bool = EngineArgs::DEFAULT.async_scheduling;

/// The plant of `run`: a profile, or else a roofline.
///
/// # Errors
///
/// When the catalog knows neither, or no engine starts with the run's arguments.
pub fn plant(run: &SummaryRun, catalog: &Catalog) -> Result<SummaryPlant, SummaryError> {
    let unknown = |what: String| SummaryError::Skipped(what);
    let gpu = gpu(&run.gpu, catalog)
        .ok_or_else(|| unknown(format!("the GPU {} is not in the catalog", run.gpu)))?;
    let model = model(&run.model, catalog)
        .ok_or_else(|| unknown(format!("the model {} is not in the catalog", run.model)))?;
    let known = catalog.model(model).and_then(|(_, model)| model.architecture.as_ref());
    let sheet = catalog.gpu(&gpu).and_then(|gpu| gpu.data_sheet.as_ref());
    let ServerArgs { tensor_parallel, precision, .. } = run.server;
    let deployment = known.zip(sheet).map(|(architecture, gpu)| Deployment {
        architecture,
        gpu,
        tensor_parallel,
        precision,
        kv_cache_dtype: KvCacheDtype::Auto,
    });
    let profile = catalog.profile(model, &gpu, tensor_parallel, precision);
    let sound = profile.filter(|profile| is_sound(profile) || deployment.is_none());
    let (step_time, source) = match (sound, &deployment) {
        (Some(profile), _) => {
            (profile.served(known, ASYNC_SCHEDULING), PlantSource::Profile(profile.evidence))
        }
        (None, Some(deployment)) => {
            let (plant, source) = estimate(deployment, &gpu, catalog);
            (served(plant, deployment.architecture, ASYNC_SCHEDULING), source)
        }
        (None, None) => {
            let message = format!(
                "{model} on {gpu} has no profile, and the catalog lacks the model's architecture \
                 or the GPU's data sheet, from which one could be estimated"
            );
            return Err(unknown(message));
        }
    };
    let num_gpu_blocks = match (run.server.num_gpu_blocks, &deployment, profile) {
        (Some(blocks), ..) => blocks,
        (None, Some(deployment), _) => blocks(deployment, &run.server)?,
        (None, None, Some(profile)) => profile.num_gpu_blocks,
        (None, None, None) => 0,
    };
    let engine = EngineArgs {
        max_num_batched_tokens: run.server.max_num_batched_tokens,
        max_num_seqs: run.server.max_num_seqs,
        max_model_len: run.server.max_model_len,
        num_gpu_blocks,
        ..EngineArgs::DEFAULT
    };
    let (gpu, model) = (gpu.to_string(), model.to_owned());
    Ok(SummaryPlant { gpu, model, step_time, engine: engine.try_into()?, source })
}

/// The GPU that runs call `name`: the catalog leaves out how much memory the larger kind has.
fn gpu(name: &str, catalog: &Catalog) -> Option<AcceleratorId> {
    let short = name.strip_suffix("-80GB").unwrap_or(name);
    [name, short].into_iter().find_map(|name| {
        let id: AcceleratorId = name.parse().ok()?;
        catalog.gpu(&id).map(|_| id)
    })
}

/// The model that runs call `name`: one with this name, or whose name in the catalog is the
/// beginning of it, of several the longest. What follows tells fine-tuned versions apart.
fn model<'a>(name: &str, catalog: &'a Catalog) -> Option<&'a str> {
    if let Some((canonical, _)) = catalog.model(name) {
        return Some(canonical);
    }
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let begins = |known: &&str| {
        let rest = name.strip_prefix(*known);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    catalog.canonical_model_names().filter(begins).max_by_key(|known| known.len())
}

/// KV blocks, of a server that may take another share of the memory than the catalog takes for
/// granted.
fn blocks(deployment: &Deployment<'_>, server: &ServerArgs) -> Result<u32, SummaryError> {
    let usual = ServerArgs::USUAL.gpu_memory_utilization;
    let memory_gib = deployment.gpu.memory_gib * server.gpu_memory_utilization / usual;
    let gpu = &DataSheet { memory_gib, ..*deployment.gpu };
    let blocks = Deployment { gpu, ..*deployment }.num_gpu_blocks(EngineArgs::DEFAULT.block_size);
    blocks.map_err(|error| SummaryError::Skipped(error.to_string()))
}

/// A plant for what has no profile, by likeness.
///
/// The roofline's efficiencies are the same for all GPUs, and some GPUs, and some numbers of them,
/// do better than others. By how much, the profile of another model on the same GPUs shows, beside
/// that model's own roofline. Of the dense models with a profile, the one whose weights are nearest
/// in size is taken.
fn estimate(
    deployment: &Deployment<'_>,
    gpu: &AcceleratorId,
    catalog: &Catalog,
) -> (Plant, PlantSource) {
    let roofline = deployment.roofline();
    let size = deployment.weight_bytes_per_gpu();
    let names = catalog.canonical_model_names();
    let profiles = names.flat_map(|name| catalog.profiles_of(name)).filter(|profile| {
        profile.gpu == *gpu
            && profile.tensor_parallel == deployment.tensor_parallel
            && profile.precision == deployment.precision
            && is_sound(profile)
    });
    let alike = profiles.filter_map(|profile| {
        let architecture = catalog.model(&profile.model)?.1.architecture.as_ref()?;
        let theirs = Deployment { architecture, ..*deployment };
        let Plant::Linear(linear) = profile.step_time else { return None };
        let distance = (theirs.weight_bytes_per_gpu() / size).ln().abs();
        architecture.experts.is_none().then(|| (distance, profile, linear, theirs.roofline()))
    });
    let Some((_, profile, linear, theirs)) = alike.min_by(|one, other| one.0.total_cmp(&other.0))
    else {
        return (Plant::Roofline(roofline), PlantSource::Roofline);
    };
    let (mine, theirs) = (coefficients(&roofline), coefficients(&theirs));
    let ratio: [f64; 4] = std::array::from_fn(|i| mine[i] / theirs[i]);
    let plant = if deployment.architecture.experts.is_some() {
        let factor = linear.base.value() / theirs[0];
        Plant::Roofline(with_faster_reads(&roofline, factor))
    } else {
        Plant::Linear(Linear {
            base: linear.base * ratio[0],
            per_prefill_token: linear.per_prefill_token * ratio[1],
            per_decode_sequence: linear.per_decode_sequence * ratio[2],
            per_context_token: linear.per_context_token * ratio[3],
        })
    };
    (plant, PlantSource::Alike { model: profile.model.clone() })
}

/// Whether a profile can be trusted more than an estimate.
fn is_sound(profile: &Profile) -> bool {
    profile.evidence != Some(Evidence::D)
}

/// What a plant takes for a step, a prompt token, a decoding sequence and a token of its context,
/// in seconds.
fn coefficients(plant: &Roofline) -> [f64; 4] {
    let decode = |sequences: u32, tokens: u32| {
        let mut batch = Batch::default();
        (0..sequences).for_each(|_| batch.add_decode(tokens));
        plant.step_time(&batch).as_seconds().value()
    };
    let prefill = |tokens: u32| {
        let mut batch = Batch::default();
        batch.add_prefill(tokens, 0);
        plant.step_time(&batch).as_seconds().value()
    };
    [
        decode(1, 1),
        (prefill(2048) - prefill(1024)) / 1024.0,
        (decode(65, 1) - decode(1, 1)) / 64.0,
        (decode(64, 1025) - decode(64, 1)) / (64.0 * 1024.0),
    ]
}

/// `roofline` with everything that a step takes at least, times `factor`.
fn with_faster_reads(roofline: &Roofline, factor: f64) -> Roofline {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let times = |ticks: Ticks| Ticks::new((ticks.get() as f64 * factor).round() as u64);
    let matrices = |part: Matrices| Matrices { read: times(part.read), ..part };
    Roofline {
        base: times(roofline.base),
        dense: matrices(roofline.dense),
        experts: roofline.experts.map(|experts| Experts { read: times(experts.read), ..experts }),
        head: matrices(roofline.head),
        ..roofline.clone()
    }
}
