//! One model at one moment, for the tests of single analyzers.

mod properties;

use optimizer::analyzers::Subject;
use optimizer::forecast::Outlook;
use optimizer::id::VariantId;
use optimizer::observation::{Demand, ReplicaObservation, Role, Signal, VariantObservation};
use optimizer::policy::Policy;
use optimizer::units::{
    Fraction, MeanTokens, QueueLength, Replicas, RequestRate, Seconds, Timestamp, TokenRate, Tokens,
};

use crate::fleet::id;

/// One model at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) now: Timestamp,
    pub(crate) demand: Demand,
    pub(crate) variants: Vec<VariantObservation>,
    pub(crate) policy: Policy,
}

impl Scene {
    /// At 1000 s, under the default policy.
    pub(crate) fn new(variants: Vec<VariantObservation>) -> Self {
        let now = Timestamp::from_seconds(1000.0);
        Self { now, demand: Demand::default(), variants, policy: Policy::default() }
    }

    /// With requests that arrive.
    pub(crate) fn arriving(mut self, rate: f64) -> Self {
        self.demand.arrival_rate = self.seen(RequestRate::new(rate));
        self
    }

    /// A sample of now.
    pub(crate) fn seen<T: Copy>(&self, value: T) -> Signal<T> {
        Signal::seen(value, self.now)
    }

    /// What an analyzer answers.
    pub(crate) fn ask<R>(&self, answer: impl FnOnce(&Subject<'_>) -> R) -> R {
        let mut variants: Vec<_> = self.variants.iter().collect();
        variants.sort_by(|a, b| a.variant.cmp(&b.variant));
        let (namespace, model) = (id("namespace"), id("test-model"));
        answer(&Subject {
            now: self.now,
            namespace: &namespace,
            model: &model,
            slo: None,
            demand: &self.demand,
            outlook: &Outlook::default(),
            variants: &variants,
            policy: &self.policy,
        })
    }
}

/// What an engine reports, in plain numbers: every signal is a sample of one time. Fields that are
/// `None` are not reported.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    pub(crate) kv_usage: Option<f64>,
    pub(crate) kv_capacity: Option<u64>,
    pub(crate) waiting: Option<f64>,
    pub(crate) input: Option<f64>,
    pub(crate) output: Option<f64>,
    pub(crate) hits: Option<f64>,
    pub(crate) completions: Option<f64>,
    pub(crate) prompt_rate: Option<f64>,
    pub(crate) generation_rate: Option<f64>,
    pub(crate) itl: Option<f64>,
    pub(crate) queue_time: Option<f64>,
}

impl Report {
    /// The tuple of the vectors: tokens in use, size of the cache, queue, mean prompt and output.
    pub(crate) fn tokens(in_use: u64, size: u64, queue: f64, input: f64, output: f64) -> Self {
        Self {
            kv_usage: Some(in_use as f64 / size as f64),
            kv_capacity: Some(size),
            waiting: Some(queue),
            input: Some(input),
            output: Some(output),
            ..Self::default()
        }
    }

    pub(crate) fn at(&self, at: Timestamp, name: &str) -> ReplicaObservation {
        fn signal<T: Copy>(value: Option<f64>, unit: fn(f64) -> T, at: Timestamp) -> Signal<T> {
            value.map_or(Signal::Missing, |value| Signal::seen(unit(value), at))
        }
        let capacity = self.kv_capacity.map(Tokens::new);
        ReplicaObservation {
            kv_usage: signal(self.kv_usage, Fraction::new, at),
            kv_capacity: capacity.map_or(Signal::Missing, |value| Signal::seen(value, at)),
            waiting: signal(self.waiting, QueueLength::new, at),
            input_tokens: signal(self.input, MeanTokens::new, at),
            output_tokens: signal(self.output, MeanTokens::new, at),
            prefix_hits: signal(self.hits, Fraction::new, at),
            completions: signal(self.completions, RequestRate::new, at),
            prompt_rate: signal(self.prompt_rate, TokenRate::new, at),
            generation_rate: signal(self.generation_rate, TokenRate::new, at),
            itl: signal(self.itl, Seconds::new, at),
            queue_time: signal(self.queue_time, Seconds::new, at),
            ..ReplicaObservation::silent(id(name))
        }
    }
}

/// A variant of ready replicas on H100 with one engine each, which report at 1000 s.
pub(crate) fn variant(name: &str, role: Role, reports: &[Report]) -> VariantObservation {
    reporting(name, role, Timestamp::from_seconds(1000.0), reports)
}

/// The same at another time.
pub(crate) fn reporting(
    name: &str,
    role: Role,
    at: Timestamp,
    reports: &[Report],
) -> VariantObservation {
    let count = Replicas::new(u32::try_from(reports.len()).unwrap());
    let engines = reports.iter().enumerate();
    let variant: VariantId = id(name);
    VariantObservation {
        role,
        current: count,
        ready: count,
        replicas: engines.map(|(idx, report)| report.at(at, &format!("{name}-{idx}"))).collect(),
        ..VariantObservation::new(variant, id("H100"))
    }
}
