//! Batch formation: who computes how many tokens in the next step.

use super::super::sequence::Handle;
use super::super::step_time::{Batch, StepTime};
use super::super::{Moment, Observer};
use super::Stepwise;

impl<P: StepTime> Stepwise<P> {
    /// Decides the next batch and books its tokens and blocks.
    pub(super) fn schedule(&mut self, now: Moment, observer: &mut impl Observer) -> Batch {
        let mut batch = Batch::default();
        let mut budget = self.args.max_num_batched_tokens;
        let preempted = self.schedule_running(&mut budget, &mut batch, observer);
        if !preempted {
            self.schedule_waiting(&mut budget, &mut batch, now, observer);
        }
        batch
    }

    /// Returns whether a sequence was preempted.
    fn schedule_running(
        &mut self,
        budget: &mut u32,
        batch: &mut Batch,
        observer: &mut impl Observer,
    ) -> bool {
        let mut preempted = false;
        let mut idx = 0;
        while idx < self.running.len() {
            let handle = self.running[idx];
            let chunk = self.sequences[handle].needed().min(*budget);
            if chunk > 0 {
                while !self.grow(handle, chunk) {
                    preempted = true;
                    let victim = self.preempt_youngest(observer);
                    if victim == handle {
                        // It was the youngest itself, so every sequence after it has gone, too.
                        return true;
                    }
                }
                *budget -= chunk;
            }
            self.sequences[handle].book(chunk, batch);
            idx += 1;
        }
        preempted
    }

    fn schedule_waiting(
        &mut self,
        budget: &mut u32,
        batch: &mut Batch,
        now: Moment,
        observer: &mut impl Observer,
    ) {
        while *budget > 0 && self.running.len() < self.args.max_num_seqs as usize {
            let Some(&handle) = self.waiting.front() else { return };
            let sequence = &self.sequences[handle];
            // The whole prompt must fit now, although only a chunk is allocated. Nothing is
            // reserved for the rest, so decoding sequences may still take it away.
            if self.blocks.blocks_for(sequence.tokens()) > self.blocks.num_free() {
                return;
            }
            self.waiting.pop_front();
            if let Some((left, count)) = self.sequences[handle].take_back(&mut self.blocks) {
                for &behind in &self.waiting {
                    let others = self.sequences[behind].left.iter_mut();
                    others.for_each(|other| other.close_gap(left, count));
                }
            }
            let chunk = self.sequences[handle].needed().min(*budget);
            let fits = self.grow(handle, chunk);
            debug_assert!(fits, "a chunk needs no more than the whole prompt");
            *budget -= chunk;
            self.running.push(handle);
            let sequence = &mut self.sequences[handle];
            sequence.book(chunk, batch);
            if !sequence.admitted {
                sequence.admitted = true;
                observer.scheduled(sequence.request.id, now.timestamp());
            }
        }
    }

    /// Gives a sequence the blocks for `chunk` more tokens, if there are enough.
    fn grow(&mut self, handle: Handle, chunk: u32) -> bool {
        let sequence = &mut self.sequences[handle];
        let missing = self.blocks.blocks_for(sequence.computed + chunk) - sequence.blocks;
        let fits = self.blocks.allocate(missing);
        if fits {
            sequence.blocks += missing;
        }
        fits
    }

    /// Takes everything but its output from the youngest running sequence and puts it at the head
    /// of the queue.
    fn preempt_youngest(&mut self, observer: &mut impl Observer) -> Handle {
        let victim = self.running.pop().expect("a sequence that needs blocks is running");
        let sequence = &mut self.sequences[victim];
        sequence.evict(&mut self.blocks);
        observer.preempted(sequence.request.id);
        self.waiting.push_front(victim);
        victim
    }
}
