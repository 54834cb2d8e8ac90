//! A table with a line for each run, stage and metric, as sim-to-real-accuracy-validation keeps it.
//!
//! | column | what |
//! |---|---|
//! | `experiment` | the run |
//! | `model`, `workload`, `hardware`, `tp`, `precision` | what ran where |
//! | `max_num_batched_tokens`, `gpu_mem_util` | engine arguments; empty where they are the usual ones |
//! | `stage_index` | the stage of its load, −1 for the whole run |
//! | `metric`, `actual_ms` | what was measured |
//!
//! Other columns are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::workloads::NamedWorkload;
use super::{Measured, ServerArgs, SummaryError, SummaryRun, overload};
use crate::validation::comparison::{Metric, Statistic};
use crate::validation::peer::PeerErrors;
use crate::workload::shared_prefix::Load;

/// The runs of a table.
#[derive(Debug, Default)]
pub struct SummaryTable {
    /// In the order of the table.
    pub runs: Vec<SummaryRun>,
    /// Runs that cannot be simulated, and why.
    pub skipped: Vec<(String, String)>,
}

/// The columns without which a file is not such a table.
const COLUMNS: [&str; 9] = [
    "experiment",
    "model",
    "workload",
    "hardware",
    "tp",
    "precision",
    "stage_index",
    "metric",
    "actual_ms",
];

/// Whether a file has the columns of such a table.
///
/// # Errors
///
/// The column that it lacks, or why it cannot be read.
pub fn is_table(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?;
    let lacking = COLUMNS.iter().find(|column| !header.iter().any(|name| name == **column));
    lacking.map_or(Ok(()), |column| Err(format!("not a table of runs: no column {column}")))
}

#[derive(Debug, Deserialize)]
struct Line {
    experiment: String,
    model: String,
    workload: String,
    hardware: String,
    tp: u32,
    precision: String,
    max_num_batched_tokens: Option<u32>,
    max_num_seqs: Option<u32>,
    gpu_mem_util: Option<f64>,
    cpu_offload: Option<String>,
    stage_index: i32,
    metric: String,
    actual_ms: f64,
}

/// Reads a table.
///
/// # Errors
///
/// When it cannot be read, or a line does not hold what it should.
pub fn read_table(file: &Path) -> Result<SummaryTable, SummaryError> {
    let field = |line: u64, message: String| SummaryError::Field {
        file: file.to_owned(),
        field: format!("line {line}"),
        message,
    };
    let text = fs::read_to_string(file)
        .map_err(|source| SummaryError::Unreadable { file: file.to_owned(), source })?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| field(1, error.to_string()))?.clone();
    let mut order = Vec::new();
    let mut runs: BTreeMap<String, (Line, BTreeMap<i32, Measured>)> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            field(error.position().map_or(0, csv::Position::line), error.to_string())
        })?;
        let at = record.position().map_or(0, csv::Position::line);
        let line: Line = record.deserialize(Some(&header)).map_err(|error| {
            let column = match error.kind() {
                csv::ErrorKind::Deserialize { err, .. } => {
                    err.field().and_then(|field| header.get(usize::try_from(field).ok()?))
                }
                _ => None,
            };
            let column = column.map(|name| format!("{name}: ")).unwrap_or_default();
            field(at, format!("{column}{error}"))
        })?;
        let Some(metric) = metric(&line.metric) else {
            return Err(field(
                at,
                format!("metric: {} — expected e2e_mean or the like", line.metric),
            ));
        };
        let value = (line.stage_index, line.actual_ms);
        let (_, stages) = runs.entry(line.experiment.clone()).or_insert_with(|| {
            order.push(line.experiment.clone());
            (line, BTreeMap::new())
        });
        let (stage, milliseconds) = value;
        if stages.entry(stage).or_default().insert(metric, milliseconds).is_some() {
            return Err(field(at, format!("a second value of {metric} for stage {stage}")));
        }
    }
    let mut table = SummaryTable::default();
    for name in order {
        let Some((line, measured)) = runs.remove(&name) else { continue };
        match run(line, measured) {
            Ok(run) => table.runs.push(run),
            Err(why) => table.skipped.push((name, why)),
        }
    }
    Ok(table)
}

/// The metric of this name.
fn metric(name: &str) -> Option<Metric> {
    let spread = |metric: fn(Statistic) -> Metric| Statistic::ALL.map(metric);
    let known = [spread(Metric::E2e), spread(Metric::Ttft)];
    let mut known = known.into_iter().flatten().chain([Metric::Itl]);
    known.find(|metric| metric.to_string() == name)
}

/// The run of these lines, or why it cannot be simulated.
fn run(line: Line, mut measured: BTreeMap<i32, Measured>) -> Result<SummaryRun, String> {
    let Line { experiment, model, workload, hardware, precision, .. } = line;
    let Some(named) = NamedWorkload::of(&workload, &experiment) else {
        let known: Vec<_> = NamedWorkload::names().collect();
        return Err(format!("the workload {workload} is none of {}", known.join(", ")));
    };
    let usual = ServerArgs::USUAL;
    let server = ServerArgs {
        tensor_parallel: line.tp,
        precision: super::plant::precision(&precision)
            .ok_or_else(|| format!("the precision {precision} is not known"))?,
        max_num_batched_tokens: line.max_num_batched_tokens.unwrap_or(usual.max_num_batched_tokens),
        max_num_seqs: line.max_num_seqs.unwrap_or(usual.max_num_seqs),
        gpu_memory_utilization: line.gpu_mem_util.unwrap_or(usual.gpu_memory_utilization),
        ..usual
    };
    let whole = measured.remove(&-1).unwrap_or_default();
    let stages = named.stages();
    let expected: BTreeSet<i32> = (0..).take(stages.len()).collect();
    if !measured.keys().eq(&expected) {
        let found: Vec<_> = measured.keys().map(ToString::to_string).collect();
        let [expected, found] = [stages.len().to_string(), found.join(", ")];
        return Err(format!("{workload} has {expected} stages, and the run those of {found}"));
    }
    let measured: Vec<_> = measured.into_values().collect();
    let mut notes = Vec::new();
    if line.cpu_offload.is_some_and(|offload| offload.eq_ignore_ascii_case("true")) {
        notes.push("blocks that were offloaded to the host's memory are not simulated".to_owned());
    }
    Ok(SummaryRun {
        overload: overload(&stages, &measured, 0, server.max_num_seqs),
        name: experiment,
        gpu: hardware,
        model,
        server,
        workload: named.shared_prefix(),
        load: Load::Constant,
        stages,
        measured,
        whole,
        peer: PeerErrors::default(),
        notes,
    })
}
