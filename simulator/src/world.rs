//! The simulated world: gateway, fleet, scraper and controller, and what happens to them.
//!
//! ```text
//!  workload ──▶ gateway ──▶ router ──▶ replicas ──▶ records
//!                                         │ scrape
//!                  cluster ◀── decision ── controller (the production optimizer)
//! ```

mod autoscalers;
mod recorder;

use std::collections::VecDeque;

use optimizer::controller::InvalidPolicy;
use optimizer::units::{Replicas, Timestamp};
use optimizer::{Controller, Decision};

use crate::control::{GatewayState, Scraper};
use crate::engine::{Content, ModelServer, Request, RequestId};
use crate::event::Event;
use crate::fleet::{Fleet, ReplicaIdx, State};
use crate::kernel::{Agenda, EventKey, Pause, Process, run};
use crate::records::{Outcome, Recording, RequestRecord};
use crate::setup::Setup;
use crate::workload::Arrival;

use autoscalers::Autoscalers;
use recorder::Recorder;

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

    /// Lets everything happen up to and including `horizon`. Returns whether the run is over.
    pub fn run_until(&mut self, horizon: Timestamp) -> bool {
        run(&mut self.world, &mut self.agenda, horizon) != Pause::Horizon
    }

    /// How far the run has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let arrived = self.world.recorder.arrived();
        let ended = arrived - self.world.in_flight as u64;
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
    /// Those that carry it out, unless the controller does.
    autoscalers: Option<Autoscalers>,
    recorder: Recorder,
    in_flight: usize,
    sources: usize,
    deadline: Option<EventKey>,
    end: Option<Timestamp>,
}

/// Where the requests of one model arrive.
#[derive(Debug, Default)]
struct Gateway {
    state: GatewayState,
    /// The request that arrives next.
    next: Option<Arrival>,
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
            Event::End => self.ends(now),
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
            fleet: Fleet::new(&setup.variants),
            gateways: setup.models.iter().map(|_| Gateway::default()).collect(),
            scraper: Scraper::new(setup.control, setup.models.len()),
            controller,
            desired: setup.variants.iter().map(|variant| variant.initial).collect(),
            autoscalers: Autoscalers::new(&setup),
            recorder: Recorder::new(&setup),
            in_flight: 0,
            sources: setup.models.len(),
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

    /// Schedules the next arrival of a model, or notes that none will come.
    fn await_next(&mut self, model: usize, agenda: &mut Agenda<Event>) {
        let limit = self.setup.duration.map(|duration| Timestamp::ZERO + duration);
        let next = self.setup.models[model].workload.next();
        let next = next.filter(|arrival| limit.is_none_or(|limit| arrival.at < limit));
        if let Some(arrival) = &next {
            agenda.schedule(arrival.at, Event::Arrives { model });
        } else {
            self.sources -= 1;
        }
        self.gateways[model].next = next;
    }

    fn arrives(&mut self, now: Timestamp, model: usize, agenda: &mut Agenda<Event>) {
        let Some(arrival) = self.gateways[model].next.take() else { return };
        let id = self.recorder.arrival(now, model, &arrival);
        let content = arrival.content;
        self.gateways[model].state.arrived += 1;
        self.in_flight += 1;
        match self.fleet.least_loaded(model) {
            Some(replica) => self.submit(now, id, content, replica, agenda),
            None => self.gateways[model].queue.push_back((id, content)),
        }
        self.await_next(model, agenda);
        self.check_for_end(now, agenda);
    }

    fn submit(
        &mut self,
        now: Timestamp,
        id: RequestId,
        content: Content,
        idx: ReplicaIdx,
        agenda: &mut Agenda<Event>,
    ) {
        self.advance(now, idx);
        let server = self.fleet.replica_mut(idx);
        let record = self.recorder.request_mut(id);
        let request =
            Request::new(id, record.prompt_tokens, record.output_tokens).with_content(content);
        record.variant = Some(server.variant);
        record.replica = Some(idx.0);
        let mut log = self.recorder.log(self.setup.variants[server.variant].model);
        let refused = server.engine.submit(request, now, &mut log).is_err();
        if refused {
            self.recorder.end(id, Outcome::Rejected, now);
            self.in_flight -= 1;
        }
        self.await_replica(idx, agenda);
    }

    // Replicas.

    /// Brings a replica to the present.
    fn advance(&mut self, now: Timestamp, idx: ReplicaIdx) {
        let replica = self.fleet.replica_mut(idx);
        let mut log = self.recorder.log(self.setup.variants[replica.variant].model);
        replica.engine.advance(now, &mut log);
        self.in_flight -= log.finished;
    }

    /// Brings every replica to the present, for whoever looks at how full its cache is.
    fn advance_all(&mut self, now: Timestamp) {
        for variant in 0..self.setup.variants.len() {
            for place in 0..self.fleet.num_members(variant) {
                self.advance(now, self.fleet.member(variant, place));
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
        self.advance(now, idx);
        let replica = self.fleet.replica(idx);
        if replica.state == State::Draining && replica.engine.is_idle() {
            self.let_go(now, idx, agenda);
        } else {
            self.await_replica(idx, agenda);
        }
        self.check_for_end(now, agenda);
    }

    fn replica_starts(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        let replica = self.fleet.replica_mut(idx);
        replica.deadline = None;
        replica.state = State::Ready;
        let model = self.setup.variants[replica.variant].model;
        for (id, content) in std::mem::take(&mut self.gateways[model].queue) {
            match self.fleet.least_loaded(model) {
                Some(replica) => self.submit(now, id, content, replica, agenda),
                None => self.gateways[model].queue.push_back((id, content)),
            }
        }
        self.check_for_end(now, agenda);
    }

    fn drain_expires(&mut self, now: Timestamp, idx: ReplicaIdx, agenda: &mut Agenda<Event>) {
        self.fleet.replica_mut(idx).deadline = None;
        self.advance(now, idx);
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
            self.recorder.end(lost.id, Outcome::Failed, now);
            self.in_flight -= 1;
        }
    }

    // Control.

    fn scrape(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        self.advance_all(now);
        let gateways: Vec<_> = self.gateways.iter().map(Gateway::report).collect();
        self.scraper.scrape(now, &self.fleet, &gateways, self.setup.variants.len());
        if let Some(autoscalers) = &mut self.autoscalers {
            autoscalers.scrape(now);
        }
        agenda.schedule(now + self.setup.control.scrape_interval, Event::Scrape);
    }

    fn control(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        let observation =
            self.scraper.observe(now, &self.fleet, &self.setup.models, self.setup.variants.len());
        let decision = self.controller.step(now, &observation);
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
            let setup = &self.setup.variants[variant];
            for idx in effect.started {
                let ready = now + setup.cold_start;
                let key = agenda.schedule(ready, Event::ReplicaStarts(idx));
                self.fleet.replica_mut(idx).deadline = Some(key);
            }
            for idx in effect.draining {
                let expiry = now + setup.drain_timeout;
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
        self.advance_all(now);
        let gateways: Vec<_> = self.gateways.iter().map(Gateway::report).collect();
        self.recorder.sample(now, &self.fleet, &gateways);
        agenda.schedule(now + self.recorder.sample_interval(), Event::Sample);
    }

    /// Once no more requests come, the run ends with the last one in flight, or with the duration
    /// if that is later, or when the patience for stragglers is at its end.
    fn check_for_end(&mut self, now: Timestamp, agenda: &mut Agenda<Event>) {
        if self.sources > 0 || self.end.is_some() {
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
    fn ends(&mut self, now: Timestamp) {
        self.advance_all(now);
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

impl Gateway {
    fn report(&self) -> GatewayState {
        GatewayState { queue: self.queue.len(), ..self.state }
    }
}

#[cfg(test)]
mod tests;
