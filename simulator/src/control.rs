//! What the controller sees of the world: scraped samples, not the truth.
//!
//! The world is scraped at an interval. A step of the controller then asks, as the operator asks
//! Prometheus, for the maximum of each gauge over a window (`max_over_time`), in which the newest
//! sample is at least the scrape lag old. Replica counts come from the API server and are current.
//! [`Scraper`] is the only way from the world to an observation.

use std::collections::{BTreeMap, VecDeque};

use optimizer::FleetObservation;
use optimizer::id::ReplicaId;
use optimizer::observation::{
    Demand, ModelObservation, ReplicaObservation, Signal, VariantObservation,
};
use optimizer::units::{Fraction, QueueLength, RequestRate, Timestamp};

use crate::engine::ModelServer;
use crate::fleet::{Fleet, ReplicaIdx};
use crate::setup::{ControlSetup, ModelSetup};

/// The samples that can still be queried.
#[derive(Debug)]
pub struct Scraper {
    setup: ControlSetup,
    replicas: BTreeMap<ReplicaIdx, VecDeque<ReplicaSample>>,
    models: Vec<VecDeque<ModelSample>>,
}

#[derive(Debug, Clone, Copy)]
struct ReplicaSample {
    at: Timestamp,
    kv_usage: Fraction,
    waiting: QueueLength,
    running: QueueLength,
}

#[derive(Debug, Clone, Copy)]
struct ModelSample {
    at: Timestamp,
    /// A counter: all arrivals so far.
    arrived: u64,
    gateway_queue: QueueLength,
}

/// The gateway of one model, as it reports itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct GatewayState {
    /// All arrivals so far.
    pub arrived: u64,
    /// Requests that wait for a replica.
    pub queue: usize,
}

impl Scraper {
    /// Without any sample.
    #[must_use]
    pub fn new(setup: ControlSetup, models: usize) -> Self {
        Self { setup, replicas: BTreeMap::new(), models: vec![VecDeque::new(); models] }
    }

    /// Samples every ready replica and every gateway.
    ///
    /// The series of a replica that no longer takes requests end here: the operator asks for the
    /// pods that are ready.
    pub fn scrape(
        &mut self,
        now: Timestamp,
        fleet: &Fleet,
        gateways: &[GatewayState],
        variants: usize,
    ) {
        let mut series = std::mem::take(&mut self.replicas);
        for (idx, replica) in (0..variants).flat_map(|variant| fleet.ready(variant)) {
            let mut samples = series.remove(&idx).unwrap_or_default();
            samples.push_back(ReplicaSample {
                at: now,
                kv_usage: replica.engine.kv_usage(),
                waiting: QueueLength::new(replica.engine.num_waiting() as f64),
                running: QueueLength::new(replica.engine.num_running() as f64),
            });
            self.forget(now, &mut samples, |sample| sample.at);
            self.replicas.insert(idx, samples);
        }
        for (model, gateway) in gateways.iter().enumerate() {
            let mut samples = std::mem::take(&mut self.models[model]);
            samples.push_back(ModelSample {
                at: now,
                arrived: gateway.arrived,
                gateway_queue: QueueLength::new(gateway.queue as f64),
            });
            self.forget(now, &mut samples, |sample| sample.at);
            self.models[model] = samples;
        }
    }

    /// What the controller may know at `now`.
    pub fn observe(
        &self,
        now: Timestamp,
        fleet: &Fleet,
        models: &[ModelSetup],
        variants: usize,
    ) -> FleetObservation {
        let mut observed = Vec::with_capacity(models.len());
        for (idx, model) in models.iter().enumerate() {
            let of_model = (0..variants).filter(|&variant| fleet.setup(variant).model == idx);
            observed.push(ModelObservation {
                model: model.model.clone(),
                namespace: model.namespace.clone(),
                demand: self.demand(now, idx),
                variants: of_model.map(|variant| self.variant(now, fleet, variant)).collect(),
                slo: None,
            });
        }
        FleetObservation { models: observed, ..FleetObservation::default() }
    }

    fn variant(&self, now: Timestamp, fleet: &Fleet, variant: usize) -> VariantObservation {
        let setup = fleet.setup(variant);
        let counts = fleet.counts(variant);
        let replicas = fleet.ready(variant).filter_map(|(idx, _)| {
            let samples = self.replicas.get(&idx)?;
            let visible: Vec<_> = self.visible(now, samples, |sample| sample.at).collect();
            let newest = visible.last()?.at;
            let max = |of: fn(&ReplicaSample) -> QueueLength| {
                let highest = visible.iter().map(|sample| of(sample)).max();
                highest.map_or(Signal::Missing, |value| Signal::seen(value, newest))
            };
            let kv_usage = visible.iter().map(|sample| sample.kv_usage).max();
            Some(ReplicaObservation {
                kv_usage: kv_usage.map_or(Signal::Missing, |value| Signal::seen(value, newest)),
                waiting: max(|sample| sample.waiting),
                running: max(|sample| sample.running),
                ..ReplicaObservation::silent(ReplicaId::numbered(&setup.variant, idx.0))
            })
        });
        VariantObservation {
            gpus_per_replica: setup.gpus_per_replica,
            cost: setup.cost,
            bounds: setup.bounds,
            current: counts.current(),
            ready: counts.ready,
            replicas: replicas.collect(),
            ..VariantObservation::new(setup.variant.clone(), setup.accelerator.clone())
        }
    }

    /// The arrival rate is the counter's increase between the first and the last sample of the
    /// window over the time between them.
    fn demand(&self, now: Timestamp, model: usize) -> Demand {
        let mut visible = self.visible(now, &self.models[model], |sample| sample.at);
        let Some(&first) = visible.next() else { return Demand::default() };
        let last = visible.last().copied().unwrap_or(first);
        let increase = (last.arrived - first.arrived) as f64;
        let rate = RequestRate::over(increase, last.at.since(first.at));
        Demand {
            arrival_rate: rate.map_or(Signal::Missing, |rate| Signal::seen(rate, last.at)),
            gateway_queue: Signal::seen(last.gateway_queue, last.at),
            ..Demand::default()
        }
    }

    /// The samples that a query at `now` finds in its window, oldest first.
    fn visible<'a, S>(
        &self,
        now: Timestamp,
        samples: &'a VecDeque<S>,
        at: fn(&S) -> Timestamp,
    ) -> impl Iterator<Item = &'a S> + use<'a, S> {
        let ControlSetup { scrape_lag: lag, window, .. } = self.setup;
        samples.iter().filter(move |sample| {
            let taken = at(sample);
            taken + lag <= now && now < taken + lag + window
        })
    }

    /// Drops what no later query can see.
    fn forget<S>(&self, now: Timestamp, samples: &mut VecDeque<S>, at: fn(&S) -> Timestamp) {
        let ControlSetup { scrape_lag: lag, window, .. } = self.setup;
        while samples.front().is_some_and(|sample| at(sample) + lag + window <= now) {
            samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
