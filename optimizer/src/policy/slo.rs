//! Settings of the slo analyzer.

use serde::{Deserialize, Serialize};

use super::PolicyProblem;
use crate::id::{ModelId, Namespace};
use crate::slo::Slo;
use crate::units::{Fraction, Seconds};

/// How the slo analyzer judges, with exceptions for single models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SloPolicy {
    /// The share of requests that is to meet both targets.
    pub percentile: Fraction,
    /// The targets of models for which nothing else names any; without them the analyzer has
    /// nothing to say about such a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Slo>,
    /// How much of its capacity a replica keeps free before one may go. Replicas are added when
    /// nothing is free, so the margin is the distance between growing and shrinking.
    pub margin: Fraction,
    /// In what time a backlog is to be served, besides what arrives. `None` takes the longer of the
    /// TTFT target and the variant's cold start, and at least 10 s: replicas that are added now do
    /// not help any earlier, and those that are there work on it meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_time: Option<Seconds>,
    /// How long a new replica takes to become ready, where none was seen starting.
    pub cold_start: Seconds,
    /// What was learned of step times this long ago counts 1/e of what is learned now.
    pub memory: Seconds,
    /// Exceptions; each may set only some of the fields.
    pub overrides: Vec<SloOverride>,
}

impl Default for SloPolicy {
    fn default() -> Self {
        Self {
            percentile: Fraction::new(0.99),
            targets: None,
            margin: Fraction::new(0.15),
            drain_time: None,
            cold_start: Seconds::from_minutes(2.0),
            memory: Seconds::from_minutes(60.0),
            overrides: Vec::new(),
        }
    }
}

impl SloPolicy {
    /// What holds for one model in one namespace.
    #[must_use]
    pub fn settings(&self, model: &ModelId, namespace: &Namespace) -> SloSettings {
        let change = self.overrides.iter().find(|change| change.covers(model, namespace));
        change.map_or(self.defaults(), |change| change.apply(self.defaults()))
    }

    fn defaults(&self) -> SloSettings {
        SloSettings { percentile: self.percentile, targets: self.targets, margin: self.margin }
    }

    pub(super) fn check(&self, problems: &mut Vec<PolicyProblem>) {
        self.defaults().check("slo", problems);
        for (idx, change) in self.overrides.iter().enumerate() {
            let path = format!("slo.overrides[{idx}]");
            change.apply(self.defaults()).check(&path, problems);
            let mut earlier = self.overrides[..idx].iter();
            if earlier.any(|other| other.covers(&change.model, &change.namespace)) {
                problems.push(PolicyProblem { path, expected: "one override for each model" });
            }
        }
        let positive = "a time above zero";
        if self.drain_time.is_some_and(Seconds::is_zero) {
            problems.push(PolicyProblem { path: "slo.drainTime".to_owned(), expected: positive });
        }
        if self.memory.is_zero() {
            problems.push(PolicyProblem { path: "slo.memory".to_owned(), expected: positive });
        }
    }
}

/// The settings of one model, after overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SloSettings {
    /// The share of requests that is to meet both targets.
    pub percentile: Fraction,
    /// The targets; `None` where the policy names none.
    pub targets: Option<Slo>,
    /// How much of its capacity a replica keeps free before one may go.
    pub margin: Fraction,
}

impl SloSettings {
    fn check(&self, path: &str, problems: &mut Vec<PolicyProblem>) {
        let mut require = |holds: bool, field: &str, expected: &'static str| {
            if !holds {
                problems.push(PolicyProblem { path: format!("{path}.{field}"), expected });
            }
        };
        // No number of replicas makes all requests meet a target.
        require(self.percentile < Fraction::ONE, "percentile", "a share below 1");
        require(self.margin < Fraction::ONE, "margin", "a share below 1");
        if let Some(targets) = self.targets {
            require(!targets.ttft.is_zero(), "targets.ttft", "a time above zero");
            require(!targets.tpot.is_zero(), "targets.tpot", "a time above zero");
        }
    }
}

/// Settings that differ for one model in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SloOverride {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs.
    pub namespace: Namespace,
    /// Replaces `percentile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<Fraction>,
    /// Replaces `targets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Slo>,
    /// Replaces `margin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Fraction>,
}

impl SloOverride {
    fn covers(&self, model: &ModelId, namespace: &Namespace) -> bool {
        self.model == *model && self.namespace == *namespace
    }

    fn apply(&self, base: SloSettings) -> SloSettings {
        SloSettings {
            percentile: self.percentile.unwrap_or(base.percentile),
            targets: self.targets.or(base.targets),
            margin: self.margin.unwrap_or(base.margin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: serde_json::Value) -> SloPolicy {
        serde_json::from_value(json).unwrap()
    }

    fn problems(json: serde_json::Value) -> Vec<String> {
        let mut problems = Vec::new();
        policy(json).check(&mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_override_replaces_what_it_names_and_zero_is_a_value() {
        let policy = policy(serde_json::json!({
            "percentile": 0.95,
            "targets": {"ttft": "2s", "tpot": "50ms"},
            "overrides": [{"model": "m", "namespace": "n", "margin": 0}],
        }));
        let other = policy.settings(&"m".parse().unwrap(), &"elsewhere".parse().unwrap());
        assert_eq!(other.margin, Fraction::new(0.15));
        let here = policy.settings(&"m".parse().unwrap(), &"n".parse().unwrap());
        assert_eq!(here, SloSettings { margin: Fraction::ZERO, ..other });
        assert_eq!(here.targets.unwrap().ttft, Seconds::new(2.0));
    }

    #[test]
    fn what_the_types_allow_and_makes_no_sense_is_refused() {
        assert_eq!(problems(serde_json::json!({})), [""; 0]);
        assert_eq!(
            problems(serde_json::json!({
                "percentile": 1,
                "margin": 1,
                "drainTime": "0s",
                "memory": "0s",
                "overrides": [
                    {"model": "m", "namespace": "n", "percentile": 0.9, "margin": 0.1,
                     "targets": {"ttft": "0s", "tpot": "0s"}},
                    {"model": "m", "namespace": "n", "percentile": 0.9, "margin": 0.1},
                ],
            })),
            [
                "slo.percentile: expected a share below 1",
                "slo.margin: expected a share below 1",
                "slo.overrides[0].targets.ttft: expected a time above zero",
                "slo.overrides[0].targets.tpot: expected a time above zero",
                "slo.overrides[1]: expected one override for each model",
                "slo.drainTime: expected a time above zero",
                "slo.memory: expected a time above zero",
            ]
        );
    }
}
