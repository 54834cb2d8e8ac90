//! The workloads that tables of runs name.

use std::ops::RangeInclusive;

use crate::workload::shared_prefix::{SharedPrefix, Stage};

/// A workload, by the name that tables call it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedWorkload {
    name: &'static str,
    system_prompt_tokens: u32,
    question_tokens: u32,
    /// Tokens of each answer.
    pub(super) output_tokens: u32,
    /// Requests per second, and seconds.
    stages: &'static [(f64, f64)],
}

/// Source: the `profile.yaml` of the runs in inference-sim's training data (ed5c1d26), and, of
/// those that end in `-lite`, the specifications beside sim-to-real-accuracy-validation.
const WORKLOADS: [NamedWorkload; 6] = [
    named("general", 100, 447, 248, &[(8.0, 600.0), (20.0, 600.0)]),
    named("general-lite", 100, 447, 248, &[(2.5, 600.0), (6.0, 600.0)]),
    named("codegen", 100, 466, 247, &[(5.0, 600.0), (10.0, 600.0)]),
    named("roleplay", 150, 600, 251, &[(6.0, 1200.0)]),
    named("reasoning", 100, 934, 1448, &[(4.0, 1200.0)]),
    named("reasoning-lite", 100, 934, 1448, &[(1.0, 1200.0)]),
];

const fn named(
    name: &'static str,
    system_prompt_tokens: u32,
    question_tokens: u32,
    output_tokens: u32,
    stages: &'static [(f64, f64)],
) -> NamedWorkload {
    NamedWorkload { name, system_prompt_tokens, question_tokens, output_tokens, stages }
}

/// System prompts, and questions for each, of inference-perf unless it is told otherwise.
///
/// The configurations of these runs do say otherwise (9 × 5, 11 × 4, …, as conversations), by names
/// that came with release 0.4. Their generator did not know them: no prompt is longer than one
/// question, and the mean of the prompts' lengths is a whole number of hundredths, as that of 100
/// prompts is that are asked equally often.
pub(super) const DEFAULT_GROUPS: u32 = 10;

/// How many tokens random ones become when they are written out and read again, at least and at
/// most. Over the 16 runs of inference-sim's training data that say it, a prompt has 1.041 to 1.052
/// times as many on average, and about 2.5 % more or less than that.
const REENCODED: (f64, f64) = (1.02, 1.07);

/// How long a question is when a prompt of `prompt` tokens is sent, of which `system` are shared.
pub(super) fn reencoded(system: u32, question: u32) -> RangeInclusive<u32> {
    let (least, most) = REENCODED;
    let prompt = f64::from(system + question);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let question = |factor: f64| (prompt * factor).round() as u32 - system;
    question(least)..=question(most)
}

impl NamedWorkload {
    /// The workload of an experiment. Tables also write `general` where the experiment's name says
    /// `general-lite`, and then the experiment is right.
    pub(super) fn of(workload: &str, experiment: &str) -> Option<&'static Self> {
        let lite = format!("{workload}-lite");
        let wanted = if experiment.contains(&lite) { &lite } else { workload };
        WORKLOADS.iter().find(|named| named.name == wanted)
    }

    /// Their names.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        WORKLOADS.iter().map(|named| named.name)
    }

    /// Who asks what.
    pub(super) fn shared_prefix(&self) -> SharedPrefix {
        SharedPrefix {
            groups: DEFAULT_GROUPS,
            prompts_per_group: DEFAULT_GROUPS,
            system_prompt_tokens: self.system_prompt_tokens,
            question_tokens: reencoded(self.system_prompt_tokens, self.question_tokens),
            output_tokens: self.output_tokens,
            multi_turn: false,
        }
    }

    /// For how long how many.
    pub(super) fn stages(&self) -> Vec<Stage> {
        self.stages.iter().map(|&(rate, duration)| Stage { rate, duration }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_experiment_comes_first() {
        let rate = |workload, experiment| {
            NamedWorkload::of(workload, experiment).map(|named| named.stages()[0].rate)
        };
        assert_eq!(rate("general", "60-llama-3-1-70b-tp4-general-lite-4-1"), Some(2.5));
        assert_eq!(rate("general", "16-llama-3-1-8b-tp1-general-1"), Some(8.0));
        assert_eq!(rate("general-lite", "38-llama-tp1-general-lite-1"), Some(2.5));
        assert_eq!(rate("reasoning", "48-scout-reasoning-lite-2"), Some(1.0));
        assert_eq!(rate("poetry", "49-scout-poetry"), None);
    }

    #[test]
    fn prompts_are_a_little_longer_than_was_asked_for() {
        assert_eq!(reencoded(100, 447), 458..=485);
    }
}
