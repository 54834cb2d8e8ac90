//! The next decision: who computes how many tokens, and for how many steps that can stand.

use super::super::sequence::Handle;
use super::super::step_time::{Batch, DecodeLaw};
use super::super::{Observer, StepTime, Ticks};
use super::Engine;
use super::flight::Flight;
use super::member::Produced;

impl<P: StepTime> Engine<P> {
    /// Decides what the GPU does when all that is booked has ended, and books the first step of it.
    /// `None` when there is nothing to compute.
    pub(super) fn plan(&mut self, observer: &mut impl Observer) -> Option<Flight> {
        let mut budget = self.args.max_num_batched_tokens;
        let mut batch = Batch::default();
        let mut prefilled = Vec::new();
        let preempted = self.continue_running(&mut budget, &mut batch, &mut prefilled, observer);
        if !preempted {
            self.admit(&mut budget, &mut batch, &mut prefilled, observer);
        }
        // Who decodes is settled only now, because a preemption may have taken some away.
        let only_decodes =
            batch == Batch::default() && prefilled.is_empty() && self.prefilling.is_empty();
        self.decoding.join(&mut batch);
        if batch == Batch::default() {
            return None;
        }

        let sequences = self.decoding.count();
        let to_finish = self.decoding.steps_to_finish(&self.members);
        self.decoding.advance(1);
        let mut complete = Vec::new();
        while let Some(handle) = self.decoding.pop_complete(&mut self.members) {
            complete.push(handle);
        }
        for &handle in &prefilled {
            let first = self.decoding.step();
            self.members[handle].produced = Some(Produced { first, last: Some(first) });
            if self.members[handle].state.has_all_output() {
                complete.push(handle);
            } else {
                self.decoding.insert(handle, &mut self.members);
            }
        }

        let (law, remaining) = if only_decodes {
            let law = self.plant.decode_law(&batch);
            let wanted = if self.head_may_enter(preempted) {
                1
            } else {
                to_finish.unwrap_or(1).min(law.valid_for)
            };
            let free = u64::from(self.blocks.num_free());
            (law, 1 + self.decoding.steps_with(free, 0, wanted - 1))
        } else {
            let first = self.plant.step_time(&batch);
            (DecodeLaw { first, growth: Ticks::ZERO, valid_for: 1 }, 1)
        };
        let booked = 1;
        let followed = false;
        Some(Flight { law, remaining, booked, sequences, prefilled, complete, followed })
    }

    /// Whether the head of the queue may enter when the step after this one is decided: after a
    /// preemption, which keeps everybody out of one step, or when something leaves by then.
    fn head_may_enter(&self, preempted: bool) -> bool {
        let leaves = self.current.as_ref().is_some_and(|flight| !flight.complete.is_empty());
        !self.waiting.is_empty() && (preempted || leaves)
    }

    /// Gives every running sequence its tokens and blocks, preempting where blocks run out. Returns
    /// whether it did. `batch` receives what the prefilling ones compute.
    fn continue_running(
        &mut self,
        budget: &mut u32,
        batch: &mut Batch,
        prefilled: &mut Vec<Handle>,
        observer: &mut impl Observer,
    ) -> bool {
        let for_decodes = u32::try_from(self.decoding.block_demand(0, 1)).unwrap_or(u32::MAX);
        let mut rest = *budget - self.decoding.count();
        let growth = self.prefilling.iter().map(|&handle| {
            let state = &self.members[handle].state;
            let chunk = state.needed().min(rest);
            rest -= chunk;
            self.blocks.blocks_for(state.computed + chunk) - state.blocks
        });
        let demand = for_decodes.saturating_add(growth.sum());
        if !self.blocks.allocate(demand) {
            self.preempt(budget, batch, prefilled, observer);
            return true;
        }
        *budget -= self.decoding.count();
        for handle in std::mem::take(&mut self.prefilling) {
            self.book(handle, budget, batch, prefilled);
        }
        false
    }

    /// The slow way through the running list, one sequence after the other, when blocks are short.
    fn preempt(
        &mut self,
        budget: &mut u32,
        batch: &mut Batch,
        prefilled: &mut Vec<Handle>,
        observer: &mut impl Observer,
    ) {
        let prefilling = std::mem::take(&mut self.prefilling);
        let mut place = 0;
        while let Some((handle, behind)) = self.running.next(place, &self.members) {
            place = behind;
            let decodes = self.decoding.blocks_in_next_step(handle, &self.members);
            let missing = decodes.unwrap_or_else(|| {
                let state = &self.members[handle].state;
                let chunk = state.needed().min(*budget);
                self.blocks.blocks_for(state.computed + chunk) - state.blocks
            });
            while !self.blocks.allocate(missing) {
                let Some(victim) = self.running.youngest(&self.members) else { return };
                self.evict(victim, observer);
                if victim == handle {
                    return;
                }
            }
            if decodes.is_some() {
                *budget -= 1;
            } else if prefilling.contains(&handle) {
                self.book(handle, budget, batch, prefilled);
            }
        }
    }

    /// Takes everything but its output from a sequence and puts it at the head of the queue.
    fn evict(&mut self, victim: Handle, observer: &mut impl Observer) {
        if self.decoding.remove(victim, &mut self.members) {
            let latest = self.decoding.step();
            let member = &mut self.members[victim];
            match &self.current {
                // The token with which its prefill ends is on the way, and will be reported.
                Some(_) if member.produced.is_some_and(|produced| produced.first == latest) => {}
                // Its latest token comes with the latest step that is booked.
                Some(flight) => {
                    let end = self.clock + flight.law.total(flight.remaining);
                    member.state.last_token = Some(end);
                }
                None => member.state.last_token = Some(self.clock),
            }
        }
        self.running.remove(victim, &mut self.members);
        let state = &mut self.members[victim].state;
        state.evict(&mut self.blocks);
        observer.preempted(state.request.id);
        self.waiting.push_front(victim);
    }

    fn admit(
        &mut self,
        budget: &mut u32,
        batch: &mut Batch,
        prefilled: &mut Vec<Handle>,
        observer: &mut impl Observer,
    ) {
        while *budget > 0 && self.running.count() < self.args.max_num_seqs as usize {
            let Some(&handle) = self.waiting.front() else { return };
            let state = &mut self.members[handle].state;
            if self.blocks.blocks_for(state.tokens()) > self.blocks.num_free() {
                return;
            }
            let taken_back = state.take_back(&mut self.blocks);
            let chunk = state.needed().min(*budget);
            let missing = self.blocks.blocks_for(state.computed + chunk) - state.blocks;
            let fits = self.blocks.allocate(missing);
            debug_assert!(fits, "a chunk needs no more than the whole prompt");
            if !state.admitted {
                state.admitted = true;
                let at = self.clock.timestamp();
                observer.scheduled(state.request.id, at, state.computed);
            }
            self.waiting.pop_front();
            if let Some((left, count)) = taken_back {
                for &behind in &self.waiting {
                    let others = self.members[behind].state.left.iter_mut();
                    others.for_each(|other| other.close_gap(left, count));
                }
            }
            self.running.push(handle, &mut self.members);
            self.book(handle, budget, batch, prefilled);
        }
    }

    /// Books as much of a sequence's prompt as the budget allows. Its blocks are taken already.
    fn book(
        &mut self,
        handle: Handle,
        budget: &mut u32,
        batch: &mut Batch,
        prefilled: &mut Vec<Handle>,
    ) {
        let state = &mut self.members[handle].state;
        let chunk = state.needed().min(*budget);
        state.blocks = self.blocks.blocks_for(state.computed + chunk).max(state.blocks);
        *budget -= chunk;
        if state.book(chunk, batch) {
            prefilled.push(handle);
        } else {
            self.prefilling.push(handle);
        }
    }
}
