//! Settings of the throughput analyzer.

use serde::{Deserialize, Serialize};

use super::{PolicyProblem, check_positive, check_shares};
use crate::units::{Fraction, Seconds};

/// How the throughput analyzer judges. Defaults: those of the workload-variant-autoscaler 0.9.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThroughputPolicy {
    /// Replicas are added when the demand exceeds this share of what they can carry.
    pub scale_up_threshold: Fraction,
    /// Replicas are let go when the demand is below this share of what the others can carry.
    pub scale_down_boundary: Fraction,
    /// The KV usage of a full replica, at which its capacity is taken from the line.
    pub full_kv_usage: Fraction,
    /// A mean length that moves by more than this share is another workload: points seen before
    /// no longer count.
    pub shape_tolerance: Fraction,
    /// The most points that a line is drawn through.
    pub window_points: usize,
    /// Older points do not count.
    pub window_age: Seconds,
    /// Points at a lower KV usage do not count: there the line is flat.
    pub least_kv_usage: Fraction,
    /// Points at a higher KV usage do not count: there preemption sets in.
    pub most_kv_usage: Fraction,
    /// A line needs so many points, …
    pub ready_points: usize,
    /// … over such a range of KV usage.
    pub ready_spread: Fraction,
    /// How far what a replica generates may lie from the line, as a share.
    pub fit_tolerance: Fraction,
    /// Replicas with a lower KV usage are not held against the line.
    pub fit_kv_usage: Fraction,
    /// Misses in a row after which the line is given up.
    pub fit_misses: u32,
    /// A waiting request demands one token in so many times the time between tokens of a full
    /// replica.
    pub queue_gaps: u32,
    /// For how long what a replica of a variant could do is remembered after the last one went.
    pub remember_for: Seconds,
}

impl Default for ThroughputPolicy {
    fn default() -> Self {
        Self {
            scale_up_threshold: Fraction::new(0.85),
            scale_down_boundary: Fraction::new(0.70),
            full_kv_usage: Fraction::new(0.85),
            shape_tolerance: Fraction::new(0.20),
            window_points: 20,
            window_age: Seconds::from_minutes(30.0),
            least_kv_usage: Fraction::new(0.15),
            most_kv_usage: Fraction::new(0.85),
            ready_points: 10,
            ready_spread: Fraction::new(0.30),
            fit_tolerance: Fraction::new(0.15),
            fit_kv_usage: Fraction::new(0.30),
            fit_misses: 3,
            queue_gaps: 2,
            remember_for: Seconds::from_minutes(60.0),
        }
    }
}

impl ThroughputPolicy {
    pub(super) fn check(&self, problems: &mut Vec<PolicyProblem>) {
        check_shares("throughput", self.scale_up_threshold, self.scale_down_boundary, problems);
        let full = self.full_kv_usage > Fraction::ZERO;
        check_positive("throughput.fullKvUsage", full, problems);
        check_positive("throughput.windowPoints", self.window_points > 0, problems);
        check_positive("throughput.fitMisses", self.fit_misses > 0, problems);
        check_positive("throughput.queueGaps", self.queue_gaps > 0, problems);
        if self.most_kv_usage < self.least_kv_usage {
            problems.push(PolicyProblem {
                path: "throughput.mostKvUsage".to_owned(),
                expected: "a share that is not below leastKvUsage",
            });
        }
        if self.ready_points > self.window_points {
            problems.push(PolicyProblem {
                path: "throughput.readyPoints".to_owned(),
                expected: "a number that is not above windowPoints",
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_rule_is_reported() {
        for (json, path) in [
            (serde_json::json!({ "fullKvUsage": 0 }), "throughput.fullKvUsage"),
            (serde_json::json!({ "windowPoints": 0, "readyPoints": 0 }), "throughput.windowPoints"),
            (serde_json::json!({ "fitMisses": 0 }), "throughput.fitMisses"),
            (serde_json::json!({ "queueGaps": 0 }), "throughput.queueGaps"),
            (serde_json::json!({ "mostKvUsage": 0.1 }), "throughput.mostKvUsage"),
            (serde_json::json!({ "readyPoints": 21 }), "throughput.readyPoints"),
            (serde_json::json!({ "scaleDownBoundary": 0 }), "throughput.scaleDownBoundary"),
        ] {
            let policy: ThroughputPolicy = serde_json::from_value(json).unwrap();
            let mut problems = Vec::new();
            policy.check(&mut problems);
            let paths: Vec<_> = problems.into_iter().map(|problem| problem.path).collect();
            assert_eq!(paths.first().map(String::as_str), Some(path), "{paths:?}");
        }
        let mut problems = Vec::new();
        ThroughputPolicy::default().check(&mut problems);
        assert_eq!(problems, []);
    }
}
