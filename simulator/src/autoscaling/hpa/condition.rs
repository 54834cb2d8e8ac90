//! Why an HPA did what it did: the conditions in its status.

/// The conditions after a step. One that a step does not touch keeps its last reason, and one that
/// was never set is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Whether it may write replica counts, and whether a window holds it back.
    pub able_to_scale: Option<AbleToScale>,
    /// Whether it has a metric to go by.
    pub scaling_active: Option<ScalingActive>,
    /// Whether a bound or a rate is in its way.
    pub scaling_limited: Option<ScalingLimited>,
}

/// Reasons of the condition `AbleToScale`, which is always true here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbleToScale {
    /// The current replica count is known, and nothing more was asked.
    SucceededGetScale,
    /// No window holds it back.
    ReadyForNewScale,
    /// Some metric lately wished for fewer replicas.
    ScaleUpStabilized,
    /// Some metric lately wished for more replicas.
    ScaleDownStabilized,
    /// The replica count was changed.
    SucceededRescale,
}

/// Reasons of the condition `ScalingActive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalingActive {
    /// There is a metric to go by.
    ValidMetricFound,
    /// Somebody set the replica count to zero: the HPA stays away.
    ScalingDisabled,
    /// Too little is known of a resource.
    FailedGetResourceMetric,
    /// Too little is known of a metric of the pods.
    FailedGetPodsMetric,
    /// Too little is known of an external metric.
    FailedGetExternalMetric,
}

/// Reasons of the condition `ScalingLimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalingLimited {
    /// Nothing is in its way.
    DesiredWithinRange,
    /// The minimum is.
    TooFewReplicas,
    /// The maximum is.
    TooManyReplicas,
    /// The rate of scaling up is.
    ScaleUpLimit,
    /// The rate of scaling down is.
    ScaleDownLimit,
}

impl ScalingActive {
    /// The status of the condition.
    #[must_use]
    pub fn holds(self) -> bool {
        self == Self::ValidMetricFound
    }
}

impl ScalingLimited {
    /// The status of the condition.
    #[must_use]
    pub fn holds(self) -> bool {
        self != Self::DesiredWithinRange
    }
}
