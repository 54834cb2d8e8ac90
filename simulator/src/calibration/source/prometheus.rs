//! vLLM's counters over time, from Prometheus.
//!
//! One query answers all: `/api/v1/query_range` of the raw counters ([`QUERY`]), whose increase
//! from one step to the next is taken here, so that an answer that was saved to a file serves as
//! well as a server. Each step is a load stage of a mean replica. A counter that falls was reset,
//! and its increase is what it has. The prefix cache's hits say which share of the prompts was
//! cached.

mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use self::windows::Windows;
use super::{Measurements, ReadOptions, ServerFacts, SourceFile, json, short};
use crate::calibration::CalibrationError;

/// The metrics that are read. vLLM renamed its time between tokens in 0.11 (vllm-project/vllm,
/// pull request 32661 removed the old name), and gauges and counters come by one query.
const QUERY: &str = "vllm:(time_to_first_token_seconds_(sum|count)\
    |(inter_token_latency|time_per_output_token)_seconds_(sum|count)\
    |prompt_tokens_total|generation_tokens_total|prefix_cache_(hits|queries)_total\
    |num_requests_running)";

/// When, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRange {
    /// The first time, as Prometheus reads it: RFC 3339, or seconds since 1970.
    pub from: String,
    /// The last time.
    pub to: String,
    /// From one time to the next, such as `60s`.
    pub step: String,
}

/// Asks the Prometheus at `url` (`http` only) for the counters of the model `options.model`.
///
/// # Errors
///
/// When nothing answers there, the answer is no success, or it has no such counters.
pub fn fetch(
    url: &str,
    range: &QueryRange,
    options: &ReadOptions,
) -> Result<Measurements, CalibrationError> {
    let address = format!("{}/api/v1/query_range", url.trim_end_matches('/'));
    let model = options
        .model
        .as_deref()
        .map(|name| format!(",model_name=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
    let query = format!("{{__name__=~\"{QUERY}\"{}}}", model.unwrap_or_default());
    let failed = |message: String| CalibrationError::Http { url: address.clone(), message };
    // A refused query is answered by code 400 with a reason in the body.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_mins(1)))
        .http_status_as_error(false)
        .build()
        .into();
    let parameters =
        [("query", &query), ("start", &range.from), ("end", &range.to), ("step", &range.step)];
    let request = parameters
        .into_iter()
        .fold(agent.get(&address), |request, (name, value)| request.query(name, value));
    let mut response = request.call().map_err(|error| failed(error.to_string()))?;
    let body = response.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    if !status.is_success() {
        let reason = serde_json::from_str::<Refusal>(&body).map(|refusal| refusal.error);
        return Err(failed(format!("{status}: {}", reason.unwrap_or(body))));
    }
    read(Path::new(url), &body, options)
}

#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
}

/// Reads an answer of `/api/v1/query_range`.
pub(super) fn read(
    path: &Path,
    content: &str,
    options: &ReadOptions,
) -> Result<Measurements, CalibrationError> {
    let answer: Answer = json(path, content, 1)?;
    let wrong = |field: &str, found: String, expected| CalibrationError::Value {
        path: path.to_owned(),
        field: field.to_owned(),
        found,
        expected,
    };
    if answer.status != "success" {
        let found = answer.error.unwrap_or(answer.status);
        return Err(wrong("status", found, "success"));
    }
    let data = answer.data.unwrap_or_default();
    if data.result_type != "matrix" {
        return Err(wrong("data.resultType", data.result_type, "matrix, of a range query"));
    }
    let models: BTreeSet<String> =
        data.result.iter().filter_map(|one| one.metric.get("model_name").cloned()).collect();
    // A name that is none of theirs may be the catalog's for the only one.
    let asked = options.model.as_ref().filter(|name| models.contains(*name));
    if asked.is_none() && models.len() > 1 {
        let names: Vec<String> = models.into_iter().collect();
        let expected = "one model, or --model with one of them";
        return Err(wrong("data.result[].metric.model_name", names.join(", "), expected));
    }
    let mut series = Vec::new();
    for (idx, one) in data.result.into_iter().enumerate() {
        if asked.is_none_or(|name| one.metric.get("model_name") == Some(name)) {
            let field = format!("data.result[{idx}].values");
            let expected = "pairs of a time and a number in quotes";
            series.push(one.numbers().ok_or_else(|| wrong(&field, String::new(), expected))?);
        }
    }
    let windows = Windows::of(&series);
    let times = &windows.times;
    let expected = "at least two times of vLLM's counters";
    let (Some(&first), Some(&last), true) = (times.first(), times.last(), times.len() > 1) else {
        return Err(wrong("data.result", format!("{} times", times.len()), expected));
    };
    let model = models.into_iter().find(|name| asked.is_none_or(|asked| asked == name));
    let file = SourceFile {
        path: path.display().to_string(),
        bytes: content.len() as u64,
        used: 0,
        left_out: 0,
        period: date(first).zip(date(last)),
    };
    let candidates = times
        .windows(2)
        .map(|pair| windows.candidate(pair[0], pair[1], &short(path), options))
        .collect();
    Ok(Measurements::of_stages(file, ServerFacts { model, ..ServerFacts::default() }, candidates))
}

/// Cut to seconds.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and what it gives is no date")]
fn date(seconds: f64) -> Option<String> {
    Timestamp::from_second(seconds as i64).ok().map(|at| at.to_string())
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Vec<RawSeries>,
}

#[derive(Debug, Deserialize)]
struct RawSeries {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl RawSeries {
    fn numbers(mut self) -> Option<Series> {
        let number = |(at, text): &(f64, String)| text.parse().ok().map(|number| (*at, number));
        let values = self.values.iter().map(number).collect::<Option<_>>()?;
        let name = self.metric.remove("__name__").unwrap_or_default();
        Some(Series { name, values })
    }
}

/// One metric of one replica.
#[derive(Debug)]
struct Series {
    name: String,
    values: Vec<(f64, f64)>,
}
