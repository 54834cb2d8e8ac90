//! Reports of guidellm (<https://github.com/vllm-project/guidellm>) in JSON.
//!
//! A report has a benchmark for each load. The rate is that of the requests that were answered,
//! which for a steady load is that of the arrivals. The strategy `throughput` sends all at once, and
//! is left out.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Candidate, Measurements, ReadOptions, ServerFacts, SourceFile, json, short};
use crate::calibration::CalibrationError;
use crate::calibration::load::{Arrivals, LoadStage};

pub(super) fn read(
    path: &Path,
    content: &str,
    options: &ReadOptions,
) -> Result<Measurements, CalibrationError> {
    let report: Report = json(path, content, 1)?;
    let file = SourceFile {
        path: path.display().to_string(),
        bytes: content.len() as u64,
        used: 0,
        left_out: 0,
        period: None,
    };
    let name = |idx: usize| format!("{} benchmark {idx}", short(path));
    let benchmarks = report.benchmarks.iter().enumerate();
    let candidates = benchmarks.map(|(idx, benchmark)| benchmark.candidate(name(idx), options));
    Ok(Measurements::of_stages(file, ServerFacts::default(), candidates.collect()))
}

#[derive(Debug, Deserialize)]
struct Report {
    benchmarks: Vec<Benchmark>,
}

#[derive(Debug, Deserialize)]
struct Benchmark {
    /// Has the strategy in versions before 0.4.
    #[serde(default)]
    args: Value,
    /// Has the strategy from then on.
    #[serde(default)]
    config: Value,
    metrics: Metrics,
}

#[derive(Debug, Deserialize)]
struct Metrics {
    requests_per_second: ByStatus,
    request_latency: ByStatus,
    prompt_token_count: ByStatus,
    output_token_count: ByStatus,
    time_to_first_token_ms: ByStatus,
    inter_token_latency_ms: ByStatus,
}

#[derive(Debug, Deserialize)]
struct ByStatus {
    successful: Distribution,
}

#[derive(Debug, Deserialize)]
struct Distribution {
    mean: f64,
}

impl Benchmark {
    fn strategy(&self) -> (Option<&str>, Option<f64>) {
        let of = |place: &'_ Value| place.get("strategy").cloned();
        let strategy = of(&self.args).or_else(|| of(&self.config));
        let kind = [&self.args, &self.config]
            .into_iter()
            .find_map(|place| place.get("strategy")?.get("type_")?.as_str());
        (kind, strategy.and_then(|strategy| strategy.get("rate")?.as_f64()))
    }

    fn candidate(&self, name: String, options: &ReadOptions) -> Candidate {
        let metrics = &self.metrics;
        let (kind, asked) = self.strategy();
        let answered = metrics.requests_per_second.successful.mean;
        let rate = if kind == Some("throughput") { f64::INFINITY } else { answered };
        let stage = LoadStage {
            name,
            rate,
            arrivals: match kind {
                Some("poisson") => Arrivals::Poisson,
                _ => Arrivals::Constant,
            },
            prompt_tokens: metrics.prompt_token_count.successful.mean,
            cached_fraction: options.cached_fraction.unwrap_or(0.0),
            output_tokens: metrics.output_token_count.successful.mean,
            ttft: Some(metrics.time_to_first_token_ms.successful.mean / 1e3),
            // Its time per output token has the first token in it.
            tpot: metrics.inter_token_latency_ms.successful.mean / 1e3,
            e2e: Some(metrics.request_latency.successful.mean),
        };
        Candidate { stage, answered_share: asked.map_or(1.0, |asked| answered / asked) }
    }
}
