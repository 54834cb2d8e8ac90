//! The tunable thresholds: one type, one file format.
//!
//! A scenario names a policy file, the tuner writes one, and the Helm chart mounts one; all three
//! are this struct. Every field has a default, an unknown field is an error, and what is written is
//! kept: an explicit `0` or `false` is a value, not an absence.

mod forecast;
mod queueing;
mod slo;
mod throughput;
mod tokens;
mod voting;
mod zero;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use forecast::ForecastPolicy;
pub use queueing::{CostTuner, MeanTargets, QueueingPolicy, ServiceLaw};
pub use slo::{SloOverride, SloPolicy, SloSettings};
pub use throughput::ThroughputPolicy;
pub use tokens::TokensPolicy;
pub use voting::{HybridMode, PriorityOverride, SpotPolicy, VotingPolicy};
pub use zero::{ScaleToZeroOverride, ScaleToZeroPolicy, ZeroRule};

use crate::id::{ModelId, Namespace};
use crate::units::{Fraction, QueueLength, Replicas, Seconds, Weight};

/// How the controller decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Policy {
    /// The analyzers that vote: any may ask for more, and only together they let replicas go. When
    /// all of them abstain, the saturation analyzer decides.
    pub analyzers: Vec<AnalyzerName>,
    /// When set, it chooses the analyzers and how they come to an answer, as the
    /// workload-variant-autoscaler's switch of the same name was meant to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experimental_hybrid_optimization: Option<HybridMode>,
    /// How analyzers come to one answer.
    pub voting: VotingPolicy,
    /// How far a role may rely on spot variants.
    pub spot: SpotPolicy,
    /// Models that weigh more or less than others when GPUs are short.
    pub priorities: Vec<PriorityOverride>,
    /// When replicas count as saturated, and how much spare capacity to keep.
    pub saturation: SaturationPolicy,
    /// Settings of the tokens analyzer.
    pub tokens: TokensPolicy,
    /// Settings of the throughput analyzer.
    pub throughput: ThroughputPolicy,
    /// Settings of the queueing analyzer.
    pub queueing: QueueingPolicy,
    /// Settings of the slo analyzer.
    pub slo: SloPolicy,
    /// How the arrival rate is forecast.
    pub forecast: ForecastPolicy,
    /// Whether models that nobody uses keep replicas.
    pub scale_to_zero: ScaleToZeroPolicy,
    /// How fast replica counts may move.
    pub scaling: ScalingPolicy,
    /// How old a signal may be.
    pub signals: Freshness,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            analyzers: vec![AnalyzerName::Slo],
            experimental_hybrid_optimization: None,
            voting: VotingPolicy::default(),
            spot: SpotPolicy::default(),
            priorities: Vec::new(),
            saturation: SaturationPolicy::default(),
            tokens: TokensPolicy::default(),
            throughput: ThroughputPolicy::default(),
            queueing: QueueingPolicy::default(),
            slo: SloPolicy::default(),
            scale_to_zero: ScaleToZeroPolicy::default(),
            forecast: ForecastPolicy::default(),
            scaling: ScalingPolicy::default(),
            signals: Freshness::default(),
        }
    }
}

impl Policy {
    /// The analyzers that are asked, in the order of [`AnalyzerName`], each once.
    #[must_use]
    pub fn enabled(&self) -> Vec<AnalyzerName> {
        let mut names = match self.experimental_hybrid_optimization {
            Some(mode) => mode.analyzers().to_vec(),
            None => self.analyzers.clone(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What a model weighs when GPUs are short.
    #[must_use]
    pub fn priority(&self, model: &ModelId, namespace: &Namespace) -> Weight {
        let of = |other: &&PriorityOverride| other.model == *model && other.namespace == *namespace;
        self.priorities.iter().find(of).map_or(Weight::new(1.0), |found| found.priority)
    }

    /// Checks what the types cannot, and reports every problem.
    ///
    /// # Errors
    ///
    /// One [`PolicyProblem`] for each rule that is broken.
    pub fn validate(&self) -> Result<(), Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        let saturation = &self.saturation;
        saturation.defaults().check("saturation", &mut problems);
        for (idx, change) in saturation.overrides.iter().enumerate() {
            let path = format!("saturation.overrides[{idx}]");
            // The merged thresholds are what counts: an override may set one field alone.
            change.apply(saturation.defaults()).check(&path, &mut problems);
            if saturation.overrides[..idx]
                .iter()
                .any(|c| c.covers(&change.model, &change.namespace))
            {
                problems.push(PolicyProblem { path, expected: "one override for each model" });
            }
        }
        self.scale_to_zero.check("scaleToZero", &mut problems);
        self.tokens.check(&mut problems);
        self.throughput.check(&mut problems);
        self.queueing.check(&mut problems);
        self.slo.check(&mut problems);
        if self.signals.missing_after < self.signals.stale_after {
            problems.push(PolicyProblem {
                path: "signals.missingAfter".to_owned(),
                expected: "a time that is not shorter than staleAfter",
            });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// An analyzer's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AnalyzerName {
    /// KV and queue thresholds.
    Saturation,
    /// Supply and demand of KV tokens.
    Tokens,
    /// Supply and demand of decode throughput.
    Throughput,
    /// A queueing model.
    Queueing,
    /// The rate at which a percentile of requests meets its latency targets.
    Slo,
}

impl AnalyzerName {
    /// The name, as in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Saturation => "saturation",
            Self::Tokens => "tokens",
            Self::Throughput => "throughput",
            Self::Queueing => "queueing",
            Self::Slo => "slo",
        }
    }
}

impl fmt::Display for AnalyzerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A rule of the policy that is broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: expected {expected}")]
pub struct PolicyProblem {
    /// The field, relative to the policy, such as `saturation.kvSpareTrigger`.
    pub path: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// The shares of what replicas can carry at which an analyzer adds some and lets some go. A positive
/// distance between the two keeps a fleet from swinging; a share of 0 would ask for more for ever.
fn check_shares(path: &str, up: Fraction, down: Fraction, problems: &mut Vec<PolicyProblem>) {
    for (field, share) in [("scaleUpThreshold", up), ("scaleDownBoundary", down)] {
        if share == Fraction::ZERO {
            let path = format!("{path}.{field}");
            problems.push(PolicyProblem { path, expected: "a share above 0" });
        }
    }
    if down > up {
        problems.push(PolicyProblem {
            path: format!("{path}.scaleDownBoundary"),
            expected: "a share that is not above scaleUpThreshold",
        });
    }
}

/// A field that has to be positive.
fn check_positive(path: &str, is_positive: bool, problems: &mut Vec<PolicyProblem>) {
    if !is_positive {
        problems.push(PolicyProblem { path: path.to_owned(), expected: "more than 0" });
    }
}

/// The saturation analyzer's thresholds, with exceptions for single models.
///
/// Defaults: 0.80, 5, 0.10 and 3, as the workload-variant-autoscaler has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SaturationPolicy {
    /// A replica is saturated when this share of its KV cache is in use.
    pub kv_cache_threshold: Fraction,
    /// A replica is saturated when this many requests wait.
    pub queue_length_threshold: QueueLength,
    /// Scale up when the mean spare KV share falls below this.
    pub kv_spare_trigger: Fraction,
    /// Scale up when the mean spare queue falls below this.
    pub queue_spare_trigger: QueueLength,
    /// Exceptions; each may set only some of the fields.
    pub overrides: Vec<ThresholdOverride>,
}

impl Default for SaturationPolicy {
    fn default() -> Self {
        Self {
            kv_cache_threshold: Fraction::new(0.80),
            queue_length_threshold: QueueLength::new(5.0),
            kv_spare_trigger: Fraction::new(0.10),
            queue_spare_trigger: QueueLength::new(3.0),
            overrides: Vec::new(),
        }
    }
}

impl SaturationPolicy {
    /// The thresholds that hold for one model in one namespace.
    #[must_use]
    pub fn thresholds(&self, model: &ModelId, namespace: &Namespace) -> Thresholds {
        let change = self.overrides.iter().find(|change| change.covers(model, namespace));
        change.map_or(self.defaults(), |change| change.apply(self.defaults()))
    }

    fn defaults(&self) -> Thresholds {
        Thresholds {
            kv_cache: self.kv_cache_threshold,
            queue_length: self.queue_length_threshold,
            kv_spare: self.kv_spare_trigger,
            queue_spare: self.queue_spare_trigger,
        }
    }
}

/// The saturation thresholds of one model, after overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Saturated from this share of the KV cache on.
    pub kv_cache: Fraction,
    /// Saturated from this queue length on.
    pub queue_length: QueueLength,
    /// The mean spare KV share to keep.
    pub kv_spare: Fraction,
    /// The mean spare queue to keep.
    pub queue_spare: QueueLength,
}

impl Thresholds {
    /// A trigger above its threshold would ask for more replicas for ever. For the queue the same
    /// holds, but the system that the defaults come from accepts it, so files in use may have it.
    fn check(&self, path: &str, problems: &mut Vec<PolicyProblem>) {
        if self.kv_spare > self.kv_cache {
            problems.push(PolicyProblem {
                path: format!("{path}.kvSpareTrigger"),
                expected: "a share that is not above kvCacheThreshold",
            });
        }
    }
}

/// Thresholds that differ for one model in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThresholdOverride {
    /// The model.
    pub model: ModelId,
    /// The namespace in which it runs.
    pub namespace: Namespace,
    /// Replaces `kvCacheThreshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_threshold: Option<Fraction>,
    /// Replaces `queueLengthThreshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_length_threshold: Option<QueueLength>,
    /// Replaces `kvSpareTrigger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_spare_trigger: Option<Fraction>,
    /// Replaces `queueSpareTrigger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_spare_trigger: Option<QueueLength>,
}

impl ThresholdOverride {
    fn covers(&self, model: &ModelId, namespace: &Namespace) -> bool {
        self.model == *model && self.namespace == *namespace
    }

    fn apply(&self, base: Thresholds) -> Thresholds {
        Thresholds {
            kv_cache: self.kv_cache_threshold.unwrap_or(base.kv_cache),
            queue_length: self.queue_length_threshold.unwrap_or(base.queue_length),
            kv_spare: self.kv_spare_trigger.unwrap_or(base.kv_spare),
            queue_spare: self.queue_spare_trigger.unwrap_or(base.queue_spare),
        }
    }
}

/// How fast replica counts may move, and when a move counts as stuck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScalingPolicy {
    /// Limits on growing.
    pub up: DirectionPolicy,
    /// Limits on shrinking.
    pub down: DirectionPolicy,
    /// A variant that has not reached its desired count after this time no longer counts as in
    /// transition, so that a move which cannot complete does not lock the model.
    pub transition_timeout: Seconds,
}

impl Default for ScalingPolicy {
    fn default() -> Self {
        let free = DirectionPolicy::default();
        Self {
            up: free,
            down: DirectionPolicy { stabilization_window: Seconds::from_minutes(5.0), ..free },
            transition_timeout: Seconds::from_minutes(10.0),
        }
    }
}

/// Limits in one direction. A field that is left out takes the value that
/// [`DirectionPolicy::default`] gives, which holds nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DirectionPolicy {
    /// The move must have been recommended for this long: of the recommendations in the window the
    /// most cautious one counts, as in Kubernetes' horizontal pod autoscaler.
    pub stabilization_window: Seconds,
    /// The least time between two moves of one variant in this direction.
    pub cooldown: Seconds,
    /// The most replicas that one decision may move; 0 forbids moves in this direction, and without
    /// it there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_step: Option<Replicas>,
}

impl Default for DirectionPolicy {
    fn default() -> Self {
        Self { stabilization_window: Seconds::ZERO, cooldown: Seconds::ZERO, max_step: None }
    }
}

/// How old a signal may be before it no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Freshness {
    /// Older signals are stale: they may keep or raise a replica count, never lower it.
    pub stale_after: Seconds,
    /// Older signals are missing.
    pub missing_after: Seconds,
    /// What was learned of a model that has not been seen for this long is dropped.
    pub forget_after: Seconds,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            stale_after: Seconds::from_minutes(1.0),
            missing_after: Seconds::from_minutes(5.0),
            forget_after: Seconds::from_minutes(7.0 * 24.0 * 60.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: serde_json::Value) -> Result<Policy, String> {
        let policy: Policy = serde_json::from_value(json).map_err(|e| e.to_string())?;
        policy.validate().map_err(|problems| format!("{problems:?}"))?;
        Ok(policy)
    }

    /// Vectors H of the 0.5 autoscaler's config validation.
    #[test]
    fn thresholds_are_validated() {
        for (kv, queue, kv_spare, queue_spare, valid) in [
            (0.75, 10.0, 0.15, 5.0, true),
            (1.5, 5.0, 0.1, 3.0, false),
            (-0.1, 5.0, 0.1, 3.0, false),
            (0.8, -1.0, 0.1, 3.0, false),
            (0.8, 5.0, 1.5, 3.0, false),
            (0.8, 5.0, -0.1, 3.0, false),
            (0.8, 5.0, 0.1, -1.0, false),
            (0.5, 5.0, 0.6, 3.0, false),
            (0.0, 0.0, 0.0, 0.0, true),
            (1.0, 1000.0, 1.0, 1000.0, true),
        ] {
            let read = policy(serde_json::json!({ "saturation": {
                "kvCacheThreshold": kv,
                "queueLengthThreshold": queue,
                "kvSpareTrigger": kv_spare,
                "queueSpareTrigger": queue_spare,
            }}));
            assert_eq!(read.is_ok(), valid, "{kv} {queue} {kv_spare} {queue_spare}: {read:?}");
        }
    }

    #[test]
    fn an_explicit_zero_is_kept_and_an_override_may_set_one_field() {
        let read = policy(serde_json::json!({
            "saturation": {
                "queueSpareTrigger": 0,
                "overrides": [{ "model": "m", "namespace": "n", "kvSpareTrigger": 0 }],
            },
            "scaling": { "down": { "maxStep": 0, "stabilizationWindow": "0s" } },
        }))
        .unwrap();
        let of = |model: &str| {
            let (model, namespace) = (model.parse().unwrap(), "n".parse().unwrap());
            read.saturation.thresholds(&model, &namespace)
        };
        assert_eq!(of("m").kv_spare, Fraction::ZERO);
        assert_eq!(of("m").kv_cache, Fraction::new(0.80));
        assert_eq!(of("other").kv_spare, Fraction::new(0.10));
        assert_eq!(of("other").queue_spare, QueueLength::ZERO);
        assert_eq!(read.scaling.down.max_step, Some(Replicas::ZERO));
        assert_eq!(read.scaling.down.stabilization_window, Seconds::ZERO);
        assert_eq!(read.scaling.up, ScalingPolicy::default().up);
    }

    #[test]
    fn a_misspelt_key_is_an_error_at_every_level() {
        for json in [
            serde_json::json!({ "saturatoin": {} }),
            serde_json::json!({ "saturation": { "kvCacheThreshhold": 0.8 } }),
            serde_json::json!({ "saturation": { "overrides": [{ "model": "m", "namespace": "n", "kv": 1 }] } }),
            serde_json::json!({ "scaling": { "sideways": {} } }),
            serde_json::json!({ "scaling": { "up": { "coolDown": "1s" } } }),
            serde_json::json!({ "signals": { "staleafter": "1s" } }),
        ] {
            let error = policy(json.clone()).unwrap_err();
            assert!(error.contains("unknown field"), "{json}: {error}");
        }
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let policy: Policy = serde_json::from_value(serde_json::json!({
            "saturation": {
                "kvCacheThreshold": 0.5,
                "kvSpareTrigger": 0.6,
                "overrides": [
                    { "model": "m", "namespace": "n", "kvCacheThreshold": 0.7 },
                    { "model": "m", "namespace": "n" },
                ],
            },
            "signals": { "staleAfter": "2m", "missingAfter": "1m" },
        }))
        .unwrap();
        let paths: Vec<_> = policy.validate().unwrap_err().into_iter().map(|p| p.path).collect();
        let expected = [
            "saturation.kvSpareTrigger",
            "saturation.overrides[1].kvSpareTrigger",
            "saturation.overrides[1]",
            "signals.missingAfter",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_policy_survives_its_file() {
        let text = serde_json::to_string(&Policy::default()).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), Policy::default());
    }
}
