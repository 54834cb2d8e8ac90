//! What is wrong with a folder of layer timings.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A table of layer timings cannot be used.
///
/// Displays as `layers/dense.csv:17: time_us: "-3" — expected …`.
#[derive(Debug, Error)]
pub struct TableError {
    file: PathBuf,
    line: Option<u64>,
    fault: TableFault,
}

impl TableError {
    pub(super) fn new(file: &Path, line: Option<u64>, fault: TableFault) -> Self {
        Self { file: file.to_owned(), line, fault }
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> &TableFault {
        &self.fault
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// One fault of a table of layer timings.
#[derive(Debug, Error)]
pub enum TableFault {
    /// The system refuses to read the file.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file is no CSV.
    #[error("is no CSV file: {0}")]
    NotCsv(csv::Error),
    /// The columns are others; times in another unit have a column of another name.
    #[error("header: {found:?} — expected {expected:?}, with times in microseconds")]
    Header {
        /// The header as it stands.
        found: String,
        /// The header that is read.
        expected: String,
    },
    /// A field does not hold what its column should.
    #[error("{column}: {value:?} — expected {expected}")]
    Value {
        /// In which column.
        column: &'static str,
        /// What stands there.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The same size was measured twice.
    #[error("this size was given before — expected one row for each")]
    Twice,
    /// A layer whose place in a step is not known.
    #[error("layer {name:?} — expected one of {expected}")]
    UnknownLayer {
        /// The layer.
        name: String,
        /// Those that are known.
        expected: String,
    },
    /// A layer that every model has was not measured.
    #[error("has no rows of layer {0} — expected it to be measured")]
    MissingLayer(&'static str),
    /// A layer was not measured at the sizes of the others.
    #[error("layer {layer} has no row at size {size}, but other layers have — expected no gaps")]
    Gap {
        /// The layer with the gap.
        layer: String,
        /// The size that is missing.
        size: u32,
    },
    /// There is no prompt alone, or no decoding alone, in the table of attention.
    #[error("has no batches of decoding sequences alone, or none of a prompt alone")]
    OneKindOnly,
    /// More work takes much less time.
    #[error("{size} {of} take {percent:.0} % less than fewer — expected times to rise with size")]
    NotMonotone {
        /// The size with the lower time.
        size: u32,
        /// Of what.
        of: &'static str,
        /// By how much the time is below that of a smaller size.
        percent: f64,
    },
    /// Next to no work takes a time that no GPU takes.
    #[error("next to no work takes {micros} µs, as no GPU does — expected microseconds in time_us")]
    Unit {
        /// The time of the smallest batch.
        micros: f64,
    },
}
