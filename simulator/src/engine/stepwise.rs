//! The reference: every step, one sequence after the other.

mod schedule;

use std::collections::VecDeque;

use optimizer::units::{Fraction, Timestamp};

use super::blocks::BlockPool;
use super::sequence::{Handle, Sequence, Slots};
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
    sequences: Slots<Sequence>,
    /// In the order of admission: the last one is the first to be evicted.
    running: Vec<Handle>,
    waiting: VecDeque<Handle>,
    /// The end of the step under way.
    step_end: Option<Moment>,
    last_step_end: Moment,
}

impl<P: StepTime> Stepwise<P> {
    /// An idle engine with an empty cache.
    pub fn new(EngineConfig(args): EngineConfig, plant: P) -> Self {
        Self {
            args,
            plant,
            blocks: BlockPool::new(args.num_gpu_blocks, args.block_size),
            sequences: Slots::default(),
            running: Vec::new(),
            waiting: VecDeque::new(),
            step_end: None,
            last_step_end: Moment::default(),
        }
    }

    fn begin_step(&mut self, now: Moment, observer: &mut impl Observer) {
        if self.is_idle() {
            return;
        }
        let batch = self.schedule(now, observer);
        self.step_end = Some(now + self.plant.step_time(&batch));
    }

    /// Hands out the tokens of the step that ends at `now`, and lets finished requests go.
    fn end_step(&mut self, now: Moment, observer: &mut impl Observer) {
        let previous_end = std::mem::replace(&mut self.last_step_end, now);
        let mut kept = 0;
        for idx in 0..self.running.len() {
            let handle = self.running[idx];
            let sequence = &mut self.sequences[handle];
            if sequence.produces_token() {
                let first = sequence.generated == 0;
                sequence.generated += 1;
                let last_token = std::mem::replace(&mut sequence.last_token, now);
                if first {
                    observer.first_token(sequence.request.id, now.timestamp());
                } else {
                    debug_assert!(last_token <= previous_end, "two tokens in one step");
                    observer.token_gaps(TokenGaps {
                        first: now.span_since(last_token),
                        growth: Ticks::ZERO,
                        steps: 1,
                        sequences: 1,
                    });
                }
                if sequence.generated == sequence.output_tokens {
                    observer.finished(sequence.request.id, now.timestamp(), sequence.generated);
                    self.blocks.free(sequence.blocks);
                    self.sequences.remove(handle);
                    continue;
                }
            }
            self.running[kept] = handle;
            kept += 1;
        }
        self.running.truncate(kept);
    }
}

impl<P: StepTime> ModelServer for Stepwise<P> {
    fn advance(&mut self, now: Timestamp, observer: &mut impl Observer) {
        while let Some(end) = self.step_end.filter(|end| end.timestamp() <= now) {
            self.step_end = None;
            self.end_step(end, observer);
            self.begin_step(end, observer);
        }
    }

    fn submit(
        &mut self,
        request: Request,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection> {
        let output = self.args.admit(&request)?;
        let handle = self.sequences.insert(Sequence::new(request, output));
        self.waiting.push_back(handle);
        if self.step_end.is_none() {
            self.begin_step(Moment::at(now).max(self.last_step_end), observer);
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Timestamp> {
        self.step_end.map(Moment::timestamp)
    }

    fn abort_all(&mut self) -> Vec<Lost> {
        let handles = self.running.drain(..).chain(self.waiting.drain(..));
        let lost = handles.map(|handle| self.sequences[handle].lost()).collect();
        self.sequences = Slots::default();
        self.blocks = BlockPool::new(self.args.num_gpu_blocks, self.args.block_size);
        self.step_end = None;
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
