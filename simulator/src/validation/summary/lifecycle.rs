//! What inference-perf measured in a stage: a file such as `stage_0_lifecycle_metrics.json`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::folder::text;
use super::{Measured, SummaryError};
use crate::validation::comparison::{Metric, Statistic};

/// What was measured, in seconds.
#[derive(Debug)]
pub(super) struct Lifecycle {
    latency: Latencies,
    /// How long the prompts were.
    pub(super) prompt_len: Option<PromptLength>,
    /// Requests that were not answered.
    pub(super) failed: u64,
}

#[derive(Debug, Deserialize)]
struct LifecycleFile {
    successes: Successes,
    failures: Option<Failures>,
}

#[derive(Debug, Deserialize)]
struct Successes {
    count: u64,
    latency: Option<Latencies>,
    prompt_len: Option<PromptLength>,
}

#[derive(Debug, Deserialize)]
struct Failures {
    count: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Latencies {
    request_latency: Spread,
    time_to_first_token: Spread,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Spread {
    mean: f64,
    p90: f64,
    p99: f64,
}

/// The tokens of the shortest and of the longest prompt.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct PromptLength {
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Lifecycle {
    pub(super) fn read(path: &Path) -> Result<Self, SummaryError> {
        let LifecycleFile { successes, failures } = json(path)?;
        let Some(latency) = successes.latency.filter(|_| successes.count > 0) else {
            return Err(SummaryError::NothingAnswered(path.to_owned()));
        };
        let failed = failures.map_or(0, |failures| failures.count);
        Ok(Self { latency, prompt_len: successes.prompt_len, failed })
    }

    /// The metrics, in milliseconds.
    ///
    /// The time between tokens is what lies between the first and the last, divided evenly:
    /// inference-perf's own also counts events of the stream that bring no token.
    pub(super) fn measured(&self, output_tokens: u32) -> Measured {
        let Latencies { request_latency: e2e, time_to_first_token: ttft } = self.latency;
        let spread = |metric: fn(Statistic) -> Metric, spread: Spread| {
            [
                (Statistic::Mean, spread.mean),
                (Statistic::P90, spread.p90),
                (Statistic::P99, spread.p99),
            ]
            .map(|(statistic, seconds)| (metric(statistic), seconds * 1e3))
        };
        let mut measured: Measured =
            spread(Metric::E2e, e2e).into_iter().chain(spread(Metric::Ttft, ttft)).collect();
        if output_tokens > 1 {
            let itl = (e2e.mean - ttft.mean) / f64::from(output_tokens - 1);
            measured.insert(Metric::Itl, itl * 1e3);
        }
        measured
    }
}

fn json<T: DeserializeOwned>(file: &Path) -> Result<T, SummaryError> {
    let text = text(file)?;
    let mut json = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| SummaryError::Field {
        file: file.to_owned(),
        field: error.path().to_string(),
        message: error.inner().to_string(),
    })
}
