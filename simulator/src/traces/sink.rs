//! Traces as they are written.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use optimizer::units::Timestamp;
use thiserror::Error;

use super::parquet::ParquetSink;
use crate::workload::trace::{Record, azure, hashes};

/// A form in which traces are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CSV with the columns `arrived_at,num_prefill_tokens,num_decode_tokens`.
    Csv,
    /// JSON lines of Mooncake, with the prefixes that prompts have in common.
    JsonLines,
    /// Parquet with the columns of the CSV form and the model.
    Parquet,
}

impl Form {
    /// The form of a file by its name: `.csv`, `.jsonl` or `.parquet`, the first two also with
    /// `.gz` behind; `None` for other names.
    #[must_use]
    pub fn of(path: &Path) -> Option<(Self, bool)> {
        let name = path.file_name()?.to_str()?;
        let (name, packed) = name.strip_suffix(".gz").map_or((name, false), |name| (name, true));
        match name.rsplit_once('.')?.1 {
            "csv" => Some((Self::Csv, packed)),
            "jsonl" => Some((Self::JsonLines, packed)),
            "parquet" if !packed => Some((Self::Parquet, false)),
            _ => None,
        }
    }
}

/// A trace that is being written. The file appears, or is replaced, when it is whole: what is
/// written before stands in a file with `.part` behind its name, which goes when it is not finished.
pub struct Sink {
    path: PathBuf,
    part: PathBuf,
    /// `None` once it is finished.
    writer: Option<Writer>,
    requests: u64,
    last: Timestamp,
    /// The number of the next hash for text that nobody else has.
    fresh: u64,
    prefixes_lost: bool,
}

enum Writer {
    Csv(Box<dyn Write>),
    JsonLines(Box<dyn Write>),
    Parquet(Box<ParquetSink>),
}

/// A trace cannot be written.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The file's name does not end like one of the forms.
    #[error("{}: expected a name that ends with .csv, .jsonl, .csv.gz, .jsonl.gz or .parquet", .0.display())]
    Form(PathBuf),
    /// The system refuses.
    #[error("cannot write {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How many requests.
    pub requests: u64,
    /// When the last one arrives.
    pub last: Timestamp,
    /// Prompts had something in common, and the form cannot say so.
    pub prefixes_lost: bool,
}

impl Sink {
    /// Begins a file, in the form that its name tells.
    ///
    /// # Errors
    ///
    /// When the name tells no form, or the file cannot be created.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let (form, packed) = Form::of(path).ok_or_else(|| SinkError::Form(path.to_owned()))?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let begun = File::create(&part).and_then(|file| Writer::begin(form, packed, file));
        match begun {
            Ok(writer) => Ok(Self {
                path: path.to_owned(),
                part,
                writer: Some(writer),
                requests: 0,
                last: Timestamp::ZERO,
                fresh: FIRST_FRESH,
                prefixes_lost: false,
            }),
            Err(error) => Err(SinkError::Io { path: path.to_owned(), error }),
        }
    }

    /// Writes the next request.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn write(&mut self, record: Record) -> Result<(), SinkError> {
        self.requests += 1;
        self.last = record.at;
        let shares = !record.content.segments().is_empty();
        let written = match &mut self.writer {
            Some(Writer::Csv(to)) => {
                self.prefixes_lost |= shares;
                azure::write_row(record.at, record.prompt, record.output, to)
            }
            Some(Writer::JsonLines(to)) => {
                let hashes = hashes_of(&record, &mut self.fresh);
                hashes::write(&record, &hashes, to)
            }
            Some(Writer::Parquet(to)) => {
                self.prefixes_lost |= shares;
                to.write(record)
            }
            None => Ok(()),
        };
        written.map_err(|error| self.failed(error))
    }

    /// How many requests were written so far.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn finish(mut self) -> Result<Written, SinkError> {
        let ended = match self.writer.take() {
            Some(Writer::Csv(mut to) | Writer::JsonLines(mut to)) => to.flush(),
            Some(Writer::Parquet(to)) => to.finish(),
            None => Ok(()),
        };
        let placed = ended.and_then(|()| fs::rename(&self.part, &self.path));
        placed.map_err(|error| self.failed(error))?;
        let Self { requests, last, prefixes_lost, .. } = self;
        Ok(Written { requests, last, prefixes_lost })
    }

    fn failed(&self, error: io::Error) -> SinkError {
        SinkError::Io { path: self.path.clone(), error }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // After a rename there is nothing to remove, and there is nobody to tell of an error.
        let _ = fs::remove_file(&self.part);
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Writer {
    fn begin(form: Form, packed: bool, file: File) -> io::Result<Self> {
        if form == Form::Parquet {
            return Ok(Self::Parquet(Box::new(ParquetSink::new(file)?)));
        }
        let mut to: Box<dyn Write> = if packed {
            // The header of the archive has neither a time nor a name, so the bytes are a function
            // of the content. Dropping the encoder ends the archive, flushing it does not.
            Box::new(Gzip(Some(GzEncoder::new(BufWriter::new(file), Compression::default()))))
        } else {
            Box::new(BufWriter::new(file))
        };
        if form == Form::Csv {
            writeln!(to, "{}", azure::HEADER)?;
            return Ok(Self::Csv(to));
        }
        Ok(Self::JsonLines(to))
    }
}

/// An archive that is ended by its flush, so that an error is told.
struct Gzip(Option<GzEncoder<BufWriter<File>>>);

impl Write for Gzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |encoder| encoder.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.take() {
            Some(encoder) => encoder.finish()?.flush(),
            None => Ok(()),
        }
    }
}

/// Hashes for text of one's own begin here. Recorded ones are numbered from zero.
const FIRST_FRESH: u64 = 1 << 48;

/// One hash for each block of the prompt. Blocks that lie wholly within text that others have too
/// get its name; the others get one that nobody else has.
fn hashes_of(record: &Record, fresh: &mut u64) -> Vec<u64> {
    let block = u64::from(hashes::MOONCAKE_BLOCK);
    let blocks = record.prompt.get().div_ceil(block);
    let segments = record.content.segments();
    let mut hashes = Vec::with_capacity(usize::try_from(blocks).unwrap_or(0));
    if segments.iter().all(|segment| segment.tokens == hashes::MOONCAKE_BLOCK) {
        hashes.extend(segments.iter().map(|segment| segment.text.0));
        hashes.truncate(usize::try_from(blocks).unwrap_or(usize::MAX));
    } else {
        // A name for all that a prompt begins with up to here: FNV-1a over the texts so far.
        let (mut name, mut covered) = (0xcbf2_9ce4_8422_2325_u64, 0);
        for segment in segments {
            covered += u64::from(segment.tokens);
            name = (name ^ segment.text.0).wrapping_mul(0x0100_0000_01b3);
            while (hashes.len() as u64 + 1) * block <= covered {
                hashes.push((name ^ hashes.len() as u64).wrapping_mul(0x0100_0000_01b3) >> 16);
            }
        }
    }
    while (hashes.len() as u64) < blocks {
        hashes.push(*fresh);
        *fresh += 1;
    }
    hashes
}

#[cfg(test)]
mod tests {
    use optimizer::units::{Seconds, Tokens};

    use super::*;
    use crate::engine::{Content, Segment, TextId};
    use crate::traces::open;
    use crate::workload::trace::ReadOptions;

    fn record(seconds: f64, prompt: u64, texts: &[(u64, u32)]) -> Record {
        let segment = |&(text, tokens)| Segment { text: TextId(text), tokens };
        Record {
            at: Timestamp::ZERO + Seconds::new(seconds),
            prompt: Tokens::new(prompt),
            output: Tokens::new(7),
            model: None,
            content: Content::new(texts.iter().map(segment), None),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        // As many as there are in a row group, and some more.
        let count = (1 << 17) + 100;
        let at = |idx: u64| record(idx as f64 / 8.0, 1 + idx % 700, &[]);
        for name in ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let mut sink = Sink::create(&path).unwrap();
            (0..count).for_each(|idx| sink.write(at(idx)).unwrap());
            assert!(!path.exists(), "{name} appears when it is whole");
            assert_eq!(sink.finish().unwrap().requests, count);
            let mut reader = open(&path, &ReadOptions::default()).unwrap();
            for (idx, found) in (0..).zip(reader.by_ref()) {
                let found = Record { content: Content::default(), ..found };
                assert_eq!(found, at(idx), "{name}");
            }
            assert_eq!(reader.finish().unwrap().requests, count, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "before").unwrap();
        let mut sink = Sink::create(&path).unwrap();
        sink.write(record(0.0, 1, &[])).unwrap();
        drop(sink);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = Sink::create(&folder.path().join("t.txt")).unwrap_err().to_string();
        assert!(error.contains("expected a name that ends with .csv"), "{error}");
    }

    #[test]
    fn hashes_say_what_prompts_have_in_common() {
        let mut fresh = FIRST_FRESH;
        let mut hashes =
            |prompt, texts: &[(u64, u32)]| hashes_of(&record(0.0, prompt, texts), &mut fresh);
        assert_eq!(hashes(1000, &[(4, 512), (5, 512)]), [4, 5]);
        assert_eq!(hashes(600, &[(4, 512)]), [4, FIRST_FRESH]);
        // A prefix of 1100 tokens has two whole blocks; the third begins in it and differs.
        let (one, other) = (hashes(2000, &[(9, 1100)]), hashes(1300, &[(9, 1100)]));
        assert_eq!((one.len(), other.len(), &one[..2]), (4, 3, &other[..2]));
        assert_ne!(one[2], other[2]);
        assert_ne!(hashes(2000, &[(8, 1100)])[0], one[0]);
        assert!(one.iter().all(|&hash| hash <= FIRST_FRESH + 99));
    }
}
