//! A run beside its simulation, number by number.

use super::plant::{SummaryPlant, plant};
use super::simulate::{FRONT_END, StageTimes, simulate};
use super::{Measured, SummaryError, SummaryRun};
use crate::catalog::Catalog;
use crate::results::stats::LatencyStats;
use crate::validation::comparison::{Metric, Row, Statistic};

/// A run beside its simulation.
#[derive(Debug)]
pub struct SummaryComparison {
    /// The run.
    pub run: SummaryRun,
    /// On what it was simulated.
    pub plant: SummaryPlant,
    /// One for each metric that was measured: of the whole run, then of each stage.
    pub rows: Vec<Row>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Simulates `run` with the seeds 1 to `seeds` and compares the mean over them.
///
/// # Errors
///
/// When the catalog knows too little, no engine starts with the run's arguments, or a prompt does
/// not fit its context.
pub fn score(
    run: SummaryRun,
    catalog: &Catalog,
    seeds: u64,
) -> Result<SummaryComparison, SummaryError> {
    let plant = plant(&run, catalog)?;
    let simulations = (1..=seeds)
        .map(|seed| simulate(&run, &plant, FRONT_END, seed))
        .collect::<Result<Vec<_>, _>>()?;
    let output_tokens = run.workload.output_tokens;
    let mean = |times: &dyn Fn(&[StageTimes]) -> StageTimes| {
        let each = simulations.iter().map(|stages| summary(times(stages), output_tokens));
        mean_of(&each.collect::<Vec<_>>())
    };
    let whole = rows(&run, &plant, None, &run.whole, &mean(&|stages| pooled(stages)));
    let by_stage = run.measured.iter().enumerate().flat_map(|(idx, measured)| {
        rows(&run, &plant, Some(idx), measured, &mean(&|stages| stages[idx].clone()))
    });
    let rows = whole.into_iter().chain(by_stage).collect();
    let failed: usize = simulations.iter().flatten().map(|stage| stage.failed).sum();
    let mut notes = run.notes.clone();
    notes.insert(0, plant.source.to_string());
    if let Some(overload) = &run.overload {
        notes.push(format!("overloaded, and left out of the medians: {overload}"));
    }
    if let Some(gaps) =
        gaps(&run.whole).filter(|gaps| (gaps / nominal_gaps(&run) - 1.0).abs() > 0.01)
    {
        let (counted, generated) = (gaps + 1.0, run.workload.output_tokens);
        notes.push(format!(
            "the client counted {counted:.0} tokens in an answer of {generated}, and itl_mean is \
             by its count"
        ));
    }
    if failed > 0 {
        let mean = failed as f64 / seeds as f64;
        notes.push(format!("{mean:.0} requests were refused or took too long in simulation"));
    }
    Ok(SummaryComparison { run, plant, rows, notes })
}

fn pooled(stages: &[StageTimes]) -> StageTimes {
    StageTimes {
        ttft: stages.iter().flat_map(|stage| &stage.ttft).copied().collect(),
        e2e: stages.iter().flat_map(|stage| &stage.e2e).copied().collect(),
        failed: stages.iter().map(|stage| stage.failed).sum(),
    }
}

/// All metrics of one simulation, in milliseconds.
fn summary(mut times: StageTimes, output_tokens: u32) -> Measured {
    let mut summary = Measured::new();
    let stats = [&mut times.e2e, &mut times.ttft].map(|times| LatencyStats::of(times));
    let [Some(e2e), Some(ttft)] = stats else { return summary };
    for statistic in Statistic::ALL {
        summary.insert(Metric::E2e(statistic), statistic.of(&e2e) * 1e3);
        summary.insert(Metric::Ttft(statistic), statistic.of(&ttft) * 1e3);
    }
    if output_tokens > 1 {
        let itl = (e2e.mean - ttft.mean) / f64::from(output_tokens - 1);
        summary.insert(Metric::Itl, itl * 1e3);
    }
    summary
}

/// The mean of each metric over those that have it.
fn mean_of(summaries: &[Measured]) -> Measured {
    let metrics = summaries.iter().flat_map(Measured::keys);
    let mean = |&metric: &Metric| {
        let values: Vec<_> = summaries.iter().filter_map(|summary| summary.get(&metric)).collect();
        (metric, values.iter().copied().sum::<f64>() / values.len() as f64)
    };
    metrics.map(mean).collect()
}

/// By how many tokens after the first the client divided what lies between the first and the last.
///
/// It counts the tokens of the text that it got, which are not always those that were generated: of
/// some answers of Llama 2 it counts four fifths. What it would have divided by is no matter of
/// the server, so it divides what was simulated as well.
fn gaps(measured: &Measured) -> Option<f64> {
    let mean = |metric: fn(Statistic) -> Metric| measured.get(&metric(Statistic::Mean));
    let decoding = mean(Metric::E2e)? - mean(Metric::Ttft)?;
    Some(decoding / measured.get(&Metric::Itl)?).filter(|&gaps| gaps > 0.0 && gaps.is_finite())
}

/// By how many it would have, had it counted what was generated.
fn nominal_gaps(run: &SummaryRun) -> f64 {
    f64::from(run.workload.output_tokens) - 1.0
}

fn rows(
    run: &SummaryRun,
    plant: &SummaryPlant,
    stage: Option<usize>,
    real: &Measured,
    simulated: &Measured,
) -> Vec<Row> {
    let gaps = gaps(real);
    let row = |(&metric, &real): (&Metric, &f64)| {
        let &simulated = simulated.get(&metric)?;
        let simulated = match (metric, gaps) {
            (Metric::Itl, Some(gaps)) => simulated * nominal_gaps(run) / gaps,
            _ => simulated,
        };
        Some(Row {
            run: run.name.clone(),
            gpu: plant.gpu.clone(),
            model: run.model.clone(),
            stage,
            metric,
            unit: "ms",
            real,
            simulated,
            error_pct: (real != 0.0).then(|| (simulated / real - 1.0) * 100.0),
            peer_error_pct: stage.is_none().then(|| run.peer.get(&metric.to_string())).flatten(),
        })
    };
    real.iter().filter_map(row).collect()
}
