//! Learning the costs of an iteration from the latencies that replicas report.
//!
//! The costs (α, β, γ) are a [`Belief`]: values and their covariance. An observation is a mean time
//! to first token and a mean time between tokens, under a load that is known. It is compared with
//! what the law predicts, by one of two methods:
//!
//! - [`KalmanFilter`] moves the belief with each observation, as an extended Kalman filter.
//! - [`fit`] finds the costs that explain a window of observations best, given a prior belief.
//!
//! Two numbers do not tell three costs, and traffic of one shape at one load never shows more than
//! one combination of each. Both methods leave what was not seen where the prior put it, and keep
//! the prior's uncertainty about it: [`Belief::seen`] counts the directions that were.

mod belief;
mod guess;
mod kalman;
mod matrix;
mod window;

use serde::{Deserialize, Serialize};

pub use belief::Belief;
pub use guess::guess;
pub use kalman::{Drift, KalmanFilter, KalmanSettings, KalmanStep};
pub use window::{WindowSettings, fit};

use super::IterationCosts;
use crate::units::Seconds;

/// The mean latencies of requests at one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Latencies {
    /// Mean time to first token.
    pub ttft: Seconds,
    /// Mean time between tokens.
    pub itl: Seconds,
}

impl Latencies {
    fn to_array(self) -> [f64; 2] {
        [self.ttft.value(), self.itl.value()]
    }
}

/// What was observed of them. A replica that serves one phase shows one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Observed {
    /// Mean time to first token.
    pub ttft: Option<Seconds>,
    /// Mean time between tokens.
    pub itl: Option<Seconds>,
}

impl Observed {
    fn to_array(self) -> [Option<f64>; 2] {
        [self.ttft, self.itl].map(|latency| latency.map(Seconds::value))
    }
}

impl From<Latencies> for Observed {
    fn from(Latencies { ttft, itl }: Latencies) -> Self {
        Self { ttft: Some(ttft), itl: Some(itl) }
    }
}

impl IterationCosts {
    fn to_array(self) -> [f64; 3] {
        [self.overhead, self.compute_per_token, self.read_per_token].map(Seconds::value)
    }

    /// `None` when a cost is negative or not finite.
    fn from_array(costs: [f64; 3]) -> Option<Self> {
        let [overhead, compute_per_token, read_per_token] = costs.map(Seconds::checked);
        Some(Self {
            overhead: overhead?,
            compute_per_token: compute_per_token?,
            read_per_token: read_per_token?,
        })
    }
}
