//! One recorded run, as it lies in its folder.
//!
//! | file | what |
//! |---|---|
//! | `meta.json` | model and engine arguments, and mostly the KV blocks |
//! | `requests.jsonl` | one request a line: tokens, and the times of its way through the server |
//! | `timeseries.csv`, optional | running and waiting sequences, once a second |
//! | `prompts.jsonl`, optional | the tokens of the prompts, which shows what they have in common |
//! | `layers/`, optional | timings of layers on the same GPU |
//! | `peer-simulator-errors.txt`, optional | what another simulator reached on the run |

mod requests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::cache::Server;
use super::peer::PeerErrors;
use super::prompts::Prompts;
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
    /// What the prompts have in common, when the run says it.
    pub prompts: Option<Prompts>,
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
        let requests = requests::read(&folder.join("requests.jsonl"), &mut notes)?;
        let gpu = gpu(&meta, folder).unwrap_or_else(|| name.clone());
        let engine = meta.engine_args(&path, &gpu, &requests, &mut notes)?;
        let prompts = Prompts::read(folder, engine.block_size, requests.len())?;
        if meta.prefix_caching() {
            notes.push(beginnings(prompts.as_ref()));
        }
        Ok(Self {
            gpu,
            tensor_parallel: kwargs.tensor_parallel_size.unwrap_or(1),
            capture_sizes: meta.capture_sizes(),
            prompts,
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
    gpu_memory_utilization: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct KvCache {
    num_gpu_blocks: Option<u32>,
    block_size: Option<u32>,
    gpu_memory_utilization: Option<f64>,
    enable_prefix_caching: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Hardware {
    device_name: Option<String>,
    device_total_memory_bytes: Option<u64>,
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

    /// On by default, too.
    fn prefix_caching(&self) -> bool {
        self.kv_cache.as_ref().and_then(|cache| cache.enable_prefix_caching).unwrap_or(true)
    }

    /// What the size of the cache depends on.
    fn server<'a>(&'a self, gpu: &'a str, block_size: u32) -> Server<'a> {
        let cache = self.kv_cache.as_ref();
        let stated = cache.and_then(|cache| cache.gpu_memory_utilization);
        Server {
            gpu,
            memory_bytes: self.hardware.as_ref().and_then(|h| h.device_total_memory_bytes),
            model: &self.model,
            tensor_parallel: self.engine_kwargs.tensor_parallel_size.unwrap_or(1),
            // The default of vLLM 0.19.
            utilization: stated.or(self.engine_kwargs.gpu_memory_utilization).unwrap_or(0.9),
            block_size,
        }
    }

    fn engine_args(
        &self,
        file: &Path,
        gpu: &str,
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
            // One more for the null block.
            let all = longest.div_ceil(block_size).saturating_mul(max_num_seqs).saturating_add(1);
            let estimate = self.server(gpu, block_size).num_gpu_blocks();
            let (blocks, taken) = match estimate {
                Some(blocks) if blocks < all => {
                    (blocks, format!("to have the {blocks} that fit beside the weights"))
                }
                _ => (all, "to hold every sequence that may run".to_owned()),
            };
            notes.push(format!("meta.json has no count of KV blocks: the cache is taken {taken}"));
            blocks
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
            enable_prefix_caching: self.prefix_caching(),
            ..EngineArgs::DEFAULT
        })
    }
}

/// What a reader should know of the beginnings that prompts have in common.
fn beginnings(prompts: Option<&Prompts>) -> String {
    prompts.map_or_else(
        || {
            "without prompts.jsonl nobody knows which prompts begin alike: each is computed in full"
                .to_owned()
        },
        |prompts| {
            let percent = 100.0 * prompts.repeated_tokens as f64 / prompts.tokens.max(1) as f64;
            format!(
                "{percent:.1} % of the prompt tokens are beginnings of earlier prompts, which may be \
                 in the cache"
            )
        },
    )
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

fn samples(path: &Path) -> Result<Vec<Sample>, RunError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let content = text(path)?;
    let mut reader = csv::Reader::from_reader(content.as_bytes());
    let malformed = |idx: usize, message: String| RunError::Malformed {
        file: path.to_owned(),
        line: idx + 2,
        message,
    };
    let mut samples: Vec<Sample> = Vec::new();
    for (idx, row) in reader.deserialize().enumerate() {
        let sample: Sample = row.map_err(|error| malformed(idx, error.to_string()))?;
        let last = samples.last().map_or(0.0, |sample| sample.t);
        if !(last..).contains(&sample.t) {
            let message = format!("t: {} follows {last} — expected times to ascend", sample.t);
            return Err(malformed(idx, message));
        }
        samples.push(sample);
    }
    Ok(samples)
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
