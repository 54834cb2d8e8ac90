//! The journal: one record for each step, from which the step can be done again.
//!
//! A record holds all that a step depends on (time, observation, policy, memory) and what was
//! decided. Policy and memory are long and seldom change or follow from the steps before, so most
//! records hold only their [`Digest`]s. The first record of a [`Journal`], one of every
//! [`CHECKPOINT_EVERY`] after it, and the first of each file for which [`Journal::begin_file`] was
//! called, are *checkpoints* and hold both in full: a journal of which the beginning was rotated away
//! is replayed from its first checkpoint.
//!
//! Each record is one line of JSON. Numbers survive it: what is read equals what was written, bit for
//! bit, and so [`replay()`] asks that each decision be the same to the last bit.
//!
//! ```
//! use optimizer::journal::{Journal, Record, replay};
//! use optimizer::units::Timestamp;
//! use optimizer::{Controller, FleetObservation, Policy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut controller = Controller::new(Policy::default())?;
//! let mut journal = Journal::default();
//! let now = Timestamp::from_seconds(30.0);
//! let record = journal.step(&mut controller, now, FleetObservation::default());
//!
//! let line = record.to_line();
//! assert_eq!(replay(&[Record::parse(&line)?])?, []);
//! # Ok(())
//! # }
//! ```

mod digest;
mod replay;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use digest::Digest;
pub use replay::{Difference, Mismatch, ReplayError, Replayer, replay};

use crate::controller::{Controller, Memory};
use crate::decision::Decision;
use crate::observation::FleetObservation;
use crate::policy::Policy;
use crate::units::Timestamp;

/// The version of the format that this code writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// Steps from one checkpoint to the next: at the usual interval of 30 s, about an hour.
pub const CHECKPOINT_EVERY: u64 = 120;

/// One step: what it was given, and what it decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// The version of the format.
    pub version: u32,
    /// The number of the step since its driver started, from 0.
    pub step: u64,
    /// The time of the step.
    pub at: Timestamp,
    /// What was known.
    pub observation: FleetObservation,
    /// The policy in force.
    pub policy: PolicyEntry,
    /// The digest of the memory with which the step began.
    pub memory_digest: Digest,
    /// That memory, if the record is a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Memory>,
    /// What was decided.
    pub decision: Decision,
}

/// A policy, or the mention of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyEntry {
    /// All of it: in a checkpoint, and where it differs from that of the record before.
    Whole(Box<Policy>),
    /// That of the record before, which has this digest.
    Same(Digest),
}

impl Record {
    /// The record as one line of JSON, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a record is plain data with text for keys")
    }

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// When it is no record, or one of another version.
    pub fn parse(line: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // Another version may have other fields, so its number comes first.
        let Versioned { version } = serde_json::from_str(line)?;
        if version != VERSION {
            return Err(RecordError::Version { found: version });
        }
        Ok(serde_json::from_str(line)?)
    }
}

/// A line is no record.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It is not JSON, or a field is missing, unknown or out of its range.
    #[error("no record of a journal: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is a record of another version of the format.
    #[error("a record of version {found}, and only version {VERSION} can be read")]
    Version {
        /// The version.
        found: u32,
    },
}

/// Keeps the journal of a controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    steps: u64,
    /// The digest of the policy in the record before.
    policy: Option<Digest>,
    begins_file: bool,
}

impl Journal {
    /// Makes the next record a checkpoint, since it is the first of a file.
    pub const fn begin_file(&mut self) {
        self.begins_file = true;
    }

    /// Lets the controller decide, and returns the record of that, with the decision in it.
    pub fn step(
        &mut self,
        controller: &mut Controller,
        now: Timestamp,
        observation: FleetObservation,
    ) -> Record {
        let is_due = self.steps.is_multiple_of(CHECKPOINT_EVERY);
        let is_checkpoint = std::mem::take(&mut self.begins_file) || is_due;
        let policy_digest = Digest::of(controller.policy());
        let before = self.policy.replace(policy_digest);
        let policy = if is_checkpoint || before != Some(policy_digest) {
            PolicyEntry::Whole(Box::new(controller.policy().clone()))
        } else {
            PolicyEntry::Same(policy_digest)
        };
        let memory_digest = Digest::of(controller.memory());
        let checkpoint = is_checkpoint.then(|| controller.memory().clone());
        let decision = controller.step(now, &observation);
        let step = self.steps;
        self.steps += 1;
        Record {
            version: VERSION,
            step,
            at: now,
            observation,
            policy,
            memory_digest,
            checkpoint,
            decision,
        }
    }
}
