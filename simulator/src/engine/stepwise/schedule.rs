//! Batch formation: who computes how many tokens in the next step.

use super::super::Observer;
use super::super::sequence::Handle;
use super::super::step_time::{Batch, StepTime};
use super::Stepwise;

impl<P: StepTime> Stepwise<P> {
    /// Decides the next batch, books its tokens and blocks, and says who gets an output token.
    pub(super) fn schedule(&mut self, observer: &mut impl Observer) -> (Batch, Vec<Handle>) {
        let mut plan = Plan {
            budget: self.args.max_num_batched_tokens,
            batch: Batch::default(),
            producers: Vec::new(),
        };
        let preempted = self.schedule_running(&mut plan, observer);
        if !preempted {
            self.schedule_waiting(&mut plan, observer);
        }
        (plan.batch, plan.producers)
    }

    /// Returns whether a sequence was preempted.
    fn schedule_running(&mut self, plan: &mut Plan, observer: &mut impl Observer) -> bool {
        let mut preempted = false;
        let mut idx = 0;
        while idx < self.running.len() {
            let handle = self.running[idx];
            let chunk = self.members[handle].state.needed().min(plan.budget);
            while chunk > 0 && !self.grow(handle, chunk) {
                preempted = true;
                let victim = self.preempt_youngest(observer);
                if victim == handle {
                    // It was the youngest itself, so every sequence after it has gone, too.
                    return true;
                }
            }
            self.book(handle, chunk, plan);
            idx += 1;
        }
        preempted
    }

    fn schedule_waiting(&mut self, plan: &mut Plan, observer: &mut impl Observer) {
        while plan.budget > 0 && self.running.len() < self.args.max_num_seqs as usize {
            let Some(&handle) = self.waiting.front() else { return };
            let state = &self.members[handle].state;
            // The whole prompt must fit now, although only a chunk is allocated. Nothing is
            // reserved for the rest, so decoding sequences may still take it away.
            if self.blocks.blocks_for(state.tokens()) > self.blocks.num_free() {
                return;
            }
            self.waiting.pop_front();
            if let Some((left, count)) = self.members[handle].state.take_back(&mut self.blocks) {
                for &behind in &self.waiting {
                    let others = self.members[behind].state.left.iter_mut();
                    others.for_each(|other| other.close_gap(left, count));
                }
            }
            let chunk = self.members[handle].state.needed().min(plan.budget);
            let fits = self.grow(handle, chunk);
            debug_assert!(fits, "a chunk needs no more than the whole prompt");
            self.running.push(handle);
            let state = &mut self.members[handle].state;
            if !state.admitted {
                state.admitted = true;
                let at = self.clock.timestamp();
                observer.scheduled(state.request.id, at, state.computed);
            }
            self.book(handle, chunk, plan);
        }
    }

    /// Gives a sequence the blocks for `chunk` more tokens, if there are enough.
    fn grow(&mut self, handle: Handle, chunk: u32) -> bool {
        let state = &mut self.members[handle].state;
        let missing = self.blocks.blocks_for(state.computed + chunk) - state.blocks;
        let fits = self.blocks.allocate(missing);
        if fits {
            state.blocks += missing;
        }
        fits
    }

    fn book(&mut self, handle: Handle, chunk: u32, plan: &mut Plan) {
        plan.budget -= chunk;
        if self.members[handle].state.book(chunk, &mut plan.batch) {
            plan.producers.push(handle);
        }
    }

    /// Takes everything but its output from the youngest running sequence and puts it at the head
    /// of the queue.
    fn preempt_youngest(&mut self, observer: &mut impl Observer) -> Handle {
        let victim = self.running.pop().expect("a sequence that needs blocks is running");
        let state = &mut self.members[victim].state;
        state.evict(&mut self.blocks);
        observer.preempted(state.request.id);
        self.waiting.push_front(victim);
        victim
    }
}

/// A batch in the making.
struct Plan {
    budget: u32,
    batch: Batch,
    producers: Vec<Handle>,
}
