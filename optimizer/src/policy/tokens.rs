//! Settings of the tokens analyzer.

use serde::{Deserialize, Serialize};

use super::{PolicyProblem, check_positive, check_shares};
use crate::units::{Fraction, Seconds};

/// How the tokens analyzer judges.
///
/// The KV share and the queue at which a replica is full are those of the
/// [saturation policy](super::SaturationPolicy), its overrides included. Defaults: those of the
/// workload-variant-autoscaler 0.9, as far as it has the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokensPolicy {
    /// Replicas are added when the demand exceeds this share of what they can carry.
    pub scale_up_threshold: Fraction,
    /// Replicas are let go when the demand is below this share of what the others can carry.
    pub scale_down_boundary: Fraction,
    /// The time in which requests that wait should be worked off: what they ask for, over this time,
    /// adds to the rate that is demanded.
    pub drain_time: Seconds,
    /// What a full replica showed this long ago counts half as much as what one shows now.
    pub stale_after: Seconds,
    /// What a replica can hold and get through is forgotten when none showed it for this long.
    pub evict_capacity_after: Seconds,
    /// What a full replica held is forgotten after this time.
    pub evict_history_after: Seconds,
}

impl Default for TokensPolicy {
    fn default() -> Self {
        Self {
            scale_up_threshold: Fraction::new(0.85),
            scale_down_boundary: Fraction::new(0.70),
            drain_time: Seconds::from_minutes(1.0),
            stale_after: Seconds::from_minutes(30.0),
            evict_capacity_after: Seconds::new(7.0 * 86_400.0),
            evict_history_after: Seconds::new(86_400.0),
        }
    }
}

impl TokensPolicy {
    pub(super) fn check(&self, problems: &mut Vec<PolicyProblem>) {
        check_shares("tokens", self.scale_up_threshold, self.scale_down_boundary, problems);
        check_positive("tokens.drainTime", !self.drain_time.is_zero(), problems);
        check_positive("tokens.staleAfter", !self.stale_after.is_zero(), problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_rule_is_reported() {
        for (json, path) in [
            (serde_json::json!({ "drainTime": "0s" }), "tokens.drainTime"),
            (serde_json::json!({ "staleAfter": "0s" }), "tokens.staleAfter"),
            (serde_json::json!({ "scaleUpThreshold": 0 }), "tokens.scaleUpThreshold"),
            (serde_json::json!({ "scaleDownBoundary": 0.9 }), "tokens.scaleDownBoundary"),
        ] {
            let policy: TokensPolicy = serde_json::from_value(json).unwrap();
            let mut problems = Vec::new();
            policy.check(&mut problems);
            let paths: Vec<_> = problems.into_iter().map(|problem| problem.path).collect();
            assert_eq!(paths.first().map(String::as_str), Some(path), "{paths:?}");
        }
        let mut problems = Vec::new();
        TokensPolicy::default().check(&mut problems);
        assert_eq!(problems, []);
    }
}
