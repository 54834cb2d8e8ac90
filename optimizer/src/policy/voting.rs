//! Which analyzers decide, and how.

use serde::{Deserialize, Serialize};

use super::AnalyzerName;
use crate::id::{ModelId, Namespace};
use crate::units::Fraction;

/// How several analyzers come to one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VotingPolicy {
    /// An analyzer that is less sure than this may ask for more, but lets nothing go.
    pub min_confidence: Fraction,
}

impl Default for VotingPolicy {
    fn default() -> Self {
        Self { min_confidence: Fraction::new(0.5) }
    }
}

/// How far a role may rely on GPUs that the provider may take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpotPolicy {
    /// The most of a role's need that spot variants may cover, where the role has others.
    pub max_share: Fraction,
}

impl Default for SpotPolicy {
    fn default() -> Self {
        Self { max_share: Fraction::ONE }
    }
}

/// The switch between thresholds and model that the workload-variant-autoscaler 0.4 had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HybridMode {
    /// The saturation analyzer alone.
    Off,
    /// The saturation and the queueing analyzer, arbitrated: the model decides, and saturation may
    /// stop it from shrinking.
    On,
    /// The queueing analyzer alone.
    ModelOnly,
}

/// What a model weighs when GPUs are short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PriorityOverride {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs.
    pub namespace: Namespace,
    /// Its weight; others have 1.
    pub priority: crate::units::Weight,
}

impl HybridMode {
    /// The analyzers that the mode runs.
    #[must_use]
    pub const fn analyzers(self) -> &'static [AnalyzerName] {
        match self {
            Self::Off => &[AnalyzerName::Saturation],
            Self::On => &[AnalyzerName::Saturation, AnalyzerName::Queueing],
            Self::ModelOnly => &[AnalyzerName::Queueing],
        }
    }
}
