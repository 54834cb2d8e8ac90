//! The reference: every step, one sequence after the other.

mod schedule;

use std::collections::VecDeque;

use optimizer::units::{Fraction, Timestamp};

use super::blocks::BlockPool;
use super::sequence::{Handle, Sequence, Slots};
use super::step_time::Batch;
use super::{
    EngineArgs, EngineConfig, Lost, ModelServer, Moment, Observer, Rejection, Request, StepTime,
    Ticks, TokenGaps,
};

/// One replica, step by step. It does what [`Engine`](super::Engine) does, in time that grows with
/// the number of tokens; tests compare the two.
#[derive(Debug)]
pub struct Stepwise<P> {
    args: EngineArgs,
    plant: P,
    blocks: BlockPool,
    members: Slots<Member>,
    /// In the order of admission: the last one is the first to be evicted.
    running: Vec<Handle>,
    waiting: VecDeque<Handle>,
    /// The step under way and those that are decided.
    steps: VecDeque<Step>,
    /// When the step under way began, or the last one ended.
    clock: Moment,
}

/// A sequence and what has come of its output.
#[derive(Debug)]
struct Member {
    state: Sequence,
    delivered: u32,
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
            blocks: BlockPool::new(args.num_gpu_blocks, args.block_size),
            members: Slots::default(),
            running: Vec::new(),
            waiting: VecDeque::new(),
            steps: VecDeque::new(),
            clock: Moment::default(),
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
        for handle in step.producers {
            let Member { state, delivered } = &mut self.members[handle];
            *delivered += 1;
            match state.last_token.replace(self.clock) {
                None => observer.first_token(state.request.id, self.clock.timestamp()),
                Some(last_token) => observer.token_gaps(TokenGaps {
                    first: self.clock.span_since(last_token),
                    growth: Ticks::ZERO,
                    steps: 1,
                    sequences: 1,
                }),
            }
            if *delivered == state.output_tokens {
                observer.finished(state.request.id, self.clock.timestamp(), *delivered);
                self.blocks.free(state.blocks);
                // It may have been preempted while its last token was on the way.
                self.running.retain(|&running| running != handle);
                self.waiting.retain(|&waiting| waiting != handle);
                self.members.remove(handle);
            }
        }
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
        let output_tokens = self.args.admit(&request)?;
        let state = Sequence::new(request, output_tokens);
        let handle = self.members.insert(Member { state, delivered: 0 });
        self.waiting.push_back(handle);
        if self.steps.is_empty() {
            self.clock = self.clock.max(Moment::at(now));
            self.decide(observer);
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Timestamp> {
        self.step_end().map(Moment::timestamp)
    }

    fn abort_all(&mut self) -> Vec<Lost> {
        let handles = self.running.drain(..).chain(self.waiting.drain(..));
        let lost = handles.map(|handle| {
            let Member { state, delivered } = &self.members[handle];
            Lost { id: state.request.id, output_tokens: *delivered }
        });
        let lost = lost.collect();
        self.members = Slots::default();
        self.blocks = BlockPool::new(self.args.num_gpu_blocks, self.args.block_size);
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
        self.blocks.usage()
    }
}
