//! What a trace looks like from afar.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;
use optimizer::units::{Seconds, Timestamp};
use serde::Serialize;

use super::lengths::LengthCounts;
use super::moments::{Correlation, Moments};
use super::reuse::{PrefixReuse, ReuseCounts};
use super::windows::{Timeline, WindowCounts};
use crate::workload::trace::Record;

/// The windows over which rates and dispersion are told.
pub const WINDOWS: [Seconds; 4] =
    [Seconds::new(1.0), Seconds::new(10.0), Seconds::new(60.0), Seconds::new(600.0)];

/// A trace in numbers. Keys end with their unit; a statistic that the trace is too short for is
/// `None`. All spreads are those of the trace itself, not estimates for a larger population.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The number of requests.
    pub requests: u64,
    /// From time zero to the first arrival.
    pub first_s: f64,
    /// From the first arrival to the last.
    pub span_s: f64,
    /// The requests after the first, over the span.
    pub rate_rps: Option<f64>,
    /// The time between arrivals.
    pub gap: Option<GapStatistics>,
    /// The arrivals in windows of [`WINDOWS`].
    pub windows: Vec<WindowStatistics>,
    /// Prompt tokens.
    pub prompt: LengthStatistics,
    /// Output tokens.
    pub output: LengthStatistics,
    /// Pearson's correlation of prompt and output tokens.
    pub correlation: Option<f64>,
    /// What prompts have in common; `None` when the file does not say.
    pub prefix: Option<PrefixReuse>,
    /// The rate in each hour of the day that the trace touches.
    pub hours: Vec<HourRate>,
    /// Whether hours count from midnight; otherwise they count from the first arrival.
    pub hours_from_midnight: bool,
    /// The requests for each model; empty when the file names none.
    pub models: BTreeMap<String, u64>,
    /// Curves, for figures.
    #[serde(skip)]
    pub curves: Curves,
}

/// The time between arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GapStatistics {
    /// The mean, in seconds.
    pub mean_s: f64,
    /// Deviation over mean: 1 for a Poisson process, more for bursts.
    pub cv: Option<f64>,
    /// The median, in seconds, to 0.1 %, as the two below.
    pub p50_s: f64,
    /// The 99th percentile, in seconds.
    pub p99_s: f64,
    /// The largest, in seconds.
    pub max_s: f64,
}

/// The arrivals in windows of one width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowStatistics {
    /// The width, in seconds.
    pub window_s: f64,
    /// How many windows are over at the last arrival.
    pub windows: u64,
    /// The rate in the fullest of them.
    pub peak_rps: Option<f64>,
    /// The index of dispersion: the variance of the counts over their mean, 1 for a Poisson process
    /// whose rate is constant.
    pub dispersion: Option<f64>,
}

/// Token counts. A quantile is the smallest count that at least its share of all does not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LengthStatistics {
    /// The mean.
    pub mean: f64,
    /// Deviation over mean.
    pub cv: Option<f64>,
    /// The smallest count.
    pub min: u64,
    /// The 10th percentile.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The largest count.
    pub max: u64,
}

/// The rate in one hour of the day, over all days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HourRate {
    /// The hour, 0 to 23.
    pub hour: usize,
    /// Requests per second, over the time that the trace covers of it.
    pub rate_rps: f64,
}

/// What figures show.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// Seconds since the first arrival, and the rate from then on.
    pub rate: Vec<(f64, f64)>,
    /// Prompt tokens, and the share of prompts with no more.
    pub prompt: Vec<(f64, f64)>,
    /// Output tokens, and the share of outputs with no more.
    pub output: Vec<(f64, f64)>,
    /// Seconds, and the share of gaps that are no longer.
    pub gap: Vec<(f64, f64)>,
}

/// Takes requests one by one.
#[derive(Debug, Clone)]
pub struct Inspector {
    first: Option<Timestamp>,
    last: Timestamp,
    gaps: Moments,
    gap_nanos: Histogram<u64>,
    windows: Vec<WindowCounts>,
    prompt: LengthCounts,
    output: LengthCounts,
    correlation: Correlation,
    reuse: ReuseCounts,
    timeline: Timeline,
    /// Arrivals in each hour since the first midnight, over all days.
    hours: [u64; 24],
    /// From midnight to time zero.
    midnight: Option<Seconds>,
    models: BTreeMap<Arc<str>, u64>,
}

const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;

impl Default for Inspector {
    fn default() -> Self {
        Self {
            first: None,
            last: Timestamp::ZERO,
            gaps: Moments::default(),
            gap_nanos: Histogram::new(3).expect("three digits can be had"),
            windows: WINDOWS.map(WindowCounts::new).into(),
            prompt: LengthCounts::default(),
            output: LengthCounts::default(),
            correlation: Correlation::default(),
            reuse: ReuseCounts::default(),
            timeline: Timeline::new(),
            hours: [0; 24],
            midnight: None,
            models: BTreeMap::new(),
        }
    }
}

impl Inspector {
    /// Takes the next request. `midnight` is the time from midnight to time zero, where it is
    /// known; it is heard once, with the first request.
    pub fn add(&mut self, record: &Record, midnight: Option<Seconds>) {
        if let Some(first) = self.first {
            let gap = record.at.since(self.last);
            self.gaps.add(gap.value());
            let nanos = record.at.as_nanos() - self.last.as_nanos();
            self.gap_nanos.record(nanos).expect("the histogram grows as needed");
            debug_assert!(first <= self.last, "requests come in order");
        } else {
            self.first = Some(record.at);
            self.midnight = midnight;
        }
        self.last = record.at;
        for window in &mut self.windows {
            window.add(record.at);
        }
        self.prompt.add(record.prompt);
        self.output.add(record.output);
        self.correlation.add(record.prompt.as_f64(), record.output.as_f64());
        self.reuse.add(record);
        self.timeline.add(record.at);
        self.hours[hour_of(self.clock(record.at))] += 1;
        if let Some(model) = &record.model {
            match self.models.get_mut(model) {
                Some(count) => *count += 1,
                None => drop(self.models.insert(Arc::clone(model), 1)),
            }
        }
    }

    /// What the requests look like; `None` when there were none.
    #[must_use]
    pub fn finish(&self) -> Option<Inspection> {
        let first = self.first?;
        let span = self.last.since(first).value();
        let rate = |count: f64| (span > 0.0).then(|| count / span);
        let windows = WINDOWS.iter().zip(&self.windows);
        Some(Inspection {
            requests: self.prompt.total(),
            first_s: first.as_seconds(),
            span_s: span,
            rate_rps: rate(self.gaps.count()),
            gap: self.gap(),
            windows: windows
                .map(|(width, counts)| WindowStatistics {
                    window_s: width.value(),
                    windows: counts.windows(),
                    peak_rps: counts.peak(),
                    dispersion: counts.dispersion(),
                })
                .collect(),
            prompt: LengthStatistics::of(&self.prompt)?,
            output: LengthStatistics::of(&self.output)?,
            correlation: self.correlation.value(),
            prefix: self.reuse.reuse(),
            hours: self.hour_rates(first),
            hours_from_midnight: self.midnight.is_some(),
            models: self.models.iter().map(|(name, &count)| (name.to_string(), count)).collect(),
            curves: Curves {
                rate: self.timeline.rates(),
                prompt: self.prompt.curve(),
                output: self.output.curve(),
                gap: gap_curve(&self.gap_nanos),
            },
        })
    }

    fn gap(&self) -> Option<GapStatistics> {
        let at = |share: f64| self.gap_nanos.value_at_quantile(share) as f64 / 1e9;
        Some(GapStatistics {
            mean_s: self.gaps.mean()?,
            cv: self.gaps.cv(),
            p50_s: at(0.5),
            p99_s: at(0.99),
            max_s: at(1.0),
        })
    }

    /// Seconds since midnight, or since the first arrival where midnight is not known.
    fn clock(&self, at: Timestamp) -> f64 {
        match (self.midnight, self.first) {
            (Some(midnight), _) => midnight.value() + at.as_seconds(),
            (None, first) => at.since(first.unwrap_or(at)).value(),
        }
    }

    fn hour_rates(&self, first: Timestamp) -> Vec<HourRate> {
        let (begin, end) = (self.clock(first), self.clock(self.last));
        let rates = self.hours.iter().enumerate().filter_map(|(hour, &count)| {
            let covered = seconds_in_hour(hour, end) - seconds_in_hour(hour, begin);
            let rate_rps = count as f64 / covered;
            (covered > 0.0).then_some(HourRate { hour, rate_rps })
        });
        rates.collect()
    }
}

/// The hour of the day at some seconds after a midnight.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an hour is small")]
fn hour_of(clock: f64) -> usize {
    ((clock % DAY / HOUR) as usize).min(23)
}

/// How many seconds lie in an hour of the day, from a midnight until some time after it.
fn seconds_in_hour(hour: usize, until: f64) -> f64 {
    let today = (until % DAY - hour as f64 * HOUR).clamp(0.0, HOUR);
    (until / DAY).floor() * HOUR + today
}

impl LengthStatistics {
    fn of(counts: &LengthCounts) -> Option<Self> {
        let moments = counts.moments();
        let at = |share| counts.quantile(share).map(optimizer::units::Tokens::get);
        Some(Self {
            mean: moments.mean()?,
            cv: moments.cv(),
            min: at(0.0)?,
            p10: at(0.1)?,
            p50: at(0.5)?,
            p90: at(0.9)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }
}

fn gap_curve(nanos: &Histogram<u64>) -> Vec<(f64, f64)> {
    let mut seen = 0;
    nanos
        .iter_recorded()
        .map(|bucket| {
            seen += bucket.count_since_last_iteration();
            (bucket.value_iterated_to() as f64 / 1e9, seen as f64 / nanos.len() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use optimizer::units::Tokens;

    use super::*;
    use crate::engine::Content;

    fn record(seconds: f64, prompt: u64, output: u64) -> Record {
        Record {
            at: Timestamp::from_seconds(seconds),
            prompt: Tokens::new(prompt),
            output: Tokens::new(output),
            model: Some("m".into()),
            content: Content::default(),
        }
    }

    #[test]
    fn statistics_by_hand() {
        let mut inspector = Inspector::default();
        assert_eq!(inspector.finish(), None);
        for (seconds, prompt, output) in
            [(5.0, 10, 8), (35.0, 20, 6), (95.0, 30, 4), (155.0, 40, 2)]
        {
            inspector.add(&record(seconds, prompt, output), None);
        }
        let found = inspector.finish().unwrap();
        assert_eq!((found.requests, found.first_s, found.span_s), (4, 5.0, 150.0));
        assert_eq!(found.rate_rps, Some(3.0 / 150.0));
        // Gaps 30, 60, 60: mean 50, variance 200. Whole minutes: 2 and 1 arrivals.
        let gap = found.gap.unwrap();
        assert!((gap.cv.unwrap() - 200_f64.sqrt() / 50.0).abs() < 1e-12);
        assert!((gap.p50_s / 60.0 - 1.0).abs() < 1e-3);
        let minute = found.windows[2];
        assert_eq!((minute.windows, minute.peak_rps), (2, Some(2.0 / 60.0)));
        assert!((minute.dispersion.unwrap() - 0.25 / 1.5).abs() < 1e-12);
        assert_eq!((found.prompt.p50, found.output.max, found.correlation), (20, 8, Some(-1.0)));
        assert_eq!((found.models["m"], found.prefix), (4, None));
        assert_eq!(found.hours, [HourRate { hour: 0, rate_rps: 4.0 / 150.0 }]);
    }

    #[test]
    fn hours_are_those_of_the_clock_and_share_out_the_time() {
        let mut inspector = Inspector::default();
        let midnight = Some(Seconds::new(22.5 * HOUR));
        // 22:30 to 23:30 of the next day.
        for minutes in 0..=1500 {
            inspector.add(&record(f64::from(minutes) * 60.0, 1, 1), midnight);
        }
        let found = inspector.finish().unwrap();
        assert_eq!((found.hours.len(), found.hours_from_midnight), (24, true));
        for hour in &found.hours {
            assert!((hour.rate_rps * 60.0 - 1.0).abs() < 0.02, "{hour:?}");
        }
        assert!((seconds_in_hour(23, 1.5 * DAY) - HOUR).abs() < 1e-9);
    }

    #[test]
    fn one_request_has_few_statistics() {
        let mut inspector = Inspector::default();
        inspector.add(&record(5.0, 10, 8), None);
        let found = inspector.finish().unwrap();
        assert_eq!((found.rate_rps, found.gap, found.correlation), (None, None, None));
        assert_eq!(found.hours, []);
    }
}
