//! Recorded traffic.
//!
//! A [`Reader`] yields the requests of a file one by one, whatever the file's [`Format`], packed by
//! gzip or zstd or not; a [`Trace`] holds them all, for a run to replay. A file with faults is
//! refused as a whole, and the error names the faults, each with its line.
//!
//! | format | times | lengths | also |
//! |---|---|---|---|
//! | [`Azure`](Format::Azure), [`Seconds`](Format::Seconds) | see [`azure`] | tokens | |
//! | [`BurstGpt`](Format::BurstGpt) | seconds | tokens; 0 for failures | models |
//! | [`TraceV2`](Format::TraceV2) | microseconds, in any order | tokens | models, shared prefixes |
//! | [`Mapped`](Format::Mapped) | as a [`ColumnMap`] says | tokens | models |
//! | [`Mooncake`](Format::Mooncake), [`TimedTrace`](Format::TimedTrace) | see [`hashes`] | tokens | shared prefixes |
//! | [`ShareGpt`](Format::ShareGpt) | made up, at a given rate | characters, or tokens | |
//! | [`InferencePerf`](Format::InferencePerf) | seconds, in any order | tokens | |
//! | [`Parquet`](Format::Parquet) | as its columns say; not read by runs | tokens | models |

pub mod azure;
pub mod hashes;
mod clock;
mod elements;
mod fault;
mod format;
mod inference_perf;
mod layout;
mod order;
mod reader;
mod record;
mod sharegpt;
mod source;
mod table;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use optimizer::units::{RequestRate, Seconds, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use clock::{Clock, ParseClockError};
pub use fault::{TraceError, TraceFault};
pub use format::{FailedRows, Format};
pub use layout::{ColumnMap, ParseColumnMapError};
pub use reader::{ReadOptions, ReadSummary, Reader};
pub use record::Record;

#[cfg(feature = "cli")]
pub(crate) use fault::Faults;
#[cfg(feature = "cli")]
pub(crate) use layout::{Layout, Places};
#[cfg(feature = "cli")]
pub(crate) use record::{Models, Row, Rows};

use super::Arrival;
use super::stats::Statistics;

/// A recording of the requests that arrived somewhere, in the order of their arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    name: String,
    arrivals: Vec<Arrival>,
    ignored_columns: Vec<String>,
}

impl Trace {
    /// From requests.
    ///
    /// # Panics
    ///
    /// When the requests are not in the order of their arrival.
    #[must_use]
    pub fn new(name: impl Into<String>, arrivals: Vec<Arrival>) -> Self {
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at), "a trace is in order of time");
        Self { name: name.into(), arrivals, ignored_columns: Vec::new() }
    }

    /// Reads a file of any form but Parquet. The trace is named as the file, without its extension.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has a fault; up to [`TraceError::LIMIT`] are listed.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let mut reader = Reader::open(path, &ReadOptions::default())?;
        let arrivals = reader.by_ref().map(Arrival::from).collect();
        let ignored_columns = reader.finish()?.ignored_columns;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, arrivals, ignored_columns })
    }

    /// What the trace is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The requests, in the order of their arrival.
    #[must_use]
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// Columns of the file that nothing was read from.
    #[must_use]
    pub fn ignored_columns(&self) -> &[String] {
        &self.ignored_columns
    }

    /// The time from zero to the last arrival.
    #[must_use]
    pub fn duration(&self) -> Seconds {
        self.arrivals.last().map_or(Seconds::ZERO, |last| last.at.since(Timestamp::ZERO))
    }

    /// The mean rate; `None` when no time passes.
    #[must_use]
    pub fn rate(&self) -> Option<RequestRate> {
        RequestRate::over(self.arrivals.len() as f64, self.duration())
    }

    /// Descriptive statistics; `None` when there are no requests.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        Statistics::of(&self.arrivals)
    }
}

/// How many times as fast as recorded a trace is replayed: 2 halves every gap between requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(extend("exclusiveMinimum" = 0))]
pub struct Speed(f64);

impl Speed {
    /// As recorded.
    pub const RECORDED: Self = Self(1.0);
}

impl Default for Speed {
    fn default() -> Self {
        Self::RECORDED
    }
}

impl TryFrom<f64> for Speed {
    type Error = SpeedError;

    fn try_from(factor: f64) -> Result<Self, SpeedError> {
        if factor > 0.0 && factor.is_finite() { Ok(Self(factor)) } else { Err(SpeedError(factor)) }
    }
}

impl From<Speed> for f64 {
    fn from(speed: Speed) -> Self {
        speed.0
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×", self.0)
    }
}

/// The number is no speed.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("expected a speed above zero, such as 1 or 2.5, not {0}")]
pub struct SpeedError(f64);

/// The requests of a trace at a speed.
#[derive(Debug, Clone)]
pub struct Replay {
    trace: Arc<Trace>,
    speed: Speed,
    next: usize,
}

impl Replay {
    /// From the beginning of the trace.
    #[must_use]
    pub const fn new(trace: Arc<Trace>, speed: Speed) -> Self {
        Self { trace, speed, next: 0 }
    }
}

impl Iterator for Replay {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let recorded = self.trace.arrivals.get(self.next)?.clone();
        self.next += 1;
        let at = Timestamp::from_seconds(recorded.at.as_seconds() / self.speed.0);
        Some(Arrival { at, ..recorded })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use optimizer::units::Tokens;

    use super::*;
    use crate::engine::Content;

    fn arrival(seconds: f64) -> Arrival {
        let at = Timestamp::from_seconds(seconds);
        Arrival { at, prompt: Tokens::new(3), output: Tokens::new(2), content: Content::default() }
    }

    #[test]
    fn a_replay_keeps_lengths_and_scales_times() {
        let trace = Arc::new(Trace::new("x", vec![arrival(0.0), arrival(0.5), arrival(3.0)]));
        let at = |speed| -> Vec<_> {
            let speed = Speed::try_from(speed).unwrap();
            Replay::new(Arc::clone(&trace), speed).map(|request| request.at.as_seconds()).collect()
        };
        assert_eq!(at(1.0), [0.0, 0.5, 3.0]);
        assert_eq!(at(2.0), [0.0, 0.25, 1.5]);
        assert_eq!(at(0.5), [0.0, 1.0, 6.0]);
        let recorded: Vec<_> = Replay::new(Arc::clone(&trace), Speed::RECORDED).collect();
        assert_eq!(recorded, trace.arrivals());
    }

    #[test]
    fn only_positive_numbers_are_speeds() {
        assert_eq!(serde_json::from_str::<Speed>("2.5").unwrap(), Speed(2.5));
        for text in ["0", "-1", "\"2\""] {
            assert!(serde_json::from_str::<Speed>(text).is_err(), "{text}");
        }
        assert!(Speed::try_from(f64::NAN).is_err() && Speed::try_from(f64::INFINITY).is_err());
    }

    #[test]
    fn a_trace_knows_its_name_duration_and_rate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hour.csv");
        let text = "arrived_at,num_prefill_tokens,num_decode_tokens,user\n0.5,3,2,a\n2,3,2,b\n";
        fs::write(&path, text).unwrap();
        let trace = Trace::read(&path).unwrap();
        assert_eq!(trace.arrivals(), [arrival(0.5), arrival(2.0)]);
        assert_eq!((trace.name(), trace.ignored_columns()), ("hour", &["user".to_owned()][..]));
        assert_eq!(
            (trace.duration(), trace.rate()),
            (Seconds::new(2.0), Some(RequestRate::new(1.0)))
        );
        assert_eq!(Trace::new("none", Vec::new()).rate(), None);
    }

    #[test]
    fn a_file_that_is_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, bytes: Option<&[u8]>, expected: &str| {
            let path = folder.path().join(name);
            if let Some(bytes) = bytes {
                fs::write(&path, bytes).unwrap();
            }
            let error = Trace::read(&path).unwrap_err().to_string();
            assert_eq!(error, format!("{}: {expected}", path.display()));
        };
        check("absent.csv", None, "cannot be read: No such file or directory (os error 2)");
        check("cut.csv.gz", Some(&[0x1f, 0x8b, 8, 0]), "cannot be read: unexpected end of file");
        check(
            "t.parquet",
            Some(b"PAR1"),
            "is Parquet — expected text; plimsoll trace convert turns it into CSV",
        );
        check(
            "chats.json",
            Some(b"[{\"conversations\": []}]"),
            "has lengths and no times — expected a rate at which they arrive, as with --rate 5/s",
        );
    }
}
