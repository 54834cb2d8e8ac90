//! What is believed of the costs, and how firmly.

use serde::{Deserialize, Serialize};

use super::matrix::{self, Matrix, Vector};
use crate::queueing::IterationCosts;
use crate::units::Fraction;

/// The relative step of a numeric derivative.
const STEP: f64 = 1e-3;

/// The costs of an iteration with their covariance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Belief {
    /// α, β and γ.
    pub costs: IterationCosts,
    /// The covariance of α, β and γ, in seconds².
    pub(super) covariance: Matrix<3, 3>,
}

impl Belief {
    /// A belief that has seen nothing: each cost has the relative standard deviation `error`, and
    /// none says anything about another.
    #[must_use]
    pub fn prior(costs: IterationCosts, error: Fraction) -> Self {
        let deviations = costs.to_array().map(|cost| cost * error.value());
        Self { costs, covariance: matrix::diagonal(deviations.map(variance)) }
    }

    /// The covariance of α, β and γ, in seconds².
    #[must_use]
    pub const fn covariance(&self) -> [[f64; 3]; 3] {
        self.covariance
    }

    /// How many of the three directions in which the costs can differ have been seen: 3 less what
    /// is left of the variance of a prior with the relative standard deviation `error`. It is not a
    /// whole number, since a direction may be seen dimly.
    #[must_use]
    pub fn seen(&self, error: Fraction) -> f64 {
        let costs = self.costs.to_array();
        let left = (0..3).map(|i| {
            let deviation = costs[i] * error.value();
            let share = self.covariance[i][i] / (deviation * deviation);
            // A cost that is zero stays zero, which nothing shows.
            if share.is_nan() { 1.0 } else { share.min(1.0) }
        });
        3.0 - left.sum::<f64>()
    }

    /// The relative standard deviation of a quantity that follows from the costs, to first order;
    /// `None` when it has no value here or its derivative has none.
    #[must_use]
    pub fn relative_error(&self, quantity: impl Fn(IterationCosts) -> Option<f64>) -> Option<f64> {
        let value = quantity(self.costs)?;
        let costs = self.costs.to_array();
        let mut gradient: Vector<3> = [0.0; 3];
        for (i, slope) in gradient.iter_mut().enumerate() {
            let step = costs[i] * STEP;
            if step > 0.0 {
                let mut raised = costs;
                raised[i] += step;
                let raised = quantity(IterationCosts::from_array(raised)?)?;
                *slope = (raised - value) / step;
            }
        }
        let variance = matrix::dot(&gradient, &matrix::apply(&self.covariance, &gradient));
        let error = variance.max(0.0).sqrt() / value.abs();
        error.is_finite().then_some(error)
    }

    /// `None` when a number is not finite, or a cost is negative.
    pub(super) fn from_parts(costs: [f64; 3], covariance: Matrix<3, 3>) -> Option<Self> {
        let is_finite = covariance.iter().flatten().all(|entry| entry.is_finite());
        let costs = IterationCosts::from_array(costs).filter(|_| is_finite)?;
        Some(Self { costs, covariance })
    }
}

/// The square, as far as an `f64` goes.
fn variance(deviation: f64) -> f64 {
    (deviation * deviation).min(f64::MAX)
}
