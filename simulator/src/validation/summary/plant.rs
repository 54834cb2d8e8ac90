//! How fast the server of a run is, from the catalog alone.

use std::fmt;

use optimizer::id::AcceleratorId;

use super::{ServerArgs, SummaryError, SummaryRun};
use crate::catalog::{
    Architecture, Catalog, DataSheet, Deployment, Evidence, KvCacheDtype, Precision, Profile,
};
use crate::engine::step_time::{Attention, Batch, Experts, Matrices, Plant, Roofline};
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
    /// The roofline, corrected by what the profile of another model on the same GPUs is above or
    /// below its own roofline.
    Scaled {
        /// The other model.
        like: String,
        /// The factor.
        factor: f64,
    },
    /// The roofline as it is.
    Roofline,
}

impl fmt::Display for PlantSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(Some(evidence)) => write!(f, "profile, evidence {evidence:?}"),
            Self::Profile(None) => f.write_str("profile"),
            Self::Scaled { like, factor } => {
                write!(f, "roofline: no profile; times {factor:.2}, as for {like}")
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
    let (step_time, source) = match (profile, &deployment) {
        (Some(profile), _) => (profile.step_time.clone(), PlantSource::Profile(profile.evidence)),
        (None, Some(deployment)) => estimate(deployment, &gpu, catalog),
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

/// A roofline, and the correction to it.
///
/// The roofline's efficiencies are the same for all GPUs, and some GPUs and some numbers of them do
/// better than others. The profiles of other models on the same GPUs show by how much; the one
/// whose weights are nearest in size is taken.
fn estimate(
    deployment: &Deployment<'_>,
    gpu: &AcceleratorId,
    catalog: &Catalog,
) -> (Plant, PlantSource) {
    let roofline = deployment.roofline();
    let size = deployment.weight_bytes_per_gpu();
    let distance = |profile: &Profile, architecture: &Architecture| {
        let other = Deployment { architecture, precision: profile.precision, ..*deployment };
        (other.weight_bytes_per_gpu() / size).ln().abs()
    };
    let routed = deployment.architecture.experts.is_some();
    let alike = catalog.canonical_model_names().flat_map(|name| catalog.profiles_of(name));
    let alike = alike.filter(|profile| {
        profile.gpu == *gpu && profile.tensor_parallel == deployment.tensor_parallel
    });
    let alike = alike.filter_map(|profile| {
        let architecture = catalog.model(&profile.model)?.1.architecture.as_ref()?;
        let same_kind = architecture.experts.is_some() == routed;
        same_kind.then(|| (distance(profile, architecture), profile, architecture))
    });
    let Some((_, profile, architecture)) = alike.min_by(|one, other| one.0.total_cmp(&other.0))
    else {
        return (Plant::Roofline(roofline), PlantSource::Roofline);
    };
    let theirs = Deployment { architecture, precision: profile.precision, ..*deployment };
    let factor = ratio(&profile.step_time, &theirs.roofline());
    let like = profile.model.clone();
    (Plant::Roofline(scaled(&roofline, factor)), PlantSource::Scaled { like, factor })
}

/// By how much a profile is slower than a roofline, over decode batches of usual sizes.
fn ratio(profile: &Plant, roofline: &Roofline) -> f64 {
    let logs = [1, 8, 32, 96].map(|sequences| {
        let mut batch = Batch::default();
        for _ in 0..sequences {
            batch.add_decode(700);
        }
        let [one, other] = [profile.step_time(&batch), roofline.step_time(&batch)];
        (one.get() as f64 / other.get() as f64).ln()
    });
    (logs.iter().sum::<f64>() / logs.len() as f64).exp()
}

/// Every part of `roofline`, times `factor`.
fn scaled(roofline: &Roofline, factor: f64) -> Roofline {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let times = |ticks: Ticks| Ticks::new((ticks.get() as f64 * factor).round() as u64);
    let matrices = |part: Matrices| Matrices { read: times(part.read), compute: times(part.compute) };
    Roofline {
        base: times(roofline.base),
        prefill_base: times(roofline.prefill_base),
        per_sequence: times(roofline.per_sequence),
        per_token: times(roofline.per_token),
        dense: matrices(roofline.dense),
        experts: roofline.experts.map(|experts| Experts {
            read: times(experts.read),
            compute: times(experts.compute),
            ..experts
        }),
        head: matrices(roofline.head),
        attention: roofline
            .attention
            .iter()
            .map(|group| Attention {
                window: group.window,
                per_prefill_pair: times(group.per_prefill_pair),
                per_prefill_context_token: times(group.per_prefill_context_token),
                per_context_token: times(group.per_context_token),
            })
            .collect(),
    }
}
