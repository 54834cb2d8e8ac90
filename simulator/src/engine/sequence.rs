//! The state of one request inside an engine.

use std::ops::{Index, IndexMut};

use super::{Moment, Request};

/// A request in the queue or in the batch.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    pub(super) request: Request,
    /// Output tokens after which it ends; what was asked for, cut to the context.
    pub(super) output_tokens: u32,
    /// Output tokens so far. Preemption does not take them away.
    pub(super) generated: u32,
    /// Tokens whose KV entries exist, or will exist when the step under way ends.
    pub(super) computed: u32,
    /// Blocks held.
    pub(super) blocks: u32,
    /// Tokens that the step under way computes.
    pub(super) scheduled: u32,
    /// When its last output token came. Meaningless before the first.
    pub(super) last_token: Moment,
    /// Whether it has been in a batch before.
    pub(super) admitted: bool,
}

impl Sequence {
    pub(super) fn new(request: Request, output_tokens: u32) -> Self {
        Self {
            request,
            output_tokens,
            generated: 0,
            computed: 0,
            blocks: 0,
            scheduled: 0,
            last_token: Moment::default(),
            admitted: false,
        }
    }

    /// Tokens that are known: the prompt and the output so far.
    pub(super) fn tokens(&self) -> u32 {
        self.request.prompt_tokens + self.generated
    }

    /// Tokens that are known but not computed.
    pub(super) fn needed(&self) -> u32 {
        self.tokens() - self.computed
    }

    /// Whether the step under way ends with an output token: it does, unless it leaves a part of
    /// the prompt for later.
    pub(super) fn produces_token(&self) -> bool {
        self.scheduled > 0 && self.computed == self.tokens()
    }
}

/// Names a sequence within its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle(u32);

/// The sequences of an engine, in slots that are used again.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    slots: Vec<Sequence>,
    vacant: Vec<Handle>,
}

impl Sequences {
    pub(super) fn insert(&mut self, sequence: Sequence) -> Handle {
        if let Some(handle) = self.vacant.pop() {
            self[handle] = sequence;
            handle
        } else {
            let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 sequences at once");
            self.slots.push(sequence);
            Handle(slot)
        }
    }

    /// Gives the slot back. The handle must not be used again.
    pub(super) fn remove(&mut self, handle: Handle) {
        self.vacant.push(handle);
    }
}

impl Index<Handle> for Sequences {
    type Output = Sequence;

    fn index(&self, handle: Handle) -> &Sequence {
        &self.slots[handle.0 as usize]
    }
}

impl IndexMut<Handle> for Sequences {
    fn index_mut(&mut self, handle: Handle) -> &mut Sequence {
        &mut self.slots[handle.0 as usize]
    }
}
