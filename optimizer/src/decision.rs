//! What the controller decided, and why.

use serde::{Deserialize, Serialize};

pub use crate::reason::{
    Abstention, Action, CapacityBasis, Direction, LimitsReason, LineBasis, QueueingReason,
    RateBasis, Reason, SloReason, ThroughputReason, TokensReason, Veto, VoteReason, ZeroReason,
};

use crate::assessment::Assessment;
use crate::forecast::Outlook;
use crate::id::{ModelId, Namespace, VariantId};
use crate::observation::Role;
use crate::policy::AnalyzerName;
use crate::units::{Replicas, Timestamp};

/// The outcome of one step: a replica count for every variant that was observed, sorted by
/// namespace, model and variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The time of the step.
    pub at: Timestamp,
    /// One entry for each variant.
    pub variants: Vec<VariantDecision>,
    /// What the analyzers said, one entry for each model, sorted by namespace and model. A model
    /// that only the saturation analyzer judges has none: the trails of its variants say it all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appraisals: Vec<Appraisal>,
}

impl Decision {
    /// The entries whose desired count differs from the current one.
    pub fn changes(&self) -> impl Iterator<Item = &VariantDecision> {
        self.variants.iter().filter(|variant| variant.action != Action::NoChange)
    }
}

/// What the analyzers said about one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Appraisal {
    /// The namespace.
    pub namespace: Namespace,
    /// The model.
    pub model: ModelId,
    /// The arrival rate that is expected.
    pub outlook: Outlook,
    /// One for each analyzer that was asked.
    pub assessments: Vec<Assessment>,
}

/// The replica count of one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantDecision {
    /// The namespace.
    pub namespace: Namespace,
    /// The model.
    pub model: ModelId,
    /// The variant.
    pub variant: VariantId,
    /// The part of a request that it serves.
    #[serde(default)]
    pub role: Role,
    /// Replicas that exist.
    pub current: Replicas,
    /// Replicas that should exist.
    pub desired: Replicas,
    /// `desired` against `current`.
    pub action: Action,
    /// What would have had to be different for another count; `None` where no analyzer gave a load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margins: Option<Margins>,
    /// From what was seen to the number, in the order in which the rules applied.
    pub trail: Vec<Reason>,
}

impl VariantDecision {
    /// The trail as sentences.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        self.trail.iter().map(ToString::to_string)
    }

    /// `desired` over `current`; from no replica on it is `desired` itself, so that an autoscaler
    /// that multiplies has something to multiply.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.desired.as_f64() / self.current.as_f64().max(1.0)
    }
}

/// How much the load could change before the variant's count would.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Margins {
    /// With more than this many times the load, the role would need a replica more; `None` without
    /// load.
    pub grows_above: Option<f64>,
    /// The analyzer that would ask for it.
    pub grows_by: AnalyzerName,
    /// With less than this many times the load, a replica of the variant could go; `None` when it
    /// has none.
    pub shrinks_below: Option<f64>,
    /// The last analyzer to let it go.
    pub shrinks_by: AnalyzerName,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors I of the workload-variant-autoscaler 0.5, and both at zero.
    #[test]
    fn ratios() {
        for (current, desired, ratio) in
            [(2, 5, 2.5), (0, 3, 3.0), (4, 4, 1.0), (6, 2, 1.0 / 3.0), (0, 0, 0.0), (3, 0, 0.0)]
        {
            let (current, desired) = (Replicas::new(current), Replicas::new(desired));
            let decision = VariantDecision {
                namespace: "n".parse().unwrap(),
                model: "m".parse().unwrap(),
                variant: "v".parse().unwrap(),
                role: Role::Both,
                margins: None,
                current,
                desired,
                action: Action::between(current, desired),
                trail: Vec::new(),
            };
            assert!((decision.ratio() - ratio).abs() < 1e-12, "{current} {desired}");
        }
    }
}
