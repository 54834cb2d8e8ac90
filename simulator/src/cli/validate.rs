//! `plimsoll validate`: the simulator against recorded runs.

mod overlay;
mod summary;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueHint};

use super::progress::Spinner;
use super::{has_color, print};
use crate::catalog::Catalog;
use crate::validation::summary::{SummaryComparison, SummaryError, read_folder, read_table, score};
use crate::validation::{Comparison, Row, Run, RunError, Survey, compare, medians, survey};

/// Replay recorded runs of real servers, and print how far the simulator is off
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  plimsoll validate runs/vllm-0.19-requests --out out/validation
  plimsoll validate runs/h100 --json

Three kinds of runs are found, at any depth:
  - A folder with meta.json and requests.jsonl: every request is replayed. The step times come from
    timings of single layers in its folder layers/.
  - A folder that inference-perf wrote, with profile.yaml, exp-config.yaml and
    stage_N_lifecycle_metrics.json: its load is drawn again by the same rules. The step times are
    those of the catalog: a profile, or else a roofline.
  - A CSV file with a line for each experiment, stage and metric: likewise. Its column workload is
    one of general, general-lite, codegen, roleplay, reasoning and reasoning-lite.

Runs that their server could not keep up with are printed, but left out of the medians.")]
pub(super) struct ValidateArgs {
    /// The folder with the runs
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Print a JSON list of all numbers in place of the tables
    #[arg(long)]
    json: bool,
    /// Also write the list, and a figure of each run's batch and queue over time, to this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// How often the load of a run is drawn of which only summaries are known; the mean counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
}

impl ValidateArgs {
    /// Does what was asked.
    ///
    /// # Errors
    ///
    /// When the folder has no run that can be compared; when a run is broken, after the others.
    pub(super) fn run(self) -> Result<()> {
        let Self { dir, json, out, seeds } = self;
        let found = survey(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        let Findings { replayed, summaries, unread, broken } = Findings::of(found, seeds);
        report_unread(&unread);
        if replayed.is_empty() && summaries.is_empty() && broken.is_empty() {
            bail!("{}: no run that can be compared", dir.display());
        }
        let rows = replayed.iter().flat_map(|run| &run.rows);
        let rows: Vec<&Row> = rows.chain(summaries.iter().flat_map(|run| &run.rows)).collect();
        let list = serde_json::to_string_pretty(&rows).context("cannot write out the list")? + "\n";
        if json {
            for comparison in &replayed {
                report_notes(&comparison.run.name, &comparison.notes);
            }
            for comparison in &summaries {
                report_notes(&comparison.run.name, &comparison.notes);
            }
            print(&list)?;
        } else {
            let color = has_color(&io::stdout());
            if !replayed.is_empty() {
                let rows: Vec<Row> = replayed.iter().flat_map(|run| run.rows.clone()).collect();
                print(&table::render(&replayed, &medians(&rows), color))?;
            }
            if !summaries.is_empty() {
                print(&summary::render(&summaries, color))?;
            }
        }
        if let Some(out) = out {
            write(&out, &replayed, &list)?;
        }
        if !broken.is_empty() {
            bail!("broken runs, which are not compared:\n{}", broken.join("\n"));
        }
        Ok(())
    }
}

/// What became of the runs that were found.
#[derive(Debug, Default)]
struct Findings {
    replayed: Vec<Comparison>,
    summaries: Vec<SummaryComparison>,
    /// What cannot be simulated, and why.
    unread: Vec<(PathBuf, String)>,
    broken: Vec<String>,
}

impl Findings {
    fn of(found: Survey, seeds: u64) -> Self {
        let mut findings = Self { unread: found.unread, ..Self::default() };
        let bar = Spinner::new();
        for folder in found.runs {
            bar.show(&folder.display().to_string());
            match Run::read(&folder).and_then(compare) {
                Ok(comparison) => findings.replayed.push(comparison),
                Err(RunError::NotYet(what)) => findings.unread.push((folder, what)),
                Err(error) => findings.broken.push(format!("{}: {error}", folder.display())),
            }
        }
        let catalog = Catalog::builtin();
        for folder in found.summary_folders {
            bar.show(&folder.display().to_string());
            let scored = read_folder(&folder, &catalog).and_then(|run| score(run, &catalog, seeds));
            findings.note(folder, scored);
        }
        for file in found.summary_tables {
            let table = match read_table(&file) {
                Ok(table) => table,
                Err(error) => {
                    findings.broken.push(error.to_string());
                    continue;
                }
            };
            let skipped = table.skipped.into_iter();
            findings.unread.extend(skipped.map(|(name, why)| (file.join(name), why)));
            for run in table.runs {
                let path = file.join(&run.name);
                bar.show(&path.display().to_string());
                // A run may be in a table and in a folder of its own, which says more of it.
                if findings.summaries.iter().any(|other| other.run.name == run.name) {
                    findings.unread.push((path, "the run is also in a folder".to_owned()));
                } else {
                    findings.note(path, score(run, &catalog, seeds));
                }
            }
        }
        bar.clear();
        findings
    }

    fn note(&mut self, path: PathBuf, scored: Result<SummaryComparison, SummaryError>) {
        match scored {
            Ok(comparison) => self.summaries.push(comparison),
            Err(SummaryError::Skipped(why)) => self.unread.push((path, why)),
            Err(error) => self.broken.push(format!("{}: {error}", path.display())),
        }
    }
}

/// Nothing is passed over in silence. On the standard error, since the list may be for a program.
fn report_unread(unread: &[(PathBuf, String)]) {
    for (path, what) in unread {
        eprintln!("not compared: {}: {what}", path.display());
    }
}

fn report_notes(run: &str, notes: &[String]) {
    for note in notes {
        eprintln!("note: {run}: {note}");
    }
}

fn write(out: &Path, comparisons: &[Comparison], list: &str) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let path = out.join("validation.json");
    fs::write(&path, list).with_context(|| format!("cannot write {}", path.display()))?;
    for comparison in comparisons {
        let path = out.join(format!("{}.svg", comparison.run.name));
        if !comparison.run.samples.is_empty() {
            overlay::draw(&path, comparison)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        validate: ValidateArgs,
    }

    fn validate(folder: &Path) -> Result<()> {
        let folder = folder.to_str().unwrap();
        Command::try_parse_from(["validate", folder]).unwrap().validate.run()
    }

    #[test]
    fn a_folder_without_runs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let check = |folder: &Path, expected: &str| {
            let error = format!("{:#}", validate(folder).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(folder.path(), "no run that can be compared");
        check(&folder.path().join("absent"), "cannot list ");
        for file in ["meta.json", "requests.jsonl"] {
            fs::write(folder.path().join(file), "{}").unwrap();
        }
        check(folder.path(), "meta.json:1: missing field `model`");
    }
}
