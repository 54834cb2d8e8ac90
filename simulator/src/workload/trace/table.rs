//! Rows of CSV.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::mem;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator, Trim};

use super::fault::{Faults, TraceFault, excerpt};
use super::format::Format;
use super::layout::{Layout, Places};
use super::record::{Models, Row, Rows};
use crate::engine::{Content, Segment, TextId};

/// The rows of a CSV file. Columns may stand in any order, among any others.
#[derive(Debug)]
pub(super) struct Table<R> {
    records: Records<R>,
    /// `None` when there is no header to read rows by.
    columns: Option<Columns>,
}

impl<R: Read> Table<R> {
    /// Reads the header. Without one that names all columns of one of the `layouts`, a fault is
    /// added, and the table has no rows.
    ///
    /// `rules` says for a form whether lengths may be zero, and whether a time before that of the row
    /// above is a fault.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub(super) fn open(
        source: R,
        layouts: &[Layout],
        rules: impl Fn(Format) -> (bool, bool),
        faults: &mut Faults,
    ) -> io::Result<Self> {
        let mut records = Records::new(source);
        let accepted = || {
            let headers: Vec<_> = layouts.iter().map(Layout::required).collect();
            headers.join(" or ")
        };
        let header = if let Some((line, record)) = records.next()? {
            Header::read(record, layouts).map_err(|fault| match fault {
                Unreadable::NotUtf8(value) => {
                    TraceFault::NotUtf8 { line, column: "header".to_owned(), value }
                }
                Unreadable::Unknown(found) => {
                    TraceFault::UnknownHeader { line, found, accepted: accepted() }
                }
            })
        } else {
            Err(TraceFault::Empty { accepted: accepted() })
        };
        let header = header.map_err(|fault| faults.add(fault));
        let columns = header.ok().map(|header| {
            let (zeros, sorted) = rules(header.layout.format);
            Columns {
                header,
                zeros,
                previous: sorted.then_some((i64::MIN, 0)),
                models: Models::default(),
                prefixes: BTreeMap::new(),
            }
        });
        Ok(Self { records, columns })
    }

    /// The layout that the header has.
    pub(super) fn layout(&self) -> Option<&Layout> {
        self.columns.as_ref().map(|columns| &columns.header.layout)
    }
}

impl<R: Read + std::fmt::Debug> Rows for Table<R> {
    fn next_row(&mut self, faults: &mut Faults) -> io::Result<Option<Row>> {
        let Some(columns) = &mut self.columns else { return Ok(None) };
        while let Some((line, record)) = self.records.next()? {
            if let Some(row) = columns.row(record, line, faults) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn ignored_columns(&self) -> &[String] {
        self.columns.as_ref().map_or(&[], |columns| &columns.header.ignored)
    }
}

/// The lines of a file, cut into fields.
#[derive(Debug)]
struct Records<R> {
    reader: Reader<io::Chain<R, &'static [u8]>>,
    record: ByteRecord,
}

impl<R: Read> Records<R> {
    fn new(source: R) -> Self {
        // The break that is added after the last line ends that line too. So every record has just
        // ended its line when its number is asked for. Of a CR LF pair, the CR is trimmed off.
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .trim(Trim::All)
            .from_reader(source.chain(&b"\n"[..]));
        Self { reader, record: ByteRecord::new() }
    }

    /// The next line that is not blank, and its number.
    fn next(&mut self) -> io::Result<Option<(u64, &ByteRecord)>> {
        while self.reader.read_byte_record(&mut self.record)? {
            if self.record.len() > 1 || !self.record[0].is_empty() {
                return Ok(Some((self.reader.position().line() - 1, &self.record)));
            }
        }
        Ok(None)
    }
}

/// The first line of a file.
#[derive(Debug)]
struct Header {
    names: Vec<String>,
    layout: Layout,
    places: Places,
    ignored: Vec<String>,
}

/// A header that cannot be used, as it stands.
enum Unreadable {
    NotUtf8(String),
    Unknown(String),
}

impl Header {
    fn read(record: &ByteRecord, layouts: &[Layout]) -> Result<Self, Unreadable> {
        let found = || excerpt(&record.iter().collect::<Vec<_>>().join(&b","[..]));
        let names = record
            .iter()
            .map(|name| str::from_utf8(name).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Unreadable::NotUtf8(found()))?;
        let fits = |layout: &Layout| Some((layout.clone(), layout.places(&names)?));
        let (layout, places) =
            layouts.iter().find_map(fits).ok_or_else(|| Unreadable::Unknown(found()))?;
        let ignored = names.iter().enumerate().filter(|&(idx, _)| !places.uses(idx));
        let ignored = ignored.map(|(_, name)| name.clone()).collect();
        Ok(Self { names, layout, places, ignored })
    }
}

/// Turns lines into rows.
#[derive(Debug)]
struct Columns {
    header: Header,
    zeros: bool,
    /// Time and line of the row above; `None` where rows may come in any order.
    previous: Option<(i64, u64)>,
    models: Models,
    /// A number for each name of a text.
    prefixes: BTreeMap<Vec<u8>, u64>,
}

impl Columns {
    /// The row in a line; `None` when the line has a fault.
    fn row(&mut self, record: &ByteRecord, line: u64, faults: &mut Faults) -> Option<Row> {
        let (found, expected) = (record.len(), self.header.names.len());
        if found != expected {
            let missing = self.header.names.get(found).cloned();
            faults.add(TraceFault::FieldCount { line, found, expected, missing });
            return None;
        }
        let Header { layout, places, .. } = &self.header;
        let at = Field { bytes: &record[places.arrival], line, column: &layout.arrival };
        // All fields are read before the first fault counts, so that each is reported.
        let clock = layout.clock;
        let nanos = at.read(faults, clock.expected(), |text| clock.nanos(text));
        let (least, expected) = if self.zeros { (0, ANY_TOKENS) } else { (1, TOKENS) };
        let tokens = |faults: &mut Faults, column, place: usize| {
            let parse = |text: &str| text.parse::<u32>().ok().filter(|&count| count >= least);
            Field { bytes: &record[place], line, column }.read(faults, expected, parse)
        };
        let prompt = tokens(faults, &layout.prompt, places.prompt);
        let output = tokens(faults, &layout.output, places.output);
        let nanos = nanos?;
        let above = self.previous.as_mut().map(|above| mem::replace(above, (nanos, line)));
        if let Some((above, previous)) = above
            && nanos < above
        {
            let (column, value) = (at.column.to_owned(), excerpt(at.bytes));
            faults.add(TraceFault::Unordered { line, column, value, previous });
            return None;
        }
        let (prompt, output) = (prompt?, output?);
        let text = |place: Option<usize>| {
            place.map_or(Cow::Borrowed(""), |place| String::from_utf8_lossy(&record[place]))
        };
        let failed = prompt == 0 || output == 0 || !SERVED.contains(&&*text(places.status));
        let model = self.models.shared(&text(places.model));
        let content = places.prefix.map_or_else(Content::default, |[group, length]| {
            prefix(&mut self.prefixes, &record[group], &record[length], prompt)
        });
        Some(Row { line, nanos, exact: false, prompt, output, failed, model, content })
    }
}

/// The words for a request that was served. Files without such a column have none.
const SERVED: [&str; 4] = ["", "ok", "completed", "success"];

const TOKENS: &str = "a whole number of tokens from 1 to 4294967295";

const ANY_TOKENS: &str = "a whole number of tokens from 0 to 4294967295";

/// The text that a group of requests begins with. A length that is no number is none.
fn prefix(
    numbers: &mut BTreeMap<Vec<u8>, u64>,
    group: &[u8],
    length: &[u8],
    prompt: u32,
) -> Content {
    let length = str::from_utf8(length).ok().and_then(|text| text.parse::<u32>().ok());
    let tokens = length.unwrap_or(0).min(prompt);
    if group.is_empty() || tokens == 0 {
        return Content::default();
    }
    let fresh = numbers.len() as u64;
    let number = match numbers.get(group) {
        Some(&known) => known,
        None => *numbers.entry(group.to_owned()).or_insert(fresh),
    };
    Content::new([Segment { text: TextId(number), tokens }], None)
}

/// One field of a line.
#[derive(Debug)]
struct Field<'r> {
    bytes: &'r [u8],
    line: u64,
    column: &'r str,
}

impl Field<'_> {
    /// The value that `parse` finds in the text; otherwise adds a fault.
    fn read<T>(
        &self,
        faults: &mut Faults,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (line, column) = (self.line, || self.column.to_owned());
        let Ok(text) = str::from_utf8(self.bytes) else {
            let value = excerpt(self.bytes);
            faults.add(TraceFault::NotUtf8 { line, column: column(), value });
            return None;
        };
        let value = parse(text);
        if value.is_none() {
            let value = excerpt(self.bytes);
            faults.add(TraceFault::Value { line, column: column(), value, expected });
        }
        value
    }
}
