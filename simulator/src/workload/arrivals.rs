//! When requests arrive.
//!
//! Time is counted in *expected* requests: those that the rate would have brought on average. In
//! this time the gaps between requests are independent and have mean one; their distribution is
//! all that tells one renewal process from another. A rate turns expected requests into seconds.
//! It is the product of a base, which is constant or changes by chance from step to step, and of a
//! [`RateProfile`], which says how the rate rises and falls over the run.
//!
//! For exponential gaps the result is a Poisson process of that rate, exactly: Ross, *Introduction
//! to Probability Models*, section 5.4.

mod clock;
mod gaps;
mod profile;
mod rate;

use optimizer::units::{RequestRate, Seconds, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use profile::{RateFactor, RateProfile, RateStep};

use super::WorkloadProblem;
use crate::kernel::{Stream, Streams};
use clock::Clock;
use gaps::{Gaps, WEIBULL_CV};
use rate::BaseRate;

/// How requests arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ArrivalProcess {
    /// Independently of each other.
    Poisson {
        /// The mean rate.
        rate: RequestRate,
    },
    /// With independent Gamma gaps. Either `shape` or `cv` says how much they vary.
    Gamma {
        /// The mean rate.
        rate: RequestRate,
        /// Below 1: bursts; 1: Poisson; above 1: more regular than Poisson. The gaps' coefficient
        /// of variation is 1/√shape. vLLM's benchmark calls this number `burstiness`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        shape: Option<f64>,
        /// The gaps' coefficient of variation. Above 1: bursts; 1: Poisson.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        cv: Option<f64>,
    },
    /// With independent Weibull gaps, whose tail is longer than that of Gamma gaps of the same
    /// variation.
    Weibull {
        /// The mean rate.
        rate: RequestRate,
        /// The gaps' coefficient of variation, from 0.02 to 50. Above 1: bursts; 1: Poisson.
        #[schemars(range(min = 0.02, max = 50))]
        cv: f64,
    },
    /// Evenly spaced; the first comes at a random time within one gap.
    Constant {
        /// The rate.
        rate: RequestRate,
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
    /// Markov-modulated Poisson: independent arrivals at the rate of a state, which lasts for an
    /// exponential time; the next is any of the others, each as likely.
    Mmpp {
        /// Two states or more.
        #[schemars(length(min = 2))]
        states: Vec<RateState>,
    },
    /// Independent arrivals in bursts, and silence between them, each for an exponential time: an
    /// interrupted Poisson process.
    OnOff {
        /// The rate within a burst.
        burst_rate: RequestRate,
        /// The mean length of a burst.
        on: Seconds,
        /// The mean length of a silence.
        off: Seconds,
    },
}

/// A state of a Markov-modulated Poisson process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateState {
    /// The rate while it lasts. May be zero.
    pub rate: RequestRate,
    /// How long it lasts on average.
    pub mean_duration: Seconds,
}

/// How long a state of the rate lasts at least. A million changes in each gap between requests would
/// take the clock long, and nobody would see them.
const LEAST_STATE: Seconds = Seconds::from_millis(1.0);

impl ArrivalProcess {
    /// The mean rate, over a time that is long.
    #[must_use]
    pub fn rate(&self) -> RequestRate {
        match *self {
            Self::Poisson { rate }
            | Self::Gamma { rate, .. }
            | Self::Weibull { rate, .. }
            | Self::Constant { rate }
            | Self::ModulatedGamma { rate, .. } => rate,
            Self::Mmpp { ref states } => mean_rate(states),
            Self::OnOff { .. } => mean_rate(&self.states()),
        }
    }

    /// The same process at another mean rate: all its rates change in proportion. One without any
    /// arrivals stays as it is.
    #[must_use]
    pub fn with_rate(mut self, mean: RequestRate) -> Self {
        let before = self.rate();
        if before.is_zero() {
            return self;
        }
        let factor = mean / before;
        match &mut self {
            Self::Poisson { rate }
            | Self::Gamma { rate, .. }
            | Self::Weibull { rate, .. }
            | Self::Constant { rate }
            | Self::ModulatedGamma { rate, .. } => *rate = mean,
            Self::Mmpp { states } => {
                for state in states {
                    state.rate = state.rate * factor;
                }
            }
            Self::OnOff { burst_rate, .. } => *burst_rate = *burst_rate * factor,
        }
        self
    }

    /// The field of a file that makes the mean rate zero when it is, such as `poisson.rate`.
    #[must_use]
    pub const fn rate_field(&self) -> &'static str {
        match self {
            Self::Poisson { .. } => "poisson.rate",
            Self::Gamma { .. } => "gamma.rate",
            Self::Weibull { .. } => "weibull.rate",
            Self::Constant { .. } => "constant.rate",
            Self::ModulatedGamma { .. } => "modulatedGamma.rate",
            Self::Mmpp { .. } => "mmpp.states",
            Self::OnOff { .. } => "onOff.burstRate",
        }
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this process in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        const NUMBER: &str = "a number above zero";
        const STATE: &str = "at least 1ms";
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        match self {
            Self::Poisson { .. } | Self::Constant { .. } => {}
            Self::Gamma { shape, cv, .. } => {
                check(shape.is_none_or(positive), "gamma.shape", NUMBER);
                check(cv.is_none_or(positive), "gamma.cv", NUMBER);
                check(shape.is_some() || cv.is_some(), "gamma", "a shape or a cv");
                check(shape.is_none() || cv.is_none(), "gamma.cv", "a shape or a cv, not both");
            }
            Self::Weibull { cv, .. } => {
                check(WEIBULL_CV.contains(cv), "weibull.cv", "a number from 0.02 to 50");
            }
            Self::ModulatedGamma { shape, cv, correlation_time, .. } => {
                check(positive(*shape), "modulatedGamma.shape", NUMBER);
                check(
                    *cv >= 0.0 && cv.is_finite(),
                    "modulatedGamma.cv",
                    "a number that is not negative",
                );
                check(
                    !correlation_time.is_zero(),
                    "modulatedGamma.correlationTime",
                    "a duration above zero",
                );
            }
            Self::Mmpp { states } => {
                check(states.len() >= 2, "mmpp.states", "two states or more");
                for (idx, state) in states.iter().enumerate() {
                    let field = format!("mmpp.states[{idx}].meanDuration");
                    check(state.mean_duration >= LEAST_STATE, &field, STATE);
                }
            }
            Self::OnOff { on, off, .. } => {
                check(*on >= LEAST_STATE, "onOff.on", STATE);
                check(*off >= LEAST_STATE, "onOff.off", STATE);
            }
        }
    }

    /// The distribution of the gaps in expected time.
    fn gaps(&self) -> Gaps {
        match *self {
            Self::Gamma { shape: Some(shape), .. } | Self::ModulatedGamma { shape, .. } => {
                Gaps::gamma(shape)
            }
            Self::Gamma { cv: Some(cv), .. } => Gaps::gamma((cv * cv).recip()),
            Self::Weibull { cv, .. } => Gaps::weibull(cv),
            Self::Constant { .. } => Gaps::Constant,
            Self::Poisson { .. } | Self::Gamma { .. } | Self::Mmpp { .. } | Self::OnOff { .. } => {
                Gaps::gamma(1.0)
            }
        }
    }

    /// The states of the base rate; none when it does not jump.
    fn states(&self) -> Vec<RateState> {
        match *self {
            Self::Mmpp { ref states } => states.clone(),
            Self::OnOff { burst_rate, on, off } => vec![
                RateState { rate: burst_rate, mean_duration: on },
                RateState { rate: RequestRate::ZERO, mean_duration: off },
            ],
            _ => Vec::new(),
        }
    }
}

/// Every state is entered as often as any other, so each has a share of time in proportion to how
/// long it lasts.
fn mean_rate(states: &[RateState]) -> RequestRate {
    let expected = states.iter().map(|state| state.rate * state.mean_duration).sum();
    let span = states.iter().map(|state| state.mean_duration).sum();
    RequestRate::over(expected, span).unwrap_or(RequestRate::ZERO)
}

/// The times at which requests of a process arrive, in order.
#[derive(Debug, Clone)]
pub struct ArrivalTimes {
    gaps: Gaps,
    chance: Stream,
    clock: Clock,
    until: Timestamp,
    /// Whether none has come yet.
    first: bool,
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
        Self::shaped(process, &RateProfile::default(), until, streams, name)
    }

    /// [`Self::new`], with the rate of the process times that of a profile.
    ///
    /// # Panics
    ///
    /// When the process or the profile is not valid.
    #[must_use]
    pub fn shaped(
        process: &ArrivalProcess,
        profile: &RateProfile,
        until: Timestamp,
        streams: Streams,
        name: &str,
    ) -> Self {
        let run = until.as_seconds();
        let mut chance = streams.stream(&format!("{name}/rate"));
        let base = match *process {
            ArrivalProcess::ModulatedGamma { rate, cv, correlation_time, .. } => {
                let correlation_time = correlation_time.value();
                BaseRate::wandering(rate.value(), cv, correlation_time, run, &mut chance)
            }
            ArrivalProcess::Mmpp { .. } | ArrivalProcess::OnOff { .. } => {
                BaseRate::jumping(process.states(), chance)
            }
            _ => BaseRate::steps(vec![process.rate().value()], run),
        };
        Self {
            gaps: process.gaps(),
            chance: streams.stream(&format!("{name}/arrivals")),
            clock: Clock::new(base, profile.clone(), run),
            until,
            first: true,
        }
    }
}

impl Iterator for ArrivalTimes {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let gap = self.gaps.sample(std::mem::take(&mut self.first), &mut self.chance);
        let at = Timestamp::from_seconds(self.clock.advance(gap)?);
        // A time just below the end may round up to it.
        (at < self.until).then_some(at)
    }
}

#[cfg(test)]
mod tests;
