//! From the wire to the types that the rest of the operator trusts.
//!
//! This is the only place where a field's text is read. The API server has checked most of it
//! against the schema when the object was written, but an object may be older than the schema, so
//! each rule is checked again, and a [`Refusal`] names the field by its path.

use kube::ResourceExt as _;
use optimizer::id::{AcceleratorId, IdError, ModelId, Namespace, VariantId};
use optimizer::observation::Bounds;
use optimizer::slo::Slo;
use optimizer::units::{HourlyCost, ParseSecondsError, Replicas, Seconds};
use thiserror::Error;

use super::ACCELERATOR_LABEL;
use super::v1alpha1::{LatencyTargets, ScaleTargetRef, VariantAutoscaling, VariantAutoscalingSpec};

/// A `VariantAutoscaling`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The object's namespace.
    pub namespace: Namespace,
    /// The object's name.
    pub variant: VariantId,
    /// The model that the variant serves.
    pub model: ModelId,
    /// The kind of GPU that its replicas run on.
    pub accelerator: AcceleratorId,
    /// The workload to scale.
    pub target: ScaleTarget,
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// How few and how many replicas are allowed.
    pub bounds: Bounds,
    /// The object's own latency targets.
    pub slo: Option<Slo>,
    /// Whether to decide without acting.
    pub shadow: bool,
}

/// The workload whose replicas serve a variant, in the variant's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleTarget {
    /// Its kind.
    pub kind: ScaleTargetKind,
    /// Its API group and version, such as `apps/v1`.
    pub api_version: String,
    /// Its name.
    pub name: String,
}

/// The kinds of workload that can be scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScaleTargetKind {
    /// Interchangeable pods.
    Deployment,
    /// Pods with a stable identity.
    StatefulSet,
    /// Groups of pods; a replica is a group, and spans several nodes.
    LeaderWorkerSet,
}

/// Why an object cannot be used, as `spec.variantCost: expected ..., not "ten"`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct Refusal {
    /// The path of the field at fault.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// There is no such field, and nothing to put in its place.
    #[error("is missing")]
    Missing,
    /// Not a name.
    #[error(transparent)]
    Name(#[from] IdError),
    /// Not a cost.
    #[error("expected a decimal number such as \"10.0\", not {0:?}")]
    Cost(String),
    /// A kind of workload that cannot be scaled.
    #[error("expected Deployment, StatefulSet or LeaderWorkerSet, not {0:?}")]
    Kind(String),
    /// An API that does not serve the kind.
    #[error("{api_version:?} does not serve {kind}; it is in {}", .kind.api_version())]
    ApiVersion {
        /// The kind.
        kind: ScaleTargetKind,
        /// The API asked for.
        api_version: String,
    },
    /// Not a count of replicas.
    #[error("expected at least {least}, not {count}")]
    Replicas {
        /// The smallest value that is allowed.
        least: i32,
        /// The value.
        count: i32,
    },
    /// Fewer replicas at most than at least.
    #[error("is below minReplicas, {min}")]
    BelowMinimum {
        /// The value of `minReplicas` that applies.
        min: Replicas,
    },
    /// Not a duration.
    #[error(transparent)]
    Duration(#[from] ParseSecondsError),
    /// A target that no server can meet.
    #[error("expected a duration above zero")]
    ZeroDuration,
}

impl TryFrom<&VariantAutoscaling> for Variant {
    type Error = Refusal;

    fn try_from(object: &VariantAutoscaling) -> Result<Self, Refusal> {
        let metadata = &object.metadata;
        let accelerator = object.labels().get(ACCELERATOR_LABEL);
        let spec = &object.spec;
        Ok(Self {
            namespace: name("metadata.namespace", metadata.namespace.as_ref())?,
            variant: name("metadata.name", metadata.name.as_ref())?,
            accelerator: name(&format!("metadata.labels[{ACCELERATOR_LABEL}]"), accelerator)?,
            model: name("spec.modelID", Some(&spec.model_id))?,
            target: (&spec.scale_target_ref).try_into()?,
            cost: cost("spec.variantCost", &spec.variant_cost)?,
            bounds: bounds(spec)?,
            slo: spec.slo.as_ref().map(slo).transpose()?,
            shadow: spec.shadow,
        })
    }
}

impl TryFrom<&ScaleTargetRef> for ScaleTarget {
    type Error = Refusal;

    fn try_from(reference: &ScaleTargetRef) -> Result<Self, Refusal> {
        let kind = ScaleTargetKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == reference.kind)
            .ok_or_else(|| {
                refuse("spec.scaleTargetRef.kind", Problem::Kind(reference.kind.clone()))
            })?;

        let api_version = match &reference.api_version {
            None => kind.api_version().to_owned(),
            Some(asked) if group(asked) == group(kind.api_version()) => asked.clone(),
            Some(asked) => {
                let problem = Problem::ApiVersion { kind, api_version: asked.clone() };
                return Err(refuse("spec.scaleTargetRef.apiVersion", problem));
            }
        };

        if reference.name.is_empty() {
            return Err(refuse("spec.scaleTargetRef.name", Problem::Missing));
        }
        Ok(Self { kind, api_version, name: reference.name.clone() })
    }
}

impl ScaleTargetKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::LeaderWorkerSet];

    /// The kind as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::LeaderWorkerSet => "LeaderWorkerSet",
        }
    }

    /// The API group and version that serves the kind.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet => "apps/v1",
            Self::LeaderWorkerSet => "leaderworkerset.x-k8s.io/v1",
        }
    }
}

impl std::fmt::Display for ScaleTargetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

fn name<T: TryFrom<String, Error = IdError>>(
    field: &str,
    text: Option<&String>,
) -> Result<T, Refusal> {
    let text = text.ok_or_else(|| refuse(field, Problem::Missing))?;
    T::try_from(text.clone()).map_err(|error| refuse(field, error))
}

/// Takes digits with at most one point between them, as the schema does: Rust's own parser would
/// also take `1e3`, `inf` and `-0`.
fn cost(field: &str, text: &str) -> Result<HourlyCost, Refusal> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(decimals) {
        return Err(refuse(field, Problem::Cost(text.to_owned())));
    }
    text.parse()
        .ok()
        .and_then(HourlyCost::checked)
        .ok_or_else(|| refuse(field, Problem::Cost(text.to_owned())))
}

fn bounds(spec: &VariantAutoscalingSpec) -> Result<Bounds, Refusal> {
    let count = |field, count: i32, least| match u32::try_from(count) {
        Ok(replicas) if count >= least => Ok(Replicas::new(replicas)),
        _ => Err(refuse(field, Problem::Replicas { least, count })),
    };
    let min = count("spec.minReplicas", spec.min_replicas.unwrap_or(1), 0)?;
    let max = spec.max_replicas.map(|max| count("spec.maxReplicas", max, 1)).transpose()?;
    if max.is_some_and(|max| max < min) {
        return Err(refuse("spec.maxReplicas", Problem::BelowMinimum { min }));
    }
    Ok(Bounds { min, max })
}

fn slo(targets: &LatencyTargets) -> Result<Slo, Refusal> {
    let target = |field, text: &str| match text.parse::<Seconds>() {
        Ok(target) if target.is_zero() => Err(refuse(field, Problem::ZeroDuration)),
        Ok(target) => Ok(target),
        Err(error) => Err(refuse(field, error)),
    };
    Ok(Slo {
        ttft: target("spec.slo.ttft", &targets.ttft)?,
        tpot: target("spec.slo.tpot", &targets.tpot)?,
    })
}

/// The group of an API version: `apps` of `apps/v1`, and nothing of `v1`.
fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

fn refuse(field: &str, problem: impl Into<Problem>) -> Refusal {
    Refusal { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object() -> Value {
        json!({
            "apiVersion": "llmd.ai/v1alpha1",
            "kind": "VariantAutoscaling",
            "metadata": {
                "name": "chat-h100",
                "namespace": "serving",
                "labels": { ACCELERATOR_LABEL: "H100" },
            },
            "spec": {
                "modelID": "meta-llama/Llama-3.1-8B",
                "scaleTargetRef": { "kind": "Deployment", "name": "chat" },
            },
        })
    }

    /// Converts the object with the field at `pointer` set to `value`.
    fn with(pointer: &str, value: Value) -> Result<Variant, String> {
        let mut object = object();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value;
        let object: VariantAutoscaling = serde_json::from_value(object).unwrap();
        Variant::try_from(&object).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_an_object_leaves_out_has_a_default() {
        let variant = with("/spec/shadow", json!(false)).unwrap();
        assert_eq!(variant.variant.as_str(), "chat-h100");
        assert_eq!(variant.accelerator.as_str(), "H100");
        assert_eq!(variant.target.api_version, "apps/v1");
        assert_eq!(variant.cost, HourlyCost::new(10.0));
        assert_eq!(variant.bounds, Bounds { min: Replicas::new(1), max: None });
        assert_eq!(variant.slo, None);
    }

    #[test]
    fn every_kind_of_workload_is_taken_with_its_own_api() {
        for kind in ScaleTargetKind::ALL {
            let target = json!({ "kind": kind.as_str(), "name": "chat" });
            let variant = with("/spec/scaleTargetRef", target).unwrap();
            assert_eq!(variant.target.kind, kind);
            assert_eq!(variant.target.api_version, kind.api_version());
        }
    }

    #[test]
    fn the_schema_allows_the_kinds_that_convert() {
        let definition = serde_json::to_value(crate::crd::definition()).unwrap();
        let spec =
            &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let kinds = &spec["properties"]["scaleTargetRef"]["properties"]["kind"]["enum"];
        assert_eq!(*kinds, json!(ScaleTargetKind::ALL.map(ScaleTargetKind::as_str)));
    }

    #[test]
    fn targets_and_costs_are_read_as_written() {
        let slo = with("/spec/slo", json!({ "ttft": "1.5s", "tpot": "40ms" })).unwrap().slo;
        let expected = Slo { ttft: Seconds::new(1.5), tpot: Seconds::from_millis(40.0) };
        assert_eq!(slo, Some(expected));

        for (text, cost) in [("0", 0.0), ("7", 7.0), ("40.25", 40.25)] {
            assert_eq!(with("/spec/variantCost", json!(text)).unwrap().cost, HourlyCost::new(cost));
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        let check = |pointer: &str, value: Value, expected: &str| {
            assert_eq!(with(pointer, value).unwrap_err(), expected);
        };
        check("/metadata/namespace", Value::Null, "metadata.namespace: is missing");
        check(
            "/metadata/labels",
            json!({}),
            "metadata.labels[inference.optimization/acceleratorName]: is missing",
        );
        check(
            "/spec/modelID",
            json!(""),
            "spec.modelID: expected a ModelId that is not empty and has no white space at its \
             ends, not \"\"",
        );
        check(
            "/spec/scaleTargetRef/kind",
            json!("DaemonSet"),
            "spec.scaleTargetRef.kind: expected Deployment, StatefulSet or LeaderWorkerSet, not \
             \"DaemonSet\"",
        );
        check(
            "/spec/scaleTargetRef/apiVersion",
            json!("v1"),
            "spec.scaleTargetRef.apiVersion: \"v1\" does not serve Deployment; it is in apps/v1",
        );
        check("/spec/scaleTargetRef/name", json!(""), "spec.scaleTargetRef.name: is missing");
        check("/spec/minReplicas", json!(-1), "spec.minReplicas: expected at least 0, not -1");
        check("/spec/maxReplicas", json!(0), "spec.maxReplicas: expected at least 1, not 0");
        check(
            "/spec/slo",
            json!({ "ttft": "0s", "tpot": "40ms" }),
            "spec.slo.ttft: expected a duration above zero",
        );
        for text in ["ten", "", "-1", "1e3", "inf", "1.", ".5", "+1", "1.2.3"] {
            let expected = format!(
                "spec.variantCost: expected a decimal number such as \"10.0\", not {text:?}"
            );
            check("/spec/variantCost", json!(text), &expected);
        }
    }

    #[test]
    fn a_maximum_below_the_minimum_is_refused() {
        let mut object: VariantAutoscaling = serde_json::from_value(object()).unwrap();
        object.spec.min_replicas = Some(3);
        object.spec.max_replicas = Some(2);
        let refusal = Variant::try_from(&object).unwrap_err();
        assert_eq!(refusal.to_string(), "spec.maxReplicas: is below minReplicas, 3");
    }

    #[test]
    fn a_bad_duration_is_refused_by_field() {
        let refusal = with("/spec/slo", json!({ "ttft": "1s", "tpot": "40" })).unwrap_err();
        assert!(refusal.starts_with("spec.slo.tpot: "), "{refusal}");
    }
}
