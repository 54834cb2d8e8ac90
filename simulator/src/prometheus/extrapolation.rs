//! `rate`, `increase` and `delta`: from the samples in a window to the change over the whole of it.
//!
//! ```text
//! start                                             end
//!   │   ·····x─────────x─────────x─────────x········  │
//!   │   ◀────▶                              ◀──────▶  │
//!   └── an edge within 1.1 mean intervals of a sample is reached; of a farther one, half an
//!       interval is taken to be the series' unseen part, and a counter never started below zero
//! ```
//!
//! The rules are those of `extrapolatedRate` in Prometheus' `promql/functions.go`.

use super::Window;

/// A sample this many mean intervals from an edge, or nearer, has no sample missing in between.
const NEAR: f64 = 1.1;

/// What is asked of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Delta,
    Increase,
    Rate,
}

impl Window<'_> {
    /// PromQL's `rate`: the mean increase of a counter a second, over the length of the window.
    /// `None` with fewer than two samples.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.extrapolated(Change::Rate)
    }

    /// PromQL's `increase`: how much a counter grew in the window. It need not be whole, and is
    /// exact only by chance. `None` with fewer than two samples.
    #[must_use]
    pub fn increase(&self) -> Option<f64> {
        self.extrapolated(Change::Increase)
    }

    /// PromQL's `delta`: how much a gauge changed in the window. `None` with fewer than two samples.
    #[must_use]
    pub fn delta(&self) -> Option<f64> {
        self.extrapolated(Change::Delta)
    }

    // The order of the operations is Prometheus', for the same bits in the end.
    fn extrapolated(&self, change: Change) -> Option<f64> {
        let counter = change != Change::Delta;
        let mut samples = self.samples();
        let (first_at, first) = samples.next()?;
        let (last_at, last) = self.samples().next_back()?;
        let (mut seen, mut previous, mut intervals) = (last - first, first, 0_u32);
        for (_, value) in samples {
            // A counter that fell was reset to zero, and what it had counted is not lost.
            if counter && value < previous {
                seen += previous;
            }
            previous = value;
            intervals += 1;
        }
        if intervals == 0 {
            return None;
        }
        let span = seconds(last_at - first_at);
        let mean_interval = span / f64::from(intervals);
        let to_edge = |distance: i64| {
            let distance = seconds(distance);
            if distance >= mean_interval * NEAR { mean_interval / 2.0 } else { distance }
        };
        let mut before = to_edge(first_at - self.start);
        if counter && seen > 0.0 && first >= 0.0 {
            let since_zero = span * (first / seen);
            before = before.min(since_zero);
        }
        let mut factor = (span + before + to_edge(self.end - last_at)) / span;
        if change == Change::Rate {
            factor /= seconds(self.end - self.start);
        }
        Some(seen * factor)
    }
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::super::series::tests::{at, series};
    use super::*;

    /// `start+step×steps` in the notation of Prometheus' test files.
    fn ramp(start: f64, step: f64, steps: u32) -> Vec<Option<f64>> {
        (0..=steps).map(|k| Some(start + step * f64::from(k))).collect()
    }

    fn joined(parts: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
        parts.concat()
    }

    #[track_caller]
    fn check(actual: Option<f64>, expected: Option<f64>, what: &str) {
        match (actual, expected) {
            (Some(actual), Some(expected)) => {
                let off = (actual - expected).abs();
                assert!(off <= 1e-12 * expected.abs().max(1e-3), "{what}: {actual} != {expected}");
            }
            _ => assert_eq!(actual, expected, "{what}"),
        }
    }

    /// The values of Prometheus' `promql/promqltest/testdata/functions.test`; all instants and
    /// lengths in minutes.
    #[test]
    fn as_prometheus_has_it() {
        type Of = fn(&Window<'_>) -> Option<f64>;
        let rate: Of = |window| window.rate();
        let increase: Of = |window| window.increase();
        let delta: Of = |window| window.delta();
        let twice = |step: f64| joined(&[ramp(0.0, step, 5), ramp(0.0, step, 5)]);
        let reset_at_the_end = joined(&[ramp(0.0, 10.0, 9), vec![Some(0.0), Some(10.0)]]);
        let resets = [0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0].map(Some).to_vec();
        let reset_in_the_middle = joined(&[ramp(0.0, 27.0, 4), ramp(0.0, 27.0, 5)]);
        for (what, values, of, now, length, expected) in [
            ("foo, 50m", ramp(0.0, 10.0, 10), increase, 50.0, 50.0, Some(100.0)),
            ("bar, 50m", twice(18.0), increase, 50.0, 50.0, Some(160.0)),
            ("dings, 50m", ramp(10.0, 10.0, 10), increase, 50.0, 50.0, Some(100.0)),
            ("bumms, 50m", ramp(1.0, 10.0, 10), increase, 50.0, 50.0, Some(100.0)),
            ("foo, 100m", ramp(0.0, 10.0, 10), increase, 50.0, 100.0, Some(100.0)),
            ("bar, 100m", twice(18.0), increase, 50.0, 100.0, Some(162.0)),
            ("dings, 100m", ramp(10.0, 10.0, 10), increase, 50.0, 100.0, Some(105.0)),
            ("bumms, 100m", ramp(1.0, 10.0, 10), increase, 50.0, 100.0, Some(101.0)),
            ("resets", resets, increase, 30.0, 30.0, Some(7.0)),
            ("middle", reset_in_the_middle, rate, 50.0, 50.0, Some(0.08)),
            ("end, 5m", reset_at_the_end.clone(), rate, 50.0, 5.0, None),
            ("end, 6m", reset_at_the_end, rate, 50.0, 6.0, Some(0.0)),
            ("window", ramp(0.0, 80.0, 10), rate, 50.0, 50.0, Some(80.0 / 300.0)),
            ("offset", ramp(0.0, 10.0, 10), rate, 45.0, 10.0, Some(1.0 / 30.0)),
            ("delta up", ramp(0.0, 50.0, 4), delta, 20.0, 20.0, Some(200.0)),
            ("delta down", ramp(200.0, -50.0, 4), delta, 20.0, 20.0, Some(-200.0)),
        ] {
            let series = series(300.0, &values);
            let window = series.range(at(now * 60.0), Seconds::from_minutes(length));
            check(of(&window), expected, what);
        }
    }

    /// The same file: up to half an interval before its first sample a counter may have been zero.
    #[test]
    fn a_counter_does_not_start_below_zero() {
        for (start, early) in [(0.0, 0.5), (60.0, 0.55), (120.0, 0.6), (180.0, 0.6), (300.0, 0.6)] {
            let series = series(240.0, &ramp(start, 240.0, 10));
            let rate = |now: f64| series.range(at(now), Seconds::from_minutes(20.0)).rate();
            check(rate(600.0), Some(early), &format!("from {start}, early"));
            check(rate(3000.0), Some(0.6), &format!("from {start}, late"));
        }
    }

    /// By hand, samples every 10 s: an edge less than 11 s away is reached, of a farther one half an
    /// interval is. A gauge may go below zero, a counter does not.
    #[test]
    fn an_edge_is_near_or_far() {
        let values = ramp(100.0, 10.0, 3);
        for (end, length, increase) in [
            // The start is 5 s before the first sample, and the end moves away from the last.
            (30.0, 35.0, 5.0 + 30.0),
            (39.0, 44.0, 5.0 + 30.0 + 9.0),
            (40.999, 45.999, 5.0 + 30.0 + 10.999),
            (41.0, 46.0, 5.0 + 30.0 + 5.0),
            // The start moves away from the first sample, and the end is at the last.
            (30.0, 40.999, 10.999 + 30.0),
            (30.0, 41.0, 5.0 + 30.0),
        ] {
            let series = shifted(&values);
            let window = series.range(at(1000.0 + end), Seconds::new(length));
            check(window.increase(), Some(increase), &format!("{length} s before {end}"));
            check(window.delta(), Some(increase), &format!("{length} s before {end}"));
        }
        let low = shifted(&ramp(1.0, 10.0, 3));
        let window = low.range(at(1030.0), Seconds::new(35.0));
        check(window.increase(), Some(31.0), "a counter was zero a second ago");
        check(window.delta(), Some(35.0), "a gauge was not");
    }

    fn shifted(values: &[Option<f64>]) -> crate::prometheus::Series {
        let mut series = crate::prometheus::Series::default();
        for (idx, value) in values.iter().enumerate() {
            series.push(at(1000.0 + 10.0 * idx as f64), value.unwrap()).unwrap();
        }
        series
    }

    #[test]
    fn no_value_makes_it_panic() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MAX];
        for first in odd {
            for second in odd {
                let series = series(10.0, &[Some(first), Some(second), Some(1.0)]);
                let window = series.range(at(20.0), Seconds::new(30.0));
                assert!(window.rate().is_some() && window.delta().is_some(), "{first} {second}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(3), ..Default::default() })]

        /// However a counter that never falls is sampled, its rate is not negative, and what is
        /// added at the edges is at most what 1.1 mean intervals bring on each side.
        #[test]
        fn a_rate_is_bounded(
            steps in prop::collection::vec((1_u32..60_000, 0_u32..1000), 2..40),
            start in 0_u32..10_000,
            cut in 0_u32..100_000,
            length in 1_u32..600_000,
        ) {
            let mut series = crate::prometheus::Series::default();
            let (mut time, mut count) = (0_u32, start);
            for (gap, more) in steps {
                time += gap;
                count += more;
                series.push(at(f64::from(time) / 1e3), f64::from(count)).unwrap();
            }
            let end = at(f64::from(time.saturating_sub(cut)) / 1e3);
            let window = series.range(end, Seconds::from_millis(f64::from(length)));
            let samples: Vec<_> = window.samples().collect();
            let Some(increase) = window.increase() else {
                prop_assert!(samples.len() < 2);
                return Ok(());
            };
            let seen = samples[samples.len() - 1].1 - samples[0].1;
            let most = seen * (1.0 + 2.0 * NEAR / (samples.len() - 1) as f64);
            prop_assert!(increase >= seen * (1.0 - 1e-12));
            prop_assert!(increase <= most * (1.0 + 1e-12));
        }
    }
}
