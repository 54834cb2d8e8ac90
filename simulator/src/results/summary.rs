//! The run in numbers: `summary.json`.
//!
//! A summary is a function of the recording alone. Neither the time that the run took nor the
//! version of the program is in it, so that two summaries are equal when the runs are.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use optimizer::slo::Slo;
use optimizer::units::Seconds;
use serde::{Deserialize, Serialize};

use super::groups::{self, Groups};
use super::labels::{model_key, variant_key};
use super::stats::LatencyStats;
use crate::records::{Recording, RequestCounts, Tally, VariantRecord, latency_histogram};

/// The run in numbers. Names that end in `_s` are seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The seed of the run.
    pub seed: u64,
    /// How long the run was, in virtual time.
    pub simulated_s: f64,
    /// Requests by outcome.
    pub requests: RequestCounts,
    /// Latencies of all models.
    #[serde(flatten)]
    pub latency: Latency,
    /// The share of arrived requests that completed within the targets of their model; rejected,
    /// failed and unfinished ones miss. `None` when none arrived.
    pub slo_attainment: Option<f64>,
    /// Requests within their targets per simulated second.
    pub goodput_rps: f64,
    /// Completed work per simulated second.
    pub throughput: Throughput,
    /// Hours for which GPUs were held.
    pub gpu_hours: f64,
    /// What these hours came to, in the currency of the scenario.
    pub cost: f64,
    /// How often requests were preempted.
    pub preemptions: u64,
    /// The share of prompt tokens that were in the prefix cache when their request was scheduled;
    /// `None` when none was.
    pub prefix_cache_hit_rate: Option<f64>,
    /// Existing replicas: ready, starting or draining.
    pub replicas: ReplicaStats,
    /// Decisions that moved a replica count.
    pub scaling_decisions: usize,
    /// The models, by `namespace/model`.
    pub models: BTreeMap<String, ModelSummary>,
    /// The variants, by `namespace/variant`.
    pub variants: BTreeMap<String, VariantSummary>,
}

/// The four latencies; each is `None` when no request has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Time to first token, of every request that got one.
    pub ttft_s: Option<LatencyStats>,
    /// Time per output token after the first, of completed requests with two or more.
    pub tpot_s: Option<LatencyStats>,
    /// Time between output tokens, of every token after a first one, from a histogram: see
    /// [`LatencyStats::of_nanos`].
    pub itl_s: Option<LatencyStats>,
    /// From arrival to the last token, of completed requests.
    pub e2e_s: Option<LatencyStats>,
}

/// Completed work per simulated second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Completed requests per second.
    pub requests_per_s: f64,
    /// Output tokens per second, of all requests.
    pub output_tokens_per_s: f64,
}

/// How many replicas existed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStats {
    /// The mean over time: the time that replicas existed over the length of the run.
    pub mean: f64,
    /// The most at once.
    pub max: u32,
}

/// One model in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Its targets.
    pub slo: SloTargets,
    /// Its requests by outcome.
    pub requests: RequestCounts,
    /// Its latencies.
    #[serde(flatten)]
    pub latency: Latency,
    /// As [`Summary::slo_attainment`].
    pub slo_attainment: Option<f64>,
    /// Its requests by class, if there are several.
    #[serde(default, skip_serializing_if = "Groups::is_empty")]
    pub classes: Groups,
    /// Its requests by tenant, if there are several.
    #[serde(default, skip_serializing_if = "Groups::is_empty")]
    pub tenants: Groups,
}

/// Latency targets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SloTargets {
    /// Time to first token.
    pub ttft_s: f64,
    /// Time per output token after the first.
    pub tpot_s: f64,
}

impl From<Slo> for SloTargets {
    fn from(slo: Slo) -> Self {
        Self { ttft_s: slo.ttft.value(), tpot_s: slo.tpot.value() }
    }
}

/// One variant in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantSummary {
    /// The key of its model.
    pub model: String,
    /// Its GPU.
    pub accelerator: String,
    /// Its replicas.
    pub replicas: ReplicaStats,
    /// Hours for which its GPUs were held.
    pub gpu_hours: f64,
    /// What these hours came to.
    pub cost: f64,
    /// Requests that it completed.
    pub requests_served: u64,
}

impl Summary {
    /// The summary of a recording.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let span = Span(recording.end.as_seconds());
        let all = recording.tally();
        let itl = merged(recording.models.iter().map(|model| &model.itl));
        let variants: BTreeMap<_, _> = recording
            .variants
            .iter()
            .map(|variant| {
                (variant_key(recording, variant), VariantSummary::of(recording, variant, span))
            })
            .collect();
        let replica_time: Seconds = recording.variants.iter().map(|v| v.replica_time).sum();
        Self {
            scenario: recording.scenario.clone(),
            seed: recording.seed,
            simulated_s: span.0,
            requests: all.counts,
            slo_attainment: all.attainment(),
            goodput_rps: span.rate(all.met as f64),
            throughput: Throughput {
                requests_per_s: span.rate(all.counts.completed as f64),
                output_tokens_per_s: span.rate(all.output_tokens as f64),
            },
            preemptions: all.preemptions,
            prefix_cache_hit_rate: (all.prompt_tokens > 0)
                .then(|| all.cached_tokens as f64 / all.prompt_tokens as f64),
            latency: Latency::of(&all, &itl),
            gpu_hours: total(recording.variants.iter().map(gpu_hours)),
            cost: total(recording.variants.iter().map(|v| v.cost * v.replica_time)),
            replicas: ReplicaStats {
                mean: span.rate(replica_time.value()),
                max: recording.most_replicas.get(),
            },
            scaling_decisions: recording.scalings.len(),
            models: recording
                .models
                .iter()
                .map(|model| {
                    let tally = &model.tally;
                    let summary = ModelSummary {
                        slo: model.slo.into(),
                        requests: tally.counts,
                        slo_attainment: tally.attainment(),
                        latency: Latency::of(tally, &model.itl),
                        classes: groups::classes(model),
                        tenants: groups::tenants(model),
                    };
                    (model_key(model), summary)
                })
                .collect(),
            variants,
        }
    }
}

impl VariantSummary {
    fn of(recording: &Recording, variant: &VariantRecord, span: Span) -> Self {
        Self {
            model: model_key(&recording.models[variant.model]),
            accelerator: variant.accelerator.to_string(),
            replicas: ReplicaStats {
                mean: span.rate(variant.replica_time.value()),
                max: variant.most_replicas.get(),
            },
            gpu_hours: gpu_hours(variant),
            cost: variant.cost * variant.replica_time,
            requests_served: variant.served,
        }
    }
}

/// The length of the run in seconds. A run of no length has no rates, which are then 0.
#[derive(Debug, Clone, Copy)]
struct Span(f64);

impl Span {
    fn rate(self, amount: f64) -> f64 {
        if self.0 > 0.0 { amount / self.0 } else { 0.0 }
    }
}

impl Latency {
    fn of(tally: &Tally, itl: &Histogram<u64>) -> Self {
        Self {
            ttft_s: LatencyStats::of_latencies(&tally.ttft),
            tpot_s: LatencyStats::of_latencies(&tally.tpot),
            itl_s: LatencyStats::of_nanos(itl),
            e2e_s: LatencyStats::of_latencies(&tally.e2e),
        }
    }
}

impl RequestCounts {
    /// What did not complete, with a name for each way.
    pub(super) fn lost(self) -> [(u64, &'static str); 3] {
        [(self.rejected, "rejected"), (self.failed, "failed"), (self.in_flight, "in flight")]
    }
}

fn gpu_hours(variant: &VariantRecord) -> f64 {
    variant.replica_time.as_hours() * f64::from(variant.gpus_per_replica.get())
}

/// A sum that starts at 0. The standard library's starts at −0, which a file would show.
fn total(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

fn merged<'a>(histograms: impl Iterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut all = latency_histogram();
    for histogram in histograms {
        all.add(histogram).expect("a histogram that resizes itself holds every value");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::sample::{self, Shape};

    #[test]
    fn the_outcomes_add_up_and_every_loss_is_a_miss() {
        let recording = sample::recording(Shape::HALF_HOUR);
        let summary = Summary::of(&recording);
        let counts = summary.requests;
        assert_eq!(counts.arrived, recording.requests.len() as u64);
        let lost = counts.rejected + counts.failed + counts.in_flight;
        assert_eq!(counts.completed + lost, counts.arrived);
        assert!(counts.rejected > 0 && counts.failed > 0 && counts.in_flight > 0, "{counts:?}");
        let slo = recording.models[0].slo;
        let met = recording.requests.iter().filter(|r| r.meets(&slo)).count() as f64;
        assert_eq!(summary.slo_attainment, Some(met / counts.arrived as f64));
        assert!((summary.goodput_rps - met / 1800.0).abs() < 1e-12);
    }

    /// Two H100 replicas of one GPU for half an hour, one A100 replica of two GPUs for an hour.
    #[test]
    fn hours_and_cost_are_those_of_replicas_that_exist() {
        let mut recording = sample::empty(Shape::HALF_HOUR);
        recording.variants[0].replica_time = Seconds::new(3600.0);
        recording.variants[1].replica_time = Seconds::new(3600.0);
        let summary = Summary::of(&recording);
        assert!((summary.gpu_hours - 3.0).abs() < 1e-12);
        assert!((summary.cost - 11.5).abs() < 1e-12);
        assert!((summary.replicas.mean - 4.0).abs() < 1e-12);
    }

    #[test]
    fn the_most_replicas_at_once_are_no_sum_over_variants() {
        let recording = sample::recording(Shape::HALF_HOUR);
        let summary = Summary::of(&recording);
        assert_eq!(summary.replicas.max, recording.most_replicas.get());
        let single = summary.variants.values().map(|v| v.replicas.max).max();
        assert!(Some(summary.replicas.max) > single, "{summary:?}");
    }

    #[test]
    fn a_run_without_requests_has_no_latency_and_no_attainment() {
        let nothing = Shape { duration: Seconds::ZERO, ..Shape::HALF_HOUR };
        let summary = Summary::of(&sample::empty(nothing));
        insta::assert_json_snapshot!(summary);
    }

    #[test]
    fn a_summary_is_read_back_from_its_file() {
        let shape = Shape { models: 3, variants: 5, ..Shape::HALF_HOUR };
        let summary = Summary::of(&sample::recording(shape));
        let text = serde_json::to_string(&summary).unwrap();
        let read: Summary = serde_json::from_str(&text).unwrap();
        assert_eq!(read.requests, summary.requests);
        assert_eq!(
            read.variants.keys().collect::<Vec<_>>(),
            summary.variants.keys().collect::<Vec<_>>()
        );
        let p99 = |summary: &Summary| {
            summary.models.values().map(|m| m.latency.ttft_s.unwrap().p99).collect::<Vec<_>>()
        };
        assert_eq!(p99(&summary).len(), 3);
        // The reader may miss a number by its last bit.
        for (read, written) in p99(&read).into_iter().zip(p99(&summary)) {
            assert!((read / written - 1.0).abs() < 1e-15, "{read} {written}");
        }
    }
}
