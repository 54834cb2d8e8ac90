//! What a person writes.
//!
//! The documentation of these fields is what editors show: it goes into the JSON Schema.

mod traffic;

use optimizer::Policy;
use std::collections::BTreeMap;

use optimizer::id::{AcceleratorId, ModelId, Namespace, VariantId};
use optimizer::observation::Quota;
use optimizer::slo::Slo;
use optimizer::units::{Fraction, Gpus, HourlyCost, Replicas, Seconds};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::autoscaling::Actuation;
use crate::catalog::{KvCacheDtype, Precision};
use crate::engine::SchedulingPolicy;
use crate::engine::step_time::{Hinge, Linear};

pub(super) use traffic::{
    ClassFile, ClientFile, GeneratedFile, PresetName, TraceFile, TrafficFile,
};

/// A run of the simulator: which models are served how, by whom they are used, and how the
/// controller watches and scales them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "Plimsoll scenario")]
pub(super) struct ScenarioFile {
    /// The name of the run, and of the folder of its results. Letters, digits, `-`, `_` and `.`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub(super) name: String,
    /// What the run is to show, in a sentence or two.
    #[serde(default)]
    pub(super) description: String,
    /// The seed of all that is random. Default: 1.
    #[serde(default = "default_seed")]
    pub(super) seed: u64,
    /// Requests arrive for this long, and the run lasts no shorter. Without it, the run follows
    /// its traces to their end. Needed for generated traffic, which has no end of its own.
    #[serde(default)]
    pub(super) duration: Option<Seconds>,
    /// How long after the last arrival the run waits for requests in flight. Default: 30m.
    #[serde(default = "default_drain_limit")]
    pub(super) drain_limit: Seconds,
    /// A catalog file whose GPUs, models and profiles are added to the built-in ones, or take their
    /// place. Its path is relative to the scenario.
    #[serde(default)]
    pub(super) catalog: Option<String>,
    /// How replica counts are decided. Without this and `policyFile`, the default policy holds.
    #[serde(default)]
    pub(super) policy: Option<Policy>,
    /// A policy file, in place of `policy`. Its path is relative to the scenario.
    #[serde(default)]
    pub(super) policy_file: Option<String>,
    /// The models that are served.
    #[schemars(length(min = 1))]
    pub(super) models: Vec<ModelFile>,
    /// The GPUs that there are. A replica waits for free ones. Without it, each finds its GPUs.
    #[serde(default)]
    pub(super) inventory: Option<InventoryFile>,
    /// How the fleet is watched and moved.
    #[serde(default)]
    pub(super) control: ControlFile,
    /// The time between two samples of the recorded series. Default: 10s.
    #[serde(default = "default_sample_interval")]
    pub(super) sample_interval: Seconds,
    /// Whether percentiles are exact however long the run. Without it they are exact up to 2^20
    /// values of each latency of a model, and beyond that within 0.1 %. Default: false.
    #[serde(default)]
    pub(super) exact_percentiles: bool,
}

/// The GPUs that there are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct InventoryFile {
    /// By kind of GPU. Every kind that a variant uses has to be listed.
    pub(super) gpus: BTreeMap<AcceleratorId, GpuPoolFile>,
    /// Limits besides, which the controller is told of. The cluster itself does not enforce them.
    #[serde(default)]
    pub(super) quotas: Vec<Quota>,
}

/// The GPUs of one kind.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GpuPoolFile {
    /// All that there are.
    pub(super) total: Gpus,
    /// What others than this scenario's replicas hold, all the time. Default: 0.
    #[serde(default)]
    pub(super) used: Gpus,
}

/// A model, its users and its servers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ModelFile {
    /// The model, by its name in the catalog or by an alias, such as
    /// `meta-llama/Llama-3.1-8B-Instruct`.
    pub(super) model: ModelId,
    /// The model's Hugging Face `config.json`, for a model that the catalog lacks; its path is
    /// relative to the scenario. It takes the place of what the catalog knows of the model, so its
    /// variants need a `stepTime`.
    #[serde(default)]
    pub(super) model_config: Option<String>,
    /// The namespace in which it runs. Default: `default`.
    #[serde(default = "default_namespace")]
    pub(super) namespace: Namespace,
    /// The latency targets of a request.
    pub(super) slo: Slo,
    /// Service classes of requests, which clients name. Without a class, a request has priority 0
    /// and the targets of the model.
    #[serde(default)]
    pub(super) classes: Vec<ClassFile>,
    /// The requests that arrive.
    pub(super) traffic: TrafficFile,
    /// The ways in which the model is served.
    #[schemars(length(min = 1))]
    pub(super) variants: Vec<VariantFile>,
}

/// One way of serving a model, scaled as a unit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct VariantFile {
    /// Its name, unique in its namespace.
    pub(super) name: VariantId,
    /// The kind of GPU, by its name in the catalog, such as H100, A100 or L40S.
    pub(super) accelerator: AcceleratorId,
    /// GPUs over which one replica is split. Default: 1.
    #[serde(default = "default_tensor_parallel")]
    #[schemars(range(min = 1))]
    pub(super) tensor_parallel: u32,
    /// The number format of the weights. Default: `bf16`.
    #[serde(default)]
    pub(super) precision: Precision,
    /// How many replicas there are at first, at least and at most.
    #[serde(default)]
    pub(super) replicas: ReplicasFile,
    /// The cost of one replica. Default: the catalog's price of its GPUs.
    #[serde(default)]
    pub(super) hourly_cost: Option<HourlyCost>,
    /// From the creation of a replica until it takes requests. Default: 2m.
    #[serde(default = "default_cold_start")]
    pub(super) cold_start: Seconds,
    /// How long a replica that is removed may finish its requests before they fail. Default: 10m.
    #[serde(default = "default_drain_timeout")]
    pub(super) drain_timeout: Seconds,
    /// Arguments of the vLLM engine.
    #[serde(default)]
    pub(super) engine: EngineFile,
    /// How long a step of the engine takes. Default: the catalog's profile of the model on the GPU.
    #[serde(default)]
    pub(super) step_time: Option<StepTimeFile>,
    /// Whether the controller is told beforehand how fast a replica is, by the catalog's profile, and
    /// how large its KV cache. A variant with a `stepTime` of its own has no profile to tell.
    /// Default: true.
    #[serde(default = "default_knows_profile")]
    pub(super) knows_profile: bool,
}

/// How long a step takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum StepTimeFile {
    /// Linear in tokens, sequences and context.
    Linear(Linear),
    /// Linear, with the bends of measured prefill.
    Hinge(Hinge),
    /// An estimate from the model's architecture and the GPU's data sheet, for pairs without a
    /// profile. The number of KV blocks is then an estimate as well.
    Roofline,
}

/// The range of a replica count.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ReplicasFile {
    /// Replicas that are ready when the run begins. Default: `min`.
    pub(super) initial: Option<Replicas>,
    /// The fewest that the controller may ask for. Default: 1.
    pub(super) min: Replicas,
    /// The most that the controller may ask for. Default: no limit.
    pub(super) max: Option<Replicas>,
}

impl ReplicasFile {
    /// Replicas that are ready when the run begins.
    pub(super) fn initial(&self) -> Replicas {
        self.initial.unwrap_or(self.min)
    }
}

impl Default for ReplicasFile {
    fn default() -> Self {
        Self { initial: None, min: Replicas::new(1), max: None }
    }
}

/// Engine arguments, by their names in vLLM.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct EngineFile {
    /// Sequences that run at once at most. Default: vLLM's for the GPU.
    #[schemars(range(min = 1))]
    pub(super) max_num_seqs: Option<u32>,
    /// Tokens that one step computes at most. Default: vLLM's for the GPU.
    #[schemars(range(min = 1))]
    pub(super) max_num_batched_tokens: Option<u32>,
    /// Prompt and output tokens of one request at most. Default: what the model knows and the KV
    /// cache holds, as vLLM's `auto`.
    #[schemars(range(min = 1))]
    pub(super) max_model_len: Option<u32>,
    /// Tokens of one KV block. Default: 16.
    #[schemars(range(min = 1))]
    pub(super) block_size: Option<u32>,
    /// KV blocks. Default: the catalog's profile, or an estimate with `stepTime: roofline`.
    #[schemars(range(min = 1))]
    pub(super) num_gpu_blocks: Option<u32>,
    /// Whether the next step is decided while one is under way. Default: true, as in vLLM.
    pub(super) async_scheduling: Option<bool>,
    /// Whether blocks keep what was computed for others that need the same. Default: true, as in
    /// vLLM.
    pub(super) enable_prefix_caching: Option<bool>,
    /// Who is served first: `fcfs` or `priority`. Default: `fcfs`.
    pub(super) scheduling_policy: SchedulingPolicy,
    /// Tokens that one sequence computes in a step at most, if there is another; 0 is no limit.
    /// Default: 0.
    pub(super) long_prefill_token_threshold: u32,
    /// The share of the KV blocks that an admission leaves free while others run. Default: 0.
    pub(super) watermark: Fraction,
    /// Requests in flight beyond which a replica answers 503. Default: no limit.
    #[schemars(range(min = 1))]
    pub(super) max_num_queued_reqs: Option<u32>,
    /// Prompt tokens of requests without a first token at which a replica answers 503. Default: no
    /// limit.
    #[schemars(range(min = 1))]
    pub(super) max_num_queued_tokens: Option<u64>,
    /// Engines behind the door of one replica, each with the GPUs that `tensorParallel` says.
    /// Default: 1.
    #[schemars(range(min = 1))]
    pub(super) data_parallel_size: Option<u32>,
    /// The number format of the KV cache: `auto` for 16 bits, or `fp8`, which profiles know nothing
    /// of and `stepTime: roofline` does. Default: `auto`.
    pub(super) kv_cache_dtype: KvCacheDtype,
}

/// How the fleet is watched and moved.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ControlFile {
    /// The time between two scrapes of a replica. Default: 15s.
    pub(super) scrape_interval: Seconds,
    /// How old a sample is when it can first be queried. Default: 0s.
    pub(super) scrape_lag: Seconds,
    /// Queue and KV use are read as their maximum over this time, counters as their growth. Default:
    /// 1m.
    pub(super) window: Seconds,
    /// How far back requests count as recent, for scaling to zero. Default: 10m.
    pub(super) retention: Seconds,
    /// The time between two decisions. Default: 30s.
    pub(super) interval: Seconds,
    /// From a decision until the cluster acts on it. Default: 1s.
    pub(super) actuation_delay: Seconds,
    /// Who carries a decision out. Default: direct.
    pub(super) actuation: Actuation,
}

impl Default for ControlFile {
    fn default() -> Self {
        Self {
            scrape_interval: Seconds::new(15.0),
            scrape_lag: Seconds::ZERO,
            window: Seconds::from_minutes(1.0),
            retention: Seconds::from_minutes(10.0),
            interval: Seconds::new(30.0),
            actuation_delay: Seconds::new(1.0),
            actuation: Actuation::Direct,
        }
    }
}

const fn default_seed() -> u64 {
    1
}

const fn default_drain_limit() -> Seconds {
    Seconds::from_minutes(30.0)
}

const fn default_sample_interval() -> Seconds {
    Seconds::new(10.0)
}

fn default_namespace() -> Namespace {
    "default".parse().expect("the name is not blank")
}

const fn default_tensor_parallel() -> u32 {
    1
}

const fn default_knows_profile() -> bool {
    true
}

const fn default_cold_start() -> Seconds {
    Seconds::from_minutes(2.0)
}

const fn default_drain_timeout() -> Seconds {
    Seconds::from_minutes(10.0)
}
