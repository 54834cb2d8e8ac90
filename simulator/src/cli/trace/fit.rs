//! `plimsoll trace fit`: traffic like that of a trace.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueHint};
use indicatif::HumanCount;
use optimizer::units::Seconds;

use super::input::{self, InputArgs};
use super::{inspect, table};
use crate::cli::{has_color, print};
use crate::traces::{Fitter, Goodness};

/// Fit traffic to a trace: rates, bursts, lengths and prefixes in a small file
///
/// The file is read by `plimsoll trace synthesize`. How like the trace the fitted traffic is goes to
/// standard output: statistics of both, and the largest distances between their distributions
/// (Kolmogorov-Smirnov; 0 is equal, 1 is apart). The trace is read twice.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  plimsoll trace fit hour.csv -o hour.yaml
  plimsoll trace synthesize hour.yaml -o like-hour.csv --duration 24h --seed 7")]
pub(super) struct FitArgs {
    /// The trace
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: PathBuf,
    /// How long each rate of the profile holds [default: 1m for traces of a day, longer for longer]
    #[arg(long, value_name = "SPAN")]
    window: Option<Seconds>,
    #[command(flatten)]
    input: InputArgs,
}

impl FitArgs {
    pub(super) fn run(self) -> Result<()> {
        let Self { file, out, window, input } = self;
        let (summary, inspection) = inspect::inspect(&file, &input)?;
        let mut fitter = Fitter::new(&inspection, window);
        input.read(&file, 1, |record, _| {
            fitter.add(&record);
            Ok(true)
        })?;
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        let source = format!(
            "{name}: {} requests in {:.1} s",
            HumanCount(inspection.requests),
            inspection.span_s
        );
        // A reader without requests has returned its error.
        let traffic = fitter.finish(source, &inspection).context("the trace has no requests")?;
        fs::write(&out, traffic.to_string())
            .with_context(|| format!("cannot write {}", out.display()))?;
        for note in input::notes(&summary) {
            eprintln!("note: {note}");
        }
        let color = has_color(&std::io::stdout());
        let goodness = Goodness::of(&traffic, &inspection);
        let goodness = goodness.map_or_else(
            || "the trace is too short to compare\n".to_owned(),
            |goodness| table::render_goodness(&goodness, color),
        );
        print(&format!("{}\n\n{goodness}", out.display()))
    }
}
