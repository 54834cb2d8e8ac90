//! `plimsoll simulate`: one scenario, from its file to its results.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, ValueHint};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use optimizer::units::{Fraction, Seconds, Timestamp};

use super::{Failure, has_color, print};
use crate::records::Recording;
use crate::scenario::{Overrides, Scenario};
use crate::setup::Setup;
use crate::world::Simulation;

/// Run a scenario in simulated time, print its results and write them to a folder.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SimulateArgs {
    /// The scenario file.
    #[arg(value_hint = ValueHint::FilePath)]
    scenario: PathBuf,
    /// Replay this trace in place of the one that the scenario names.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    trace: Option<String>,
    /// Decide by this policy file in place of the scenario's policy.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<String>,
    /// The seed of all that is random.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Set a field of the scenario; may be repeated. The value is YAML.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The folder for the results. Files of an earlier run are overwritten [default: out/<name of
    /// the scenario>].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// Fail with exit code 3 when a smaller share of the requests, from 0 to 1, met their targets.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_attainment: Option<Fraction>,
    /// Print nothing but problems.
    #[arg(long, short)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  plimsoll simulate scenarios/quickstart.yaml
  plimsoll simulate scenarios/quickstart.yaml --set models[0].slo.ttft=1s --out out/strict
  plimsoll simulate scenarios/azure-conv-h100.yaml --trace conv.csv --policy mine.yaml
  plimsoll simulate scenarios/quickstart.yaml --quiet --min-attainment 0.99

A path in a scenario is relative to it; one on the command line, to the working directory.

Exit codes:
  0  success
  1  the run or a file could not be finished
  2  bad input: nothing was run, nothing was written
  3  --min-attainment was not met";

impl SimulateArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let overrides = Overrides {
            set: self.set,
            trace: self.trace,
            policy: self.policy,
            seed: self.seed,
        };
        let file = self.scenario.to_string_lossy().into_owned();
        let scenario = Scenario::load(&self.scenario, &overrides)
            .map_err(|error| Failure::Input { scenario: file.clone(), error })?;
        Ok(())
    }
}
