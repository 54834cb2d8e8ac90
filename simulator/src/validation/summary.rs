//! Runs of which only summaries are known: latencies by load stage, and what the load was.
//!
//! Two forms are read, a folder that inference-perf wrote ([`read_folder`]) and a table of many
//! runs ([`read_table`]). The load is drawn again by the same rules
//! ([`shared_prefix`](crate::workload::shared_prefix)), several times, sent through a front end and
//! the engine, and what a client would have seen is laid beside what he saw ([`score()`]). Nothing is
//! fitted to a single run: the step times are those of the catalog ([`plant()`]), and the front end
//! ([`FRONT_END`]) is the same for all.

mod folder;
mod lifecycle;
mod plant;
mod score;
mod simulate;
mod table;
mod workloads;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::comparison::Metric;
use super::peer::PeerErrors;
use crate::catalog::Precision;
use crate::document::Problems;
use crate::engine::{EngineConfigError, Rejection};
use crate::workload::shared_prefix::{Load, SharedPrefix, Stage};

pub use folder::read_folder;
pub use plant::{PlantSource, SummaryPlant, plant};
pub use score::{SummaryComparison, score};
pub use simulate::FRONT_END;
pub use table::{SummaryTable, is_table, read_table};

/// A run of which only summaries are known.
#[derive(Debug, Clone)]
pub struct SummaryRun {
    /// Its name: that of its folder, or what its table calls it.
    pub name: String,
    /// The kind of GPU, as the run calls it.
    pub gpu: String,
    /// The model.
    pub model: String,
    /// With what the server ran.
    pub server: ServerArgs,
    /// What was asked.
    pub workload: SharedPrefix,
    /// How requests arrived within a stage.
    pub load: Load,
    /// The stages, one after the other; a stage begins when the one before it is answered.
    pub stages: Vec<Stage>,
    /// What was measured in each stage, in milliseconds.
    pub measured: Vec<Measured>,
    /// What was measured over all of them.
    pub whole: Measured,
    /// Why a server of this kind could not keep up, if it could not.
    pub overload: Option<String>,
    /// What another simulator reached.
    pub peer: PeerErrors,
    /// What a reader of results should know.
    pub notes: Vec<String>,
}

/// Metrics in milliseconds.
pub type Measured = BTreeMap<Metric, f64>;

/// The arguments of a server, as far as a run says them.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerArgs {
    /// GPUs that share each layer.
    pub tensor_parallel: u32,
    /// The number format of the weights.
    pub precision: Precision,
    /// Tokens that one step computes at most.
    pub max_num_batched_tokens: u32,
    /// Sequences that run at once at most.
    pub max_num_seqs: u32,
    /// Prompt and output tokens of one sequence at most.
    pub max_model_len: u32,
    /// The share of the GPU's memory that the server takes.
    pub gpu_memory_utilization: f64,
    /// KV blocks of 16 tokens, if the run says how many there were.
    pub num_gpu_blocks: Option<u32>,
}

impl ServerArgs {
    /// What all of these runs share unless they say otherwise. Source: the `exp-config.yaml` of the
    /// runs of inference-sim's training data, and vLLM's default at 0.15.
    const USUAL: Self = Self {
        tensor_parallel: 1,
        precision: Precision::Bf16,
        max_num_batched_tokens: 2048,
        max_num_seqs: 128,
        max_model_len: 4096,
        gpu_memory_utilization: 0.9,
        num_gpu_blocks: None,
    };
}

/// Why a run cannot be compared.
#[derive(Debug, Error)]
pub enum SummaryError {
    /// A file cannot be read.
    #[error("{file}: cannot be read: {source}", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file}: {field}: {message}", file = file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// The field, or the line.
        field: String,
        /// What is wrong there.
        message: String,
    },
    /// A file in YAML does not hold what it should.
    #[error(transparent)]
    Config(#[from] Problems),
    /// No request of the run was answered.
    #[error("{file}: successes.count: no request was answered", file = .0.display())]
    NothingAnswered(PathBuf),
    /// Something that the run has is not simulated, or not known.
    #[error("{0}")]
    Skipped(String),
    /// No engine starts with these arguments.
    #[error("no engine starts with the run's arguments: {0}")]
    Engine(#[from] EngineConfigError),
    /// A request does not fit the context.
    #[error("the run's requests do not fit its server: {0}")]
    Request(#[from] Rejection),
}

/// Why the server could not keep up, judged by what was measured alone: a request failed, or by
/// Little's law more were in flight than may run at once.
fn overload(
    stages: &[Stage],
    measured: &[Measured],
    failed: u64,
    max_num_seqs: u32,
) -> Option<String> {
    if failed > 0 {
        return Some(format!("{failed} requests failed"));
    }
    let in_flight = |(stage, measured): (&Stage, &Measured)| {
        let latency = measured.get(&Metric::E2E_MEAN)?;
        Some(stage.rate * latency / 1e3)
    };
    let most = stages.iter().zip(measured).filter_map(in_flight).fold(0.0, f64::max);
    (most > f64::from(max_num_seqs)).then(|| {
        format!("{most:.0} requests were in flight, of which {max_num_seqs} run at once at most")
    })
}

#[cfg(test)]
mod tests;
