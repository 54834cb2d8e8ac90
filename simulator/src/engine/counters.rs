//! What an engine counts, as vLLM's metrics do.

use std::ops::{AddAssign, Sub};

use optimizer::units::{Seconds, Timestamp};

use super::ticks::{Moment, Ticks};

/// Counters, and the sums and counts of histograms, since the engine started; the names in brackets
/// are vLLM's. They only grow.
///
/// vLLM counts at three times. Tokens, steps and gaps count when a step brings them; a prompt and
/// the time to the first token with that token; lengths, queue time and prefill time when the
/// request ends. Whoever is lost or aborted counts for no length. (Source: `IterationStats` and
/// `FinishedRequestStats` of vLLM's `v1/metrics/stats.py`.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests completed (`request_success_total`).
    pub completed: u64,
    /// Prompt tokens of those (`request_prompt_tokens_sum`).
    pub completed_prompt_tokens: u64,
    /// Output tokens of those (`request_generation_tokens_sum`).
    pub completed_output_tokens: u64,
    /// Prompt tokens of requests that have a first token, those from the prefix cache included
    /// (`prompt_tokens_total`).
    pub prompt_tokens: u64,
    /// Output tokens (`generation_tokens_total`).
    pub generation_tokens: u64,
    /// Steps that brought an output token (`iteration_tokens_total_count`). A step that computes
    /// nothing but a part of a prompt brings none, and vLLM does not count it.
    pub steps: u64,
    /// Prompt tokens that were looked up in the prefix cache (`prefix_cache_queries`): each prompt
    /// once, when it enters its first batch, and none while prefix caching is off.
    pub prefix_queries: u64,
    /// Of those, tokens that it had (`prefix_cache_hits`).
    pub prefix_hits: u64,
    /// Sequences that lost their blocks (`num_preemptions_total`).
    pub preemptions: u64,
    /// From arrival to the first token (`time_to_first_token_seconds`).
    pub ttft: TimeSum,
    /// Between successive tokens (`inter_token_latency_seconds`).
    pub itl: TimeSum,
    /// From arrival to the first batch (`request_queue_time_seconds`).
    pub queue_time: TimeSum,
    /// From the first batch to the first token (`request_prefill_time_seconds`).
    pub prefill_time: TimeSum,
}

impl Counters {
    /// The increase since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let increase = |of: fn(&Self) -> u64| of(self).saturating_sub(of(earlier));
        Self {
            completed: increase(|counters| counters.completed),
            completed_prompt_tokens: increase(|counters| counters.completed_prompt_tokens),
            completed_output_tokens: increase(|counters| counters.completed_output_tokens),
            prompt_tokens: increase(|counters| counters.prompt_tokens),
            generation_tokens: increase(|counters| counters.generation_tokens),
            steps: increase(|counters| counters.steps),
            prefix_queries: increase(|counters| counters.prefix_queries),
            prefix_hits: increase(|counters| counters.prefix_hits),
            preemptions: increase(|counters| counters.preemptions),
            ttft: self.ttft - earlier.ttft,
            itl: self.itl - earlier.itl,
            queue_time: self.queue_time - earlier.queue_time,
            prefill_time: self.prefill_time - earlier.prefill_time,
        }
    }

    /// Counts steps that bring `sequences` output tokens each.
    pub(super) fn count_steps(&mut self, steps: u64, sequences: u64) {
        self.steps += steps;
        self.generation_tokens += steps * sequences;
    }

    /// Counts a request that gets its first token, which arrived at `arrival`.
    pub(super) fn count_first_token(&mut self, prompt_tokens: u32, arrival: Timestamp, at: Moment) {
        self.prompt_tokens += u64::from(prompt_tokens);
        self.ttft.add(Moment::at(at.timestamp()).since(Moment::at(arrival)), 1);
    }

    /// Counts a request that has all its output.
    pub(super) fn count_end(&mut self, life: &Life, prompt_tokens: u32, output_tokens: u32) {
        let span = |from: Timestamp, to: Timestamp| Moment::at(to).since(Moment::at(from));
        self.completed += 1;
        self.completed_prompt_tokens += u64::from(prompt_tokens);
        self.completed_output_tokens += u64::from(output_tokens);
        self.queue_time.add(span(life.arrival, life.scheduled), 1);
        self.prefill_time.add(span(life.scheduled, life.first_token), 1);
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.completed += other.completed;
        self.completed_prompt_tokens += other.completed_prompt_tokens;
        self.completed_output_tokens += other.completed_output_tokens;
        self.prompt_tokens += other.prompt_tokens;
        self.generation_tokens += other.generation_tokens;
        self.steps += other.steps;
        self.prefix_queries += other.prefix_queries;
        self.prefix_hits += other.prefix_hits;
        self.preemptions += other.preemptions;
        self.ttft += other.ttft;
        self.itl += other.itl;
        self.queue_time += other.queue_time;
        self.prefill_time += other.prefill_time;
    }
}

/// The times of a request that its end is counted by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) arrival: Timestamp,
    /// When it entered its first batch.
    pub(super) scheduled: Timestamp,
    pub(super) first_token: Timestamp,
}

/// Spans of time: their sum, without rounding, and their number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeSum {
    ticks: u128,
    count: u64,
}

impl TimeSum {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; `None` when there are none.
    #[must_use]
    pub fn mean(&self) -> Option<Seconds> {
        let count = (self.count > 0).then_some(u128::from(self.count))?;
        let mean = u64::try_from(self.ticks / count).unwrap_or(u64::MAX);
        Some(Ticks::new(mean).as_seconds())
    }

    /// Adds `count` spans of `ticks` together.
    pub(super) const fn add(&mut self, ticks: u128, count: u64) {
        self.ticks += ticks;
        self.count += count;
    }
}

impl AddAssign for TimeSum {
    fn add_assign(&mut self, other: Self) {
        self.add(other.ticks, other.count);
    }
}

impl Sub for TimeSum {
    type Output = Self;

    /// What was added since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            ticks: self.ticks.saturating_sub(earlier.ticks),
            count: self.count.saturating_sub(earlier.count),
        }
    }
}
