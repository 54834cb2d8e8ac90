//! Traces as Parquet: the columns of any form of table, a batch of rows at a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

use polars::error::PolarsResult;
use polars::prelude::{
    ArrowDataType, BatchedWriter, Column, DataFrame, DataType, NamedFrom, ParquetCompression,
    ParquetReader, ParquetWriter, SerReader, Series,
};

use crate::engine::Content;
use crate::workload::trace::{
    Clock, Faults, Layout, Models, Places, ReadOptions, Reader, Record, Row, Rows, TraceError,
    TraceFault,
};

/// Rows that are read or written at a time. A file that was written so is read a row group at a
/// time; of one with larger groups, the group's pages are decoded that far.
const BATCH: usize = 1 << 17;

/// Opens a Parquet file.
///
/// # Errors
///
/// When the file cannot be read, or its columns are those of no form.
pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Reader, TraceError> {
    let unreadable = |error| TraceError::of(path, TraceFault::Unreadable(error));
    let (columns, total) = columns_and_rows(path).map_err(|error| unreadable(other(error)))?;
    let names: Vec<_> = columns.iter().map(|(name, _)| name.clone()).collect();
    let layouts = options.layouts();
    let fits = |layout: &Layout| Some((layout.clone(), layout.places(&names)?));
    let Some((layout, places)) = layouts.iter().find_map(fits) else {
        let accepted: Vec<_> = layouts.iter().map(Layout::required).collect();
        let (found, accepted) = (names.join(","), accepted.join(" or "));
        return Err(TraceError::of(path, TraceFault::UnknownHeader { line: 1, found, accepted }));
    };
    // Parquet's own types of time are those that the library was built without.
    let mut other_types =
        (0..).zip(&columns).filter(|&(idx, (_, plain))| places.uses(idx) && !plain);
    if let Some((_, (name, _))) = other_types.next() {
        let message = format!("{name} is a column of another type than numbers or texts");
        return Err(unreadable(io::Error::other(message)));
    }
    let format = layout.format;
    let (zeros, sorted) = options.rules(format);
    let used = names.iter().enumerate().filter(|&(idx, _)| places.uses(idx));
    let used: Vec<_> = used.map(|(_, name)| name.clone()).collect();
    let ignored = names.iter().filter(|&name| !used.contains(name)).cloned().collect();
    let rows = ParquetRows {
        path: path.to_owned(),
        // Only the columns that are used are read, so they stand elsewhere than in the file.
        places: layout.places(&used).unwrap_or(places),
        layout,
        used,
        ignored,
        zeros,
        previous: sorted.then_some((i64::MIN, 0)),
        models: Models::default(),
        total,
        offset: 0,
        batch: Vec::new().into_iter(),
    };
    Ok(Reader::of_rows(path, format, Box::new(rows), options))
}

/// The names of the columns and whether each holds numbers or texts, and the number of rows.
fn columns_and_rows(path: &Path) -> PolarsResult<(Vec<(String, bool)>, usize)> {
    let mut reader = ParquetReader::new(File::open(path)?);
    let schema = reader.schema()?;
    let columns = schema.iter_values().map(|field| {
        let dtype = field.dtype();
        let texts = [ArrowDataType::Utf8, ArrowDataType::LargeUtf8, ArrowDataType::Utf8View]
            .contains(dtype);
        (field.name.to_string(), texts || dtype.is_numeric())
    });
    Ok((columns.collect(), reader.num_rows()?))
}

#[derive(Debug)]
struct ParquetRows {
    path: PathBuf,
    layout: Layout,
    places: Places,
    used: Vec<String>,
    ignored: Vec<String>,
    zeros: bool,
    /// Time and row of the row above; `None` where rows may come in any order.
    previous: Option<(i64, u64)>,
    models: Models,
    total: usize,
    /// The first row behind the batch.
    offset: usize,
    batch: vec::IntoIter<Row>,
}

impl Rows for ParquetRows {
    fn next_row(&mut self, faults: &mut Faults) -> io::Result<Option<Row>> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            if self.offset >= self.total {
                return Ok(None);
            }
            let rows = self.read_batch(faults).map_err(other)?;
            self.batch = rows.into_iter();
        }
    }

    fn ignored_columns(&self) -> &[String] {
        &self.ignored
    }
}

impl ParquetRows {
    fn read_batch(&mut self, faults: &mut Faults) -> PolarsResult<Vec<Row>> {
        let frame = ParquetReader::new(File::open(&self.path)?)
            .with_columns(Some(self.used.clone()))
            .with_slice(Some((self.offset, BATCH)))
            .finish()?;
        // The columns come in the order in which the file has them, as `used` does.
        let column = |place: usize| frame.column(&self.used[place]);
        let times = nanos(column(self.places.arrival)?, self.layout.clock)?;
        let prompts = tokens(column(self.places.prompt)?)?;
        let outputs = tokens(column(self.places.output)?)?;
        let names = self.places.model.map(|place| column(place)?.cast(&DataType::String));
        let names = names.transpose()?;
        let names = names.as_ref().map(Column::str).transpose()?;
        let mut rows = Vec::with_capacity(frame.height());
        for idx in 0..frame.height() {
            let line = (self.offset + idx + 1) as u64;
            let lengths = (prompts[idx], outputs[idx]);
            let Some(row) = self.row(line, times[idx], lengths, faults) else { continue };
            let name = names.and_then(|names| names.get(idx)).unwrap_or_default();
            rows.push(Row { model: self.models.shared(name), ..row });
        }
        self.offset += BATCH;
        Ok(rows)
    }

    /// The row with these values; `None` when one of them is a fault.
    fn row(
        &mut self,
        line: u64,
        nanos: Option<i64>,
        (prompt, output): (Option<u32>, Option<u32>),
        faults: &mut Faults,
    ) -> Option<Row> {
        let mut refuse = |column: &str, expected| {
            let (column, value) = (column.to_owned(), "null, or out of range".to_owned());
            faults.add(TraceFault::Value { line, column, value, expected });
        };
        let Some(nanos) = nanos else {
            refuse(&self.layout.arrival, self.layout.clock.expected());
            return None;
        };
        let least = u32::from(!self.zeros);
        for (column, count) in [(&self.layout.prompt, prompt), (&self.layout.output, output)] {
            if count.is_none_or(|count| count < least) {
                refuse(column, "a whole number of tokens, at least 1");
                return None;
            }
        }
        if let Some((above, previous)) = self.previous {
            if nanos < above {
                let (column, value) = (self.layout.arrival.to_string(), nanos.to_string());
                faults.add(TraceFault::Unordered { line, column, value, previous });
                return None;
            }
            self.previous = Some((nanos, line));
        }
        let (prompt, output) = (prompt?, output?);
        let failed = prompt == 0 || output == 0;
        let content = Content::default();
        Some(Row { line, nanos, exact: false, prompt, output, failed, model: None, content })
    }
}

/// The nanoseconds in a column of times.
fn nanos(column: &Column, clock: Clock) -> PolarsResult<Vec<Option<i64>>> {
    if column.dtype() == &DataType::String {
        let texts = column.str()?;
        return Ok(texts.iter().map(|text| text.and_then(|text| clock.nanos(text))).collect());
    }
    if column.dtype().is_integer() {
        let numbers = column.cast(&DataType::Int64)?;
        let numbers = numbers.i64()?;
        let whole = |number: Option<i64>| number.and_then(|number| clock.nanos_of_whole(number));
        return Ok(numbers.iter().map(whole).collect());
    }
    let numbers = column.cast(&DataType::Float64)?;
    let numbers = numbers.f64()?;
    Ok(numbers.iter().map(|number| number.and_then(|number| clock.nanos_of(number))).collect())
}

/// The counts in a column of lengths.
fn tokens(column: &Column) -> PolarsResult<Vec<Option<u32>>> {
    let counts = column.cast(&DataType::Int64)?;
    let counts = counts.i64()?;
    let count = |count: Option<i64>| count.and_then(|count| u32::try_from(count).ok());
    Ok(counts.iter().map(count).collect())
}

/// Writes requests in the columns `arrived_at`, `num_prefill_tokens`, `num_decode_tokens` and
/// `model`, a row group at a time.
pub(super) struct ParquetSink {
    rows: Vec<Record>,
    writer: BatchedWriter<File>,
}

impl ParquetSink {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let schema = frame(&[]).map_err(other)?.schema().clone();
        let writer = ParquetWriter::new(file)
            .with_compression(ParquetCompression::Zstd(None))
            .with_row_group_size(Some(BATCH))
            .batched(&schema)
            .map_err(other)?;
        Ok(Self { rows: Vec::new(), writer })
    }

    pub(super) fn write(&mut self, record: Record) -> io::Result<()> {
        self.rows.push(record);
        if self.rows.len() == BATCH { self.write_group() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.writer.finish().map_err(other)?;
        Ok(())
    }

    fn write_group(&mut self) -> io::Result<()> {
        self.writer.write_batch(&frame(&self.rows).map_err(other)?).map_err(other)?;
        self.rows.clear();
        Ok(())
    }
}

fn frame(rows: &[Record]) -> PolarsResult<DataFrame> {
    let seconds: Vec<f64> = rows.iter().map(|row| row.at.as_seconds()).collect();
    let prompts: Vec<u64> = rows.iter().map(|row| row.prompt.get()).collect();
    let outputs: Vec<u64> = rows.iter().map(|row| row.output.get()).collect();
    let models: Vec<Option<&str>> = rows.iter().map(|row| row.model.as_deref()).collect();
    DataFrame::new(
        rows.len(),
        vec![
            Series::new("arrived_at".into(), seconds).into(),
            Series::new("num_prefill_tokens".into(), prompts).into(),
            Series::new("num_decode_tokens".into(), outputs).into(),
            Series::new("model".into(), models).into(),
        ],
    )
}

/// An error of the library as one of reading or writing.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
fn other(error: polars::error::PolarsError) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use optimizer::units::Timestamp;

    use super::*;
    use crate::workload::trace::Format;

    /// A file of these columns, with prompts of 5 and 6 tokens and outputs of 7 and 0.
    fn write(path: &Path, time: (&str, Column), names: [&str; 2]) {
        let mut columns = vec![time.1.with_name(time.0.into())];
        columns.push(Series::new(names[1].into(), [7_i32, 0]).into());
        columns.push(Series::new("user".into(), ["a", "b"]).into());
        columns.push(Series::new(names[0].into(), [5_i64, 6]).into());
        let mut frame = DataFrame::new(2, columns).unwrap();
        ParquetWriter::new(File::create(path).unwrap()).finish(&mut frame).unwrap();
    }

    #[test]
    fn columns_of_any_form_and_type_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let millis =
            || Column::from(Series::new("".into(), [1_700_000_000_000_i64, 1_700_000_000_250]));
        let texts =
            Series::new("".into(), ["2023-11-16 18:15:46", "2023-11-16 18:15:46.25"]).into();
        let map = "arrival=t:ms,input=i,output=o".parse().ok();
        let keep = ReadOptions {
            failed: Some(crate::workload::trace::FailedRows::Keep),
            ..ReadOptions::default()
        };
        let azure = ("TIMESTAMP", ["ContextTokens", "GeneratedTokens"]);
        for (format, (name, lengths), times, options) in [
            (Format::Azure, azure, texts, keep.clone()),
            (Format::Mapped, ("t", ["i", "o"]), millis(), ReadOptions { map, ..keep }),
        ] {
            write(&path, (name, times), lengths);
            let mut reader = crate::traces::open(&path, &options).unwrap();
            let found: Vec<_> =
                reader.by_ref().map(|row| (row.at, row.prompt.get(), row.output.get())).collect();
            let later = Timestamp::from_seconds(0.25);
            assert_eq!(found, [(Timestamp::ZERO, 5, 7), (later, 6, 1)], "{format:?}");
            let summary = reader.finish().unwrap();
            assert_eq!((summary.format, summary.failed), (Some(format), 1));
            assert_eq!(summary.ignored_columns, ["user"]);
        }
    }

    #[test]
    fn faults_have_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let check = |name: &str, times: [f64; 2], expected: &str| {
            write(&path, (name, Series::new("".into(), times).into()), ["i", "o"]);
            let map = "arrival=t,input=i,output=o".parse().ok();
            let options = ReadOptions { map, ..ReadOptions::default() };
            let error = crate::traces::open(&path, &options).and_then(|mut reader| {
                assert!(reader.by_ref().count() < 2);
                reader.finish()
            });
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            "t",
            [0.0, 1.0],
            "t.parquet:2: o: \"null, or out of range\" — expected a whole number",
        );
        check("t", [-1.0, 1.0], "t.parquet:1: t: ");
        write(
            &path,
            ("TIMESTAMP", Series::new("".into(), [true, false]).into()),
            ["ContextTokens", "GeneratedTokens"],
        );
        let error = crate::traces::open(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(
            error.ends_with("TIMESTAMP is a column of another type than numbers or texts"),
            "{error}"
        );
        check("when", [0.0, 1.0], "header: \"when,o,user,i\" — expected t,i,o");
    }
}
