//! The simulated world: gateway, fleet, scraper and controller, and what happens to them.
//!
//! ```text
//!  workload ──▶ gateway ──▶ router ──▶ replicas ──▶ records
//!                                         │ scrape
//!                  cluster ◀── decision ── controller (the production optimizer)
//! ```

mod autoscalers;
mod journal;
mod recorder;

use std::collections::VecDeque;

use optimizer::controller::InvalidPolicy;
use optimizer::journal::Record;
use optimizer::units::{Replicas, Timestamp};
use optimizer::{Controller, Decision};

use crate::control::{GatewayState, Scraper};
use crate::engine::{Content, ModelServer, Request, RequestId};
use crate::event::Event;
use crate::fleet::{Fleet, ReplicaIdx, State};
use crate::kernel::{Agenda, EventKey, Pause, Process, run};
use crate::records::{Outcome, Recording, RequestRecord};
use crate::setup::Setup;

use autoscalers::Autoscalers;
use journal::KeptJournal;
use recorder::{EngineLog, Recorder};

/// A run in progress.
#[derive(Debug)]
pub struct Simulation {
    world: World,
    agenda: Agenda<Event>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The simulated time.
    pub now: Timestamp,
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that ended, in whatever way.
    pub ended: u64,
}

impl Simulation {
    /// A world at time zero.
    ///
    /// # Errors
    ///
    /// When the policy breaks a rule.
    pub fn new(setup: Setup) -> Result<Self, InvalidPolicy> {
        let mut agenda = Agenda::new();
        let world = World::new(setup, &mut agenda)?;
        Ok(Self { world, agenda })
    }

    /// Keeps a journal from now on, whose records wait until they are
    /// [taken](Self::take_journal).
    pub fn keep_journal(&mut self) {
        self.world.journal = Some(KeptJournal::default());
    }

    /// Takes the records of the journal that were added since this was asked last.
    pub fn take_journal(&mut self) -> Vec<Record> {
        self.world.journal.as_mut().map(KeptJournal::take).unwrap_or_default()
    }

    /// Lets everything happen up to and including `horizon`. Returns whether the run is over.
    pub fn run_until(&mut self, horizon: Timestamp) -> bool {
        run(&mut self.world, &mut self.agenda, horizon) != Pause::Horizon
    }

    /// How far the run has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let arrived = self.world.recorder.arrived();
        let ended = arrived - self.world.in_flight;
        Progress { now: self.agenda.now(), arrived, ended }
    }

    /// What was recorded so far: names and targets, and what has been counted.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        self.world.recorder.recording()
    }

    /// Takes the requests that have ended since this was asked last, in the order of their arrival,
    /// so that the run does not have to remember them. One that ended waits for those before it, but
    /// not for one behind which too many wait: that comes when it ends.
    pub fn take_requests(&mut self) -> Vec<RequestRecord> {
        self.world.recorder.take_requests()
    }

    /// Runs to the end and returns what was recorded.
    #[must_use]
    pub fn finish(mut self) -> Recording {
        self.run_until(Timestamp::MAX);
        let end = self.world.end.unwrap_or(self.agenda.now());
        self.world.recorder.finish(end, &self.world.fleet)
    }
}

/// All state of the simulated world.
#[derive(Debug)]
struct World {
    setup: Setup,
    fleet: Fleet,
    gateways: Vec<Gateway>,
    scraper: Scraper,
    controller: Controller,
    /// What the controller last asked for, by variant.
    desired: Vec<Replicas>,
    journal: Option<KeptJournal>,
    /// Those that carry it out, unless the controller does.
    autoscalers: Option<Autoscalers>,
    recorder: Recorder,
    in_flight: u64,
    /// Models of which another request arrives.
    sources: usize,
    deadline: Option<EventKey>,
    end: Option<Timestamp>,
}

/// Where the requests of one model arrive.
#[derive(Debug, Default)]
struct Gateway {
    state: GatewayState,
    /// When the next request arrives.
    next: Option<(Timestamp, EventKey)>,
    /// Requests for which no replica was ready.
    queue: VecDeque<(RequestId, Content)>,
}

impl Process for World {
    type Event = Event;

    fn handle(&mut self, now: Timestamp, event: Event, agenda: &mut Agenda<Event>) {
        match event {
            Event::Serves(replica) => self.serves(now, replica, agenda),
            Event::ReplicaStarts(replica) => self.replica_starts(now, replica, agenda),
            Event::DrainExpires(replica) => self.drain_expires(now, replica, agenda),
            Event::Arrives { model } => self.arrives(now, model, agenda),
            Event::Scrape => self.scrape(now, agenda),
            Event::Control => self.control(now, agenda),
            Event::Actuate(desired) => match &mut self.autoscalers {
                Some(autoscalers) => autoscalers.publish(&desired),
                None => self.actuate(now, &desired, agenda),
            },
            Event::Autoscale => self.autoscale(now, agenda),
            Event::Sample => self.sample(now, agenda),
            Event::End => self.ends(now, agenda),
        }
    }

    fn is_over(&self) -> bool {
        self.end.is_some()
    }
}

impl World {
    fn new(setup: Setup, agenda: &mut Agenda<Event>) -> Result<Self, InvalidPolicy> {
        let controller = Controller::new(setup.policy.clone())?;
        let mut world = Self {
            fleet: Fleet::new(&setup.variants, setup.inventory.clone()),
            gateways: setup.models.iter().map(|_| Gateway::default()).collect(),
            scraper: Scraper::new(setup.control, setup.models.len()),
            controller,
            desired: setup.variants.iter().map(|variant| variant.initial).collect(),
            journal: None,
            autoscalers: Autoscalers::new(&setup),
            recorder: Recorder::new(&setup),
            in_flight: 0,
            sources: 0,
            deadline: None,
            end: None,
            setup,
        };
        for model in 0..world.setup.models.len() {
            world.await_next(model, agenda);
        }
        world.recorder.count_replicas(&world.fleet);
        agenda.schedule(Timestamp::ZERO, Event::Sample);
        agenda.schedule(Timestamp::ZERO + world.setup.control.scrape_interval, Event::Scrape);
        agenda.schedule(Timestamp::ZERO + world.setup.control.interval, Event::Control);
        world.await_autoscalers(agenda);
        world.check_for_end(Timestamp::ZERO, agenda);
        Ok(world)
    }

    // Requests.

    /// Sees to it that the next arrival of a model is scheduled, if another one will come.
    fn await_next(&mut self, model: usize, agenda: &mut Agenda<Event>) {
        let limit = self.setup.duration.map(|duration| Timestamp::ZERO + duration);
        let next = self.setup.models[model].workload.next_at();
        let next = next.filter(|&at| limit.is_none_or(|limit| at < limit));
        let next = next.map(|at| at.max(agenda.now()));
        let scheduled = self.gateways[model].next.take();
        self.sources -= usize::from(scheduled.is_some());
        self.sources += usize::from(next.is_some());
        self.gateways[model].next = match (next, scheduled) {
            (Some(at), Some((known, key))) if at == known => Some((at, key)),
            (next, scheduled) => {
                if let Some((_, key)) = scheduled {
                    agenda.cancel(key);
                }
                next.map(|at| (at, agenda.schedule(at, Event::Arrives { model })))
            }
        };
    }

    fn arrives(&mut self, now: Timestamp, model: usize, agenda: &mut Agenda<Event>) {
        self.sources -= usize::from(self.gateways[model].next.take().is_some());
        let Some((arrival, origin)) = self.setup.models[model].workload.pop() else { return };
        let id = self.recorder.arrival(now, model, &arrival, origin);
        let content = arrival.content;
        let prompt_tokens = self.recorder.request_mut(id).prompt_tokens;
        self.gateways[model].state.arrives(now, prompt_tokens);
        self.in_flight += 1;
        if let Some(replica) = self.fleet.least_loaded(model) {
            self.submit(now, id, content, replica, agenda);
        } else {
            self.gateways[model].state.enqueue(prompt_tokens);
            self.gateways[model].queue.push_back((id, content));
        }
        self.await_next(model, agenda);
        self.check_for_end(now, agenda);
    }

    /// Tells the client that a request has ended without an answer.
    fn refuse(
        &mut self,
        now: Timestamp,
        id: RequestId,
        outcome: Outcome,
        agenda: &mut Agenda<Event>,
    ) {
        let record = self.recorder.request_mut(id);
        let (model, origin) = (record.model, record.origin);
        self.recorder.end(id, outcome, now);
        self.in_flight -= 1;
        self.setup.models[model].workload.ended(origin, now, false);
        self.await_next(model, agenda);
    }

    fn submit(
        &mut self,
        now: Timestamp,
        id: RequestId,
        content: Content,
        idx: ReplicaIdx,
        agenda: &mut Agenda<Event>,
    ) {
        self.advance(now, idx, agenda);
        let server = self.fleet.replica_mut(idx);
        let record = self.recorder.request_mut(id);
        let client =
            &self.setup.models[record.model].workload.clients()[record.origin.client as usize];
        let request = Request {
            priority: client.class.priority,
            ..Request::new(id, record.prompt_tokens, record.output_tokens).with_content(content)
        };
        record.variant = Some(server.variant);
        record.replica = Some(idx.0);
        let mut log = self.recorder.log(self.setup.variants[server.variant].model);
        let refused = server.engine.submit(request, now, &mut log).is_err();
        if refused {
            self.refuse(now, id, Outcome::Rejected, agenda);
        }
        self.await_replica(idx, agenda);
    }

    // Replicas.

    /// Brings a replica to the present, and tells the clients of what it has answered.
    fn advance(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        let replica = self.fleet.replica_mut(idx);
        let model = self.setup.variants[replica.variant].model;
        let mut log = self.recorder.log(model);
        replica.engine.advance(now, &mut log);
        let EngineLog { outputs, answered, .. } = log;
        self.in_flight -= outputs.count();
        self.gateways[model].state.outputs.merge(outputs);
        if answered.is_empty() {
            return;
        }
        for (origin, at) in answered {
            self.setup.models[model].workload.ended(origin, at, true);
        }
        self.await_next(model, agenda);
    }

    /// Brings every replica to the present, for whoever looks at how full its cache is.
    fn advance_all(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        for variant in 0..self.setup.variants.len() {
            for place in 0..self.fleet.num_members(variant) {
                self.advance(now, self.fleet.member(variant, place), agenda);
            }
        }
    }

    /// Comes back when the replica has something to tell.
    fn await_replica(&mut self, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        let replica = self.fleet.replica_mut(idx);
        if let Some(key) = replica.event.take() {
            agenda.cancel(key);
        }
        let next = replica.engine.next_event();
        replica.event = next.map(|at| agenda.schedule(at, Event::Serves(idx)));
    }

    fn serves(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        self.fleet.replica_mut(idx).event = None;
        self.advance(now, idx, agenda);
        let replica = self.fleet.replica(idx);
        if replica.state == State::Draining && replica.engine.is_idle() {
            self.let_go(now, idx, agenda);
        } else {
            self.await_replica(idx, agenda);
        }
        self.check_for_end(now, agenda);
    }

    fn replica_starts(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        self.fleet.start(idx, now);
        let model = self.setup.variants[self.fleet.replica(idx).variant].model;
        for (id, content) in std::mem::take(&mut self.gateways[model].queue) {
            let prompt_tokens = self.recorder.request_mut(id).prompt_tokens;
            match self.fleet.least_loaded(model) {
                Some(replica) => {
                    self.gateways[model].state.dequeue(prompt_tokens);
                    self.submit(now, id, content, replica, agenda);
                }
                None => self.gateways[model].queue.push_back((id, content)),
            }
        }
        self.check_for_end(now, agenda);
    }

    fn drain_expires(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        self.fleet.replica_mut(idx).deadline = None;
        self.advance(now, idx, agenda);
        self.let_go(now, idx, agenda);
        self.check_for_end(now, agenda);
    }

    /// Ends a replica, and with it whatever it still had.
    fn let_go(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        let replica = self.fleet.replica_mut(idx);
        for key in replica.event.take().into_iter().chain(replica.deadline.take()) {
            agenda.cancel(key);
        }
        for lost in self.fleet.release(idx, now) {
            self.recorder.request_mut(lost.id).generated_tokens = lost.output_tokens;
            self.refuse(now, lost.id, Outcome::Failed, agenda);
        }
        let placed = self.fleet.place(now);
        self.await_starts(now, placed, agenda);
    }

    /// Comes back to replicas that got their GPUs when their cold starts are over.
    fn await_starts(
        &mut self,
        now: Timestamp,
        placed: Vec<ReplicaIdx>,
        agenda: &mut Agenda<Event>,
    ) {
        for idx in placed {
            let replica = self.fleet.replica_mut(idx);
            let ready = now + self.setup.variants[replica.variant].cold_start;
            replica.deadline = Some(agenda.schedule(ready, Event::ReplicaStarts(idx)));
        }
    }

    // Control.

    fn scrape(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        self.advance_all(now, agenda);
        self.scraper.scrape(now, &self.fleet, self.gateways.iter().map(|gateway| gateway.state));
        if let Some(autoscalers) = &mut self.autoscalers {
            autoscalers.scrape(now);
        }
        agenda.schedule(now + self.setup.control.scrape_interval, Event::Scrape);
    }

    fn control(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        let observation = self.scraper.observe(now, &self.fleet, &self.setup.models);
        let decision = match &mut self.journal {
            Some(journal) => journal.step(&mut self.controller, now, observation),
            None => self.controller.step(now, &observation),
        };
        self.adopt(&decision);
        agenda.schedule(
            now + self.setup.control.actuation_delay,
            Event::Actuate(self.desired.clone()),
        );
        agenda.schedule(now + self.setup.control.interval, Event::Control);
    }

    /// Takes over the counts that were decided, and records those that changed.
    fn adopt(&mut self, decision: &Decision) {
        for decided in &decision.variants {
            let variant = self.setup.variants.iter().position(|variant| {
                variant.variant == decided.variant
                    && self.setup.models[variant.model].namespace == decided.namespace
            });
            let Some(variant) = variant else { continue };
            let previous = std::mem::replace(&mut self.desired[variant], decided.desired);
            if previous != decided.desired {
                self.recorder.scaling(decision.at, variant, previous, decided);
            }
        }
    }

    fn actuate(&mut self, now: Timestamp, desired: &[Replicas], agenda: &mut Agenda<Event>) {
        for (variant, &desired) in desired.iter().enumerate() {
            let effect = self.fleet.scale(variant, desired, now);
            self.await_starts(now, effect.started, agenda);
            for idx in effect.draining {
                let expiry = now + self.setup.variants[variant].drain_timeout;
                let key = agenda.schedule(expiry, Event::DrainExpires(idx));
                self.fleet.replica_mut(idx).deadline = Some(key);
            }
            for idx in effect.gone {
                if let Some(key) = self.fleet.replica_mut(idx).deadline.take() {
                    agenda.cancel(key);
                }
            }
        }
        self.recorder.count_replicas(&self.fleet);
    }

    fn autoscale(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        let Some(autoscalers) = &mut self.autoscalers else { return };
        let counts = autoscalers.look(now, &self.fleet);
        self.actuate(now, &counts, agenda);
        self.await_autoscalers(agenda);
    }

    fn await_autoscalers(&self, agenda: &mut Agenda<Event>) {
        if let Some(next) = self.autoscalers.as_ref().and_then(Autoscalers::next_look) {
            agenda.schedule(next, Event::Autoscale);
        }
    }

    // Records.

    fn sample(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        self.advance_all(now, agenda);
        let gateways: Vec<_> = self.gateways.iter().map(|gateway| gateway.state).collect();
        self.recorder.sample(now, &self.fleet, &gateways);
        agenda.schedule(now + self.recorder.sample_interval(), Event::Sample);
    }

    /// Once no more requests come, the run ends with the last one in flight, or with the duration
    /// if that is later, or when the patience for stragglers is at its end.
    fn check_for_end(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        if self.end.is_some() {
            return;
        }
        if self.sources > 0 {
            // A client that waited for an answer may ask again after all.
            if let Some(key) = self.deadline.take() {
                agenda.cancel(key);
            }
            return;
        }
        let least = self.setup.duration.map_or(now, |duration| Timestamp::ZERO + duration);
        if self.in_flight == 0 {
            if let Some(key) = self.deadline.take() {
                agenda.cancel(key);
            }
            self.deadline = Some(agenda.schedule(now.max(least), Event::End));
        } else if self.deadline.is_none() {
            let patience_ends = now.max(least) + self.setup.drain_limit;
            self.deadline = Some(agenda.schedule(patience_ends, Event::End));
        }
    }

    /// Ends the run, and notes how far those had come that are still in flight.
    fn ends(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        self.advance_all(now, agenda);
        self.end = Some(now);
        for variant in 0..self.setup.variants.len() {
            for place in 0..self.fleet.num_members(variant) {
                let idx = self.fleet.member(variant, place);
                for unfinished in self.fleet.replica_mut(idx).engine.abort_all() {
                    let record = self.recorder.request_mut(unfinished.id);
                    record.generated_tokens = unfinished.output_tokens;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
