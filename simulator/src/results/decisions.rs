//! Every decision that moved a replica count, with its reasons: `decisions.jsonl`.

use std::io;

use optimizer::decision::{Action, Reason, VoteReason};
use optimizer::id::{AcceleratorId, ModelId, Namespace, VariantId};
use optimizer::units::Replicas;
use serde::Serialize;

use crate::records::Recording;

/// One line of `decisions.jsonl`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at_s: f64,
    namespace: &'a Namespace,
    model: &'a ModelId,
    variant: &'a VariantId,
    accelerator: &'a AcceleratorId,
    /// Replicas that existed.
    current: Replicas,
    /// The count that was wanted before.
    previous: Replicas,
    /// The count that is wanted now.
    desired: Replicas,
    action: Action,
    /// The trail, for programs.
    reasons: &'a [Reason],
    /// The trail, for people.
    because: Vec<String>,
}

/// Writes one JSON object a line, by time.
///
/// # Errors
///
/// What `out` returns.
pub fn write_jsonl(recording: &Recording, out: &mut impl io::Write) -> io::Result<()> {
    for scaling in &recording.scalings {
        let variant = &recording.variants[scaling.variant];
        let model = &recording.models[variant.model];
        let line = Line {
            at_s: scaling.at.as_seconds(),
            namespace: &model.namespace,
            model: &model.model,
            variant: &variant.variant,
            accelerator: &variant.accelerator,
            current: scaling.current,
            previous: scaling.previous,
            desired: scaling.desired,
            action: scaling.action,
            reasons: &scaling.trail,
            because: scaling.trail.iter().map(ToString::to_string).collect(),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The reason that says most in one sentence: what the analyzer concluded, else the first that is
/// more than an observation, else the observation.
pub(crate) fn main_reason(trail: &[Reason]) -> Option<&Reason> {
    let concluded = |reason: &&Reason| {
        matches!(
            reason,
            Reason::AllSaturated { .. }
                | Reason::MeanSaturated { .. }
                | Reason::KvSpareLow { .. }
                | Reason::QueueSpareLow { .. }
                | Reason::RemovalSafe { .. }
                | Reason::Vote(
                    VoteReason::Uncovered { .. }
                        | VoteReason::CannotCover { .. }
                        | VoteReason::Releasable { .. }
                )
                | Reason::Zero(_)
                | Reason::AtMinimum { .. }
                | Reason::AtMaximum { .. }
        )
    };
    let seen = |reason: &&Reason| matches!(reason, Reason::Observed { .. });
    trail
        .iter()
        .find(concluded)
        .or_else(|| trail.iter().find(|reason| !seen(reason)))
        .or_else(|| trail.first())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ScalingRecord;
    use crate::results::sample::{self, Shape};

    #[test]
    fn a_decision_is_one_line_with_its_reasons_twice() {
        let mut recording = sample::recording(Shape::HALF_HOUR);
        let all = recording.scalings.len();
        let mut text = Vec::new();
        write_jsonl(&recording, &mut text).unwrap();
        assert_eq!(std::str::from_utf8(&text).unwrap().lines().count(), all);

        recording.scalings.truncate(1);
        text.clear();
        write_jsonl(&recording, &mut text).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&text).unwrap();
        insta::assert_json_snapshot!(line);
    }

    #[test]
    fn the_main_reason_is_what_the_analyzer_concluded() {
        let recording = sample::recording(Shape::HALF_HOUR);
        let mut scaling = recording.scalings[0].clone();
        let name = |scaling: &ScalingRecord| main_reason(&scaling.trail).map(Reason::as_str);
        assert_eq!(name(&scaling), Some("kv-spare-low"));
        scaling.trail.remove(1);
        assert_eq!(name(&scaling), Some("cheapest-to-grow"));
        scaling.trail.truncate(1);
        assert_eq!(name(&scaling), Some("observed"));
        scaling.trail.clear();
        assert_eq!(name(&scaling), None);
    }
}
