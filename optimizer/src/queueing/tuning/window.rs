//! A window of observations at once.

use super::matrix::{self, Matrix, Vector};
use super::{Belief, Latencies, Observed};
use crate::queueing::IterationCosts;
use crate::units::Fraction;

/// The relative step of the numeric Jacobian.
const STEP: f64 = 1e-3;
/// Steps that a fit may take. It converges in a handful, or not at all.
const MAX_STEPS: usize = 20;
/// The step, in logarithms of costs, below which a fit has converged.
const CONVERGED: f64 = 1e-9;
/// The farthest that a cost may move in one step, in its logarithm.
const STRIDE: f64 = 1.0;
/// Beyond this many standard deviations an observation pulls no harder (Huber's weights).
const OUTLIER: f64 = 2.5;

/// How [`fit`] weighs what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSettings {
    /// The relative standard deviation of the prior's costs.
    pub prior_error: Fraction,
    /// The relative standard deviation of an observation.
    pub noise: Fraction,
}

/// The costs that explain the observations best, given what was believed before: the maximum of
/// the posterior, where relative errors are normally distributed.
///
/// Minimizes the sum of (ln predicted/observed)² / `noise`² over the latencies plus the sum of
/// (ln cost/prior)² / `prior_error`² over the costs, by the Gauss-Newton method with halved steps.
/// The prior fixes what no observation shows, and hardly pulls where they agree. `predict` tells
/// the latencies under the load of the observation with an index; one without a prediction does
/// not count. `None` when none has one.
#[must_use]
pub fn fit(
    prior: IterationCosts,
    observed: &[Observed],
    predict: impl Fn(usize, IterationCosts) -> Option<Latencies>,
    settings: &WindowSettings,
) -> Option<Belief> {
    let fit = Fit { prior: prior.to_array(), observed, predict, settings };
    let mut logs = [0.0; 3];
    let mut current = fit.normal_equations(logs)?;
    for _ in 0..MAX_STEPS {
        let inverse = matrix::invert(&current.hessian)?;
        let direction = matrix::apply(&inverse, &current.gradient);
        let length = direction.iter().fold(0.0, |longest: f64, step| longest.max(step.abs()));
        let mut stride = (STRIDE / length).min(1.0);
        let next = loop {
            let moved = std::array::from_fn(|i| logs[i] - stride * direction[i]);
            let next = fit.normal_equations(moved).map(|next| (moved, next));
            match next {
                Some((_, next)) if next.misfit <= current.misfit => break Some((moved, next)),
                _ if stride * length < CONVERGED => break None,
                _ => stride /= 2.0,
            }
        };
        let Some((moved, next)) = next else { break };
        (logs, current) = (moved, next);
        if stride * length < CONVERGED {
            break;
        }
    }
    let inverse = matrix::invert(&current.hessian)?;
    let costs = fit.costs(logs);
    let covariance =
        std::array::from_fn(|i| std::array::from_fn(|j| inverse[i][j] * costs[i] * costs[j]));
    Belief::from_parts(costs, covariance)
}

struct Fit<'a, F> {
    prior: Vector<3>,
    observed: &'a [Observed],
    predict: F,
    settings: &'a WindowSettings,
}

/// A quadratic model of the misfit.
struct NormalEquations {
    misfit: f64,
    gradient: Vector<3>,
    hessian: Matrix<3, 3>,
}

impl<F: Fn(usize, IterationCosts) -> Option<Latencies>> Fit<'_, F> {
    fn costs(&self, logs: Vector<3>) -> Vector<3> {
        std::array::from_fn(|i| self.prior[i] * logs[i].exp())
    }

    /// `None` when no observation has a prediction.
    fn normal_equations(&self, logs: Vector<3>) -> Option<NormalEquations> {
        let pull = 1.0 / self.settings.prior_error.value().max(f64::EPSILON).powi(2);
        let weight = 1.0 / self.settings.noise.value().max(f64::EPSILON);
        let mut misfit = pull * matrix::dot(&logs, &logs);
        let mut gradient = logs.map(|log| pull * log);
        let mut hessian = matrix::diagonal([pull; 3]);
        let mut count = 0;
        for (idx, observed) in self.observed.iter().enumerate() {
            let Some((residuals, slopes)) = self.residuals(idx, observed, logs) else { continue };
            count += 1;
            for (residual, slope) in residuals.into_iter().zip(slopes) {
                let scaled = weight * residual;
                let trust = (OUTLIER / scaled.abs()).min(1.0);
                // Huber's loss, times two: quadratic near zero, linear beyond.
                let far = (scaled.abs() - OUTLIER).max(0.0);
                misfit += scaled * scaled - far * far;
                let factor = trust * weight * weight;
                for i in 0..3 {
                    gradient[i] += factor * residual * slope[i];
                    for j in 0..3 {
                        hessian[i][j] += factor * slope[i] * slope[j];
                    }
                }
            }
        }
        (count > 0 && misfit.is_finite()).then_some(NormalEquations { misfit, gradient, hessian })
    }

    /// ln predicted/observed, and its derivatives by the logarithms of the costs.
    fn residuals(
        &self,
        idx: usize,
        observed: &Observed,
        logs: Vector<3>,
    ) -> Option<(Vector<2>, Matrix<2, 3>)> {
        let at = |logs| {
            let predicted = (self.predict)(idx, IterationCosts::from_array(self.costs(logs))?)?;
            let (told, seen) = (predicted.to_array(), observed.to_array());
            // What was not observed is as it was predicted.
            let residual = |i: usize| seen[i].map_or(0.0, |seen| (told[i] / seen).ln());
            let residuals: Vector<2> = std::array::from_fn(residual);
            residuals.iter().all(|residual| residual.is_finite()).then_some(residuals)
        };
        let residuals = at(logs)?;
        let mut slopes = [[0.0; 3]; 2];
        for i in 0..3 {
            let (mut above, mut below) = (logs, logs);
            above[i] += STEP;
            below[i] -= STEP;
            let (above, below) = (at(above)?, at(below)?);
            for (row, (above, below)) in slopes.iter_mut().zip(above.into_iter().zip(below)) {
                row[i] = (above - below) / (2.0 * STEP);
            }
        }
        Some((residuals, slopes))
    }
}
