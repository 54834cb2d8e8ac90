//! What the engines of a model report, as the analyzer reads it.

use crate::analyzers::Subject;
use crate::analyzers::balance::RoleShares;
use crate::analyzers::reading::{Reader, engines_per_replica, mean, reporting};
use crate::id::ReplicaId;
use crate::observation::{Role, VariantObservation};
use crate::policy::Thresholds;
use crate::units::{
    Bytes, Fraction, QueueLength, RequestRate, Seconds, Timestamp, TokenRate, Tokens,
};

/// A model, read at one moment.
pub(super) struct Census<'a> {
    pub(super) now: Timestamp,
    pub(super) thresholds: Thresholds,
    /// Sorted by name.
    pub(super) variants: Vec<Ranks<'a>>,
    pub(super) shares: RoleShares,
    pub(super) lengths: Lengths,
    /// Requests that wait at the gateway.
    pub(super) gateway_queue: Option<f64>,
    /// Their bytes.
    pub(super) gateway_bytes: Option<f64>,
    /// Requests per second that arrive.
    pub(super) arrivals: Option<f64>,
    /// The age of the oldest signal that was used.
    pub(super) oldest: Seconds,
}

/// A variant with the engines that report. A data-parallel rank is an engine of its own.
pub(super) struct Ranks<'a> {
    pub(super) observed: &'a VariantObservation,
    /// Sorted, so that their order in the observation does not matter.
    pub(super) engines: Vec<Engine<'a>>,
}

/// What one engine reports.
pub(super) struct Engine<'a> {
    pub(super) replica: &'a ReplicaId,
    pub(super) kv_usage: Option<f64>,
    pub(super) waiting: Option<f64>,
    /// When `waiting` was sampled, if it is fresh: a stale one shows no limit.
    pub(super) sampled: Option<Timestamp>,
    pub(super) kv_capacity: Option<Tokens>,
    pub(super) lengths: Lengths,
    pub(super) prompt_rate: Option<f64>,
    pub(super) generation_rate: Option<f64>,
    /// Requests that wait on average, by Little's law.
    pub(super) mean_waiting: Option<f64>,
}

/// What requests are like, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lengths {
    /// Mean prompt.
    pub(super) input: Option<f64>,
    /// Mean output.
    pub(super) output: Option<f64>,
    /// The share of prompt tokens that a prefix cache has.
    pub(super) hits: Option<f64>,
}

impl<'a> Census<'a> {
    pub(super) fn take(subject: &Subject<'a>) -> Self {
        let Subject { now, policy, demand, .. } = *subject;
        let mut reader = Reader::new(now, &policy.signals);
        let variants: Vec<_> =
            subject.variants.iter().map(|variant| Ranks::read(variant, &mut reader)).collect();
        let engines = || variants.iter().flat_map(|variant| &variant.engines);
        let mean_of =
            |of: fn(&Lengths) -> Option<f64>| mean(engines().filter_map(|e| of(&e.lengths)));
        let positive = |length: f64| Some(length).filter(|length| *length > 0.0);
        let input = reader.read(&demand.input.mean).and_then(|mean| positive(mean.value()));
        let output = reader.read(&demand.output.mean).and_then(|mean| positive(mean.value()));
        let lengths = Lengths {
            input: input.or_else(|| mean_of(|lengths| lengths.input)),
            output: output.or_else(|| mean_of(|lengths| lengths.output)),
            hits: mean_of(|lengths| lengths.hits),
        };
        Self {
            now,
            thresholds: policy.saturation.thresholds(subject.model, subject.namespace),
            shares: RoleShares::of(subject.variants),
            lengths,
            gateway_queue: reader.read(&demand.gateway_queue).map(QueueLength::value),
            gateway_bytes: reader.read(&demand.gateway_bytes).map(Bytes::as_f64),
            arrivals: reader.read(&demand.arrival_rate).map(RequestRate::value),
            oldest: reader.oldest(),
            variants,
        }
    }

    /// Every engine of the model.
    pub(super) fn engines(&self) -> impl Iterator<Item = &Engine<'a>> {
        self.variants.iter().flat_map(|variant| &variant.engines)
    }

    /// The variants of one role.
    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = &Ranks<'a>> {
        self.variants.iter().filter(move |variant| variant.observed.role == role)
    }
}

impl<'a> Ranks<'a> {
    fn read(observed: &'a VariantObservation, reader: &mut Reader<'_>) -> Self {
        let replicas = reporting(observed, reader);
        let engines = replicas
            .into_iter()
            .map(|replica| {
                let length = |mean: f64| Some(mean).filter(|mean| *mean > 0.0);
                let completions = reader.read(&replica.completions);
                let queue_time = reader.read(&replica.queue_time);
                Engine {
                    replica: &replica.replica,
                    kv_usage: reader.read(&replica.kv_usage).map(Fraction::value),
                    waiting: reader.read(&replica.waiting).map(QueueLength::value),
                    sampled: reader.fresh(&replica.waiting).map(|(_, at)| at),
                    kv_capacity: reader.read(&replica.kv_capacity),
                    lengths: Lengths {
                        input: reader.read(&replica.input_tokens).and_then(|m| length(m.value())),
                        output: reader.read(&replica.output_tokens).and_then(|m| length(m.value())),
                        hits: reader.read(&replica.prefix_hits).map(Fraction::value),
                    },
                    prompt_rate: reader.read(&replica.prompt_rate).map(TokenRate::value),
                    generation_rate: reader.read(&replica.generation_rate).map(TokenRate::value),
                    mean_waiting: completions.zip(queue_time).map(|(rate, time)| rate * time),
                }
            })
            .collect();
        Self { observed, engines }
    }

    /// Engines of one replica: what its configuration says, or else what reports.
    pub(super) fn per_replica(&self) -> u64 {
        engines_per_replica(self.observed, self.engines.len())
    }

    /// Engines of the replicas that are ready, whether they report or not.
    pub(super) fn ready_engines(&self) -> u64 {
        u64::from(self.observed.ready.get()).saturating_mul(self.per_replica())
    }

    /// Whether replicas that take requests do not report.
    pub(super) fn is_silent(&self) -> bool {
        (self.engines.len() as u64) < self.ready_engines()
    }

    /// Whether another variant can do the same: it has the same role, hardware and configuration.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let (a, b) = (self.observed, other.observed);
        a.role == b.role
            && a.accelerator == b.accelerator
            && a.gpus_per_replica == b.gpus_per_replica
            && a.engine == b.engine
    }
}

impl Engine<'_> {
    /// Whether a signal is missing without which its load is not known.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.kv_usage.is_none() || self.waiting.is_none()
    }
}

impl Lengths {
    /// These lengths, and where one is not known that of `others`.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            input: self.input.or(others.input),
            output: self.output.or(others.output),
            hits: self.hits.or(others.hits),
        }
    }

    /// The tokens of a request that a role keeps in its cache, or that it is to keep when it waits:
    /// prefill frees its cache before the output is there.
    pub(super) fn held(&self, role: Role) -> Option<f64> {
        match role {
            Role::Prefill => self.input,
            Role::Both | Role::Decode => self
                .input
                .or(self.output)
                .map(|_| self.input.unwrap_or_default() + self.output.unwrap_or_default()),
        }
    }

    /// Whether [`Self::held`] is all that a request will hold.
    pub(super) const fn tell_held(&self, role: Role) -> bool {
        self.input.is_some() && (self.output.is_some() || matches!(role, Role::Prefill))
    }

    /// Prompt tokens that are computed, not found in a prefix cache.
    pub(super) fn computed(&self) -> Option<f64> {
        self.input.map(|input| input * (1.0 - self.hits.unwrap_or_default()))
    }

    /// The tokens of a request that the steps of a role have to get through.
    pub(super) fn processed(&self, role: Role) -> Option<f64> {
        match role {
            Role::Both => Some(self.computed()? + self.output?),
            Role::Prefill => self.computed(),
            Role::Decode => self.output,
        }
    }
}

/// Whole tokens, rounded down. What is too many becomes the most that there can be.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturation is wanted, and no number here is negative"
)]
pub(super) const fn floor(tokens: f64) -> Tokens {
    Tokens::new(tokens as u64)
}
