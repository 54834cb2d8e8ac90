//! The reference: every step, one sequence after the other.

mod pool;
mod schedule;

use std::collections::VecDeque;

use optimizer::units::{Fraction, Timestamp};

use super::args::Load;
use super::queue::{Rank, WaitingQueue};
use super::sequence::{Handle, Sequence, Slots};
use super::step_time::Batch;
use super::{
    Counters, EngineArgs, EngineConfig, Lost, ModelServer, Moment, Observer, Rejection, Request,
    RequestId, StepTime, Ticks, TokenGaps,
};
use pool::{BlockHash, BlockId, BlockPool};

/// One replica, step by step. It does what [`Engine`](super::Engine) does, in time that grows with
/// the number of tokens; tests compare the two.
#[derive(Debug)]
pub struct Stepwise<P> {
    args: EngineArgs,
    plant: P,
    pool: BlockPool,
    members: Slots<Member>,
    /// In the order of admission: the last one is the first to be evicted.
    running: Vec<Handle>,
    waiting: WaitingQueue,
    /// The step under way and those that are decided.
    steps: VecDeque<Step>,
    /// When the step under way began, or the last one ended.
    clock: Moment,
    submitted: u64,
    counters: Counters,
}

/// A sequence, what has come of its output, and its blocks.
#[derive(Debug)]
struct Member {
    state: Sequence,
    delivered: u32,
    blocks: Vec<BlockId>,
    /// How many of its blocks can be found by others.
    registered: usize,
    /// The hashes of its full blocks, as far as somebody asked.
    hashes: Vec<BlockHash>,
}

impl Member {
    /// Computes the hashes of the first `count` blocks.
    fn hash_until(&mut self, count: u32, block_size: u32) {
        while self.hashes.len() < count as usize {
            let (block, before) = (self.hashes.len(), self.hashes.last().copied());
            let block = u32::try_from(block).unwrap_or(u32::MAX);
            self.hashes.push(BlockHash::of(&self.state, block, block_size, before));
        }
    }
}

/// A step that is decided.
#[derive(Debug)]
struct Step {
    time: Ticks,
    /// The sequences that get an output token when it ends.
    producers: Vec<Handle>,
}

impl<P: StepTime> Stepwise<P> {
    /// An idle engine with an empty cache.
    pub fn new(EngineConfig(args): EngineConfig, plant: P) -> Self {
        Self {
            args,
            plant,
            pool: BlockPool::new(args.num_gpu_blocks, args.block_size),
            members: Slots::default(),
            running: Vec::new(),
            waiting: WaitingQueue::new(args.scheduling_policy),
            steps: VecDeque::new(),
            clock: Moment::default(),
            submitted: 0,
            counters: Counters::default(),
        }
    }

    /// Decides steps until enough are decided or there is nothing to compute.
    fn decide(&mut self, observer: &mut impl Observer) {
        while (self.steps.len() as u64) < self.args.depth() && !self.is_idle() {
            let (batch, producers) = self.schedule(observer);
            if batch == Batch::default() {
                return;
            }
            self.steps.push_back(Step { time: self.plant.step_time(&batch), producers });
        }
    }

    fn step_end(&self) -> Option<Moment> {
        self.steps.front().map(|step| self.clock + step.time)
    }

    /// Hands out the tokens of the step under way, and lets finished requests go.
    fn end_step(&mut self, observer: &mut impl Observer) {
        let Some(step) = self.steps.pop_front() else { return };
        self.clock = self.clock + step.time;
        let counters = &mut self.counters;
        counters.count_steps(u64::from(!step.producers.is_empty()), step.producers.len() as u64);
        for handle in step.producers {
            let Member { state, delivered, .. } = &mut self.members[handle];
            let prompt_tokens = state.request.prompt_tokens;
            let now = self.clock.timestamp();
            *delivered += 1;
            match state.last_token.replace(self.clock) {
                None => {
                    state.first_token = Some(now);
                    self.counters.count_first_token(prompt_tokens, state.rank.arrival, self.clock);
                    observer.first_token(state.request.id, now);
                }
                Some(last_token) => {
                    let first = self.clock.span_since(last_token);
                    self.counters.itl.add(u128::from(first.get()), 1);
                    let growth = Ticks::ZERO;
                    observer.token_gaps(TokenGaps { first, growth, steps: 1, sequences: 1 });
                }
            }
            if *delivered == state.output_tokens {
                if let Some(life) = state.life() {
                    self.counters.count_end(&life, prompt_tokens, *delivered);
                }
                observer.finished(state.request.id, now, *delivered);
                self.let_go(handle);
            }
        }
    }

    fn let_go(&mut self, handle: Handle) {
        let member = &mut self.members[handle];
        self.pool.release(std::mem::take(&mut member.blocks));
        // It may have been preempted while its last token was on the way.
        self.waiting.remove(handle, member.state.rank);
        self.running.retain(|&running| running != handle);
        self.members.remove(handle);
    }

    fn in_flight(&self) -> impl Iterator<Item = Handle> {
        self.running.iter().copied().chain(self.waiting.iter())
    }

    fn lost(&self, handle: Handle) -> Lost {
        let Member { state, delivered, .. } = &self.members[handle];
        Lost { id: state.request.id, output_tokens: *delivered }
    }
}

impl<P: StepTime> ModelServer for Stepwise<P> {
    fn advance(&mut self, now: Timestamp, observer: &mut impl Observer) {
        while self.step_end().is_some_and(|end| end.timestamp() <= now) {
            self.end_step(observer);
            self.decide(observer);
        }
    }

    fn submit(
        &mut self,
        request: Request,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection> {
        let prefilling = self.in_flight().map(|handle| &self.members[handle]);
        let prefilling = prefilling.filter(|member| member.delivered == 0);
        let prompts = prefilling.map(|member| u64::from(member.state.request.prompt_tokens));
        let load = Load { requests: self.load(), prompt_tokens: prompts.sum() };
        let output_tokens = self.args.admit(&request, load)?;
        self.submitted += 1;
        let rank = Rank { priority: request.priority, arrival: now, serial: self.submitted };
        let handle = self.members.insert(Member {
            state: Sequence::new(request, rank, output_tokens),
            delivered: 0,
            blocks: Vec::new(),
            registered: 0,
            hashes: Vec::new(),
        });
        self.waiting.push(handle, rank);
        if self.steps.is_empty() {
            self.clock = self.clock.max(Moment::at(now));
            self.decide(observer);
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Timestamp> {
        self.step_end().map(Moment::timestamp)
    }

    fn abort(&mut self, id: RequestId) -> Option<Lost> {
        let mut handles = self.in_flight();
        let handle = handles.find(|&handle| self.members[handle].state.request.id == id)?;
        drop(handles);
        let lost = self.lost(handle);
        for step in &mut self.steps {
            step.producers.retain(|&producer| producer != handle);
        }
        self.let_go(handle);
        Some(lost)
    }

    fn abort_all(&mut self) -> Vec<Lost> {
        let lost = self.in_flight().map(|handle| self.lost(handle)).collect();
        self.running.clear();
        self.waiting = WaitingQueue::new(self.args.scheduling_policy);
        self.members = Slots::default();
        self.pool = BlockPool::new(self.args.num_gpu_blocks, self.args.block_size);
        self.steps.clear();
        lost
    }

    fn num_running(&self) -> usize {
        self.running.len()
    }

    fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn kv_usage(&self) -> Fraction {
        self.pool.usage()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
