//! Traces with the hashes of their prompts: one JSON object a line.
//!
//! ```text
//! {"timestamp": 3000, "input_length": 1300, "output_length": 52, "hash_ids": [46, 47, 48]}
//! ```
//!
//! | form | time | tokens of a hash |
//! |---|---|---|
//! | Mooncake (FAST'25) | milliseconds | 512 |
//! | vLLM's `timed_trace` dataset, Alibaba's Bailian traces | seconds | 16 |
//!
//! The last hash stands for what is left of the prompt. Equal hashes from the beginning on mean
//! equal tokens: that is what the requests have in common. What they generate has no names. Rows
//! without `hash_ids` have nothing in common.
//!
//! Mooncake's requests were logged in batches, all with the time at which their batch began; the
//! reader spreads them. A time with a decimal point, as this project writes it, is exact.

use std::io::{self, BufRead, Write};

use optimizer::units::Timestamp;
use serde::Deserialize;
use serde_json::Number;

use super::clock::Clock;
use super::fault::{Faults, TraceFault};
use super::format::Format;
use super::record::{Record, Row, Rows};
use crate::engine::{Content, Segment, TextId};

/// Tokens of one of Mooncake's hashes.
pub const MOONCAKE_BLOCK: u32 = 512;

/// Writes one request in Mooncake's form, with its time to the microsecond and these hashes, one for
/// each [`MOONCAKE_BLOCK`] tokens of the prompt.
///
/// # Errors
///
/// When writing fails.
pub fn write(record: &Record, hashes: &[u64], to: &mut impl Write) -> io::Result<()> {
    let Record { at, prompt, output, .. } = record;
    let (millis, micros) = micros(*at);
    write!(
        to,
        "{{\"timestamp\": {millis}.{micros:03}, \"input_length\": {prompt}, \
         \"output_length\": {output}, \"hash_ids\": ["
    )?;
    for (idx, hash) in hashes.iter().enumerate() {
        write!(to, "{}{hash}", if idx > 0 { ", " } else { "" })?;
    }
    writeln!(to, "]}}")
}

/// Milliseconds and the microseconds beyond, rounded.
const fn micros(at: Timestamp) -> (u64, u64) {
    let micros = at.as_nanos().saturating_add(500) / 1000;
    (micros / 1000, micros % 1000)
}

/// The lines of a file.
#[derive(Debug)]
pub(super) struct HashedLines<R> {
    source: R,
    line: u64,
    text: Vec<u8>,
    form: Form,
    zeros: bool,
    /// Time and line of the row above; `None` where rows may come in any order.
    previous: Option<(i64, u64)>,
}

/// What one form's numbers mean.
#[derive(Debug, Clone, Copy)]
struct Form {
    clock: Clock,
    block: u32,
    /// What a row has to have, for a message.
    hashes: &'static str,
}

const MOONCAKE: Form = Form {
    clock: Clock::Milliseconds,
    block: MOONCAKE_BLOCK,
    hashes: "one hash for each 512 tokens of the prompt",
};

const TIMED_TRACE: Form =
    Form { clock: Clock::Seconds, block: 16, hashes: "one hash for each 16 tokens of the prompt" };

const OBJECT: &str = "an object with timestamp, input_length, output_length and hash_ids";

#[derive(Debug, Deserialize)]
struct Line {
    timestamp: Number,
    input_length: u32,
    output_length: u32,
    hash_ids: Option<Vec<u64>>,
}

impl<R: BufRead> HashedLines<R> {
    /// The lines of a file of this form, which is one of the two.
    ///
    /// `zeros` says whether lengths may be zero, and `sorted` whether a time before that of the row
    /// above is a fault.
    pub(super) fn new(source: R, format: Format, (zeros, sorted): (bool, bool)) -> Self {
        let form = if format == Format::TimedTrace { TIMED_TRACE } else { MOONCAKE };
        let previous = sorted.then_some((i64::MIN, 0));
        Self { source, line: 0, text: Vec::new(), form, zeros, previous }
    }

    fn row(&self) -> Result<Row, TraceFault> {
        let Self { line, form, zeros, .. } = *self;
        let row: Line = serde_json::from_slice(&self.text).map_err(|error| {
            // The text is one line, so the parser's line says nothing.
            let message = error.to_string().replace(" at line 1", " at");
            TraceFault::Json { line, message, expected: OBJECT }
        })?;
        let value = |column: &str, value: String, expected| TraceFault::Value {
            line,
            column: column.to_owned(),
            value,
            expected,
        };
        for (column, tokens) in
            [("input_length", row.input_length), ("output_length", row.output_length)]
        {
            if tokens == 0 && !zeros {
                let expected = "a whole number of tokens, at least 1";
                return Err(value(column, tokens.to_string(), expected));
            }
        }
        let nanos = form.clock.nanos(&row.timestamp.to_string());
        let nanos = nanos
            .ok_or_else(|| value("timestamp", row.timestamp.to_string(), form.clock.expected()))?;
        let hashes = row.hash_ids.unwrap_or_default();
        if !hashes.is_empty() && hashes.len() != row.input_length.div_ceil(form.block) as usize {
            let found = format!("{} hashes for {} tokens", hashes.len(), row.input_length);
            return Err(value("hash_ids", found, form.hashes));
        }
        let segment = |&hash| Segment { text: TextId(hash), tokens: form.block };
        Ok(Row {
            line,
            nanos,
            exact: row.timestamp.is_f64(),
            prompt: row.input_length,
            output: row.output_length,
            failed: row.input_length == 0 || row.output_length == 0,
            model: None,
            content: Content::new(hashes.iter().map(segment), None),
        })
    }

    /// Adds a fault to a row that arrives before the one above it.
    fn in_order(&mut self, row: Row, faults: &mut Faults) -> Option<Row> {
        let Some((above, previous)) = self.previous else { return Some(row) };
        if row.nanos < above {
            // What was written is what the clock read, so this is the value again.
            let value = serde_json::from_slice(&self.text).map(|line: Line| line.timestamp);
            let value = value.map_or_else(|_| String::new(), |number| number.to_string());
            let (line, column) = (row.line, "timestamp".to_owned());
            faults.add(TraceFault::Unordered { line, column, value, previous });
            return None;
        }
        self.previous = Some((row.nanos, row.line));
        Some(row)
    }
}

impl<R: BufRead + std::fmt::Debug> Rows for HashedLines<R> {
    fn next_row(&mut self, faults: &mut Faults) -> io::Result<Option<Row>> {
        loop {
            self.text.clear();
            self.line += 1;
            if self.source.read_until(b'\n', &mut self.text)? == 0 {
                return Ok(None);
            }
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            match self.row() {
                Ok(row) => {
                    if let Some(row) = self.in_order(row, faults) {
                        return Ok(Some(row));
                    }
                }
                Err(fault) => faults.add(fault),
            }
        }
    }
}
