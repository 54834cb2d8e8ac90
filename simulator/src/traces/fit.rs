//! From a trace to traffic like it.
//!
//! A trace is read twice. The first reading is an [`Inspection`], which tells how long the trace is
//! and so which windows its rate should have; the second is done by a [`Fitter`].
//!
//! - The rate of a window is its count over its width, drawn toward the mean rate by as much of the
//!   variance of the counts as chance alone explains (James and Stein 1961). Otherwise chance would
//!   count twice: in the profile, and again in what is drawn from it. Counts that vary hardly more
//!   than by chance have one rate.
//! - Within windows, arrivals cluster in one of two ways. As a renewal process with Gamma gaps,
//!   whose variation is that of the recorded gaps, in units of their window's mean gap. Or as a
//!   Markov-modulated Poisson process of two states, whose depth and stay follow from the index of
//!   dispersion within windows, which is 1 + λ·depth²·stay·h(2T/stay) over a time T, with
//!   h(x) = 1 − (1 − e⁻ˣ)/x (Fischer and Meier-Hellstern 1993, "The Markov-modulated Poisson process
//!   cookbook"). Both are drawn, and the one is taken that comes nearer to the trace in its gaps and
//!   its dispersion.
//! - Lengths are a table of quantiles of at most 2^17 pairs, drawn evenly from all.
//! - Of prefixes, there is the text with which most prompts begin; and of what stands behind it, a
//!   table of the share that an infinite cache finds, and how long ago the last text of that was
//!   used.

mod prefixes;

use optimizer::units::{Seconds, Timestamp, Tokens};
use rand::RngExt;

use super::bands::JointTable;
use super::draw::DrawnTimes;
use super::fitted::{FittedArrivals, FittedTraffic, Switching};
use super::goodness::distance;
use super::inspection::{Inspection, Inspector};
use super::moments::Moments;
use super::windows::nanos;
use crate::engine::Content;
use crate::kernel::{Stream, Streams};
use crate::workload::trace::Record;
use prefixes::Prefixes;

/// Windows that a trace of any length may have, the shortest first.
const WINDOWS: [f64; 5] = [60.0, 300.0, 600.0, 1800.0, 3600.0];

/// Windows that a profile should have at most.
const MOST_WINDOWS: f64 = 2000.0;

/// Parts of a window in which arrivals are counted, finest first.
const PARTS: [usize; 2] = [60, 6];

/// Takes the requests of a trace one by one, for the second time.
#[derive(Debug, Clone)]
pub struct Fitter {
    window: Seconds,
    /// When the first request arrived, once it is known.
    first: Option<Timestamp>,
    /// The arrivals of each window that is over.
    counts: Vec<u64>,
    /// The arrivals of the window that is not, in nanoseconds since it began.
    arrivals: Vec<u64>,
    gaps: NormalizedGaps,
    /// For each of [`PARTS`], the squared distances of the parts' counts from their window's mean.
    squares: [f64; PARTS.len()],
    lengths: Reservoir,
    prefixes: Prefixes,
}

impl Fitter {
    /// For the trace of an inspection. Without a window, it is a minute for traces up to a day or
    /// so, and longer for longer ones.
    #[must_use]
    pub fn new(inspection: &Inspection, window: Option<Seconds>) -> Self {
        let span = inspection.span_s;
        let fits = |window: &&f64| span / **window <= MOST_WINDOWS;
        let window = window.map(Seconds::value).filter(|&window| window > 0.0);
        let window = window
            .unwrap_or_else(|| WINDOWS.iter().find(fits).copied().unwrap_or(span / MOST_WINDOWS));
        // A trace that is shorter than a window has one rate, and none has more than 10^5.
        let window = if span > 0.0 { window.min(span) } else { window };
        let window = window.max(span / 1e5).max(1e-3);
        Self {
            window: Seconds::new(window),
            first: None,
            counts: Vec::new(),
            arrivals: Vec::new(),
            gaps: NormalizedGaps::default(),
            squares: [0.0; PARTS.len()],
            lengths: Reservoir::new("fit/lengths"),
            prefixes: Prefixes::default(),
        }
    }

    /// Takes the next request.
    pub fn add(&mut self, record: &Record) {
        let first = *self.first.get_or_insert(record.at);
        let (since, width) = (record.at.as_nanos() - first.as_nanos(), nanos(self.window));
        while since >= (self.counts.len() as u64 + 1) * width {
            self.close_window();
        }
        self.arrivals.push(since - self.counts.len() as u64 * width);
        self.lengths.add((record.prompt.get(), record.output.get()));
        self.prefixes.add(record);
    }

    /// The traffic that is most like the trace; `None` when there were no requests. `source` says
    /// what it was fitted to.
    #[must_use]
    pub fn finish(
        mut self,
        source: impl Into<String>,
        recorded: &Inspection,
    ) -> Option<FittedTraffic> {
        let width = nanos(self.window);
        // The last window counts when most of it lies in the trace, as if it were whole.
        let covered = self.arrivals.last().map_or(0.0, |&last| last as f64 / width as f64);
        let rest = (self.arrivals.len() as f64, covered);
        if covered >= 0.5 || self.counts.is_empty() {
            self.close_window();
        }
        let lengths = self.lengths.table()?;
        let dispersion = self.dispersion();
        let rates = self.rates(rest, dispersion[0].max(dispersion[1]));
        let arrivals = self.candidates(&rates, dispersion);
        let arrivals = arrivals
            .into_iter()
            .min_by(|one, other| misfit(one, recorded).total_cmp(&misfit(other, recorded)))?;
        let prefixes = self.prefixes.fitted();
        Some(FittedTraffic { source: source.into(), arrivals, lengths, prefixes })
    }

    fn close_window(&mut self) {
        let (count, width) = (self.arrivals.len(), nanos(self.window));
        self.gaps.add(&self.arrivals, width);
        for (parts, squares) in PARTS.into_iter().zip(&mut self.squares) {
            let mut counts = vec![0.0; parts];
            for &at in &self.arrivals {
                let part = u128::from(at) * parts as u128 / u128::from(width);
                counts[usize::try_from(part).unwrap_or(0).min(parts - 1)] += 1.0;
            }
            let mean = count as f64 / parts as f64;
            *squares += counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>();
        }
        self.counts.push(count as u64);
        self.arrivals.clear();
    }

    /// The index of dispersion within windows, for each of [`PARTS`].
    fn dispersion(&self) -> [f64; PARTS.len()] {
        let all: u64 = self.counts.iter().sum();
        let index = |idx: usize| {
            // Distances from a mean of the same counts are that much too small.
            let freedom = 1.0 - 1.0 / PARTS[idx] as f64;
            if all == 0 { 1.0 } else { self.squares[idx] / (all as f64 * freedom) }
        };
        [index(0), index(1)]
    }

    /// The rate of each window, drawn toward the mean. Of the last window, `rest` has the count and
    /// the share that lies in the trace.
    fn rates(&self, rest: (f64, f64), dispersion: f64) -> Vec<f64> {
        let mut counts: Vec<_> = self.counts.iter().map(|&count| count as f64).collect();
        let (count, covered) = rest;
        if covered >= 0.5 && counts.len() > 1 {
            counts.pop();
            counts.push(count / covered);
        }
        let mut moments = Moments::default();
        for &count in &counts {
            moments.add(count);
        }
        let (mean, variance) = (moments.mean().unwrap_or(0.0), moments.variance().unwrap_or(0.0));
        let by_chance = dispersion.max(0.0) * mean;
        // The variance of n counts that vary by chance alone has a deviation of √(2/(n − 1)) of itself.
        let doubt = 1.0 + 3.0 * (2.0 / (moments.count() - 1.0).max(1.0)).sqrt();
        let kept = if variance > by_chance * doubt { 1.0 - by_chance / variance } else { 0.0 };
        let rate = |count: f64| rounded((mean + kept * (count - mean)) / self.window.value());
        if kept > 0.0 { counts.into_iter().map(rate).collect() } else { vec![rate(mean)] }
    }

    /// The two ways to cluster, and the second with other stays: what is measured within windows
    /// says little of stays that are about as long.
    fn candidates(&self, rates: &[f64], dispersion: [f64; PARTS.len()]) -> Vec<FittedArrivals> {
        let arrivals = |gap_cv: f64, switching| FittedArrivals {
            window: self.window,
            rates_per_second: rates.to_vec(),
            gap_cv: rounded(gap_cv),
            switching,
        };
        let cv = self.gaps.cv().unwrap_or(1.0);
        let plain = cv.min(1.0);
        let mean_rate = rates.iter().sum::<f64>() / rates.len() as f64;
        let times = PARTS.map(|parts| self.window.value() / parts as f64);
        let excess = dispersion.map(|index| index - plain * plain);
        let switching = |stay: f64| {
            let depth = excess[1] / (mean_rate * stay * saturation(2.0 * times[1] / stay));
            let depth = rounded(depth.max(0.0).sqrt().min(1.0));
            Some(Switching { depth, stay: Seconds::new(rounded(stay)) })
        };
        let mut candidates = vec![arrivals(cv, None), arrivals(1.0, None)];
        if excess[1] > 0.0 && mean_rate > 0.0 {
            let fitted = stay(excess, times);
            let stays = [fitted, times[0], times[1], 3.0 * times[1]];
            candidates.extend(stays.map(|stay| arrivals(plain, switching(stay))));
        }
        candidates
    }
}

/// h(x) = 1 − (1 − e⁻ˣ)/x: how much of its long-run dispersion a switching rate shows over a time.
fn saturation(x: f64) -> f64 {
    // For small x, the difference of nearly equal numbers would be noise.
    if x < 1e-4 { x / 2.0 } else { 1.0 - (1.0 - (-x).exp()) / x }
}

/// The stay for which the excess dispersion grows from the first time to the second as it does.
fn stay(excess: [f64; 2], times: [f64; 2]) -> f64 {
    let wanted = excess[0] / excess[1];
    let (mut short, mut long) = (times[0] / 100.0, times[1] * 100.0);
    // A longer stay shows less of its dispersion in the shorter time.
    for _ in 0..60 {
        let middle = (short * long).sqrt();
        let ratio = saturation(2.0 * times[0] / middle) / saturation(2.0 * times[1] / middle);
        if ratio > wanted { short = middle } else { long = middle }
    }
    (short * long).sqrt()
}

/// How far arrivals are from those that were recorded: the distance of the gaps, and the mean
/// logarithm of the ratios of dispersion.
fn misfit(arrivals: &FittedArrivals, recorded: &Inspection) -> f64 {
    let mut inspector = Inspector::default();
    let span = Seconds::new(recorded.span_s);
    let times = DrawnTimes::new(arrivals, span, Streams::new(1)).take(TRIED);
    for at in times {
        let (prompt, output) = (Tokens::new(1), Tokens::new(1));
        inspector
            .add(&Record { at, prompt, output, model: None, content: Content::default() }, None);
    }
    let Some(drawn) = inspector.finish() else { return f64::INFINITY };
    let mut ratios = Moments::default();
    for (one, other) in recorded.windows.iter().zip(&drawn.windows) {
        if let (Some(one), Some(other)) = (one.dispersion, other.dispersion)
            && one > 0.0
            && other > 0.0
        {
            ratios.add((one / other).ln().abs());
        }
    }
    distance(&recorded.curves.gap, &drawn.curves.gap) + ratios.mean().unwrap_or(0.0)
}

/// Arrivals of a candidate that are drawn at most.
const TRIED: usize = 100_000;

/// Six significant digits, which is more than is known.
fn rounded(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(5.0 - value.log10().floor());
    (value * scale).round() / scale
}

/// Gaps in units of the mean gap of their window.
#[derive(Debug, Clone, Copy, Default)]
struct NormalizedGaps {
    count: f64,
    sum: f64,
    squares: f64,
}

impl NormalizedGaps {
    fn add(&mut self, arrivals: &[u64], width: u64) {
        let per_mean = arrivals.len() as f64 / width as f64;
        for pair in arrivals.windows(2) {
            let gap = (pair[1] - pair[0]) as f64 * per_mean;
            self.count += 1.0;
            self.sum += gap;
            self.squares += gap * gap;
        }
    }

    /// Deviation over mean; `None` when there are few gaps.
    fn cv(&self) -> Option<f64> {
        let mean = self.sum / self.count;
        let variance = self.squares / self.count - mean * mean;
        (self.count >= 10.0 && mean > 0.0).then(|| variance.max(0.0).sqrt() / mean)
    }
}

/// An even choice of at most [`Self::ROOM`] pairs out of all (Vitter 1985, "Random sampling with a
/// reservoir").
#[derive(Debug, Clone)]
struct Reservoir {
    pairs: Vec<(u64, u64)>,
    seen: u64,
    chance: Stream,
}

impl Reservoir {
    const ROOM: usize = 1 << 17;

    fn new(name: &str) -> Self {
        Self { pairs: Vec::new(), seen: 0, chance: Streams::new(1).stream(name) }
    }

    fn add(&mut self, pair: (u64, u64)) {
        self.seen += 1;
        if self.pairs.len() < Self::ROOM {
            self.pairs.push(pair);
            return;
        }
        let place = self.chance.random_range(0..self.seen);
        if let Some(chosen) = usize::try_from(place).ok().and_then(|idx| self.pairs.get_mut(idx)) {
            *chosen = pair;
        }
    }

    fn table(&mut self) -> Option<JointTable> {
        JointTable::of(std::mem::take(&mut self.pairs))
    }
}

#[cfg(test)]
mod tests;
