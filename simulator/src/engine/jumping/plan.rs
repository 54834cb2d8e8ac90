//! The next decision: who computes how many tokens, and for how many steps that can stand.

use super::super::sequence::Handle;
use super::super::step_time::{Batch, DecodeLaw};
use super::super::{ModelServer, Observer, SchedulingPolicy, StepTime, Ticks};
use super::Engine;
use super::cache::Text;
use super::flight::Flight;
use super::member::{Member, Produced};

impl<P: StepTime> Engine<P> {
    /// Decides what the GPU does when all that is booked has ended, and books the first step of it.
    /// `None` when there is nothing to compute.
    pub(super) fn plan(&mut self, observer: &mut impl Observer) -> Option<Flight> {
        let mut draft = Draft {
            budget: self.args.max_num_batched_tokens,
            limit: self.args.chunk_limit(self.load()),
            batch: Batch::default(),
            prefilled: Vec::new(),
        };
        let preempted = self.continue_running(&mut draft, observer);
        if !preempted {
            self.admit(&mut draft, observer);
        }
        let Draft { mut batch, prefilled, .. } = draft;
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
        // Where long prompts give way to others, these may have been admitted in any order.
        complete.sort_unstable_by_key(|&handle| self.members[handle].admission);

        let (law, remaining) = if only_decodes {
            let law = self.plant.decode_law(&batch);
            let wanted = if self.head_may_enter(preempted) {
                1
            } else {
                to_finish.unwrap_or(1).min(law.valid_for)
            };
            let free = u64::from(self.cache.num_free());
            (law, 1 + self.decoding.steps_with(free, wanted - 1))
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
    /// whether it did. `draft` receives what the prefilling ones compute.
    fn continue_running(&mut self, draft: &mut Draft, observer: &mut impl Observer) -> bool {
        let for_decodes = u32::try_from(self.decoding.block_demand(1)).unwrap_or(u32::MAX);
        let mut rest = draft.budget - self.decoding.count();
        let growth = self.prefilling.iter().map(|&handle| {
            let chunk = self.members[handle].state.chunk(draft.limit, rest);
            rest -= chunk;
            self.missing(handle, chunk)
        });
        let demand = for_decodes.saturating_add(growth.sum());
        if !self.cache.allocate(demand) {
            self.preempt(draft, observer);
            return true;
        }
        draft.budget -= self.decoding.count();
        for handle in std::mem::take(&mut self.prefilling) {
            let chunk = self.members[handle].state.chunk(draft.limit, draft.budget);
            draft.budget -= chunk;
            self.grant(handle, chunk);
            self.book(handle, chunk, draft);
        }
        false
    }

    /// The slow way through the running list, one sequence after the other, when blocks are short.
    fn preempt(&mut self, draft: &mut Draft, observer: &mut impl Observer) {
        let mut prefilling = std::mem::take(&mut self.prefilling);
        let mut granted: Vec<(Handle, u32)> = Vec::new();
        let mut place = 0;
        'running: while let Some((handle, behind)) = self.running.next(place, &self.members) {
            place = behind;
            let decodes = self.decoding.blocks_in_next_step(handle, &self.members);
            let prefills = prefilling.contains(&handle);
            let chunk = match decodes {
                Some(_) => 1,
                None if prefills => self.members[handle].state.chunk(draft.limit, draft.budget),
                // Its last token is on the way.
                None => continue,
            };
            let missing = decodes.unwrap_or_else(|| self.missing(handle, chunk));
            while !self.cache.allocate(missing) {
                let Some(victim) = self.victim() else { return };
                let had_its_turn = victim != handle
                    && self.members[victim].admission < self.members[handle].admission;
                let withdrawn = had_its_turn.then(|| self.withdraw(victim, &mut granted)).flatten();
                if let Some(Withdrawn { tokens, blocks }) = withdrawn {
                    draft.budget += tokens;
                    self.evict(victim, self.args.depth() - 1, blocks, observer);
                } else {
                    self.evict(victim, self.args.depth(), 0, observer);
                }
                prefilling.retain(|&other| other != victim);
                if victim == handle {
                    continue 'running;
                }
            }
            draft.budget -= chunk;
            if prefills {
                self.grant(handle, chunk);
                granted.push((handle, chunk));
            }
        }
        for handle in prefilling {
            let chunk = granted.iter().find(|&&(other, _)| other == handle);
            self.book(handle, chunk.map_or(0, |&(_, chunk)| chunk), draft);
        }
    }

    /// Takes back what a sequence was given in this step, if it was given anything.
    fn withdraw(&mut self, victim: Handle, granted: &mut Vec<(Handle, u32)>) -> Option<Withdrawn> {
        if let Some(blocks) = self.decoding.blocks_in_next_step(victim, &self.members) {
            return Some(Withdrawn { tokens: 1, blocks });
        }
        let place = granted.iter().position(|&(other, _)| other == victim)?;
        let (_, chunk) = granted.remove(place);
        self.members[victim].state.computed += chunk;
        Some(Withdrawn { tokens: chunk, blocks: 0 })
    }

    /// The sequence that has to make room.
    fn victim(&mut self) -> Option<Handle> {
        match self.args.scheduling_policy {
            SchedulingPolicy::Fcfs => self.running.youngest(&self.members),
            SchedulingPolicy::Priority => {
                let urgency = |handle: Handle| self.members[handle].state.rank.urgency();
                let mut running = self.running.iter(&self.members);
                let first = running.next()?;
                Some(running.fold(first, |least, handle| {
                    if urgency(handle) > urgency(least) { handle } else { least }
                }))
            }
        }
    }

    /// Takes everything but its output from a sequence and sends it back to the queue. When it was
    /// given tokens last, `in_flight` steps at most were under way. It has `blocks` more than the
    /// booked steps needed.
    fn evict(&mut self, victim: Handle, in_flight: u64, blocks: u32, observer: &mut impl Observer) {
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
        self.members[victim].holding.blocks += blocks;
        self.release(victim, in_flight, true);
        let state = &mut self.members[victim].state;
        state.computed = 0;
        self.counters.preemptions += 1;
        observer.preempted(state.request.id);
        self.waiting.push_preempted(victim, state.rank);
    }

    fn admit(&mut self, draft: &mut Draft, observer: &mut impl Observer) {
        while draft.budget > 0 && self.running.count() < self.args.max_num_seqs as usize {
            let Some(handle) = self.waiting.head() else { return };
            if self.refused == Some((handle, self.cache.version())) {
                return;
            }
            let member = &mut self.members[handle];
            let tokens = member.state.tokens();
            // One token at least has to be computed, or there would be no output.
            let most = (tokens - 1) / self.cache.block_size();
            let text = Text::of(&member.state);
            let found = self.cache.find(text, &member.holding, most);
            let needed = self.cache.blocks_for(tokens) - found.used;
            let reserve = self.args.reserve(self.running.count());
            if needed.saturating_add(reserve) > self.cache.num_free() {
                self.refused = Some((handle, self.cache.version()));
                return;
            }
            self.waiting.pop();
            self.cache.enter(text, &mut member.holding);
            member.produced = None;
            let state = &mut member.state;
            state.computed = found.blocks * self.cache.block_size();
            if state.scheduled.is_none() {
                let at = self.clock.timestamp();
                state.scheduled = Some(at);
                if self.args.enable_prefix_caching {
                    self.counters.prefix_queries += u64::from(state.request.prompt_tokens);
                    self.counters.prefix_hits += u64::from(state.computed);
                }
                observer.scheduled(state.request.id, at, state.computed);
            }
            let chunk = state.chunk(draft.limit, draft.budget);
            let missing = self.missing(handle, chunk);
            let fits = self.cache.allocate(missing);
            debug_assert!(fits, "a chunk needs no more than the whole prompt");
            self.running.push(handle, &mut self.members);
            draft.budget -= chunk;
            self.grant(handle, chunk);
            self.book(handle, chunk, draft);
        }
    }

    /// Blocks that a sequence lacks to compute `chunk` tokens of its prompt.
    fn missing(&self, handle: Handle, chunk: u32) -> u32 {
        let Member { state, holding, .. } = &self.members[handle];
        self.cache.blocks_for(state.computed + chunk).saturating_sub(holding.blocks)
    }

    /// Notes the blocks for `chunk` tokens of a prompt, which are taken already.
    fn grant(&mut self, handle: Handle, chunk: u32) {
        let Member { state, holding, .. } = &mut self.members[handle];
        let computed = state.computed + chunk;
        holding.blocks = self.cache.blocks_for(computed).max(holding.blocks);
        self.cache.publish(holding, computed);
    }

    /// Books `chunk` tokens of a sequence's prompt.
    fn book(&mut self, handle: Handle, chunk: u32, draft: &mut Draft) {
        if self.members[handle].state.book(chunk, &mut draft.batch) {
            draft.prefilled.push(handle);
        } else {
            self.prefilling.push(handle);
        }
    }
}

/// What a victim had been given: tokens to compute, and blocks that are not counted with it yet.
struct Withdrawn {
    tokens: u32,
    blocks: u32,
}

/// A batch in the making.
struct Draft {
    budget: u32,
    /// Tokens that one sequence computes at most.
    limit: u32,
    batch: Batch,
    prefilled: Vec<Handle>,
}
