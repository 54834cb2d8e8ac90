//! A trace file as a stream of requests.

use std::cell::Cell;
use std::mem;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use optimizer::units::{RequestRate, Seconds, Timestamp, Tokens};

use super::fault::{Faults, TraceError, TraceFault};
use super::format::{FailedRows, Format};
use super::hashes::HashedLines;
use super::inference_perf::RequestLog;
use super::layout::{ColumnMap, Layout};
use super::order::{MOST_ROWS, Sorter, Spread};
use super::record::{Record, Row, Rows};
use super::sharegpt::Conversations;
use super::source::{Position, Source};
use super::table::Table;

/// How a file is to be read. The default is to take it as its form is mostly meant.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOptions {
    /// The form; told from the content when `None`.
    pub format: Option<Format>,
    /// The columns of a table that no form describes.
    pub map: Option<ColumnMap>,
    /// What becomes of failed requests; up to the form when `None`.
    pub failed: Option<FailedRows>,
    /// Over how long requests with the same time are spread; up to the form when `None`.
    pub spread: Option<Seconds>,
    /// Rows may come in any order, and are sorted, 2^20 of them at a time.
    pub sort: bool,
    /// The rate at which requests arrive whose file has no times.
    pub rate: Option<RequestRate>,
    /// The seed of the times that are made up.
    pub seed: u64,
    /// Characters of a token, where a file has texts. Four is usual for English.
    pub chars_per_token: f64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            map: None,
            failed: None,
            spread: None,
            sort: false,
            rate: None,
            seed: 1,
            chars_per_token: 4.0,
        }
    }
}

/// What was found out about a file by reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSummary {
    /// Its form; `None` for a file that could not be read.
    pub format: Option<Format>,
    /// The requests.
    pub requests: u64,
    /// Failed requests, whether they were left out or kept.
    pub failed: u64,
    /// Whether failed requests are among [`Self::requests`].
    pub failed_kept: bool,
    /// Rows that stood behind a later one, and were sorted.
    pub out_of_order: u64,
    /// Requests whose lengths were estimated from characters.
    pub estimated: u64,
    /// Columns that nothing was read from.
    pub ignored_columns: Vec<String>,
}

/// The requests of a file, in the order of their arrival. A file of any length takes the memory of
/// a few rows, or of a million where rows have to be sorted or spread.
///
/// Rows with faults are left out, and [`finish`](Self::finish) then returns the error, so whatever is
/// made of the requests counts only once it has been asked.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    rows: Intake,
    order: Option<Sorter>,
    /// The time of the last row that was taken from the sorter.
    last: i64,
    spread: Spread,
    /// The time that counts as zero, once it is known.
    epoch: Option<i64>,
    requests: u64,
    position: Position,
}

/// Rows as they are read, before they are put in order.
#[derive(Debug)]
struct Intake {
    rows: Box<dyn Rows>,
    ended: bool,
    faults: Faults,
    format: Option<Format>,
    failed_rows: FailedRows,
    failed: u64,
    estimated: Rc<Cell<u64>>,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is in none of the forms.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, TraceError> {
        let source = Source::open(path).map_err(TraceFault::Unreadable);
        let source = source.map_err(|fault| TraceError::of(path, fault))?;
        Self::of_source(path, source, options)
    }

    /// The requests of a text. `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(test)]
    pub(super) fn of_text(
        name: &str,
        text: &[u8],
        options: &ReadOptions,
    ) -> Result<Self, TraceError> {
        Self::of_source(name.as_ref(), Source::of_text(text), options)
    }

    fn of_source(path: &Path, source: Source, options: &ReadOptions) -> Result<Self, TraceError> {
        let mut faults = Faults::default();
        let (position, estimated) = (source.position(), Rc::default());
        let (format, rows) = rows(source, options, &estimated, &mut faults)
            .map_err(|fault| TraceError::of(path, fault))?;
        faults.none_or_error(path)?;
        let reader = Self::of_rows(path, format, rows, options);
        let rows = Intake { estimated, ..reader.rows };
        Ok(Self { rows, position, ..reader })
    }

    /// The requests in rows that something else reads.
    pub(crate) fn of_rows(
        path: &Path,
        format: Format,
        rows: Box<dyn Rows>,
        options: &ReadOptions,
    ) -> Self {
        let spread = options.spread.unwrap_or(format.spread());
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let spread = (spread.value() * 1e9) as i64;
        Self {
            path: path.to_owned(),
            rows: Intake {
                rows,
                ended: false,
                faults: Faults::default(),
                format: Some(format),
                failed_rows: options.failed.unwrap_or(format.failed_rows()),
                failed: 0,
                estimated: Rc::default(),
            },
            order: options.sorts(format).then(Sorter::default),
            last: i64::MIN,
            spread: Spread::new(spread),
            epoch: (!format.begins_at_first_row()).then_some(0),
            requests: 0,
            position: Position::default(),
        }
    }

    /// The share of the file that has been read.
    #[must_use]
    pub fn share_read(&self) -> f64 {
        self.position.share()
    }

    /// Seconds from the midnight before time zero to time zero, where the file's clock tells them.
    #[must_use]
    pub fn time_of_day(&self) -> Option<Seconds> {
        let tells = self.rows.format.is_some_and(Format::knows_the_hour);
        let nanos = self.epoch.filter(|_| tells)?.rem_euclid(86_400_000_000_000);
        Some(Seconds::new(nanos as f64 / 1e9))
    }

    /// Ends the reading: what was found out so far.
    ///
    /// # Errors
    ///
    /// When a row had a fault, or reading failed, or there was no request at all. Up to
    /// [`TraceError::LIMIT`] faults are listed.
    pub fn finish(self) -> Result<ReadSummary, TraceError> {
        let Intake { rows, ended, mut faults, format, failed_rows, failed, estimated } = self.rows;
        if ended && self.requests == 0 && faults.is_empty() {
            faults.add(TraceFault::NoRows);
        }
        faults.none_or_error(&self.path)?;
        Ok(ReadSummary {
            format,
            requests: self.requests,
            failed,
            failed_kept: failed_rows == FailedRows::Keep,
            out_of_order: self.order.map_or(0, |order| order.late()),
            estimated: estimated.get(),
            ignored_columns: rows.ignored_columns().to_vec(),
        })
    }
}

impl Iterator for Reader {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let Self { rows, order, last, spread, .. } = self;
        let row = spread.next(|| ordered(rows, order.as_mut(), last)).unwrap_or_else(|row| {
            rows.end(TraceFault::TooManyAtOnce { line: row.line, rows: MOST_ROWS });
            None
        })?;
        let epoch = *self.epoch.get_or_insert(row.nanos);
        self.requests += 1;
        Some(Record {
            at: Timestamp::from_nanos(u64::try_from(row.nanos - epoch).unwrap_or(0)),
            prompt: Tokens::new(row.prompt.into()),
            output: Tokens::new(row.output.into()),
            model: row.model,
            content: row.content,
        })
    }
}

impl Intake {
    /// The next row that is kept.
    fn next(&mut self) -> Option<Row> {
        while !self.ended {
            match self.rows.next_row(&mut self.faults) {
                Ok(Some(row)) if row.failed => {
                    self.failed += 1;
                    if self.failed_rows == FailedRows::Keep {
                        let (prompt, output) = (row.prompt.max(1), row.output.max(1));
                        return Some(Row { prompt, output, ..row });
                    }
                }
                Ok(Some(row)) => return Some(row),
                Ok(None) => self.ended = true,
                Err(error) => self.end(TraceFault::Unreadable(error)),
            }
        }
        None
    }

    fn end(&mut self, fault: TraceFault) {
        self.faults.add(fault);
        self.ended = true;
    }
}

/// The next row in the order of time; rows in a file that is sorted are so already.
fn ordered(rows: &mut Intake, order: Option<&mut Sorter>, last: &mut i64) -> Option<Row> {
    let Some(order) = order else { return rows.next() };
    while !order.is_full()
        && let Some(row) = rows.next()
    {
        order.push(row);
    }
    let row = order.pop()?;
    if mem::replace(last, row.nanos) > row.nanos {
        rows.end(TraceFault::TooLate { line: row.line, rows: MOST_ROWS });
        return None;
    }
    Some(row)
}

impl ReadOptions {
    /// Whether rows are put in order.
    pub(crate) const fn sorts(&self, format: Format) -> bool {
        self.sort || format.is_unsorted()
    }

    /// Whether lengths may be zero, and whether a time before that of the row above is a fault.
    pub(crate) fn rules(&self, format: Format) -> (bool, bool) {
        let failed = self.failed.unwrap_or(format.failed_rows());
        (failed != FailedRows::Refuse, !self.sorts(format))
    }

    /// The layouts that a table may have.
    pub(crate) fn layouts(&self) -> Vec<Layout> {
        match (&self.map, self.format.and_then(Format::layout)) {
            (Some(ColumnMap(layout)), _) => vec![layout.clone()],
            (None, Some(layout)) => vec![layout],
            (None, None) => Layout::known().into(),
        }
    }
}

/// The rows of a file, and its form.
fn rows(
    source: Source,
    options: &ReadOptions,
    estimated: &Rc<Cell<u64>>,
    faults: &mut Faults,
) -> Result<(Format, Box<dyn Rows>), TraceFault> {
    // Whoever maps columns has a table, whatever else it may look like.
    let told = Format::of(source.head());
    let told = told.filter(|&told| options.map.is_none() || told == Format::Parquet);
    let format = options.format.or(told);
    let bytes = source.into_bytes();
    match format {
        Some(format @ (Format::Mooncake | Format::TimedTrace)) => {
            let lines = HashedLines::new(bytes, format, options.rules(format));
            Ok((format, Box::new(lines)))
        }
        Some(Format::InferencePerf) => {
            Ok((Format::InferencePerf, Box::new(RequestLog::new(bytes))))
        }
        Some(Format::ShareGpt) => {
            let rate = options.rate.filter(|rate| !rate.is_zero()).ok_or(TraceFault::NoTimes)?;
            let made_up = (options.chars_per_token, options.seed);
            let conversations = Conversations::new(bytes, rate, made_up, Rc::clone(estimated));
            Ok((Format::ShareGpt, Box::new(conversations)))
        }
        Some(Format::Parquet) => Err(TraceFault::Parquet),
        _ => {
            let rules = |format| options.rules(format);
            let table = Table::open(bytes, &options.layouts(), rules, faults);
            let table = table.map_err(TraceFault::Unreadable)?;
            let format = table.layout().map_or(Format::Seconds, |layout| layout.format);
            Ok((format, Box::new(table)))
        }
    }
}

#[cfg(test)]
mod tests;
