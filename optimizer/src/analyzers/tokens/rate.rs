//! What an engine gets through per second, against what is asked for.
//!
//! A step of an engine computes at most so many tokens, and takes a time that grows with them. So
//! there is a most that it gets through in a second, and where prompts are long and outputs short
//! it is reached while the KV cache is nearly empty.

use serde::{Deserialize, Serialize};

use super::State;
use super::census::{Census, Engine, Lengths, Ranks};
use crate::analyzers::reading::total;
use crate::decision::RateBasis;
use crate::observation::Role;
use crate::units::{MeanTokens, QueueLength, Seconds, TokenRate};

/// What requests are like, as far as the tokens per second of an engine depend on it, in binary
/// orders of magnitude.
///
/// A generated token costs as much as many prompt tokens, so a rate that was seen with one mix says
/// little about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Mix(i8);

impl Mix {
    /// What is larger than 2^32 or smaller than its inverse is all alike.
    const EXTREME: f64 = 32.0;

    pub(super) fn of(role: Role, lengths: &Lengths) -> Option<Self> {
        let ratio = match role {
            Role::Both => lengths.computed()? / lengths.output?,
            Role::Prefill => lengths.computed()?,
            // The cost of a decoding sequence grows with its context.
            Role::Decode => lengths.input? + lengths.output? / 2.0,
        };
        let magnitude = ratio.log2().round().clamp(-Self::EXTREME, Self::EXTREME);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was clamped to a few binary orders"
        )]
        (!magnitude.is_nan()).then_some(Self(magnitude as i8))
    }

    pub(super) const fn neighbors(self) -> [Self; 2] {
        [Self(self.0.saturating_sub(1)), Self(self.0.saturating_add(1))]
    }
}

impl Engine<'_> {
    /// The tokens per second that count for a role. `hits` stands in for an engine's own share of
    /// prompt tokens that were in its prefix cache.
    pub(super) fn processed_rate(&self, role: Role, hits: Option<f64>) -> Option<f64> {
        let hits = self.lengths.hits.or(hits).unwrap_or_default();
        let prompt = self.prompt_rate.map(|rate| rate * (1.0 - hits));
        match role {
            Role::Both => Some(prompt? + self.generation_rate?),
            Role::Prefill => prompt,
            // The prompts of a decode engine were computed elsewhere.
            Role::Decode => self.generation_rate,
        }
    }
}

/// The tokens per second that are asked of a role: what arrives, and what waits, worked off within
/// `drain_time`. Where nobody counts arrivals, what is served takes their place, which is the same
/// while nothing waits. `None` when neither is known, or not of every engine.
pub(super) fn demand(census: &Census<'_>, role: Role, drain_time: Seconds) -> Option<f64> {
    let share = census.shares.share(role);
    let per_request = census.lengths.processed(role);
    let engines = || census.of_role(role).flat_map(|variant| &variant.engines);
    let arriving = match (census.arrivals, per_request) {
        (Some(arrivals), _) if arrivals <= 0.0 => Some(0.0),
        (Some(arrivals), Some(tokens)) => Some(arrivals * share * tokens),
        _ => None,
    };
    let served = || {
        let rate = |engine: &Engine<'_>| engine.processed_rate(role, census.lengths.hits);
        let rates: Vec<_> = engines().map(rate).collect::<Option<_>>()?;
        (!rates.is_empty()).then(|| total(rates))
    };
    // A gateway that counts no arrivals of a model under this name would be taken for calm.
    let rate = arriving.filter(|rate| *rate > 0.0).or_else(served).or(arriving)?;
    let in_engines = total(engines().filter_map(|engine| {
        Some(engine.waiting? * engine.lengths.or(census.lengths).processed(role)?)
    }));
    let at_gateway =
        census.gateway_queue.unwrap_or_default() * share * per_request.unwrap_or_default();
    Some(rate + (in_engines + at_gateway) / drain_time.value())
}

/// What an engine of a variant gets through, with requests like those of now.
pub(super) fn capacity(
    census: &Census<'_>,
    ranks: &Ranks<'_>,
    state: &State,
) -> Option<(TokenRate, RateBasis)> {
    let mix = Mix::of(ranks.observed.role, &census.lengths)?;
    let learned = |ranks: &Ranks<'_>| state.of(ranks)?.rate(mix);
    let alike = census.variants.iter().filter(|other| other.is_like(ranks));
    let sources = [
        (learned(ranks), RateBasis::Learned),
        (alike.filter_map(learned).max(), RateBasis::Compatible),
        (profiled(census, ranks, state), RateBasis::Profile),
    ];
    sources.into_iter().find_map(|(rate, basis)| Some((rate?, basis)))
}

/// What a full step gets through, by the profile of the variant's step time.
///
/// In the long run each generated token comes with I / O prompt tokens, so a step with s sequences
/// computes s · I / O prompt tokens and s others. Its token budget, the number of its sequences and
/// the KV cache that they fill (I + O / 2 each, on average) bound s.
fn profiled(census: &Census<'_>, ranks: &Ranks<'_>, state: &State) -> Option<TokenRate> {
    let profile = ranks.observed.profile.as_ref()?;
    let config = &ranks.observed.engine;
    let budget = config.max_batched_tokens.as_f64();
    let output = census.lengths.output?;
    let context = census.lengths.input? + output / 2.0;
    let cache = ranks
        .engines
        .iter()
        .filter_map(|engine| engine.kv_capacity)
        .min()
        .or_else(|| state.of(ranks)?.cache_size())
        .map_or(f64::INFINITY, |size| size.as_f64() * census.thresholds.kv_cache.value());
    let fits = f64::from(config.max_sequences.get()).min(cache / context);
    let prompt_share = census.lengths.computed()? / output;
    let (prompt, sequences) = match ranks.observed.role {
        Role::Both => {
            let sequences = fits.min(budget / (1.0 + prompt_share));
            (sequences * prompt_share, sequences)
        }
        Role::Prefill => (budget, 0.0),
        Role::Decode => (0.0, fits.min(budget)),
    };
    let time = profile.of(
        MeanTokens::checked(prompt)?,
        QueueLength::checked(sequences)?,
        MeanTokens::checked(sequences * context)?,
    );
    TokenRate::checked((prompt + sequences) / time.value()).filter(|rate| !rate.is_zero())
}
