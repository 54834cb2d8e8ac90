//! The time of one layer's attention.

use std::collections::BTreeMap;

use super::super::Batch;
use super::grid::Grid;

/// Attention over (chunk, tokens before it, decoding sequences, tokens of each), in seconds.
///
/// The three kinds of batch run different kernels, and so have grids of their own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attention {
    /// Decode-only batches: sequences, and tokens in the KV cache of each.
    decode: Grid<2>,
    /// A chunk alone: its tokens, and those before it.
    prefill: Grid<2>,
    /// A chunk beside decoding sequences: all four. `None` when it was not measured; then the
    /// kernels are taken to run one after the other.
    mixed: Option<Grid<4>>,
}

impl Attention {
    /// From measurements at `[chunk, tokens before it, sequences, tokens of each]`, and what is odd
    /// about them. `None` when one of the pure kinds is missing.
    pub(super) fn new(points: &BTreeMap<[u32; 4], f64>) -> Option<(Self, Oddities)> {
        let (mut decode, mut prefill, mut mixed) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (&point, &time) in points {
            match point {
                [0, _, sequences, tokens] => decode.insert([sequences, tokens], time),
                [chunk, before, 0, _] => prefill.insert([chunk, before], time),
                _ => mixed.insert(point, time),
            };
        }
        let lifted = make_monotone(&mut decode);
        let (decode, decode_outside) = Grid::within(&decode)?;
        let (prefill, prefill_outside) = Grid::within(&prefill)?;
        let (mixed, mixed_outside) = Grid::within(&mixed).unzip();
        let outside = decode_outside + prefill_outside + mixed_outside.unwrap_or(0);
        Some((Self { decode, prefill, mixed }, Oddities { outside, lifted }))
    }

    /// The time of a batch with a prompt in it.
    ///
    /// The chunks are taken to be equal, with as many pairs of tokens in all as they really have,
    /// since pairs are what a chunk's time grows with. Further chunks add what they compute, but
    /// not another launch.
    pub(super) fn with_prefill(&self, batch: &Batch) -> f64 {
        let chunks = f64::from(batch.prefill_sequences.max(1));
        let tokens = f64::from(batch.prefill_tokens) / chunks;
        // A chunk of n tokens after p others has n · p + n(n + 1)/2 pairs.
        let pairs = batch.prefill_pairs as f64 / chunks;
        let before = (pairs / tokens - f64::midpoint(tokens, 1.0)).max(0.0);
        let chunk = self.chunk(tokens, before, batch);
        let launch = self.chunk(0.0, 0.0, batch).min(chunk);
        launch + chunks * (chunk - launch)
    }

    /// The time with one chunk.
    fn chunk(&self, tokens: f64, before: f64, batch: &Batch) -> f64 {
        let sequences = f64::from(batch.decode_sequences);
        if batch.decode_sequences == 0 {
            return self.prefill.at([tokens, before]);
        }
        let context = batch.context_tokens as f64 / sequences;
        match &self.mixed {
            Some(mixed) => mixed.at([tokens, before, sequences, context]),
            None => self.prefill.at([tokens, before]) + self.decode.at([sequences, context]),
        }
    }

    /// The time with `sequences` decoding sequences of `tokens` tokens each, and nothing else.
    pub(super) fn decode_only(&self, sequences: u32, tokens: f64) -> f64 {
        self.decode.at([f64::from(sequences), tokens])
    }

    /// The numbers of tokens between which decode-only batches follow one law.
    pub(super) fn decode_knots(&self) -> &[u32] {
        self.decode.axis(1)
    }
}

/// What is odd about measurements of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oddities {
    /// Those outside a complete grid, which are not used.
    pub(super) outside: usize,
    /// Decode-only batches that took much less time than those of fewer tokens.
    pub(super) lifted: usize,
}

/// A fall by less than this share is the noise of a timer.
const NOISE: f64 = 0.1;

/// Lifts a time below that of fewer tokens to it: more tokens do not take less time, but a timer
/// has noise, and a step law cannot shrink. Returns how many were lifted by more than [`NOISE`].
fn make_monotone(decode: &mut BTreeMap<[u32; 2], f64>) -> usize {
    let mut lifted = 0;
    let mut above = (0, 0.0);
    for ([sequences, _], time) in decode {
        if above.0 == *sequences {
            lifted += usize::from(*time < above.1 * (1.0 - NOISE));
            *time = time.max(above.1);
        }
        above = (*sequences, *time);
    }
    lifted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that is linear in pairs and in context, with a dearer launch when both are there.
    fn time([chunk, before, sequences, tokens]: [u32; 4]) -> f64 {
        let [chunk, before, sequences, tokens] = [chunk, before, sequences, tokens].map(f64::from);
        let launch = if chunk > 0.0 && sequences > 0.0 { 5.0 } else { 1.0 };
        launch + 0.001 * chunk * before + 0.1 * chunk + 0.01 * sequences * tokens
    }

    fn attention(mixed: bool) -> Attention {
        let mut points = BTreeMap::new();
        for chunk in [0, 16, 64, 256] {
            for before in [0, 64, 1024] {
                for sequences in [0, 1, 8, 64] {
                    for tokens in [16, 64, 1024] {
                        let both = chunk > 0 && sequences > 0;
                        if chunk + sequences > 0 && (mixed || !both) {
                            let point = [chunk, before, sequences, tokens];
                            points.insert(point, time(point));
                        }
                    }
                }
            }
        }
        // Pure batches have no second part.
        points.retain(|point, _| point[0] > 0 || point[1] == 0);
        points.retain(|point, _| point[2] > 0 || point[3] == 16);
        Attention::new(&points).unwrap().0
    }

    #[test]
    fn a_batch_of_one_chunk_is_looked_up() {
        let check = |chunk, before, decodes: &[u32], mixed, expected: f64| {
            let mut batch = Batch::default();
            batch.add_prefill(chunk, before);
            for &tokens in decodes {
                batch.add_decode(tokens);
            }
            let found = attention(mixed).with_prefill(&batch);
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        };
        check(100, 200, &[], true, time([100, 200, 0, 0]));
        check(100, 200, &[300, 500], true, time([100, 200, 2, 400]));
        check(100, 200, &[300, 500], false, time([100, 200, 0, 0]) + time([0, 0, 2, 400]));
    }

    #[test]
    fn further_chunks_do_not_launch_again() {
        let mut batch = Batch::default();
        for _ in 0..3 {
            batch.add_prefill(100, 200);
        }
        let launch = time([16, 0, 0, 0]);
        let expected = launch + 3.0 * (time([100, 200, 0, 0]) - launch);
        assert!((attention(true).with_prefill(&batch) - expected).abs() < 1e-9);
    }

    #[test]
    fn noise_does_not_make_more_tokens_faster() {
        let times = [([1, 16], 5.0), ([1, 32], 4.0), ([1, 64], 4.9), ([2, 16], 3.0)];
        let mut decode = BTreeMap::from(times);
        assert_eq!(make_monotone(&mut decode), 1);
        assert_eq!(decode.into_values().collect::<Vec<_>>(), [5.0, 5.0, 5.0, 3.0]);
    }
}
