//! Request logs of inference-perf: `per_request_lifecycle_metrics.json`, an array of objects.
//!
//! ```text
//! [{"start_time": 8.25, "end_time": 9.5, "info": {"input_tokens": 90, "output_tokens": 12}, "error": null}]
//! ```
//!
//! Newer versions have the tokens in `info.request_metrics.text.input_tokens` and
//! `info.response_metrics.output_tokens`; both are read. Times are seconds of a clock whose zero
//! means nothing, and requests stand in the order of their end. A request with an error is a failed
//! one.

use std::io::{self, BufRead};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::clock::Clock;
use super::elements::{Element, Elements};
use super::fault::{Faults, TraceFault};
use super::record::{Row, Rows};
use crate::engine::Content;

const OBJECT: &str = "an object with start_time, info and error";

/// The requests of a file.
#[derive(Debug)]
pub(super) struct RequestLog<R>(Elements<R>);

#[derive(Debug, Deserialize)]
struct Entry {
    start_time: f64,
    info: Option<Info>,
    error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Info {
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    request_metrics: Option<RequestMetrics>,
    response_metrics: Option<ResponseMetrics>,
}

#[derive(Debug, Deserialize)]
struct RequestMetrics {
    text: Option<TextMetrics>,
}

#[derive(Debug, Deserialize)]
struct TextMetrics {
    input_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct ResponseMetrics {
    output_tokens: Option<u32>,
}

impl Info {
    fn tokens(self) -> (u32, u32) {
        let text = self.request_metrics.and_then(|metrics| metrics.text);
        let prompt = self.input_tokens.or(text.and_then(|text| text.input_tokens));
        let response = self.response_metrics.and_then(|metrics| metrics.output_tokens);
        (prompt.unwrap_or(0), self.output_tokens.or(response).unwrap_or(0))
    }
}

impl<R: BufRead> RequestLog<R> {
    pub(super) const fn new(source: R) -> Self {
        Self(Elements::new(source))
    }
}

fn row(line: u64, text: &[u8]) -> Result<Row, TraceFault> {
    let entry: Entry = serde_json::from_slice(text).map_err(|error| TraceFault::Json {
        line,
        message: error.to_string(),
        expected: OBJECT,
    })?;
    let nanos = Clock::Seconds.nanos_of(entry.start_time).ok_or_else(|| TraceFault::Value {
        line,
        column: "start_time".to_owned(),
        value: entry.start_time.to_string(),
        expected: Clock::Seconds.expected(),
    })?;
    let (prompt, output) = entry.info.map_or((0, 0), Info::tokens);
    let failed = entry.error.is_some() || prompt == 0 || output == 0;
    let content = Content::default();
    Ok(Row { line, nanos, exact: false, prompt, output, failed, model: None, content })
}

impl<R: BufRead + std::fmt::Debug> Rows for RequestLog<R> {
    fn next_row(&mut self, faults: &mut Faults) -> io::Result<Option<Row>> {
        loop {
            match self.0.next()? {
                None => return Ok(None),
                Some(Element::Broken(line, what)) => {
                    let message = what.to_owned();
                    faults.add(TraceFault::Json { line, message, expected: OBJECT });
                    return Ok(None);
                }
                Some(Element::Object(line, text)) => match row(line, text) {
                    Ok(row) => return Ok(Some(row)),
                    Err(fault) => faults.add(fault),
                },
            }
        }
    }
}
