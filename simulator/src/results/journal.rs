//! The journal of a run, a record a line: `journal.jsonl`.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use optimizer::journal::{Record, RecordError};
use thiserror::Error;

use super::files::{Partial, ResultsError};

/// `journal.jsonl`, written while the run goes on. It stands in its place once it is finished.
#[derive(Debug)]
pub struct JournalFile {
    partial: Partial,
    out: BufWriter<File>,
}

impl JournalFile {
    /// Begins the file in `dir`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] when it cannot be written.
    pub fn create(dir: &Path) -> Result<Self, ResultsError> {
        let (partial, file) = Partial::create(dir, "journal.jsonl")?;
        Ok(Self { partial, out: BufWriter::new(file) })
    }

    /// Adds records.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] when they cannot be written.
    pub fn append(&mut self, records: &[Record]) -> Result<(), ResultsError> {
        for record in records {
            let written = writeln!(self.out, "{}", record.to_line());
            written.map_err(|error| self.partial.failed(error))?;
        }
        Ok(())
    }

    /// Ends the file, moves it to its place and returns its path.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] when it cannot be written or moved.
    pub fn finish(mut self) -> Result<PathBuf, ResultsError> {
        self.out.flush().map_err(|error| self.partial.failed(error))?;
        self.partial.finish()
    }
}

/// A journal cannot be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file itself.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A line of it.
    #[error("{}:{line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl JournalError {
    /// Something is wrong with a line.
    #[must_use]
    pub fn at(path: &Path, line: usize, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Line { path: path.to_owned(), line, source: source.into() }
    }
}

/// The records of a journal with the numbers of their lines, read one at a time.
///
/// # Errors
///
/// [`JournalError`] when the file cannot be opened. Each item may be one as well, after which the
/// rest is of no use.
pub fn read_journal(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(usize, Record), JournalError>> + use<>, JournalError> {
    let path = path.to_owned();
    let unreadable =
        |path: &Path, source| JournalError::Unreadable { path: path.to_owned(), source };
    let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
    Ok((1..).zip(BufReader::new(file).lines()).map(move |(line, text)| {
        let text = text.map_err(|error| unreadable(&path, error))?;
        let record = Record::parse(&text);
        record
            .map(|record| (line, record))
            .map_err(|error: RecordError| JournalError::at(&path, line, error))
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use optimizer::journal::Journal;
    use optimizer::units::Timestamp;
    use optimizer::{Controller, FleetObservation, Policy};

    use super::*;

    fn records(count: u64) -> Vec<Record> {
        let mut controller = Controller::new(Policy::default()).unwrap();
        let mut journal = Journal::default();
        let mut step = |at| {
            let now = Timestamp::from_nanos(at);
            journal.step(&mut controller, now, FleetObservation::default())
        };
        (0..count).map(&mut step).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let root = tempfile::tempdir().unwrap();
        let written = records(3);
        let mut file = JournalFile::create(root.path()).unwrap();
        file.append(&written[..1]).unwrap();
        file.append(&written[1..]).unwrap();
        assert!(!root.path().join("journal.jsonl").exists(), "it is not finished");
        let path = file.finish().unwrap();
        let read: Result<Vec<_>, _> = read_journal(&path).unwrap().collect();
        let expected: Vec<_> = (1..).zip(written).collect();
        assert_eq!(read.unwrap(), expected);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_file_and_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("j.jsonl");
        let error = read_journal(&path).err().unwrap();
        assert!(error.to_string().ends_with("j.jsonl"), "{error}");
        let line = records(1)[0].to_line();
        fs::write(&path, format!("{line}\n{}\n", &line[..40])).unwrap();
        let found: Vec<_> = read_journal(&path).unwrap().collect();
        assert!(found[0].is_ok());
        let error = found[1].as_ref().unwrap_err();
        assert!(error.to_string().ends_with("j.jsonl:2"), "{error}");
    }
}
