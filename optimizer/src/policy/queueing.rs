//! Settings of the queueing analyzer.

use serde::{Deserialize, Serialize};

use super::PolicyProblem;
use crate::id::{ModelId, Namespace};
use crate::units::{Factor, Fraction, Seconds};

/// How the queueing analyzer judges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueingPolicy {
    /// The law of the time that a request is in service.
    pub law: ServiceLaw,
    /// Targets of single models for the *mean* latencies. They go before what users are promised.
    pub targets: Vec<MeanTargets>,
    /// The share of the requests whose time to first token keeps what users are promised; `null`
    /// holds the mean to it. The time per output token is held to it on average.
    pub ttft_share: Option<Fraction>,
    /// Where nobody sets targets, they are what a replica keeps at the load at which an iteration
    /// takes this many times its overhead. That is a utilization of 1 − 1/k. 0 infers no targets.
    pub slo_multiplier: Factor,
    /// The share of what a replica can serve above which replicas are added.
    pub scale_up_at: Fraction,
    /// The share of what a replica can serve below which replicas may go.
    pub scale_down_at: Fraction,
    /// The share of its maximum rate that a replica leaves unused when a target is out of reach.
    pub headroom: Fraction,
    /// The time in which requests that wait are to be served, besides those that arrive. 0 leaves
    /// them out of account.
    pub drain_time: Seconds,
    /// How the costs of a law are learned.
    pub tuner: CostTuner,
    /// The relative standard deviation of the costs before anything was seen, as of a profile.
    pub prior_error: Fraction,
    /// The standard deviation by which costs drift from one observation to the next, relative to
    /// what they were at first.
    pub drift: Fraction,
    /// The relative standard deviation of observed latencies, the error of the law included.
    pub noise: Fraction,
    /// The share of good observations that the filter may reject as too far from its prediction.
    pub false_rejects: Fraction,
    /// The observations that the window holds.
    pub window: u32,
}

impl Default for QueueingPolicy {
    fn default() -> Self {
        Self {
            law: ServiceLaw::default(),
            targets: Vec::new(),
            ttft_share: Some(Fraction::new(0.95)),
            slo_multiplier: Factor::new(3.0),
            scale_up_at: Fraction::new(0.85),
            scale_down_at: Fraction::new(0.70),
            headroom: Fraction::new(0.1),
            drain_time: Seconds::from_minutes(1.0),
            tuner: CostTuner::default(),
            prior_error: Fraction::new(0.15),
            drift: Fraction::new(0.05),
            noise: Fraction::new(0.1),
            false_rejects: Fraction::new(0.025),
            window: 10,
        }
    }
}

impl QueueingPolicy {
    /// The targets that are set for one model in one namespace.
    #[must_use]
    pub fn targets(&self, model: &ModelId, namespace: &Namespace) -> Option<&MeanTargets> {
        self.targets.iter().find(|targets| targets.covers(model, namespace))
    }

    /// Checks what the types cannot.
    pub(super) fn check(&self, problems: &mut Vec<PolicyProblem>) {
        let mut problem = |field: String, expected| {
            problems.push(PolicyProblem { path: format!("queueing.{field}"), expected });
        };
        let multiplier = self.slo_multiplier;
        if !multiplier.is_zero() && multiplier <= Factor::new(1.0) {
            problem("sloMultiplier".to_owned(), "a factor above 1, or 0 for no inferred targets");
        }
        for (idx, targets) in self.targets.iter().enumerate() {
            if targets.ttft.is_zero() || targets.itl.is_zero() {
                problem(format!("targets[{idx}]"), "times above zero");
            }
            let covers = |other: &MeanTargets| other.covers(&targets.model, &targets.namespace);
            if self.targets[..idx].iter().any(covers) {
                problem(format!("targets[{idx}]"), "one entry for each model");
            }
        }
        if self.ttft_share == Some(Fraction::ONE) {
            problem(
                "ttftShare".to_owned(),
                "a share below 1, since no time is long enough for all",
            );
        }
        if self.scale_down_at == Fraction::ZERO {
            problem("scaleDownAt".to_owned(), "a share above 0");
        }
        if self.scale_up_at < self.scale_down_at {
            problem("scaleUpAt".to_owned(), "a share that is not below scaleDownAt");
        }
        if self.headroom == Fraction::ONE {
            problem("headroom".to_owned(), "a share below 1");
        }
        for (field, share) in [
            ("priorError", self.prior_error),
            ("noise", self.noise),
            ("falseRejects", self.false_rejects),
        ] {
            if share == Fraction::ZERO {
                problem(field.to_owned(), "a share above 0");
            }
        }
        if self.window == 0 {
            problem("window".to_owned(), "at least one observation");
        }
    }
}

/// A law for the time that a request is in service, by its version in llm-inferno's history.
///
/// All take the costs (α, β, γ) of an iteration; [`V0`](Self::V0) is given them as the two lines
/// that it draws for prefill and decode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ServiceLaw {
    /// Prefill and decode do not share an iteration (2025).
    V0,
    /// They do (queue-analysis 0.3; the workload-variant-autoscaler 0.9).
    V1,
    /// As V1, with the KV reads of the request itself counted to the last token (0.4 and 0.6).
    V1b,
    /// With chunked prefill (0.7 and 0.8).
    #[default]
    V2,
}

/// How the costs of a law are learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CostTuner {
    /// They are not: a variant without a profile has none.
    Off,
    /// By an extended Kalman filter, one observation at a time.
    #[default]
    Kalman,
    /// By least squares over the last observations.
    Window,
}

/// Targets for the mean latencies of one model in one namespace: both, or no entry at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MeanTargets {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs.
    pub namespace: Namespace,
    /// Mean time to first token, the wait included.
    pub ttft: Seconds,
    /// Mean time between tokens.
    pub itl: Seconds,
}

impl MeanTargets {
    fn covers(&self, model: &ModelId, namespace: &Namespace) -> bool {
        self.model == *model && self.namespace == *namespace
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<QueueingPolicy, String> {
        let policy: QueueingPolicy = serde_json::from_value(json).map_err(|e| e.to_string())?;
        let mut problems = Vec::new();
        policy.check(&mut problems);
        match problems.first() {
            None => Ok(policy),
            Some(problem) => Err(problem.to_string()),
        }
    }

    /// Vector QM-15 of the workload-variant-autoscaler 0.9.
    #[test]
    fn a_multiplier_is_above_one_or_zero_and_targets_come_in_pairs() {
        let check = |json: Value, valid| {
            let read = read(json.clone());
            assert_eq!(read.is_ok(), valid, "{json}: {read:?}");
        };
        for (multiplier, valid) in
            [(1.0, false), (0.5, false), (-1.0, false), (0.0, true), (3.0, true)]
        {
            check(json!({ "sloMultiplier": multiplier }), valid);
        }
        let targets = |fields: Value| json!({ "targets": [fields] });
        let both = json!({ "model": "m", "namespace": "n", "ttft": "500ms", "itl": "50ms" });
        for (field, valid) in
            [("none", true), ("ttft", false), ("itl", false), ("namespace", false)]
        {
            let mut fields = both.clone();
            fields.as_object_mut().unwrap().remove(field);
            check(targets(fields), valid);
        }
        for time in ["-1ms", "0ms"] {
            let mut fields = both.clone();
            fields["itl"] = time.into();
            check(targets(fields), false);
        }
        check(json!({ "targets": [both, both] }), false);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let check = |field: &str, value: Value| {
            let error = read(json!({ field: value })).unwrap_err();
            assert!(error.starts_with(&format!("queueing.{field}: expected")), "{error}");
        };
        check("ttftShare", json!(1));
        check("scaleDownAt", json!(0));
        check("scaleUpAt", json!(0.5));
        check("headroom", json!(1));
        check("priorError", json!(0));
        check("noise", json!(0));
        check("falseRejects", json!(0));
        check("window", json!(0));
    }

    #[test]
    fn what_is_written_is_kept() {
        let policy = read(json!({ "ttftShare": null, "drainTime": "0s", "drift": 0 })).unwrap();
        assert_eq!(policy.ttft_share, None);
        assert_eq!(policy.drain_time, Seconds::ZERO);
        assert_eq!(policy.drift, Fraction::ZERO);
        assert_eq!(policy.law, ServiceLaw::V2);
    }
}
