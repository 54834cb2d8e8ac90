//! What is wrong with a trace file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A trace file cannot be used.
///
/// Displays one line for each fault, with the file and the line in front, where an editor or a
/// terminal finds them: `traffic.csv:17: num_decode_tokens: -3 — expected …`.
#[derive(Debug, Error)]
pub struct TraceError {
    file: PathBuf,
    faults: Vec<TraceFault>,
    total: usize,
}

impl TraceError {
    /// How many faults are kept; further ones are counted.
    pub const LIMIT: usize = 20;

    /// The error of a file with one fault.
    pub(crate) fn of(file: &Path, fault: TraceFault) -> Self {
        Self { file: file.to_owned(), faults: vec![fault], total: 1 }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The first faults, at most [`Self::LIMIT`], in the order of the file.
    #[must_use]
    pub fn faults(&self) -> &[TraceFault] {
        &self.faults
    }

    /// The number of all faults.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, fault) in self.faults.iter().enumerate() {
            if idx > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(line) = fault.line() {
                write!(f, ":{line}")?;
            }
            write!(f, ": {fault}")?;
        }
        match self.total - self.faults.len() {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

/// One fault of a trace file. Lines count from one, the header included, as in an editor. Long values
/// are cut.
#[derive(Debug, Error)]
pub enum TraceFault {
    /// The system refuses to read the file.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file is Parquet, which a run does not read.
    #[error("is Parquet — expected text; plimsoll trace convert turns it into CSV")]
    Parquet,
    /// The file has lengths only, and no rate was given.
    #[error("has lengths and no times — expected a rate at which they arrive, as with --rate 5/s")]
    NoTimes,
    /// There is not even a header.
    #[error("is empty — expected a header: {accepted}")]
    Empty {
        /// The headers that can be read.
        accepted: String,
    },
    /// The header has none of the sets of columns that can be read.
    #[error("header: {found:?} — expected {accepted}, in any order, among any others")]
    UnknownHeader {
        /// Where.
        line: u64,
        /// The header as it stands.
        found: String,
        /// The headers that can be read.
        accepted: String,
    },
    /// There is no request.
    #[error("has no requests — expected at least one")]
    NoRows,
    /// A row has more or fewer fields than the header, as the last row of a file that was cut off.
    #[error(
        "{found} fields{} — expected {expected}, as in the header",
        missing.as_ref().map(|name| format!(", none for {name}")).unwrap_or_default()
    )]
    FieldCount {
        /// Where.
        line: u64,
        /// The number of fields in the row.
        found: usize,
        /// The number of columns.
        expected: usize,
        /// The first column without a field.
        missing: Option<String>,
    },
    /// The text is in no encoding that can be read.
    #[error("{column}: {value:?} — expected text in UTF-8")]
    NotUtf8 {
        /// Where.
        line: u64,
        /// In which column; "header" in the header.
        column: String,
        /// What stands there, with a � for each byte that is no text.
        value: String,
    },
    /// There is no object, or none of the kind that the file holds.
    #[error("{message} — expected {expected}")]
    Json {
        /// Where.
        line: u64,
        /// What is wrong.
        message: String,
        /// What the file should hold.
        expected: &'static str,
    },
    /// A field does not hold what its column should.
    #[error("{column}: {value:?} — expected {expected}")]
    Value {
        /// Where.
        line: u64,
        /// In which column.
        column: String,
        /// What stands there.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A request arrives before the one above it.
    #[error("{column}: {value:?} — expected no time before that of line {previous}")]
    Unordered {
        /// Where.
        line: u64,
        /// In which column.
        column: String,
        /// What stands there.
        value: String,
        /// The line with the later time.
        previous: u64,
    },
    /// A row is too far from its place for the file to be sorted as it is read.
    #[error("more than {rows} rows behind later ones — expected a file nearer to order of time")]
    TooLate {
        /// Where.
        line: u64,
        /// How many rows are sorted at a time.
        rows: usize,
    },
    /// There are too many rows with the same time for them to be spread.
    #[error("more than {rows} rows with one time — expected fewer, or no spread (--spread 0s)")]
    TooManyAtOnce {
        /// Where.
        line: u64,
        /// How many rows are spread at most.
        rows: usize,
    },
}

impl TraceFault {
    /// The line, unless the fault is one of the whole file.
    #[must_use]
    pub const fn line(&self) -> Option<u64> {
        match *self {
            Self::Unreadable(_)
            | Self::Parquet
            | Self::NoTimes
            | Self::Empty { .. }
            | Self::NoRows => None,
            Self::UnknownHeader { line, .. }
            | Self::FieldCount { line, .. }
            | Self::NotUtf8 { line, .. }
            | Self::Json { line, .. }
            | Self::Value { line, .. }
            | Self::Unordered { line, .. }
            | Self::TooLate { line, .. }
            | Self::TooManyAtOnce { line, .. } => Some(line),
        }
    }
}

/// The faults of a file that is being read. It keeps only the first few, so that a long file of
/// nonsense costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    kept: Vec<TraceFault>,
    total: usize,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: TraceFault) {
        self.total += 1;
        if self.kept.len() < TraceError::LIMIT {
            self.kept.push(fault);
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The error, if there was any fault.
    pub(crate) fn none_or_error(self, file: &Path) -> Result<(), TraceError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(TraceError { file: file.to_owned(), faults: self.kept, total: self.total })
    }
}

/// The beginning of a text, for a message; what is no text shows as �.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 120;
    match bytes.get(..LONGEST) {
        Some(beginning) => format!("{}…", String::from_utf8_lossy(beginning)),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}
