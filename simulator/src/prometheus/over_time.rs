//! Functions of the values in a window, whenever they were taken.

use super::Window;

impl Window<'_> {
    /// PromQL's `max_over_time`. NaN counts only where there is nothing else; `None` without samples.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.values().reduce(|best, value| if value > best || best.is_nan() { value } else { best })
    }

    /// PromQL's `min_over_time`. NaN counts only where there is nothing else; `None` without samples.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        self.values().reduce(|best, value| if value < best || best.is_nan() { value } else { best })
    }

    /// PromQL's `avg_over_time`; `None` without samples.
    ///
    /// The sum is compensated (Kahan and Neumaier). Where it would overflow, the mean is carried on
    /// instead, as Prometheus does.
    #[must_use]
    pub fn avg(&self) -> Option<f64> {
        let mut values = self.values();
        let mut sum = Compensated { sum: values.next()?, error: 0.0 };
        let (mut count, mut is_mean) = (1.0, false);
        for value in values {
            count += 1.0;
            if !is_mean {
                let next = sum.plus(value);
                if !next.sum.is_infinite() {
                    sum = next;
                    continue;
                }
                is_mean = true;
                sum = sum.scaled_down(count - 1.0);
            }
            let share = (count - 1.0) / count;
            let kept = Compensated { sum: share * sum.sum, error: share * sum.error };
            sum = kept.plus(value / count);
        }
        let mean = if is_mean { sum } else { sum.scaled_down(count) };
        Some(mean.sum + mean.error)
    }

    /// PromQL's `quantile_over_time`; `None` without samples. See [`quantile`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let values: Vec<f64> = self.values().collect();
        (!values.is_empty()).then(|| quantile(q, values))
    }
}

/// PromQL's `quantile` over the values of several series, or of one window: between two of them, the
/// mean weighted by nearness.
///
/// NaN is smaller than any number. The result is NaN without values or when `q` is NaN, and infinite
/// when `q` is not in 0..=1.
#[must_use]
pub fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies between the first place and the last"
    )]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// A sum, and what rounding took from it.
#[derive(Debug, Clone, Copy)]
struct Compensated {
    sum: f64,
    error: f64,
}

impl Compensated {
    fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        if sum.is_infinite() {
            // Nothing is left to compensate, and the difference would be NaN.
            return Self { sum, error: 0.0 };
        }
        let larger_first = self.sum.abs() >= value.abs();
        let (larger, smaller) = if larger_first { (self.sum, value) } else { (value, self.sum) };
        Self { sum, error: self.error + ((larger - sum) + smaller) }
    }

    fn scaled_down(self, count: f64) -> Self {
        Self { sum: self.sum / count, error: self.error / count }
    }
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::super::series::tests::{at, series};
    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    /// A series of these values, and what a window over all of them is made into.
    macro_rules! of {
        ($values:expr, $($function:tt)+) => {{
            let values: Vec<_> = $values.iter().copied().map(Some).collect();
            let series = series(5.0, &values);
            let window = series.range(at(5.0 * values.len() as f64), Seconds::new(600.0));
            window.$($function)+.unwrap()
        }};
    }

    #[track_caller]
    fn check(actual: f64, expected: f64, what: &str) {
        let equal = actual.total_cmp(&expected).is_eq()
            || (actual.is_nan() && expected.is_nan())
            || (actual - expected).abs() <= 1e-14 * expected.abs();
        assert!(equal, "{what}: {actual} != {expected}");
    }

    /// The values of Prometheus' `promql/promqltest/testdata/functions.test`.
    #[test]
    fn extremes_and_nan() {
        for (values, min, max) in [
            ([2.0, 0.0, 3.0], 0.0, 3.0),
            ([2.0, 0.0, NAN], 0.0, 2.0),
            ([2.0, NAN, 1.0], 1.0, 2.0),
            ([NAN, 0.0, 1.0], 0.0, 1.0),
            ([NAN, NAN, NAN], NAN, NAN),
        ] {
            check(of!(values, min()), min, "min");
            check(of!(values, max()), max, "max");
        }
    }

    /// The same file, at its extremes; 9.99e307 twice overflows a plain sum.
    #[test]
    fn averages() {
        let half_max = 9.988_465_674_311_58e307;
        for (values, expected) in [
            (&[5.0][..], 5.0),
            (&[1.0, 2.0, 3.0, 4.0, 5.0], 3.0),
            (&[1.0, 2.0, 3.0, 4.0, INF], INF),
            (&[1.0, 2.0, 3.0, 4.0, -INF], -INF),
            (&[1.0, 2.0, 3.0, INF, -INF], NAN),
            (&[INF, 0.0, INF], INF),
            (&[INF, INF, INF, -INF], NAN),
            (&[1.0, 2.0, -INF, -INF, INF], NAN),
            (&[half_max, half_max], half_max),
            (&[-half_max, -half_max, -half_max], -half_max),
            (&[-half_max, half_max], 0.0),
            (&[1.0, 2.0, 3.0, NAN, NAN], NAN),
            (&[1e10, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6], 1.666_666_666_666_667_5e9),
            (&[1.782_64e50, 0.763_427_71, 1.959_225_8, 7.698_054_12, 458.901_54], 3.565_28e49),
            (&[52.0; 13], 52.0),
        ] {
            check(of!(values, avg()), expected, &format!("{values:?}"));
        }
    }

    /// The same file.
    #[test]
    fn quantiles() {
        for (q, two, three, uneven) in [
            (0.0, 0.0, 0.0, 0.0),
            (0.5, 0.5, 1.0, 1.0),
            (0.75, 0.75, 1.5, 2.5),
            (0.8, 0.8, 1.6, 2.8),
            (1.0, 1.0, 2.0, 4.0),
            (-1.0, -INF, -INF, -INF),
            (2.0, INF, INF, INF),
            (NAN, NAN, NAN, NAN),
        ] {
            for (values, expected) in
                [(&[0.0, 1.0][..], two), (&[0.0, 1.0, 2.0], three), (&[0.0, 1.0, 4.0], uneven)]
            {
                check(of!(values, quantile(q)), expected, &format!("{q} {values:?}"));
            }
        }
        check(quantile(0.5, vec![]), NAN, "of nothing");
        check(quantile(0.5, vec![4.0, NAN, 3.0]), 3.0, "NaN is the smallest");
    }

    #[test]
    fn an_empty_window_has_no_value() {
        let series = series(5.0, &[Some(1.0)]);
        let window = series.range(at(100.0), Seconds::new(10.0));
        let values = [window.max(), window.min(), window.avg(), window.quantile(0.5)];
        assert_eq!(values, [None; 4]);
    }
}
