//! What a run leaves behind.
//!
//! [`Recording`] is written by the simulated world and read by everything that reports. It holds a
//! [`Tally`] of the requests of each model, one [`Sample`] for each variant at each sampling time,
//! and one [`ScalingRecord`] for each decision that moved a replica count. Beside that each request
//! leaves one [`RequestRecord`], which is handed on as soon as all requests before it have ended, or
//! too many wait, so that a run does not have to remember all of them.

mod tally;

use hdrhistogram::Histogram;
use optimizer::decision::{Action, Reason};
use optimizer::id::{AcceleratorId, ModelId, Namespace, VariantId};
use optimizer::slo::Slo;
use optimizer::units::{Gpus, HourlyCost, Replicas, Seconds, Timestamp};

use crate::workload::{Client, Origin};

pub use tally::{
    Binned, EXACT_BY_DEFAULT, Known, LATENCY_DIGITS, Latencies, RequestCounts, Tally,
    latency_histogram,
};

/// Everything that was recorded in one run.
#[derive(Debug)]
pub struct Recording {
    /// The scenario's name.
    pub scenario: String,
    /// The seed of the run.
    pub seed: u64,
    /// The models; requests and variants refer to them by position.
    pub models: Vec<ModelRecord>,
    /// The variants; samples and decisions refer to them by position.
    pub variants: Vec<VariantRecord>,
    /// Requests in the order of their arrival, without those that were taken during the run. One that
    /// was in flight while very many after it ended stands where it ended.
    pub requests: Vec<RequestRecord>,
    /// Samples by time, and within one time by variant.
    pub samples: Vec<Sample>,
    /// Decisions that moved a replica count, by time.
    pub scalings: Vec<ScalingRecord>,
    /// The most replicas, over all variants, that existed at once.
    pub most_replicas: Replicas,
    /// When the run ended.
    pub end: Timestamp,
}

impl Recording {
    /// Adds a request that has ended, or that the end of the run cuts off.
    pub fn add(&mut self, request: RequestRecord) {
        let model = &mut self.models[request.model];
        let met = request.meets(&model.slo_of(request.origin));
        model.tally.add(&request, met);
        if let Some(client) = model.clients.get_mut(request.origin.client as usize) {
            client.tally.add(&request, met);
        }
        if let (Some(variant), Outcome::Completed) = (request.variant, request.outcome) {
            self.variants[variant].served += 1;
        }
        self.requests.push(request);
    }

    /// Requests of all models by outcome.
    #[must_use]
    pub fn counts(&self) -> RequestCounts {
        let mut all = RequestCounts::default();
        self.models.iter().for_each(|model| all += model.tally.counts);
        all
    }

    /// All requests, added up.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut models = self.models.iter().map(|model| &model.tally);
        let mut all = models.next().cloned().unwrap_or_default();
        models.for_each(|tally| all += tally);
        all
    }
}

/// A model of the run.
#[derive(Debug)]
pub struct ModelRecord {
    /// The model.
    pub model: ModelId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its latency targets.
    pub slo: Slo,
    /// Inter-token latency in nanoseconds: one value for every output token after a request's
    /// first. Three significant digits, so a quantile is within 0.1 %.
    pub itl: Histogram<u64>,
    /// Its requests.
    pub tally: Tally,
    /// Those who send them, if there are several; a request refers to them by position.
    pub clients: Vec<ClientRecord>,
}

impl ModelRecord {
    /// The targets of a request: those of its class, or else of the model.
    #[must_use]
    pub fn slo_of(&self, origin: Origin) -> Slo {
        let client = self.clients.get(origin.client as usize);
        client.and_then(|record| record.client.class.slo).unwrap_or(self.slo)
    }
}

/// One of several clients of a model.
#[derive(Debug)]
pub struct ClientRecord {
    /// Who it is.
    pub client: Client,
    /// Its requests.
    pub tally: Tally,
}

/// A variant of the run.
#[derive(Debug)]
pub struct VariantRecord {
    /// The variant.
    pub variant: VariantId,
    /// Its model, as a position in [`Recording::models`].
    pub model: usize,
    /// Its GPU.
    pub accelerator: AcceleratorId,
    /// GPUs of one replica.
    pub gpus_per_replica: Gpus,
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// Time that replicas held their GPUs, from creation to removal, summed over replicas.
    pub replica_time: Seconds,
    /// The most replicas that existed at once, those that start or drain included.
    pub most_replicas: Replicas,
    /// Requests that it completed.
    pub served: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All its tokens were produced.
    Completed,
    /// It was refused on arrival: its prompt does not fit the context, or the queue was full.
    Rejected,
    /// Its replica went away while it was in flight.
    Failed,
    /// The run ended before it did.
    InFlight,
}

impl Outcome {
    /// The name in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::InFlight => "in-flight",
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its model, as a position in [`Recording::models`].
    pub model: usize,
    /// Its client and its session.
    pub origin: Origin,
    /// The variant that served it, as a position in [`Recording::variants`].
    pub variant: Option<usize>,
    /// The replica that served it, by the order of creation over the whole run.
    pub replica: Option<u32>,
    /// When it arrived at the gateway.
    pub arrival: Timestamp,
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Prompt tokens that were in the prefix cache when an engine first scheduled it.
    pub cached_tokens: u32,
    /// Output tokens that it asked for.
    pub output_tokens: u32,
    /// Output tokens that it got.
    pub generated_tokens: u32,
    /// When an engine first scheduled it.
    pub scheduled: Option<Timestamp>,
    /// When its first output token came.
    pub first_token: Option<Timestamp>,
    /// When it ended: its last token, its rejection or its failure. `None` while in flight.
    pub end: Option<Timestamp>,
    /// How often it was preempted.
    pub preemptions: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl RequestRecord {
    /// Time to first token, from the arrival at the gateway.
    #[must_use]
    pub fn ttft(&self) -> Option<Seconds> {
        self.first_token.map(|at| at.since(self.arrival))
    }

    /// Time per output token after the first, (last − first) / (out − 1); `None` unless the request
    /// completed with at least two output tokens.
    #[must_use]
    pub fn tpot(&self) -> Option<Seconds> {
        let (first, last) = (self.first_token?, self.end?);
        let gaps = self.generated_tokens.checked_sub(1).filter(|&gaps| gaps > 0)?;
        (self.outcome == Outcome::Completed)
            .then(|| Seconds::new(last.since(first).value() / f64::from(gaps)))
    }

    /// From arrival to the last token; `None` unless the request completed.
    #[must_use]
    pub fn e2e(&self) -> Option<Seconds> {
        let end = self.end.filter(|_| self.outcome == Outcome::Completed)?;
        Some(end.since(self.arrival))
    }

    /// Whether it completed within the targets. Rejected, failed and unfinished requests miss.
    #[must_use]
    pub fn meets(&self, slo: &Slo) -> bool {
        self.outcome == Outcome::Completed
            && self.ttft().is_some_and(|ttft| slo.is_met(ttft, self.tpot()))
    }
}

/// The state of one variant at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The time.
    pub at: Timestamp,
    /// The variant, as a position in [`Recording::variants`].
    pub variant: usize,
    /// Replicas that take requests.
    pub ready: Replicas,
    /// Replicas that wait for GPUs or load their model.
    pub starting: Replicas,
    /// Replicas that finish their requests before they go.
    pub draining: Replicas,
    /// The replica count that was asked for.
    pub desired: Replicas,
    /// Requests in running batches, over all replicas of the variant.
    pub running: u32,
    /// Requests that wait in engines, over all replicas of the variant.
    pub waiting: u32,
    /// Requests of the model that wait at the gateway. The same for every variant of a model.
    pub gateway_queue: u32,
    /// Mean KV-cache use of the ready replicas, 0..=1; 0 when none is ready.
    pub kv_usage: f64,
    /// The highest KV-cache use of a ready replica, 0..=1.
    pub kv_usage_max: f64,
    /// Arrivals of the model since the last sample, per second. The same for every variant.
    pub arrival_rate: f64,
}

/// A decision that moved the desired count of a variant.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingRecord {
    /// When it was taken.
    pub at: Timestamp,
    /// The variant, as a position in [`Recording::variants`].
    pub variant: usize,
    /// Replicas that existed.
    pub current: Replicas,
    /// The count that was wanted before.
    pub previous: Replicas,
    /// The count that is wanted now.
    pub desired: Replicas,
    /// `desired` against `current`.
    pub action: Action,
    /// Why.
    pub trail: Vec<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four tokens, from 2 s to 5 s after the arrival.
    fn request(outcome: Outcome, generated_tokens: u32) -> RequestRecord {
        let at = |seconds: f64| Timestamp::from_seconds(10.0 + seconds);
        RequestRecord {
            model: 0,
            origin: Origin::default(),
            variant: Some(0),
            replica: Some(0),
            arrival: at(0.0),
            prompt_tokens: 100,
            cached_tokens: 0,
            output_tokens: 4,
            generated_tokens,
            scheduled: Some(at(1.0)),
            first_token: Some(at(2.0)),
            end: Some(at(5.0)),
            preemptions: 0,
            outcome,
        }
    }

    #[test]
    fn latencies_are_measured_from_the_arrival() {
        let request = request(Outcome::Completed, 4);
        assert_eq!(request.ttft(), Some(Seconds::new(2.0)));
        assert_eq!(request.tpot(), Some(Seconds::new(1.0)));
        assert_eq!(request.e2e(), Some(Seconds::new(5.0)));
    }

    #[test]
    fn only_a_completed_request_meets_its_targets() {
        let slo = Slo { ttft: Seconds::new(2.0), tpot: Seconds::new(1.0) };
        assert!(request(Outcome::Completed, 4).meets(&slo));
        let tighter = Slo { tpot: Seconds::new(0.9), ..slo };
        assert!(!request(Outcome::Completed, 4).meets(&tighter));
        // With one token there is no time between tokens.
        assert!(request(Outcome::Completed, 1).meets(&tighter));
        // The others had a first token in time, too.
        for outcome in [Outcome::Failed, Outcome::InFlight, Outcome::Rejected] {
            let lost = request(outcome, 2);
            assert!(!lost.meets(&slo), "{outcome:?}");
            assert_eq!((lost.tpot(), lost.e2e()), (None, None), "{outcome:?}");
        }
    }
}
