//! A series, and what a query selects from it.

use std::collections::VecDeque;

use optimizer::units::{Seconds, Timestamp};
use thiserror::Error;

/// How far back an instant query looks for a sample: Prometheus' `query.lookback-delta`.
pub const LOOKBACK: Seconds = Seconds::from_minutes(5.0);

/// The samples of one series, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Series {
    points: VecDeque<Point>,
}

/// What a range selector such as `[1m]` finds: the samples later than the window's start and not
/// later than its end. Before version 3 the start itself belonged to the window.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    series: &'a Series,
    from: usize,
    to: usize,
    /// Milliseconds; may lie before the epoch.
    pub(super) start: i64,
    pub(super) end: i64,
}

/// A sample was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PushError {
    /// The series has a later sample.
    #[error("the sample is older than the newest of its series")]
    OutOfOrder,
    /// The series has another value in the same millisecond.
    #[error("the series already has another value at this time")]
    Duplicate,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at: i64,
    /// `None` is a stale marker: here the series ended.
    value: Option<f64>,
}

impl Series {
    /// Appends a sample. The same value at the same time again changes nothing.
    ///
    /// # Errors
    ///
    /// The sample is not later than the newest one.
    pub fn push(&mut self, at: Timestamp, value: f64) -> Result<(), PushError> {
        self.append(Point { at: millis(at), value: Some(value) })
    }

    /// Ends the series, as Prometheus does when a target no longer shows it, or can no longer be
    /// scraped. A later sample begins it anew.
    ///
    /// # Errors
    ///
    /// The marker is not later than the newest sample.
    pub fn push_stale(&mut self, at: Timestamp) -> Result<(), PushError> {
        self.append(Point { at: millis(at), value: None })
    }

    /// Drops what no window that ends at or after `now` and is `length` long, and no instant query
    /// from then on, can see.
    pub fn forget(&mut self, now: Timestamp, length: Seconds) {
        let cutoff = millis(now) - span_millis(length.max(LOOKBACK));
        while self.points.front().is_some_and(|point| point.at <= cutoff) {
            self.points.pop_front();
        }
    }

    /// The value at an instant: that of the newest sample that is not later, unless it is a stale
    /// marker or [`LOOKBACK`] old.
    #[must_use]
    pub fn instant(&self, now: Timestamp) -> Option<f64> {
        let now = millis(now);
        let newest = self.after(now).checked_sub(1)?;
        let point = self.points[newest];
        (point.at > now - span_millis(LOOKBACK)).then_some(point.value)?
    }

    /// The samples of the `length` before an instant; an `offset` in PromQL is an earlier `end`.
    #[must_use]
    pub fn range(&self, end: Timestamp, length: Seconds) -> Window<'_> {
        let end = millis(end);
        let start = end - span_millis(length);
        Window { series: self, from: self.after(start), to: self.after(end), start, end }
    }

    fn append(&mut self, point: Point) -> Result<(), PushError> {
        let same = |value: f64| point.value.is_some_and(|new| new.to_bits() == value.to_bits());
        match self.points.back() {
            Some(newest) if point.at < newest.at => Err(PushError::OutOfOrder),
            Some(newest) if point.at == newest.at => {
                let repeated = newest.value.map_or(point.value.is_none(), same);
                if repeated { Ok(()) } else { Err(PushError::Duplicate) }
            }
            _ => {
                self.points.push_back(point);
                Ok(())
            }
        }
    }

    /// The place of the first sample later than an instant.
    fn after(&self, instant: i64) -> usize {
        self.points.partition_point(|point| point.at <= instant)
    }
}

impl<'a> Window<'a> {
    /// The values, oldest first. A stale marker is not a value.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = f64> + use<'a> {
        self.samples().map(|(_, value)| value)
    }

    /// Times in milliseconds and values, oldest first.
    pub(super) fn samples(&self) -> impl DoubleEndedIterator<Item = (i64, f64)> + use<'a> {
        let points = self.series.points.range(self.from..self.to);
        points.filter_map(|point| Some((point.at, point.value?)))
    }
}

#[expect(clippy::cast_possible_wrap, reason = "u64::MAX nanoseconds are few milliseconds")]
const fn millis(at: Timestamp) -> i64 {
    (at.as_nanos() / 1_000_000) as i64
}

/// As Prometheus cuts off a duration.
#[expect(clippy::cast_possible_truncation, reason = "saturation is wanted")]
fn span_millis(span: Seconds) -> i64 {
    // A product such as 0.299 * 1000 is an ulp short of its whole number.
    let nanos = (span.value() * 1e9).round();
    ((nanos / 1e6) as i64).min(i64::MAX / 4)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A series with a sample at every multiple of `interval` seconds from zero on. `None` leaves a
    /// sample out.
    pub(in crate::prometheus) fn series(interval: f64, values: &[Option<f64>]) -> Series {
        let mut series = Series::default();
        for (idx, value) in values.iter().enumerate() {
            if let Some(value) = value {
                series.push(at(idx as f64 * interval), *value).unwrap();
            }
        }
        series
    }

    pub(in crate::prometheus) fn at(seconds: f64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// The values of Prometheus' `promql/promqltest/testdata/staleness.test`.
    #[test]
    fn a_series_goes_stale() {
        let mut series = Series::default();
        series.push(at(0.0), 0.0).unwrap();
        series.push(at(10.0), 1.0).unwrap();
        series.push_stale(at(20.0)).unwrap();
        series.push(at(30.0), 2.0).unwrap();
        for (now, expected) in [
            (10.0, Some(1.0)),
            (19.999, Some(1.0)),
            (20.0, None),
            (29.0, None),
            (30.0, Some(2.0)),
            (329.0, Some(2.0)),
            (330.0, None),
        ] {
            assert_eq!(series.instant(at(now)), expected, "at {now} s");
        }
        for (now, length, count) in
            [(30.0, 60.0, 3), (10.0, 1.0, 1), (20.0, 1.0, 0), (20.0, 10.0, 0), (20.0, 20.0, 1)]
        {
            let window = series.range(at(now), Seconds::new(length));
            assert_eq!(window.values().count(), count, "{length} s before {now} s");
        }
    }

    /// The same file: a single sample is there for five minutes, the last millisecond left out.
    #[test]
    fn a_single_sample_is_there_for_five_minutes() {
        let series = series(10.0, &[Some(0.0)]);
        for (now, there) in [(0.0, true), (150.0, true), (299.999, true), (300.0, false)] {
            assert_eq!(series.instant(at(now)).is_some(), there, "at {now} s");
        }
    }

    /// Left-open since version 3: five minutes of samples every minute are five, not six.
    #[test]
    fn a_window_leaves_out_its_start() {
        let series = series(60.0, &[Some(1.0); 11]);
        let window = series.range(at(600.0), Seconds::new(300.0));
        assert_eq!(window.values().count(), 5);
        let first = window.samples().next();
        assert_eq!(first, Some((360_000, 1.0)));
        assert_eq!(series.range(at(0.0), Seconds::new(300.0)).values().count(), 1);
        assert_eq!(Series::default().range(at(1.0), Seconds::ZERO).values().count(), 0);
    }

    #[test]
    fn samples_come_in_order() {
        let mut series = Series::default();
        series.push(at(1.0), 1.0).unwrap();
        assert_eq!(series.push(at(1.000_9), 1.0), Ok(()), "the same millisecond and value");
        assert_eq!(series.push(at(1.0), 2.0), Err(PushError::Duplicate));
        assert_eq!(series.push_stale(at(1.0)), Err(PushError::Duplicate));
        assert_eq!(series.push(at(0.5), 1.0), Err(PushError::OutOfOrder));
        series.push_stale(at(2.0)).unwrap();
        assert_eq!(series.push_stale(at(2.0)), Ok(()));
        assert_eq!(series.push(at(2.0), 1.0), Err(PushError::Duplicate));
        assert_eq!(series.points.len(), 2);
    }

    #[test]
    fn what_is_forgotten_was_out_of_sight() {
        let mut short = series(10.0, &[Some(3.0); 100]);
        let whole = short.clone();
        let (now, length) = (at(900.0), Seconds::new(600.0));
        short.forget(now, length);
        assert_eq!(short.points.len(), 69);
        for later in [900.0, 905.0, 990.0, 1289.0, 1290.0] {
            let counts = [&short, &whole].map(|s| s.range(at(later), length).values().count());
            assert_eq!(counts[0], counts[1], "{later}");
            assert_eq!(short.instant(at(later)), whole.instant(at(later)), "{later}");
        }
    }
}
