//! What the controller sees of the world: scraped samples, not the truth.
//!
//! The world is scraped at an interval. A step of the controller then asks, as the operator asks
//! Prometheus, what the samples of a window say, of which the newest is at least the scrape lag old:
//!
//! | signal | query |
//! |---|---|
//! | KV use and queue of a replica | the maximum, `max_over_time` |
//! | rates | what a counter grew from the first sample to the last, over the time between them |
//! | means | what a histogram's sum grew, over what its count grew; missing when that is nothing |
//! | the gateway's queue | the last sample |
//! | `burstiness` | over the last [`BURST_WINDOW`]: variance over mean of the arrivals in 5 s, by how much neighbors differ |
//! | `recentRequests` | what the counter grew over the retention time, or since the run began |
//!
//! A replica that was sampled once has its gauges, and neither rates nor means. A data parallel
//! replica reports the sum of its ranks' counters and their mean KV use. Replica counts and GPUs come
//! from the API server and are current. [`Scraper`] is the only way from the world to an observation.

mod gateway;
mod replica;

use std::collections::{BTreeMap, VecDeque};

use optimizer::FleetObservation;
use optimizer::id::ReplicaId;
use optimizer::observation::{Demand, Lengths, ModelObservation, Signal, VariantObservation};
use optimizer::units::{Bytes, QueueLength, RequestCount, RequestRate, Seconds, Timestamp};

use crate::fleet::{Fleet, ReplicaIdx};
use crate::setup::{ControlSetup, ModelSetup};

pub use gateway::{BIN, GatewayState, Moments};

use replica::ReplicaSample;

/// The time over which bursts are judged: sixty bins, which tell a factor of two from chance, and
/// short enough that the rate hardly drifts meanwhile.
pub const BURST_WINDOW: Seconds = Seconds::from_minutes(5.0);

/// With fewer bins the variance is chance.
const LEAST_BINS: u64 = 12;

/// The size of a token in a request body: English text has about four letters to a token.
const BYTES_PER_TOKEN: u64 = 4;

/// The samples that can still be queried.
#[derive(Debug)]
pub struct Scraper {
    setup: ControlSetup,
    replicas: BTreeMap<ReplicaIdx, VecDeque<ReplicaSample>>,
    models: Vec<VecDeque<ModelSample>>,
}

#[derive(Debug, Clone, Copy)]
struct ModelSample {
    at: Timestamp,
    gateway: GatewayState,
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
        gateways: impl Iterator<Item = GatewayState>,
    ) {
        let window = self.setup.window;
        let mut series = std::mem::take(&mut self.replicas);
        for (idx, replica) in (0..fleet.num_variants()).flat_map(|variant| fleet.ready(variant)) {
            let mut samples = series.remove(&idx).unwrap_or_default();
            samples.push_back(ReplicaSample::take(now, &replica.engine));
            while samples.front().is_some_and(|sample| self.has_passed(now, sample.at, window)) {
                samples.pop_front();
            }
            self.replicas.insert(idx, samples);
        }
        let longest = window.max(BURST_WINDOW).max(self.setup.retention);
        for (model, mut gateway) in gateways.enumerate() {
            gateway.close_bins(now);
            let mut samples = std::mem::take(&mut self.models[model]);
            samples.push_back(ModelSample { at: now, gateway });
            // One sample from before the longest window stays: what was counted since then is asked
            // for as well.
            while samples.get(1).is_some_and(|sample| self.has_passed(now, sample.at, longest)) {
                samples.pop_front();
            }
            self.models[model] = samples;
        }
    }

    /// What the controller may know at `now`.
    pub fn observe(
        &self,
        now: Timestamp,
        fleet: &Fleet,
        models: &[ModelSetup],
    ) -> FleetObservation {
        let mut observed = Vec::with_capacity(models.len());
        for (idx, model) in models.iter().enumerate() {
            let variants = 0..fleet.num_variants();
            let of_model = variants.filter(|&variant| fleet.setup(variant).model == idx);
            observed.push(ModelObservation {
                model: model.model.clone(),
                namespace: model.namespace.clone(),
                slo: Some(model.slo),
                demand: self.demand(now, idx),
                variants: of_model.map(|variant| self.variant(now, fleet, variant)).collect(),
            });
        }
        FleetObservation { models: observed, inventory: fleet.inventory().cloned() }
    }

    fn variant(&self, now: Timestamp, fleet: &Fleet, variant: usize) -> VariantObservation {
        let setup = fleet.setup(variant);
        let counts = fleet.counts(variant);
        let replicas = fleet.ready(variant).filter_map(|(idx, _)| {
            let samples = self.replicas.get(&idx)?.iter();
            let visible: Vec<_> =
                samples.filter(|sample| self.sees(now, sample.at, self.setup.window)).collect();
            let name = ReplicaId::numbered(&setup.variant, idx.0);
            replica::observe(name, &visible, setup)
        });
        VariantObservation {
            gpus_per_replica: setup.gpus_per_replica,
            cost: setup.cost,
            bounds: setup.bounds,
            current: counts.current(),
            ready: counts.ready,
            cold_start: fleet.mean_cold_start(variant),
            engine: setup.known.engine.clone(),
            profile: setup.known.profile,
            replicas: replicas.collect(),
            ..VariantObservation::new(setup.variant.clone(), setup.accelerator.clone())
        }
    }

    fn demand(&self, now: Timestamp, model: usize) -> Demand {
        let within = |span: Seconds| {
            let samples = self.models[model].iter();
            samples.filter(move |sample| self.sees(now, sample.at, span))
        };
        let Some(last) = within(self.setup.window).next_back() else { return Demand::default() };
        let seen = last.at;
        let gateway = &last.gateway;

        let first = within(self.setup.window).next().unwrap_or(last);
        let prompts = gateway.prompts.since(&first.gateway.prompts);
        let outputs = gateway.outputs.since(&first.gateway.outputs);
        let rate = RequestRate::over(prompts.count() as f64, seen.since(first.at));

        let first = within(BURST_WINDOW).next().unwrap_or(last);
        let bins = gateway.bins.since(&first.gateway.bins);
        let burstiness = bins.dispersion().filter(|_| bins.count() >= LEAST_BINS);

        let retention = self.setup.retention;
        let before = self.models[model].iter().rfind(|s| self.has_passed(now, s.at, retention));
        let earlier = before.map_or(0, |sample| sample.gateway.arrived());
        let recent = (gateway.arrived() - earlier) as f64;

        let lengths = |moments: Moments| Lengths {
            mean: signal(moments.mean(), seen),
            variation: signal(moments.variation(), seen),
        };
        Demand {
            arrival_rate: signal(rate, seen),
            gateway_queue: Signal::seen(QueueLength::new(gateway.queue as f64), seen),
            gateway_bytes: Signal::seen(Bytes::new(gateway.queued_tokens * BYTES_PER_TOKEN), seen),
            recent_requests: Signal::seen(RequestCount::new(recent), seen),
            burstiness: signal(burstiness, seen),
            input: lengths(prompts),
            output: lengths(outputs),
        }
    }

    /// Whether a query at `now` finds a sample in its window.
    fn sees(&self, now: Timestamp, taken: Timestamp, window: Seconds) -> bool {
        taken + self.setup.scrape_lag <= now && !self.has_passed(now, taken, window)
    }

    /// Whether a sample is too old for a query's window.
    fn has_passed(&self, now: Timestamp, taken: Timestamp, window: Seconds) -> bool {
        taken + self.setup.scrape_lag + window <= now
    }
}

/// A value of samples of which the last was taken at `at`, if there is one.
fn signal<T: Copy>(value: Option<T>, at: Timestamp) -> Signal<T> {
    value.map_or(Signal::Missing, |value| Signal::seen(value, at))
}

#[cfg(test)]
mod tests;
