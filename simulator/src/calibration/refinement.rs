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

/// An error up to this counts by its square: 5 %.
const HUBER_BOUND: f64 = 0.05;

const MOST_ITERATIONS: usize = 30;

/// An iteration that improves the loss by a smaller share has found nothing.
const LEAST_GAIN: f64 = 1e-3;

/// The steps of difference quotients: this share of the value, or of the scale if that is more. A
/// request that enters a step earlier makes small differences noisy, and bends make large ones
/// wrong, so when one finds nothing, the next has its turn.
const DIFFERENCES: [f64; 3] = [0.05, 0.1, 0.02];

/// How much the parameters are held where they are, as a share of the weight of the errors.
const DAMPINGS: [f64; 5] = [0.0, 0.01, 0.1, 1.0, 10.0];

/// Starts from `start` and moves the `free` parameters. `scale` is a change of each that matters.
pub(super) fn refine(
    experiments: &[Experiment],
    start: Coefficients,
    free: &[Parameter],
    scale: &Coefficients,
) -> Result<Refined, CalibrationError> {
    let mut at = start;
    let mut deviations = simulate(experiments, &at)?;
    let mut fruitless = 0;
    for _ in 0..MOST_ITERATIONS {
        let share = DIFFERENCES[fruitless];
        let model =
            linearize(experiments, &at, &deviations, free, |p| share * at[p].max(scale[p]))?;
        let before = loss(&deviations);
        for damping in DAMPINGS {
            let next = model.next(&at, free, damping);
            let found = simulate(experiments, &next)?;
            if loss(&found) < loss(&deviations) {
                (at, deviations) = (next, found);
            }
        }
        let gained = loss(&deviations) < before * (1.0 - LEAST_GAIN);
        fruitless = if gained { 0 } else { fruitless + 1 };
        if fruitless == DIFFERENCES.len() {
            break;
        }
    }
    let inner: Vec<Parameter> = free.iter().copied().filter(|&p| at[p] > 0.0).collect();
    let model = linearize(experiments, &at, &deviations, &inner, |p| DIFFERENCES[0] * at[p])?;
    let (design, residuals) = model.weighted();
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
    difference: impl Fn(Parameter) -> f64,
) -> Result<Model, CalibrationError> {
    let mut slopes = DMatrix::zeros(deviations.len(), free.len());
    for (column, &parameter) in free.iter().enumerate() {
        let step = difference(parameter);
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
    /// x ≥ 0 with the least ‖J·x − (J·x₀ − r)‖, damped by rows that ask for x₀ (D. W. Marquardt, An
    /// Algorithm for Least-Squares Estimation of Nonlinear Parameters, 1963).
    fn next(&self, at: &Coefficients, free: &[Parameter], damping: f64) -> Coefficients {
        let (slopes, residuals) = self.weighted();
        let (rows, unknowns) = slopes.shape();
        let here = DVector::from_iterator(unknowns, free.iter().map(|&p| at[p]));
        let mut target = (&slopes * &here - residuals).resize_vertically(rows + unknowns, 0.0);
        let mut design = slopes.resize_vertically(rows + unknowns, 0.0);
        for j in 0..unknowns {
            let weight = design.column(j).norm() * damping.sqrt();
            design[(rows + j, j)] = weight;
            target[rows + j] = weight * here[j];
        }
        let solution = nnls(&design, &target);
        let mut next = *at;
        for (&parameter, &value) in free.iter().zip(solution.iter()) {
            next[parameter] = value;
        }
        next
    }

    /// Rows times the root of their weights: one for small residuals, and for large ones what makes
    /// their square grow as their size.
    fn weighted(&self) -> (DMatrix<f64>, DVector<f64>) {
        let (mut slopes, mut residuals) = (self.slopes.clone(), self.residuals.clone());
        for (mut row, residual) in slopes.row_iter_mut().zip(residuals.iter_mut()) {
            let weight = (HUBER_BOUND / residual.abs().max(HUBER_BOUND)).sqrt();
            row *= weight;
            *residual *= weight;
        }
        (slopes, residuals)
    }
}

fn loss(deviations: &[Deviation]) -> f64 {
    let of = |deviation: &Deviation| {
        let (size, bound) = (deviation.log_ratio().abs(), HUBER_BOUND);
        if size <= bound { size * size / 2.0 } else { bound * (size - bound / 2.0) }
    };
    deviations.iter().map(of).sum()
}
