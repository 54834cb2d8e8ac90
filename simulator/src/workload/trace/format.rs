//! The forms of trace files, and how one is told from another.

use optimizer::units::Seconds;
use serde::Deserialize;

use super::layout::Layout;

/// A form of trace file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CSV with the columns `TIMESTAMP,ContextTokens,GeneratedTokens`: the Azure LLM inference
    /// traces of 2023 and 2024.
    Azure,
    /// CSV with the columns `arrived_at,num_prefill_tokens,num_decode_tokens`: what simulators, this
    /// one included, reduce traces to.
    Seconds,
    /// CSV of BurstGPT, with or without the columns `Session ID` and `Elapsed time`.
    BurstGpt,
    /// CSV of the second version of inference-sim's traces (TraceV2), without its YAML header file.
    TraceV2,
    /// CSV or Parquet whose columns a [`ColumnMap`](super::ColumnMap) names.
    Mapped,
    /// JSON lines of Mooncake: milliseconds, and a hash for each 512 tokens.
    Mooncake,
    /// JSON lines of vLLM's `timed_trace` dataset and of Alibaba's Bailian traces: seconds, and a
    /// hash for each 16 tokens.
    TimedTrace,
    /// JSON of ShareGPT: texts without times.
    ShareGpt,
    /// JSON of inference-perf's `per_request_lifecycle_metrics.json`.
    InferencePerf,
    /// Parquet with the columns of any of the CSV forms.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Azure,
        Self::Seconds,
        Self::BurstGpt,
        Self::TraceV2,
        Self::Mapped,
        Self::Mooncake,
        Self::TimedTrace,
        Self::ShareGpt,
        Self::InferencePerf,
        Self::Parquet,
    ];

    /// What the command line calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Seconds => "seconds",
            Self::BurstGpt => "burstgpt",
            Self::TraceV2 => "trace-v2",
            Self::Mapped => "mapped",
            Self::Mooncake => "mooncake",
            Self::TimedTrace => "timed-trace",
            Self::ShareGpt => "sharegpt",
            Self::InferencePerf => "inference-perf",
            Self::Parquet => "parquet",
        }
    }

    /// The form of a file that begins like `head`. Whatever is none of the others is taken for CSV,
    /// whose header says more: that is `None`.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PAR1") {
            return Some(Self::Parquet);
        }
        let text = head.trim_ascii_start();
        let contains = |key: &[u8]| text.windows(key.len()).any(|part| part == key);
        // No header of a CSV file begins like an object or an array.
        if !text.starts_with(b"{") && !text.starts_with(b"[") {
            return None;
        }
        if contains(b"\"start_time\"") && !contains(b"\"conversations\"") {
            return Some(Self::InferencePerf);
        }
        if text.starts_with(b"[") || contains(b"\"conversations\"") {
            return Some(Self::ShareGpt);
        }
        Some(if hashes_are_short(text) { Self::TimedTrace } else { Self::Mooncake })
    }

    /// Whether times count from the first row, because the zero of the file's clock says nothing.
    pub(crate) const fn begins_at_first_row(self) -> bool {
        !matches!(self, Self::Seconds | Self::Mooncake | Self::TimedTrace | Self::ShareGpt)
    }

    /// Whether the file's clock is at zero at midnight, of UTC or of the place of recording.
    pub(crate) const fn knows_the_hour(self) -> bool {
        matches!(self, Self::Azure | Self::BurstGpt)
    }

    /// Whether files of this form are written in another order than that of arrival.
    pub(crate) const fn is_unsorted(self) -> bool {
        matches!(self, Self::TraceV2 | Self::InferencePerf)
    }

    /// What becomes of failed requests, unless the reader is told otherwise.
    pub(crate) const fn failed_rows(self) -> FailedRows {
        match self {
            Self::BurstGpt | Self::TraceV2 | Self::ShareGpt | Self::InferencePerf => {
                FailedRows::Skip
            }
            _ => FailedRows::Refuse,
        }
    }

    /// Over how long requests with the same time are spread, unless the reader is told otherwise.
    /// The batches of Mooncake's conversation trace begin 3 s apart.
    pub(crate) const fn spread(self) -> Seconds {
        if matches!(self, Self::Mooncake) { Seconds::new(3.0) } else { Seconds::ZERO }
    }

    /// The layout of this form's columns; `None` for forms without columns, or with others.
    pub(crate) fn layout(self) -> Option<Layout> {
        Layout::known().into_iter().find(|layout| layout.format == self)
    }
}

/// What becomes of rows with requests that were not served, where a length is zero or the file says
/// so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedRows {
    /// They are faults of the file.
    Refuse,
    /// They are counted and left out.
    Skip,
    /// They are counted and kept; a length of zero becomes one token.
    Keep,
}

/// What tells the two forms with hashes apart.
#[derive(Debug, Deserialize)]
struct Hashes {
    input_length: u64,
    hash_ids: Vec<u64>,
}

/// Whether the lines have a hash for each 16 tokens, and not for each 512.
fn hashes_are_short(head: &[u8]) -> bool {
    let lines = head.split(|&byte| byte == b'\n');
    let rows = lines.filter_map(|line| serde_json::from_slice::<Hashes>(line).ok());
    // A prompt of up to 16 tokens has one hash in either form, and says nothing.
    let mut telling = rows.filter(|row| row.input_length > 16).peekable();
    telling.peek().is_some()
        && telling.all(|row| row.hash_ids.len() as u64 == row.input_length.div_ceil(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_by_the_content() {
        let check = |head: &str, expected: Option<Format>| {
            assert_eq!(Format::of(head.as_bytes()), expected, "{head}");
        };
        check("PAR1\u{15}", Some(Format::Parquet));
        check("arrived_at,num_prefill_tokens,num_decode_tokens\n", None);
        check("", None);
        check("[{\"id\": \"a\", \"conversations\": [", Some(Format::ShareGpt));
        check("[\n  {\n    \"start_time\": 5.2,", Some(Format::InferencePerf));
        let row = |tokens: u64, hashes: &[u64]| {
            format!(
                "{{\"timestamp\": 1, \"input_length\": {tokens}, \"output_length\": 1, \
                 \"hash_ids\": {hashes:?}}}\n"
            )
        };
        check(&row(600, &[1, 2]), Some(Format::Mooncake));
        check(&row(3, &[1]), Some(Format::Mooncake));
        check(&(row(3, &[1]) + &row(33, &[1, 2, 3])), Some(Format::TimedTrace));
        check(&(row(33, &[1, 2, 3]) + &row(600, &[1, 2])), Some(Format::Mooncake));
        // The head ends within a line.
        check(&(row(33, &[1, 2, 3]) + "{\"timestamp\": 2, \"inp"), Some(Format::TimedTrace));
    }
}
