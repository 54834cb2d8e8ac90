//! Folders of inference-perf (<https://github.com/kubernetes-sigs/inference-perf>).
//!
//! | file | what |
//! |---|---|
//! | `stage_N_lifecycle_metrics.json` | the means of one load stage |
//! | `profile.yaml` or `config.yaml`, optional | how arrivals are spread, and what the prompts are |
//! | `exp-config.yaml`, optional | arguments of the server |
//!
//! Its inter-token latency counts chunks of a stream and its output length counts tokens of the
//! text anew, so the time per output token is (latency − time to first token)/(n − 1), with n what
//! was asked for if the server was told to ignore the end of the text.
//!
//! Of `shared_prefix` prompts, the whole blocks of the system prompt are taken to be cached: each is
//! computed once in a run.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Candidate, Measurements, ReadOptions, ServerFacts, SourceFile, json, short, text};
use crate::calibration::CalibrationError;
use crate::calibration::load::{Arrivals, LoadStage};
use crate::document::Document;

/// The files of stages, in the order of their numbers.
pub(super) fn stage_files(folder: &Path) -> Result<Vec<PathBuf>, CalibrationError> {
    let unreadable = |source| CalibrationError::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = short(&path);
        let number = name
            .strip_prefix("stage_")
            .and_then(|rest| rest.strip_suffix("_lifecycle_metrics.json")?.parse::<u32>().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

pub(super) fn read(
    folder: &Path,
    stage_files: &[PathBuf],
    options: &ReadOptions,
) -> Result<Measurements, CalibrationError> {
    let mut bytes = 0;
    let mut load: Option<Profile> = None;
    for name in ["profile.yaml", "config.yaml"] {
        if load.is_none() {
            load = yaml(&folder.join(name), &mut bytes)?;
        }
    }
    let load = load.unwrap_or_default();
    let server: ServerFile = yaml(&folder.join("exp-config.yaml"), &mut bytes)?.unwrap_or_default();
    let mut candidates = Vec::new();
    for path in stage_files {
        let content = text(path)?;
        bytes += content.len() as u64;
        let stage: StageFile = json(path, &content, 1)?;
        let name = format!("{}/{}", short(folder), short(path));
        candidates.push(stage.candidate(name, &load, options));
    }
    let path = folder.display().to_string();
    let file = SourceFile { path, bytes, used: 0, left_out: 0, period: None };
    let facts = ServerFacts {
        model: server.model.or(load.server.model_name),
        tensor_parallel: server.tensor_parallelism,
        max_model_len: server.max_model_len,
        max_num_batched_tokens: server.max_num_batched_tokens,
        max_num_seqs: server.max_num_seqs,
        num_gpu_blocks: None,
    };
    Ok(Measurements::of_stages(file, facts, candidates))
}

/// Reads a file that may be absent, and counts its bytes.
fn yaml<T: DeserializeOwned>(path: &Path, bytes: &mut u64) -> Result<Option<T>, CalibrationError> {
    if !path.exists() {
        return Ok(None);
    }
    let content = text(path)?;
    *bytes += content.len() as u64;
    let document = Document::parse(path.to_string_lossy(), content)?;
    Ok(Some(document.read()?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Profile {
    data: DataConfig,
    load: LoadConfig,
    server: ServerConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DataConfig {
    shared_prefix: Option<SharedPrefix>,
}

#[derive(Debug, Deserialize)]
struct SharedPrefix {
    system_prompt_len: f64,
    output_len: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoadConfig {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerConfig {
    model_name: Option<String>,
    ignore_eos: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerFile {
    model: Option<String>,
    tensor_parallelism: Option<u32>,
    max_model_len: Option<u32>,
    max_num_batched_tokens: Option<u32>,
    max_num_seqs: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct StageFile {
    load_summary: LoadSummary,
    successes: Successes,
    failures: Failures,
}

#[derive(Debug, Deserialize)]
struct LoadSummary {
    achieved_rate: f64,
}

#[derive(Debug, Deserialize)]
struct Successes {
    count: u64,
    latency: Option<Latencies>,
    throughput: Option<Throughput>,
    prompt_len: Option<Mean>,
    output_len: Option<Mean>,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    request_latency: Mean,
    time_to_first_token: Option<Mean>,
}

#[derive(Debug, Deserialize)]
struct Throughput {
    requests_per_sec: f64,
}

#[derive(Debug, Deserialize)]
struct Failures {
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Mean {
    mean: f64,
}

/// Tokens of a block of vLLM's prefix cache, by default.
const BLOCK: f64 = 16.0;

impl StageFile {
    /// A stage without answers has zeros, for which it is left out.
    fn candidate(self, name: String, profile: &Profile, options: &ReadOptions) -> Candidate {
        let Self { load_summary, successes, failures } = self;
        let mean = |mean: Option<Mean>| mean.map_or(0.0, |mean| mean.mean);
        let prefix = profile.data.shared_prefix.as_ref();
        let prompt_tokens = mean(successes.prompt_len);
        let asked = prefix.filter(|_| profile.server.ignore_eos).map(|prefix| prefix.output_len);
        let output_tokens = asked.unwrap_or_else(|| mean(successes.output_len));
        let cached = prefix.map_or(0.0, |prefix| {
            (prefix.system_prompt_len / BLOCK).floor() * BLOCK / prompt_tokens
        });
        let (ttft, e2e) = successes.latency.map_or((None, 0.0), |latency| {
            (latency.time_to_first_token.map(|ttft| ttft.mean), latency.request_latency.mean)
        });
        let rate = load_summary.achieved_rate;
        let answered = successes.throughput.map_or(0.0, |t| t.requests_per_sec) / rate;
        let sent = (successes.count + failures.count) as f64;
        let stage = LoadStage {
            name,
            rate,
            arrivals: match profile.load.kind.as_deref() {
                Some("poisson") => Arrivals::Poisson,
                _ => Arrivals::Constant,
            },
            prompt_tokens,
            cached_fraction: options.cached_fraction.unwrap_or(cached),
            output_tokens,
            ttft,
            tpot: (e2e - ttft.unwrap_or(0.0)) / (output_tokens - 1.0).max(1.0),
            e2e: Some(e2e),
        };
        Candidate { stage, answered_share: answered.min(successes.count as f64 / sent) }
    }
}
