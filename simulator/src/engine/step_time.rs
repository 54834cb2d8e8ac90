//! How long a batch takes.
//!
//! A plant is the simulator's model of the hardware. It is not the optimizer's belief about the
//! hardware: the two share no code and no numbers, or an experiment would only confirm itself.

mod hinge;
mod linear;
mod roofline;
mod served;
pub mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ticks::Ticks;

pub use hinge::Hinge;
pub use linear::Linear;
pub use roofline::{Attention, Experts, Matrices, Roofline};
pub use served::Served;
pub use table::Table;

/// What a batch consists of, as far as its time depends on it.
///
/// A sequence is in the batch either with a chunk of its prompt or with the one token that it
/// decodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sequences with a chunk of their prompt.
    pub prefill_sequences: u32,
    /// Tokens of those chunks.
    pub prefill_tokens: u32,
    /// Tokens in the KV cache that those chunks attend to, summed over sequences: for each the
    /// tokens computed before, and its chunk.
    pub prefill_context_tokens: u64,
    /// Pairs of a chunk's token and a token that it attends to, itself included. For a chunk of n
    /// tokens after p others: n · p + n(n + 1)/2.
    pub prefill_pairs: u64,
    /// Sequences that decode one token.
    pub decode_sequences: u32,
    /// Tokens in the KV cache of the decoding sequences, summed, the new one included.
    pub context_tokens: u64,
    /// The fewest and the most tokens of one decoding sequence, the new one included; `None` where
    /// they are not known one by one.
    pub context_range: Option<(u32, u32)>,
}

impl Batch {
    /// Adds a chunk of `chunk` prompt tokens, `computed` tokens having been computed before.
    pub fn add_prefill(&mut self, chunk: u32, computed: u32) {
        let (new, before) = (u64::from(chunk), u64::from(computed));
        self.prefill_sequences += 1;
        self.prefill_tokens += chunk;
        self.prefill_context_tokens += before + new;
        self.prefill_pairs += new * before + new * (new + 1) / 2;
    }

    /// Adds a sequence that decodes and has `tokens` tokens, the new one included.
    pub fn add_decode(&mut self, tokens: u32) {
        let only = (tokens, tokens);
        let (least, most) = self.context_range.unwrap_or(only);
        let all_known = self.decode_sequences == 0 || self.context_range.is_some();
        self.context_range = all_known.then_some((least.min(tokens), most.max(tokens)));
        self.decode_sequences += 1;
        self.context_tokens += u64::from(tokens);
    }
}

/// A model of the hardware.
pub trait StepTime {
    /// The time of one step.
    fn step_time(&self, batch: &Batch) -> Ticks;

    /// The times of this decode-only batch and of those that follow when every sequence grows by
    /// one token a step, for as long as they follow one law.
    ///
    /// The law must give exactly what [`Self::step_time`] gives for each of those steps.
    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        DecodeLaw { first: self.step_time(batch), growth: Ticks::ZERO, valid_for: 1 }
    }
}

/// Step i of a run of decode steps, counted from 0, takes `first + i · growth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLaw {
    /// The time of the first step.
    pub first: Ticks,
    /// What each step takes more than the one before it.
    pub growth: Ticks,
    /// The number of steps for which this holds, at least 1.
    pub valid_for: u64,
}

impl DecodeLaw {
    /// The ticks of the first `steps` steps: n·first + growth·n(n − 1)/2.
    #[must_use]
    pub const fn total(&self, steps: u64) -> u128 {
        let n = steps as u128;
        n * self.first.get() as u128 + self.growth.get() as u128 * (n * n.saturating_sub(1) / 2)
    }

    /// The most steps, up to `limit`, that end in less than `ticks`.
    #[must_use]
    pub fn steps_within(&self, ticks: u128, limit: u64) -> u64 {
        if self.total(limit) < ticks {
            return limit;
        }
        // The root of total(n) = ticks is near; the integers decide.
        let near = u64::try_from(ticks).unwrap_or(u64::MAX);
        let mut steps = self.root(near as f64).min(limit);
        while self.total(steps) >= ticks && steps > 0 {
            steps -= 1;
        }
        while steps < limit && self.total(steps + 1) < ticks {
            steps += 1;
        }
        steps
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    fn root(&self, ticks: f64) -> u64 {
        let (first, growth) = (self.first.get() as f64, self.growth.get() as f64);
        let linear = first - growth / 2.0;
        // The form that does not cancel when growth is small.
        (2.0 * ticks / (linear + (linear * linear + 2.0 * growth * ticks).sqrt())) as u64
    }

    /// The law of the steps after the first `steps`.
    #[must_use]
    pub const fn after(self, steps: u64) -> Self {
        let grown = Ticks::new(self.first.get() + self.growth.get() * steps);
        Self { first: grown, valid_for: self.valid_for.saturating_sub(steps), ..self }
    }
}

/// The plants that exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Plant {
    /// Linear in tokens, sequences and context.
    Linear(Linear),
    /// Linear, with the bends of measured prefill.
    Hinge(Hinge),
    /// From a model's architecture and a GPU's data sheet. Nobody writes it by hand.
    #[serde(skip)]
    Roofline(Roofline),
    /// One of the others, and what a server takes on top. Nobody writes it by hand.
    #[serde(skip)]
    Served(Box<Served>),
}

impl StepTime for Plant {
    fn step_time(&self, batch: &Batch) -> Ticks {
        match self {
            Self::Linear(linear) => linear.step_time(batch),
            Self::Hinge(hinge) => hinge.step_time(batch),
            Self::Roofline(roofline) => roofline.step_time(batch),
            Self::Served(served) => served.step_time(batch),
        }
    }

    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        match self {
            Self::Linear(linear) => linear.decode_law(batch),
            Self::Hinge(hinge) => hinge.decode_law(batch),
            Self::Roofline(roofline) => roofline.decode_law(batch),
            Self::Served(served) => served.decode_law(batch),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use optimizer::units::Seconds;
    use proptest::prelude::*;

    use super::*;

    fn seconds(range: std::ops::Range<f64>) -> impl Strategy<Value = Seconds> {
        range.prop_map(Seconds::new)
    }

    fn ticks(below: f64) -> impl Strategy<Value = Ticks> {
        seconds(0.0..below).prop_map(Ticks::from_seconds)
    }

    fn linear() -> impl Strategy<Value = Plant> {
        let base = (seconds(0.0..0.1), seconds(0.0..1e-3));
        (base, seconds(0.0..1e-3), seconds(0.0..1e-6)).prop_map(
            |((base, per_prefill_token), per_decode_sequence, per_context_token)| {
                Plant::Linear(Linear {
                    base,
                    per_prefill_token,
                    per_decode_sequence,
                    per_context_token,
                })
            },
        )
    }

    fn hinge() -> impl Strategy<Value = Plant> {
        let prefill = (0..200_u32, seconds(0.0..1e-3), seconds(0.0..1e-8));
        (seconds(0.0..0.1), prefill, seconds(0.0..1e-3), seconds(0.0..1e-6)).prop_map(
            |(base, (free, token, pair), per_decode_sequence, per_context_token)| {
                Plant::Hinge(Hinge {
                    base,
                    free_prefill_tokens: free,
                    per_prefill_token: token,
                    per_decode_sequence,
                    per_context_token,
                    per_prefill_pair: pair,
                })
            },
        )
    }

    fn roofline() -> impl Strategy<Value = Plant> {
        let matrices =
            || (ticks(0.02), ticks(1e-4)).prop_map(|(read, compute)| Matrices { read, compute });
        let experts = (1..64_u32, ticks(1e-3), ticks(1e-5)).prop_map(|(count, read, compute)| {
            Experts { count, active: 1 + count / 8, read, compute }
        });
        let window = prop::option::of(1..400_u32);
        let group = (window, ticks(1e-7), ticks(1e-6), ticks(1e-6)).prop_map(
            |(window, pair, read, decode)| Attention {
                window,
                per_prefill_pair: pair,
                per_prefill_context_token: read,
                per_context_token: decode,
            },
        );
        let overhead = (ticks(0.02), ticks(0.01), ticks(1e-4), ticks(1e-4));
        let attention = prop::collection::vec(group, 0..4);
        (overhead, matrices(), prop::option::of(experts), matrices(), attention).prop_map(
            |((base, prefill_base, per_sequence, per_token), dense, experts, head, attention)| {
                Plant::Roofline(Roofline {
                    base,
                    prefill_base,
                    per_sequence,
                    per_token,
                    dense,
                    experts,
                    head,
                    attention,
                })
            },
        )
    }

    /// Every kind of plant, in which every part of a batch costs something odd.
    pub(in crate::engine) fn plants() -> impl Strategy<Value = Plant> {
        let bare = || prop_oneof![linear(), hinge(), roofline()];
        let served = (bare(), ticks(0.01))
            .prop_map(|(plant, launches)| Plant::Served(Box::new(Served { plant, launches })));
        prop_oneof![3 => bare(), 1 => served]
    }

    fn decode_batch(lengths: &[u32]) -> Batch {
        let mut batch = Batch::default();
        for &tokens in lengths {
            batch.add_decode(tokens);
        }
        batch
    }

    proptest! {
        /// What the engine's jumps rest on.
        #[test]
        fn a_law_tells_the_time_of_each_step_that_it_covers(
            plant in plants(),
            mut lengths in prop::collection::vec(1..500_u32, 1..12),
        ) {
            let law = plant.decode_law(&decode_batch(&lengths));
            prop_assert!(law.valid_for >= 1);
            for step in 0..law.valid_for.min(500) {
                let said = law.first + law.growth.times(step);
                prop_assert_eq!(said, plant.step_time(&decode_batch(&lengths)), "step {}", step);
                for tokens in &mut lengths {
                    *tokens += 1;
                }
            }
        }

        #[test]
        fn a_law_counts_the_steps_that_its_sum_allows(
            first in 1..2_000_000_u64,
            growth in 0..5_000_u64,
            limit in 0..300_u64,
            ticks in 0..200_000_000_u128,
        ) {
            let law = DecodeLaw {
                first: Ticks::new(first),
                growth: Ticks::new(growth),
                valid_for: u64::MAX,
            };
            let mut sum = 0_u128;
            let mut expected = 0;
            for step in 0..limit {
                sum += u128::from(first + growth * step);
                prop_assert_eq!(law.total(step + 1), sum);
                if sum < ticks { expected = step + 1; }
            }
            prop_assert_eq!(law.steps_within(ticks, limit), expected);
            let split = limit / 3;
            prop_assert_eq!(
                law.total(split) + law.after(split).total(limit - split),
                law.total(limit)
            );
        }
    }
}
