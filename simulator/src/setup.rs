//! A run as it is meant: everything resolved, checked and in typed units.
//!
//! A scenario file says what differs from the defaults; this is what it comes to. The world is built
//! from a [`Setup`] and never sees the file.

use optimizer::Policy;
use optimizer::id::{AcceleratorId, ModelId, Namespace, VariantId};
use optimizer::observation::{self, Bounds, Inventory};
use optimizer::slo::Slo;
use optimizer::step_time::StepTime;
use optimizer::units::{Gpus, HourlyCost, Replicas, Seconds};

use crate::autoscaling::Actuation;
use crate::engine::EngineConfig;
use crate::engine::step_time::Plant;
use crate::workload::Workload;

/// One run.
#[derive(Debug)]
pub struct Setup {
    /// The scenario's name.
    pub name: String,
    /// The seed that the workloads were built from.
    pub seed: u64,
    /// The models and their traffic.
    pub models: Vec<ModelSetup>,
    /// The variants of all models.
    pub variants: Vec<VariantSetup>,
    /// The GPUs that there are, of which `used` counts those that others hold; `None` where nothing
    /// limits them.
    pub inventory: Option<Inventory>,
    /// How the fleet is watched and moved.
    pub control: ControlSetup,
    /// How replica counts are decided.
    pub policy: Policy,
    /// The run lasts at least this long; requests that arrive later are left out.
    pub duration: Option<Seconds>,
    /// The run ends this long after the last arrival, whatever is still in flight.
    pub drain_limit: Seconds,
    /// The time between samples of the recorded series; in a very long run, at first.
    pub sample_interval: Seconds,
    /// Whether percentiles are exact, however many requests come.
    pub exact_percentiles: bool,
}

/// A model and those who use it.
#[derive(Debug)]
pub struct ModelSetup {
    /// The model.
    pub model: ModelId,
    /// Its namespace.
    pub namespace: Namespace,
    /// What its users are promised.
    pub slo: Slo,
    /// The requests to come.
    pub workload: Workload,
}

/// One way of serving a model.
#[derive(Debug, Clone)]
pub struct VariantSetup {
    /// The variant.
    pub variant: VariantId,
    /// Its model, as a position in [`Setup::models`].
    pub model: usize,
    /// The kind of GPU.
    pub accelerator: AcceleratorId,
    /// GPUs of one replica.
    pub gpus_per_replica: Gpus,
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// How few and how many replicas the controller may ask for.
    pub bounds: Bounds,
    /// Replicas that are ready when the run begins.
    pub initial: Replicas,
    /// From the creation of a replica until it takes requests.
    pub cold_start: Seconds,
    /// How long a removed replica may finish its requests before they fail.
    pub drain_timeout: Seconds,
    /// The engine arguments.
    pub engine: EngineConfig,
    /// Engines of one replica, at least 1.
    pub data_parallel: u32,
    /// The hardware.
    pub plant: Plant,
    /// What the controller is told of it.
    pub known: Knowledge,
}

/// What the controller is told of a variant's servers, besides what they report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Knowledge {
    /// How they are configured.
    pub engine: observation::EngineConfig,
    /// How long a step takes, as somebody once measured.
    pub profile: Option<StepTime>,
}

/// How the fleet is watched and moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlSetup {
    /// The time between two scrapes of a replica.
    pub scrape_interval: Seconds,
    /// How old a sample is when it can first be queried.
    pub scrape_lag: Seconds,
    /// Gauges are read as their maximum, counters as their growth over this window.
    pub window: Seconds,
    /// How far back requests count as recent.
    pub retention: Seconds,
    /// The time between two steps of the controller.
    pub interval: Seconds,
    /// From a decision until the cluster acts on it.
    pub actuation_delay: Seconds,
    /// Who carries a decision out.
    pub actuation: Actuation,
}
