//! Measurements, whatever wrote them.

mod guidellm;
mod inference_perf;
pub(super) mod prometheus;
mod requests;
mod vllm_bench;

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::CalibrationError;
use super::load::LoadStage;
use crate::validation::Run;

/// What was measured of one deployment: a model on a kind of GPU.
#[derive(Debug, Clone, Default)]
pub struct Measurements {
    /// Where it is from.
    pub files: Vec<SourceFile>,
    /// Runs of single requests.
    pub runs: Vec<Run>,
    /// Loads that did not change.
    pub stages: Vec<LoadStage>,
    /// The server, as far as the files say.
    pub server: ServerFacts,
    /// What was left out, and what else one should know.
    pub notes: Vec<String>,
}

/// A file, or the files of a folder, with measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The file or folder as it was named.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Requests or stages that are fitted to.
    pub used: usize,
    /// Requests or stages that are not.
    pub left_out: usize,
    /// The dates of the first and the last measurement, where the file has some.
    pub period: Option<(String, String)>,
}

/// What files say of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// The model.
    pub model: Option<String>,
    /// GPUs of one replica.
    pub tensor_parallel: Option<u32>,
    /// Prompt and output tokens of one request at most.
    pub max_model_len: Option<u32>,
    /// Tokens that one step computes at most.
    pub max_num_batched_tokens: Option<u32>,
    /// Sequences that run at once at most.
    pub max_num_seqs: Option<u32>,
    /// KV blocks.
    pub num_gpu_blocks: Option<u32>,
}

impl ServerFacts {
    /// Adds what `other` says; what is known already stays.
    fn learn(&mut self, other: Self) {
        let Self { model, tensor_parallel, max_model_len, .. } = other;
        self.model = self.model.take().or(model);
        self.tensor_parallel = self.tensor_parallel.or(tensor_parallel);
        self.max_model_len = self.max_model_len.or(max_model_len);
        let (tokens, seqs) = (other.max_num_batched_tokens, other.max_num_seqs);
        self.max_num_batched_tokens = self.max_num_batched_tokens.or(tokens);
        self.max_num_seqs = self.max_num_seqs.or(seqs);
        self.num_gpu_blocks = self.num_gpu_blocks.or(other.num_gpu_blocks);
    }
}

/// What files do not say and a reader may.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// The share of prompt tokens that the prefix cache held, from 0 to below 1, for load stages.
    /// Without it, it follows from the generator's description or from the server's counters, and is
    /// else zero.
    pub cached_fraction: Option<f64>,
    /// The model, in counters of several.
    pub model: Option<String>,
}

impl Measurements {
    /// Reads all files and folders.
    ///
    /// # Errors
    ///
    /// When one cannot be read, is broken, or is of no kind that is known.
    pub fn read(paths: &[PathBuf], options: &ReadOptions) -> Result<Self, CalibrationError> {
        let mut all = Self::default();
        for path in paths {
            all.add(Self::of_path(path, options)?);
        }
        Ok(all)
    }

    /// Adds those of `other`.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.runs.extend(other.runs);
        self.stages.extend(other.stages);
        self.server.learn(other.server);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    fn of_path(path: &Path, options: &ReadOptions) -> Result<Self, CalibrationError> {
        if path.is_dir() {
            if requests::is_run(path) {
                return requests::read(path);
            }
            let stages = inference_perf::stage_files(path)?;
            if stages.is_empty() {
                return Err(CalibrationError::Unrecognized(path.to_owned()));
            }
            return inference_perf::read(path, &stages, options);
        }
        let content = text(path)?;
        match kind_of(&content) {
            Some(Kind::Guidellm) => guidellm::read(path, &content, options),
            Some(Kind::VllmBench) => vllm_bench::read(path, &content, options),
            Some(Kind::Prometheus) => prometheus::read(path, &content, options),
            None => Err(CalibrationError::Unrecognized(path.to_owned())),
        }
    }

    /// Of the stages in one file. Those that no steady state describes are noted.
    fn of_stages(file: SourceFile, server: ServerFacts, candidates: Vec<Candidate>) -> Self {
        let mut all = Self { server, ..Self::default() };
        let total = candidates.len();
        for candidate in candidates {
            match candidate.judge() {
                Ok(stage) => all.stages.push(stage),
                Err(reason) => all.notes.push(reason),
            }
        }
        let used = all.stages.len();
        all.files.push(SourceFile { used, left_out: total - used, ..file });
        all
    }
}

enum Kind {
    Guidellm,
    VllmBench,
    Prometheus,
}

/// What the first JSON value of a file is. JSON that is broken further on is for the reader of the
/// kind to report, so a few names have to do.
fn kind_of(content: &str) -> Option<Kind> {
    let first = serde_json::Deserializer::from_str(content).into_iter::<Value>().next();
    let has = |name: &str| match &first {
        Some(Ok(value)) => value.get(name).is_some(),
        _ => content.contains(&format!("\"{name}\"")),
    };
    let kinds = [
        ("benchmarks", Kind::Guidellm),
        ("mean_ttft_ms", Kind::VllmBench),
        ("request_throughput", Kind::VllmBench),
        ("data", Kind::Prometheus),
    ];
    kinds.into_iter().find(|(name, _)| has(name)).map(|(_, kind)| kind)
}

/// A stage before it is judged.
#[derive(Debug)]
struct Candidate {
    stage: LoadStage,
    /// The requests that were answered, of those that arrived meanwhile.
    answered_share: f64,
}

/// A server that answers a smaller share of what arrives does not keep up.
const LEAST_ANSWERED: f64 = 0.95;

impl Candidate {
    /// The stage, or why it is left out.
    fn judge(self) -> Result<LoadStage, String> {
        let Self { stage, answered_share } = self;
        let LoadStage { rate, prompt_tokens, output_tokens, tpot, cached_fraction, .. } = stage;
        let numbers = [
            ("rate", rate, 0.0),
            ("prompt tokens", prompt_tokens, 0.0),
            ("output tokens", output_tokens, 1.0),
            ("time per output token", tpot, 0.0),
            ("time to first token", stage.ttft.unwrap_or(f64::MIN_POSITIVE), 0.0),
            ("latency", stage.e2e.unwrap_or(f64::MIN_POSITIVE), 0.0),
        ];
        let wrong =
            |&(_, number, above): &(&str, f64, f64)| !(number > above && number.is_finite());
        if let Some((what, number, above)) = numbers.into_iter().find(wrong) {
            return Err(format!("{}: left out: {what} {number}, not above {above}", stage.name));
        }
        let waits = stage.ttft.is_some_and(|ttft| ttft > tpot * (output_tokens - 1.0));
        if answered_share < LEAST_ANSWERED || waits {
            let percent = answered_share * 100.0;
            return Err(format!(
                "{}: left out: overloaded: {percent:.0} % answered in time, and the first token \
                 takes {:.2} s",
                stage.name,
                stage.ttft.unwrap_or_default()
            ));
        }
        if !(0.0..1.0).contains(&cached_fraction) {
            return Err(format!(
                "{}: left out: a share of {cached_fraction} of the prompts was cached",
                stage.name
            ));
        }
        Ok(stage)
    }
}

fn text(path: &Path) -> Result<String, CalibrationError> {
    fs::read_to_string(path)
        .map_err(|source| CalibrationError::Unreadable { path: path.to_owned(), source })
}

/// Reads `content`, which starts in line `line` of the file at `path`.
fn json<T: DeserializeOwned>(
    path: &Path,
    content: &str,
    line: usize,
) -> Result<T, CalibrationError> {
    let mut deserializer = serde_json::Deserializer::from_str(content);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    read.map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { format!("{field}: ") };
        let error = error.into_inner();
        CalibrationError::Malformed {
            path: path.to_owned(),
            line: line + error.line().saturating_sub(1),
            message: format!("{field}{error}"),
        }
    })
}

/// The last part of a path, which is enough to tell files apart in a note.
fn short(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
