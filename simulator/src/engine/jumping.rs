//! The engine that jumps from event to event. See [`engine`](super) for why that is exact.
//!
//! What is *booked* runs ahead of what has *ended*. A step is booked when it is decided: its tokens
//! count as computed, its blocks are taken, its output as generated. When it ends, its tokens come
//! out, and what has all its output leaves. Between the two lies one step, or two with asynchronous
//! scheduling, where the next step is decided when the one before it begins.

mod decoding;
mod flight;
mod member;
mod plan;

use std::collections::VecDeque;

use optimizer::units::{Fraction, Timestamp};

use super::blocks::BlockPool;
use super::sequence::Handle;
use super::{
    EngineArgs, EngineConfig, Lost, ModelServer, Moment, Observer, Rejection, Request, StepTime,
    Ticks, TokenGaps,
};
use decoding::Decoding;
use flight::Flight;
use member::{Member, Members, Running};

/// One replica. What a request costs does not depend on its number of tokens.
#[derive(Debug)]
pub struct Engine<P> {
    args: EngineArgs,
    plant: P,
    blocks: BlockPool,
    members: Members,
    /// All that are in the batch: those that decode, those that prefill, and those that only wait
    /// for their last booked step to end.
    running: Running,
    decoding: Decoding,
    /// Sequences whose prompt is not booked to its end, in the order of their admission. All of them
    /// were admitted after those that decode.
    prefilling: Vec<Handle>,
    waiting: VecDeque<Handle>,
    /// The steps under way: of the first, the one that the GPU computes.
    current: Option<Flight>,
    /// What follows, once it is decided.
    next: Option<Flight>,
    /// When the step under way began; when idle, the end of the last.
    clock: Moment,
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
            current: None,
            next: None,
            clock: Moment::default(),
        }
    }

    /// Begins what was decided to follow, or decides now.
    fn begin(&mut self, observer: &mut impl Observer) {
        self.current = self.next.take();
        if self.current.is_none() {
            self.current = self.plan(observer);
        }
        self.book_ahead(0);
    }

    /// Books the steps of the current flight that are decided after `ended` more of them.
    fn book_ahead(&mut self, ended: u64) {
        let Some(flight) = &mut self.current else { return };
        let booked = self.args.depth().min(flight.remaining);
        let more = (booked + ended).saturating_sub(flight.booked);
        flight.booked = booked;
        if more > 0 {
            let demand = self.decoding.block_demand(0, more);
            let fits = self.blocks.allocate(u32::try_from(demand).unwrap_or(u32::MAX));
            debug_assert!(fits, "the run is longer than its blocks");
            self.decoding.advance(more);
            while let Some(handle) = self.decoding.pop_complete(&mut self.members) {
                flight.complete.push(handle);
            }
        }
    }

    /// Lets `steps` steps of the current flight end.
    fn end_steps(&mut self, steps: u64, observer: &mut impl Observer) {
        let Some(flight) = &mut self.current else { return };
        self.clock += flight.law.total(steps);
        if flight.sequences > 0 {
            observer.token_gaps(TokenGaps {
                first: flight.law.first,
                growth: flight.law.growth,
                steps,
                sequences: u64::from(flight.sequences),
            });
        }
        flight.law = flight.law.after(steps);
        flight.remaining -= steps;
        self.book_ahead(steps);
    }

    /// Hands out what the last step of the current flight brings, beside one more token for all that
    /// decode.
    fn end_flight(&mut self, observer: &mut impl Observer) {
        let Some(flight) = self.current.take() else { return };
        for handle in flight.prefilled {
            self.end_prefill(handle, observer);
        }
        for handle in flight.complete {
            self.let_go(handle, observer);
        }
    }

    /// Hands out the token with which a prefill ends.
    fn end_prefill(&mut self, handle: Handle, observer: &mut impl Observer) {
        let state = &mut self.members[handle].state;
        let last_token = state.last_token.replace(self.clock);
        match last_token {
            None => observer.first_token(state.request.id, self.clock.timestamp()),
            // It was preempted: the time since its last token is one long gap.
            Some(last_token) => observer.token_gaps(TokenGaps {
                first: self.clock.span_since(last_token),
                growth: Ticks::ZERO,
                steps: 1,
                sequences: 1,
            }),
        }
    }

    fn let_go(&mut self, handle: Handle, observer: &mut impl Observer) {
        if self.members[handle].admission.is_some() {
            self.running.remove(handle, &mut self.members);
            self.blocks.free(self.members[handle].state.blocks);
        } else {
            // It was preempted while its last token was on the way.
            self.waiting.retain(|&waiting| waiting != handle);
        }
        let state = &self.members[handle].state;
        observer.finished(state.request.id, self.clock.timestamp(), state.generated);
        self.members.remove(handle);
    }
}

impl<P: StepTime> ModelServer for Engine<P> {
    fn advance(&mut self, now: Timestamp, observer: &mut impl Observer) {
        let ahead = self.args.depth() - 1;
        while let Some(flight) = &self.current {
            // What follows is decided when the last step begins; or when it ends, where nothing is
            // decided ahead.
            if !flight.followed && flight.remaining <= ahead {
                let next = self.plan(observer);
                self.next = next;
                if let Some(flight) = &mut self.current {
                    flight.followed = true;
                }
                continue;
            }
            let until = if flight.followed { flight.remaining } else { flight.remaining - ahead };
            let steps = flight.law.steps_within(self.clock.until_end_of(now), until);
            if steps == 0 {
                return;
            }
            self.end_steps(steps, observer);
            if self.current.as_ref().is_some_and(|flight| flight.remaining == 0) {
                self.end_flight(observer);
                self.begin(observer);
            } else if steps < until {
                return;
            }
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
        if self.current.is_none() {
            self.clock = self.clock.max(Moment::at(now));
            self.begin(observer);
        } else if heads_the_queue {
            // It may enter the first step that is not decided. One that is not the head waits until
            // something leaves, as the head does.
            if let Some(last) = self.next.as_mut().or(self.current.as_mut()) {
                last.cut();
            }
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Timestamp> {
        let flight = self.current.as_ref()?;
        Some((self.clock + flight.law.total(flight.remaining)).timestamp())
    }

    fn abort_all(&mut self) -> Vec<Lost> {
        let running: Vec<_> = self.running.iter(&self.members).collect();
        for &handle in &running {
            self.decoding.remove(handle, &mut self.members);
        }
        let flights = self.current.take().into_iter().chain(self.next.take());
        let booked = self.decoding.step();
        let ended = booked - flights.map(|flight| flight.booked).sum::<u64>();
        let handles = running.into_iter().chain(self.waiting.drain(..));
        let lost = handles.map(|handle| {
            let member = &self.members[handle];
            let output_tokens = member.delivered(booked, ended);
            Lost { id: member.state.request.id, output_tokens }
        });
        let lost = lost.collect();
        self.blocks = BlockPool::new(self.args.num_gpu_blocks, self.args.block_size);
        self.members = Members::default();
        self.running = Running::default();
        self.decoding = Decoding::new(self.args.block_size);
        self.prefilling.clear();
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
