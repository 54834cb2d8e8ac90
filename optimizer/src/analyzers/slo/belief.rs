//! What is believed of a variant's replicas, and how it is learned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::replica::RequestMix;
use crate::id::ReplicaId;
use crate::observation::{ReplicaObservation, Signal, VariantObservation};
use crate::policy::Freshness;
use crate::step_time::{StepSample, StepTime, StepTimeFit};
use crate::units::{
    Fraction, MeanTokens, QueueLength, RequestRate, Seconds, StepRate, Timestamp, Tokens,
};

/// Below this many sequences in a step, the rate of steps alone does not tell their time: a replica
/// that is idle now and then takes few steps, not slow ones.
const BUSY: f64 = 4.0;

/// The belief about the replicas of one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Belief {
    fit: StepTimeFit,
    /// The profile with which it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<StepTime>,
    /// The size of a KV cache, as replicas reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kv_capacity: Option<Tokens>,
    /// When the last sample of each replica was taken: no sample counts twice.
    sampled: BTreeMap<ReplicaId, Timestamp>,
}

impl Belief {
    pub(super) fn new(variant: &VariantObservation) -> Self {
        Self {
            fit: StepTimeFit::new(variant.profile),
            profile: variant.profile,
            kv_capacity: None,
            sampled: BTreeMap::new(),
        }
    }

    /// Whether the variant's profile is still the one with which it began.
    pub(super) fn is_of(&self, variant: &VariantObservation) -> bool {
        self.profile == variant.profile
    }

    pub(super) fn step_time(&self) -> StepTime {
        self.fit.step_time()
    }

    /// What replicas report, what the configuration says, or what follows from the blocks in it.
    pub(super) fn kv_capacity(&self, variant: &VariantObservation) -> Option<Tokens> {
        let blocks = || {
            let tokens = u64::from(variant.engine.num_blocks?);
            Some(Tokens::new(tokens.saturating_mul(variant.engine.block_size.get())))
        };
        self.kv_capacity.or(variant.engine.kv_capacity).or_else(blocks)
    }

    /// The relative deviation of the believed time of a step, when it is half prompts and half a
    /// batch of thirty-two.
    pub(super) fn deviation(&self, mix: &RequestMix) -> f64 {
        const SEQUENCES: f64 = 32.0;
        let context = mix.input.value() + mix.output.value() / 2.0;
        let prompt = SEQUENCES * mix.input.value() * (1.0 - mix.prefix_hits.value())
            / mix.output.value().max(1.0);
        let tokens = |value: f64| MeanTokens::checked(value).unwrap_or(MeanTokens::ZERO);
        self.fit.uncertainty(&StepSample {
            time: Seconds::ZERO,
            prompt: tokens(prompt),
            sequences: QueueLength::new(SEQUENCES),
            context: tokens(SEQUENCES * context),
        })
    }

    /// Learns from the replicas' new samples. Returns their mean step time and what it was believed
    /// to be before, if there are any.
    pub(super) fn learn(
        &mut self,
        variant: &VariantObservation,
        mix: Option<RequestMix>,
        now: Timestamp,
        freshness: &Freshness,
        memory: Seconds,
    ) -> Option<(Seconds, Seconds)> {
        let reported = variant.replicas.iter().filter_map(|replica| {
            replica.kv_capacity.read(now, freshness).value().filter(|tokens| tokens.get() > 0)
        });
        self.kv_capacity = reported.min().or(self.kv_capacity);
        self.sampled.retain(|id, _| variant.replicas.iter().any(|other| other.replica == *id));

        let mut replicas: Vec<_> = variant.replicas.iter().collect();
        replicas.sort_unstable();
        let before = self.fit.step_time();
        let (mut observed, mut expected) = (Seconds::ZERO, Seconds::ZERO);
        for replica in replicas {
            let Some((sample, at)) = self.sample(variant, replica, mix, now, freshness) else {
                continue;
            };
            if self.sampled.get(&replica.replica).is_some_and(|&last| last >= at) {
                continue;
            }
            self.sampled.insert(replica.replica.clone(), at);
            observed += sample.time;
            expected += before.of(sample.prompt, sample.sequences, sample.context);
            self.fit.learn(&sample, at, memory);
        }
        (!expected.is_zero() && !observed.is_zero()).then_some((observed, expected))
    }

    /// What a replica reports of its steps, when it does and is busy enough.
    fn sample(
        &self,
        variant: &VariantObservation,
        replica: &ReplicaObservation,
        mix: Option<RequestMix>,
        now: Timestamp,
        freshness: &Freshness,
    ) -> Option<(StepSample, Timestamp)> {
        /// The value, if it is fresh.
        fn fresh<T: Copy>(signal: &Signal<T>, now: Timestamp, freshness: &Freshness) -> Option<T> {
            let reading = signal.read(now, freshness);
            reading.is_fresh().then(|| reading.value()).flatten()
        }
        let steps = fresh(&replica.step_rate, now, freshness).map(StepRate::value);
        let steps = steps.filter(|&rate| rate > 0.0);
        let itl = fresh(&replica.itl, now, freshness).filter(|itl| !itl.is_zero());
        // A step is no longer than the mean gap between tokens, which are in full steps more often
        // than in empty ones, and no longer than its share of all the time.
        let by_rate = steps.and_then(|rate| Seconds::checked(rate.recip()));
        let time = [by_rate, itl].into_iter().flatten().min()?;
        let in_step = |rate: f64| rate / steps.unwrap_or(time.value().recip());

        let tokens = fresh(&replica.generation_rate, now, freshness)?.value();
        let completions =
            fresh(&replica.completions, now, freshness).map_or(0.0, RequestRate::value);
        let sequences = in_step((tokens - completions).max(0.0));
        if itl.is_none() && sequences < BUSY {
            return None;
        }
        let hits = fresh(&replica.prefix_hits, now, freshness)
            .or(mix.map(|mix| mix.prefix_hits))
            .unwrap_or(Fraction::ZERO);
        let computed = 1.0 - hits.value();
        let prompt = in_step(fresh(&replica.prompt_rate, now, freshness)?.value() * computed);

        // Both gauges are maxima of the window, so their ratio is what a sequence holds.
        let held = || {
            let usage = fresh(&replica.kv_usage, now, freshness)?.value();
            let running = fresh(&replica.running, now, freshness)?.value();
            let capacity = self.kv_capacity(variant)?.as_f64();
            (running >= 1.0).then(|| usage * capacity / running)
        };
        let completed = || mix.map(|mix| mix.input.value() + mix.output.value() / 2.0);
        let context = sequences * held().or_else(completed)?;

        let at = [sampled_at(&replica.step_rate), sampled_at(&replica.itl)];
        let sample = StepSample {
            time,
            prompt: MeanTokens::checked(prompt)?,
            sequences: QueueLength::checked(sequences)?,
            context: MeanTokens::checked(context)?,
        };
        Some((sample, at.into_iter().flatten().max()?))
    }
}

fn sampled_at<T>(signal: &Signal<T>) -> Option<Timestamp> {
    match signal {
        Signal::Seen { at, .. } => Some(*at),
        Signal::Missing => None,
    }
}
