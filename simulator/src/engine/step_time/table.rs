//! The table plant: a step put together from layers that were timed one by one on a GPU.
//!
//! A step is its layers one after the other: those that run once, those that every transformer
//! block repeats, attention, and those that run for each sequence (the head and the sampler). The
//! times come from a folder of tables for one block ([`Table::read`]); between two measured sizes
//! they are linear.
//!
//! Two things in a step are not in the layers:
//!
//! - *CUDA graphs.* Up to [`CAPTURE_LIMIT`] tokens vLLM runs a captured graph of the next larger
//!   size, so a batch of 17 tokens costs what 24 do ([`capture_sizes`]).
//! - *Host time*, in which the GPU waits ([`HostTime`]).
//!
//! And attention is measured with sequences of equal length. Unequal ones cost more (`skew`).

mod attention;
mod experts;
mod fault;
mod grid;
mod read;
mod skew;

use optimizer::units::Seconds;

use super::{Batch, DecodeLaw, StepTime};
use crate::engine::ticks::Ticks;
use attention::Attention;
use experts::Experts;
use grid::Grid;
use skew::Skew;

pub use fault::{TableError, TableFault};
pub use read::TableFolder;

/// Times of steps, put together from the times of layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Transformer blocks.
    num_layers: u32,
    /// By the tokens of the step, in seconds: all layers but attention, those of all blocks.
    dense: Grid<1>,
    /// Of one block; `None` when the model is dense.
    experts: Option<Experts>,
    /// By the sequences of the step, in seconds: the head and the sampler.
    per_sequence: Grid<1>,
    /// Of one block.
    attention: Attention,
    /// `None` when it was not measured: then unequal lengths cost what equal ones do.
    skew: Option<Skew>,
    /// Ascending; empty when no graph is used.
    capture_sizes: Vec<u32>,
    host: HostTime,
}

/// Time of a step in which the GPU waits for the host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostTime {
    /// In every step.
    pub per_step: Seconds,
    /// Also in a step with a prompt, where the batch is not the one before with a token more.
    pub per_prefill_step: Seconds,
}

impl HostTime {
    /// The host is never waited for.
    pub const NONE: Self = Self { per_step: Seconds::ZERO, per_prefill_step: Seconds::ZERO };
}

/// The largest batch, in tokens, for which vLLM captures a CUDA graph by default.
pub const CAPTURE_LIMIT: u32 = 512;

/// The batch sizes for which vLLM captures CUDA graphs by default: 1, 2, 4, then every eighth up to
/// 256 and every sixteenth beyond, as far as twice `max_num_seqs`.
///
/// Source: `vllm/config/vllm.py` of vLLM 0.19, and the sizes that recorded runs report.
#[must_use]
pub fn capture_sizes(max_num_seqs: u32) -> Vec<u32> {
    let limit = max_num_seqs.saturating_mul(2).min(CAPTURE_LIMIT);
    let sizes = [1, 2, 4].into_iter().chain((8..=256).step_by(8)).chain((272..=512).step_by(16));
    sizes.take_while(|&size| size <= limit).collect()
}

impl Table {
    /// The same with CUDA graphs of these sizes, in tokens.
    #[must_use]
    pub fn with_capture_sizes(self, mut sizes: Vec<u32>) -> Self {
        sizes.sort_unstable();
        Self { capture_sizes: sizes, ..self }
    }

    /// The same with this host time.
    #[must_use]
    pub fn with_host_time(self, host: HostTime) -> Self {
        Self { host, ..self }
    }

    /// All but attention, in seconds.
    fn fixed(&self, batch: &Batch) -> f64 {
        let tokens = batch.prefill_tokens + batch.decode_sequences;
        let graph = self.capture_sizes.partition_point(|&size| size < tokens);
        let computed = self.capture_sizes.get(graph).copied().unwrap_or(tokens);
        let sequences = batch.prefill_sequences + batch.decode_sequences;
        let experts = self.experts.as_ref().map_or(0.0, |experts| experts.at(computed));
        let prefill_host = self.host.per_prefill_step.value();
        self.dense.at([f64::from(computed)])
            + f64::from(self.num_layers) * experts
            + self.per_sequence.at([f64::from(sequences)])
            + self.host.per_step.value()
            + if batch.prefill_sequences > 0 { prefill_host } else { 0.0 }
    }

    /// The line on which the times of this decode-only batch and of those after it lie.
    fn decode_line(&self, batch: &Batch) -> DecodeLine {
        let (sequences, context) = (batch.decode_sequences, batch.context_tokens);
        let knots = self.attention.decode_knots();
        let attention = |knot: u32| {
            f64::from(self.num_layers) * self.attention.decode_only(sequences, f64::from(knot))
        };
        let context_at = |knot: u32| u64::from(knot) * u64::from(sequences);
        // The mean lies at a knot or above it exactly when the context of all does.
        let above = knots.partition_point(|&knot| context_at(knot) <= context);
        let fixed = self.fixed(batch);
        let flat = |knot: u32, until: u64| DecodeLine {
            from: context,
            at_from: ticks(fixed + attention(knot)),
            per_token: Ticks::ZERO,
            until,
        };
        let (first, last) = (knots[0], knots.len() - 1);
        if above == 0 {
            return flat(first, context_at(first));
        }
        if last == 0 || sequences == 0 {
            return flat(first, u64::MAX);
        }
        let lower = (above - 1).min(last - 1);
        let (knot, next) = (knots[lower], knots[lower + 1]);
        let rise = (attention(next) - attention(knot)).max(0.0);
        DecodeLine {
            from: context_at(knot),
            at_from: ticks(fixed + attention(knot)),
            per_token: ticks(rise / (context_at(next) - context_at(knot)) as f64),
            until: if lower + 1 == last { u64::MAX } else { context_at(next) },
        }
    }

    /// What unequal lengths add to a decode-only batch.
    fn skew(&self, batch: &Batch) -> Option<Ticks> {
        let (sequences, context) = (batch.decode_sequences, batch.context_tokens);
        let range = batch.context_range.filter(|(least, most)| least < most)?;
        let mean = context as f64 / f64::from(sequences);
        let share = self.skew.as_ref()?.share(sequences, mean, range);
        let at = |tokens: f64| self.attention.decode_only(sequences, tokens);
        let stretch = (at(f64::from(range.1)) - at(mean)).max(0.0);
        Some(ticks(f64::from(self.num_layers) * share * stretch))
    }
}

impl StepTime for Table {
    fn step_time(&self, batch: &Batch) -> Ticks {
        let time = if batch.prefill_sequences == 0 {
            let equal = self.decode_line(batch).at(batch.context_tokens);
            equal + self.skew(batch).unwrap_or(Ticks::ZERO)
        } else {
            let attention = self.attention.with_prefill(batch);
            ticks(self.fixed(batch) + f64::from(self.num_layers) * attention)
        };
        // Time has to pass.
        time.max(Ticks::new(1))
    }

    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        if self.skew(batch).is_some() {
            // Two points move along the table, so no line holds for long. One step always does.
            return DecodeLaw { first: self.step_time(batch), growth: Ticks::ZERO, valid_for: 1 };
        }
        let line = self.decode_line(batch);
        let (context, sequences) = (batch.context_tokens, u64::from(batch.decode_sequences));
        DecodeLaw {
            first: line.at(context).max(Ticks::new(1)),
            growth: line.per_token.times(sequences),
            valid_for: (line.until - context).div_ceil(sequences.max(1)).max(1),
        }
    }
}

/// Times of decode-only steps of the same sequences, while their context grows.
#[derive(Debug, Clone, Copy)]
struct DecodeLine {
    /// A context, in tokens of all sequences.
    from: u64,
    at_from: Ticks,
    /// For each token of context beyond.
    per_token: Ticks,
    /// The context at which another line begins.
    until: u64,
}

impl DecodeLine {
    fn at(&self, context: u64) -> Ticks {
        self.at_from + self.per_token.times(context - self.from)
    }
}

fn ticks(seconds: f64) -> Ticks {
    Ticks::from_seconds(Seconds::new(seconds))
}

#[cfg(test)]
mod tests;
