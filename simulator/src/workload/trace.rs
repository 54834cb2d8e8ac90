//! Recorded traffic.
//!
//! [`Trace::read`] takes the two column forms of [`azure`] and the objects of [`mooncake`]. A file
//! with faults is refused as a whole, and the error names the faults, each with its line.

pub mod azure;
mod fault;
pub mod mooncake;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use optimizer::units::{RequestRate, Seconds, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use fault::{TraceError, TraceFault};

use super::Arrival;
use super::stats::Statistics;
use azure::Contents;
use fault::Faults;

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

    /// Reads a file in one of the forms of [`azure`] or of [`mooncake`]. The trace is named as the file, without
    /// its extension.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has a fault; up to [`TraceError::LIMIT`] are listed.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let mut faults = Faults::default();
        let contents = contents(path, &mut faults).unwrap_or_else(|error| {
            faults.add(TraceFault::Unreadable(error));
            Contents::default()
        });
        faults.none_or_error(path)?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let Contents { arrivals, ignored_columns } = contents;
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

fn contents(path: &Path, faults: &mut Faults) -> io::Result<Contents> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
        faults.add(TraceFault::Compressed);
        return Ok(Contents::default());
    }
    // No header of a CSV file begins like an object.
    if file.fill_buf()?.trim_ascii_start().starts_with(b"{") {
        let arrivals = mooncake::read(file, faults)?;
        return Ok(Contents { arrivals, ignored_columns: Vec::new() });
    }
    azure::read(file, faults)
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

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
        check(
            "trace.csv.gz",
            Some(&[0x1f, 0x8b, 8, 0]),
            "is compressed with gzip; unpack it first, as with gunzip",
        );
    }
}
