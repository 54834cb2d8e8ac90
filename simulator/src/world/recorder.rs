//! Writes down what happens.

mod window;

use hdrhistogram::Histogram;
use optimizer::VariantDecision;
use optimizer::units::{Replicas, Seconds, Timestamp, Tokens};

use crate::control::{GatewayState, Moments};
use crate::engine::{ModelServer, Observer, RequestId, Ticks, TokenGaps};
use crate::fleet::Fleet;
use crate::records::{
    ClientRecord, EXACT_BY_DEFAULT, ModelRecord, Outcome, Recording, RequestRecord, Sample,
    ScalingRecord, Tally, VariantRecord, latency_histogram,
};
use crate::setup::Setup;
use crate::workload::{Arrival, Client, Origin};

use window::Window;

/// The recording of a run in progress.
#[derive(Debug)]
pub(super) struct Recorder {
    recording: Recording,
    window: Window,
    sampling: Sampling,
    /// Time and arrivals of each model at the last sample.
    last_sample: Timestamp,
    last_arrived: Vec<u64>,
}

impl Recorder {
    pub(super) fn new(setup: &Setup) -> Self {
        let exact = if setup.exact_percentiles { usize::MAX } else { EXACT_BY_DEFAULT };
        let models = setup.models.iter().map(|model| {
            let (clients, tally) = (model.workload.clients(), Tally::with_exact(exact));
            let client =
                |client: &Client| ClientRecord { client: client.clone(), tally: tally.clone() };
            // The only client of the ordinary class is the model again.
            let told_apart = clients.len() > 1 || clients.iter().any(|one| one.class.slo.is_some());
            ModelRecord {
                model: model.model.clone(),
                namespace: model.namespace.clone(),
                slo: model.slo,
                itl: latency_histogram(),
                clients: clients.iter().filter(|_| told_apart).map(client).collect(),
                tally,
            }
        });
        let variants = setup.variants.iter().map(|variant| VariantRecord {
            variant: variant.variant.clone(),
            model: variant.model,
            accelerator: variant.accelerator.clone(),
            gpus_per_replica: variant.gpus_per_replica,
            cost: variant.cost,
            replica_time: Seconds::ZERO,
            most_replicas: Replicas::ZERO,
            served: 0,
        });
        Self {
            window: Window::default(),
            sampling: Sampling::new(setup.sample_interval),
            recording: Recording {
                scenario: setup.name.clone(),
                seed: setup.seed,
                models: models.collect(),
                variants: variants.collect(),
                requests: Vec::new(),
                samples: Vec::new(),
                scalings: Vec::new(),
                most_replicas: Replicas::ZERO,
                end: Timestamp::ZERO,
            },
            last_sample: Timestamp::ZERO,
            last_arrived: vec![0; setup.models.len()],
        }
    }

    /// What was recorded so far.
    pub(super) fn recording(&self) -> &Recording {
        &self.recording
    }

    pub(super) fn arrived(&self) -> u64 {
        self.window.num_arrived()
    }

    /// Notes a request that arrives, and lets go of those that have ended.
    pub(super) fn arrival(
        &mut self,
        now: Timestamp,
        model: usize,
        arrival: &Arrival,
        origin: Origin,
    ) -> RequestId {
        while let Some(ended) = self.window.pop_ended() {
            self.recording.add(ended);
        }
        self.window.push(RequestRecord {
            model,
            origin,
            variant: None,
            replica: None,
            arrival: now,
            prompt_tokens: tokens(arrival.prompt),
            cached_tokens: 0,
            output_tokens: tokens(arrival.output),
            generated_tokens: 0,
            scheduled: None,
            first_token: None,
            end: None,
            preemptions: 0,
            outcome: Outcome::InFlight,
        })
    }

    /// The requests that ended and were not taken before, in the order in which the window let them go.
    pub(super) fn take_requests(&mut self) -> Vec<RequestRecord> {
        std::mem::take(&mut self.recording.requests)
    }

    pub(super) fn request_mut(&mut self, id: RequestId) -> &mut RequestRecord {
        self.window.get_mut(id)
    }

    /// Notes that a request in flight has ended.
    pub(super) fn end(&mut self, id: RequestId, outcome: Outcome, at: Timestamp) {
        self.window.end(id, outcome, at);
    }

    /// Where an engine of `model` writes.
    pub(super) fn log(&mut self, model: usize) -> EngineLog<'_> {
        EngineLog {
            requests: &mut self.window,
            itl: &mut self.recording.models[model].itl,
            outputs: Moments::default(),
            answered: Vec::new(),
        }
    }

    pub(super) fn scaling(
        &mut self,
        at: Timestamp,
        variant: usize,
        previous: Replicas,
        decided: &VariantDecision,
    ) {
        self.recording.scalings.push(ScalingRecord {
            at,
            variant,
            current: decided.current,
            previous,
            desired: decided.desired,
            action: decided.action,
            trail: decided.trail.clone(),
        });
    }

    pub(super) fn sample(&mut self, now: Timestamp, fleet: &Fleet, gateways: &[GatewayState]) {
        let elapsed = now.since(self.last_sample).value();
        for variant in 0..self.recording.variants.len() {
            let model = self.recording.variants[variant].model;
            let counts = fleet.counts(variant);
            let (mut running, mut waiting, mut kv_sum, mut kv_max) = (0, 0, 0.0, 0.0_f64);
            for (_, replica) in fleet.members(variant) {
                running += count(replica.engine.num_running());
                waiting += count(replica.engine.num_waiting());
            }
            for (_, replica) in fleet.ready(variant) {
                let usage = replica.engine.kv_usage().value();
                kv_sum += usage;
                kv_max = kv_max.max(usage);
            }
            let arrivals = gateways[model].arrived() - self.last_arrived[model];
            self.recording.samples.push(Sample {
                at: now,
                variant,
                ready: counts.ready,
                starting: counts.pending + counts.starting,
                draining: counts.draining,
                desired: fleet.desired(variant),
                running,
                waiting,
                gateway_queue: u32::try_from(gateways[model].queue).unwrap_or(u32::MAX),
                kv_usage: kv_sum / counts.ready.as_f64().max(1.0),
                kv_usage_max: kv_max,
                arrival_rate: if elapsed > 0.0 { arrivals as f64 / elapsed } else { 0.0 },
            });
        }
        self.sampling.add(&mut self.recording.samples, self.recording.variants.len());
        self.last_sample = now;
        for (last, gateway) in self.last_arrived.iter_mut().zip(gateways) {
            *last = gateway.arrived();
        }
    }

    /// The time from one sample to the next.
    pub(super) fn sample_interval(&self) -> Seconds {
        self.sampling.interval
    }

    /// Notes how many replicas exist, in case there were never as many.
    pub(super) fn count_replicas(&mut self, fleet: &Fleet) {
        let mut existing = Replicas::ZERO;
        for (idx, variant) in self.recording.variants.iter_mut().enumerate() {
            let of_variant = fleet.counts(idx).existing();
            variant.most_replicas = variant.most_replicas.max(of_variant);
            existing += of_variant;
        }
        self.recording.most_replicas = self.recording.most_replicas.max(existing);
    }

    pub(super) fn finish(mut self, end: Timestamp, fleet: &Fleet) -> Recording {
        self.recording.end = end;
        for (idx, variant) in self.recording.variants.iter_mut().enumerate() {
            variant.replica_time = fleet.replica_time(idx, end);
        }
        for request in self.window.into_requests() {
            self.recording.add(request);
        }
        self.recording
    }
}

/// Sees to it that a long run has no more samples than one can look at: when there are too many,
/// every second goes, and from then on samples are taken half as often.
#[derive(Debug)]
struct Sampling {
    interval: Seconds,
    /// Times at which samples were taken and kept.
    times: usize,
}

/// More times than this are no use to a figure, and take no more than some megabytes.
const MOST_SAMPLING_TIMES: usize = 1 << 15;

impl Sampling {
    fn new(interval: Seconds) -> Self {
        Self { interval, times: 0 }
    }

    /// Notes that samples of all `variants` variants were added to `samples`.
    fn add(&mut self, samples: &mut Vec<Sample>, variants: usize) {
        self.times += 1;
        if self.times <= MOST_SAMPLING_TIMES {
            return;
        }
        // Those of the first time stay, and with them every second.
        for later in (2..self.times).step_by(2) {
            for variant in 0..variants {
                let dropped = samples[(later - 1) * variants + variant].arrival_rate;
                let mut kept = samples[later * variants + variant];
                // It stands for both intervals now.
                kept.arrival_rate = f64::midpoint(kept.arrival_rate, dropped);
                samples[later / 2 * variants + variant] = kept;
            }
        }
        self.times = self.times.div_ceil(2);
        samples.truncate(self.times * variants);
        self.interval = self.interval * 2.0;
    }
}

/// What an engine reports, written into the records.
#[derive(Debug)]
pub(super) struct EngineLog<'a> {
    requests: &'a mut Window,
    itl: &'a mut Histogram<u64>,
    /// Output lengths of the requests that finished.
    pub(super) outputs: Moments,
    /// Those of them that belong to a session, and when.
    pub(super) answered: Vec<(Origin, Timestamp)>,
}

impl EngineLog<'_> {
    fn request(&mut self, id: RequestId) -> &mut RequestRecord {
        self.requests.get_mut(id)
    }
}

impl Observer for EngineLog<'_> {
    fn scheduled(&mut self, id: RequestId, at: Timestamp, cached_tokens: u32) {
        let request = self.request(id);
        request.scheduled = Some(at);
        request.cached_tokens = cached_tokens;
    }

    fn preempted(&mut self, id: RequestId) {
        self.request(id).preemptions += 1;
    }

    fn first_token(&mut self, id: RequestId, at: Timestamp) {
        self.request(id).first_token = Some(at);
    }

    /// A run of steps is recorded bucket by bucket, not step by step.
    fn token_gaps(&mut self, gaps: TokenGaps) {
        let TokenGaps { first, growth, steps, sequences } = gaps;
        let mut done = 0;
        while done < steps {
            let gap = first + growth.times(done);
            let bucket_end = self.itl.next_non_equivalent(gap.as_nanos());
            let last_tick = Ticks::from_nanos(bucket_end).get() - 1;
            let further = (last_tick - gap.get()).checked_div(growth.get());
            let count = further.map_or(steps - done, |further| (further + 1).min(steps - done));
            // Unlike its saturating twin, this lets the histogram grow with its values.
            let recorded = self.itl.record_n(gap.as_nanos(), count * sequences);
            recorded.expect("a histogram that grows takes every value");
            done += count;
        }
    }

    fn finished(&mut self, id: RequestId, at: Timestamp, output_tokens: u32) {
        let request = self.request(id);
        request.generated_tokens = output_tokens;
        let origin = request.origin;
        self.answered.extend(origin.session.map(|_| (origin, at)));
        self.requests.end(id, Outcome::Completed, at);
        self.outputs.add(output_tokens.into());
    }
}

/// A length as engines count it. What does not fit the type does not fit any context, either.
fn tokens(length: Tokens) -> u32 {
    u32::try_from(length.get()).unwrap_or(u32::MAX)
}

/// A number of requests in flight, which never nears the limit of the type.
fn count(requests: usize) -> u32 {
    u32::try_from(requests).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A run of steps leaves in the histogram what its steps, one by one, would leave.
        #[test]
        fn gaps_are_recorded_as_if_one_by_one(
            first in 1_000_000_000_000_u64..200_000_000_000_000_000,
            growth in prop_oneof![Just(0), 0..20_000_000_000_u64],
            steps in 1..400_u64,
            sequences in 1..50_u64,
        ) {
            let (mut itl, mut expected) = (latency_histogram(), latency_histogram());
            let (first, growth) = (Ticks::new(first), Ticks::new(growth));
            EngineLog {
                requests: &mut Window::default(),
                itl: &mut itl,
                outputs: Moments::default(),
                answered: Vec::new(),
            }
                .token_gaps(TokenGaps { first, growth, steps, sequences });
            for step in 0..steps {
                expected.record_n((first + growth.times(step)).as_nanos(), sequences).unwrap();
            }
            prop_assert_eq!(itl, expected);
        }
    }

    #[test]
    fn of_too_many_samples_every_second_goes() {
        let sample = |time: usize, variant| Sample {
            at: Timestamp::from_nanos(time as u64),
            variant,
            ready: Replicas::ZERO,
            starting: Replicas::ZERO,
            draining: Replicas::ZERO,
            desired: Replicas::ZERO,
            running: 0,
            waiting: 0,
            gateway_queue: 0,
            kv_usage: 0.0,
            kv_usage_max: 0.0,
            arrival_rate: time as f64,
        };
        let (mut sampling, mut samples) = (Sampling::new(Seconds::new(10.0)), Vec::new());
        for time in 0..=MOST_SAMPLING_TIMES {
            samples.extend([sample(time, 0), sample(time, 1)]);
            sampling.add(&mut samples, 2);
        }
        assert_eq!(sampling.interval, Seconds::new(20.0));
        assert_eq!(samples.len(), 2 * (MOST_SAMPLING_TIMES / 2 + 1));
        let expected = Sample { arrival_rate: 3.5, ..sample(4, 1) };
        assert_eq!(samples[2 * 2 + 1], expected);
    }
}
