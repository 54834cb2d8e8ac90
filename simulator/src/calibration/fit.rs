//! Measurements in, coefficients out.

use super::CalibrationError;
use super::equation::{Equation, design, equations_of, relative_errors, solve};
use super::experiment::{Deviation, Experiment, Latency};
use super::least_squares::{confusions, standard_errors};
use super::load::LoadStage;
use super::parameter::{Coefficients, Parameter, PerParameter};
use super::refinement::{Refined, refine};
use super::source::Measurements;
use crate::engine::EngineArgs;
use crate::engine::step_time::Linear;
use crate::results::stats::LatencyStats;
use crate::validation::{RecordedRequest, Run};

/// A linear plant, and how far it can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The coefficients.
    pub plant: Linear,
    /// Each of them, in the order of [`Parameter::ALL`].
    pub estimates: Vec<Estimate>,
    /// Parameters that the measurements do not tell apart.
    pub confused: Vec<Confusion>,
    /// How far the simulator is off with the plant.
    pub errors: Vec<FitError>,
    /// What was seen.
    pub ranges: ValidRanges,
}

/// Parameters that the measurements do not tell apart; a single one does not occur in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// Whether the last of them was not fitted for it.
    pub gave_up: bool,
}

/// What is known of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The parameter.
    pub parameter: Parameter,
    /// Its value in seconds.
    pub value: f64,
    /// Its standard error in seconds: that of the refinement or, with single requests, that of the
    /// regression if it is greater. Both take the errors of measurements to be independent, so it
    /// is too small for requests that shared their steps.
    pub standard_error: Option<f64>,
    /// Where the value comes from.
    pub status: Status,
}

/// Where the value of a parameter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The data.
    Fitted,
    /// The data, which would have it negative: zero.
    AtZero,
    /// The prior, because the data does not say.
    Prior,
    /// Nothing: the data does not say, and no prior was given. It is zero, and what it costs is in
    /// the parameters that it cannot be told from.
    LeftOut,
}

/// How far the simulator is off in one latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitError {
    /// The latency.
    pub latency: Latency,
    /// Requests and stages that have it.
    pub count: usize,
    /// Half of them are off by less than this, in percent.
    pub median_pct: f64,
    /// Nine of ten are off by less than this, in percent.
    pub p90_pct: f64,
}

/// The loads for which a calibration holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValidRanges {
    /// Requests per second.
    pub rate: Range,
    /// Sequences that decode at once.
    pub batch: Range,
    /// Tokens of a prompt; for stages, of their means.
    pub prompt_tokens: Range,
    /// Tokens of a sequence with all its output; for stages, of their means.
    pub context_tokens: Range,
}

/// From the least to the greatest that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Range {
    /// Of values; of none, from zero to zero.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let range = values.map(|v| Self { least: v, greatest: v }).reduce(|one, other| Self {
            least: one.least.min(other.least),
            greatest: one.greatest.max(other.greatest),
        });
        range.unwrap_or(Self { least: 0.0, greatest: 0.0 })
    }
}

/// Fits a linear plant.
///
/// `stage_server` are the arguments of the server of the load stages; runs of single requests have
/// their own. Of `prior` those coefficients are taken that the measurements do not say.
///
/// # Errors
///
/// When there is nothing to fit to, or the simulator cannot serve it.
pub fn calibrate(
    measurements: &Measurements,
    stage_server: EngineArgs,
    prior: Option<&Linear>,
) -> Result<Calibration, CalibrationError> {
    let Measurements { runs, stages, .. } = measurements;
    let equations = |known: Option<&Coefficients>| -> Vec<Equation> {
        let of_runs = runs.iter().flat_map(|run| equations_of(run, known));
        of_runs.chain(stages.iter().flat_map(|stage| stage.equations(&stage_server))).collect()
    };
    let mut rows = equations(None);
    if rows.is_empty() {
        return Err(CalibrationError::Nothing(measurements.notes.clone()));
    }
    // A prior is better than a number that hardly shows; without one, hardly is better than not.
    let limit = if prior.is_some() { HARMFUL_INDEX } else { SEVERE_INDEX };
    let (free, mut confused) = identifiable(&rows, limit);
    let doubtful = confusions(&design(&rows, &free), HARMFUL_INDEX).into_iter();
    confused.extend(doubtful.map(|group| Confusion::of(&group, &free, false)));
    let held = prior.map(Coefficients::from).unwrap_or_default();
    let mut start = solve(&rows, &free, &held);
    for _ in 0..PASSES {
        rows = equations(Some(&start));
        start = solve(&rows, &free, &held);
    }

    let of_stage = |stage: &LoadStage| stage.experiment(stage_server);
    let mut experiments = runs.iter().map(Experiment::of_run).collect::<Result<Vec<_>, _>>()?;
    experiments.extend(stages.iter().map(of_stage).collect::<Result<Vec<_>, _>>()?);
    let refined = refine(&experiments, start, &free, &scale(&rows))?;
    // Those of stages are approximations, and how far they are off is not how far the data is.
    let of_runs = if runs.is_empty() { &[][..] } else { &rows };
    Ok(Calibration {
        plant: refined.coefficients.into(),
        estimates: estimates(&refined, &free, of_runs, prior.is_some()),
        confused,
        errors: fit_errors(&refined.deviations),
        ranges: ranges(runs, stages),
    })
}

/// How often the equations are set up anew with what they said: what they take from it converges
/// fast.
const PASSES: usize = 4;

/// A condition index from which on a near dependency does harm, by Belsley, Kuh and Welsch.
const HARMFUL_INDEX: f64 = 30.0;

/// A condition index from which on it leaves nothing to go by.
const SEVERE_INDEX: f64 = 100.0;

/// The parameters to look for, and the groups in which one was given up: the last of each, since
/// the earlier ones are the greater part of a step.
fn identifiable(equations: &[Equation], limit: f64) -> (Vec<Parameter>, Vec<Confusion>) {
    let mut free = Parameter::ALL.to_vec();
    let mut confused = Vec::new();
    loop {
        let groups = confusions(&design(equations, &free), limit);
        let Some(group) = groups.first() else { return (free, confused) };
        let confusion = Confusion::of(group, &free, true);
        free.retain(|parameter| Some(parameter) != confusion.parameters.last());
        confused.push(confusion);
    }
}

impl Confusion {
    fn of(group: &[usize], free: &[Parameter], gave_up: bool) -> Self {
        Self { parameters: group.iter().map(|&idx| free[idx]).collect(), gave_up }
    }
}

/// A change of each parameter that matters: a tenth of what it would be if it alone took all time.
fn scale(equations: &[Equation]) -> Coefficients {
    let seconds: f64 = equations.iter().map(|equation| equation.seconds).sum();
    PerParameter::from_fn(|p| {
        let terms: f64 = equations.iter().map(|equation| equation.terms[p]).sum();
        if terms > 0.0 { seconds / terms / 10.0 } else { 0.0 }
    })
}

fn estimates(
    refined: &Refined,
    free: &[Parameter],
    equations: &[Equation],
    has_prior: bool,
) -> Vec<Estimate> {
    let Refined { coefficients, standard_errors: of_refinement, .. } = refined;
    let fitted: Vec<Parameter> = of_refinement.iter().map(|(parameter, _)| *parameter).collect();
    let errors = relative_errors(equations, coefficients);
    let of_regression = standard_errors(&design(equations, &fitted), &errors);
    let standard_error = |parameter: Parameter| {
        let idx = fitted.iter().position(|&p| p == parameter)?;
        let regression = of_regression.as_ref().map(|errors| errors[idx]);
        [regression, of_refinement[idx].1].into_iter().flatten().reduce(f64::max)
    };
    let estimate = |parameter: Parameter| {
        let value = coefficients[parameter];
        let status = match (free.contains(&parameter), has_prior) {
            (true, _) if value > 0.0 => Status::Fitted,
            (true, _) => Status::AtZero,
            (false, true) => Status::Prior,
            (false, false) => Status::LeftOut,
        };
        Estimate { parameter, value, standard_error: standard_error(parameter), status }
    };
    Parameter::ALL.map(estimate).to_vec()
}

fn fit_errors(deviations: &[Deviation]) -> Vec<FitError> {
    let of = |latency: Latency| {
        let of_latency = deviations.iter().filter(|deviation| deviation.latency == latency);
        let mut errors: Vec<f64> = of_latency.map(Deviation::error_pct).collect();
        let stats = LatencyStats::of(&mut errors)?;
        let (median_pct, p90_pct) = (stats.p50, stats.p90);
        Some(FitError { latency, count: errors.len(), median_pct, p90_pct })
    };
    Latency::ALL.into_iter().filter_map(of).collect()
}

fn ranges(runs: &[Run], stages: &[LoadStage]) -> ValidRanges {
    let requests = || runs.iter().flat_map(|run| &run.requests);
    let context = |r: &RecordedRequest| f64::from(r.prompt_tokens + r.output_tokens);
    let of_stages = |value: fn(&LoadStage) -> f64| stages.iter().map(value);
    ValidRanges {
        rate: Range::of(runs.iter().filter_map(rate).chain(of_stages(|stage| stage.rate))),
        batch: Range::of(runs.iter().map(greatest_batch).chain(of_stages(LoadStage::decode_batch))),
        prompt_tokens: Range::of(
            requests()
                .map(|request| f64::from(request.prompt_tokens))
                .chain(of_stages(|stage| stage.prompt_tokens)),
        ),
        context_tokens: Range::of(
            requests()
                .map(context)
                .chain(of_stages(|stage| stage.prompt_tokens + stage.output_tokens)),
        ),
    }
}

/// Of arrivals; `None` when all come at once.
fn rate(run: &Run) -> Option<f64> {
    let last = run.requests.last()?.arrival;
    (last > 0.0).then(|| (run.requests.len() - 1) as f64 / last)
}

/// The most requests between their first and their last token at once.
fn greatest_batch(run: &Run) -> f64 {
    let changes = run.requests.iter().flat_map(|r| [(r.first_token, 1_i32), (r.last_token, -1)]);
    let mut changes: Vec<_> = changes.collect();
    // Whoever leaves at an instant does so before others come.
    changes.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let mut batch = 0;
    let batches = changes.iter().map(|(_, change)| {
        batch += change;
        batch
    });
    f64::from(batches.max().unwrap_or(0))
}
