//! The line of inter-token latency over KV usage.
//!
//! While a batch decodes, each step reads the whole cache that is in use, so the time between two
//! tokens grows with KV usage k: ITL(k) = A · k + B.

use serde::{Deserialize, Serialize};

use crate::policy::ThroughputPolicy;
use crate::units::{Fraction, Seconds, Timestamp};

/// A line of inter-token latency over KV usage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// A: seconds from an empty cache to a full one.
    slope: f64,
    /// B: seconds at an empty cache.
    intercept: f64,
}

/// One engine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    /// When its KV usage was sampled.
    pub(super) at: Timestamp,
    pub(super) kv_usage: Fraction,
    pub(super) itl: Seconds,
}

/// The latest points of a variant, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Window(Vec<Point>);

impl Line {
    /// A slope below this is none, and says nothing.
    const LEAST_SLOPE: f64 = 1e-12;

    /// The line of least squares. `None` when the points do not determine one, or one that rises
    /// and is above zero for a full engine.
    pub(super) fn fit(points: &[Point], full: Fraction) -> Option<Self> {
        let count = points.len() as f64;
        let mean_kv = points.iter().map(|point| point.kv_usage.value()).sum::<f64>() / count;
        let mean_itl = points.iter().map(|point| point.itl.value() / count).sum::<f64>();
        let (mut covariance, mut variance) = (0.0, 0.0);
        for point in points {
            let distance = point.kv_usage.value() - mean_kv;
            covariance += distance * (point.itl.value() - mean_itl);
            variance += distance * distance;
        }
        let slope = covariance / variance;
        Self { slope, intercept: mean_itl - slope * mean_kv }.checked(full)
    }

    /// The line of least squares among those with this intercept.
    pub(super) fn pinned(points: &[Point], intercept: f64, full: Fraction) -> Option<Self> {
        let (mut product, mut square) = (0.0, 0.0);
        for point in points {
            product += point.kv_usage.value() * (point.itl.value() - intercept);
            square += point.kv_usage.value() * point.kv_usage.value();
        }
        Self { slope: product / square, intercept }.checked(full)
    }

    fn checked(self, full: Fraction) -> Option<Self> {
        let is_sound = self.slope > Self::LEAST_SLOPE
            && self.slope.is_finite()
            && self.intercept.is_finite()
            && self.itl(full.value()) > 0.0;
        is_sound.then_some(self)
    }

    /// B, in seconds.
    #[must_use]
    pub const fn intercept(&self) -> f64 {
        self.intercept
    }

    /// A, in seconds from an empty cache to a full one.
    #[must_use]
    pub const fn slope(&self) -> f64 {
        self.slope
    }

    /// The time between tokens at a KV usage, in seconds; not positive where the line does not hold.
    pub(super) fn itl(&self, kv_usage: f64) -> f64 {
        self.slope * kv_usage + self.intercept
    }

    /// The tokens per second that an engine generates at a KV usage, when its cache has room for
    /// `cache` tokens and a request has `per_request` of them in it on average: each of the
    /// requests that are in the cache gets one token per ITL. Zero where that makes no sense.
    pub(super) fn generation(&self, kv_usage: f64, cache: f64, per_request: f64) -> f64 {
        let rate = kv_usage * cache / per_request / self.itl(kv_usage);
        let is_sound = (0.0..=1.0).contains(&kv_usage) && rate > 0.0 && rate.is_finite();
        if is_sound { rate } else { 0.0 }
    }
}

impl Window {
    /// Takes in points that it does not have yet, and drops those that are too many or too old.
    pub(super) fn extend(
        &mut self,
        now: Timestamp,
        points: impl IntoIterator<Item = Point>,
        policy: &ThroughputPolicy,
    ) {
        let usable = policy.least_kv_usage..=policy.most_kv_usage;
        let is_usable = |point: &Point| usable.contains(&point.kv_usage) && !point.itl.is_zero();
        self.0.extend(points.into_iter().filter(is_usable));
        self.0.retain(|point| now.since(point.at) <= policy.window_age);
        self.0.sort_unstable();
        self.0.dedup();
        self.0.drain(..self.0.len().saturating_sub(policy.window_points));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes `now` the latest time in it.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        for point in &mut self.0 {
            point.at = point.at.min(now);
        }
    }

    /// The points, in the order of their times.
    pub(super) fn points(&self) -> &[Point] {
        &self.0
    }

    /// The range of KV usage over which the points spread.
    pub(super) fn spread(&self) -> Fraction {
        let usages = self.0.iter().map(|point| point.kv_usage.value());
        let highest = usages.clone().reduce(f64::max).unwrap_or_default();
        let lowest = usages.reduce(f64::min).unwrap_or_default();
        Fraction::checked(highest - lowest).unwrap_or_default()
    }

    /// Whether there are enough points, over a wide enough range, for a line with both parameters.
    pub(super) fn is_ready(&self, policy: &ThroughputPolicy) -> bool {
        /// A spread of 0.5 − 0.2 is not below 0.30, whichever way it was rounded.
        const ROUNDING: f64 = 1e-9;
        let spread = self.spread().value() + ROUNDING;
        self.0.len() >= policy.ready_points && spread >= policy.ready_spread.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Fraction = Fraction::new(0.85);

    fn point(kv_usage: f64, itl: f64) -> Point {
        let at = Timestamp::from_seconds(100.0);
        Point { at, kv_usage: Fraction::new(kv_usage), itl: Seconds::new(itl) }
    }

    fn points(usages: &[f64], itl: impl Fn(f64) -> f64) -> Vec<Point> {
        usages.iter().map(|&k| point(k, itl(k))).collect()
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    /// Vectors TA-13 and TA-14 of the workload-variant-autoscaler 0.9.
    #[test]
    fn a_line_is_recovered_where_there_is_one() {
        let usages = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
        let line = Line::fit(&points(&usages, |k| 0.073 * k + 0.006), FULL).unwrap();
        assert_close(line.slope(), 0.073);
        assert_close(line.intercept(), 0.006);
        assert_close(line.itl(0.85), 0.068_05);

        for (name, points) in [
            ("one point", points(&[0.3], |_| 0.02)),
            ("one usage", points(&[0.3, 0.3, 0.3], |_| 0.02)),
            ("flat", points(&usages, |_| 0.03)),
            ("falling", points(&usages, |k| 0.1 - 0.05 * k)),
            ("none", Vec::new()),
        ] {
            assert_eq!(Line::fit(&points, FULL), None, "{name}");
        }
    }

    /// Vector TA-12 of the workload-variant-autoscaler 0.9, on the level of the line.
    #[test]
    fn a_pinned_line_needs_a_single_point() {
        let on_line = points(&[0.2, 0.8], |k| 0.073 * k + 0.006);
        assert_close(Line::pinned(&on_line, 0.006, FULL).unwrap().slope(), 0.073);
        assert_close(Line::pinned(&on_line[..1], 0.006, FULL).unwrap().slope(), 0.073);
        assert_eq!(Line::pinned(&on_line, 1.0, FULL), None);
        assert_eq!(Line::pinned(&[], 0.006, FULL), None);
    }

    /// Vector TA-16 of the workload-variant-autoscaler 0.9, and the prediction of its TA-17.
    #[test]
    fn what_a_line_says_of_a_rate() {
        let line = Line { slope: 0.073, intercept: 0.006 };
        assert_close(line.generation(0.5, 65_536.0, 1024.0), 752.941_176);
        assert_close(line.generation(0.5, 1_024_000.0, 4600.0), 2_618.925_831);
        let below_zero = Line { slope: 0.073, intercept: -1.0 };
        for rate in [
            line.generation(1.1, 65_536.0, 1024.0),
            line.generation(f64::NAN, 65_536.0, 1024.0),
            line.generation(0.5, 0.0, 1024.0),
            line.generation(0.5, -1.0, 1024.0),
            line.generation(0.5, 65_536.0, 0.0),
            below_zero.generation(0.5, 65_536.0, 1024.0),
        ] {
            assert_close(rate, 0.0);
        }
    }

    /// Vector TA-18 of the workload-variant-autoscaler 0.9. That a number is one, its type says.
    #[test]
    fn a_window_takes_what_lies_in_its_range() {
        let policy = ThroughputPolicy::default();
        let mut window = Window::default();
        let offered = [0.15, 0.85, 0.149, 0.851].map(|k| point(k, 0.02));
        let now = Timestamp::from_seconds(100.0);
        window.extend(now, offered.into_iter().chain([point(0.5, 0.0)]), &policy);
        assert_eq!(window.points(), &offered[..2]);
        assert_close(window.spread().value(), 0.7);
        assert!(!window.is_ready(&policy));
    }

    #[test]
    fn a_window_keeps_the_latest_points() {
        let policy = ThroughputPolicy::default();
        let mut window = Window::default();
        for step in 0..30_u32 {
            let at = Timestamp::from_seconds(f64::from(step) * 60.0);
            let offered = Point { at, ..point(0.2 + f64::from(step % 4) * 0.1, 0.02) };
            window.extend(at, [offered, offered], &policy);
            assert_eq!(window.is_ready(&policy), step >= 9, "{step}");
        }
        assert_eq!(window.points().len(), 20);
        window.extend(Timestamp::from_seconds(55.0 * 60.0), [], &policy);
        assert_eq!(window.points().len(), 5);
    }
}
