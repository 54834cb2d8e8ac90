//! A folder of layer timings.
//!
//! | file | columns |
//! |---|---|
//! | `dense.csv` | `layer,tokens,time_us` |
//! | `per_sequence.csv` | `layer,sequences,time_us` |
//! | `attention.csv` | `prefill_chunk,kv_prefill,n_decode,kv_decode,time_us` |
//! | `moe.csv`, when the model has experts | `tokens,activated_experts,time_us` |
//! | `skew_fit.csv`, optional | see [`Skew`] |
//! | `meta.yaml`, optional, here or in the folder above | whether `skew_fit.csv` is to be used |
//!
//! All are of one transformer block. This is the output of the profiler of `LLMServingSim`
//! (<https://github.com/casys-kaist/LLMServingSim>).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::attention::{Attention, Oddities};
use super::experts::Experts;
use super::fault::{TableError, TableFault};
use super::grid::Grid;
use super::skew::Skew;
use super::{HostTime, Table};

/// A folder of layer timings, and what has to be known of the model to put a step together.
#[derive(Debug, Clone)]
pub struct TableFolder {
    /// The folder.
    pub path: PathBuf,
    /// Transformer blocks of the model.
    pub num_layers: u32,
    /// For a model with experts: how many there are, and how many a token activates.
    pub experts: Option<(u32, u32)>,
}

/// How often a dense layer runs in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    /// So many times in each transformer block.
    PerBlock(u32),
}

/// The layers by the tokens of a step, and whether every model has them.
const DENSE: [(&str, Repeat, bool); 10] = [
    ("embedding", Repeat::Once, true),
    // Before attention, and before the feed-forward layer.
    ("layernorm", Repeat::PerBlock(2), true),
    ("qkv_proj", Repeat::PerBlock(1), true),
    ("qk_norm", Repeat::PerBlock(1), false),
    ("rotary_emb", Repeat::PerBlock(1), true),
    ("o_proj", Repeat::PerBlock(1), true),
    ("gate_up_proj", Repeat::PerBlock(1), false),
    ("act_fn", Repeat::PerBlock(1), false),
    ("down_proj", Repeat::PerBlock(1), false),
    ("final_layernorm", Repeat::Once, true),
];

/// The layers by the sequences of a step. They run once.
const PER_SEQUENCE: [(&str, Repeat, bool); 2] =
    [("lm_head", Repeat::Once, true), ("sampler", Repeat::Once, true)];

/// A sum of layers that falls by more than this with size is an error: some row is wrong. By less
/// it may, since kernels change with size.
const MOST_FALL: f64 = 0.25;

/// A fall by more than this is told to the reader.
const NOTABLE_FALL: f64 = 0.05;

/// What the layers of a table take when there is next to no work, in seconds: ranges for any GPU,
/// narrower than the thousand between two units. One token through all dense layers takes the
/// launches of some hundred kernels at least.
const PLAUSIBLE_DENSE: Range<f64> = 2e-4..0.19;
/// The output head and the sampler.
const PLAUSIBLE_PER_SEQUENCE: Range<f64> = 2e-5..1.9e-2;
/// One kernel.
const PLAUSIBLE_ATTENTION: Range<f64> = 1e-6..0.9e-3;

impl Table {
    /// Reads a folder. Also returns what a reader of results should know of it.
    ///
    /// # Errors
    ///
    /// When a file is missing, has other columns or a wrong value, lacks sizes or layers, is far
    /// from rising with size, or is in another unit.
    pub fn read(folder: &TableFolder) -> Result<(Self, Vec<String>), TableError> {
        let file = |name: &str| folder.path.join(name);
        let mut notes = Vec::new();

        let path = file("dense.csv");
        let dense = layers(&path, ["layer", "tokens", "time_us"])?;
        let dense = sum(&path, &dense, &DENSE, folder.num_layers)?;
        let dense = rising(&path, &dense, "tokens", &mut notes)?;
        check_unit(&path, dense.at([1.0]), PLAUSIBLE_DENSE)?;
        let experts = folder.experts.map(|count| experts(&file("moe.csv"), count)).transpose()?;

        let path = file("per_sequence.csv");
        let per_sequence = layers(&path, ["layer", "sequences", "time_us"])?;
        let per_sequence = sum(&path, &per_sequence, &PER_SEQUENCE, folder.num_layers)?;
        let per_sequence = rising(&path, &per_sequence, "sequences", &mut notes)?;
        check_unit(&path, per_sequence.at([1.0]), PLAUSIBLE_PER_SEQUENCE)?;

        let path = file("attention.csv");
        let points = attention(&path)?;
        let (attention, Oddities { outside, lifted }) = Attention::new(&points)
            .ok_or_else(|| TableError::new(&path, None, TableFault::OneKindOnly))?;
        check_unit(&path, attention.decode_only(1, 1.0), PLAUSIBLE_ATTENTION)?;
        if outside > 0 {
            notes.push(format!(
                "{}: {outside} of {} rows lie outside a complete grid and are not used",
                path.display(),
                points.len()
            ));
        }
        if lifted > 0 {
            notes.push(format!(
                "{}: {lifted} decode-only batches took much less time than those of fewer tokens, \
                 and are taken to need as much",
                path.display()
            ));
        }

        let skew = skew(&folder.path, &mut notes)?;
        let capture_sizes = Vec::new();
        let host = HostTime::NONE;
        let num_layers = folder.num_layers;
        let table =
            Self { num_layers, dense, experts, per_sequence, attention, skew, capture_sizes, host };
        Ok((table, notes))
    }
}

/// Whether a file with next to no work takes a time that a GPU takes.
fn check_unit(path: &Path, least: f64, plausible: Range<f64>) -> Result<(), TableError> {
    if plausible.contains(&least) {
        return Ok(());
    }
    Err(TableError::new(path, None, TableFault::Unit { micros: least * 1e6 }))
}

/// The correction for unequal lengths, unless there is none or the profiler turned it off.
fn skew(folder: &Path, notes: &mut Vec<String>) -> Result<Option<Skew>, TableError> {
    let path = folder.join("skew_fit.csv");
    if !path.exists() {
        return Ok(None);
    }
    if is_turned_off(folder) {
        notes.push(format!("{}: not used, as meta.yaml says", path.display()));
        return Ok(None);
    }
    Skew::read(&path)
}

/// Whether `meta.yaml` says that the fit is not to be used.
///
/// The file has keys that are numbers, which a [`Document`](crate::document) refuses, so its two
/// lines are looked for as text.
fn is_turned_off(folder: &Path) -> bool {
    let folders = [Some(folder), folder.parent()].into_iter().flatten();
    let meta = folders.into_iter().find_map(|at| fs::read_to_string(at.join("meta.yaml")).ok());
    meta.is_some_and(|meta| {
        let mut lines = meta.lines().skip_while(|line| line.trim_end() != "skew_fit:").skip(1);
        lines.next().is_some_and(|line| line.trim() == "enabled: false")
    })
}

/// Times in seconds of each layer, by size.
type Layers = BTreeMap<String, BTreeMap<u32, f64>>;

fn layers(path: &Path, columns: [&'static str; 3]) -> Result<Layers, TableError> {
    let mut layers = Layers::new();
    for row in rows(path, columns)? {
        let Row { line, fields: [name, size, time] } = row;
        let size = read_size(path, line, columns[1], &size)?;
        let time = read_time(path, line, &time)?;
        if layers.entry(name).or_default().insert(size, time).is_some() {
            return Err(TableError::new(path, Some(line), TableFault::Twice));
        }
    }
    Ok(layers)
}

/// The time of all layers of a step, by size.
fn sum(
    path: &Path,
    layers: &Layers,
    known: &[(&'static str, Repeat, bool)],
    num_layers: u32,
) -> Result<BTreeMap<[u32; 1], f64>, TableError> {
    let fault = |fault| TableError::new(path, None, fault);
    if let Some(name) = layers.keys().find(|name| known.iter().all(|(known, ..)| known != name)) {
        let expected: Vec<_> = known.iter().map(|(name, ..)| *name).collect();
        let expected = expected.join(", ");
        return Err(fault(TableFault::UnknownLayer { name: name.clone(), expected }));
    }
    if let Some((name, ..)) =
        known.iter().find(|(name, _, always)| *always && !layers.contains_key(*name))
    {
        return Err(fault(TableFault::MissingLayer(name)));
    }
    let sizes: BTreeSet<u32> = layers.values().flat_map(|times| times.keys().copied()).collect();
    let mut sums = BTreeMap::new();
    for size in sizes {
        let mut sum = 0.0;
        for (name, repeat, _) in known {
            let Some(times) = layers.get(*name) else { continue };
            let Some(time) = times.get(&size) else {
                return Err(fault(TableFault::Gap { layer: (*name).to_owned(), size }));
            };
            let times = match repeat {
                Repeat::Once => 1,
                Repeat::PerBlock(times) => times * num_layers,
            };
            sum += f64::from(times) * time;
        }
        sums.insert([size], sum);
    }
    Ok(sums)
}

/// A curve, unless it falls by too much. A fall that is more than a timer's noise is noted.
fn rising(
    path: &Path,
    times: &BTreeMap<[u32; 1], f64>,
    of: &'static str,
    notes: &mut Vec<String>,
) -> Result<Grid<1>, TableError> {
    let mut highest = 0.0_f64;
    for (&[size], &time) in times {
        let fall = 1.0 - time / highest;
        let fault = TableFault::NotMonotone { size, of, percent: fall * 100.0 };
        if fall > MOST_FALL {
            return Err(TableError::new(path, None, fault));
        }
        if fall > NOTABLE_FALL {
            notes.push(TableError::new(path, None, fault).to_string());
        }
        highest = highest.max(time);
    }
    let (grid, _) = Grid::within(times).expect("a layer that has to be there has rows");
    Ok(grid)
}

fn attention(path: &Path) -> Result<BTreeMap<[u32; 4], f64>, TableError> {
    let columns = ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"];
    points(path, columns, |fields| {
        let [chunk, before, sequences, tokens, time] = fields;
        ([chunk, before, sequences, tokens], time)
    })
}

fn experts(path: &Path, count: (u32, u32)) -> Result<Experts, TableError> {
    let columns = ["tokens", "activated_experts", "time_us"];
    let points = points(path, columns, |[tokens, activated, time]| ([tokens, activated], time))?;
    let missing = || TableError::new(path, None, TableFault::MissingLayer("moe"));
    Experts::new(count, &points).ok_or_else(missing)
}

/// The rows of a table whose columns are numbers, the last one a time.
fn points<const N: usize, const D: usize>(
    path: &Path,
    columns: [&'static str; N],
    split: impl Fn([String; N]) -> ([String; D], String),
) -> Result<BTreeMap<[u32; D], f64>, TableError> {
    let mut points = BTreeMap::new();
    for Row { line, fields } in rows(path, columns)? {
        let (sizes, time) = split(fields);
        let mut point = [0; D];
        for (idx, size) in sizes.iter().enumerate() {
            point[idx] = read_size(path, line, columns[idx], size)?;
        }
        if points.insert(point, read_time(path, line, &time)?).is_some() {
            return Err(TableError::new(path, Some(line), TableFault::Twice));
        }
    }
    Ok(points)
}

pub(super) struct Row<const N: usize> {
    pub(super) line: u64,
    pub(super) fields: [String; N],
}

pub(super) fn rows<const N: usize>(
    path: &Path,
    columns: [&'static str; N],
) -> Result<Vec<Row<N>>, TableError> {
    let fault = |line, fault| TableError::new(path, line, fault);
    let file = File::open(path).map_err(|error| fault(None, TableFault::Unreadable(error)))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let header = reader.headers().map_err(|error| fault(None, TableFault::NotCsv(error)))?;
    if header.iter().ne(columns) {
        let found = header.iter().collect::<Vec<_>>().join(",");
        let expected = columns.join(",");
        return Err(fault(Some(1), TableFault::Header { found, expected }));
    }
    let read = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(|error| fault(None, TableFault::NotCsv(error)))?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut fields = record.iter().map(str::to_owned);
        let fields = std::array::from_fn(|_| fields.next().unwrap_or_default());
        Ok(Row { line, fields })
    };
    reader.records().map(read).collect()
}

fn read_size(path: &Path, line: u64, column: &'static str, value: &str) -> Result<u32, TableError> {
    value.parse().map_err(|_| {
        let value = value.to_owned();
        let fault = TableFault::Value { column, value, expected: "a whole number" };
        TableError::new(path, Some(line), fault)
    })
}

/// From microseconds to seconds.
fn read_time(path: &Path, line: u64, value: &str) -> Result<f64, TableError> {
    let micros = value.parse().ok().filter(|micros: &f64| micros.is_finite() && *micros > 0.0);
    micros.map(|micros| micros / 1e6).ok_or_else(|| {
        let (column, value) = ("time_us", value.to_owned());
        let fault = TableFault::Value { column, value, expected: "a time above zero" };
        TableError::new(path, Some(line), fault)
    })
}
