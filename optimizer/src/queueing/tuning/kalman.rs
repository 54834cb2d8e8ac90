//! One observation at a time.

use serde::{Deserialize, Serialize};

use super::matrix::{self, Matrix, Vector};
use super::{Belief, Latencies, Observed};
use crate::queueing::IterationCosts;
use crate::units::Fraction;

/// The relative step of the numeric Jacobian.
const STEP: f64 = 0.01;

/// An extended Kalman filter on the costs (α, β, γ), with the latencies that the law predicts for
/// the observation's load.
///
/// The costs are expected to stay as they are, but for a drift. A step is the textbook's: P grows by
/// the drift Q, S = H·P·Hᵀ + R, K = P·Hᵀ·S⁻¹, x moves by K times the innovation, and P shrinks, in
/// Joseph's form, which keeps it positive. H is a central difference over 2% of each cost. An
/// observation too far from the prediction, by the normalized innovation squared, changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KalmanFilter {
    /// The costs that it started from. They bound it, and scale the drift.
    origin: IterationCosts,
    belief: Belief,
}

/// How a [`KalmanFilter`] weighs what it sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KalmanSettings {
    /// The standard deviation of the drift from one observation to the next, and of the prior,
    /// relative to the costs at the start.
    pub drift: Fraction,
    /// What drifts.
    pub drifts: Drift,
    /// The standard deviation of an observation, relative to [`Self::expected`].
    pub noise: Fraction,
    /// The latencies that the noise is relative to; the observed ones when absent.
    pub expected: Option<Latencies>,
    /// An observation is rejected from this normalized innovation squared on. With two latencies
    /// it is χ²-distributed with two degrees of freedom, so 7.378 rejects one of 40 good ones.
    pub gate: f64,
    /// How many times smaller or larger than at the start a cost may become.
    pub reach: f64,
}

/// Which directions of the costs drift from one observation to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// All. A direction that observations do not show then becomes less certain with each of them,
    /// without end, until one that shows a little of it moves it far.
    All,
    /// Those that the observation shows, as far as it takes the drift back out:
    /// Q·Hᵀ·(H·Q·Hᵀ + R)⁻¹·H·Q instead of Q.
    Seen,
}

/// What a [`KalmanFilter`] made of one observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KalmanStep {
    /// What was predicted.
    pub predicted: Latencies,
    /// Observed less predicted: TTFT and ITL, in seconds.
    pub innovation: [f64; 2],
    /// How TTFT and ITL change with α, β and γ: H.
    pub jacobian: [[f64; 3]; 2],
    /// The covariance of the innovation, in seconds²: S.
    pub covariance: [[f64; 2]; 2],
    /// The normalized innovation squared.
    pub surprise: f64,
    /// Whether the belief has moved.
    pub accepted: bool,
}

impl KalmanFilter {
    /// A filter that starts from a prior belief.
    #[must_use]
    pub const fn new(prior: Belief) -> Self {
        Self { origin: prior.costs, belief: prior }
    }

    /// A filter that goes on from a belief, and started from `origin`.
    #[must_use]
    pub const fn resumed(origin: IterationCosts, belief: Belief) -> Self {
        Self { origin, belief }
    }

    /// What it believes.
    #[must_use]
    pub const fn belief(&self) -> &Belief {
        &self.belief
    }

    /// The costs that it started from.
    #[must_use]
    pub const fn origin(&self) -> IterationCosts {
        self.origin
    }

    /// Takes in one observation, where `predict` tells the latencies under its load; `None`, and
    /// nothing changes, when there is no prediction close to the belief or the numbers leave the
    /// range of an `f64`.
    pub fn update(
        &mut self,
        predict: impl Fn(IterationCosts) -> Option<Latencies>,
        observed: Observed,
        settings: &KalmanSettings,
    ) -> Option<KalmanStep> {
        let at = |costs| predict(IterationCosts::from_array(costs)?).map(Latencies::to_array);
        let state = self.clamp(self.belief.costs.to_array(), settings.reach);
        let predicted = predict(IterationCosts::from_array(state)?)?;
        let mut jacobian = jacobian(at, state)?;

        // What was not observed is as it was predicted, and depends on nothing.
        let (seen, told) = (observed.to_array(), predicted.to_array());
        let expected = settings.expected.map(Latencies::to_array);
        let (mut innovation, mut noise) = ([0.0; 2], [1.0; 2]);
        for i in 0..2 {
            let Some(seen) = seen[i] else {
                jacobian[i] = [0.0; 3];
                continue;
            };
            innovation[i] = seen - told[i];
            noise[i] = (settings.noise.value() * expected.map_or(seen, |all| all[i])).powi(2);
        }
        let noise = matrix::diagonal(noise);
        let drift = self.drift(settings, &jacobian, &noise)?;
        let before = matrix::add(&self.belief.covariance, &drift);
        let covariance = matrix::add(&matrix::sandwich(&jacobian, &before), &noise);
        let inverse = matrix::invert(&covariance)?;

        let surprise = matrix::dot(&innovation, &matrix::apply(&inverse, &innovation));
        if !surprise.is_finite() {
            return None;
        }
        let accepted = surprise < settings.gate;
        if accepted {
            let gain = matrix::multiply(
                &matrix::multiply(&before, &matrix::transpose(&jacobian)),
                &inverse,
            );
            let correction = matrix::apply(&gain, &innovation);
            let moved =
                self.clamp(std::array::from_fn(|i| state[i] + correction[i]), settings.reach);
            self.belief = Belief::from_parts(moved, joseph(&gain, &jacobian, &before, &noise))?;
        }
        Some(KalmanStep { predicted, innovation, jacobian, covariance, surprise, accepted })
    }

    /// Q.
    fn drift(
        &self,
        settings: &KalmanSettings,
        jacobian: &Matrix<2, 3>,
        noise: &Matrix<2, 2>,
    ) -> Option<Matrix<3, 3>> {
        let origin = self.origin.to_array();
        let all = matrix::diagonal(origin.map(|cost| (settings.drift.value() * cost).powi(2)));
        match settings.drifts {
            Drift::All => Some(all),
            Drift::Seen => {
                let shown = matrix::add(&matrix::sandwich(jacobian, &all), noise);
                let back = matrix::multiply(&all, &matrix::transpose(jacobian));
                Some(matrix::sandwich(&back, &matrix::invert(&shown)?))
            }
        }
    }

    fn clamp(&self, state: Vector<3>, reach: f64) -> Vector<3> {
        let origin = self.origin.to_array();
        std::array::from_fn(|i| state[i].max(origin[i] / reach).min(origin[i] * reach))
    }
}

/// H, by central differences; a cost of zero stays zero, so nothing depends on it.
fn jacobian(at: impl Fn(Vector<3>) -> Option<Vector<2>>, state: Vector<3>) -> Option<Matrix<2, 3>> {
    let mut jacobian = [[0.0; 3]; 2];
    for i in 0..3 {
        let step = STEP * state[i];
        if step <= 0.0 {
            continue;
        }
        let (mut above, mut below) = (state, state);
        above[i] += step;
        below[i] -= step;
        let (above, below) = (at(above)?, at(below)?);
        for (row, (above, below)) in jacobian.iter_mut().zip(above.into_iter().zip(below)) {
            row[i] = (above - below) / (2.0 * step);
        }
    }
    Some(jacobian)
}

/// (I − K·H)·P·(I − K·H)ᵀ + K·R·Kᵀ, made symmetric.
fn joseph(
    gain: &Matrix<3, 2>,
    jacobian: &Matrix<2, 3>,
    before: &Matrix<3, 3>,
    noise: &Matrix<2, 2>,
) -> Matrix<3, 3> {
    let taken = matrix::multiply(gain, jacobian);
    let kept: Matrix<3, 3> = std::array::from_fn(|i| {
        std::array::from_fn(|j| if i == j { 1.0 - taken[i][j] } else { -taken[i][j] })
    });
    let after = matrix::add(&matrix::sandwich(&kept, before), &matrix::sandwich(gain, noise));
    std::array::from_fn(|i| std::array::from_fn(|j| f64::midpoint(after[i][j], after[j][i])))
}
