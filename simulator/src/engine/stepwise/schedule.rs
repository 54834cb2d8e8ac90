//! Batch formation: who computes how many tokens in the next step.

use super::super::sequence::Handle;
use super::super::step_time::{Batch, StepTime};
use super::super::{Observer, SchedulingPolicy};
use super::Stepwise;
use super::pool::BlockId;

impl<P: StepTime> Stepwise<P> {
    /// Decides the next batch, books its tokens and blocks, and says who gets an output token.
    pub(super) fn schedule(&mut self, observer: &mut impl Observer) -> (Batch, Vec<Handle>) {
        let mut plan = Plan {
            budget: self.args.max_num_batched_tokens,
            limit: self.args.chunk_limit(self.running.len() + self.waiting.len()),
            chunks: Vec::new(),
        };
        let preempted = self.schedule_running(&mut plan, observer);
        if !preempted {
            self.schedule_waiting(&mut plan, observer);
        }
        let (mut batch, mut producers) = (Batch::default(), Vec::new());
        for (handle, chunk) in plan.chunks {
            if self.members[handle].state.book(chunk, &mut batch) {
                producers.push(handle);
            }
        }
        (batch, producers)
    }

    /// Returns whether a sequence was preempted.
    fn schedule_running(&mut self, plan: &mut Plan, observer: &mut impl Observer) -> bool {
        let mut preempted = false;
        let mut idx = 0;
        'running: while idx < self.running.len() && plan.budget > 0 {
            let handle = self.running[idx];
            let chunk = self.members[handle].state.chunk(plan.limit, plan.budget);
            while chunk > 0 && !self.grow(handle, chunk) {
                preempted = true;
                let place = self.victim();
                let victim = self.preempt(place, observer);
                plan.withdraw(victim);
                idx -= usize::from(place < idx);
                if victim == handle {
                    match self.args.scheduling_policy {
                        // It was the last, so there is nobody after it.
                        SchedulingPolicy::Fcfs => break 'running,
                        SchedulingPolicy::Priority => continue 'running,
                    }
                }
            }
            plan.add(handle, chunk);
            idx += 1;
        }
        preempted
    }

    fn schedule_waiting(&mut self, plan: &mut Plan, observer: &mut impl Observer) {
        while plan.budget > 0 && self.running.len() < self.args.max_num_seqs as usize {
            let Some(handle) = self.waiting.head() else { return };
            let found = self.find(handle);
            let state = &self.members[handle].state;
            // The whole prompt must fit now, although only a chunk is allocated. Nothing is
            // reserved for the rest, so decoding sequences may still take it away.
            let shared = found.iter().filter(|&&block| self.pool.is_used(block)).count();
            let needed = self.pool.blocks_for(state.tokens()) - shared;
            let reserve = self.args.reserve(self.running.len()) as usize;
            if needed + reserve > self.pool.num_free() {
                return;
            }
            self.waiting.pop();
            for &block in &found {
                self.pool.share(block);
            }
            let member = &mut self.members[handle];
            member.registered = found.len();
            member.state.computed = tokens_in(found.len(), self.pool.block_size());
            member.blocks = found;
            if member.state.scheduled.is_none() {
                let (now, cached) = (self.clock.timestamp(), member.state.computed);
                member.state.scheduled = Some(now);
                if self.args.enable_prefix_caching {
                    self.counters.prefix_queries += u64::from(member.state.request.prompt_tokens);
                    self.counters.prefix_hits += u64::from(cached);
                }
                observer.scheduled(member.state.request.id, now, cached);
            }
            let chunk = member.state.chunk(plan.limit, plan.budget);
            let fits = self.grow(handle, chunk);
            debug_assert!(fits, "a chunk needs no more than the whole prompt");
            self.running.push(handle);
            plan.add(handle, chunk);
        }
    }

    /// The blocks in which the beginning of a waiting sequence is computed already. At least one of
    /// its tokens remains to be computed, or there would be no output.
    fn find(&mut self, handle: Handle) -> Vec<BlockId> {
        if !self.args.enable_prefix_caching {
            return Vec::new();
        }
        let member = &mut self.members[handle];
        let most = (member.state.tokens() - 1) / self.pool.block_size();
        member.hash_until(most, self.pool.block_size());
        self.pool.find(&member.hashes[..most as usize])
    }

    /// Gives a sequence the blocks for `chunk` more tokens, if there are enough, and lets those be
    /// found that are full of known tokens. The newest token of a sequence is not known while the
    /// step that brings it is under way.
    fn grow(&mut self, handle: Handle, chunk: u32) -> bool {
        let member = &mut self.members[handle];
        let computed = member.state.computed + chunk;
        let missing = self.pool.blocks_for(computed).saturating_sub(member.blocks.len());
        let Some(taken) = self.pool.take(missing) else { return false };
        member.blocks.extend(taken);
        if self.args.enable_prefix_caching {
            let known = member.state.request.prompt_tokens + member.delivered;
            let full = computed.min(known) / self.pool.block_size();
            member.hash_until(full, self.pool.block_size());
            for idx in member.registered..full as usize {
                self.pool.register(member.blocks[idx], member.hashes[idx]);
                member.registered = idx + 1;
            }
        }
        true
    }

    /// The place in the running list of the sequence that has to make room.
    fn victim(&self) -> usize {
        let last = self.running.len() - 1;
        match self.args.scheduling_policy {
            SchedulingPolicy::Fcfs => last,
            SchedulingPolicy::Priority => {
                let urgency = |place: usize| self.members[self.running[place]].state.rank.urgency();
                // Of equals, the first.
                (0..=last).rev().max_by_key(|&place| urgency(place)).unwrap_or(last)
            }
        }
    }

    /// Takes everything but its output from a running sequence and sends it back to the queue.
    fn preempt(&mut self, place: usize, observer: &mut impl Observer) -> Handle {
        let victim = self.running.remove(place);
        let member = &mut self.members[victim];
        self.pool.release(std::mem::take(&mut member.blocks));
        member.registered = 0;
        member.state.computed = 0;
        self.counters.preemptions += 1;
        observer.preempted(member.state.request.id);
        self.waiting.push_preempted(victim, member.state.rank);
        victim
    }
}

/// A batch in the making.
struct Plan {
    budget: u32,
    /// Tokens that one sequence computes at most.
    limit: u32,
    chunks: Vec<(Handle, u32)>,
}

impl Plan {
    fn add(&mut self, handle: Handle, chunk: u32) {
        if chunk > 0 {
            self.budget -= chunk;
            self.chunks.push((handle, chunk));
        }
    }

    /// Takes a sequence out, if it has had its turn already.
    fn withdraw(&mut self, handle: Handle) {
        let place = self.chunks.iter().position(|&(scheduled, _)| scheduled == handle);
        if let Some(place) = place {
            let (_, chunk) = self.chunks.remove(place);
            self.budget += chunk;
        }
    }
}

fn tokens_in(blocks: usize, size: u32) -> u32 {
    u32::try_from(blocks).unwrap_or(u32::MAX) * size
}
