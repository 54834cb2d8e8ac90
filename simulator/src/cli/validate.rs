//! `plimsoll validate`: the simulator against recorded runs.

mod overlay;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueHint};

use super::{has_color, print};
use crate::validation::{Comparison, Row, Run, RunError, compare, medians, survey};

/// Replay recorded runs of real servers, and print how far the simulator is off
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  plimsoll validate runs/vllm-0.19-requests --out out/validation

A run is a folder with meta.json and requests.jsonl. The step times come from timings of single
layers in its folder layers/.")]
pub(super) struct ValidateArgs {
    /// The folder with the runs, at any depth
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Print a JSON list of all numbers in place of the tables
    #[arg(long)]
    json: bool,
    /// Also write the list, and a figure of each run's batch and queue over time, to this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
}

impl ValidateArgs {
    /// Does what was asked.
    ///
    /// # Errors
    ///
    /// When the folder has no run that can be compared; when a run is broken, after the others.
    pub(super) fn run(self) -> Result<()> {
        let Self { dir, json, out } = self;
        let found = survey(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        let mut unread: Vec<_> =
            found.unread.iter().map(|path| (path.clone(), KIND.to_owned())).collect();
        let (mut comparisons, mut broken) = (Vec::new(), Vec::new());
        for folder in found.runs {
            match Run::read(&folder).and_then(compare) {
                Ok(comparison) => comparisons.push(comparison),
                Err(RunError::NotYet(what)) => unread.push((folder, what)),
                Err(error) => broken.push(format!("{}: {error}", folder.display())),
            }
        }
        report_unread(&unread);
        if comparisons.is_empty() && broken.is_empty() {
            bail!("{}: no run that can be compared", dir.display());
        }
        let rows: Vec<&Row> = comparisons.iter().flat_map(|run| &run.rows).collect();
        let list = serde_json::to_string_pretty(&rows).context("cannot write out the list")? + "\n";
        if json {
            for comparison in &comparisons {
                report_notes(comparison);
            }
            print(&list)?;
        } else if !comparisons.is_empty() {
            let rows: Vec<Row> = rows.iter().map(|row| (*row).clone()).collect();
            print(&table::render(&comparisons, &medians(&rows), has_color(&io::stdout())))?;
        }
        if let Some(out) = out {
            write(&out, &comparisons, &list)?;
        }
        if !broken.is_empty() {
            bail!("broken runs, which are not compared:\n{}", broken.join("\n"));
        }
        Ok(())
    }
}

const KIND: &str = "summaries of runs, which have no single requests";

/// Nothing is passed over in silence. On the standard error, since the list may be for a program.
fn report_unread(unread: &[(PathBuf, String)]) {
    for (path, what) in unread {
        eprintln!("not read yet: {}: {what}", path.display());
    }
}

fn report_notes(comparison: &Comparison) {
    for note in &comparison.notes {
        eprintln!("note: {}: {note}", comparison.run.name);
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
