//! The roofline plant.

use super::{Batch, DecodeLaw, StepTime};
use crate::engine::ticks::Ticks;

/// A step takes as long as its parts do one after the other, and each part as long as its
/// arithmetic or its memory traffic, whichever is longer.
///
/// Source of the idea: S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual
/// performance model", Communications of the ACM 52(4), 2009. With n tokens in a step, of s
/// sequences:
///
/// ```text
/// t = base + prefill_base, if there is a prompt
///   + s · per_sequence + n · per_token
///   + max(read, n · compute)                              matrices that every token meets
///   + max(experts read by n tokens, n · compute)          matrices of which it meets a few
///   + max(read, s · compute)                              the head, once for each sequence
///   + Σ over groups of layers:
///       max(pairs · compute, prefill context · read)      attention of prompts
///       + decode context · per_context_token              attention of decoding sequences
/// ```
///
/// The catalog derives the numbers from a model's architecture and a GPU's data sheet. They are
/// whole ticks, so decode steps follow an exact law: the only term that grows is the context, and
/// one decode step reads and computes in proportion to it.
///
/// What it leaves out: parts that overlap, matrices whose shape does not suit the hardware, and the
/// lengths of single sequences. Where layers attend to a window, what n sequences see of their
/// context is taken to be that of n sequences of average length, which is the most it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roofline {
    /// The time of an empty step.
    pub base: Ticks,
    /// What a step with a prompt in it takes besides, whatever the prompt.
    pub prefill_base: Ticks,
    /// For each sequence, whether it decodes or not.
    pub per_sequence: Ticks,
    /// For each token that the step computes: what is neither matrix nor attention.
    pub per_token: Ticks,
    /// The matrices that every token is multiplied with.
    pub dense: Matrices,
    /// The matrices of which a router chooses some for each token.
    pub experts: Option<Experts>,
    /// The matrix that turns the last token of each sequence into scores.
    pub head: Matrices,
    /// Attention, by groups of layers that see equally far.
    pub attention: Vec<Attention>,
}

/// Matrices that are read once a step, whatever the number of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matrices {
    /// Reading them.
    pub read: Ticks,
    /// Multiplying one token with them.
    pub compute: Ticks,
}

impl Matrices {
    fn time(&self, tokens: u64) -> Ticks {
        self.read.max(self.compute.times(tokens))
    }
}

/// The experts of all layers that have some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    /// Experts of one layer, at least 1.
    pub count: u32,
    /// Those that one token is sent to.
    pub active: u32,
    /// Reading one expert of each layer.
    pub read: Ticks,
    /// Multiplying one token with one expert of each layer.
    pub compute: Ticks,
}

impl Experts {
    fn time(&self, tokens: u64) -> Ticks {
        let compute = self.compute.times(u64::from(self.active)).times(tokens);
        self.read_time(tokens).max(compute)
    }

    /// Reading the experts that at least one of so many tokens is sent to: on average
    /// E · (1 − (1 − k/E)ⁿ) of E, if all are equally likely and tokens independent.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    fn read_time(&self, tokens: u64) -> Ticks {
        let count = f64::from(self.count);
        let spared = power(1.0 - f64::from(self.active) / count, tokens);
        Ticks::new((self.read.get() as f64 * count * (1.0 - spared)).round() as u64)
    }
}

/// Attention in a group of layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attention {
    /// The tokens before it that a token sees at most, itself included; `None` if it sees all.
    pub window: Option<u32>,
    /// The arithmetic of a prompt's token and one token that it sees.
    pub per_prefill_pair: Ticks,
    /// Reading one token that a prompt's chunk sees.
    pub per_prefill_context_token: Ticks,
    /// Reading or computing one token that a decoding sequence sees, whichever is longer.
    pub per_context_token: Ticks,
}

impl Attention {
    fn time(&self, batch: &Batch) -> Ticks {
        let chunks = (u64::from(batch.prefill_sequences), u64::from(batch.prefill_tokens));
        let (pairs, context) = match self.window {
            None => (batch.prefill_pairs, batch.prefill_context_tokens),
            Some(window) => {
                let window = u64::from(window);
                let (sequences, tokens) = chunks;
                let seen = sequences.saturating_mul(window).saturating_add(tokens);
                let pairs = batch.prefill_pairs.min(tokens.saturating_mul(window));
                (pairs, batch.prefill_context_tokens.min(seen))
            }
        };
        let compute = self.per_prefill_pair.times(pairs);
        let read = self.per_prefill_context_token.times(context);
        let decode = self.per_context_token.times(batch.context_tokens.min(self.reach(batch)));
        compute.max(read) + decode
    }

    /// The context tokens that the decoding sequences see at most.
    fn reach(&self, batch: &Batch) -> u64 {
        let sequences = u64::from(batch.decode_sequences);
        self.window.map_or(u64::MAX, |window| sequences * u64::from(window))
    }

    /// What each decode step takes more than the one before it, and for how many steps.
    fn growth(&self, batch: &Batch) -> (Ticks, u64) {
        let sequences = u64::from(batch.decode_sequences);
        match self.reach(batch).checked_sub(batch.context_tokens) {
            None | Some(0) => (Ticks::ZERO, u64::MAX),
            Some(_) if self.window.is_none() => (self.per_context_token.times(sequences), u64::MAX),
            Some(room) => (self.per_context_token.times(sequences), 1 + room / sequences),
        }
    }
}

impl StepTime for Roofline {
    /// At least one tick, whatever the numbers: time has to pass.
    fn step_time(&self, batch: &Batch) -> Ticks {
        let sequences = u64::from(batch.prefill_sequences) + u64::from(batch.decode_sequences);
        let tokens = u64::from(batch.prefill_tokens) + u64::from(batch.decode_sequences);
        let experts = self.experts.map_or(Ticks::ZERO, |experts| experts.time(tokens));
        let matrices = self.dense.time(tokens) + experts + self.head.time(sequences);
        let attention = self.attention.iter().map(|group| group.time(batch));
        let launches = if batch.prefill_tokens > 0 { self.prefill_base } else { Ticks::ZERO };
        let overhead = self.base.max(Ticks::new(1))
            + launches
            + self.per_sequence.times(sequences)
            + self.per_token.times(tokens);
        attention.fold(overhead + matrices, |sum, part| sum + part)
    }

    /// The context grows by a token for each sequence, until the average one fills a window.
    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        let law =
            DecodeLaw { first: self.step_time(batch), growth: Ticks::ZERO, valid_for: u64::MAX };
        self.attention.iter().fold(law, |law, group| {
            let (growth, steps) = group.growth(batch);
            DecodeLaw { growth: law.growth + growth, valid_for: law.valid_for.min(steps), ..law }
        })
    }
}

/// `base` to the power `exponent`, by products alone: `powi` may differ between platforms.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product *= base;
        }
        base *= base;
        exponent /= 2;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRICES: Matrices = Matrices { read: Ticks::new(1_000), compute: Ticks::new(10) };

    fn batch(prefill: &[(u32, u32)], decode: &[u32]) -> Batch {
        let mut batch = Batch::default();
        for &(chunk, computed) in prefill {
            batch.add_prefill(chunk, computed);
        }
        for &tokens in decode {
            batch.add_decode(tokens);
        }
        batch
    }

    #[test]
    fn matrices_are_bound_by_memory_until_the_tokens_are_many() {
        for (tokens, ticks) in [(0, 1_000), (1, 1_000), (100, 1_000), (101, 1_010), (500, 5_000)] {
            assert_eq!(MATRICES.time(tokens), Ticks::new(ticks), "{tokens} tokens");
        }
    }

    #[test]
    fn few_tokens_read_few_experts() {
        let experts =
            Experts { count: 8, active: 2, read: Ticks::new(1_000_000), compute: Ticks::new(1) };
        // One token reads its two; two tokens 8 · (1 − 0.75²) = 3.5; many read all.
        let read = [0, 1, 2, 1_000].map(|tokens| experts.read_time(tokens).get());
        assert_eq!(read, [0, 2_000_000, 3_500_000, 8_000_000]);
        assert_eq!(experts.time(10_000_000), Ticks::new(20_000_000));
    }

    #[test]
    fn a_window_bounds_what_is_seen() {
        let attention = Attention {
            window: Some(100),
            per_prefill_pair: Ticks::new(1),
            per_prefill_context_token: Ticks::new(1),
            per_context_token: Ticks::new(1),
        };
        let check = |batch: &Batch, ticks| assert_eq!(attention.time(batch), Ticks::new(ticks));
        check(&batch(&[], &[60, 90]), 150);
        // Two sequences of 105 tokens on average see 200.
        check(&batch(&[], &[60, 150]), 200);
        // 50 · 51 / 2 pairs; then 300 tokens that each see the window.
        check(&batch(&[(50, 0)], &[]), 1_275);
        check(&batch(&[(300, 0)], &[]), 30_000);
        // One token of a long prompt reads the window, and itself.
        check(&batch(&[(1, 5_000)], &[]), 101);
    }

    #[test]
    fn the_law_ends_where_a_window_is_full() {
        let attention = Attention {
            window: Some(100),
            per_context_token: Ticks::new(3),
            ..Attention::default()
        };
        for (lengths, growth, steps) in [
            (&[98, 98][..], 6, 3),
            (&[98, 99], 6, 2),
            (&[99, 100], 6, 1),
            (&[100, 100], 0, u64::MAX),
            (&[300, 50], 0, u64::MAX),
        ] {
            let batch = batch(&[], lengths);
            assert_eq!(attention.growth(&batch), (Ticks::new(growth), steps), "{lengths:?}");
        }
    }
}
