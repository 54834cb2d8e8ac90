//! Results of `vllm bench serve --save-result`, one JSON object or several, one after the other
//! (`--append-result`).
//!
//! With `--max-concurrency`, clients wait for answers, so the rate is what was answered. With an
//! infinite rate and no such bound all requests come at once, which is no steady load.

use std::path::Path;

use serde::Deserialize;

use super::{Candidate, Measurements, ReadOptions, ServerFacts, SourceFile, json, short};
use crate::calibration::CalibrationError;
use crate::calibration::load::{Arrivals, LoadStage};

pub(super) fn read(
    path: &Path,
    content: &str,
    options: &ReadOptions,
) -> Result<Measurements, CalibrationError> {
    let results: Vec<ResultFile> = if content.trim_start().contains("}\n{") {
        let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(idx, line)| json(path, line, idx + 1)).collect::<Result<_, _>>()?
    } else {
        vec![json(path, content, 1)?]
    };
    let dates: Vec<&String> = results.iter().filter_map(|result| result.date.as_ref()).collect();
    let period = dates.iter().min().zip(dates.iter().max());
    let file = SourceFile {
        path: path.display().to_string(),
        bytes: content.len() as u64,
        used: 0,
        left_out: 0,
        period: period.map(|(first, last)| ((*first).clone(), (*last).clone())),
    };
    let model = results.first().and_then(|result| result.model_id.clone());
    let name = |idx: usize| format!("{} result {idx}", short(path));
    let candidates =
        results.iter().enumerate().map(|(idx, result)| result.candidate(name(idx), options));
    let candidates = candidates.collect();
    Ok(Measurements::of_stages(file, ServerFacts { model, ..ServerFacts::default() }, candidates))
}

#[derive(Debug, Deserialize)]
struct ResultFile {
    date: Option<String>,
    model_id: Option<String>,
    /// A number, or the text `inf`.
    request_rate: Rate,
    burstiness: Option<f64>,
    max_concurrency: Option<u32>,
    completed: u64,
    #[serde(default)]
    failed: u64,
    total_input_tokens: u64,
    total_output_tokens: u64,
    request_throughput: f64,
    mean_ttft_ms: f64,
    mean_tpot_ms: f64,
    mean_e2el_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Rate {
    PerSecond(f64),
    Text(String),
}

impl ResultFile {
    fn candidate(&self, name: String, options: &ReadOptions) -> Candidate {
        let completed = self.completed as f64;
        let rate = match (&self.request_rate, self.max_concurrency) {
            (Rate::PerSecond(rate), None) => *rate,
            (_, Some(_)) => self.request_throughput,
            // Not finite, for which the stage is left out.
            (Rate::Text(_), None) => f64::INFINITY,
        };
        let stage = LoadStage {
            name,
            rate,
            // The benchmark calls arrivals bursty by the shape of a gamma distribution: 1 is
            // Poisson, and large is constant.
            arrivals: if self.burstiness.is_some_and(|shape| shape > 10.0) {
                Arrivals::Constant
            } else {
                Arrivals::Poisson
            },
            prompt_tokens: self.total_input_tokens as f64 / completed,
            cached_fraction: options.cached_fraction.unwrap_or(0.0),
            output_tokens: self.total_output_tokens as f64 / completed,
            ttft: Some(self.mean_ttft_ms / 1e3),
            tpot: self.mean_tpot_ms / 1e3,
            e2e: self.mean_e2el_ms.map(|latency| latency / 1e3),
        };
        Candidate { stage, answered_share: completed / (self.completed + self.failed) as f64 }
    }
}
