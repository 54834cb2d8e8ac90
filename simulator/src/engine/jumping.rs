//! The engine that jumps from event to event. See [`engine`](super) for why that is exact.
//!
//! What is *booked* runs ahead of what has *ended*. A step is booked when it is decided: its tokens
//! count as computed, its blocks are taken, its output as generated. When it ends, its tokens come
//! out, and what has all its output leaves. Between the two lies one step, or two with asynchronous
//! scheduling, where the next step is decided when the one before it begins.

mod cache;
mod decoding;
mod flight;
mod member;
mod plan;
mod texts;

use optimizer::units::{Fraction, Timestamp};

use super::args::Load;
use super::queue::{Rank, WaitingQueue};
use super::sequence::{Handle, Sequence};
use super::{
    Counters, EngineArgs, EngineConfig, Lost, ModelServer, Moment, Observer, Rejection, Request,
    RequestId, StepTime, Ticks, TokenGaps,
};
use cache::{Cache, Text};
use decoding::Decoding;
use flight::Flight;
use member::{Member, Members, Running};

/// One replica. What a request costs does not depend on its number of tokens.
#[derive(Debug)]
pub struct Engine<P> {
    args: EngineArgs,
    plant: P,
    cache: Cache,
    members: Members,
    /// All that are in the batch: those that decode, those that prefill, and those that only wait
    /// for their last booked step to end.
    running: Running,
    decoding: Decoding,
    /// Sequences whose prompt is not booked to its end, in the order of their admission.
    prefilling: Vec<Handle>,
    waiting: WaitingQueue,
    /// A head of the queue that did not fit, and the version of the cache.
    refused: Option<(Handle, u64)>,
    /// The steps under way: of the first, the one that the GPU computes.
    current: Option<Flight>,
    /// What follows, once it is decided.
    next: Option<Flight>,
    /// When the step under way began; when idle, the end of the last.
    clock: Moment,
    submitted: u64,
    /// Prompt tokens of requests without a first token.
    unanswered_tokens: u64,
    counters: Counters,
}

impl<P: StepTime> Engine<P> {
    /// An idle engine with an empty cache.
    pub fn new(EngineConfig(args): EngineConfig, plant: P) -> Self {
        Self {
            args,
            plant,
            cache: Cache::new(&args),
            members: Members::default(),
            running: Running::default(),
            decoding: Decoding::new(args.block_size),
            prefilling: Vec::new(),
            waiting: WaitingQueue::new(args.scheduling_policy),
            refused: None,
            current: None,
            next: None,
            clock: Moment::default(),
            submitted: 0,
            unanswered_tokens: 0,
            counters: Counters::default(),
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
            let demand = self.decoding.block_demand(more);
            let fits = self.cache.allocate(u32::try_from(demand).unwrap_or(u32::MAX));
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
        let span = flight.law.total(steps);
        self.clock += span;
        if flight.sequences > 0 {
            let sequences = u64::from(flight.sequences);
            self.counters.count_steps(steps, sequences);
            self.counters.itl.add(span * u128::from(sequences), steps * sequences);
            observer.token_gaps(TokenGaps {
                first: flight.law.first,
                growth: flight.law.growth,
                steps,
                sequences,
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
        if flight.sequences == 0 {
            self.counters.steps += u64::from(!flight.prefilled.is_empty());
        }
        self.counters.generation_tokens += flight.prefilled.len() as u64;
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
            None => {
                let prompt_tokens = state.request.prompt_tokens;
                self.unanswered_tokens -= u64::from(prompt_tokens);
                state.first_token = Some(self.clock.timestamp());
                self.counters.count_first_token(prompt_tokens, state.rank.arrival, self.clock);
                observer.first_token(state.request.id, self.clock.timestamp());
            }
            // It was preempted: the time since its last token is one long gap.
            Some(last_token) => {
                let first = self.clock.span_since(last_token);
                self.counters.itl.add(u128::from(first.get()), 1);
                let growth = Ticks::ZERO;
                observer.token_gaps(TokenGaps { first, growth, steps: 1, sequences: 1 });
            }
        }
    }

    fn let_go(&mut self, handle: Handle, observer: &mut impl Observer) {
        let state = &self.members[handle].state;
        if let Some(life) = state.life() {
            self.counters.count_end(&life, state.request.prompt_tokens, state.generated);
        }
        observer.finished(state.request.id, self.clock.timestamp(), state.generated);
        self.forget(handle);
    }

    /// Takes a sequence out of the running list or the queue, and its blocks back.
    fn forget(&mut self, handle: Handle) {
        if self.members[handle].admission.is_some() {
            self.running.remove(handle, &mut self.members);
            self.release(handle, self.args.depth(), false);
        } else {
            // It may have been preempted while its last token was on the way.
            let member = &mut self.members[handle];
            self.waiting.remove(handle, member.state.rank);
            self.cache.forget(&mut member.holding);
        }
        self.members.remove(handle);
    }

    /// Takes the blocks of a sequence back, in whose last step `in_flight` steps were under way at
    /// most.
    fn release(&mut self, handle: Handle, in_flight: u64, returns: bool) {
        let member = &mut self.members[handle];
        let known = member.known(in_flight);
        self.cache.release(&mut member.holding, Text::of(&member.state), known, returns);
    }

    /// Steps that have ended.
    fn ended(&self) -> u64 {
        let flights = self.current.iter().chain(&self.next);
        self.decoding.step() - flights.map(|flight| flight.booked).sum::<u64>()
    }

    fn lost(&self, handle: Handle) -> Lost {
        let member = &self.members[handle];
        let output_tokens = member.delivered(self.decoding.step(), self.ended());
        Lost { id: member.state.request.id, output_tokens }
    }

    fn in_flight(&self) -> impl Iterator<Item = Handle> {
        self.running.iter(&self.members).chain(self.waiting.iter())
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
        let load = Load { requests: self.load(), prompt_tokens: self.unanswered_tokens };
        let output_tokens = self.args.admit(&request, load)?;
        self.submitted += 1;
        self.unanswered_tokens += u64::from(request.prompt_tokens);
        let rank = Rank { priority: request.priority, arrival: now, serial: self.submitted };
        let member = Member::new(Sequence::new(request, rank, output_tokens));
        let handle = self.members.insert(member);
        self.waiting.push(handle, rank);
        let heads_the_queue = self.waiting.head() == Some(handle);
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

    fn abort(&mut self, id: RequestId) -> Option<Lost> {
        let mut handles = self.in_flight();
        let handle = handles.find(|&handle| self.members[handle].state.request.id == id)?;
        drop(handles);
        self.decoding.remove(handle, &mut self.members);
        let lost = self.lost(handle);
        let member = &self.members[handle];
        if lost.output_tokens == 0 {
            self.unanswered_tokens -= u64::from(member.state.request.prompt_tokens);
        }
        // The steps under way compute it in vain; those that are not booked would, too.
        let mut ended = self.ended();
        for flight in self.current.iter_mut().chain(&mut self.next) {
            flight.cut();
            let until = ended + flight.booked;
            flight.sequences -= u32::from(member.decodes_within(ended, until));
            flight.prefilled.retain(|&other| other != handle);
            flight.complete.retain(|&other| other != handle);
            ended = until;
        }
        self.prefilling.retain(|&other| other != handle);
        self.forget(handle);
        Some(lost)
    }

    fn abort_all(&mut self) -> Vec<Lost> {
        let running: Vec<_> = self.running.iter(&self.members).collect();
        for &handle in &running {
            self.decoding.remove(handle, &mut self.members);
        }
        let lost = self.in_flight().map(|handle| self.lost(handle)).collect();
        (self.current, self.next) = (None, None);
        self.waiting = WaitingQueue::new(self.args.scheduling_policy);
        self.refused = None;
        self.unanswered_tokens = 0;
        self.cache = Cache::new(&self.args);
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
        self.cache.usage()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::*;
    use crate::engine::step_time::Linear;

    #[test]
    fn a_head_that_does_not_fit_is_not_looked_up_again_until_something_is_freed() {
        let args = EngineArgs {
            max_num_batched_tokens: 20,
            max_num_seqs: 10,
            max_model_len: 160,
            num_gpu_blocks: 11,
            long_prefill_token_threshold: 10,
            ..EngineArgs::DEFAULT
        };
        let plant = Linear {
            base: Seconds::new(1.0),
            per_prefill_token: Seconds::ZERO,
            per_decode_sequence: Seconds::ZERO,
            per_context_token: Seconds::ZERO,
        };
        let config = args.try_into().expect("the arguments are valid");
        let mut engine = Engine::new(config, plant);
        let submit = |engine: &mut Engine<_>, id, prompt| {
            let request = Request::new(RequestId(id), prompt, 3);
            engine.submit(request, Timestamp::ZERO, &mut ()).expect("the prompt fits");
        };
        // A prompt of eleven steps, each of which leaves tokens to others, and one that waits for
        // blocks all the while.
        submit(&mut engine, 0, 110);
        submit(&mut engine, 1, 100);
        engine.advance(Timestamp::from_seconds(2.5), &mut ());
        let lookups = engine.cache.lookups();
        assert_eq!(lookups, 2);
        engine.advance(Timestamp::from_seconds(5.5), &mut ());
        assert_eq!(engine.cache.lookups(), lookups);
        engine.advance(Timestamp::from_seconds(30.0), &mut ());
        assert!(engine.is_idle() && engine.cache.lookups() > lookups);
    }
}
