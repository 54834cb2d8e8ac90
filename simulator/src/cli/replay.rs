//! `plimsoll replay`: recorded decisions, made again.

mod report;

use std::io;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueHint};
use optimizer::journal::{Mismatch, Replayer};

use super::{Failure, has_color, print};
use crate::results::{JournalError, read_journal};
use crate::scenario;

/// Make the decisions of a journal again, and say whether they are the same.
///
/// A journal holds what the controller saw and what it decided, so the same code decides the same
/// again, to the last bit. With --policy it shows what another policy would have decided: each time
/// on what was recorded, which followed from the recorded decisions and not from its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  plimsoll simulate scenarios/quickstart.yaml --journal
  plimsoll replay out/quickstart/journal.jsonl
  plimsoll replay out/quickstart/journal.jsonl --policy mine.yaml

Exit codes:
  0  the decisions are the same, or --policy was given
  1  a decision differs, or the journal cannot be read or replayed
  2  bad input: nothing was replayed")]
pub(super) struct ReplayArgs {
    /// The journal, a record a line.
    #[arg(value_hint = ValueHint::FilePath)]
    journal: PathBuf,
    /// Decide by this policy file, and show where its replica counts differ.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
}

impl ReplayArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut replayer = Replayer::default();
        if let Some(path) = &self.policy {
            let policy = scenario::read_policy(path).map_err(|error| Failure::Input {
                scenario: path.to_string_lossy().into_owned(),
                error,
            })?;
            replayer = Replayer::with_policy(policy);
        }
        let (mismatches, steps) = self.replay(replayer).map_err(anyhow::Error::new)?;
        if self.policy.is_some() {
            let text = report::changes(&mismatches, steps, has_color(&io::stdout()));
            return Ok(print(&text)?);
        }
        if mismatches.is_empty() {
            return Ok(print(&format!("{}, all the same\n", report::decisions(steps)))?);
        }
        print(&report::mismatches(&mismatches))?;
        let differ = mismatches.len();
        Err(anyhow!("{differ} of {} came out differently", report::decisions(steps)).into())
    }

    /// What came out differently, and how many steps were made again.
    fn replay(&self, mut replayer: Replayer) -> Result<(Vec<Mismatch>, u64), JournalError> {
        let mut mismatches = Vec::new();
        let mut last = 1;
        for read in read_journal(&self.journal)? {
            let (line, record) = read?;
            let checked = replayer.check(&record);
            let failed = |error| JournalError::at(&self.journal, line, error);
            mismatches.extend(checked.map_err(failed)?);
            last = line;
        }
        let steps = replayer.finish();
        let steps = steps.map_err(|error| JournalError::at(&self.journal, last, error))?;
        Ok((mismatches, steps))
    }
}
