//! How long a client waits from an answer to what it sends next.

use optimizer::units::Seconds;
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadProblem;
use super::length::NORMAL_P90;
use crate::kernel::Stream;

/// A distribution of waiting times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ThinkTime {
    /// Always the same.
    Constant(Seconds),
    /// The exponential distribution.
    Exponential {
        /// The mean.
        mean: Seconds,
    },
    /// Each time between two as likely as any other.
    Uniform {
        /// The shortest.
        min: Seconds,
        /// The longest.
        max: Seconds,
    },
    /// The logarithm of the time is normal, as times of people and of programs mostly are.
    Lognormal {
        /// Half of the times are not above this.
        median: Seconds,
        /// Nine of ten times are not above this.
        p90: Seconds,
        /// Times above this are cut to it.
        max: Seconds,
    },
    /// From one of several distributions, such as tools that are quick and people who are not.
    Mixture(Vec<ThinkTimePart>),
}

/// A part of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThinkTimePart {
    /// How often a time comes from this part, relative to the others.
    #[schemars(range(min = 0))]
    pub weight: f64,
    /// The distribution of those times.
    pub time: ThinkTime,
}

impl Default for ThinkTime {
    /// None at all.
    fn default() -> Self {
        Self::Constant(Seconds::ZERO)
    }
}

impl ThinkTime {
    /// Draws a time.
    #[must_use]
    pub fn sample(&self, chance: &mut Stream) -> Seconds {
        match *self {
            Self::Constant(time) => time,
            Self::Exponential { mean } => mean * Exp1.sample(chance),
            Self::Uniform { min, max } => min + (max - min) * chance.random::<f64>(),
            Self::Lognormal { median, p90, max } => {
                let sigma = (p90 / median).ln() / NORMAL_P90;
                let deviation: f64 = StandardNormal.sample(chance);
                (median * (sigma * deviation).exp()).min(max)
            }
            Self::Mixture(ref parts) => {
                let mut mark =
                    chance.random::<f64>() * parts.iter().map(|part| part.weight).sum::<f64>();
                let part = parts.iter().find(|part| {
                    mark -= part.weight;
                    mark < 0.0
                });
                // Rounding may leave the mark at the very end.
                part.or(parts.last()).map_or(Seconds::ZERO, |part| part.time.sample(chance))
            }
        }
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this distribution in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        match self {
            Self::Constant(_) | Self::Exponential { .. } => {}
            Self::Uniform { min, max } => {
                check(max >= min, "uniform.max", "a duration that is not below min");
            }
            Self::Lognormal { median, p90, max } => {
                check(!median.is_zero(), "lognormal.median", "a duration above zero");
                check(p90 >= median, "lognormal.p90", "a duration that is not below median");
                check(max >= p90, "lognormal.max", "a duration that is not below p90");
            }
            Self::Mixture(parts) => {
                let weights = || parts.iter().map(|part| part.weight);
                let sound = |weight: f64| weight >= 0.0 && weight.is_finite();
                check(
                    weights().all(sound) && weights().any(|weight| weight > 0.0),
                    "mixture",
                    "weights that are not negative, and at least one above zero",
                );
                for (idx, part) in parts.iter().enumerate() {
                    part.time.validate(&format!("{path}.mixture[{idx}].time"), problems);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Streams;

    fn time(text: &str) -> ThinkTime {
        serde_json::from_str(text).unwrap()
    }

    /// Checks mean, median and largest of 100,000 times, in seconds.
    #[track_caller]
    fn check(text: &str, [mean, median, max]: [f64; 3]) {
        let (time, mut chance) = (time(text), Streams::new(1).stream("times"));
        let mut times: Vec<_> = (0..100_000).map(|_| time.sample(&mut chance).value()).collect();
        times.sort_by(f64::total_cmp);
        let found = [times.iter().sum::<f64>() / 1e5, times[50_000], times[99_999]];
        for (found, expected) in found.into_iter().zip([mean, median, max]) {
            assert!((found - expected).abs() <= 0.02 * expected, "{found} is not {expected}");
        }
    }

    #[test]
    fn times_have_their_distribution() {
        check(r#"{"constant": "2s"}"#, [2.0, 2.0, 2.0]);
        check(r#"{"uniform": {"min": "1s", "max": "3s"}}"#, [2.0, 2.0, 3.0]);
        // A median of e⁰ and a deviation of 1: the mean is √e, less what lies above 20 s.
        let lognormal = r#"{"lognormal": {"median": "1s", "p90": "3.602224479s", "max": "20s"}}"#;
        check(lognormal, [1.640, 1.0, 20.0]);
        let mixture = r#"{"mixture": [{"weight": 1, "time": {"constant": "10s"}},
            {"weight": 3, "time": {"constant": "2s"}}]}"#;
        check(mixture, [4.0, 2.0, 10.0]);
        let mut chance = Streams::new(1).stream("times");
        let exponential = time(r#"{"exponential": {"mean": "5s"}}"#);
        let mean = (0..100_000).map(|_| exponential.sample(&mut chance).value()).sum::<f64>() / 1e5;
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn every_problem_of_a_time_is_found() {
        let text = r#"{"mixture": [
            {"weight": -1, "time": {"uniform": {"min": "2s", "max": "1s"}}},
            {"weight": 1, "time": {"lognormal": {"median": "0s", "p90": "2s", "max": "1s"}}}
        ]}"#;
        let mut problems = Vec::new();
        time(text).validate("think", &mut problems);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        think.mixture: expected weights that are not negative, and at least one above zero
        think.mixture[0].time.uniform.max: expected a duration that is not below min
        think.mixture[1].time.lognormal.median: expected a duration above zero
        think.mixture[1].time.lognormal.max: expected a duration that is not below p90
        ");
    }
}
