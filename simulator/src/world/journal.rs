//! The journal of a run, for whoever asks for it.

use optimizer::journal::{Journal, Record};
use optimizer::units::Timestamp;
use optimizer::{Controller, Decision, FleetObservation};

/// A journal, and the records that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct KeptJournal {
    journal: Journal,
    records: Vec<Record>,
}

impl KeptJournal {
    /// Lets the controller decide, and keeps the record.
    pub(super) fn step(
        &mut self,
        controller: &mut Controller,
        now: Timestamp,
        observation: FleetObservation,
    ) -> Decision {
        let record = self.journal.step(controller, now, observation);
        let decision = record.decision.clone();
        self.records.push(record);
        decision
    }

    pub(super) fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }
}
