//! What is asked: the rate, the requests, and those that wait.

use super::replica::RequestMix;
use crate::analyzers::Subject;
use crate::decision::{Reason, SloReason};
use crate::observation::{Reading, ReplicaObservation, Role, Signal, VariantObservation};
use crate::units::{
    Fraction, MeanTokens, QueueLength, Replicas, RequestRate, Seconds, TokenRate, Variation,
};

/// Where nobody says how lengths vary, and how arrivals cluster: as an exponential distribution and
/// as a Poisson process.
const USUAL: Variation = Variation::new(1.0);
/// Sequences hold so much more than expected before that counts, and it counts no further than this.
const LONGER: (f64, f64) = (1.25, 4.0);
/// How many sequences must run for what they hold to say something.
const ENOUGH: f64 = 4.0;

/// Reads signals, and remembers how old the oldest was.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    subject: &'a Subject<'a>,
    age: Seconds,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(subject: &'a Subject<'a>) -> Self {
        Self { subject, age: Seconds::ZERO }
    }

    /// The age of the oldest signal that was read, zero when all were fresh.
    pub(super) const fn age(&self) -> Seconds {
        self.age
    }

    fn read<T: Copy>(&mut self, signal: &Signal<T>) -> Option<T> {
        let reading = signal.read(self.subject.now, &self.subject.policy.signals);
        if let Reading::Stale { age, .. } = reading {
            self.age = self.age.max(age);
        }
        reading.value()
    }
}

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Traffic {
    /// Arrivals, as observed.
    pub(super) rate: Option<RequestRate>,
    /// What they are like; `None` when nobody says.
    pub(super) mix: Option<RequestMix>,
    /// Requests that no replica takes.
    at_gateway: QueueLength,
    /// Requests in the queues of engines, by the role of these, in the order of [`Role`].
    in_engines: [QueueLength; 3],
}

impl Traffic {
    /// Reads the subject. `before` is what requests were like when that was last known.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        before: Option<RequestMix>,
        reasons: &mut Vec<Reason>,
    ) -> Self {
        let demand = reader.subject.demand;
        let rate = reader.read(&demand.arrival_rate);
        let at_gateway = reader.read(&demand.gateway_queue).unwrap_or(QueueLength::ZERO);
        let mut in_engines = [QueueLength::ZERO; 3];
        for variant in reader.subject.variants {
            let mut replicas: Vec<_> = variant.replicas.iter().collect();
            replicas.sort_unstable();
            for replica in replicas {
                let waiting = reader.read(&replica.waiting).unwrap_or(QueueLength::ZERO);
                in_engines[variant.role as usize] += waiting;
            }
        }
        let mix = read_mix(reader, before).map(|mix| lengthen(reader, mix, reasons));
        Self { rate, mix, at_gateway, in_engines }
    }

    /// Requests that wait for replicas of a role.
    pub(super) fn waiting(&self, role: Role) -> QueueLength {
        self.at_gateway + self.in_engines[role as usize]
    }

    /// Whether nobody waits.
    pub(super) fn waits_nowhere(&self) -> bool {
        self.at_gateway.is_zero() && self.in_engines.iter().all(|queue| queue.is_zero())
    }
}

/// The mean time to first token that the replicas of a variant report, and the requests that one of
/// them completes per second; `None` unless both are fresh.
pub(super) fn mean_ttft(
    subject: &Subject<'_>,
    variant: &VariantObservation,
) -> Option<(Seconds, RequestRate)> {
    let mut replicas: Vec<_> = variant.replicas.iter().collect();
    replicas.sort_unstable();
    let (mut weighted, mut completions, mut count) = (0.0, 0.0, 0.0);
    for replica in replicas {
        let ttft = replica.ttft.read(subject.now, &subject.policy.signals);
        let rate = replica.completions.read(subject.now, &subject.policy.signals);
        if let (Reading::Fresh(ttft), Reading::Fresh(rate)) = (ttft, rate) {
            weighted += ttft.value() * rate.value();
            completions += rate.value();
            count += 1.0;
        }
    }
    let mean = Seconds::checked(weighted / completions)?;
    Some((mean, RequestRate::checked(completions / count)?))
}

/// What requests are like: as the gateway sees them arrive, or else as replicas complete them.
fn read_mix(reader: &mut Reader<'_>, before: Option<RequestMix>) -> Option<RequestMix> {
    let demand = reader.subject.demand;
    let input = reader
        .read(&demand.input.mean)
        .or_else(|| mean_of(reader, Role::Decode, |replica| replica.input_tokens))
        .or(before.map(|mix| mix.input))?;
    let output = reader
        .read(&demand.output.mean)
        // A prefill replica ends each request at its first token.
        .or_else(|| mean_of(reader, Role::Prefill, |replica| replica.output_tokens))
        .or(before.map(|mix| mix.output))?;
    Some(RequestMix {
        input,
        output,
        input_variation: reader.read(&demand.input.variation).unwrap_or(USUAL),
        output_variation: reader.read(&demand.output.variation).unwrap_or(USUAL),
        prefix_hits: mean_hits(reader).unwrap_or(Fraction::ZERO),
        burstiness: share_of(reader.read(&demand.burstiness).unwrap_or(USUAL), replicas(reader)),
    })
}

/// How the arrivals at one of several replicas cluster when each takes its share of all arrivals. A
/// burst is spread over them, and what is left of it is nearer to a Poisson process.
fn share_of(burstiness: Variation, replicas: Replicas) -> Variation {
    let count = replicas.as_f64().max(1.0);
    Variation::checked(1.0 + (burstiness.value() - 1.0) / count).unwrap_or(burstiness)
}

/// Replicas that take prompts now.
fn replicas(reader: &Reader<'_>) -> Replicas {
    let take_prompts = reader.subject.variants.iter().filter(|v| v.role != Role::Decode);
    take_prompts.map(|variant| variant.ready.min(variant.current)).sum()
}

/// The mean over the replicas of all roles but one, each weighted by the requests that it completed.
fn mean_of(
    reader: &mut Reader<'_>,
    except: Role,
    signal: fn(&ReplicaObservation) -> Signal<MeanTokens>,
) -> Option<MeanTokens> {
    let mean = weighted_mean(reader, except, |reader, replica| {
        let value = reader.read(&signal(replica))?.value();
        let weight = reader.read(&replica.completions).map_or(1.0, RequestRate::value);
        Some((value, weight))
    });
    // A length of zero is a window in which nothing ended.
    MeanTokens::checked(mean?).filter(|tokens| !tokens.is_zero())
}

/// The mean prefix hits of those who compute prompts, weighted by prompt tokens.
fn mean_hits(reader: &mut Reader<'_>) -> Option<Fraction> {
    let mean = weighted_mean(reader, Role::Decode, |reader, replica| {
        let value = reader.read(&replica.prefix_hits)?.value();
        let weight = reader.read(&replica.prompt_rate).map_or(1.0, TokenRate::value);
        Some((value, weight))
    });
    Fraction::checked(mean?)
}

/// The weighted mean of what replicas of all roles but one report; when no weight is above zero, the
/// plain one.
fn weighted_mean(
    reader: &mut Reader<'_>,
    except: Role,
    read: impl Fn(&mut Reader<'_>, &ReplicaObservation) -> Option<(f64, f64)>,
) -> Option<f64> {
    let variants = reader.subject.variants.iter().filter(|variant| variant.role != except);
    let mut replicas: Vec<_> = variants.flat_map(|variant| &variant.replicas).collect();
    // Sums of floating-point numbers depend on the order.
    replicas.sort_unstable();
    let (mut weighted, mut weights, mut plain, mut count) = (0.0, 0.0, 0.0, 0.0);
    for replica in replicas {
        let Some((value, weight)) = read(reader, replica) else { continue };
        weighted += value * weight;
        weights += weight;
        plain += value;
        count += 1.0;
    }
    if weights > 0.0 { Some(weighted / weights) } else { (count > 0.0).then(|| plain / count) }
}

/// Means of completed requests lag behind when outputs become longer, as long ones complete last.
/// But what running sequences hold shows it early: if that is more than such requests can hold, the
/// outputs are taken for longer. It never makes them shorter: in a ramp sequences are young.
fn lengthen(reader: &mut Reader<'_>, mix: RequestMix, reasons: &mut Vec<Reason>) -> RequestMix {
    let (mut held, mut running) = (0.0, 0.0);
    let decoding = reader.subject.variants.iter().filter(|variant| variant.role != Role::Prefill);
    let mut replicas: Vec<_> = decoding.flat_map(|variant| &variant.replicas).collect();
    replicas.sort_unstable();
    for replica in replicas {
        let (now, freshness) = (reader.subject.now, &reader.subject.policy.signals);
        let usage = replica.kv_usage.read(now, freshness);
        let batch = replica.running.read(now, freshness);
        let capacity = replica.kv_capacity.read(now, freshness).value();
        if let (Reading::Fresh(usage), Reading::Fresh(batch), Some(capacity)) =
            (usage, batch, capacity)
        {
            held += usage.value() * capacity.as_f64();
            running += batch.value();
        }
    }
    let age_of_one = f64::midpoint(1.0, mix.output_variation.value().powi(2));
    let expected = mix.input.value() + mix.output.value() * age_of_one;
    let observed = held / running;
    if running < ENOUGH || observed.is_nan() || observed <= LONGER.0 * expected {
        return mix;
    }
    let output = ((observed - mix.input.value()) / age_of_one).min(LONGER.1 * mix.output.value());
    let (Some(output), Some(observed), Some(expected)) =
        (MeanTokens::checked(output), MeanTokens::checked(observed), MeanTokens::checked(expected))
    else {
        return mix;
    };
    reasons.push(Reason::Slo(SloReason::LongerContexts { observed, expected }));
    RequestMix { output: output.max(mix.output), ..mix }
}
