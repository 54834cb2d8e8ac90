//! Doing recorded steps again.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Digest, PolicyEntry, Record};
use crate::controller::{Controller, InvalidPolicy, Memory};
use crate::decision::{Decision, VariantDecision};
use crate::id::{Namespace, VariantId};
use crate::policy::Policy;
use crate::units::Timestamp;

/// Does the steps of `records` again, in their order, and returns what came out differently. Records
/// before the first checkpoint are passed over.
///
/// # Errors
///
/// When there is no checkpoint, or what a step needs was lost.
pub fn replay<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<Vec<Mismatch>, ReplayError> {
    let mut replayer = Replayer::default();
    let mut mismatches = Vec::new();
    for record in records {
        mismatches.extend(replayer.check(record)?);
    }
    replayer.finish()?;
    Ok(mismatches)
}

/// Does recorded steps again, one at a time.
#[derive(Debug, Clone, Default)]
pub struct Replayer {
    /// The policy by which all is decided, in place of the recorded one.
    instead: Option<Policy>,
    /// The recorded policy in force, and its digest.
    policy: Option<(Digest, Policy)>,
    /// What is remembered after the last step.
    memory: Option<Memory>,
    /// The number of the record that should come next.
    next: u64,
    replayed: u64,
}

/// A step that did not come out as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// The number of the step.
    pub step: u64,
    /// Its time.
    pub at: Timestamp,
    /// Whether the memory with which it began was another.
    pub memory_differs: bool,
    /// The variants of which another decision was made, sorted by namespace and name.
    pub variants: Vec<Difference>,
}

/// Two decisions about one variant; at least one of them exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What is recorded; `None` when nothing was decided.
    pub recorded: Option<VariantDecision>,
    /// What was decided now; `None` when nothing was.
    pub replayed: Option<VariantDecision>,
}

/// Why records cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// No record holds a memory to begin with.
    #[error("there is no checkpoint, so nothing can be replayed")]
    NoCheckpoint,
    /// A record is missing, and with it what was remembered.
    #[error("step {found} follows where step {expected} should be")]
    Gap {
        /// The number of the step that should have come.
        expected: u64,
        /// The number of the step that came.
        found: u64,
    },
    /// A record mentions a policy that no record before it holds.
    #[error("the policy {digest} of step {step} is in no record before it")]
    PolicyUnknown {
        /// The number of the step.
        step: u64,
        /// The policy that it mentions.
        digest: Digest,
    },
    /// A policy breaks its rules.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
}

impl Replayer {
    /// One that decides by `policy`, whatever the recorded one.
    ///
    /// It remembers what it decides itself, but what it sees is what followed from the recorded
    /// decisions: after the first difference it says what the policy would have done in the recorded
    /// state, not where it would have led.
    #[must_use]
    pub fn with_policy(policy: Policy) -> Self {
        Self { instead: Some(policy), ..Self::default() }
    }

    /// Does one step again and compares it to the record, memory and all. `None` when it came out the
    /// same, or when no checkpoint has come yet.
    ///
    /// # Errors
    ///
    /// When what the step needs was lost.
    pub fn check(&mut self, record: &Record) -> Result<Option<Mismatch>, ReplayError> {
        let Some((memory, decision)) = self.step(record)? else { return Ok(None) };
        let memory_differs = self.instead.is_none() && memory != record.memory_digest;
        let variants = differences(&record.decision, &decision);
        let mismatch = Mismatch { step: record.step, at: record.at, memory_differs, variants };
        Ok((mismatch.memory_differs || !mismatch.variants.is_empty()).then_some(mismatch))
    }

    /// The number of steps that were done again.
    #[must_use]
    pub const fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Says that no record follows, and returns how many steps were done again.
    ///
    /// # Errors
    ///
    /// When there was no checkpoint.
    pub fn finish(self) -> Result<u64, ReplayError> {
        if self.replayed == 0 { Err(ReplayError::NoCheckpoint) } else { Ok(self.replayed) }
    }

    /// The digest of the memory with which the step begins, and what is decided. `None` before the
    /// first checkpoint.
    fn step(&mut self, record: &Record) -> Result<Option<(Digest, Decision)>, ReplayError> {
        let follows = self.replayed > 0 && record.step == self.next;
        if !follows && record.checkpoint.is_none() {
            let (expected, found) = (self.next, record.step);
            let has_begun = self.replayed > 0;
            return if has_begun { Err(ReplayError::Gap { expected, found }) } else { Ok(None) };
        }
        self.learn_policy(record)?;
        let recorded = self.policy.as_ref().map(|(_, policy)| policy);
        let policy = self.instead.as_ref().or(recorded).cloned().unwrap_or_default();
        let checkpoint = record.checkpoint.clone();
        let carried = self.memory.take().filter(|_| follows);
        let memory = carried.or_else(|| checkpoint.clone()).unwrap_or_default();
        let digest = Digest::of(&memory);
        // A difference in memory is told once: after it, what is recorded counts again.
        let resumed = checkpoint.filter(|_| self.instead.is_none()).unwrap_or(memory);
        let mut controller = Controller::restore(policy, resumed)?;
        let decision = controller.step(record.at, &record.observation);
        self.memory = Some(controller.memory().clone());
        self.next = record.step + 1;
        self.replayed += 1;
        Ok(Some((digest, decision)))
    }

    /// Takes in the policy that a record holds, or makes sure that the one it mentions is known.
    fn learn_policy(&mut self, record: &Record) -> Result<(), ReplayError> {
        match &record.policy {
            PolicyEntry::Whole(policy) => {
                self.policy = Some((Digest::of(policy), (**policy).clone()));
                Ok(())
            }
            &PolicyEntry::Same(digest) => {
                let known = self.policy.as_ref().is_some_and(|&(known, _)| known == digest);
                let unknown = ReplayError::PolicyUnknown { step: record.step, digest };
                if known { Ok(()) } else { Err(unknown) }
            }
        }
    }
}

/// The variants about which the two decisions differ in anything, if only in the last bit of a reason.
fn differences(recorded: &Decision, replayed: &Decision) -> Vec<Difference> {
    type Pair<'a> = (Option<&'a VariantDecision>, Option<&'a VariantDecision>);
    let mut pairs: BTreeMap<(&Namespace, &VariantId), Pair<'_>> = BTreeMap::new();
    for decided in &recorded.variants {
        pairs.entry((&decided.namespace, &decided.variant)).or_default().0 = Some(decided);
    }
    for decided in &replayed.variants {
        pairs.entry((&decided.namespace, &decided.variant)).or_default().1 = Some(decided);
    }
    // The texts are compared, because 0 equals -0, and they tell one from the other.
    let text = |decided: Option<&VariantDecision>| decided.map(Digest::of);
    let differ = |&(recorded, replayed): &Pair<'_>| text(recorded) != text(replayed);
    let difference = |(recorded, replayed): Pair<'_>| Difference {
        recorded: recorded.cloned(),
        replayed: replayed.cloned(),
    };
    pairs.into_values().filter(differ).map(difference).collect()
}
