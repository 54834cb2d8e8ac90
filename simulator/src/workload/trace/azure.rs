//! Traces in the columns of the Azure Public Dataset.
//!
//! | columns | time |
//! |---|---|
//! | `TIMESTAMP,ContextTokens,GeneratedTokens` | a date and time, such as `2023-11-16 18:15:46.6805900`; the first row becomes time zero. A time without an offset from UTC is in UTC |
//! | `arrived_at,num_prefill_tokens,num_decode_tokens` | seconds, taken as they are |
//!
//! The first is the form in which Azure publishes its LLM inference traces, the second the one to
//! which simulators reduce it. The header says which of the two a file has. Columns may stand in
//! any order, and others are ignored.
//!
//! A request has at least one token of prompt and one of output. Azure's conversation trace of 2023
//! has no row with a zero; in other recordings a zero stands for a request that failed, and that
//! is no load that anyone could replay. So a zero is a fault.

use std::io::{self, Read, Write};

use csv::{ByteRecord, ReaderBuilder, Terminator, Trim};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use optimizer::units::{Timestamp, Tokens};

use super::fault::{Faults, TraceFault};
use crate::engine::Content;
use crate::workload::Arrival;

/// Writes requests in the second form, with times to the microsecond. Requests whose times are
/// whole microseconds are read back exactly as they were.
///
/// # Errors
///
/// When writing fails.
pub fn write(arrivals: &[Arrival], mut to: impl Write) -> io::Result<()> {
    writeln!(to, "{}", REDUCED.columns.join(","))?;
    for Arrival { at, prompt, output, .. } in arrivals {
        let micros = at.as_nanos().saturating_add(500) / 1000;
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        writeln!(to, "{seconds}.{fraction:06},{prompt},{output}")?;
    }
    to.flush()
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) ignored_columns: Vec<String>,
}

/// Reads a whole file. What it holds is of use only when no fault was added.
///
/// # Errors
///
/// When reading fails.
pub(super) fn read(source: impl Read, faults: &mut Faults) -> io::Result<Contents> {
    // The break that is added after the last line ends that line too. So every record has just
    // ended its line when its number is asked for. Of a CR LF pair, the CR is trimmed off.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(Terminator::Any(b'\n'))
        .trim(Trim::All)
        .from_reader(source.chain(&b"\n"[..]));
    let mut record = ByteRecord::new();
    let mut contents = Contents::default();
    let mut rows: Option<Rows> = None;
    while reader.read_byte_record(&mut record)? {
        let line = reader.position().line() - 1;
        if record.len() == 1 && record[0].is_empty() {
            continue;
        }
        match &mut rows {
            Some(rows) => contents.arrivals.extend(rows.arrival(&record, line, faults)),
            None => match Header::read(&record, line) {
                Ok(header) => {
                    contents.ignored_columns = header.ignored();
                    rows = Some(Rows::below(header));
                }
                // Without the columns' names, rows mean nothing.
                Err(fault) => {
                    faults.add(fault);
                    return Ok(contents);
                }
            },
        }
    }
    if rows.is_none() {
        faults.add(TraceFault::Empty { accepted: accepted_headers() });
    } else if contents.arrivals.is_empty() && faults.is_empty() {
        faults.add(TraceFault::NoRows);
    }
    Ok(contents)
}

/// A set of columns: the arrival, the prompt, the output.
#[derive(Debug, Clone, Copy)]
struct Form {
    columns: [&'static str; 3],
    clock: Clock,
}

/// How a form tells the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Calendar,
    Seconds,
}

const PUBLISHED: Form =
    Form { columns: ["TIMESTAMP", "ContextTokens", "GeneratedTokens"], clock: Clock::Calendar };

const REDUCED: Form = Form {
    columns: ["arrived_at", "num_prefill_tokens", "num_decode_tokens"],
    clock: Clock::Seconds,
};

fn accepted_headers() -> String {
    [PUBLISHED, REDUCED].map(|form| form.columns.join(",")).join(" or ")
}

/// The first line of a file.
#[derive(Debug)]
struct Header {
    names: Vec<String>,
    form: Form,
    /// Where the form's columns stand.
    places: [usize; 3],
}

impl Header {
    fn read(record: &ByteRecord, line: u64) -> Result<Self, TraceFault> {
        let found = || excerpt(&record.iter().collect::<Vec<_>>().join(&b","[..]));
        let names = record
            .iter()
            .map(|name| str::from_utf8(name).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TraceFault::NotUtf8 { line, column: "header", value: found() })?;
        let places = |form: Form| {
            let [at, prompt, output] =
                form.columns.map(|column| names.iter().position(|name| name == column));
            Some((form, [at?, prompt?, output?]))
        };
        let (form, places) =
            [PUBLISHED, REDUCED].into_iter().find_map(places).ok_or_else(|| {
                TraceFault::UnknownHeader { line, found: found(), accepted: accepted_headers() }
            })?;
        Ok(Self { names, form, places })
    }

    fn ignored(&self) -> Vec<String> {
        let used = |place: &usize| self.places.contains(place);
        let names = self.names.iter().enumerate().filter(|(place, _)| !used(place));
        names.map(|(_, name)| name.clone()).collect()
    }
}

/// Turns rows into requests.
#[derive(Debug)]
struct Rows {
    header: Header,
    /// What counts as time zero, in nanoseconds of the form's clock; known from the first row on.
    epoch: Option<i128>,
    /// Time and line of the row above.
    previous: (i128, u64),
}

impl Rows {
    const fn below(header: Header) -> Self {
        let epoch = match header.form.clock {
            Clock::Calendar => None,
            Clock::Seconds => Some(0),
        };
        Self { header, epoch, previous: (i128::MIN, 0) }
    }

    /// The request in a row; `None` when the row has a fault.
    fn arrival(&mut self, record: &ByteRecord, line: u64, faults: &mut Faults) -> Option<Arrival> {
        let (found, expected) = (record.len(), self.header.names.len());
        if found != expected {
            let missing = self.header.names.get(found).cloned();
            faults.add(TraceFault::FieldCount { line, found, expected, missing });
            return None;
        }
        let clock = self.header.form.clock;
        let [at, prompt, output] = [0, 1, 2].map(|idx| Field {
            bytes: &record[self.header.places[idx]],
            line,
            column: self.header.form.columns[idx],
        });
        // All three fields are read before the first fault counts, so that each is reported.
        let nanos = at.read(faults, clock.expected(), |text| clock.nanos(text));
        let prompt = prompt.read(faults, TOKENS, tokens);
        let output = output.read(faults, TOKENS, tokens);
        let nanos = nanos?;
        let (above, previous) = std::mem::replace(&mut self.previous, (nanos, line));
        if nanos < above {
            let (column, value) = (at.column, excerpt(at.bytes));
            faults.add(TraceFault::Unordered { line, column, value, previous });
            return None;
        }
        let epoch = *self.epoch.get_or_insert(nanos);
        // A row before the epoch follows an unordered one, so the file is refused anyway.
        let at = Timestamp::from_nanos(u64::try_from(nanos - epoch).unwrap_or(u64::MAX));
        Some(Arrival { at, prompt: prompt?, output: output?, content: Content::default() })
    }
}

/// One field of a row.
#[derive(Debug, Clone, Copy)]
struct Field<'r> {
    bytes: &'r [u8],
    line: u64,
    column: &'static str,
}

impl Field<'_> {
    /// The value that `parse` finds in the text; otherwise adds a fault.
    fn read<T>(
        self,
        faults: &mut Faults,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Self { line, column, .. } = self;
        let Ok(text) = str::from_utf8(self.bytes) else {
            faults.add(TraceFault::NotUtf8 { line, column, value: excerpt(self.bytes) });
            return None;
        };
        let value = parse(text);
        if value.is_none() {
            faults.add(TraceFault::Value { line, column, value: excerpt(self.bytes), expected });
        }
        value
    }
}

impl Clock {
    const fn expected(self) -> &'static str {
        match self {
            Self::Calendar => "a date and time, such as 2023-11-16 18:15:46.6805900",
            Self::Seconds => "a number of seconds, finite and not negative",
        }
    }

    fn nanos(self, text: &str) -> Option<i128> {
        match self {
            Self::Calendar => {
                let pieces = Pieces::parse(text).ok()?;
                let time = pieces.date().to_datetime(pieces.time()?);
                let zone = pieces.to_numeric_offset().map_or(TimeZone::UTC, TimeZone::fixed);
                Some(zone.to_timestamp(time).ok()?.as_nanosecond())
            }
            Self::Seconds => {
                let seconds: f64 = text.parse().ok()?;
                // Beyond this, which is 584 years, nanoseconds do not fit their type.
                let range = 0.0..u64::MAX as f64 / 1e9;
                range.contains(&seconds).then(|| Timestamp::from_seconds(seconds).as_nanos().into())
            }
        }
    }
}

/// The beginning of a text, for a message; what is no text shows as �.
fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 120;
    match bytes.get(..LONGEST) {
        Some(beginning) => format!("{}…", String::from_utf8_lossy(beginning)),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

const TOKENS: &str = "a whole number of tokens from 1 to 4294967295";

/// More tokens than 32 bits can count are no request but a slip of columns.
fn tokens(text: &str) -> Option<Tokens> {
    text.parse::<u32>().ok().filter(|&count| count > 0).map(|count| Tokens::new(count.into()))
}

#[cfg(test)]
mod tests;
