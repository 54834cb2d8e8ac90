//! A request of a trace, and a row of a file before it is one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use optimizer::units::{Timestamp, Tokens};

use super::fault::Faults;
use crate::engine::Content;
use crate::workload::Arrival;

/// A request as a trace has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it arrived, counted from the time zero of its trace.
    pub at: Timestamp,
    /// The length of its prompt, at least one token.
    pub prompt: Tokens,
    /// The number of tokens that were generated, at least one.
    pub output: Tokens,
    /// The model that was asked, where the file says so.
    pub model: Option<Arc<str>>,
    /// What its prompt has in common with other prompts.
    pub content: Content,
}

impl From<Record> for Arrival {
    fn from(record: Record) -> Self {
        let Record { at, prompt, output, content, model: _ } = record;
        Self { at, prompt, output, content }
    }
}

/// A row of a file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Where it stands, counted from 1.
    pub(crate) line: u64,
    /// Nanoseconds of the file's own clock, whatever its zero is.
    pub(crate) nanos: i64,
    /// The time is no step of a coarse clock, so it is never spread.
    pub(crate) exact: bool,
    pub(crate) prompt: u32,
    pub(crate) output: u32,
    /// The request was not served, as the file says or as a length of zero tells.
    pub(crate) failed: bool,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) content: Content,
}

/// The rows of a file, from the first to the last.
pub(crate) trait Rows: Debug {
    /// The next row without a fault; `None` at the end. Rows with faults are added to `faults`.
    ///
    /// # Errors
    ///
    /// When reading fails.
    fn next_row(&mut self, faults: &mut Faults) -> io::Result<Option<Row>>;

    /// Columns that nothing is read from.
    fn ignored_columns(&self) -> &[String] {
        &[]
    }
}

/// Names of models, each of which is kept once.
#[derive(Debug, Default)]
pub(crate) struct Models(BTreeSet<Arc<str>>);

impl Models {
    /// The name, shared with the rows that had it before; `None` when it is empty.
    pub(crate) fn shared(&mut self, name: &str) -> Option<Arc<str>> {
        if name.is_empty() {
            return None;
        }
        if let Some(known) = self.0.get(name) {
            return Some(Arc::clone(known));
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        Some(name)
    }
}
