//! The engine that jumps from event to event. See [`engine`](super) for why that is exact.

mod decoding;
mod member;

use std::collections::VecDeque;

use optimizer::units::{Fraction, Timestamp};

use super::blocks::BlockPool;
use super::sequence::Handle;
use super::step_time::Batch;
use super::{
    DecodeLaw, EngineArgs, EngineConfig, ModelServer, Moment, Observer, Rejection, Request,
    RequestId, StepTime, Ticks, TokenGaps,
};
use decoding::Decoding;
use member::{Member, Members, Running};

/// One replica. What a request costs does not depend on its number of tokens.
#[derive(Debug)]
pub struct Engine<P> {
    args: EngineArgs,
    plant: P,
    blocks: BlockPool,
    members: Members,
    /// All that are in the batch: those that decode, and those that prefill.
    running: Running,
    decoding: Decoding,
    /// Sequences whose known tokens are not all computed, in the order of their admission. All of
    /// them were admitted after those that decode.
    prefilling: Vec<Handle>,
    waiting: VecDeque<Handle>,
    work: Work,
    /// The beginning of the work under way; when idle, the end of the last.
    clock: Moment,
}

/// What the GPU does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Idle,
    /// One step with a prompt in it.
    Mixed {
        time: Ticks,
    },
    /// Steps in which everything decodes. The blocks of the first are taken.
    Run {
        law: DecodeLaw,
        steps: u64,
    },
}

impl<P: StepTime> Engine<P> {
    /// An idle engine with an empty cache.
    pub fn new(EngineConfig(args): EngineConfig, plant: P) -> Self {
        Self {
            args,
            plant,
            blocks: BlockPool::new(args.num_gpu_blocks, args.block_size),
            members: Members::default(),
            running: Running::default(),
            decoding: Decoding::new(args.block_size),
            prefilling: Vec::new(),
            waiting: VecDeque::new(),
            work: Work::Idle,
            clock: Moment::default(),
        }
    }

    /// Decides what the GPU does from the clock on, and takes the blocks of its first step.
    fn plan(&mut self, observer: &mut impl Observer) {
        if self.is_idle() {
            self.work = Work::Idle;
            return;
        }
        let mut budget = self.args.max_num_batched_tokens;
        let mut batch = Batch::default();
        let preempted = self.continue_running(&mut budget, &mut batch, observer);
        if !preempted {
            self.admit(&mut budget, &mut batch, observer);
        }
        // Who decodes is settled only now, because a preemption may have taken some away.
        self.decoding.join(&mut batch);
        self.work = if self.prefilling.is_empty() {
            let law = self.plant.decode_law(&batch);
            // After a preemption the head of the queue may enter in the very next step.
            let wanted = if preempted && !self.waiting.is_empty() {
                1
            } else {
                let finish = self.decoding.steps_to_finish(&self.members).unwrap_or(1);
                finish.min(law.valid_for)
            };
            let free = u64::from(self.blocks.num_free());
            Work::Run { law, steps: 1 + self.decoding.steps_with(free, 1, wanted - 1) }
        } else {
            Work::Mixed { time: self.plant.step_time(&batch) }
        };
    }

    /// Gives every running sequence its tokens and blocks, preempting where blocks run out. Returns
    /// whether it did. `batch` receives what the prefilling ones compute.
    fn continue_running(
        &mut self,
        budget: &mut u32,
        batch: &mut Batch,
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
            self.preempt(budget, batch, observer);
            return true;
        }
        *budget -= self.decoding.count();
        for idx in 0..self.prefilling.len() {
            self.book(self.prefilling[idx], budget, batch);
        }
        false
    }

    /// The slow way through the running list, one sequence after the other, as long as blocks are
    /// short.
    fn preempt(&mut self, budget: &mut u32, batch: &mut Batch, observer: &mut impl Observer) {
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
            } else {
                self.book(handle, budget, batch);
            }
        }
    }

    /// Takes everything but its output from a sequence and puts it at the head of the queue.
    fn evict(&mut self, victim: Handle, observer: &mut impl Observer) {
        if self.decoding.remove(victim, &mut self.members) {
            self.members[victim].state.last_token = self.clock;
        } else {
            self.prefilling.retain(|&handle| handle != victim);
        }
        self.running.remove(victim, &mut self.members);
        let state = &mut self.members[victim].state;
        state.evict(&mut self.blocks);
        observer.preempted(state.request.id);
        self.waiting.push_front(victim);
    }

    fn admit(&mut self, budget: &mut u32, batch: &mut Batch, observer: &mut impl Observer) {
        while *budget > 0 && self.running.count() < self.args.max_num_seqs as usize {
            let Some(&handle) = self.waiting.front() else { return };
            let state = &mut self.members[handle].state;
            if self.blocks.blocks_for(state.tokens()) > self.blocks.num_free() {
                return;
            }
            let taken_back = state.take_back(&mut self.blocks);
            let chunk = state.needed().min(*budget);
            self.blocks.allocate(self.blocks.blocks_for(state.computed + chunk) - state.blocks);
            if !state.admitted {
                state.admitted = true;
                observer.scheduled(state.request.id, self.clock.timestamp());
            }
            self.waiting.pop_front();
            if let Some((left, count)) = taken_back {
                for &behind in &self.waiting {
                    let others = self.members[behind].state.left.iter_mut();
                    others.for_each(|other| other.close_gap(left, count));
                }
            }
            self.running.push(handle, &mut self.members);
            self.prefilling.push(handle);
            self.book(handle, budget, batch);
        }
    }

    /// Books as much of a sequence's prompt as the budget allows. Its blocks are taken already.
    fn book(&mut self, handle: Handle, budget: &mut u32, batch: &mut Batch) {
        let state = &mut self.members[handle].state;
        let chunk = state.needed().min(*budget);
        state.blocks = self.blocks.blocks_for(state.computed + chunk).max(state.blocks);
        state.book(chunk, batch);
        *budget -= chunk;
    }

    /// Ends the step with a prompt in it.
    fn end_mixed(&mut self, time: Ticks, observer: &mut impl Observer) {
        self.clock = self.clock + time;
        self.report_gaps(DecodeLaw { first: time, growth: Ticks::ZERO, valid_for: 1 }, 1, observer);
        self.decoding.advance(1);
        self.let_finished_go(observer);

        let mut kept = 0;
        for idx in 0..self.prefilling.len() {
            let handle = self.prefilling[idx];
            if self.members[handle].state.produces_token() {
                self.end_prefill(handle, observer);
            } else {
                self.prefilling[kept] = handle;
                kept += 1;
            }
        }
        self.prefilling.truncate(kept);
    }

    /// Hands out the token with which a prefill ends.
    fn end_prefill(&mut self, handle: Handle, observer: &mut impl Observer) {
        let state = &mut self.members[handle].state;
        let last_token = std::mem::replace(&mut state.last_token, self.clock);
        state.generated += 1;
        if state.generated == 1 {
            observer.first_token(state.request.id, self.clock.timestamp());
        } else {
            // It was preempted: the time since its last token is one long gap.
            observer.token_gaps(TokenGaps {
                first: self.clock.span_since(last_token),
                growth: Ticks::ZERO,
                steps: 1,
                sequences: 1,
            });
        }
        if state.generated == state.output_tokens {
            self.let_go(handle, observer);
        } else {
            self.decoding.insert(handle, &mut self.members);
        }
    }

    /// Ends the first `done` steps of a run of `steps`, and takes the blocks of the next one.
    fn end_steps(&mut self, law: DecodeLaw, done: u64, steps: u64, observer: &mut impl Observer) {
        let begun = done.min(steps - 1);
        let demand = self.decoding.block_demand(1, begun);
        let fits = self.blocks.allocate(u32::try_from(demand).unwrap_or(u32::MAX));
        debug_assert!(fits, "the run is longer than its blocks");
        self.clock += law.total(done);
        self.report_gaps(law, done, observer);
        self.decoding.advance(done);
    }

    fn report_gaps(&self, law: DecodeLaw, steps: u64, observer: &mut impl Observer) {
        let sequences = u64::from(self.decoding.count());
        if sequences > 0 {
            let DecodeLaw { first, growth, .. } = law;
            observer.token_gaps(TokenGaps { first, growth, steps, sequences });
        }
    }

    fn let_finished_go(&mut self, observer: &mut impl Observer) {
        while let Some(handle) = self.decoding.pop_finished(&mut self.members) {
            self.let_go(handle, observer);
        }
    }

    fn let_go(&mut self, handle: Handle, observer: &mut impl Observer) {
        self.running.remove(handle, &mut self.members);
        let state = &self.members[handle].state;
        self.blocks.free(state.blocks);
        observer.finished(state.request.id, self.clock.timestamp(), state.generated);
        self.members.remove(handle);
    }
}

impl<P: StepTime> ModelServer for Engine<P> {
    fn advance(&mut self, now: Timestamp, observer: &mut impl Observer) {
        loop {
            match self.work {
                Work::Idle => return,
                Work::Mixed { time } => {
                    if (self.clock + time).timestamp() > now {
                        return;
                    }
                    self.end_mixed(time, observer);
                }
                Work::Run { law, steps } => {
                    let done = law.steps_within(self.clock.until_end_of(now), steps);
                    if done > 0 {
                        self.end_steps(law, done, steps, observer);
                    }
                    if done < steps {
                        self.work = Work::Run { law: law.after(done), steps: steps - done };
                        return;
                    }
                    self.let_finished_go(observer);
                }
            }
            self.plan(observer);
        }
    }

    fn submit(
        &mut self,
        request: Request,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection> {
        let output_tokens = self.args.admit(&request)?;
        let handle = self.members.insert(Member::new(request, output_tokens));
        let heads_the_queue = self.waiting.is_empty();
        self.waiting.push_back(handle);
        match &mut self.work {
            Work::Idle => {
                self.clock = self.clock.max(Moment::at(now));
                self.plan(observer);
            }
            // It may enter when the step under way ends. One that is not the head waits for a
            // finish, as the head does.
            Work::Run { steps, .. } if heads_the_queue => *steps = 1,
            Work::Run { .. } | Work::Mixed { .. } => {}
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Timestamp> {
        match self.work {
            Work::Idle => None,
            Work::Mixed { time } => Some((self.clock + time).timestamp()),
            Work::Run { law, steps } => Some((self.clock + law.total(steps)).timestamp()),
        }
    }

    fn abort_all(&mut self) -> Vec<RequestId> {
        let handles = self.running.iter(&self.members).chain(self.waiting.iter().copied());
        let lost = handles.map(|handle| self.members[handle].state.request.id).collect();
        self.blocks = BlockPool::new(self.args.num_gpu_blocks, self.args.block_size);
        self.members = Members::default();
        self.running = Running::default();
        self.decoding = Decoding::new(self.args.block_size);
        self.prefilling.clear();
        self.waiting.clear();
        self.work = Work::Idle;
        lost
    }

    fn num_running(&self) -> usize {
        self.running.count()
    }

    fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn kv_usage(&self) -> Fraction {
        self.blocks.usage()
    }
}
