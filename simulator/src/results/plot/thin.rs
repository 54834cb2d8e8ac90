//! Long series made short enough to draw.
//!
//! A series is a list of times in seconds with values. What is drawn has some hundred points, as
//! many as the eye can tell apart, whatever the length of the run.

use super::canvas::Point;

/// The mean of each of `parts` equal parts of the time, in its middle. Means of rates over equal
/// intervals keep the count, so nothing that arrived is lost.
pub(super) fn means(series: &[Point], end: f64, parts: usize) -> Vec<Point> {
    if series.len() <= parts {
        return series.to_vec();
    }
    let mean = |part: &[Point]| {
        let count = part.len() as f64;
        let sum = part.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / count, sum.1 / count)
    };
    split(series, end, parts).map(mean).collect()
}

/// The highest value of each of `parts` equal parts, where it was reached.
pub(super) fn peaks(series: &[Point], end: f64, parts: usize) -> Vec<Point> {
    if series.len() <= parts {
        return series.to_vec();
    }
    let peak = |part: &[Point]| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    split(series, end, parts).filter_map(peak).collect()
}

/// The first, the lowest, the highest and the last value of each of `parts` equal parts: a line
/// through them covers the same pixels as the whole (M4: Jugel et al., 2014).
pub(super) fn outline(series: &[Point], end: f64, parts: usize) -> Vec<Point> {
    if series.len() <= 4 * parts {
        return series.to_vec();
    }
    let four = |part: &[Point]| {
        let by_value = |a: &usize, b: &usize| part[*a].1.total_cmp(&part[*b].1);
        let (low, high) = ((0..part.len()).min_by(by_value), (0..part.len()).max_by(by_value));
        let mut kept: Vec<usize> =
            [Some(0), low, high, part.len().checked_sub(1)].into_iter().flatten().collect();
        kept.sort_unstable();
        kept.dedup();
        kept.into_iter().map(|idx| part[idx]).collect::<Vec<_>>()
    };
    split(series, end, parts).flat_map(four).collect()
}

/// The stairs of a value that holds until it changes, up to `end`.
pub(super) fn stairs(series: &[Point], end: f64) -> Vec<Point> {
    let mut stairs: Vec<Point> = Vec::new();
    for &(time, value) in series {
        match stairs.last() {
            #[expect(clippy::float_cmp, reason = "a value that holds is the same number")]
            Some(&(_, held)) if held == value => {}
            Some(&(_, held)) => stairs.extend([(time, held), (time, value)]),
            None => stairs.push((time, value)),
        }
    }
    stairs.extend(stairs.last().map(|&(_, held)| (end, held)));
    stairs
}

/// The parts of a series that have points in them.
fn split(series: &[Point], end: f64, parts: usize) -> impl Iterator<Item = &[Point]> {
    let part = move |point: &Point| (point.0 * parts as f64 / end).floor();
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    series.chunk_by(move |a, b| part(a) == part(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Vec<Point> {
        (0..10_000).map(|idx| (f64::from(idx), f64::from(idx * 7919 % 101))).collect()
    }

    #[test]
    fn peaks_survive_and_the_mean_stays() {
        let noise = noise();
        let high = |series: &[Point]| series.iter().map(|p| p.1).fold(0.0, f64::max);
        for (thin, most) in
            [(outline(&noise, 10_000.0, 200), 800), (peaks(&noise, 10_000.0, 200), 200)]
        {
            assert!(thin.len() <= most, "{}", thin.len());
            assert!((high(&thin) - high(&noise)).abs() < 1e-12);
            assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
        }

        let thin = means(&noise, 10_000.0, 200);
        assert_eq!(thin.len(), 200);
        let mean = |series: &[Point]| series.iter().map(|p| p.1).sum::<f64>() / series.len() as f64;
        assert!((mean(&thin) - mean(&noise)).abs() < 1e-9);
    }

    #[test]
    fn stairs_hold_a_value_until_it_changes() {
        let series = [(0.0, 1.0), (10.0, 1.0), (20.0, 3.0), (30.0, 3.0)];
        assert_eq!(stairs(&series, 40.0), [(0.0, 1.0), (20.0, 1.0), (20.0, 3.0), (40.0, 3.0)]);
        assert_eq!(stairs(&[], 40.0), []);
    }

    #[test]
    fn an_outline_keeps_both_ends_of_a_long_step() {
        let mut series = stairs(&noise()[..5000], 5000.0);
        series.extend([(5000.0, 0.0), (9999.0, 0.0)]);
        let thin = outline(&series, 10_000.0, 100);
        assert!(thin.len() <= 404, "{}", thin.len());
        assert_eq!(thin[thin.len() - 2..], [(5000.0, 0.0), (9999.0, 0.0)]);
    }
}
