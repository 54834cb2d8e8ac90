//! Mean, percentiles and maximum of latencies.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::records::{Binned, Known, Latencies};

/// Latencies in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencyStats {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl LatencyStats {
    /// The statistics of all of `seconds`, exact; sorts them. `None` when there are none.
    #[must_use]
    pub fn of(seconds: &mut [f64]) -> Option<Self> {
        seconds.sort_unstable_by(f64::total_cmp);
        let max = *seconds.last()?;
        // Summing in sorted order makes the mean independent of the order of the requests.
        let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
        let at = |share| quantile(seconds, share).unwrap_or(max);
        Some(Self { mean, p50: at(0.50), p90: at(0.90), p95: at(0.95), p99: at(0.99), max })
    }

    /// The statistics of a latency: exact when its values were kept, and within 0.1 % when they were
    /// binned, but for the mean and the largest, which are exact. `None` when there are none.
    #[must_use]
    pub fn of_latencies(latencies: &Latencies) -> Option<Self> {
        match latencies.known() {
            Known::Each(seconds) => Self::of(&mut seconds.to_vec()),
            Known::Binned(Binned { nanos, sum, max }) => {
                let mean = sum / nanos.len() as f64;
                Self::of_nanos(nanos).map(|stats| Self { mean, max: *max, ..stats })
            }
        }
    }

    /// The statistics of a histogram of nanoseconds. `None` when it is empty.
    ///
    /// A percentile is the upper end of the bucket that holds the nearest rank, and the mean takes
    /// every value to be in the middle of its bucket, so with three significant digits all are
    /// within 0.1 % of the exact values.
    #[must_use]
    pub fn of_nanos(nanos: &Histogram<u64>) -> Option<Self> {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let at = |share| seconds(nanos.value_at_quantile(share));
        (!nanos.is_empty()).then(|| Self {
            mean: nanos.mean() / 1e9,
            p50: at(0.50),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            max: seconds(nanos.max()),
        })
    }
}

/// The value below which a share of `sorted` lies, as the `linear` method of numpy's `quantile`
/// defines it (type 7 of Hyndman and Fan, 1996): rank `share · (n − 1)` counted from 0, and between
/// two values the line that joins them. `None` when there are no values.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = share * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies within the length"
    )]
    let below = (rank.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below], sorted[above]);
    Some((high - low).mul_add(rank - below as f64, low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= 1e-12 * expected.abs()
    }

    /// By hand: rank 0.9 · 4 = 3.6, so 40 + 0.6 · (100 − 40) = 76, and so on.
    #[test]
    fn percentiles_interpolate_between_ranks() {
        let stats = LatencyStats::of(&mut [40.0, 10.0, 100.0, 20.0, 30.0]).unwrap();
        for (actual, expected) in [
            (stats.mean, 40.0),
            (stats.p50, 30.0),
            (stats.p90, 76.0),
            (stats.p95, 88.0),
            (stats.p99, 97.6),
            (stats.max, 100.0),
        ] {
            assert!(close(actual, expected), "{actual} is not {expected}");
        }
        let pair = LatencyStats::of(&mut [2.0, 1.0]).unwrap();
        assert!(close(pair.p50, 1.5) && close(pair.p99, 1.99), "{pair:?}");
    }

    #[test]
    fn one_value_is_every_statistic_and_none_has_no_statistic() {
        let one = LatencyStats { mean: 3.5, p50: 3.5, p90: 3.5, p95: 3.5, p99: 3.5, max: 3.5 };
        assert_eq!(LatencyStats::of(&mut [3.5]), Some(one));
        assert_eq!(LatencyStats::of(&mut []), None);
        assert_eq!(LatencyStats::of_nanos(&Histogram::new(3).unwrap()), None);
    }

    #[test]
    fn a_histogram_is_within_a_thousandth() {
        let mut nanos = Histogram::new(3).unwrap();
        let mut seconds = Vec::new();
        for idx in 1..=10_000_u64 {
            nanos.record(idx * 12_345).unwrap();
            seconds.push((idx * 12_345) as f64 / 1e9);
        }
        let (read, exact) =
            (LatencyStats::of_nanos(&nanos).unwrap(), LatencyStats::of(&mut seconds).unwrap());
        for (read, exact) in [
            (read.mean, exact.mean),
            (read.p50, exact.p50),
            (read.p99, exact.p99),
            (read.max, exact.max),
        ] {
            assert!((read / exact - 1.0).abs() < 1.1e-3, "{read} {exact}");
        }
    }
}
