//! `plimsoll simulate`: one scenario, from its file to its results.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, ValueHint};
use optimizer::units::{Fraction, Seconds, Timestamp};

use super::progress::Bar;
use super::{EXIT_CODES, Failure, has_color, print};
use crate::records::{Recording, RequestRecord};
use crate::results::{
    self, JournalFile, ReportInput, RequestsFile, ResultsError, RunInfo, Summary,
};
use crate::scenario::{Overrides, Scenario};
use crate::world::Simulation;

/// Run a scenario in simulated time, print its results and write them to a folder.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct SimulateArgs {
    /// The scenario file.
    #[arg(value_hint = ValueHint::FilePath)]
    scenario: PathBuf,
    /// Replay this trace in place of the one that the scenario names.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    trace: Option<String>,
    /// The Hugging Face config.json of the one model that the scenario has. Unless the scenario has
    /// a step time of its own, its variants need `stepTime: roofline`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    model_config: Option<String>,
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
    /// Also write journal.jsonl: what the controller saw and decided at each step, for `plimsoll
    /// replay` and `plimsoll explain`.
    #[arg(long)]
    journal: bool,
    /// Write no requests.parquet, which has a row for every request.
    #[arg(long)]
    no_requests: bool,
    /// Print nothing but problems.
    #[arg(long, short)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  plimsoll simulate scenarios/quickstart.yaml
  plimsoll simulate scenarios/quickstart.yaml --set models[0].slo.ttft=1s --out out/strict
  plimsoll simulate scenarios/azure-conv-h100.yaml --trace conv.csv --policy mine.yaml
  plimsoll simulate scenarios/quickstart.yaml --journal
  plimsoll simulate scenarios/quickstart.yaml --quiet --min-attainment 0.99

A path in a scenario is relative to it; one on the command line, to the working directory.";

impl SimulateArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let overrides = Overrides {
            set: self.set,
            trace: self.trace,
            model_config: self.model_config,
            policy: self.policy,
            seed: self.seed,
        };
        let file = self.scenario.to_string_lossy().into_owned();
        let scenario = Scenario::load(&self.scenario, &overrides)
            .map_err(|error| Failure::Input { scenario: file.clone(), error })?;
        let Scenario { setup, description, text, length, notes } = scenario;
        let out = self.out.unwrap_or_else(|| Path::new("out").join(&setup.name));
        let policy = setup.policy.clone();
        if !self.quiet {
            for note in &notes {
                eprintln!("note: {note}");
            }
        }

        let began = wall_clock();
        let mut simulation = Simulation::new(setup).context("cannot build the simulated world")?;
        let mut streamed = Streamed::default();
        if !self.no_requests {
            let file = RequestsFile::create(&out, simulation.recording());
            streamed.requests = Some(file.map_err(anyhow::Error::new)?);
        }
        if self.journal {
            simulation.keep_journal();
            streamed.journal = Some(JournalFile::create(&out).map_err(anyhow::Error::new)?);
        }
        let bar = Bar::new(length, self.quiet);
        let recording = run_to_end(simulation, length, &bar, &mut streamed)?;
        let wall = Seconds::new(began.elapsed().as_secs_f64());

        let summary = Summary::of(&recording);
        let policy_text = serde_json::to_string_pretty(&policy);
        let input = ReportInput {
            recording: &recording,
            summary: &summary,
            description: &description,
            scenario_text: &text,
            policy_text: &policy_text.context("cannot write out the policy")?,
            kv_threshold: Some(policy.saturation.kv_cache_threshold),
            version: Some(VERSION),
        };
        let mut files = results::write(&out, &input).map_err(anyhow::Error::new)?;
        files.extend(streamed.finish().map_err(anyhow::Error::new)?);
        let mut info = RunInfo::new(VERSION, &summary, wall);
        info.command = std::env::args().collect();
        info.scenario_file = Some(file);
        info.files = files.iter().map(|path| file_name(path)).collect();
        files.push(results::write_run_info(&out, &info).map_err(anyhow::Error::new)?);
        if !self.quiet {
            let table = results::table::render(&recording, &summary, has_color(&io::stdout()));
            print(&format!("{table}\n{}", written(&out, &files)))?;
        }

        match self.min_attainment {
            Some(least) if summary.slo_attainment.is_none_or(|share| share < least.value()) => {
                Err(Failure::Attainment { found: summary.slo_attainment, least })
            }
            _ => Ok(()),
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The files that are written while the run goes on.
#[derive(Debug, Default)]
struct Streamed {
    requests: Option<RequestsFile>,
    journal: Option<JournalFile>,
}

impl Streamed {
    /// Writes what the run does not need any more.
    fn append(&mut self, simulation: &mut Simulation) -> Result<(), ResultsError> {
        let ended = simulation.take_requests();
        self.append_requests(ended)?;
        let records = simulation.take_journal();
        self.journal.as_mut().map_or(Ok(()), |file| file.append(&records))
    }

    fn append_requests(&mut self, ended: Vec<RequestRecord>) -> Result<(), ResultsError> {
        self.requests.as_mut().map_or(Ok(()), |file| file.append(ended))
    }

    fn finish(self) -> Result<Vec<PathBuf>, ResultsError> {
        let requests = self.requests.map(RequestsFile::finish);
        let journal = self.journal.map(JournalFile::finish);
        requests.into_iter().chain(journal).collect()
    }
}

/// Runs to the end, in slices of simulated time that let the bar move and what is streamed go to its
/// files.
fn run_to_end(
    mut simulation: Simulation,
    length: Seconds,
    bar: &Bar,
    streamed: &mut Streamed,
) -> anyhow::Result<Recording> {
    let slice = Seconds::new((length.value() / SLICES).max(1.0));
    let mut horizon = Timestamp::ZERO + slice;
    while !simulation.run_until(horizon) {
        bar.show(&simulation.progress());
        streamed.append(&mut simulation)?;
        horizon += slice;
    }
    bar.clear();
    streamed.append(&mut simulation)?;
    let mut recording = simulation.finish();
    streamed.append_requests(std::mem::take(&mut recording.requests))?;
    Ok(recording)
}

/// Slices of a run: enough for the bar to move smoothly, too few to cost anything.
const SLICES: f64 = 1000.0;

/// The only clock that the simulator reads: it tells how long a run took, and nothing in the run.
#[expect(clippy::disallowed_methods, reason = "a person wants to know how long the run took")]
fn wall_clock() -> Instant {
    Instant::now()
}

/// Which files were written, and which one to open first.
fn written(out: &Path, files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|path| file_name(path)).collect();
    let report = out.join("report.html");
    format!("Wrote to {}: {}\nReport: {}\n", out.display(), names.join(", "), report.display())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn share(text: &str) -> Result<Fraction, String> {
    let number = text.parse().ok().and_then(Fraction::checked);
    number.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
