//! From a first guess to the coefficients with which the simulator does what was measured.
//!
//! The equations of a steady state leave out what a batch does to the one after it. The simulator
//! does not, so a few steps of Gauss and Newton on its errors correct them: the simulator is taken
//! to be linear near the guess, and the least squares of that model, none negative, is the next
//! guess. Errors are logarithms of simulated over real.
//!
//! One request that waited for a place can be off tenfold, so large errors count by their size and
//! not by its square (P. J. Huber, Robust Estimation of a Location Parameter, 1964). And a first
//! token comes a step earlier or later by chance, which is much of its time, so there are rounds:
//! each weighs the errors of a latency by how large they typically were after the round before.

use nalgebra::{DMatrix, DVector};

use super::CalibrationError;
use super::experiment::{Deviation, Experiment, Latency};
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

/// An error counts by its square up to this many standard deviations: 95 % as efficient as least
/// squares if all errors are normal.
const HUBER_BOUND: f64 = 1.345;

/// The standard deviation of normal errors is this many times the median of their sizes.
const MEDIAN_TO_DEVIATION: f64 = 1.4826;

/// The standard deviation of errors in the first round, and at most in later ones: 4 %.
const GREATEST_DEVIATION: f64 = 0.04;

/// The standard deviation of errors at least: nobody measures a server better than to 0.2 %.
const LEAST_DEVIATION: f64 = 0.002;

const ROUNDS: usize = 3;

/// Of a round.
const MOST_ITERATIONS: usize = 30;

/// An iteration that improves the loss by a smaller share has found nothing.
const LEAST_GAIN: f64 = 1e-3;

/// The steps of difference quotients: this share of the value, or of the scale if that is more. A
/// request that enters a step earlier makes small differences noisy, and bends make large ones
/// wrong, so when one finds nothing, the next has its turn.
const DIFFERENCES: [f64; 4] = [0.05, 0.1, 0.02, 0.005];

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
    let mut weights = Weights([GREATEST_DEVIATION; Latency::ALL.len()]);
    for round in 0..ROUNDS {
        if round > 0 {
            weights = Weights::of(&deviations);
        }
        let search = Search { experiments, free, scale, weights };
        (at, deviations) = search.run(at, deviations)?;
    }
    let inner: Vec<Parameter> = free.iter().copied().filter(|&p| at[p] > 0.0).collect();
    let search = Search { experiments, free: &inner, scale, weights };
    let model = search.linearize(&at, &deviations, |p| DIFFERENCES[0] * at[p])?;
    let errors = standard_errors(&model.slopes, model.residuals.as_slice());
    let of = |(idx, &p)| (p, errors.as_ref().map(|errors: &Vec<f64>| errors[idx]));
    let standard_errors = inner.iter().enumerate().map(of).collect();
    Ok(Refined { coefficients: at, deviations, standard_errors })
}

/// All deviations with these coefficients.
fn simulate(
    experiments: &[Experiment],
    at: &Coefficients,
) -> Result<Vec<Deviation>, CalibrationError> {
    let mut deviations = Vec::new();
    for experiment in experiments {
        deviations.extend(experiment.run(at)?);
    }
    Ok(deviations)
}

/// A round.
struct Search<'a> {
    experiments: &'a [Experiment],
    free: &'a [Parameter],
    scale: &'a Coefficients,
    weights: Weights,
}

impl Search<'_> {
    /// The best that is found from `at`, where the deviations are `deviations`.
    fn run(
        &self,
        mut at: Coefficients,
        mut deviations: Vec<Deviation>,
    ) -> Result<(Coefficients, Vec<Deviation>), CalibrationError> {
        let mut fruitless = 0;
        for _ in 0..MOST_ITERATIONS {
            let share = DIFFERENCES[fruitless];
            let difference = |p: Parameter| share * at[p].max(self.scale[p]);
            let model = self.linearize(&at, &deviations, difference)?;
            let (origin, before) = (at, self.weights.loss(&deviations));
            let mut least = before;
            for damping in DAMPINGS {
                let next = model.next(&origin, self.free, damping);
                let found = simulate(self.experiments, &next)?;
                let loss = self.weights.loss(&found);
                if loss < least {
                    (at, deviations, least) = (next, found, loss);
                }
            }
            fruitless = if least < before * (1.0 - LEAST_GAIN) { 0 } else { fruitless + 1 };
            if fruitless == DIFFERENCES.len() {
                break;
            }
        }
        Ok((at, deviations))
    }

    /// The simulator near `at`, with its errors in standard deviations, large ones weighed down.
    fn linearize(
        &self,
        at: &Coefficients,
        deviations: &[Deviation],
        difference: impl Fn(Parameter) -> f64,
    ) -> Result<Model, CalibrationError> {
        let mut slopes = DMatrix::zeros(deviations.len(), self.free.len());
        for (column, &parameter) in self.free.iter().enumerate() {
            let step = difference(parameter);
            let mut moved = *at;
            moved[parameter] += step;
            let there = simulate(self.experiments, &moved)?;
            for (row, (there, here)) in there.iter().zip(deviations).enumerate() {
                let slope = (there.log_ratio() - here.log_ratio()) / step;
                slopes[(row, column)] = slope * self.weights.of_row(here);
            }
        }
        let residuals = deviations.iter().map(|d| d.log_ratio() * self.weights.of_row(d));
        Ok(Model { slopes, residuals: DVector::from_iterator(deviations.len(), residuals) })
    }
}

/// The standard deviation of the errors of each latency, in the order of [`Latency::ALL`].
#[derive(Debug, Clone, Copy)]
struct Weights([f64; 3]);

impl Weights {
    fn of(deviations: &[Deviation]) -> Self {
        Self(Latency::ALL.map(|latency| {
            let of_latency = deviations.iter().filter(|deviation| deviation.latency == latency);
            let mut sizes: Vec<f64> = of_latency.map(|d| d.log_ratio().abs()).collect();
            sizes.sort_unstable_by(f64::total_cmp);
            let median = sizes.get(sizes.len() / 2).copied().unwrap_or_default();
            (MEDIAN_TO_DEVIATION * median).clamp(LEAST_DEVIATION, GREATEST_DEVIATION)
        }))
    }

    /// In standard deviations.
    fn size(&self, deviation: &Deviation) -> f64 {
        deviation.log_ratio().abs() / self.0[deviation.latency as usize]
    }

    fn loss(&self, deviations: &[Deviation]) -> f64 {
        let of = |deviation: &Deviation| {
            let (size, bound) = (self.size(deviation), HUBER_BOUND);
            if size <= bound { size * size / 2.0 } else { bound * (size - bound / 2.0) }
        };
        deviations.iter().map(of).sum()
    }

    /// What makes the square of an error what it counts for.
    fn of_row(&self, deviation: &Deviation) -> f64 {
        let size = self.size(deviation);
        (HUBER_BOUND / size.max(HUBER_BOUND)).sqrt() / self.0[deviation.latency as usize]
    }
}

/// The simulator near a guess: weighted residuals r and their slopes J.
struct Model {
    slopes: DMatrix<f64>,
    residuals: DVector<f64>,
}

impl Model {
    /// Where the model has its least squares, none of the parameters being negative: the x ≥ 0 with
    /// the least ‖J·x − (J·x₀ − r)‖, damped by rows that ask for x₀ (D. W. Marquardt, An Algorithm
    /// for Least-Squares Estimation of Nonlinear Parameters, 1963).
    fn next(&self, at: &Coefficients, free: &[Parameter], damping: f64) -> Coefficients {
        let (rows, unknowns) = self.slopes.shape();
        let here = DVector::from_iterator(unknowns, free.iter().map(|&p| at[p]));
        let target = &self.slopes * &here - &self.residuals;
        let mut target = target.resize_vertically(rows + unknowns, 0.0);
        let mut design = self.slopes.clone().resize_vertically(rows + unknowns, 0.0);
        for j in 0..unknowns {
            let weight = self.slopes.column(j).norm() * damping.sqrt();
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
}
