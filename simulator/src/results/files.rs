//! Writing the files of a run, each of them whole or not at all.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::decisions::write_jsonl;
use super::parquet::{RequestsWriter, write_timeseries};
use super::plot::Figure;
use super::report::{self, ReportInput};
use super::run_info::RunInfo;
use crate::records::{Recording, RequestRecord};

/// A file of the results cannot be written.
#[derive(Debug, Error)]
#[error("cannot write {}", path.display())]
pub struct ResultsError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// `requests.parquet`, written while the run goes on. It stands in its place once it is finished.
#[derive(Debug)]
pub struct RequestsFile {
    partial: Partial,
    writer: RequestsWriter<BufWriter<File>>,
}

impl RequestsFile {
    /// Begins the file in `dir`, which is made if it is not there. `recording` has the models and
    /// variants of the run.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] when it cannot be written.
    pub fn create(dir: &Path, recording: &Recording) -> Result<Self, ResultsError> {
        let (partial, file) = Partial::create(dir, "requests.parquet")?;
        let writer = RequestsWriter::new(recording, BufWriter::new(file));
        let writer = writer.map_err(|error| partial.failed(error))?;
        Ok(Self { partial, writer })
    }

    /// Adds requests, whose rows follow those before.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] when they cannot be written.
    pub fn append(&mut self, requests: Vec<RequestRecord>) -> Result<(), ResultsError> {
        self.writer.append(requests).map_err(|error| self.partial.failed(error))
    }

    /// Ends the file, moves it to its place and returns its path.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] when it cannot be written or moved.
    pub fn finish(self) -> Result<PathBuf, ResultsError> {
        self.writer.finish().map_err(|error| self.partial.failed(error))?;
        self.partial.finish()
    }
}

/// A file that is written while the run goes on, beside its place. Unless it is finished, it is
/// removed: half a file has no use.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    partial: PathBuf,
}

impl Partial {
    /// Begins the file `name` in `dir`, which is made if it is not there.
    pub(super) fn create(dir: &Path, name: &str) -> Result<(Self, File), ResultsError> {
        make(dir)?;
        let file = Self { path: dir.join(name), partial: partial(dir, name) };
        let opened = File::create(&file.partial).map_err(|error| file.failed(error))?;
        Ok((file, opened))
    }

    /// Moves the file to its place and returns its path.
    pub(super) fn finish(self) -> Result<PathBuf, ResultsError> {
        fs::rename(&self.partial, &self.path).map_err(|error| self.failed(error))?;
        Ok(self.path.clone())
    }

    pub(super) fn failed(&self, error: impl Error + Send + Sync + 'static) -> ResultsError {
        ResultsError { path: self.path.clone(), source: error.into() }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // There is nothing left of a finished file.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes all files of a run but `run.json` and `requests.parquet` to `dir`, which is made if it is
/// not there, and returns their paths in the order of writing. Files of an earlier run are replaced.
///
/// # Errors
///
/// [`ResultsError`] names the first path that cannot be written; files before it are complete.
pub fn write(dir: &Path, input: &ReportInput<'_>) -> Result<Vec<PathBuf>, ResultsError> {
    make(dir)?;
    let recording = input.recording;
    let latency = Figure::latency(recording);
    let timeline = Figure::timeline(recording, input.kv_threshold);
    Ok(vec![
        whole(dir, "summary.json", |path| json(path, input.summary))?,
        whole(dir, "timeseries.parquet", |path| {
            stream(path, |out| Ok(write_timeseries(recording, out)?))
        })?,
        whole(dir, "decisions.jsonl", |path| stream(path, |out| Ok(write_jsonl(recording, out)?)))?,
        whole(dir, "latency.svg", |path| Ok(fs::write(path, latency.svg()?)?))?,
        whole(dir, "latency.png", |path| Ok(latency.write_png(path)?))?,
        whole(dir, "timeline.svg", |path| Ok(fs::write(path, timeline.svg()?)?))?,
        whole(dir, "timeline.png", |path| Ok(timeline.write_png(path)?))?,
        whole(dir, "report.html", |path| Ok(fs::write(path, report::render(input)?)?))?,
    ])
}

/// Writes `run.json` to `dir` and returns its path.
///
/// # Errors
///
/// [`ResultsError`] when it cannot be written.
pub fn write_run_info(dir: &Path, info: &RunInfo) -> Result<PathBuf, ResultsError> {
    make(dir)?;
    whole(dir, "run.json", |path| json(path, info))
}

type Written = Result<(), Box<dyn Error + Send + Sync>>;

fn make(dir: &Path) -> Result<(), ResultsError> {
    fs::create_dir_all(dir)
        .map_err(|error| ResultsError { path: dir.to_owned(), source: error.into() })
}

/// Lets `fill` write a file beside the real one and moves it there, so that whoever looks at the
/// folder, even after a crash, never sees half a file.
fn whole(
    dir: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Written,
) -> Result<PathBuf, ResultsError> {
    let (partial, path) = (partial(dir, name), dir.join(name));
    let written = fill(&partial).and_then(|()| Ok(fs::rename(&partial, &path)?));
    match written {
        Ok(()) => Ok(path),
        Err(source) => {
            // What is left of it has no use; that it cannot be removed is not what went wrong.
            let _ = fs::remove_file(&partial);
            Err(ResultsError { path, source })
        }
    }
}

/// Where a file is written. The name keeps its end, because the encoder of pictures goes by it.
fn partial(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".partial-{name}"))
}

fn json(path: &Path, value: &impl serde::Serialize) -> Written {
    stream(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        Ok(out.write_all(b"\n")?)
    })
}

fn stream(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Written) -> Written {
    let mut out = BufWriter::new(File::create(path)?);
    fill(&mut out)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::*;
    use crate::results::sample::{self, Shape};
    use crate::results::summary::Summary;

    const NAMES: [&str; 9] = [
        "requests.parquet",
        "summary.json",
        "timeseries.parquet",
        "decisions.jsonl",
        "latency.svg",
        "latency.png",
        "timeline.svg",
        "timeline.png",
        "report.html",
    ];

    fn written(dir: &Path) -> Result<Vec<PathBuf>, ResultsError> {
        let recording = sample::recording(Shape { requests: 300, samples: 30, ..Shape::HALF_HOUR });
        let summary = Summary::of(&recording);
        let input = ReportInput {
            recording: &recording,
            summary: &summary,
            description: "",
            scenario_text: "name: diurnal",
            policy_text: "",
            kv_threshold: None,
            version: None,
        };
        let mut requests = RequestsFile::create(dir, &recording)?;
        requests.append(recording.requests.clone())?;
        let mut files = vec![requests.finish()?];
        files.extend(write(dir, &input)?);
        Ok(files)
    }

    #[test]
    fn all_files_are_written_whole_and_equal_for_equal_runs() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("a/b"), root.path().join("c"));
        let paths = written(&one).unwrap();
        written(&other).unwrap();
        assert_eq!(paths, NAMES.map(|name| one.join(name)));
        for name in NAMES {
            let bytes = fs::read(one.join(name)).unwrap();
            assert!(!bytes.is_empty(), "{name}");
            assert!(bytes == fs::read(other.join(name)).unwrap(), "{name} differs");
        }
        // Nothing partial is left.
        assert_eq!(fs::read_dir(&one).unwrap().count(), NAMES.len());
        let png = fs::read(one.join("latency.png")).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    }

    #[test]
    fn an_error_names_the_path_and_leaves_no_partial_file() {
        let root = tempfile::tempdir().unwrap();
        // A folder that is not empty stands where a file should go.
        fs::create_dir_all(root.path().join("decisions.jsonl/x")).unwrap();
        let error = written(root.path()).unwrap_err();
        assert_eq!(error.path, root.path().join("decisions.jsonl"));
        assert!(error.to_string().ends_with("decisions.jsonl"), "{error}");
        assert!(!root.path().join(".partial-decisions.jsonl").exists());
        assert!(root.path().join("requests.parquet").exists());
    }

    #[test]
    fn the_run_information_is_a_file_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let summary = Summary::of(&sample::recording(Shape::HALF_HOUR));
        let info = RunInfo::new("0.1.0", &summary, Seconds::new(0.5));
        let path = write_run_info(root.path(), &info).unwrap();
        let read: RunInfo = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(read, info);
    }
}
