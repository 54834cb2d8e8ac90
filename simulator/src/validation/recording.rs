//! One recorded run, as it lies in its folder.
//!
//! | file | what |
//! |---|---|
//! | `meta.json` | model and engine arguments, and mostly the KV blocks |
//! | `requests.jsonl` | one request a line: tokens, and the times of its way through the server |
//! | `timeseries.csv`, optional | running and waiting sequences, once a second |
//! | `layers/`, optional | timings of layers on the same GPU |
//! | `peer-simulator-errors.txt`, optional | what another simulator reached on the run |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::peer::PeerErrors;
use crate::engine::step_time::table::TableError;
use crate::engine::{EngineArgs, EngineConfigError, Rejection};

/// A run of a real server.
#[derive(Debug, Clone)]
pub struct Run {
    /// The name of its folder.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The GPU, as its vendor calls it; the name of the folder when the run does not say.
    pub gpu: String,
    /// The model.
    pub model: String,
    /// GPUs that share each layer.
    pub tensor_parallel: u32,
    /// With which arguments the server ran.
    pub engine: EngineArgs,
    /// The batch sizes of its CUDA graphs, in tokens; `None` when the run does not say.
    pub capture_sizes: Option<Vec<u32>>,
    /// Requests in the order of their arrival. Complete ones only.
    pub requests: Vec<RecordedRequest>,
    /// Running and waiting sequences over time; may be empty.
    pub samples: Vec<Sample>,
    /// What another simulator reached.
    pub peer: PeerErrors,
    /// What a reader of results should know.
    pub notes: Vec<String>,
}

/// What a real server did with one request. All times are on one clock, in seconds after the
/// first arrival.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedRequest {
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
    /// When it reached the front end.
    pub arrival: f64,
    /// When the scheduler first knew of it. A scheduler looks once a step.
    pub queued: f64,
    /// When its first token came.
    pub first_token: f64,
    /// When its last token came.
    pub last_token: f64,
}

/// How full a server was.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Sample {
    /// When, in seconds after the start of the run.
    pub t: f64,
    /// Sequences in the batch.
    pub running: f64,
    /// Sequences in the queue.
    pub waiting: f64,
}

/// A run that cannot be compared.
#[derive(Debug, Error)]
pub enum RunError {
    /// A file cannot be read.
    #[error("{file}: cannot be read: {source}", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file}:{line}: {message}", file = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from one.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// No request of the run has all its tokens and times.
    #[error("{file}: no request has all its tokens and times", file = .0.display())]
    NoRequests(PathBuf),
    /// An engine argument without which nothing can be replayed is missing.
    #[error("{file}: {argument} is missing", file = file.display())]
    MissingArgument {
        /// The file.
        file: PathBuf,
        /// The argument.
        argument: &'static str,
    },
    /// No engine starts with these arguments.
    #[error("meta.json: {0}")]
    Engine(#[from] EngineConfigError),
    /// A request does not fit the context.
    #[error("requests.jsonl: {0}")]
    Request(#[from] Rejection),
    /// A layer table is wrong.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The model's number of blocks is not known.
    #[error(
        "model {0}: its number of transformer blocks is not known — put the model's config.json \
         into the folder of the run"
    )]
    UnknownModel(String),
    /// Something that the run has is not simulated.
    #[error("not read yet: {0}")]
    NotYet(String),
}

impl Run {
    /// Reads the run in `folder`.
    ///
    /// # Errors
    ///
    /// When a file is missing or broken, or no request is complete.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let path = folder.join("meta.json");
        let meta: Meta = json(&path, &text(&path)?, 1)?;
        let kwargs = &meta.engine_kwargs;
        if kwargs.data_parallel_size.unwrap_or(1) > 1 {
            return Err(RunError::NotYet("runs with data parallelism".to_owned()));
        }
        let mut notes = Vec::new();
        let requests = requests(&folder.join("requests.jsonl"), &mut notes)?;
        let engine = meta.engine_args(&path, &requests, &mut notes)?;
        Ok(Self {
            gpu: gpu(&meta, folder).unwrap_or_else(|| name.clone()),
            tensor_parallel: kwargs.tensor_parallel_size.unwrap_or(1),
            capture_sizes: meta.capture_sizes(),
            model: meta.model,
            engine,
            requests,
            samples: samples(&folder.join("timeseries.csv"))?,
            peer: PeerErrors::read(folder)?,
            notes,
            name,
            folder: folder.to_owned(),
        })
    }
}

#[derive(Debug, Deserialize)]
struct Meta {
    model: String,
    engine_kwargs: EngineKwargs,
    kv_cache: Option<KvCache>,
    hardware: Option<Hardware>,
    resolved_config: Option<ResolvedConfig>,
}

#[derive(Debug, Deserialize)]
struct EngineKwargs {
    tensor_parallel_size: Option<u32>,
    data_parallel_size: Option<u32>,
    max_num_seqs: Option<u32>,
    max_num_batched_tokens: Option<u32>,
    max_model_len: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct KvCache {
    num_gpu_blocks: Option<u32>,
    block_size: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Hardware {
    device_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ResolvedConfig {
    compilation_config: Option<CompilationConfig>,
    scheduler_config: Option<SchedulerConfig>,
}

#[derive(Debug, Deserialize)]
struct SchedulerConfig {
    async_scheduling: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct CompilationConfig {
    cudagraph_capture_sizes: Option<Vec<u32>>,
}

impl Meta {
    fn capture_sizes(&self) -> Option<Vec<u32>> {
        self.resolved_config.as_ref()?.compilation_config.as_ref()?.cudagraph_capture_sizes.clone()
    }

    /// On by default, in every version that writes such a file.
    fn async_scheduling(&self) -> bool {
        let scheduler = self.resolved_config.as_ref().and_then(|c| c.scheduler_config.as_ref());
        scheduler.and_then(|config| config.async_scheduling).unwrap_or(true)
    }

    fn engine_args(
        &self,
        file: &Path,
        requests: &[RecordedRequest],
        notes: &mut Vec<String>,
    ) -> Result<EngineArgs, RunError> {
        let needed = |value: Option<u32>, argument| {
            value.ok_or_else(|| RunError::MissingArgument { file: file.to_owned(), argument })
        };
        let kwargs = &self.engine_kwargs;
        let max_num_seqs = needed(kwargs.max_num_seqs, "max_num_seqs")?;
        let block_size = self.kv_cache.as_ref().and_then(|cache| cache.block_size).unwrap_or(16);
        let lengths = requests.iter().map(|request| request.prompt_tokens + request.output_tokens);
        let longest = lengths.max().unwrap_or(1);
        let blocks = self.kv_cache.as_ref().and_then(|cache| cache.num_gpu_blocks);
        let num_gpu_blocks = blocks.unwrap_or_else(|| {
            notes.push(
                "meta.json has no count of KV blocks: the cache is taken to hold every sequence \
                 that may run"
                    .to_owned(),
            );
            // One more for the null block.
            longest.div_ceil(block_size).saturating_mul(max_num_seqs).saturating_add(1)
        });
        Ok(EngineArgs {
            max_num_seqs,
            max_num_batched_tokens: needed(
                kwargs.max_num_batched_tokens,
                "max_num_batched_tokens",
            )?,
            // Without it the model's own limit holds, which no recorded request exceeded.
            max_model_len: kwargs.max_model_len.unwrap_or(longest),
            block_size,
            num_gpu_blocks,
            async_scheduling: self.async_scheduling(),
            ..EngineArgs::DEFAULT
        })
    }
}

/// The GPU by its own name, from the run or from the layer timings beside it.
///
/// The profiler's `meta.yaml` has keys that are numbers, which a [`Document`](crate::document)
/// refuses, so its one line is looked for as text.
fn gpu(meta: &Meta, folder: &Path) -> Option<String> {
    let own = meta.hardware.as_ref().and_then(|hardware| hardware.device_name.clone());
    own.or_else(|| {
        let text = fs::read_to_string(folder.join("layers/meta.yaml")).ok()?;
        let name = text.lines().find_map(|line| line.strip_prefix("gpu:"))?;
        Some(name.trim().to_owned())
    })
}

/// A line of `requests.jsonl`. A request that failed lacks some of it.
#[derive(Debug, Deserialize)]
struct RequestLine {
    input_toks: Option<u32>,
    output_toks: Option<u32>,
    /// Seconds on the wall clock.
    arrival_time: Option<f64>,
    /// Seconds on the clock of the engine, as all that follow.
    queued_ts: Option<f64>,
    first_token_ts: Option<f64>,
    last_token_ts: Option<f64>,
}

impl RequestLine {
    /// The request with the arrival on its own clock yet; `None` when something is missing, or
    /// when it ends before it begins.
    fn complete(&self) -> Option<RecordedRequest> {
        let queued = self.queued_ts?;
        let request = RecordedRequest {
            prompt_tokens: self.input_toks.filter(|&tokens| tokens > 0)?,
            output_tokens: self.output_toks.filter(|&tokens| tokens > 0)?,
            arrival: self.arrival_time.unwrap_or(queued),
            queued,
            first_token: self.first_token_ts?,
            last_token: self.last_token_ts?,
        };
        let ordered = queued <= request.first_token && request.first_token <= request.last_token;
        ordered.then_some(request)
    }
}

/// What the front end may take until the scheduler knows of a request, in seconds: a step, and a
/// little. Beyond it the clocks are not believed.
const MOST_FRONT_END: f64 = 2.0;

fn requests(path: &Path, notes: &mut Vec<String>) -> Result<Vec<RecordedRequest>, RunError> {
    let content = text(path)?;
    let mut requests = Vec::new();
    let mut incomplete = 0;
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (idx, line) in lines {
        match json::<RequestLine>(path, line, idx + 1)?.complete() {
            Some(request) => requests.push(request),
            None => incomplete += 1,
        }
    }
    if requests.is_empty() {
        return Err(RunError::NoRequests(path.to_owned()));
    }
    if incomplete > 0 {
        let all = requests.len() + incomplete;
        notes.push(format!(
            "{incomplete} of {all} requests lack tokens or times, or end before they begin, and \
             are left out: the load is lower than it was"
        ));
    }
    on_one_clock(&mut requests, notes);
    requests.sort_by(|one, other| one.arrival.total_cmp(&other.arrival));
    Ok(requests)
}

/// Moves all times to one clock whose zero is the first arrival.
///
/// The wall clock and the engine's differ by a constant. The request that the scheduler saw at once
/// has the smallest difference, which is taken for the constant.
fn on_one_clock(requests: &mut [RecordedRequest], notes: &mut Vec<String>) {
    let difference = |request: &RecordedRequest| request.queued - request.arrival;
    let offset = requests.iter().map(difference).fold(f64::INFINITY, f64::min);
    let latest = requests.iter().map(|request| difference(request) - offset).fold(0.0, f64::max);
    let trusted = latest <= MOST_FRONT_END;
    if !trusted {
        notes.push(format!(
            "the clocks of arrivals and engine drift apart by up to {latest:.1} s: requests arrive \
             when the scheduler saw them"
        ));
    }
    for request in &mut *requests {
        request.arrival = if trusted { request.arrival + offset } else { request.queued };
    }
    let zero = requests.iter().map(|request| request.arrival).fold(f64::INFINITY, f64::min);
    for request in requests {
        request.arrival -= zero;
        request.queued -= zero;
        request.first_token -= zero;
        request.last_token -= zero;
    }
}

fn samples(path: &Path) -> Result<Vec<Sample>, RunError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let content = text(path)?;
    let mut reader = csv::Reader::from_reader(content.as_bytes());
    let rows = reader.deserialize().enumerate();
    rows.map(|(idx, row)| {
        row.map_err(|error| RunError::Malformed {
            file: path.to_owned(),
            line: idx + 2,
            message: error.to_string(),
        })
    })
    .collect()
}

pub(super) fn text(file: &Path) -> Result<String, RunError> {
    let unreadable = |source| RunError::Unreadable { file: file.to_owned(), source };
    fs::read_to_string(file).map_err(unreadable)
}

/// Reads `text`, which starts in line `line` of `file`.
pub(super) fn json<T: DeserializeOwned>(
    file: &Path,
    text: &str,
    line: usize,
) -> Result<T, RunError> {
    serde_json::from_str(text).map_err(|error| RunError::Malformed {
        file: file.to_owned(),
        line: line + error.line().saturating_sub(1),
        message: error.to_string(),
    })
}
