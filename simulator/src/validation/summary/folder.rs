//! A folder that inference-perf wrote.
//!
//! | file | what |
//! |---|---|
//! | `profile.yaml` | the configuration of inference-perf: prompts, load, stages |
//! | `exp-config.yaml` | model and engine arguments |
//! | `stage_N_lifecycle_metrics.json` | what was measured in stage N |
//! | `summary_lifecycle_metrics.json` | the same over all stages |
//! | `peer-simulator-errors.txt`, optional | what another simulator reached on the run |
//!
//! Fields that are not needed are passed over, as other releases write others.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::lifecycle::{Lifecycle, PromptLength};
use super::workloads::{DEFAULT_GROUPS, reencoded};
use super::{ServerArgs, SummaryError, SummaryRun, overload};
use crate::catalog::{Catalog, Precision};
use crate::document::{Document, FieldPath, Problems};
use crate::validation::peer::PeerErrors;
use crate::workload::shared_prefix::{Load, SharedPrefix, Stage};

/// Reads the run in `folder`. The kind of GPU is mostly not in it, but in its name or in that of a
/// folder above: one of the GPUs of `catalog`.
///
/// # Errors
///
/// When a file is missing or broken, when the load is of a kind that is not simulated, when nothing
/// was answered, and when nothing says which GPU it was.
pub fn read_folder(folder: &Path, catalog: &Catalog) -> Result<SummaryRun, SummaryError> {
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    let (config, load, stages) = config(&folder.join("profile.yaml"))?;
    let path = folder.join("exp-config.yaml");
    let server: Server = Document::parse(path.to_string_lossy(), text(&path)?)?.read()?;
    let (args, model) = (server.args(&path)?, server.model.clone());
    let Some(gpu) = server.gpu.or_else(|| gpu_of(folder, catalog)) else {
        let message = "the GPU is neither in exp-config.yaml (gpu) nor in the folder's name";
        return Err(SummaryError::Skipped(message.to_owned()));
    };

    let whole = Lifecycle::read(&folder.join("summary_lifecycle_metrics.json"))?;
    let mut measured = Vec::new();
    let output_tokens = config.output_len;
    for idx in 0..stages.len() {
        let lifecycle =
            Lifecycle::read(&folder.join(format!("stage_{idx}_lifecycle_metrics.json")))?;
        measured.push(lifecycle.measured(output_tokens));
    }
    let mut notes = Vec::new();
    let workload = config.workload(whole.prompt_len, &mut notes);
    Ok(SummaryRun {
        overload: overload(&stages, &measured, whole.failed, args.max_num_seqs),
        peer: PeerErrors::read(folder).map_err(|error| SummaryError::Skipped(error.to_string()))?,
        whole: whole.measured(output_tokens),
        server: args,
        name,
        gpu,
        model,
        workload,
        load,
        stages,
        measured,
        notes,
    })
}

/// The GPU that the folder or one above it is named after: that with the longest name.
fn gpu_of(folder: &Path, catalog: &Catalog) -> Option<String> {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let named = |part: &Path| {
        let part = part.file_name()?.to_string_lossy().to_lowercase();
        let has = |name: &&str| {
            let name = name.to_lowercase();
            part.split(['-', '_', '.']).any(|word| word == name) || part == name
        };
        catalog.gpu_names().filter(has).max_by_key(|name| name.len()).map(str::to_owned)
    };
    folder.ancestors().take(3).find_map(named)
}

#[derive(Debug, Deserialize)]
struct Config {
    data: DataConfig,
    load: LoadConfig,
}

#[derive(Debug, Deserialize)]
struct DataConfig {
    #[expect(dead_code, reason = "it is read so that other kinds are refused")]
    r#type: DataKind,
    shared_prefix: SharedPrefixConfig,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DataKind {
    SharedPrefix,
}

/// The names are those of release 0.4 and those before it.
#[derive(Debug, Clone, Copy, Deserialize)]
struct SharedPrefixConfig {
    num_unique_system_prompts: Option<u32>,
    num_users_per_system_prompt: Option<u32>,
    num_groups: Option<u32>,
    num_prompts_per_group: Option<u32>,
    system_prompt_len: u32,
    question_len: u32,
    output_len: u32,
    enable_multi_turn_chat: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct LoadConfig {
    r#type: LoadKind,
    stages: Vec<StageConfig>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LoadKind {
    Constant,
    Poisson,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct StageConfig {
    rate: f64,
    duration: f64,
}

/// The most that is simulated, of anything that is counted.
const MOST: u32 = 1_000_000;

/// What was asked, and when.
type Asked = (SharedPrefixConfig, Load, Vec<Stage>);

fn config(path: &Path) -> Result<Asked, SummaryError> {
    let document = Document::parse(path.to_string_lossy(), text(path)?)?;
    let Config { data, load } = document.read()?;
    let root = FieldPath::root();
    let mut problems = Vec::new();
    let at = root.key("load").key("stages");
    if load.stages.is_empty() {
        problems.push(document.problem(&at, "expected at least one stage"));
    }
    for (idx, stage) in load.stages.iter().enumerate() {
        for (name, number) in [("rate", stage.rate), ("duration", stage.duration)] {
            if number <= 0.0 {
                let at = at.index(idx).key(name);
                problems.push(document.problem(&at, "expected a number above zero"));
            }
        }
        if stage.rate * stage.duration > f64::from(MOST) {
            let message = format!("expected at most {MOST} requests, rate times duration");
            problems.push(document.problem(&at.index(idx), message));
        }
    }
    let prompts = data.shared_prefix;
    let at = root.key("data").key("shared_prefix");
    for (name, count, least) in [
        ("num_unique_system_prompts", prompts.num_unique_system_prompts, 1),
        ("num_users_per_system_prompt", prompts.num_users_per_system_prompt, 1),
        ("num_groups", prompts.num_groups, 1),
        ("num_prompts_per_group", prompts.num_prompts_per_group, 1),
        ("system_prompt_len", Some(prompts.system_prompt_len), 0),
        ("question_len", Some(prompts.question_len), 1),
        ("output_len", Some(prompts.output_len), 1),
    ] {
        if count.is_some_and(|count| !(least..=MOST).contains(&count)) {
            let message = format!("expected a number from {least} to {MOST}");
            problems.push(document.problem(&at.key(name), message));
        }
    }
    Problems::reject(problems)?;
    let kind = match load.r#type {
        LoadKind::Constant => Load::Constant,
        LoadKind::Poisson => Load::Poisson,
    };
    let stage = |StageConfig { rate, duration }| Stage { rate, duration };
    Ok((prompts, kind, load.stages.into_iter().map(stage).collect()))
}

impl SharedPrefixConfig {
    /// Who asked what, going by the lengths of the prompts that were sent.
    fn workload(&self, sent: Option<PromptLength>, notes: &mut Vec<String>) -> SharedPrefix {
        let first = self.num_unique_system_prompts.or(self.num_groups);
        let second = self.num_users_per_system_prompt.or(self.num_prompts_per_group);
        let system = self.system_prompt_len;
        let one_turn = system + self.question_len;
        // The second turn of a conversation has another question and an answer more.
        let longest = sent.map(|sent| sent.max);
        let grew = longest.is_some_and(|max| max >= f64::from(one_turn + self.output_len));
        let asked = self.enable_multi_turn_chat == Some(true);
        if asked && !grew {
            notes.push(format!(
                "no prompt contains a conversation, so the generator did not know the options for \
                 it: {DEFAULT_GROUPS} × {DEFAULT_GROUPS} prompts, asked again and again"
            ));
        }
        let count = |given: Option<u32>| {
            if asked && !grew { DEFAULT_GROUPS } else { given.unwrap_or(DEFAULT_GROUPS) }
        };
        let of_sent = sent.filter(|sent| !grew && sent.min > f64::from(system));
        let question_tokens = of_sent.map_or_else(
            || reencoded(system, self.question_len),
            |sent| tokens(sent.min) - system..=tokens(sent.max.max(sent.min)) - system,
        );
        SharedPrefix {
            groups: count(first),
            prompts_per_group: count(second),
            system_prompt_tokens: system,
            question_tokens,
            output_tokens: self.output_len,
            multi_turn: asked && grew,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
const fn tokens(number: f64) -> u32 {
    number as u32
}

#[derive(Debug, Deserialize)]
struct Server {
    model: String,
    gpu: Option<String>,
    tensor_parallelism: Option<u32>,
    dtype: Option<String>,
    max_model_len: Option<u32>,
    max_num_batched_tokens: Option<u32>,
    max_num_seqs: Option<u32>,
    num_gpu_blocks: Option<u32>,
    gpu_memory_utilization: Option<f64>,
}

impl Server {
    fn args(&self, file: &Path) -> Result<ServerArgs, SummaryError> {
        let usual = ServerArgs::USUAL;
        let precision = match &self.dtype {
            None => Precision::Bf16,
            Some(dtype) => super::plant::precision(dtype).ok_or_else(|| SummaryError::Field {
                file: file.to_owned(),
                field: "dtype".to_owned(),
                message: format!("{dtype} — expected a number format such as FP16 or FP8"),
            })?,
        };
        Ok(ServerArgs {
            tensor_parallel: self.tensor_parallelism.unwrap_or(usual.tensor_parallel),
            precision,
            max_num_batched_tokens: self
                .max_num_batched_tokens
                .unwrap_or(usual.max_num_batched_tokens),
            max_num_seqs: self.max_num_seqs.unwrap_or(usual.max_num_seqs),
            max_model_len: self.max_model_len.unwrap_or(usual.max_model_len),
            gpu_memory_utilization: self
                .gpu_memory_utilization
                .unwrap_or(usual.gpu_memory_utilization),
            num_gpu_blocks: self.num_gpu_blocks,
        })
    }
}

pub(super) fn text(file: &Path) -> Result<String, SummaryError> {
    let unreadable = |source| SummaryError::Unreadable { file: file.to_owned(), source };
    fs::read_to_string(file).map_err(unreadable)
}
