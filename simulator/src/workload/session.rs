//! Conversations of people, and loops of agents that call tools.
//!
//! A session is a sequence of turns. Each turn is a request; the next is sent some time after the
//! answer, and its prompt is the last one, the answer, and new text. So how long a session takes
//! depends on the server, but not what is said in it: every session has its own chance, and two
//! policies see the same sessions.
//!
//! Whoever is refused, or loses an answer with its server, goes away. A session also ends when its
//! next turn would not fit the context of the model.

mod running;

use optimizer::units::Seconds;
use rand_distr::{Distribution, Exp1, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::length::NORMAL_P90;
use super::{Length, ThinkTime, WorkloadProblem};
use crate::kernel::Stream;

pub(super) use running::{Sessions, Source, cut};

/// What a session is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionShape {
    /// Requests of a session.
    pub turns: Turns,
    /// From an answer to the next request. Default: no time.
    #[serde(default)]
    pub think: ThinkTime,
    /// New tokens in the prompt of the first turn. Default: as in every turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_prompt: Option<Length>,
    /// Whether a prompt contains what was said before. Default: true.
    #[serde(default = "yes")]
    pub history: bool,
}

const fn yes() -> bool {
    true
}

impl SessionShape {
    /// A session of one request.
    pub(super) const SINGLE: Self = Self {
        turns: Turns::Constant(1),
        think: ThinkTime::Constant(Seconds::ZERO),
        first_prompt: None,
        history: true,
    };

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this shape in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        self.turns.validate(&format!("{path}.turns"), problems);
        self.think.validate(&format!("{path}.think"), problems);
        if let Some(prompt) = &self.first_prompt {
            prompt.validate(&format!("{path}.firstPrompt"), problems);
        }
    }
}

/// A distribution of the number of turns, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Turns {
    /// Always the same.
    Constant(u32),
    /// After each turn, the chance that another one follows is the same.
    Geometric {
        /// The mean number.
        #[schemars(range(min = 1))]
        mean: f64,
    },
    /// The logarithm of the number is normal.
    Lognormal {
        /// Half of the sessions have no more turns.
        #[schemars(range(min = 1))]
        median: f64,
        /// Nine of ten sessions have no more turns.
        #[schemars(range(min = 1))]
        p90: f64,
        /// Numbers above this are cut to it.
        max: u32,
    },
}

impl Turns {
    /// Draws a number.
    #[must_use]
    pub fn sample(&self, chance: &mut Stream) -> u32 {
        match *self {
            Self::Constant(turns) => turns,
            Self::Geometric { mean } => {
                // Rounded up, an exponential variable of rate -ln(1 - 1/mean) is geometric.
                let rate = -(-mean.recip()).ln_1p();
                let time: f64 = Exp1.sample(chance);
                at_least_one((time / rate).ceil())
            }
            Self::Lognormal { median, p90, max } => {
                let sigma = (p90 / median).ln() / NORMAL_P90;
                let deviation: f64 = StandardNormal.sample(chance);
                at_least_one((median * (sigma * deviation).exp()).round()).min(max)
            }
        }
    }

    fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        let one_or_more = |number: f64| number >= 1.0 && number.is_finite();
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        match *self {
            Self::Constant(turns) => check(turns >= 1, "constant", "at least 1"),
            Self::Geometric { mean } => check(one_or_more(mean), "geometric.mean", "at least 1"),
            Self::Lognormal { median, p90, max } => {
                check(one_or_more(median), "lognormal.median", "at least 1");
                let ordered = p90 >= median && p90.is_finite();
                check(ordered, "lognormal.p90", "a number that is not below median");
                check(f64::from(max) >= p90, "lognormal.max", "a number that is not below p90");
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is wanted")]
fn at_least_one(turns: f64) -> u32 {
    turns.max(1.0) as u32
}

/// A fixed number of users, each of whom waits for an answer before asking again: a closed loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Users {
    /// How many there are.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// From the end of a session, or of a request that is none, to the next. Default: no time.
    #[serde(default)]
    pub pause: ThinkTime,
    /// The time in which users come, one after the other. Default: all come at once.
    #[serde(default)]
    pub ramp_up: Seconds,
}

impl Users {
    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// these users in their file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        // Every one of them is remembered all the time.
        let bearable = (1..=1_000_000).contains(&self.count);
        let expected = "a number from 1 to 1000000";
        WorkloadProblem::unless(bearable, problems, || format!("{path}.count"), expected);
        self.pause.validate(&format!("{path}.pause"), problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Streams;

    #[test]
    fn turns_have_their_distribution() {
        let check = |turns: Turns, mean: f64, p90: u32| {
            let mut chance = Streams::new(1).stream("turns");
            let mut counts: Vec<_> = (0..100_000).map(|_| turns.sample(&mut chance)).collect();
            counts.sort_unstable();
            let found = counts.iter().map(|&count| f64::from(count)).sum::<f64>() / 1e5;
            assert!((found - mean).abs() < 0.02 * mean, "{turns:?}: {found} is not {mean}");
            assert!(counts[0] >= 1 && counts[90_000].abs_diff(p90) <= p90 / 25, "{turns:?}");
        };
        check(Turns::Constant(3), 3.0, 3);
        // Nine of ten: ln 0.1 / ln (2/3) = 5.7.
        check(Turns::Geometric { mean: 3.0 }, 3.0, 6);
        check(Turns::Geometric { mean: 1.0 }, 1.0, 1);
        // σ = ln 10 / 1.28155, and the mean is e^(σ²/2) times the median.
        check(Turns::Lognormal { median: 100.0, p90: 200.0, max: 100_000 }, 115.75, 200);
    }

    #[test]
    fn every_problem_of_a_session_is_found() {
        let text = r#"{"turns": {"lognormal": {"median": 0, "p90": -1, "max": 0}},
            "think": {"uniform": {"min": "2s", "max": "1s"}}, "firstPrompt": {"constant": 0}}"#;
        let mut problems = Vec::new();
        let shape: SessionShape = serde_json::from_str(text).unwrap();
        shape.validate("session", &mut problems);
        let none = Users { count: 0, pause: ThinkTime::default(), ramp_up: Seconds::ZERO };
        none.validate("users", &mut problems);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        session.turns.lognormal.median: expected at least 1
        session.turns.lognormal.p90: expected a number that is not below median
        session.think.uniform.max: expected a duration that is not below min
        session.firstPrompt.constant: expected at least 1 token
        users.count: expected a number from 1 to 1000000
        ");
    }
}
