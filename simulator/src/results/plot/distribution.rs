//! Empirical distribution functions.

use hdrhistogram::Histogram;
use optimizer::units::Seconds;

use super::canvas::Point;
use crate::results::stats::quantile;

/// Points of a curve: with more, two neighbors would be less than half a pixel apart in height.
const MOST_POINTS: usize = 500;

/// How a latency is distributed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    /// Values in seconds with the share of all that are not larger, thinned to equal shares.
    steps: Vec<Point>,
    pub(super) low: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) high: f64,
    /// The share of all values within the target, if there is one.
    pub(super) within: Option<f64>,
}

impl Distribution {
    /// Of values in seconds, with a target for them; `None` when there are none.
    pub(super) fn of(mut seconds: Vec<f64>, target: Option<Seconds>) -> Option<Self> {
        seconds.sort_unstable_by(f64::total_cmp);
        let (low, high) = (*seconds.first()?, *seconds.last()?);
        let count = seconds.len();
        let stride = count.div_ceil(MOST_POINTS);
        // The last value of each stride is kept, so the largest of all is always among them.
        let ends = (stride..count).step_by(stride).chain([count]);
        let steps = ends.map(|end| (seconds[end - 1], end as f64 / count as f64)).collect();
        let at = |share| quantile(&seconds, share).unwrap_or(high);
        let within = target.map(|target| {
            seconds.partition_point(|&value| value <= target.value()) as f64 / count as f64
        });
        Some(Self { steps, low, p50: at(0.50), p99: at(0.99), high, within })
    }

    /// Of a histogram of nanoseconds, with a target; `None` when it is empty.
    pub(super) fn of_nanos(nanos: &Histogram<u64>, target: Option<Seconds>) -> Option<Self> {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let (mut seen, mut steps) = (0, Vec::<Point>::new());
        for bucket in nanos.iter_recorded() {
            seen += bucket.count_since_last_iteration();
            let share = seen as f64 / nanos.len() as f64;
            let step = (seconds(bucket.value_iterated_to()), share);
            match steps.last_mut() {
                Some(last) if share - last.1 < 1.0 / MOST_POINTS as f64 && seen < nanos.len() => {}
                _ => steps.push(step),
            }
        }
        let at = |share| seconds(nanos.value_at_quantile(share));
        (!nanos.is_empty()).then(|| Self {
            steps,
            low: seconds(nanos.min()),
            p50: at(0.50),
            p99: at(0.99),
            high: seconds(nanos.max()),
            within: target.map(|target| {
                let within = nanos.count_between(0, nanos_of(target));
                within as f64 / nanos.len() as f64
            }),
        })
    }

    /// The curve from 0 at the lowest value to 1 at `end`: as stairs when there are few values.
    pub(super) fn outline(&self, end: f64) -> Vec<Point> {
        let stairs = self.steps.len() < MOST_POINTS / 2;
        let mut share = 0.0;
        let mut outline = vec![(self.low, 0.0)];
        for &(value, next) in &self.steps {
            outline.extend(stairs.then_some((value, share)));
            outline.push((value, next));
            share = next;
        }
        outline.push((end, 1.0));
        outline
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn nanos_of(span: Seconds) -> u64 {
    (span.value() * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_from_zero_to_one_in_few_points() {
        let values = (0..250_000).map(|idx| f64::from(idx * 7 % 1000) / 1e3).collect();
        let distribution = Distribution::of(values, Some(Seconds::new(0.25))).unwrap();
        let outline = distribution.outline(2.0);
        assert!(outline.len() <= MOST_POINTS + 2, "{}", outline.len());
        assert_eq!((outline[0], outline[outline.len() - 1]), ((0.0, 0.0), (2.0, 1.0)));
        assert!(outline.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert_eq!(distribution.within, Some(0.251));
    }

    #[test]
    fn a_histogram_has_the_same_curve_as_its_values() {
        let mut nanos = Histogram::new(3).unwrap();
        let mut seconds = Vec::new();
        for idx in 1..=5000_u32 {
            nanos.record(u64::from(idx) * 10_000).unwrap();
            seconds.push(f64::from(idx) * 1e-5);
        }
        let read = Distribution::of_nanos(&nanos, None).unwrap();
        let exact = Distribution::of(seconds, None).unwrap();
        assert!((read.p99 / exact.p99 - 1.0).abs() < 2e-3, "{read:?}");
        let outline = read.outline(0.06);
        assert!(outline.len() <= MOST_POINTS + 2, "{}", outline.len());
        assert_eq!(outline[outline.len() - 2].1.to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn no_value_has_no_curve_and_one_value_is_a_step() {
        assert_eq!(Distribution::of(Vec::new(), None), None);
        assert_eq!(Distribution::of_nanos(&Histogram::new(3).unwrap(), None), None);
        let one = Distribution::of(vec![0.5], Some(Seconds::new(0.4))).unwrap();
        assert_eq!(one.outline(1.0), [(0.5, 0.0), (0.5, 0.0), (0.5, 1.0), (1.0, 1.0)]);
        assert_eq!(one.within, Some(0.0));
    }
}
