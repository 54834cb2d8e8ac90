//! A recorded run and its replay, number by number.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::layers::plant;
use super::recording::{RecordedRequest, Run, RunError, Sample};
use super::replay::{Replay, ReplayedRequest, replay};
use crate::engine::Stepwise;
use crate::results::stats::LatencyStats;

/// A run beside its replay.
#[derive(Debug)]
pub struct Comparison {
    /// The run.
    pub run: Run,
    /// Its replay.
    pub replay: Replay,
    /// One for each metric that the run has.
    pub rows: Vec<Row>,
    /// What a reader should know: notes on the run and on the plant.
    pub notes: Vec<String>,
}

/// One metric of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The run.
    pub run: String,
    /// The GPU.
    pub gpu: String,
    /// The model.
    pub model: String,
    /// The stage of its load, from 0; `None` for the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<usize>,
    /// The metric.
    pub metric: Metric,
    /// Milliseconds, or sequences.
    pub unit: &'static str,
    /// What was recorded.
    pub real: f64,
    /// What the engine did.
    pub simulated: f64,
    /// How far the latter is above the former, in percent; `None` when the former is zero.
    pub error_pct: Option<f64>,
    /// The same of another simulator, where the run's folder has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_error_pct: Option<f64>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Metric {
    /// From the time the scheduler knew of a request to its first token; in runs of which only
    /// summaries are known, as a client sees it.
    Ttft(Statistic),
    /// From the first token to the last, by the tokens after the first.
    Tpot(Statistic),
    /// From the time the scheduler knew of a request to its last token.
    Latency(Statistic),
    /// From the time a client sent a request to its last token.
    E2e(Statistic),
    /// What lies between the mean first and the mean last token that a client got, by the tokens
    /// that it counted after the first.
    Itl,
    /// Sequences in the batch, averaged over the run.
    Running,
    /// Sequences in the queue, averaged over the run.
    Waiting,
}

/// A statistic over requests. Percentiles are between ranks, as numpy's are by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Statistic {
    Mean,
    Median,
    P90,
    P95,
    P99,
}

impl Statistic {
    pub(super) const ALL: [Self; 5] = [Self::Mean, Self::Median, Self::P90, Self::P95, Self::P99];

    pub(super) const fn of(self, stats: &LatencyStats) -> f64 {
        match self {
            Self::Mean => stats.mean,
            Self::Median => stats.p50,
            Self::P90 => stats.p90,
            Self::P95 => stats.p95,
            Self::P99 => stats.p99,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

impl fmt::Display for Metric {
    /// The name in JSON, such as `ttft_p90`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttft(statistic) => write!(f, "ttft_{}", statistic.name()),
            Self::Tpot(statistic) => write!(f, "tpot_{}", statistic.name()),
            Self::Latency(statistic) => write!(f, "latency_{}", statistic.name()),
            Self::E2e(statistic) => write!(f, "e2e_{}", statistic.name()),
            Self::Itl => f.write_str("itl_mean"),
            Self::Running => f.write_str("running_mean"),
            Self::Waiting => f.write_str("waiting_mean"),
        }
    }
}

impl Metric {
    /// The mean time from a client's request to its last token.
    pub(super) const E2E_MEAN: Self = Self::E2e(Statistic::Mean);
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

/// Replays `run` and compares.
///
/// # Errors
///
/// When there is no plant for the run, no engine starts with its arguments, or a request does not
/// fit its context.
pub fn compare(run: Run) -> Result<Comparison, RunError> {
    let (plant, plant_notes) = plant(&run)?;
    let mut server = Stepwise::new(run.engine.try_into()?, plant);
    let sample_at: Vec<f64> = run.samples.iter().map(|sample| sample.t).collect();
    let replay = replay(&mut server, &run.requests, run.prompts.as_ref(), &sample_at)?;
    let notes = run.notes.iter().cloned().chain(plant_notes).collect();
    Ok(Comparison { rows: rows(&run, &replay), run, replay, notes })
}

/// A metric of requests, and its value for one.
type LatencyMetric = (fn(Statistic) -> Metric, fn(&Times) -> Option<f64>);

const LATENCIES: [LatencyMetric; 3] = [
    (Metric::Ttft, |times| Some(times.ttft())),
    (Metric::Tpot, Times::tpot),
    (Metric::Latency, |times| Some(times.latency())),
];

/// A metric of the server, and its value in one sample.
type LoadMetric = (Metric, fn(&Sample) -> f64);

const LOADS: [LoadMetric; 2] =
    [(Metric::Running, |sample| sample.running), (Metric::Waiting, |sample| sample.waiting)];

fn rows(run: &Run, replay: &Replay) -> Vec<Row> {
    let row = |metric: Metric, unit, real: f64, simulated: f64| Row {
        run: run.name.clone(),
        gpu: run.gpu.clone(),
        model: run.model.clone(),
        stage: None,
        metric,
        unit,
        real,
        simulated,
        error_pct: (real != 0.0).then(|| (simulated / real - 1.0) * 100.0),
        peer_error_pct: run.peer.get(&metric.to_string()),
    };
    let real: Vec<_> = run.requests.iter().map(Times::of).collect();
    let simulated: Vec<_> = replay.requests.iter().map(Times::of_replayed).collect();
    let mut rows = Vec::new();
    for (metric, value) in LATENCIES {
        let stats = |times: &[Times]| {
            LatencyStats::of(&mut times.iter().filter_map(value).collect::<Vec<_>>())
        };
        let Some((real, simulated)) = stats(&real).zip(stats(&simulated)) else { continue };
        rows.extend(Statistic::ALL.map(|statistic| {
            let [real, simulated] = [&real, &simulated].map(|stats| statistic.of(stats) * 1e3);
            row(metric(statistic), "ms", real, simulated)
        }));
    }
    if !run.samples.is_empty() {
        for (metric, value) in LOADS {
            let mean =
                |samples: &[Sample]| samples.iter().map(value).sum::<f64>() / samples.len() as f64;
            rows.push(row(metric, "sequences", mean(&run.samples), mean(&replay.samples)));
        }
    }
    rows
}

/// The times of one request, recorded or replayed.
#[derive(Debug, Clone, Copy)]
struct Times {
    queued: f64,
    first_token: f64,
    last_token: f64,
    output_tokens: u32,
}

impl Times {
    const fn of(request: &RecordedRequest) -> Self {
        let RecordedRequest { queued, first_token, last_token, output_tokens, .. } = *request;
        Self { queued, first_token, last_token, output_tokens }
    }

    const fn of_replayed(request: &ReplayedRequest) -> Self {
        let ReplayedRequest { queued, first_token, last_token, output_tokens } = *request;
        Self { queued, first_token, last_token, output_tokens }
    }

    fn ttft(&self) -> f64 {
        self.first_token - self.queued
    }

    /// `None` with one token.
    fn tpot(&self) -> Option<f64> {
        let gaps = self.output_tokens.checked_sub(1).filter(|&gaps| gaps > 0)?;
        Some((self.last_token - self.first_token) / f64::from(gaps))
    }

    fn latency(&self) -> f64 {
        self.last_token - self.queued
    }
}

/// Over the runs on one GPU, the median of the errors' sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuMedian {
    /// The GPU.
    pub gpu: String,
    /// The metric.
    pub metric: Metric,
    /// Runs that have the metric.
    pub runs: usize,
    /// Half of the runs are off by less than this, in percent.
    pub error_pct: f64,
}

/// The medians of all GPUs and metrics in `rows`.
#[must_use]
pub fn medians(rows: &[Row]) -> Vec<GpuMedian> {
    let mut errors: BTreeMap<(&str, Metric), Vec<f64>> = BTreeMap::new();
    for row in rows {
        if let Some(error) = row.error_pct {
            errors.entry((&row.gpu, row.metric)).or_default().push(error.abs());
        }
    }
    let median = |((gpu, metric), mut errors): ((&str, Metric), Vec<f64>)| {
        let error_pct = LatencyStats::of(&mut errors)?.p50;
        Some(GpuMedian { gpu: gpu.to_owned(), metric, runs: errors.len(), error_pct })
    };
    errors.into_iter().filter_map(median).collect()
}
