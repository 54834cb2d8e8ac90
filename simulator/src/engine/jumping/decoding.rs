//! The sequences that decode: all at once, on a clock of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::sequence::{Handle, Sequence};
use super::super::step_time::Batch;
use super::member::Members;

/// All decoding sequences of an engine.
///
/// Every booked step brings each of them a token. So what changes from step to step is common to all
/// (the clock `step`), and what differs between them is constant: which step brings the last token,
/// and the phase in which it takes its next block.
#[derive(Debug)]
pub(super) struct Decoding {
    /// Steps that are booked.
    step: u64,
    /// Their number modulo the block size.
    phase: usize,
    count: u32,
    /// Tokens of all decoding sequences, known before the next step.
    tokens: u64,
    /// `below[p]`: sequences that take a block in steps whose number, modulo the block size, is
    /// below p. The differences are a histogram of phases; its sums are what is asked for.
    below: Vec<u32>,
    /// The next to finish; of equals, the first admitted. An entry goes stale when its sequence is
    /// preempted.
    finishes: BinaryHeap<Reverse<Finish>>,
}

/// Compared field by field, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Finish {
    step: u64,
    admission: Option<u64>,
    handle: Handle,
}

impl Decoding {
    pub(super) fn new(block_size: u32) -> Self {
        Self {
            step: 0,
            phase: 0,
            count: 0,
            tokens: 0,
            below: vec![0; block_size as usize + 1],
            finishes: BinaryHeap::new(),
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Steps that are booked.
    pub(super) const fn step(&self) -> u64 {
        self.step
    }

    /// Adds what the next step computes for them.
    pub(super) fn join(&self, batch: &mut Batch) {
        batch.decode_sequences += self.count;
        batch.context_tokens += self.tokens;
    }

    /// Takes in a sequence that has output and lacks only its newest token.
    pub(super) fn insert(&mut self, handle: Handle, members: &mut Members) {
        let member = &mut members[handle];
        let remaining = member.state.output_tokens - member.state.generated;
        let step = self.step + u64::from(remaining);
        member.finish_step = Some(step);
        self.count += 1;
        self.tokens += u64::from(member.state.tokens());
        let phase = self.phase(member.state.tokens());
        self.below[phase + 1..].iter_mut().for_each(|count| *count += 1);
        self.finishes.push(Reverse(Finish { step, admission: member.admission, handle }));
    }

    /// Takes out a sequence, if it is one of these, and brings its state up to date.
    pub(super) fn remove(&mut self, handle: Handle, members: &mut Members) -> bool {
        let member = &mut members[handle];
        let Some(finish_step) = member.finish_step.take() else { return false };
        if let Some(produced) = &mut member.produced {
            produced.last = Some(self.step);
        }
        let state = &mut member.state;
        state.generated = state.output_tokens - remaining(finish_step, self.step);
        state.computed = state.tokens() - 1;
        member.holding.blocks = member.state.computed.div_ceil(self.block_size());
        self.count -= 1;
        self.tokens -= u64::from(member.state.tokens());
        let phase = self.phase(member.state.tokens());
        self.below[phase + 1..].iter_mut().for_each(|count| *count -= 1);
        true
    }

    /// Blocks that one of these sequences takes in the next step: one, when the tokens that it has
    /// computed fill its blocks.
    pub(super) fn blocks_in_next_step(&self, handle: Handle, members: &Members) -> Option<u32> {
        let Sequence { request, output_tokens, .. } = &members[handle].state;
        let finish_step = members[handle].finish_step?;
        let tokens = request.prompt_tokens + output_tokens - remaining(finish_step, self.step);
        Some(u32::from((tokens - 1).is_multiple_of(self.block_size())))
    }

    /// Blocks that the next `steps` steps take.
    pub(super) fn block_demand(&self, steps: u64) -> u64 {
        // Every `period` steps take `count` blocks.
        let (rounds, rest) = self.in_periods(steps);
        rounds * u64::from(self.count) + u64::from(self.takers_within(rest))
    }

    /// The most steps, up to `limit`, that `free` blocks allow.
    pub(super) fn steps_with(&self, free: u64, limit: u64) -> u64 {
        let count = u64::from(self.count.max(1));
        let rounds = free / count;
        // Far from full that settles it.
        if rounds >= limit || rounds > limit / self.period() {
            return limit;
        }
        let left = free - rounds * count;
        // The most steps below a period, which take no more than what is left.
        let (mut fits, mut too_many) = (0, self.below.len() - 1);
        while fits + 1 < too_many {
            let middle = fits.midpoint(too_many);
            if u64::from(self.takers_within(middle)) <= left {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        (rounds * self.period() + fits as u64).min(limit)
    }

    /// Books `steps` steps.
    pub(super) fn advance(&mut self, steps: u64) {
        self.step += steps;
        let (_, further) = self.in_periods(steps);
        self.phase += further;
        if self.phase >= self.below.len() - 1 {
            self.phase -= self.below.len() - 1;
        }
        self.tokens += steps * u64::from(self.count);
    }

    /// Steps to book until one of them has all its output; `None` when nothing decodes.
    pub(super) fn steps_to_finish(&mut self, members: &Members) -> Option<u64> {
        self.next_finish(members).map(|finish| finish.step - self.step)
    }

    /// Takes out the next sequence that has all its output with the steps that are booked.
    pub(super) fn pop_complete(&mut self, members: &mut Members) -> Option<Handle> {
        let finish = self.next_finish(members).filter(|finish| finish.step <= self.step)?;
        self.finishes.pop();
        self.remove(finish.handle, members);
        Some(finish.handle)
    }

    fn next_finish(&mut self, members: &Members) -> Option<Finish> {
        loop {
            let Reverse(finish) = *self.finishes.peek()?;
            if members[finish.handle].admission == finish.admission {
                return Some(finish);
            }
            self.finishes.pop();
        }
    }

    /// Sequences that take a block within the next `steps` steps, fewer than a period.
    fn takers_within(&self, steps: usize) -> u32 {
        let begin = self.phase;
        let end = begin + steps;
        match end.checked_sub(self.below.len() - 1) {
            None => self.below[end] - self.below[begin],
            Some(end) => self.count - self.below[begin] + self.below[end],
        }
    }

    /// The phase of a sequence that now has `tokens` tokens, all but one of them computed.
    fn phase(&self, tokens: u32) -> usize {
        let (period, filled) = (self.below.len() - 1, index(u64::from(tokens - 1) % self.period()));
        if self.phase >= filled { self.phase - filled } else { self.phase + period - filled }
    }

    /// So many whole periods, and the rest. Nearly always it is only a rest.
    fn in_periods(&self, steps: u64) -> (u64, usize) {
        if steps < self.period() {
            (0, index(steps))
        } else {
            (steps / self.period(), index(steps % self.period()))
        }
    }

    fn block_size(&self) -> u32 {
        u32::try_from(self.period()).unwrap_or(u32::MAX)
    }

    fn period(&self) -> u64 {
        self.below.len() as u64 - 1
    }
}

/// Tokens that a sequence still lacks.
fn remaining(finish_step: u64, step: u64) -> u32 {
    u32::try_from(finish_step - step).unwrap_or(u32::MAX)
}

/// A number below the block size.
fn index(phase: u64) -> usize {
    usize::try_from(phase).unwrap_or(usize::MAX)
}
