//! What a model's users ask for, as far as signals tell.

use crate::analyzers::Subject;
use crate::observation::{Reading, ReplicaObservation, Signal, VariantObservation};
use crate::policy::Freshness;
use crate::queueing::RequestShape;
use crate::units::{MeanTokens, QueueLength, RequestRate, Seconds, Timestamp, Tokens};

/// Reads signals, and remembers the age of the oldest one in use.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    now: Timestamp,
    freshness: &'a Freshness,
    age: Seconds,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(now: Timestamp, freshness: &'a Freshness) -> Self {
        Self { now, freshness, age: Seconds::ZERO }
    }

    /// The age of the oldest signal that was read.
    pub(super) const fn age(&self) -> Seconds {
        self.age
    }

    /// The value, fresh or stale.
    pub(super) fn read<T: Copy>(&mut self, signal: &Signal<T>) -> Option<T> {
        let value = signal.read(self.now, self.freshness).value()?;
        if let Signal::Seen { at, .. } = signal {
            self.age = self.age.max(self.now.since(*at));
        }
        Some(value)
    }

    /// The value if it is fresh; it does not count as used.
    pub(super) fn fresh<T: Copy>(&self, signal: &Signal<T>) -> Option<T> {
        match signal.read(self.now, self.freshness) {
            Reading::Fresh(value) => Some(value),
            Reading::Stale { .. } | Reading::Missing => None,
        }
    }
}

/// Requests that arrive, and those that wait already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Demand {
    pub(super) arrival: RequestRate,
    pub(super) waiting: QueueLength,
}

impl Demand {
    /// `None` when nobody reports the arrival rate. A queue that nobody reports is empty.
    pub(super) fn read(subject: &Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let arrival = reader.read(&subject.demand.arrival_rate)?;
        let mut queues: Vec<QueueLength> =
            replicas(subject).filter_map(|replica| reader.read(&replica.waiting)).collect();
        queues.extend(reader.read(&subject.demand.gateway_queue));
        // A sum of numbers depends on their order, and the answer must not.
        queues.sort();
        let waiting = queues.iter().fold(0.0, |sum, queue| sum + queue.value()).min(f64::MAX);
        Some(Self { arrival, waiting: QueueLength::new(waiting) })
    }

    /// The rate to be served, if those that wait are to be served within a time besides.
    pub(super) fn rate(&self, drain: Seconds) -> f64 {
        let drained = if drain.is_zero() { 0.0 } else { self.waiting.value() / drain.value() };
        self.arrival.value() + drained
    }
}

/// The mean request of a model; an error names the signal that is missing.
///
/// What the gateway sees goes before what replicas report.
pub(super) fn shape(
    subject: &Subject<'_>,
    reader: &mut Reader<'_>,
) -> Result<RequestShape, &'static str> {
    let (input, output) = (&subject.demand.input.mean, &subject.demand.output.mean);
    let input = reader.read(input).or_else(|| {
        let lengths = replicas(subject).filter_map(|replica| reader.read(&replica.input_tokens));
        mean(lengths.collect())
    });
    let output = reader.read(output).or_else(|| {
        let lengths = replicas(subject).filter_map(|replica| reader.read(&replica.output_tokens));
        mean(lengths.collect())
    });
    Ok(rounded(input.ok_or("inputTokens")?, output.ok_or("outputTokens")?))
}

/// The mean request that the replicas of one variant completed, where they tell.
pub(super) fn completed_shape(
    variant: &VariantObservation,
    reader: &Reader<'_>,
) -> Option<RequestShape> {
    let of = |signal: fn(&ReplicaObservation) -> &Signal<MeanTokens>| {
        mean(variant.replicas.iter().filter_map(|it| reader.fresh(signal(it))).collect())
    };
    Some(rounded(of(|it| &it.input_tokens)?, of(|it| &it.output_tokens)?))
}

fn replicas<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a ReplicaObservation> {
    subject.variants.iter().flat_map(|variant| &variant.replicas)
}

/// The mean, whatever the order; `None` of nothing, and of numbers whose sum is not finite.
fn mean(mut lengths: Vec<MeanTokens>) -> Option<MeanTokens> {
    lengths.sort();
    let sum: f64 = lengths.iter().map(|length| length.value()).sum();
    MeanTokens::checked(sum / lengths.len() as f64)
}

/// To whole tokens; a request has at least one output token.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a length is not negative, and saturation is wanted"
)]
fn rounded(input: MeanTokens, output: MeanTokens) -> RequestShape {
    let tokens = |length: MeanTokens| Tokens::new(length.value().round() as u64);
    RequestShape { input: tokens(input), output: tokens(output).max(Tokens::new(1)) }
}
