//! What the analyzer has learned of one variant, each with the time at which it was last seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::capacity::OutputLength;
use super::census::{Census, Engine, Ranks, floor};
use super::rate::Mix;
use crate::analyzers::memory::{Dated, Kind};
use crate::id::ReplicaId;
use crate::observation::VariantObservation;
use crate::policy::Policy;
use crate::units::{QueueLength, Seconds, Timestamp, TokenRate, Tokens};

/// The most samples of what full engines held.
const SAMPLES: usize = 10;

/// Tokens in use that grow by more than this share between two looks are still growing.
const GROWTH: f64 = 0.05;

/// What is known of a variant from the past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Learned {
    kind: Kind,
    /// The size of an engine's KV cache.
    pub(super) cache: Option<Dated<Tokens>>,
    /// What an engine could hold, when the variant last had replicas.
    pub(super) capacity: Option<Dated<Tokens>>,
    /// What engines held while requests waited, by the length of outputs.
    held: BTreeMap<OutputLength, Vec<Dated<Tokens>>>,
    /// The most that an engine got through while requests waited, by the mix of requests.
    rates: BTreeMap<Mix, Dated<TokenRate>>,
    /// The last look at each engine.
    looks: BTreeMap<ReplicaId, Look>,
}

/// An engine as it was when it last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Look {
    at: Timestamp,
    waiting: QueueLength,
    in_use: Option<Tokens>,
}

impl Learned {
    pub(super) fn new(observed: &VariantObservation) -> Self {
        Self {
            kind: Kind::of(observed),
            cache: None,
            capacity: None,
            held: BTreeMap::new(),
            rates: BTreeMap::new(),
            looks: BTreeMap::new(),
        }
    }

    pub(super) fn is_of(&self, observed: &VariantObservation) -> bool {
        self.kind.is_of(observed)
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { kind: _, cache, capacity, held, rates, looks } = self;
        let nothing = cache.is_none() && capacity.is_none();
        nothing && held.is_empty() && rates.is_empty() && looks.is_empty()
    }

    /// Takes in what the engines show. The result says for each of them whether it is at its limit.
    pub(super) fn learn(
        &mut self,
        ranks: &Ranks<'_>,
        census: &Census<'_>,
        policy: &Policy,
    ) -> Vec<bool> {
        let smallest = ranks.engines.iter().filter_map(|engine| engine.kv_capacity).min();
        if let Some(value) = smallest {
            self.cache = Some(Dated { value, at: census.now });
        }
        let before = self.looks.clone();
        let mut held = BTreeMap::<_, Vec<Tokens>>::new();
        let mut at_limits = Vec::with_capacity(ranks.engines.len());
        for engine in &ranks.engines {
            let in_use = self.in_use(engine);
            let look = before.get(engine.replica);
            let fresh = engine.waiting.and_then(QueueLength::checked).zip(engine.sampled);
            let at_limit = fresh.zip(in_use).is_some_and(|((waiting, _), in_use)| {
                waiting >= census.thresholds.queue_length
                    && in_use > Tokens::ZERO
                    && look.is_none_or(|look| look.is_followed_by(waiting, in_use))
            });
            if let (true, Some(in_use)) = (at_limit && engine.is_new(look), in_use) {
                let length = OutputLength::of(engine.lengths.or(census.lengths).output);
                held.entry(length).or_default().push(in_use);
            }
            if let Some((waiting, at)) = fresh {
                self.looks.insert(engine.replica.clone(), Look { at, waiting, in_use });
            }
            at_limits.push(at_limit);
        }
        self.learn_held(held, census.now);
        self.learn_rates(ranks, &before, census, policy);
        at_limits
    }

    /// The tokens in an engine's cache, where its size is known.
    pub(super) fn in_use(&self, engine: &Engine<'_>) -> Option<Tokens> {
        let capacity = self.cache_of(engine)?;
        let tokens = (engine.kv_usage? * capacity.as_f64()).round();
        Some(floor(tokens).min(capacity))
    }

    /// The size of an engine's cache: as it reports, as it was, or as it is configured.
    pub(super) fn cache_of(&self, engine: &Engine<'_>) -> Option<Tokens> {
        engine.kv_capacity.or_else(|| self.cache_size())
    }

    /// The size of an engine's cache where none reports it.
    pub(super) fn cache_size(&self) -> Option<Tokens> {
        let seen = self.cache.map(|cache| cache.value);
        seen.or(self.kind.engine().kv_capacity).filter(|capacity| *capacity > Tokens::ZERO)
    }

    /// The mean of what full engines held, where a sample counts half as much as one that is
    /// younger by `half_life`.
    pub(super) fn held(
        &self,
        length: OutputLength,
        now: Timestamp,
        half_life: Seconds,
    ) -> Option<Tokens> {
        let samples = self.held.get(&length)?;
        let youngest = samples.iter().map(|sample| now.since(sample.at)).min()?;
        // Only the differences of age matter, so the youngest weighs 1 and no sum is zero.
        let weight = |sample: &Dated<_>| remainder(now.since(sample.at) - youngest, half_life);
        let weights: f64 = samples.iter().map(weight).sum();
        let sum: f64 = samples.iter().map(|sample| sample.value.as_f64() * weight(sample)).sum();
        Some(floor((sum / weights).round()))
    }

    /// The most that an engine got through with requests of this mix, or else the lesser of what
    /// one did with the mixes beside it: a mix may lie at a border.
    pub(super) fn rate(&self, mix: Mix) -> Option<TokenRate> {
        let of = |mix: &Mix| self.rates.get(mix).map(|rate| rate.value);
        of(&mix).or_else(|| mix.neighbors().iter().filter_map(of).min())
    }

    /// Whether anything is known of what an engine gets through.
    pub(super) fn knows_rates(&self) -> bool {
        !self.rates.is_empty()
    }

    /// Takes in what full engines hold: of all that are seen at once their median, so that the
    /// samples spread over time.
    fn learn_held(&mut self, held: BTreeMap<OutputLength, Vec<Tokens>>, at: Timestamp) {
        for (length, mut values) in held {
            values.sort_unstable();
            let Some(&value) = values.get((values.len() - 1) / 2) else { continue };
            let samples = self.held.entry(length).or_default();
            samples.push(Dated { value, at });
            samples.drain(..samples.len().saturating_sub(SAMPLES));
        }
    }

    /// Takes in what engines get through. While requests wait that is a limit, and what was taken
    /// for the limit before moves towards it: down with time, up at once. At other times it is a
    /// lower bound, which says nothing where no limit is known.
    fn learn_rates(
        &mut self,
        ranks: &Ranks<'_>,
        before: &BTreeMap<ReplicaId, Look>,
        census: &Census<'_>,
        policy: &Policy,
    ) {
        let mut seen = BTreeMap::<Mix, (TokenRate, TokenRate)>::new();
        for engine in &ranks.engines {
            let mix = Mix::of(self.kind.role(), &engine.lengths.or(census.lengths));
            let rate = engine.processed_rate(self.kind.role(), census.lengths.hits);
            if let (Some(mix), Some(rate)) = (mix, rate.and_then(TokenRate::checked)) {
                let look = before.get(engine.replica);
                let full = census.thresholds.queue_length;
                let (most, limit) = seen.entry(mix).or_default();
                *most = rate.max(*most);
                if engine.is_backlogged(look, full) {
                    *limit = rate.max(*limit);
                }
            }
        }
        let (at, half_life) = (census.now, policy.tokens.stale_after);
        // The time in which nobody looked does not count: the first look at a backlog may still see
        // the rate of the calm before.
        let looked = before.values().map(|look| look.at).max().unwrap_or(at);
        for (mix, (most, limit)) in seen {
            let known = self.rates.get(&mix);
            let is_lower_bound = known.is_some_and(|known| most >= known.value);
            if limit.is_zero() && !is_lower_bound {
                continue;
            }
            let value = match known {
                Some(known) if most < known.value => {
                    let elapsed = at.since(looked.max(known.at));
                    limit + (known.value - limit) * remainder(elapsed, half_life)
                }
                _ => most,
            };
            self.rates.insert(mix, Dated { value, at });
        }
    }

    /// Forgets what is too old.
    pub(super) fn evict(&mut self, now: Timestamp, policy: &Policy) {
        let capacity_age = policy.tokens.evict_capacity_after;
        self.cache = self.cache.filter(|cache| now.since(cache.at) <= capacity_age);
        self.capacity = self.capacity.filter(|capacity| now.since(capacity.at) <= capacity_age);
        self.rates.retain(|_, rate| now.since(rate.at) <= capacity_age);
        for samples in self.held.values_mut() {
            samples.retain(|held| now.since(held.at) <= policy.tokens.evict_history_after);
        }
        self.held.retain(|_, samples| !samples.is_empty());
        self.looks.retain(|_, look| now.since(look.at) <= policy.signals.missing_after);
    }

    /// Makes `now` the latest time that is remembered: after a clock was set back nothing should
    /// stay young for ever.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        let Self { kind: _, cache, capacity, held, rates, looks } = self;
        let dates = cache.iter_mut().chain(capacity).map(|dated| &mut dated.at);
        let held = held.values_mut().flatten().map(|dated| &mut dated.at);
        let rates = rates.values_mut().map(|dated| &mut dated.at);
        let looks = looks.values_mut().map(|look| &mut look.at);
        for at in dates.chain(held).chain(rates).chain(looks) {
            *at = (*at).min(now);
        }
    }
}

/// What is left of a weight of 1 after a time in which it halves with each `half_life`.
fn remainder(age: Seconds, half_life: Seconds) -> f64 {
    let halvings = age / half_life;
    if halvings.is_nan() { 1.0 } else { (-halvings).exp2() }
}

impl Engine<'_> {
    /// Whether its queue was sampled since the last look.
    fn is_new(&self, look: Option<&Look>) -> bool {
        self.sampled.is_some_and(|at| look.is_none_or(|look| look.at < at))
    }

    /// Whether requests wait for it, and not only for a moment. The gauge is the highest of a
    /// window, so a burst that came and went shows in it too.
    fn is_backlogged(&self, look: Option<&Look>, full: QueueLength) -> bool {
        let waits = self.waiting.is_some_and(|waiting| waiting >= full.value());
        let waited = || self.is_new(look) && look.is_some_and(|look| look.waiting >= full);
        let lasts = self.mean_waiting.map_or_else(waited, |mean| mean >= 1.0);
        self.sampled.is_some() && waits && lasts
    }
}

impl Look {
    /// Whether what is seen now shows the limit of an engine that looked like this before. While
    /// its cache still fills up it does not, nor while its queue shrinks: then it gets through more
    /// than arrives, because of requests that need less than most.
    fn is_followed_by(&self, waiting: QueueLength, in_use: Tokens) -> bool {
        let settled = self.in_use.is_none_or(|b| in_use.as_f64() <= b.as_f64() * (1.0 + GROWTH));
        waiting >= self.waiting && settled
    }
}
