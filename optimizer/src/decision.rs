//! What the controller decided, and why.

mod reason;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use reason::{
    CapacityBasis, LineBasis, QueueingReason, RateBasis, Reason, SloReason, ThroughputReason,
    TokensReason,
};

use crate::id::{ModelId, Namespace, VariantId};
use crate::units::{Replicas, Timestamp};

/// The outcome of one step: a replica count for every variant that was observed, sorted by
/// namespace, model and variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The time of the step.
    pub at: Timestamp,
    /// One entry for each variant.
    pub variants: Vec<VariantDecision>,
}

impl Decision {
    /// The entries whose desired count differs from the current one.
    pub fn changes(&self) -> impl Iterator<Item = &VariantDecision> {
        self.variants.iter().filter(|variant| variant.action != Action::NoChange)
    }
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
    /// Replicas that exist.
    pub current: Replicas,
    /// Replicas that should exist.
    pub desired: Replicas,
    /// `desired` against `current`.
    pub action: Action,
    /// From what was seen to the number, in the order in which the rules applied.
    pub trail: Vec<Reason>,
}

impl VariantDecision {
    /// The trail as sentences.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        self.trail.iter().map(ToString::to_string)
    }
}

/// What a decision does to a replica count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
    /// As many as there are.
    NoChange,
}

impl Action {
    /// The action that leads from `current` to `desired`.
    #[must_use]
    pub fn between(current: Replicas, desired: Replicas) -> Self {
        match desired.cmp(&current) {
            std::cmp::Ordering::Greater => Self::ScaleUp,
            std::cmp::Ordering::Less => Self::ScaleDown,
            std::cmp::Ordering::Equal => Self::NoChange,
        }
    }

    /// The name for logs, labels and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScaleUp => "scale-up",
            Self::ScaleDown => "scale-down",
            Self::NoChange => "no-change",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A direction in which a replica count may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
