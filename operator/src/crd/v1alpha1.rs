//! `llmd.ai/v1alpha1`: what the API server stores.
//!
//! These are wire types. Numbers that the API carries as strings stay strings here, and a field
//! with a closed set of values is a string too: one object that was stored before a rule existed
//! must not make a list of all objects unreadable. The schema refuses such a value when it is
//! written, and [`convert`](super::convert) refuses it, by field, when it is read.
//!
//! The fields are those of the Workload Variant Autoscaler's 0.4 releases, so its objects work
//! unchanged. `minReplicas`, `maxReplicas`, `slo` and `shadow` are additions and optional.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The variant's model, the workload that serves it, and what a replica costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::duplicated_attributes, reason = "each printer column repeats its keys")]
#[kube(
    group = "llmd.ai",
    version = "v1alpha1",
    kind = "VariantAutoscaling",
    plural = "variantautoscalings",
    singular = "variantautoscaling",
    shortname = "va",
    namespaced,
    status = "VariantAutoscalingStatus",
    derive = "PartialEq",
    doc = "One way of serving a model, a workload on one kind of accelerator, and how far to scale it.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.scaleTargetRef.name"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.modelID"),
    printcolumn(
        name = "Accelerator",
        type_ = "string",
        json_path = ".status.currentAlloc.accelerator"
    ),
    printcolumn(
        name = "CurrentReplicas",
        type_ = "integer",
        json_path = ".status.currentAlloc.numReplicas"
    ),
    printcolumn(
        name = "Optimized",
        type_ = "string",
        json_path = ".status.desiredOptimizedAlloc.numReplicas"
    ),
    printcolumn(
        name = "MetricsReady",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='MetricsAvailable')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "message": "minReplicas must not be above maxReplicas",
}]))]
pub struct VariantAutoscalingSpec {
    /// The model that the servers offer, as requests name it.
    #[serde(rename = "modelID")]
    #[schemars(length(min = 1))]
    pub model_id: String,

    /// The workload whose replicas serve the model.
    pub scale_target_ref: ScaleTargetRef,

    /// What a replica costs, in any unit that all variants share.
    #[serde(default = "default_variant_cost")]
    #[schemars(regex(pattern = r"^\d+(\.\d+)?$"))]
    pub variant_cost: String,

    /// How fast the model runs on each accelerator, where this is known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_profile: Option<ModelProfile>,

    /// Fewest replicas; 1 if absent. Zero allows scaling to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_replicas: Option<i32>,

    /// Most replicas; without limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,

    /// Latency targets of this variant's model, instead of those of its service class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<LatencyTargets>,

    /// Decide and report, but change nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// A reference to the workload that is scaled, in the same namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTargetRef {
    /// The workload's API group and version. Absent, the kind's own: `apps/v1` or
    /// `leaderworkerset.x-k8s.io/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub api_version: Option<String>,

    /// The workload's kind.
    #[schemars(extend("enum" = ["Deployment", "StatefulSet", "LeaderWorkerSet"]))]
    pub kind: String,

    /// The workload's name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// How a model performs on the accelerators that may run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelProfile {
    /// One entry for each accelerator.
    #[schemars(length(min = 1))]
    pub accelerators: Vec<AcceleratorProfile>,
}

/// How a model performs on one accelerator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorProfile {
    /// The accelerator's name, such as `H100`.
    #[schemars(length(min = 1))]
    pub acc: String,

    /// Accelerators that one replica takes.
    #[schemars(range(min = 1))]
    pub acc_count: i32,

    /// Most requests in one batch.
    #[schemars(range(min = 1))]
    pub max_batch_size: i32,

    /// Coefficients of the latency model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perf_parms: Option<PerfParms>,
}

/// Coefficients of the linear latency model, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerfParms {
    /// `alpha` and `beta`: a decode step at batch size n takes alpha + beta·n.
    #[schemars(extend("minProperties" = 1))]
    pub decode_parms: BTreeMap<String, String>,

    /// `gamma` and `delta`: a prefill of t tokens at batch size n takes gamma + delta·t·n.
    #[schemars(extend("minProperties" = 1))]
    pub prefill_parms: BTreeMap<String, String>,
}

/// Latency targets, each a duration with its unit, such as `150ms` or `2s`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyTargets {
    /// Time to first token, from the arrival of the request.
    #[schemars(with = "Seconds")]
    pub ttft: String,

    /// Time per output token after the first.
    #[schemars(with = "Seconds")]
    pub tpot: String,
}

/// What the operator saw, decided and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariantAutoscalingStatus {
    /// What runs now, and how it performs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_alloc: Option<CurrentAlloc>,

    /// What should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_optimized_alloc: Option<OptimizedAlloc>,

    /// Whether the decision was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actuation: Option<Actuation>,

    /// One condition of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What runs now. The decimal strings have two places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAlloc {
    /// The accelerator in use.
    #[schemars(length(min = 1))]
    pub accelerator: String,

    /// Replicas that exist.
    #[schemars(range(min = 0))]
    pub num_replicas: i32,

    /// Most requests in one batch.
    #[schemars(range(min = 0))]
    pub max_batch: i32,

    /// Cost of all replicas, in the unit of the spec's `variantCost`.
    #[schemars(regex(pattern = r"^\d+(\.\d+)?$"))]
    pub variant_cost: String,

    /// Mean gap between output tokens, in milliseconds.
    #[schemars(regex(pattern = r"^\d+(\.\d+)?$"))]
    pub itl_average: String,

    /// Mean time to first token, in milliseconds.
    #[schemars(regex(pattern = r"^\d+(\.\d+)?$"))]
    pub ttft_average: String,

    /// The traffic.
    pub load: Load,
}

/// The traffic at a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Arrivals, in requests per minute.
    pub arrival_rate: String,

    /// Mean prompt length, in tokens.
    pub avg_input_tokens: String,

    /// Mean output length, in tokens.
    pub avg_output_tokens: String,
}

/// What the optimizer wants to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptimizedAlloc {
    /// When this was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_time: Option<Time>,

    /// The accelerator to run on.
    #[schemars(length(min = 2))]
    pub accelerator: String,

    /// Replicas to run.
    #[schemars(range(min = 0))]
    pub num_replicas: i32,
}

/// Whether the decision was carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Actuation {
    /// The decision is in force: published, or written to the workload.
    pub applied: bool,
}

fn default_variant_cost() -> String {
    "10.0".to_owned()
}
