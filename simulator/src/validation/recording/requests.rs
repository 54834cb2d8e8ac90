//! The requests of a run.

use std::path::Path;

use serde::Deserialize;

use super::{RecordedRequest, RunError, json, text};

/// What the front end may take until the scheduler knows of a request, in seconds: a step, and a
/// little. Beyond it the clocks are not believed.
const MOST_FRONT_END: f64 = 2.0;

/// A line of `requests.jsonl`. A request that failed lacks some of it.
#[derive(Debug, Deserialize)]
struct RequestLine {
    input_toks: Option<u32>,
    output_toks: Option<u32>,
    /// Seconds on the wall clock.
    arrival_time: Option<f64>,
    /// Seconds on the clock of the engine, as all that follow.
    queued_ts: Option<f64>,
    first_token_ts: Option<f64>,
    last_token_ts: Option<f64>,
}

impl RequestLine {
    /// The request with the arrival on its own clock yet; `None` when something is missing.
    fn complete(&self) -> Option<RecordedRequest> {
        let queued = self.queued_ts?;
        Some(RecordedRequest {
            prompt_tokens: self.input_toks.filter(|&tokens| tokens > 0)?,
            output_tokens: self.output_toks.filter(|&tokens| tokens > 0)?,
            arrival: self.arrival_time.unwrap_or(queued),
            queued,
            first_token: self.first_token_ts?,
            last_token: self.last_token_ts?,
        })
    }
}

/// Reads `requests.jsonl`. Requests that cannot be replayed are left out with a note.
pub(super) fn read(path: &Path, notes: &mut Vec<String>) -> Result<Vec<RecordedRequest>, RunError> {
    let content = text(path)?;
    let mut requests = Vec::new();
    let (mut incomplete, mut disordered) = (0, 0);
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (idx, line) in lines {
        match json::<RequestLine>(path, line, idx + 1)?.complete() {
            Some(request) if is_ordered(&request) => requests.push(request),
            Some(_) => disordered += 1,
            None => incomplete += 1,
        }
    }
    if requests.is_empty() {
        return Err(RunError::NoRequests(path.to_owned()));
    }
    let all = requests.len() + incomplete + disordered;
    for (count, fault) in
        [(incomplete, "lack tokens or times"), (disordered, "end before they begin")]
    {
        if count > 0 {
            notes.push(format!(
                "{count} of {all} requests {fault}, and are left out: the load is lower than it was"
            ));
        }
    }
    on_one_clock(&mut requests, notes);
    requests.sort_by(|one, other| one.arrival.total_cmp(&other.arrival));
    Ok(requests)
}

/// Whether its times are in the order in which a server makes them.
fn is_ordered(request: &RecordedRequest) -> bool {
    request.queued <= request.first_token && request.first_token <= request.last_token
}

/// Moves all times to one clock whose zero is the first arrival.
///
/// The wall clock and the engine's differ by a constant. The request that the scheduler saw at once
/// has the smallest difference, which is taken for the constant.
fn on_one_clock(requests: &mut [RecordedRequest], notes: &mut Vec<String>) {
    let difference = |request: &RecordedRequest| request.queued - request.arrival;
    let offset = requests.iter().map(difference).fold(f64::INFINITY, f64::min);
    let latest = requests.iter().map(|request| difference(request) - offset).fold(0.0, f64::max);
    let trusted = latest <= MOST_FRONT_END;
    if !trusted {
        notes.push(format!(
            "the clocks of arrivals and engine drift apart by up to {latest:.1} s: requests arrive \
             when the scheduler saw them"
        ));
    }
    for request in &mut *requests {
        request.arrival = if trusted { request.arrival + offset } else { request.queued };
    }
    let zero = requests.iter().map(|request| request.arrival).fold(f64::INFINITY, f64::min);
    for request in requests {
        request.arrival -= zero;
        request.queued -= zero;
        request.first_token -= zero;
        request.last_token -= zero;
    }
}
