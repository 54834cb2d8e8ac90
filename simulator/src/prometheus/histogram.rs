//! `histogram_quantile` of classic histograms, such as vLLM's latencies.

use std::cmp::Ordering;

/// Counts of successive buckets that differ by less than this share of their sum are taken for equal:
/// so much is lost where counts are added up in different orders.
const ROUNDING: f64 = 1e-12;

/// A bucket of a classic histogram, or its rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The greatest value that it counts: its label `le`.
    pub upper_bound: f64,
    /// How many values it counts, with those of all lower buckets; also their rate.
    pub count: f64,
}

/// PromQL's `histogram_quantile`: where in its bucket the quantile lies, if the values of a bucket are
/// spread evenly over it.
///
/// The order of the buckets does not matter. The lowest one begins at zero, unless it ends there or
/// below: then its bound is the result, as is the greatest finite bound where the quantile lies above
/// it. Counts that fall from one bucket to the next are raised, as Prometheus does.
///
/// `None` without buckets. NaN when nothing was counted, when there is only one bucket or none up to
/// infinity, and when `q` is NaN; infinite when `q` is not in 0..=1.
#[must_use]
pub fn histogram_quantile(q: f64, buckets: &[Bucket]) -> Option<f64> {
    if buckets.is_empty() {
        return None;
    }
    if q.is_nan() {
        return Some(f64::NAN);
    }
    if !(0.0..=1.0).contains(&q) {
        return Some(if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let buckets = cumulative(buckets);
    let [lower @ .., last] = &buckets[..] else { return None };
    let Some(highest_finite) = lower.last() else { return Some(f64::NAN) };
    if same(last.count, 0.0) || !same(last.upper_bound, f64::INFINITY) {
        return Some(f64::NAN);
    }
    let rank = q * last.count;
    let is_below = |bucket: &Bucket| bucket.count.partial_cmp(&rank).is_none_or(Ordering::is_lt);
    let place = lower.partition_point(is_below);
    let Some(bucket) = lower.get(place) else { return Some(highest_finite.upper_bound) };
    let below = match place.checked_sub(1) {
        Some(below) => buckets[below],
        None if bucket.upper_bound <= 0.0 => return Some(bucket.upper_bound),
        None => Bucket { upper_bound: 0.0, count: 0.0 },
    };
    let share = (rank - below.count) / (bucket.count - below.count);
    Some(below.upper_bound + (bucket.upper_bound - below.upper_bound) * share)
}

/// By upper bound, each bound once, and no count below the one before it.
fn cumulative(buckets: &[Bucket]) -> Vec<Bucket> {
    let mut sorted = buckets.to_vec();
    sorted.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    let mut merged: Vec<Bucket> = Vec::with_capacity(sorted.len());
    for bucket in sorted {
        match merged.last_mut() {
            Some(last) if same(last.upper_bound, bucket.upper_bound) => last.count += bucket.count,
            _ => merged.push(bucket),
        }
    }
    let mut highest = merged.first().map_or(0.0, |bucket| bucket.count);
    for bucket in merged.iter_mut().skip(1) {
        if bucket.count < highest || nearly_equal(highest, bucket.count) {
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    merged
}

/// Numerically, so that both zeros are one bound.
#[expect(clippy::float_cmp, reason = "bounds are labels: the same or not")]
fn same(a: f64, b: f64) -> bool {
    a == b
}

/// The comparison of Prometheus' `util/almost`.
fn nearly_equal(a: f64, b: f64) -> bool {
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if same(a, b) || (a.is_nan() && b.is_nan()) {
        true
    } else if same(a, 0.0) || same(b, 0.0) || sum < f64::MIN_POSITIVE {
        difference < ROUNDING * f64::MIN_POSITIVE
    } else {
        difference / sum.min(f64::MAX) < ROUNDING
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn histogram(buckets: &[(f64, f64)]) -> Vec<Bucket> {
        buckets.iter().map(|&(upper_bound, count)| Bucket { upper_bound, count }).collect()
    }

    #[track_caller]
    fn check(buckets: &[(f64, f64)], expected: &[(f64, f64)]) {
        for &(q, expected) in expected {
            let actual = histogram_quantile(q, &histogram(buckets)).unwrap();
            let equal = actual.total_cmp(&expected).is_eq()
                || (actual.is_nan() && expected.is_nan())
                || (actual - expected).abs() <= 1e-12 * expected.abs();
            assert!(equal, "{q} of {buckets:?}: {actual} != {expected}");
        }
    }

    /// The values of Prometheus' `promql/promqltest/testdata/histograms.test`.
    #[test]
    fn as_prometheus_has_it() {
        let outside = [(-0.1, -INF), (1.01, INF), (NAN, NAN)];
        let positive = [(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)];
        check(&positive, &outside);
        check(&positive, &[(0.0, 0.0), (0.2, 0.048), (0.5, 0.15), (0.8, 0.72), (1.0, 1.0)]);
        let negative = [(-0.2, 10.0), (-0.1, 20.0), (0.3, 20.0), (INF, 30.0)];
        check(&negative, &[(0.0, -0.2), (0.2, -0.2), (0.5, -0.15), (0.8, 0.3), (1.0, 0.3)]);
        let even = [(0.0, 0.0), (2.0, 1.0), (4.0, 2.0), (6.0, 3.0), (INF, 3.0)];
        check(&even, &[(1.0 / 6.0, 1.0), (0.5, 3.0), (5.0 / 6.0, 5.0)]);
        let bounded = [(0.0, 0.0), (0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 110.0)];
        check(&bounded, &[(0.0, 0.0), (0.25, 0.055), (0.5, 0.125), (0.75, 0.45), (1.0, 1.0)]);
        let falling =
            [(0.1, 20.0), (1.0, 10.0), (10.0, 50.0), (100.0, 40.0), (1000.0, 90.0), (INF, 80.0)];
        check(&falling, &[(0.01, 0.0045), (0.5, 8.5), (0.99, 979.75)]);
        // One bound in three spellings.
        let spelled = [(0.1, 10.0), (0.2, 10.0), (0.2, 10.0), (0.2, 10.0), (INF, 40.0)];
        check(&spelled, &[(0.5, 0.15), (0.75, 0.2), (1.0, 0.2)]);
        let summed = [(0.1, 10.0), (0.2, 19.0), (INF, 25.0)];
        check(&summed, &[(0.3, 0.075), (0.5, 0.1 + 0.1 * 2.5 / 9.0)]);
    }

    #[test]
    fn where_there_is_no_quantile() {
        assert_eq!(histogram_quantile(0.5, &[]), None);
        check(&[(INF, 10.0)], &[(0.5, NAN)]);
        check(&[(1.0, 0.0), (INF, 0.0)], &[(0.5, NAN)]);
        check(&[(1.0, 5.0), (2.0, 10.0)], &[(0.5, NAN)]);
        check(&[(INF, 10.0), (INF, 10.0)], &[(0.5, NAN)]);
        check(&[(1.0, NAN), (2.0, NAN), (INF, NAN)], &[(0.5, 2.0)]);
    }

    /// A fall by rounding is no fall: the same quantile as with equal counts.
    #[test]
    fn rounding_is_forgiven() {
        let exact = histogram(&[(1.0, 10.0), (2.0, 10.0), (3.0, 20.0), (INF, 20.0)]);
        for count in [10.0 * (1.0 - 1e-13), 10.0 * (1.0 + 1e-13)] {
            let rounded = histogram(&[(1.0, 10.0), (2.0, count), (3.0, 20.0), (INF, 20.0)]);
            assert_eq!(histogram_quantile(0.5, &rounded), histogram_quantile(0.5, &exact));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(5), ..Default::default() })]

        /// In whatever order the buckets come, the quantile lies within the bounds, and a greater `q`
        /// does not lead to a smaller one.
        #[test]
        fn a_quantile_is_monotone(
            counts in prop::collection::vec(0.0..1e6_f64, 2..12),
            low in 0.0..=1.0_f64,
            high in 0.0..=1.0_f64,
        ) {
            prop_assume!(counts.iter().any(|count| *count > 0.0));
            let last = counts.len() - 1;
            let bound = |place: usize| if place == last { INF } else { place as f64 + 1.0 };
            let mut buckets: Vec<_> = counts
                .iter()
                .enumerate()
                .map(|(place, &count)| Bucket { upper_bound: bound(place), count })
                .collect();
            let (low, high) = (low.min(high), low.max(high));
            let of = |q: f64, buckets: &[Bucket]| histogram_quantile(q, buckets).unwrap();
            let values = [of(low, &buckets), of(high, &buckets)];
            prop_assert!(values[0] <= values[1] * (1.0 + 1e-12));
            prop_assert!((0.0..=last as f64).contains(&values[1]) || values[1].is_nan());
            buckets.reverse();
            prop_assert_eq!(of(high, &buckets).to_bits(), values[1].to_bits());
        }
    }
}
