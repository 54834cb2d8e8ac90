//! What measurements say of the coefficients, as linear equations.

use nalgebra::{DMatrix, DVector};

use super::activity::Activity;
use super::least_squares::nnls;
use super::parameter::{Coefficients, Parameter, PerParameter};
use crate::validation::Run;

/// Terms · coefficients = a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Equation {
    /// How often each coefficient counts.
    pub(super) terms: PerParameter<f64>,
    /// The time, more than zero.
    pub(super) seconds: f64,
}

/// What the requests of a run say.
///
/// A request that decodes n tokens after its first does so in n steps, and what else these held is
/// known from the other requests. The time to its first token says something if nobody decodes
/// meanwhile, since then the steps are those that its prompt takes; else how many there were is not
/// known well enough.
pub(super) fn equations_of(run: &Run, known: Option<&Coefficients>) -> Vec<Equation> {
    let activity = Activity::of(&run.requests, known);
    let mut equations = Vec::with_capacity(2 * run.requests.len());
    for request in &run.requests {
        let steps = f64::from(request.output_tokens.saturating_sub(1));
        let seconds = request.last_token - request.first_token;
        if steps > 0.0 && seconds > 0.0 {
            let terms = activity.between(request.first_token, request.last_token, steps);
            let per_step = PerParameter(terms.0.map(|term| term / steps));
            equations.push(Equation { terms: per_step, seconds: seconds / steps });
        }
        let seconds = request.first_token - request.queued;
        if seconds > 0.0 {
            let chunks = request.prompt_tokens.div_ceil(run.engine.max_num_batched_tokens);
            let terms = activity.between(request.queued, request.first_token, f64::from(chunks));
            if terms[Parameter::PerDecodeSequence] == 0.0 {
                equations.push(Equation { terms, seconds });
            }
        }
    }
    equations
}

/// The design whose every row is an equation over its time, so that errors are relative, with a
/// column for each of `free`.
pub(super) fn design(equations: &[Equation], free: &[Parameter]) -> DMatrix<f64> {
    let entry = |row: usize, column: usize| {
        let equation = &equations[row];
        equation.terms[free[column]] / equation.seconds
    };
    DMatrix::from_fn(equations.len(), free.len(), entry)
}

/// How far each equation is off, as a share of its time.
pub(super) fn relative_errors(equations: &[Equation], coefficients: &Coefficients) -> Vec<f64> {
    let sum = |equation: &Equation| -> f64 {
        Parameter::ALL.iter().map(|&p| equation.terms[p] * coefficients[p]).sum()
    };
    equations.iter().map(|equation| sum(equation) / equation.seconds - 1.0).collect()
}

/// The coefficients with the least relative errors, those of `free` being looked for and the others
/// staying as they are in `held`.
pub(super) fn solve(
    equations: &[Equation],
    free: &[Parameter],
    held: &Coefficients,
) -> Coefficients {
    let known = |equation: &Equation| -> f64 {
        let of_held = |&p: &Parameter| equation.terms[p] * held[p];
        Parameter::ALL.iter().filter(|p| !free.contains(p)).map(of_held).sum()
    };
    let rest = equations.iter().map(|equation| 1.0 - known(equation) / equation.seconds);
    let rest = DVector::from_iterator(equations.len(), rest);
    let solution = nnls(&design(equations, free), &rest);
    let mut coefficients = *held;
    for (&parameter, &value) in free.iter().zip(solution.iter()) {
        coefficients[parameter] = value;
    }
    coefficients
}
