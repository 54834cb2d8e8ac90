//! An explanation in plain words.

use super::{Condition, Explanation};
use crate::decision::VariantDecision;
use crate::reason::{Action, Reason, VoteReason};

impl Explanation {
    /// What was decided, what it came from, and what would have changed it: a few sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![format!("{}{}.", self.outcome(), self.cause())];
        sentences.extend(self.counterfactual());
        sentences
    }

    fn outcome(&self) -> String {
        let VariantDecision { variant, current, desired, action, .. } = &self.decision;
        match action {
            Action::NoChange => format!("{variant} stays at {current}"),
            Action::ScaleUp => format!("{variant} grows from {current} to {desired}"),
            Action::ScaleDown => format!("{variant} shrinks from {current} to {desired}"),
        }
    }

    /// The reason of the trail that says most about the outcome.
    fn cause(&self) -> String {
        let cause = self.decision.trail.iter().filter(|reason| self.is_cause(reason));
        let causes: Vec<String> = cause.map(ToString::to_string).collect();
        if causes.is_empty() {
            let last = self.decision.trail.last().filter(|last| self.bound.as_ref() != Some(last));
            return last.map_or_else(String::new, |last| format!(": {last}"));
        }
        format!(": {}", causes.join(", and "))
    }

    fn is_cause(&self, reason: &Reason) -> bool {
        let says_why_more = matches!(
            reason,
            Reason::AllSaturated { .. }
                | Reason::MeanSaturated { .. }
                | Reason::KvSpareLow { .. }
                | Reason::QueueSpareLow { .. }
                | Reason::Vote(VoteReason::Uncovered { .. } | VoteReason::CannotCover { .. })
        );
        let says_why_fewer = matches!(
            reason,
            Reason::RemovalSafe { .. } | Reason::Vote(VoteReason::Releasable { .. })
        );
        let says_why_not = matches!(
            reason,
            Reason::NothingReported
                | Reason::SignalsMissing
                | Reason::RemovalUnsafe { .. }
                | Reason::TooFewToShrink { .. }
                | Reason::Vote(VoteReason::Kept { .. } | VoteReason::Vetoed(_))
        );
        match self.decision.action {
            Action::ScaleUp => says_why_more,
            Action::ScaleDown => says_why_fewer,
            // A removal that a rule holds back has its reasons too.
            Action::NoChange => says_why_more || says_why_not || says_why_fewer,
        }
    }

    fn counterfactual(&self) -> Option<String> {
        let more = all(&self.more, " or ").map(|when| format!("one more would be there {when}"));
        let fewer = all(&self.fewer, " and ").map(|when| format!("one fewer would do {when}"));
        let both: Vec<String> = more.into_iter().chain(fewer).collect();
        (!both.is_empty()).then(|| sentence(&both.join("; ")))
    }
}

/// The conditions as one clause; `None` when there are none.
fn all(conditions: &[Condition], between: &str) -> Option<String> {
    let clauses: Vec<String> = conditions.iter().map(clause).collect();
    (!clauses.is_empty()).then(|| clauses.join(between))
}

fn clause(condition: &Condition) -> String {
    match condition {
        Condition::Load { factor, analyzer } if *factor >= 10.0 => {
            format!("with {factor:.0} times the load (by {analyzer})")
        }
        Condition::Load { factor, analyzer } if *factor >= 1.0 => {
            format!("with {:.0} % more load (by {analyzer})", (factor - 1.0) * 100.0)
        }
        Condition::Load { factor, analyzer } => {
            format!("with {:.0} % less load (by {analyzer})", (1.0 - factor) * 100.0)
        }
        Condition::Mean { signal, now, at } => {
            format!("with a mean {signal} of {at:.2} instead of {now:.2}")
        }
        Condition::Rule { reason } => format!("but for a rule ({reason})"),
    }
}

/// A clause with a capital letter and a full stop.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
