//! How long prompts and outputs are.

mod joint;
mod quantiles;

use optimizer::units::Tokens;
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use joint::{JointLengths, LengthCell};
pub(super) use joint::{LengthChance, LengthDraw};
pub use quantiles::{ParsePercentileError, Percentile, QuantileTable};

use super::{WorkloadProblem, normal};
use crate::kernel::Stream;

/// The lengths of a request: prompt and output, independent of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lengths {
    /// Tokens in the prompt.
    pub prompt: Length,
    /// Tokens that are generated.
    pub output: Length,
}

impl Lengths {
    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// these lengths in their file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        self.prompt.validate(&format!("{path}.prompt"), problems);
        self.output.validate(&format!("{path}.output"), problems);
    }
}

/// A distribution of token counts, all at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Length {
    /// Always the same count.
    Constant(Tokens),
    /// Each count from `min` to `max` as often as any other.
    Uniform {
        /// The smallest count.
        min: Tokens,
        /// The largest count.
        max: Tokens,
    },
    /// The exponential distribution of whole numbers: after each token, the chance that another
    /// one follows is the same, as the textbook formulas of queueing theory suppose.
    Geometric {
        /// The mean count.
        mean: Tokens,
    },
    /// The normal distribution within bounds: what lies outside is not drawn, so the mean moves
    /// away from the nearer bound.
    Normal {
        /// The mean without the bounds, within them.
        mean: Tokens,
        /// The standard deviation without the bounds.
        deviation: Tokens,
        /// The smallest count. Default: 1.
        #[serde(default = "one")]
        min: Tokens,
        /// The largest count.
        max: Tokens,
    },
    /// The logarithm of the count is normal.
    Lognormal {
        /// Half of the counts are not above this.
        median: Tokens,
        /// Nine of ten counts are not above this.
        p90: Tokens,
        /// Counts above this are cut to it, as a server's context limit would.
        max: Tokens,
    },
    /// Measured quantiles, with straight lines between them.
    Quantiles(QuantileTable),
}

impl Length {
    /// Draws a count.
    ///
    /// # Panics
    ///
    /// May panic when the distribution is not valid, as [`Self::validate`] says.
    #[must_use]
    pub fn sample(&self, chance: &mut Stream) -> Tokens {
        match *self {
            Self::Constant(tokens) => tokens,
            Self::Uniform { min, max } => Tokens::new(chance.random_range(min.get()..=max.get())),
            Self::Geometric { mean } => {
                // Rounded up, an exponential variable of rate -ln(1 - 1/mean) is geometric.
                let rate = -(-mean.as_f64().recip()).ln_1p();
                let time: f64 = Exp1.sample(chance);
                at_least_one((time / rate).ceil())
            }
            Self::Lognormal { median, p90, max } => {
                let sigma = (p90.as_f64() / median.as_f64()).ln() / NORMAL_P90;
                let deviation: f64 = StandardNormal.sample(chance);
                at_least_one((median.as_f64() * (sigma * deviation).exp()).round()).min(max)
            }
            Self::Normal { .. } => self.at(chance.random()),
            Self::Quantiles(ref table) => table.at(chance.random()),
        }
    }

    /// The count below which this share of all counts lies: the quantile function.
    ///
    /// # Panics
    ///
    /// May panic when the distribution is not valid, as [`Self::validate`] says.
    #[must_use]
    pub fn at(&self, share: f64) -> Tokens {
        match *self {
            Self::Constant(tokens) => tokens,
            Self::Uniform { min, max } => {
                let counts = (max - min).as_f64() + 1.0;
                at_least_one((min.as_f64() + share * counts).floor()).min(max)
            }
            Self::Geometric { mean } => {
                let rate = -(-mean.as_f64().recip()).ln_1p();
                at_least_one((-(-share).ln_1p() / rate).ceil())
            }
            Self::Normal { mean, deviation, min, max } => {
                let (mean, deviation) = (mean.as_f64(), deviation.as_f64());
                // Rounded to the nearest count, every count within the bounds has its share.
                let lower = normal::share_below((min.as_f64() - 0.5 - mean) / deviation);
                let upper = normal::share_below((max.as_f64() + 0.5 - mean) / deviation);
                let z = normal::quantile(lower + share * (upper - lower));
                at_least_one((mean + deviation * z).round()).clamp(min, max)
            }
            Self::Lognormal { median, p90, max } => {
                let sigma = (p90.as_f64() / median.as_f64()).ln() / NORMAL_P90;
                let z = normal::quantile(share);
                at_least_one((median.as_f64() * (sigma * z).exp()).round()).min(max)
            }
            Self::Quantiles(ref table) => table.at(share),
        }
    }

    /// The smallest count that may come.
    #[must_use]
    pub fn least(&self) -> Tokens {
        match self {
            Self::Constant(tokens) => *tokens,
            Self::Uniform { min, .. } | Self::Normal { min, .. } => *min,
            Self::Geometric { .. } | Self::Lognormal { .. } => Tokens::new(1),
            Self::Quantiles(table) => table.at(0.0),
        }
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this distribution in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        const ONE: Tokens = Tokens::new(1);
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        match *self {
            Self::Constant(tokens) => check(tokens >= ONE, "constant", "at least 1 token"),
            Self::Uniform { min, max } => {
                check(min >= ONE, "uniform.min", "at least 1 token");
                check(max >= min, "uniform.max", "a count that is not below min");
            }
            Self::Geometric { mean } => check(mean >= ONE, "geometric.mean", "at least 1 token"),
            Self::Normal { mean, deviation, min, max } => {
                check(min >= ONE, "normal.min", "at least 1 token");
                check(deviation >= ONE, "normal.deviation", "at least 1 token");
                check(mean >= min, "normal.mean", "a count that is not below min");
                check(max >= mean, "normal.max", "a count that is not below mean");
            }
            Self::Lognormal { median, p90, max } => {
                check(median >= ONE, "lognormal.median", "at least 1 token");
                check(p90 >= median, "lognormal.p90", "a count that is not below median");
                check(max >= p90, "lognormal.max", "a count that is not below p90");
            }
            Self::Quantiles(ref table) => table.validate(&format!("{path}.quantiles"), problems),
        }
    }
}

const fn one() -> Tokens {
    Tokens::new(1)
}

/// The 90th percentile of the standard normal distribution.
pub(super) const NORMAL_P90: f64 = 1.281_551_565_544_600_5;

/// A count of tokens from a number that is whole already.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is wanted")]
fn at_least_one(tokens: f64) -> Tokens {
    Tokens::new(tokens.max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Streams;

    const fn tokens(count: u64) -> Tokens {
        Tokens::new(count)
    }

    /// 100,000 counts, sorted.
    fn draw(length: &Length) -> Vec<u64> {
        let mut chance = Streams::new(1).stream("lengths");
        let mut counts: Vec<_> = (0..100_000).map(|_| length.sample(&mut chance).get()).collect();
        counts.sort_unstable();
        counts
    }

    fn mean(counts: &[u64]) -> f64 {
        counts.iter().sum::<u64>() as f64 / counts.len() as f64
    }

    fn close(actual: f64, expected: f64) {
        let tolerance = 0.01 * expected;
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
    }

    #[test]
    fn a_constant_is_constant() {
        assert_eq!(draw(&Length::Constant(tokens(7))), vec![7; 100_000]);
    }

    #[test]
    fn uniform_counts_reach_both_ends() {
        let counts = draw(&Length::Uniform { min: tokens(3), max: tokens(12) });
        assert_eq!((counts[0], counts[99_999]), (3, 12));
        close(mean(&counts), 7.5);
    }

    /// Of a geometric variable with mean m, the share 1/m is one, and the variance is m² - m.
    #[test]
    fn geometric_counts_have_no_memory() {
        let counts = draw(&Length::Geometric { mean: tokens(4) });
        close(mean(&counts), 4.0);
        let variance = counts.iter().map(|&count| (count as f64 - 4.0).powi(2)).sum::<f64>() / 1e5;
        close(variance.sqrt(), 12.0_f64.sqrt());
        close(counts.partition_point(|&count| count == 1) as f64, 25_000.0);
        assert_eq!(draw(&Length::Geometric { mean: tokens(1) }), vec![1; 100_000]);
    }

    #[test]
    fn lognormal_counts_have_the_quantiles_asked_for() {
        let (median, p90, max) = (tokens(1020), tokens(2734), tokens(14_050));
        let counts = draw(&Length::Lognormal { median, p90, max });
        close(counts[50_000] as f64, 1020.0);
        close(counts[90_000] as f64, 2734.0);
        assert_eq!(counts[99_999], 14_050);
        assert!(counts[99_900] < 14_050);
    }

    /// Cut at the mean and two deviations above it, the mean is that of half a normal variable:
    /// (φ(0) − φ(2)) / (Φ(2) − ½) deviations above.
    #[test]
    fn normal_counts_stay_within_their_bounds() {
        let (mean, deviation) = (tokens(10_000), tokens(2000));
        let counts = draw(&Length::Normal { mean, deviation, min: tokens(1), max: tokens(20_000) });
        close(self::mean(&counts), 10_000.0);
        close((counts[84_134] - counts[50_000]) as f64, 2000.0);
        let max = tokens(14_000);
        let half = draw(&Length::Normal { mean, deviation, min: mean, max });
        assert!(half[0] == 10_000 && half[99_999] <= 14_000);
        let shift = (0.398_942_28 - 0.053_990_97) / 0.477_249_87;
        close(self::mean(&half), 10_000.0 + 2000.0 * shift);
    }

    /// What is drawn through the quantile function has the distribution that is drawn directly.
    #[test]
    fn quantiles_are_those_of_what_is_drawn() {
        for length in [
            Length::Constant(tokens(5)),
            Length::Uniform { min: tokens(100), max: tokens(300) },
            Length::Geometric { mean: tokens(200) },
            Length::Lognormal { median: tokens(1020), p90: tokens(2734), max: tokens(14_050) },
        ] {
            let counts = draw(&length);
            for percent in [1, 10, 50, 90, 99] {
                let drawn = counts[percent * 1000] as f64;
                let found = length.at(percent as f64 / 100.0).as_f64();
                let tolerance = 0.03 * drawn + 1.0;
                assert!(
                    (found - drawn).abs() <= tolerance,
                    "{length:?} {percent}: {found} {drawn}"
                );
            }
            assert!(length.at(0.0) >= length.least());
        }
    }

    #[test]
    fn measured_quantiles_come_back() {
        let table = [(0.0, 1), (50.0, 129), (75.0, 395), (90.0, 424), (99.0, 601), (100.0, 1000)];
        let counts = draw(&Length::Quantiles(QuantileTable::new(table)));
        assert!(counts[0] >= 1 && counts[99_999] <= 1000);
        for (count, share) in [(129, 0.5), (395, 0.75), (424, 0.9), (601, 0.99)] {
            let found = counts.partition_point(|&other| other <= count) as f64 / 1e5;
            assert!((found - share).abs() <= 0.005, "{found} of the counts are up to {count}");
        }
    }

    #[test]
    fn a_length_is_written_as_its_name_and_parameters() {
        let check = |text: &str, expected: Length| {
            let length: Length = serde_json::from_str(text).unwrap();
            assert_eq!(length, expected);
            let again = serde_json::to_string(&length).unwrap();
            assert_eq!(serde_json::from_str::<Length>(&again).unwrap(), expected, "{again}");
        };
        check(r#"{"constant": 100}"#, Length::Constant(tokens(100)));
        check(
            r#"{"lognormal": {"median": 1020, "p90": 2734, "max": 14050}}"#,
            Length::Lognormal { median: tokens(1020), p90: tokens(2734), max: tokens(14_050) },
        );
        check(
            r#"{"quantiles": {"min": 1, "p50": 129, "p99.9": 700, "max": 1000}}"#,
            Length::Quantiles(QuantileTable::new([
                (0.0, 1),
                (50.0, 129),
                (99.9, 700),
                (100.0, 1000),
            ])),
        );
        for wrong in [
            r#"{"uniform": {"min": 1, "max": 2, "mean": 1}}"#,
            r#"{"gaussian": {"mean": 1}}"#,
            r#"{"constant": -1}"#,
        ] {
            assert!(serde_json::from_str::<Length>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_problem_of_a_length_is_found() {
        let check = |prompt: Length, expected: &[&str]| {
            let mut problems = Vec::new();
            Lengths { prompt, output: Length::Constant(tokens(1)) }.validate("x", &mut problems);
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(Length::Constant(tokens(1)), &[]);
        check(Length::Constant(tokens(0)), &["x.prompt.constant: expected at least 1 token"]);
        check(
            Length::Uniform { min: tokens(0), max: tokens(0) },
            &["x.prompt.uniform.min: expected at least 1 token"],
        );
        check(
            Length::Geometric { mean: tokens(0) },
            &["x.prompt.geometric.mean: expected at least 1 token"],
        );
        check(
            Length::Normal {
                mean: tokens(0),
                deviation: tokens(0),
                min: tokens(0),
                max: tokens(0),
            },
            &[
                "x.prompt.normal.min: expected at least 1 token",
                "x.prompt.normal.deviation: expected at least 1 token",
            ],
        );
        check(
            Length::Lognormal { median: tokens(10), p90: tokens(9), max: tokens(8) },
            &[
                "x.prompt.lognormal.p90: expected a count that is not below median",
                "x.prompt.lognormal.max: expected a count that is not below p90",
            ],
        );
    }
}
