//! From a first guess to the coefficients with which the simulator does what was measured.
//!
//! The equations of a steady state leave out what a batch does to the one after it. The simulator
//! does not, so a few steps of Gauss and Newton on its errors correct them: the simulator is taken
//! to be linear near the guess, and the least squares of that model, none negative, is the next
//! guess. Errors are logarithms of simulated over real. One request that waited for a place can be
//! off tenfold, so large errors count by their size and not by its square (P. J. Huber, Robust
//! Estimation of a Location Parameter, 1964).

use nalgebra::{DMatrix, DVector};

use super::CalibrationError;
use super::experiment::{Deviation, Experiment};
use super::least_squares::{nnls, standard_errors};
use super::parameter::{Coefficients, Parameter};

/// Coefficients, and how well they do.
#[derive(Debug)]
pub(super) struct Refined {
    pub(super) coefficients: Coefficients,
    pub(super) deviations: Vec<Deviation>,
    /// Of the free parameters that are not zero, in their order; see [`standard_errors`].
    pub(super) standard_errors: Vec<(Parameter, Option<f64>)>,
}

const MOST_ITERATIONS: usize = 12;
const MOST_HALVINGS: usize = 5;

/// An iteration that improves the loss by a smaller share is the last.
const LEAST_GAIN: f64 = 1e-4;

/// The step of a difference quotient: this share of the value, or of the `scale` if that is more.
/// Discrete events make small differences noisy.
const DIFFERENCE: f64 = 0.02;

/// Huber's bound in standard deviations: 95 % as efficient as least squares for normal errors.
const HUBER: f64 = 1.345;

/// The standard deviation of normal errors is this many times the median of their sizes.
const MEDIAN_TO_DEVIATION: f64 = 1.4826;

/// Starts from `start` and moves the `free` parameters. `scale` is a change of each that matters.
pub(super) fn refine(
    experiments: &[Experiment],
    start: Coefficients,
    free: &[Parameter],
    scale: &Coefficients,
) -> Result<Refined, CalibrationError> {
    let mut at = start;
    let mut deviations = simulate(experiments, &at)?;
    let bound = huber_bound(&deviations);
    for _ in 0..MOST_ITERATIONS {
        let model = linearize(experiments, &at, &deviations, free, scale)?;
        let target = model.next(&at, free, bound);
        let before = loss(&deviations, bound);
        let Some((better, found)) = search(experiments, &at, &target, before, bound)? else {
            break;
        };
        (at, deviations) = (better, found);
        if loss(&deviations, bound) > before * (1.0 - LEAST_GAIN) {
            break;
        }
    }
    let inner: Vec<Parameter> = free.iter().copied().filter(|&p| at[p] > 0.0).collect();
    let model = linearize(experiments, &at, &deviations, &inner, scale)?;
    let (design, residuals) = model.weighted(bound);
    let errors = standard_errors(&design, residuals.as_slice());
    let of = |(idx, &p)| (p, errors.as_ref().map(|errors: &Vec<f64>| errors[idx]));
    let standard_errors = inner.iter().enumerate().map(of).collect();
    Ok(Refined { coefficients: at, deviations, standard_errors })
}

/// All deviations with these coefficients.
pub(super) fn simulate(
    experiments: &[Experiment],
    at: &Coefficients,
) -> Result<Vec<Deviation>, CalibrationError> {
    let mut deviations = Vec::new();
    for experiment in experiments {
        deviations.extend(experiment.run(at)?);
    }
    Ok(deviations)
}

/// Half the way to `target`, and half of that, until it is better than `before`.
fn search(
    experiments: &[Experiment],
    at: &Coefficients,
    target: &Coefficients,
    before: f64,
    bound: f64,
) -> Result<Option<(Coefficients, Vec<Deviation>)>, CalibrationError> {
    let mut share = 1.0;
    for _ in 0..=MOST_HALVINGS {
        let between = Coefficients::from_fn(|p| (target[p] - at[p]).mul_add(share, at[p]).max(0.0));
        let deviations = simulate(experiments, &between)?;
        if loss(&deviations, bound) < before {
            return Ok(Some((between, deviations)));
        }
        share /= 2.0;
    }
    Ok(None)
}

/// The simulator near a guess: residuals r and their slopes J.
struct Model {
    slopes: DMatrix<f64>,
    residuals: DVector<f64>,
}

fn linearize(
    experiments: &[Experiment],
    at: &Coefficients,
    deviations: &[Deviation],
    free: &[Parameter],
    scale: &Coefficients,
) -> Result<Model, CalibrationError> {
    let mut slopes = DMatrix::zeros(deviations.len(), free.len());
    for (column, &parameter) in free.iter().enumerate() {
        let step = DIFFERENCE * at[parameter].max(scale[parameter]);
        let mut moved = *at;
        moved[parameter] += step;
        let there = simulate(experiments, &moved)?;
        for (row, (there, here)) in there.iter().zip(deviations).enumerate() {
            slopes[(row, column)] = (there.log_ratio() - here.log_ratio()) / step;
        }
    }
    let residuals = deviations.iter().map(Deviation::log_ratio);
    Ok(Model { slopes, residuals: DVector::from_iterator(deviations.len(), residuals) })
}

impl Model {
    /// Where the model has its least weighted squares, none of the parameters being negative: the
    /// x ≥ 0 with the least ‖J·x − (J·x₀ − r)‖.
    fn next(&self, at: &Coefficients, free: &[Parameter], bound: f64) -> Coefficients {
        let (design, residuals) = self.weighted(bound);
        let here = DVector::from_iterator(free.len(), free.iter().map(|&p| at[p]));
        let solution = nnls(&design, &(&design * here - residuals));
        let mut next = *at;
        for (&parameter, &value) in free.iter().zip(solution.iter()) {
            next[parameter] = value;
        }
        next
    }

    /// Rows times the root of their weights: one for small residuals, and for large ones what makes
    /// their square grow as their size.
    fn weighted(&self, bound: f64) -> (DMatrix<f64>, DVector<f64>) {
        let (mut slopes, mut residuals) = (self.slopes.clone(), self.residuals.clone());
        for (mut row, residual) in slopes.row_iter_mut().zip(residuals.iter_mut()) {
            let weight = (bound / residual.abs().max(bound)).sqrt();
            row *= weight;
            *residual *= weight;
        }
        (slopes, residuals)
    }
}

/// Below 1 % nothing is an outlier.
fn huber_bound(deviations: &[Deviation]) -> f64 {
    let mut sizes: Vec<f64> = deviations.iter().map(|d| d.log_ratio().abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let median = sizes.get(sizes.len() / 2).copied().unwrap_or_default();
    (HUBER * MEDIAN_TO_DEVIATION * median).max(0.01)
}

fn loss(deviations: &[Deviation], bound: f64) -> f64 {
    let of = |deviation: &Deviation| {
        let size = deviation.log_ratio().abs();
        if size <= bound { size * size / 2.0 } else { bound * (size - bound / 2.0) }
    };
    deviations.iter().map(of).sum()
}
