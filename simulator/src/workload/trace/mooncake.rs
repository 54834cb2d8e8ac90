//! Traces in the form of Mooncake (FAST'25): one JSON object a line.
//!
//! ```text
//! {"timestamp": 3000, "input_length": 1300, "output_length": 52, "hash_ids": [46, 47, 48]}
//! ```
//!
//! The time is in milliseconds. There is one hash for each 512 tokens of the prompt, the last one
//! for what is left, and equal hashes from the beginning on mean equal tokens: that is what the
//! requests have in common. What they generate has no names.
//!
//! Requests were logged in batches, all with the time at which their batch began. They are spread
//! evenly until the next batch begins, over 3 s at most: all at once they would be a burst that never
//! was.

use std::io::{self, BufRead};

use optimizer::units::{Timestamp, Tokens};
use serde::Deserialize;

use super::fault::{Faults, TraceFault};
use crate::engine::{Content, Segment, TextId};
use crate::workload::Arrival;

/// Tokens of a block that has a hash.
const BLOCK: u32 = 512;

/// Milliseconds over which a batch is spread at most. The batches of the conversation trace begin
/// 3 s apart.
const LONGEST_BATCH: u64 = 3000;

#[derive(Debug, Deserialize)]
struct Row {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Reads a whole file. What it holds is of use only when no fault was added.
///
/// # Errors
///
/// When reading fails.
pub(super) fn read(source: impl BufRead, faults: &mut Faults) -> io::Result<Vec<Arrival>> {
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for (line, text) in (1..).zip(source.lines()) {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        match parse(&text, line) {
            Ok(row) => match rows.last() {
                Some(&(previous, ref last)) if row.timestamp < last.timestamp => {
                    let value = row.timestamp.to_string();
                    faults.add(TraceFault::Unordered {
                        line,
                        column: "timestamp",
                        value,
                        previous,
                    });
                }
                _ => rows.push((line, row)),
            },
            Err(fault) => faults.add(fault),
        }
    }
    let mut arrivals = Vec::with_capacity(rows.len());
    let mut batches = rows.chunk_by(|(_, a), (_, b)| a.timestamp == b.timestamp).peekable();
    while let Some(batch) = batches.next() {
        let begins = batch[0].1.timestamp;
        let next = batches.peek().map_or(u64::MAX, |next| next[0].1.timestamp);
        let nanos = (next - begins).min(LONGEST_BATCH) * 1_000_000;
        for (place, (_, row)) in (0..).zip(batch) {
            let offset = nanos / batch.len() as u64 * place;
            let segment = |&hash| Segment { text: TextId(hash), tokens: BLOCK };
            arrivals.push(Arrival {
                at: Timestamp::from_nanos(begins * 1_000_000 + offset),
                prompt: Tokens::new(row.input_length.into()),
                output: Tokens::new(row.output_length.into()),
                content: Content::new(row.hash_ids.iter().map(segment), None),
            });
        }
    }
    Ok(arrivals)
}

fn parse(text: &str, line: u64) -> Result<Row, TraceFault> {
    let row: Row = serde_json::from_str(text).map_err(|error| {
        // The text is one line, so the parser's line says nothing.
        let message = error.to_string().replace(" at line 1", " at");
        TraceFault::Json { line, message }
    })?;
    let value = |column, value: u32| TraceFault::Value {
        line,
        column,
        value: value.to_string(),
        expected: "a whole number of tokens, at least 1",
    };
    if row.input_length == 0 {
        return Err(value("input_length", 0));
    }
    if row.output_length == 0 {
        return Err(value("output_length", 0));
    }
    if row.hash_ids.len() != row.input_length.div_ceil(BLOCK) as usize {
        return Err(TraceFault::Value {
            line,
            column: "hash_ids",
            value: format!("{} hashes for {} tokens", row.hash_ids.len(), row.input_length),
            expected: "one hash for each 512 tokens of the prompt",
        });
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(timestamp: u64, tokens: u32, hashes: &[u64]) -> String {
        format!(
            "{{\"timestamp\": {timestamp}, \"input_length\": {tokens}, \"output_length\": 7, \
             \"hash_ids\": {hashes:?}}}\n"
        )
    }

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Faults::default();
        read(text.as_bytes(), &mut faults).unwrap();
        let error = faults.none_or_error("t.jsonl".as_ref()).unwrap_err();
        error.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn batches_are_spread_and_prompts_share_what_their_hashes_say() {
        let text = row(0, 600, &[1, 2])
            + &row(0, 512, &[1])
            + "\n"
            + &row(1000, 1, &[3])
            + &row(9000, 2, &[4])
            + &row(9000, 2, &[4]);
        let mut faults = Faults::default();
        let arrivals = read(text.as_bytes(), &mut faults).unwrap();
        faults.none_or_error("t.jsonl".as_ref()).unwrap();
        let at: Vec<_> = arrivals.iter().map(|arrival| arrival.at.as_seconds()).collect();
        assert_eq!(at, [0.0, 0.5, 1.0, 9.0, 10.5]);
        let first: Vec<_> = arrivals[0].content.segments().iter().map(|s| s.text.0).collect();
        assert_eq!(first, [1, 2]);
        assert_eq!(arrivals[0].content.segments()[0], arrivals[1].content.segments()[0]);
        assert_eq!((arrivals[0].prompt, arrivals[0].output), (Tokens::new(600), Tokens::new(7)));
    }

    #[test]
    fn faults_have_their_lines() {
        let text =
            row(5, 600, &[1, 2]) + &row(5, 600, &[1]) + &row(4, 1, &[1]) + "{\"timestamp\": 9}";
        assert_eq!(
            faults(&text),
            [
                "t.jsonl:2: hash_ids: \"1 hashes for 600 tokens\" — expected one hash for each 512 \
                 tokens of the prompt",
                "t.jsonl:3: timestamp: \"4\" — expected no time before that of line 1",
                "t.jsonl:4: missing field `input_length` at column 16 — expected an object \
                 with timestamp, input_length, output_length and hash_ids",
            ]
        );
        assert_eq!(
            faults(&row(0, 0, &[])),
            ["t.jsonl:1: input_length: \"0\" — expected a whole number of tokens, at least 1"]
        );
    }
}
