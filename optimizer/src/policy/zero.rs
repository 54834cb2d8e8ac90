//! Settings of scale to zero.

use serde::{Deserialize, Serialize};

use super::PolicyProblem;
use crate::id::{ModelId, Namespace};
use crate::units::Seconds;

/// Whether models that nobody uses keep replicas, with exceptions for single models.
///
/// Defaults: off, and 10 minutes, as the workload-variant-autoscaler has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScaleToZeroPolicy {
    /// Whether a model may go to zero replicas.
    pub enabled: bool,
    /// It goes when it had no request for this long.
    pub retention: Seconds,
    /// Exceptions; each may set only one of the fields. Of two that cover a model, the one that
    /// names its namespace counts first.
    pub overrides: Vec<ScaleToZeroOverride>,
}

impl Default for ScaleToZeroPolicy {
    fn default() -> Self {
        Self { enabled: false, retention: Seconds::from_minutes(10.0), overrides: Vec::new() }
    }
}

/// What differs for one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScaleToZeroOverride {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs; all of them where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Replaces `enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Replaces `retention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Seconds>,
}

/// What holds for one model, after overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroRule {
    /// Whether it may go to zero replicas.
    pub enabled: bool,
    /// For how long it must have had no request.
    pub retention: Seconds,
}

impl ScaleToZeroPolicy {
    /// What holds for one model in one namespace.
    #[must_use]
    pub fn rule(&self, model: &ModelId, namespace: &Namespace) -> ZeroRule {
        let of = |scope: Option<&Namespace>| {
            let covers = move |change: &&ScaleToZeroOverride| {
                change.model == *model && change.namespace.as_ref() == scope
            };
            self.overrides.iter().find(covers)
        };
        let (narrow, wide) = (of(Some(namespace)), of(None));
        let enabled = narrow.and_then(|c| c.enabled).or_else(|| wide.and_then(|c| c.enabled));
        let retention = narrow.and_then(|c| c.retention).or_else(|| wide.and_then(|c| c.retention));
        ZeroRule {
            enabled: enabled.unwrap_or(self.enabled),
            retention: retention.unwrap_or(self.retention),
        }
    }

    pub(super) fn check(&self, path: &str, problems: &mut Vec<PolicyProblem>) {
        let positive = "a time that is longer than zero";
        if self.retention.is_zero() {
            let path = format!("{path}.retention");
            problems.push(PolicyProblem { path, expected: positive });
        }
        for (idx, change) in self.overrides.iter().enumerate() {
            let path = format!("{path}.overrides[{idx}]");
            if change.retention.is_some_and(Seconds::is_zero) {
                let path = format!("{path}.retention");
                problems.push(PolicyProblem { path, expected: positive });
            }
            let scope = |c: &ScaleToZeroOverride| (c.model.clone(), c.namespace.clone());
            if self.overrides[..idx].iter().any(|other| scope(other) == scope(change)) {
                let expected = "one override for each model and namespace";
                problems.push(PolicyProblem { path, expected });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn policy(json: serde_json::Value) -> Policy {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_narrowest_override_that_says_something_counts() {
        let policy = policy(serde_json::json!({ "scaleToZero": {
            "enabled": true,
            "overrides": [
                { "model": "m", "enabled": false, "retention": "1h" },
                { "model": "m", "namespace": "n", "enabled": true },
            ],
        }}));
        let of = |model: &str, namespace: &str| {
            let rule =
                policy.scale_to_zero.rule(&model.parse().unwrap(), &namespace.parse().unwrap());
            (rule.enabled, rule.retention.to_string())
        };
        assert_eq!(of("m", "n"), (true, "1h".to_owned()));
        assert_eq!(of("m", "other"), (false, "1h".to_owned()));
        assert_eq!(of("other", "n"), (true, "10m".to_owned()));
    }

    #[test]
    fn it_is_off_unless_it_is_switched_on_and_an_explicit_false_is_kept() {
        assert_eq!(policy(serde_json::json!({})).scale_to_zero, ScaleToZeroPolicy::default());
        let off = policy(serde_json::json!({ "scaleToZero": { "enabled": false } }));
        assert!(!off.scale_to_zero.enabled);
        assert_eq!(off.scale_to_zero.retention, Seconds::from_minutes(10.0));
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let policy = policy(serde_json::json!({ "scaleToZero": {
            "retention": "0s",
            "overrides": [
                { "model": "m", "retention": "0s" },
                { "model": "m" },
                { "model": "m", "namespace": "n" },
            ],
        }}));
        let paths: Vec<_> = policy.validate().unwrap_err().into_iter().map(|p| p.path).collect();
        assert_eq!(
            paths,
            [
                "scaleToZero.retention",
                "scaleToZero.overrides[0].retention",
                "scaleToZero.overrides[1]",
            ]
        );
    }
}
