//! What an engine can hold, in KV tokens.

use serde::{Deserialize, Serialize};

use super::State;
use super::census::{Census, Engine, Lengths, Ranks, floor};
use super::learned::Learned;
use crate::decision::CapacityBasis;
use crate::observation::EngineConfig;
use crate::units::{Seconds, Tokens};

/// The length of outputs, in the classes in which full engines are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OutputLength {
    /// Below 100 tokens, or not known.
    Short,
    /// Below 500 tokens.
    Medium,
    /// Longer.
    Long,
}

impl OutputLength {
    pub(super) fn of(mean: Option<f64>) -> Self {
        match mean.unwrap_or_default() {
            mean if mean < 100.0 => Self::Short,
            mean if mean < 500.0 => Self::Medium,
            _ => Self::Long,
        }
    }
}

/// What an engine can hold, and how that is known.
pub(super) type Capacity = (Tokens, CapacityBasis);

/// What an engine of a variant can hold: the median over those that report, or, where none does,
/// the best estimate there is.
pub(super) fn of_variant(
    census: &Census<'_>,
    ranks: &Ranks<'_>,
    at_limit: &[bool],
    state: &State,
    half_life: Seconds,
) -> Option<Capacity> {
    let learned = state.of(ranks)?;
    let engines = ranks.engines.iter().zip(at_limit);
    let reported: Vec<Capacity> = engines
        .map(|(engine, &at_limit)| of_engine(census, ranks, engine, at_limit, learned, half_life))
        .collect();
    median(reported).or_else(|| without_engines(census, ranks, learned, state))
}

/// The smaller of what the cache may be filled with and of what the steps can serve.
///
/// The second is, in this order: what the engine holds now, if it is at its limit; what full engines
/// held before, with outputs of this length; what its limits allow. What it holds now without being
/// full is a lower bound of it.
fn of_engine(
    census: &Census<'_>,
    ranks: &Ranks<'_>,
    engine: &Engine<'_>,
    at_limit: bool,
    learned: &Learned,
    half_life: Seconds,
) -> Capacity {
    let share = census.thresholds.kv_cache.value();
    let Some(cache) = learned.cache_of(engine) else {
        let budget = ranks.observed.engine.max_batched_tokens;
        return (floor(budget.as_f64() * share), CapacityBasis::Budget);
    };
    let memory = (floor(cache.as_f64() * share), CapacityBasis::Memory);
    let in_use = learned.in_use(engine);
    let lengths = engine.lengths.or(census.lengths);
    let observed = in_use.filter(|_| at_limit).map(|held| (held, CapacityBasis::Observed));
    let history = || {
        let held = learned.held(OutputLength::of(lengths.output), census.now, half_life)?;
        Some((held.max(in_use.unwrap_or_default()), CapacityBasis::History))
    };
    let derived = || Some((derived(&ranks.observed.engine, &lengths)?, CapacityBasis::Derived));
    let compute = observed.or_else(history).or_else(derived);
    compute.filter(|compute| compute.0 < memory.0).unwrap_or(memory)
}

/// What a variant without engines that report can hold.
///
/// That is what it could hold when it last had some; or else what its limits allow for the model's
/// requests, but no more than its cache and than a variant of the same kind; or else what that
/// variant can hold; or else the token budget of its steps, which is better than nothing.
fn without_engines(
    census: &Census<'_>,
    ranks: &Ranks<'_>,
    learned: &Learned,
    state: &State,
) -> Option<Capacity> {
    if let Some(recorded) = learned.capacity {
        return Some((recorded.value, CapacityBasis::Recorded));
    }
    let share = census.thresholds.kv_cache.value();
    let memory =
        learned.cache_size().map(|size| (floor(size.as_f64() * share), CapacityBasis::Memory));
    let alike = census.variants.iter().filter(|other| other.is_like(ranks));
    let compatible = alike
        .filter_map(|other| state.of(other)?.capacity)
        .map(|capacity| (capacity.value, CapacityBasis::Compatible))
        .min();
    let config = &ranks.observed.engine;
    let derived = derived(config, &census.lengths).map(|tokens| (tokens, CapacityBasis::Derived));
    let budget = (config.max_batched_tokens, CapacityBasis::Budget);
    let guess = derived.or(compatible).unwrap_or(budget);
    [memory, compatible, Some(guess)].into_iter().flatten().min_by_key(|capacity| capacity.0)
}

/// The tokens that the largest batch keeps in the cache: N · (I + O / 2) for N sequences of mean
/// lengths I and O, half of whose output is there on average. The token budget B of a step allows
/// N = B · O / (I + O), since in the long run each step has to take in as many prompts as end, and
/// `max_sequences` bounds N too.
fn derived(config: &EngineConfig, lengths: &Lengths) -> Option<Tokens> {
    let output = lengths.output?;
    let input = lengths.input.unwrap_or_default();
    let budget = config.max_batched_tokens.as_f64() * output / (input + output);
    let sequences = budget.min(f64::from(config.max_sequences.get()));
    let tokens = floor(sequences * (input + output / 2.0));
    (tokens > Tokens::ZERO).then_some(tokens)
}

/// The middle one by size, or the whole mean of the middle two with the basis of the lower one.
fn median(mut capacities: Vec<Capacity>) -> Option<Capacity> {
    capacities.sort_unstable();
    let upper = *capacities.get(capacities.len() / 2)?;
    let lower = *capacities.get((capacities.len() - 1) / 2)?;
    let mean = lower.0.get() + (upper.0.get() - lower.0.get()) / 2;
    Some((Tokens::new(mean), lower.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors D7 of the workload-variant-autoscaler 0.5 and V2-07 of its version 0.9.
    #[test]
    fn limits_of_the_batch() {
        for (budget, sequences, input, output, expected) in [
            (4096, 256, 500.0, 100.0, Some(140_800)),
            (8192, 64, 100.0, 200.0, Some(12_800)),
            (8192, 256, 100.0, 0.0, None),
            (0, 256, 100.0, 200.0, None),
        ] {
            let config = EngineConfig {
                max_batched_tokens: Tokens::new(budget),
                max_sequences: std::num::NonZeroU32::new(sequences).unwrap(),
                ..EngineConfig::default()
            };
            let known = |length: f64| Some(length).filter(|length| *length > 0.0);
            let lengths = Lengths { input: known(input), output: known(output), hits: None };
            assert_eq!(derived(&config, &lengths).map(Tokens::get), expected, "{budget} {output}");
        }
    }

    /// Vector D19 of the workload-variant-autoscaler 0.5.
    #[test]
    fn d19_the_median_of_an_even_number_is_a_whole_mean() {
        for (values, expected) in [
            (&[][..], None),
            (&[42], Some(42)),
            (&[1, 3, 5], Some(3)),
            (&[1, 3, 5, 7], Some(4)),
            (&[5, 1, 3], Some(3)),
            (&[u64::MAX, u64::MAX - 1], Some(u64::MAX - 1)),
        ] {
            let capacities =
                values.iter().map(|&v| (Tokens::new(v), CapacityBasis::Memory)).collect();
            assert_eq!(median(capacities).map(|c| c.0.get()), expected, "{values:?}");
        }
    }

    /// Vector D20 of the workload-variant-autoscaler 0.5.
    #[test]
    fn d20_classes_of_output_lengths() {
        for (mean, expected) in [
            (None, OutputLength::Short),
            (Some(0.0), OutputLength::Short),
            (Some(50.0), OutputLength::Short),
            (Some(99.9), OutputLength::Short),
            (Some(100.0), OutputLength::Medium),
            (Some(300.0), OutputLength::Medium),
            (Some(499.9), OutputLength::Medium),
            (Some(500.0), OutputLength::Long),
            (Some(1000.0), OutputLength::Long),
        ] {
            assert_eq!(OutputLength::of(mean), expected, "{mean:?}");
        }
    }
}
