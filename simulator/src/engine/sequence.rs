//! The state of one request inside an engine.

use std::ops::{Index, IndexMut};

use optimizer::units::Timestamp;

use super::counters::Life;
use super::queue::Rank;
use super::step_time::Batch;
use super::{Moment, Request};

/// A request in the queue or in the batch.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    pub(super) request: Request,
    pub(super) rank: Rank,
    /// Output tokens after which it ends; what was asked for, cut to the context.
    pub(super) output_tokens: u32,
    /// Output tokens so far, those included that a booked step will bring. Preemption does not take
    /// them away.
    pub(super) generated: u32,
    /// Tokens whose KV entries exist, or will exist when the booked steps have ended.
    pub(super) computed: u32,
    /// When its last output token came, or, once it is preempted, comes.
    pub(super) last_token: Option<Moment>,
    /// When it entered its first batch.
    pub(super) scheduled: Option<Timestamp>,
    /// When its first output token came.
    pub(super) first_token: Option<Timestamp>,
}

impl Sequence {
    pub(super) fn new(request: Request, rank: Rank, output_tokens: u32) -> Self {
        Self {
            request,
            rank,
            output_tokens,
            generated: 0,
            computed: 0,
            last_token: None,
            scheduled: None,
            first_token: None,
        }
    }

    /// Tokens that are known: the prompt and the output so far.
    pub(super) const fn tokens(&self) -> u32 {
        self.request.prompt_tokens + self.generated
    }

    /// Tokens that are known but not computed. None, once all output is booked: it only waits for
    /// its last step to end.
    pub(super) const fn needed(&self) -> u32 {
        if self.has_all_output() { 0 } else { self.tokens() - self.computed }
    }

    /// Whether its last output token has come, or is booked.
    pub(super) const fn has_all_output(&self) -> bool {
        self.generated == self.output_tokens
    }

    /// The times that its end is counted by; `None` before its first token.
    pub(super) fn life(&self) -> Option<Life> {
        let (scheduled, first_token) = (self.scheduled?, self.first_token?);
        Some(Life { arrival: self.rank.arrival, scheduled, first_token })
    }

    /// Tokens to compute in a step that has `budget` left and lets no sequence compute more than
    /// `limit`.
    pub(super) fn chunk(&self, limit: u32, budget: u32) -> u32 {
        self.needed().min(limit).min(budget)
    }

    /// Books `chunk` of its tokens into a batch, and returns whether that brings an output token:
    /// it does, unless it leaves a part of the prompt for later. As in vLLM they count as computed
    /// from now on, before the batch runs.
    ///
    /// A sequence that has output and lacks only its newest token decodes; a preempted one that
    /// comes back computes its prompt and its output again, which costs as a prefill does.
    pub(super) fn book(&mut self, chunk: u32, batch: &mut Batch) -> bool {
        if chunk == 0 {
            return false;
        }
        if self.generated > 0 && self.needed() == 1 {
            batch.add_decode(self.tokens());
        } else {
            batch.add_prefill(chunk, self.computed);
        }
        self.computed += chunk;
        let complete = self.computed == self.tokens();
        self.generated += u32::from(complete);
        complete
    }
}

/// Names a sequence within its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle(u32);

/// The sequences of an engine, in slots that are used again.
#[derive(Debug)]
pub(super) struct Slots<S> {
    slots: Vec<S>,
    vacant: Vec<Handle>,
}

impl<S> Default for Slots<S> {
    fn default() -> Self {
        Self { slots: Vec::new(), vacant: Vec::new() }
    }
}

impl<S> Slots<S> {
    pub(super) fn insert(&mut self, sequence: S) -> Handle {
        if let Some(handle) = self.vacant.pop() {
            self[handle] = sequence;
            handle
        } else {
            let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 sequences at once");
            self.slots.push(sequence);
            Handle(slot)
        }
    }

    /// Gives the slot back. What it held can be read until the slot is used again.
    pub(super) fn remove(&mut self, handle: Handle) {
        self.vacant.push(handle);
    }
}

impl<S> Index<Handle> for Slots<S> {
    type Output = S;

    fn index(&self, handle: Handle) -> &S {
        &self.slots[handle.0 as usize]
    }
}

impl<S> IndexMut<Handle> for Slots<S> {
    fn index_mut(&mut self, handle: Handle) -> &mut S {
        &mut self.slots[handle.0 as usize]
    }
}
