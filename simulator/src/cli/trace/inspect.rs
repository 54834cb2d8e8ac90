//! `plimsoll trace inspect`: what traces look like.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueHint};
use serde::Serialize;

use super::input::{self, InputArgs};
use super::{plot, table};
use crate::cli::{has_color, print};
use crate::traces::{Inspection, Inspector};
use crate::workload::trace::ReadSummary;

/// Show what traces look like: rates, bursts, lengths, what prompts have in common
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  plimsoll trace inspect hour.csv
  plimsoll trace inspect BurstGPT_1.csv.gz --json
  plimsoll trace inspect log.csv --map arrival=ts:ms,input=prompt_len,output=gen_len --out figures

The index of dispersion is the variance of the arrivals in windows over their mean: 1 for a Poisson
process with a constant rate, more when arrivals cluster. Prefix reuse is the share of prompt tokens
that one prefix cache for all requests would hold, without the text of outputs; caches of a limited
size drop what was used longest ago.")]
pub(super) struct InspectArgs {
    /// The traces
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Print a JSON array with an object for each file
    #[arg(long)]
    json: bool,
    /// Draw the rate over time and the distributions of lengths and gaps, as SVG files in this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
}

/// A file and what it looks like.
#[derive(Debug, Serialize)]
struct Inspected<'a> {
    file: String,
    format: Option<&'static str>,
    failed: u64,
    out_of_order: u64,
    estimated: u64,
    #[serde(flatten)]
    inspection: &'a Inspection,
}

impl InspectArgs {
    pub(super) fn run(self) -> Result<()> {
        let mut objects = Vec::new();
        for file in &self.files {
            let (summary, inspection) = inspect(file, &self.input)?;
            if self.json {
                objects.push(serde_json::to_value(inspected(file, &summary, &inspection))?);
            } else {
                let format = summary.format.map_or("", crate::workload::trace::Format::name);
                let head = format!("{}: {format}", file.display());
                let color = has_color(&std::io::stdout());
                print(&table::render(&head, &inspection, &input::notes(&summary), color))?;
            }
            if let Some(folder) = &self.out {
                fs::create_dir_all(folder)
                    .with_context(|| format!("cannot create {}", folder.display()))?;
                plot::draw(folder, file, &inspection)?;
            }
        }
        if self.json {
            print(&(serde_json::to_string_pretty(&objects)? + "\n"))?;
        }
        Ok(())
    }
}

fn inspected<'a>(file: &Path, summary: &ReadSummary, inspection: &'a Inspection) -> Inspected<'a> {
    Inspected {
        file: file.display().to_string(),
        format: summary.format.map(crate::workload::trace::Format::name),
        failed: summary.failed,
        out_of_order: summary.out_of_order,
        estimated: summary.estimated,
        inspection,
    }
}

/// Reads a file, and says what it looks like.
///
/// # Errors
///
/// When the file has a fault.
pub(super) fn inspect(file: &Path, input: &InputArgs) -> Result<(ReadSummary, Inspection)> {
    let mut inspector = Inspector::default();
    let summary = input.read(file, 1, |record, midnight| {
        inspector.add(&record, midnight);
        Ok(true)
    })?;
    // A reader without requests has returned its error.
    let inspection = inspector.finish().context("the trace has no requests")?;
    Ok((summary, inspection))
}
