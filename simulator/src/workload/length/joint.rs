//! Prompt and output of a request, drawn together.

use optimizer::units::Tokens;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Length, Lengths};
use crate::kernel::{Stream, Streams};
use crate::workload::{WorkloadProblem, normal};

/// How the lengths of a request are drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum JointLengths {
    /// Independently of each other.
    Independent(Lengths),
    /// By a Gaussian copula: two normal variables of this correlation are turned into shares, and
    /// each share into the count at it. So the distributions stay as they are, and the rank
    /// correlation is 6/π · asin(correlation/2).
    Correlated {
        /// The distribution of each.
        lengths: Lengths,
        /// From −1 to 1.
        correlation: f64,
    },
    /// From one of several pairs of distributions, such as the rows or the cells of a table.
    Mixture(Vec<LengthCell>),
}

/// A part of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LengthCell {
    /// How often requests come from this part, relative to the others. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub weight: f64,
    /// Tokens in the prompt.
    pub prompt: Length,
    /// Tokens that are generated.
    pub output: Length,
}

const fn one() -> f64 {
    1.0
}

impl From<Lengths> for JointLengths {
    fn from(lengths: Lengths) -> Self {
        Self::Independent(lengths)
    }
}

impl JointLengths {
    /// The shortest prompt that may come.
    #[must_use]
    pub fn shortest_prompt(&self) -> Tokens {
        match self {
            Self::Independent(lengths) | Self::Correlated { lengths, .. } => lengths.prompt.least(),
            Self::Mixture(cells) => {
                let drawn = cells.iter().filter(|cell| cell.weight > 0.0);
                drawn.map(|cell| cell.prompt.least()).min().unwrap_or(Tokens::new(1))
            }
        }
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// the map that holds `prompt` and `output`, or `mixture`.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        match self {
            Self::Independent(lengths) => lengths.validate(path, problems),
            Self::Correlated { lengths, correlation } => {
                lengths.validate(path, problems);
                WorkloadProblem::unless(
                    (-1.0..=1.0).contains(correlation),
                    problems,
                    || format!("{path}.correlation"),
                    "a number from -1 to 1",
                );
            }
            Self::Mixture(cells) => {
                for (idx, cell) in cells.iter().enumerate() {
                    let path = format!("{path}.mixture[{idx}]");
                    cell.prompt.validate(&format!("{path}.prompt"), problems);
                    cell.output.validate(&format!("{path}.output"), problems);
                    WorkloadProblem::unless(
                        cell.weight >= 0.0 && cell.weight.is_finite(),
                        problems,
                        || format!("{path}.weight"),
                        "a number that is not negative",
                    );
                }
                WorkloadProblem::unless(
                    cells.iter().any(|cell| cell.weight > 0.0),
                    problems,
                    || format!("{path}.mixture"),
                    "at least one part with a weight above zero",
                );
            }
        }
    }
}

/// The chance that lengths are drawn by: a stream for each, so that a change to one distribution
/// leaves what is drawn from the other.
#[derive(Debug, Clone)]
pub(in crate::workload) struct LengthChance {
    pub(in crate::workload) prompt: Stream,
    pub(in crate::workload) output: Stream,
}

impl LengthChance {
    /// From streams that begin with `name`.
    pub(in crate::workload) fn new(streams: Streams, name: &str) -> Self {
        Self {
            prompt: streams.stream(&format!("{name}/lengths/prompt")),
            output: streams.stream(&format!("{name}/lengths/output")),
        }
    }
}

/// Lengths, ready to be drawn.
#[derive(Debug, Clone)]
pub(in crate::workload) struct LengthDraw {
    lengths: JointLengths,
    /// The weights of a mixture, each with those before it.
    cumulative: Vec<f64>,
}

impl LengthDraw {
    pub(in crate::workload) fn new(lengths: JointLengths) -> Self {
        let mut sum = 0.0;
        let cumulative = match &lengths {
            JointLengths::Mixture(cells) => cells
                .iter()
                .map(|cell| {
                    sum += cell.weight;
                    sum
                })
                .collect(),
            _ => Vec::new(),
        };
        Self { lengths, cumulative }
    }

    /// Draws prompt and output.
    pub(in crate::workload) fn draw(&self, chance: &mut LengthChance) -> (Tokens, Tokens) {
        match &self.lengths {
            JointLengths::Independent(Lengths { prompt, output }) => {
                (prompt.sample(&mut chance.prompt), output.sample(&mut chance.output))
            }
            JointLengths::Correlated { lengths: Lengths { prompt, output }, correlation } => {
                let first: f64 = StandardNormal.sample(&mut chance.prompt);
                let own: f64 = StandardNormal.sample(&mut chance.output);
                let second = correlation * first + (1.0 - correlation * correlation).sqrt() * own;
                (prompt.at(normal::share_below(first)), output.at(normal::share_below(second)))
            }
            JointLengths::Mixture(cells) => {
                let total = self.cumulative.last().copied().unwrap_or(0.0);
                let mark = chance.prompt.random::<f64>() * total;
                let idx = self.cumulative.partition_point(|&sum| sum <= mark);
                // Rounding may leave the mark at the very end.
                let cell = &cells[idx.min(cells.len() - 1)];
                (cell.prompt.sample(&mut chance.prompt), cell.output.sample(&mut chance.output))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::QuantileTable;

    fn draw(lengths: JointLengths) -> Vec<(f64, f64)> {
        let (draw, mut chance) =
            (LengthDraw::new(lengths), LengthChance::new(Streams::new(1), "x"));
        let pair = |(prompt, output): (Tokens, Tokens)| (prompt.as_f64(), output.as_f64());
        (0..100_000).map(|_| pair(draw.draw(&mut chance))).collect()
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        values.sum::<f64>() / 1e5
    }

    #[track_caller]
    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
    }

    /// Evenly spread counts are their own ranks, so Pearson's correlation is that of the ranks.
    #[test]
    fn a_copula_keeps_the_distributions_and_ties_their_ranks() {
        for correlation in [-0.7, 0.0, 0.5, 1.0] {
            let even = || Length::Quantiles(QuantileTable::new([(0.0, 1), (100.0, 10_001)]));
            let lengths = Lengths { prompt: even(), output: even() };
            let pairs = draw(JointLengths::Correlated { lengths, correlation });
            let (x, y) = (mean(pairs.iter().map(|p| p.0)), mean(pairs.iter().map(|p| p.1)));
            close(x, 5001.0, 40.0);
            close(y, 5001.0, 40.0);
            let product = mean(pairs.iter().map(|p| (p.0 - x) * (p.1 - y)));
            let expected = 6.0 / std::f64::consts::PI * (0.5 * correlation).asin();
            close(product / (1e8 / 12.0), expected, 0.015);
        }
    }

    #[test]
    fn a_mixture_draws_its_parts_by_weight() {
        let constant = |count| Length::Constant(Tokens::new(count));
        let cell = |weight, prompt, output| LengthCell {
            weight,
            prompt: constant(prompt),
            output: constant(output),
        };
        let cells = vec![cell(3.0, 10, 1), cell(0.0, 7, 7), cell(1.0, 20, 2)];
        let lengths = JointLengths::Mixture(cells);
        assert_eq!(lengths.shortest_prompt(), Tokens::new(10));
        let pairs = draw(lengths);
        assert!(
            pairs
                .iter()
                .all(|&(prompt, output)| (prompt - 10.0 * output).abs() < 0.5 && output < 3.0)
        );
        close(mean(pairs.iter().map(|p| p.1)), 1.25, 0.005);
    }

    #[test]
    fn every_problem_of_joint_lengths_is_found() {
        let check = |lengths: JointLengths, expected: &[&str]| {
            let mut problems = Vec::new();
            lengths.validate("x", &mut problems);
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        let constant = |count| Length::Constant(Tokens::new(count));
        let lengths = Lengths { prompt: constant(1), output: constant(0) };
        check(
            JointLengths::Correlated { lengths, correlation: 1.5 },
            &[
                "x.output.constant: expected at least 1 token",
                "x.correlation: expected a number from -1 to 1",
            ],
        );
        check(
            JointLengths::Mixture(Vec::new()),
            &["x.mixture: expected at least one part with a weight above zero"],
        );
        let cell = LengthCell { weight: -1.0, prompt: constant(0), output: constant(1) };
        check(
            JointLengths::Mixture(vec![cell]),
            &[
                "x.mixture[0].prompt.constant: expected at least 1 token",
                "x.mixture[0].weight: expected a number that is not negative",
                "x.mixture: expected at least one part with a weight above zero",
            ],
        );
    }
}
