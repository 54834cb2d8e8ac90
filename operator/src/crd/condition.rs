//! The conditions on a `VariantAutoscaling`'s status.
//!
//! A [`Reason`] belongs to one type of condition and means one status, so it is all that a caller
//! names; a condition whose reason contradicts its status cannot be written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The workload that the object refers to exists.
    TargetResolved,
    /// The signals that a decision needs are there and recent.
    MetricsAvailable,
    /// The optimizer reached a decision.
    OptimizationReady,
}

/// Why a condition has its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The workload exists.
    TargetFound,
    /// The workload does not exist.
    TargetNotFound,

    /// Every replica's signals are there.
    MetricsFound,
    /// No signal is needed: the variant is at zero and a request waits.
    ScaleFromZero,
    /// A signal has never been seen.
    MetricsMissing,
    /// A signal was seen, but too long ago.
    MetricsStale,
    /// Prometheus did not answer, or not with an answer that can be read.
    PrometheusError,

    /// The analyzers and the solver agreed on an allocation.
    OptimizationSucceeded,
    /// Only the saturation analyzer took part.
    SaturationOnlyMode,
    /// The saturation analyzer overruled the latency model, to be safe.
    SaturationSafetyOverride,
    /// A waiting request woke the variant from zero.
    ScaleFromZeroMode,
    /// No allocation could be found.
    OptimizationFailed,
    /// Signals were missing, so the last decision holds.
    MetricsUnavailable,
    /// The object's spec was refused.
    InvalidConfiguration,
    /// The object was left out of this cycle.
    SkippedProcessing,
}

/// Writes the condition that `reason` stands for, in place of an older one of the same type.
///
/// The time of the last transition is `now` if the status changed, and is kept if it did not.
pub fn set(
    conditions: &mut Vec<Condition>,
    reason: Reason,
    message: impl Into<String>,
    observed_generation: Option<i64>,
    now: Time,
) {
    let mut condition = Condition {
        last_transition_time: now,
        message: message.into(),
        observed_generation,
        reason: reason.as_str().to_owned(),
        status: if reason.holds() { "True" } else { "False" }.to_owned(),
        type_: reason.condition_type().as_str().to_owned(),
    };
    match conditions.iter_mut().find(|old| old.type_ == condition.type_) {
        Some(old) => {
            if old.status == condition.status {
                condition.last_transition_time = old.last_transition_time.clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

impl ConditionType {
    /// The type as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TargetResolved => "TargetResolved",
            Self::MetricsAvailable => "MetricsAvailable",
            Self::OptimizationReady => "OptimizationReady",
        }
    }
}

impl Reason {
    /// The condition that this is a reason for.
    pub const fn condition_type(self) -> ConditionType {
        self.meaning().0
    }

    /// Whether the condition then has the status `True`. It has `False` otherwise.
    pub const fn holds(self) -> bool {
        self.meaning().1
    }

    /// The reason as the API spells it.
    pub const fn as_str(self) -> &'static str {
        self.meaning().2
    }

    const fn meaning(self) -> (ConditionType, bool, &'static str) {
        use ConditionType::{MetricsAvailable, OptimizationReady, TargetResolved};
        match self {
            Self::TargetFound => (TargetResolved, true, "TargetFound"),
            Self::TargetNotFound => (TargetResolved, false, "TargetNotFound"),

            Self::MetricsFound => (MetricsAvailable, true, "MetricsFound"),
            Self::ScaleFromZero => (MetricsAvailable, true, "ScaleFromZero"),
            Self::MetricsMissing => (MetricsAvailable, false, "MetricsMissing"),
            Self::MetricsStale => (MetricsAvailable, false, "MetricsStale"),
            Self::PrometheusError => (MetricsAvailable, false, "PrometheusError"),

            Self::OptimizationSucceeded => (OptimizationReady, true, "OptimizationSucceeded"),
            Self::SaturationOnlyMode => (OptimizationReady, true, "SaturationOnlyMode"),
            Self::SaturationSafetyOverride => (OptimizationReady, true, "SaturationSafetyOverride"),
            Self::ScaleFromZeroMode => (OptimizationReady, true, "ScaleFromZeroMode"),
            Self::OptimizationFailed => (OptimizationReady, false, "OptimizationFailed"),
            Self::MetricsUnavailable => (OptimizationReady, false, "MetricsUnavailable"),
            Self::InvalidConfiguration => (OptimizationReady, false, "InvalidConfiguration"),
            Self::SkippedProcessing => (OptimizationReady, false, "SkippedProcessing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    /// Sets each reason at its time, and returns (status, reason, seconds) of the one condition.
    fn after(reasons: &[(Reason, i64)]) -> (String, String, i64) {
        let mut conditions = Vec::new();
        for &(reason, second) in reasons {
            set(&mut conditions, reason, "", Some(1), at(second));
        }
        let [condition] = conditions.as_slice() else { panic!("{conditions:?}") };
        let time = condition.last_transition_time.0.as_second();
        (condition.status.clone(), condition.reason.clone(), time)
    }

    #[test]
    fn the_transition_time_moves_with_the_status_and_not_with_the_reason() {
        use Reason::{MetricsFound, MetricsMissing, MetricsStale};

        let check = |reasons: &[(Reason, i64)], status: &str, reason: &str, second| {
            assert_eq!(after(reasons), (status.to_owned(), reason.to_owned(), second));
        };
        check(&[(MetricsFound, 1)], "True", "MetricsFound", 1);
        check(&[(MetricsFound, 1), (MetricsFound, 2)], "True", "MetricsFound", 1);
        check(&[(MetricsFound, 1), (MetricsStale, 2)], "False", "MetricsStale", 2);
        check(&[(MetricsStale, 1), (MetricsMissing, 2)], "False", "MetricsMissing", 1);
    }

    #[test]
    fn types_do_not_disturb_each_other() {
        let mut conditions = Vec::new();
        set(&mut conditions, Reason::TargetFound, "", None, at(1));
        set(&mut conditions, Reason::MetricsMissing, "no pod answers", Some(7), at(2));
        set(&mut conditions, Reason::TargetNotFound, "", None, at(3));

        let types: Vec<_> = conditions.iter().map(|condition| &*condition.type_).collect();
        assert_eq!(types, ["TargetResolved", "MetricsAvailable"]);
        assert_eq!(conditions[1].last_transition_time, at(2));
        assert_eq!(conditions[1].message, "no pod answers");
        assert_eq!(conditions[1].observed_generation, Some(7));
    }
}
