//! Measurements on a grid, and the values between them.

use std::collections::{BTreeMap, BTreeSet};

/// Values on a complete rectangular grid of `D` axes, linear in each axis between two points.
///
/// Below its first point an axis is clamped: there the launch of a kernel is all that is left.
/// Beyond its last point the last two points go on, because the work does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid<const D: usize> {
    /// Ascending, each with at least one point.
    axes: [Vec<u32>; D],
    /// In row-major order: the last axis varies fastest.
    values: Vec<f64>,
}

impl<const D: usize> Grid<D> {
    /// The complete grid within scattered `points`, and how many of them lie outside of it.
    ///
    /// A sweep may have been refined in places, so that some coordinates exist only here and there.
    /// The coordinate that lacks the largest share of its points is left out, until none lacks any.
    /// `None` when there are no points.
    pub(super) fn within(points: &BTreeMap<[u32; D], f64>) -> Option<(Self, usize)> {
        let mut axes: [BTreeSet<u32>; D] =
            std::array::from_fn(|axis| points.keys().map(|point| point[axis]).collect());
        while let Some((axis, coordinate)) = least_complete(points, &axes) {
            axes[axis].remove(&coordinate);
        }
        let inside = |point: &[u32; D]| (0..D).all(|axis| axes[axis].contains(&point[axis]));
        // Keys ascend, so the values come in row-major order.
        let values: Vec<f64> =
            points.iter().filter(|(point, _)| inside(point)).map(|(_, value)| *value).collect();
        let outside = points.len() - values.len();
        let axes = axes.map(|axis| axis.into_iter().collect());
        (!values.is_empty()).then_some((Self { axes, values }, outside))
    }

    /// The coordinates of an axis, ascending.
    pub(super) fn axis(&self, axis: usize) -> &[u32] {
        &self.axes[axis]
    }

    /// The value at `point`.
    pub(super) fn at(&self, point: [f64; D]) -> f64 {
        let brackets: [Bracket; D] =
            std::array::from_fn(|axis| Bracket::of(&self.axes[axis], point[axis]));
        // Each bit of `corner` chooses the lower or the upper point of one axis.
        let corner_value = |corner: usize| {
            let (mut place, mut weight) = (0, 1.0);
            for (axis, bracket) in brackets.iter().enumerate() {
                let upper = corner >> axis & 1;
                weight *= if upper == 1 { bracket.weight } else { 1.0 - bracket.weight };
                place = place * self.axes[axis].len() + bracket.lower + upper;
            }
            // The upper point of a weight of zero may lie beyond the axis.
            if weight == 0.0 { 0.0 } else { weight * self.values[place] }
        };
        (0..1_usize << D).map(corner_value).sum()
    }
}

/// The coordinate that lacks the largest share of the points it would have in a complete grid, with
/// its axis; of equals the last. `None` when the grid is complete.
fn least_complete<const D: usize>(
    points: &BTreeMap<[u32; D], f64>,
    axes: &[BTreeSet<u32>; D],
) -> Option<(usize, u32)> {
    let mut counts: [BTreeMap<u32, usize>; D] =
        std::array::from_fn(|axis| axes[axis].iter().map(|&coordinate| (coordinate, 0)).collect());
    for point in points.keys() {
        if (0..D).all(|axis| axes[axis].contains(&point[axis])) {
            for (count, coordinate) in counts.iter_mut().zip(point) {
                *count.entry(*coordinate).or_default() += 1;
            }
        }
    }
    let size: usize = axes.iter().map(BTreeSet::len).product();
    let lacking = counts.iter().enumerate().flat_map(|(axis, counts)| {
        let full = size / axes[axis].len().max(1);
        counts.iter().filter_map(move |(&coordinate, &count)| {
            let missing = (full - count) as f64 / full as f64;
            (count < full).then_some((missing, axis, coordinate))
        })
    });
    let worst = lacking.max_by(|(one, ..), (other, ..)| one.total_cmp(other));
    worst.map(|(_, axis, coordinate)| (axis, coordinate))
}

/// Where a coordinate lies between two points of an axis.
#[derive(Debug, Clone, Copy)]
struct Bracket {
    lower: usize,
    /// 0 at the lower point, 1 at the upper one, more beyond the axis.
    weight: f64,
}

impl Bracket {
    fn of(axis: &[u32], coordinate: f64) -> Self {
        let above = axis.partition_point(|&point| f64::from(point) <= coordinate);
        if above == 0 || axis.len() == 1 {
            return Self { lower: 0, weight: 0.0 };
        }
        let lower = (above - 1).min(axis.len() - 2);
        let (from, to) = (f64::from(axis[lower]), f64::from(axis[lower + 1]));
        Self { lower, weight: (coordinate - from) / (to - from) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "the numbers are small integers, which are exact")]

    use super::*;

    fn plane() -> BTreeMap<[u32; 2], f64> {
        let product = [1, 2, 4].into_iter().flat_map(|x| [10, 30].map(|y| [x, y]));
        product.map(|[x, y]| ([x, y], f64::from(x * 100 + y))).collect()
    }

    #[test]
    fn between_points_and_beyond_them_it_is_linear() {
        let (grid, outside) = Grid::within(&plane()).unwrap();
        assert_eq!((outside, grid.axis(0), grid.axis(1)), (0, &[1, 2, 4][..], &[10, 30][..]));
        for (point, expected) in [
            ([1.0, 10.0], 110.0),
            ([3.0, 20.0], 320.0),
            ([4.0, 30.0], 430.0),
            ([6.0, 50.0], 650.0),
            // Clamped on both axes.
            ([0.0, 0.0], 110.0),
        ] {
            assert_eq!(grid.at(point), expected, "{point:?}");
        }
    }

    #[test]
    fn a_point_alone_holds_everywhere() {
        let (grid, _) = Grid::within(&BTreeMap::from([([5], 7.0)])).unwrap();
        assert_eq!([grid.at([0.0]), grid.at([5.0]), grid.at([99.0])], [7.0; 3]);
        assert!(Grid::<3>::within(&BTreeMap::new()).is_none());
    }

    #[test]
    fn what_was_measured_only_here_and_there_is_left_out() {
        let mut points = plane();
        points.insert([3, 20], 1e9);
        points.insert([3, 30], 1e9);
        let (grid, outside) = Grid::within(&points).unwrap();
        assert_eq!(outside, 2);
        assert_eq!(grid, Grid::within(&plane()).unwrap().0);
    }
}
