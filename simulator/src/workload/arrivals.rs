//! When requests arrive.
//!
//! All processes here are renewal processes in *expected* time: the gaps between requests, counted
//! in requests that the rate would have brought on average, are independent Gamma variables of
//! mean one. A rate, constant or varying, turns expected time into seconds.

use optimizer::units::{RequestRate, Seconds, Timestamp};
use rand_distr::{Distribution, Gamma, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadProblem;
use crate::kernel::{Stream, Streams};

/// How requests arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ArrivalProcess {
    /// Independently of each other.
    Poisson {
        /// The mean rate.
        rate: RequestRate,
    },
    /// With independent Gamma gaps.
    Gamma {
        /// The mean rate.
        rate: RequestRate,
        /// Below 1: bursts; 1: Poisson; above 1: more regular than Poisson. The gaps' coefficient
        /// of variation is 1/√shape. vLLM's benchmark calls this number `burstiness`.
        #[schemars(extend("exclusiveMinimum" = 0))]
        shape: f64,
    },
    /// With Gamma gaps under a rate that wanders: its logarithm is a first-order autoregressive
    /// process.
    ///
    /// The path of the rate is scaled to have this mean and this variation over the run, so that
    /// runs with different seeds carry the same load.
    ModulatedGamma {
        /// The mean rate.
        rate: RequestRate,
        /// The shape of the gaps while the rate stands still.
        #[schemars(extend("exclusiveMinimum" = 0))]
        shape: f64,
        /// The coefficient of variation of the rate.
        #[schemars(range(min = 0))]
        cv: f64,
        /// The time after which the logarithm of the rate has lost all but 1/e of its correlation
        /// with itself. A run should be several times as long.
        correlation_time: Seconds,
    },
}

impl ArrivalProcess {
    /// The mean rate.
    #[must_use]
    pub const fn rate(&self) -> RequestRate {
        match *self {
            Self::Poisson { rate }
            | Self::Gamma { rate, .. }
            | Self::ModulatedGamma { rate, .. } => rate,
        }
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this process in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        match *self {
            Self::Poisson { .. } => {}
            Self::Gamma { shape, .. } => {
                check(positive(shape), "gamma.shape", "a number above zero");
            }
            Self::ModulatedGamma { shape, cv, correlation_time, .. } => {
                check(positive(shape), "modulatedGamma.shape", "a number above zero");
                check(
                    cv >= 0.0 && cv.is_finite(),
                    "modulatedGamma.cv",
                    "a number that is not negative",
                );
                check(
                    !correlation_time.is_zero(),
                    "modulatedGamma.correlationTime",
                    "a duration above zero",
                );
            }
        }
    }

    /// The shape of the gaps in expected time.
    fn shape(&self) -> f64 {
        match *self {
            Self::Poisson { .. } => 1.0,
            Self::Gamma { shape, .. } | Self::ModulatedGamma { shape, .. } => shape,
        }
    }
}

/// The times at which requests of a process arrive, in order.
#[derive(Debug, Clone)]
pub struct ArrivalTimes {
    gaps: Gamma<f64>,
    chance: Stream,
    rates: RatePath,
    until: Timestamp,
}

impl ArrivalTimes {
    /// The arrivals of `process` from time zero on and before `until`, from streams that begin
    /// with `name`.
    ///
    /// # Panics
    ///
    /// When the process is not valid, as [`ArrivalProcess::validate`] says.
    #[must_use]
    pub fn new(process: &ArrivalProcess, until: Timestamp, streams: Streams, name: &str) -> Self {
        let shape = process.shape();
        let rate = process.rate().value();
        let run = until.as_seconds();
        let rates = match *process {
            ArrivalProcess::Poisson { .. } | ArrivalProcess::Gamma { .. } => {
                RatePath::new(vec![rate], run)
            }
            ArrivalProcess::ModulatedGamma { cv, correlation_time, .. } => {
                let mut chance = streams.stream(&format!("{name}/rate"));
                RatePath::wandering(rate, cv, correlation_time.value(), run, &mut chance)
            }
        };
        Self {
            gaps: Gamma::new(shape, 1.0 / shape).expect("a valid process has a positive shape"),
            chance: streams.stream(&format!("{name}/arrivals")),
            rates,
            until,
        }
    }
}

impl Iterator for ArrivalTimes {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let gap = self.gaps.sample(&mut self.chance);
        let at = Timestamp::from_seconds(self.rates.advance(gap)?);
        // A time just below the end may round up to it.
        (at < self.until).then_some(at)
    }
}

/// A rate that is constant in steps of equal length, and the place that time has reached on it.
#[derive(Debug, Clone)]
struct RatePath {
    /// Requests per second in each step.
    rates: Vec<f64>,
    /// The length of a step, in seconds.
    step: f64,
    /// The current step. It is kept beside the time, because a time at the border of two steps
    /// does not divide cleanly.
    idx: usize,
    /// Seconds since the start.
    now: f64,
}

impl RatePath {
    /// Steps in one correlation time: enough for the path to look smooth from window to window.
    const RESOLUTION: f64 = 16.0;

    fn new(rates: Vec<f64>, run: f64) -> Self {
        let step = run / rates.len() as f64;
        Self { rates, step, idx: 0, now: 0.0 }
    }

    /// A rate whose logarithm is a stationary first-order autoregressive process, scaled to its
    /// mean and variation over the run.
    fn wandering(mean: f64, cv: f64, correlation_time: f64, run: f64, chance: &mut Stream) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let steps = (run / correlation_time * Self::RESOLUTION).ceil().max(1.0) as usize;
        let memory = (-1.0 / Self::RESOLUTION).exp();
        let renewal = (1.0 - memory * memory).sqrt();
        let mut level: f64 = StandardNormal.sample(chance);
        let mut path = Vec::with_capacity(steps);
        for _ in 0..steps {
            path.push(level);
            let fresh: f64 = StandardNormal.sample(chance);
            level = memory * level + renewal * fresh;
        }
        let path = standardized(path);
        // The standard deviation of the logarithm of a lognormal variable with this variation.
        let sigma = (cv * cv).ln_1p().sqrt();
        let factors: Vec<_> = path.into_iter().map(|level| (sigma * level).exp()).collect();
        let scale = mean * factors.len() as f64 / factors.iter().sum::<f64>();
        Self::new(factors.into_iter().map(|factor| scale * factor).collect(), run)
    }

    /// Moves on until `expected` more requests were due, and returns that time; `None` when the
    /// path ends before.
    fn advance(&mut self, mut expected: f64) -> Option<f64> {
        while let Some(&rate) = self.rates.get(self.idx) {
            let end = (self.idx + 1) as f64 * self.step;
            let due = (end - self.now) * rate;
            if expected < due {
                self.now += expected / rate;
                return Some(self.now);
            }
            expected -= due;
            self.now = end;
            self.idx += 1;
        }
        None
    }
}

/// Shifted and scaled to mean 0 and standard deviation 1; a path that does not vary becomes zero.
fn standardized(path: Vec<f64>) -> Vec<f64> {
    let count = path.len() as f64;
    let mean = path.iter().sum::<f64>() / count;
    let variance = path.iter().map(|level| (level - mean).powi(2)).sum::<f64>() / count;
    let scale = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
    path.into_iter().map(|level| (level - mean) * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RequestRate = RequestRate::new(10.0);

    fn times(process: &ArrivalProcess, until: f64) -> Vec<f64> {
        let until = Timestamp::from_seconds(until);
        ArrivalTimes::new(process, until, Streams::new(1), "test")
            .map(Timestamp::as_seconds)
            .collect()
    }

    fn mean_and_cv(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt() / mean)
    }

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
    }

    /// With 100,000 gaps, the standard error of a mean is below 0.7 % for each of these.
    #[test]
    fn gaps_have_the_mean_and_the_variation_of_their_process() {
        for (process, cv) in [
            (ArrivalProcess::Poisson { rate: RATE }, 1.0),
            (ArrivalProcess::Gamma { rate: RATE, shape: 0.25 }, 2.0),
            (ArrivalProcess::Gamma { rate: RATE, shape: 1.0 }, 1.0),
            (ArrivalProcess::Gamma { rate: RATE, shape: 25.0 }, 0.2),
        ] {
            let times = times(&process, 10_000.0);
            let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (mean, found) = mean_and_cv(&gaps);
            close(mean, 0.1, 0.002);
            close(found, cv, 0.02 * cv);
        }
    }

    /// Nearly regular gaps show the rate itself.
    #[test]
    fn a_wandering_rate_keeps_its_mean_and_varies_as_asked() {
        let process = ArrivalProcess::ModulatedGamma {
            rate: RATE,
            shape: 1e6,
            cv: 0.3,
            correlation_time: Seconds::from_minutes(10.0),
        };
        let times = times(&process, 36_000.0);
        close(times.len() as f64, 360_000.0, 10.0);
        let mut per_minute = vec![0.0; 600];
        for at in times {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let minute = (at / 60.0) as usize;
            per_minute[minute] += 1.0;
        }
        close(mean_and_cv(&per_minute).1, 0.3, 0.03);
    }

    #[test]
    fn where_no_request_is_due_none_arrives() {
        let none = RequestRate::ZERO;
        assert_eq!(times(&ArrivalProcess::Poisson { rate: none }, 1e6), [0.0; 0]);
        assert_eq!(times(&ArrivalProcess::Poisson { rate: RATE }, 0.0), [0.0; 0]);
        let correlation_time = Seconds::new(1.0);
        let process =
            ArrivalProcess::ModulatedGamma { rate: RATE, shape: 1.0, cv: 1.0, correlation_time };
        assert_eq!(times(&process, 0.0), [0.0; 0]);
    }

    #[test]
    fn time_runs_through_the_steps_of_a_path() {
        let mut path = RatePath::new(vec![1.0, 0.0, 4.0], 3.0);
        assert_eq!(path.advance(0.5), Some(0.5));
        assert_eq!(path.advance(1.5), Some(2.25));
        assert_eq!(path.advance(2.0), Some(2.75));
        assert_eq!(path.advance(1.0), None);
    }

    #[test]
    fn a_process_is_written_as_its_name_and_parameters() {
        let check = |text: &str, expected: &ArrivalProcess| {
            assert_eq!(serde_json::from_str::<ArrivalProcess>(text).unwrap(), *expected);
        };
        check(r#"{"poisson": {"rate": "10/s"}}"#, &ArrivalProcess::Poisson { rate: RATE });
        check(
            r#"{"modulatedGamma": {"rate": "10/s", "shape": 0.9, "cv": 0.2, "correlationTime": "3m"}}"#,
            &ArrivalProcess::ModulatedGamma {
                rate: RATE,
                shape: 0.9,
                cv: 0.2,
                correlation_time: Seconds::from_minutes(3.0),
            },
        );
        let unknown = r#"{"gamma": {"rate": "10/s", "shape": 1, "cv": 2}}"#;
        assert!(serde_json::from_str::<ArrivalProcess>(unknown).is_err());
    }

    #[test]
    fn every_problem_of_a_process_is_found() {
        let check = |process: ArrivalProcess, expected: &[&str]| {
            let mut problems = Vec::new();
            process.validate("arrivals", &mut problems);
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(ArrivalProcess::Poisson { rate: RequestRate::ZERO }, &[]);
        check(
            ArrivalProcess::Gamma { rate: RATE, shape: 0.0 },
            &["arrivals.gamma.shape: expected a number above zero"],
        );
        check(
            ArrivalProcess::ModulatedGamma {
                rate: RATE,
                shape: f64::NAN,
                cv: -1.0,
                correlation_time: Seconds::ZERO,
            },
            &[
                "arrivals.modulatedGamma.shape: expected a number above zero",
                "arrivals.modulatedGamma.cv: expected a number that is not negative",
                "arrivals.modulatedGamma.correlationTime: expected a duration above zero",
            ],
        );
    }
}
