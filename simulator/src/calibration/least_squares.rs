//! Least squares without negative solutions, and what a design can tell apart.

use nalgebra::{DMatrix, DVector};

/// A singular value below this share of the largest one is taken for zero.
const RANK_TOLERANCE: f64 = 1e-10;

/// The x ≥ 0 with the least ‖A·x − b‖.
///
/// Source: the active-set method NNLS of C. L. Lawson and R. J. Hanson, Solving Least Squares
/// Problems (Prentice-Hall, 1974; SIAM, 1995), chapter 23.
pub(super) fn nnls(a: &DMatrix<f64>, b: &DVector<f64>) -> DVector<f64> {
    let (a, b) = reduced(a, b);
    let (a, norms) = unit_columns(&a);
    let unknowns = a.ncols();
    let mut x = DVector::zeros(unknowns);
    let mut passive = vec![false; unknowns];
    let tolerance = 1e-12 * b.norm().max(f64::MIN_POSITIVE);
    // Each round adds one unknown, and lowers the residual, so no set of them comes twice; the
    // limit is for rounding errors.
    for _ in 0..3 * unknowns {
        let gradient = a.transpose() * (&b - &a * &x);
        let candidates = (0..unknowns).filter(|&j| !passive[j] && gradient[j] > tolerance);
        let Some(best) = candidates.max_by(|&i, &j| gradient[i].total_cmp(&gradient[j])) else {
            break;
        };
        passive[best] = true;
        x = feasible(&a, &b, x, &mut passive);
    }
    x.component_div(&norms)
}

/// The least squares over the `passive` unknowns; those that it would make negative leave them.
fn feasible(
    a: &DMatrix<f64>,
    b: &DVector<f64>,
    mut x: DVector<f64>,
    passive: &mut [bool],
) -> DVector<f64> {
    loop {
        let members: Vec<usize> = (0..passive.len()).filter(|&j| passive[j]).collect();
        let solution = least_squares(&a.select_columns(&members), b);
        let mut next = DVector::zeros(passive.len());
        for (&j, &value) in members.iter().zip(solution.iter()) {
            next[j] = value;
        }
        let crossing = |&&j: &&usize| next[j] <= 0.0;
        let step = |&j: &usize| x[j] / (x[j] - next[j]).max(f64::MIN_POSITIVE);
        let Some(share) = members.iter().filter(crossing).map(step).reduce(f64::min) else {
            return next;
        };
        x += (&next - &x) * share.min(1.0);
        let mut left = false;
        for &j in &members {
            if next[j] <= 0.0 && x[j] <= 1e-14 {
                (x[j], passive[j], left) = (0.0, false, true);
            }
        }
        if !left {
            return x;
        }
    }
}

/// The x with the least ‖A·x − b‖, of several the shortest.
fn least_squares(a: &DMatrix<f64>, b: &DVector<f64>) -> DVector<f64> {
    if a.ncols() == 0 {
        return DVector::zeros(0);
    }
    let svd = a.clone().svd(true, true);
    let tolerance = svd.singular_values.max() * RANK_TOLERANCE;
    svd.solve(b, tolerance).expect("both sides of the decomposition were computed")
}

/// The same problem with as many rows as unknowns, where there are more: R·x = Qᵀ·b of A = Q·R.
fn reduced(a: &DMatrix<f64>, b: &DVector<f64>) -> (DMatrix<f64>, DVector<f64>) {
    if a.nrows() <= a.ncols() {
        return (a.clone(), b.clone());
    }
    let qr = a.clone().qr();
    let b = qr.q().transpose() * b;
    (qr.unpack_r(), b)
}

/// The columns scaled to length one, and their lengths; a column of zeros stays, with length one.
fn unit_columns(a: &DMatrix<f64>) -> (DMatrix<f64>, DVector<f64>) {
    let lengths = a.column_iter().map(|column| column.norm());
    let norms: Vec<f64> = lengths.map(|norm| if norm > 0.0 { norm } else { 1.0 }).collect();
    let mut scaled = a.clone();
    for (mut column, norm) in scaled.column_iter_mut().zip(&norms) {
        column /= *norm;
    }
    (scaled, DVector::from_vec(norms))
}

/// The columns that a design cannot tell apart, in groups; a group of one is a column of zeros, or
/// nearly.
///
/// Source: D. A. Belsley, E. Kuh and R. E. Welsch, Regression Diagnostics (Wiley, 1980), section
/// 3.2. Columns are scaled to length one and not centered. A singular value that the largest one
/// exceeds by more than `condition_index` is a dependency, and the columns of which it makes up more
/// than half of the variance take part in it. Where two dependencies share the variance, all columns
/// with a tenth of their direction in it do.
pub(super) fn confusions(design: &DMatrix<f64>, condition_index: f64) -> Vec<Vec<usize>> {
    let unknowns = design.ncols();
    if unknowns == 0 {
        return Vec::new();
    }
    let zeros = (0..unknowns).filter(|&j| design.column(j).norm() == 0.0).map(|j| vec![j]);
    let zeros: Vec<Vec<usize>> = zeros.collect();
    if !zeros.is_empty() {
        return zeros;
    }
    // With fewer rows than unknowns the missing singular values are zero, which rows of zeros say.
    let rows = design.nrows().max(unknowns);
    let (scaled, _) = unit_columns(&design.clone().resize(rows, unknowns, 0.0));
    let svd = scaled.svd(false, true);
    let directions = svd.v_t.expect("the right side of the decomposition was computed");
    let largest = svd.singular_values.max();
    let share = |k: usize, j: usize| {
        let floor = largest * RANK_TOLERANCE;
        let of = |k: usize| (directions[(k, j)] / svd.singular_values[k].max(floor)).powi(2);
        of(k) / (0..unknowns).map(of).sum::<f64>()
    };
    let weak = (0..unknowns).filter(|&k| svd.singular_values[k] * condition_index < largest);
    let group = |k: usize| {
        let clear: Vec<usize> = (0..unknowns).filter(|&j| share(k, j) > 0.5).collect();
        if clear.len() > 1 {
            return clear;
        }
        (0..unknowns).filter(|&j| directions[(k, j)].powi(2) > 0.1).collect()
    };
    weak.map(group).filter(|group| !group.is_empty()).collect()
}

/// The standard errors of the unknowns of a design whose residuals are `residuals`: the roots of
/// the diagonal of s²·(AᵀA)⁻¹, s² being ‖r‖²/(n − k). `None` when there are no more rows than
/// unknowns, or the design leaves an unknown open.
pub(super) fn standard_errors(design: &DMatrix<f64>, residuals: &[f64]) -> Option<Vec<f64>> {
    let (rows, unknowns) = design.shape();
    if rows <= unknowns || unknowns == 0 {
        return None;
    }
    let variance = residuals.iter().map(|r| r * r).sum::<f64>() / (rows - unknowns) as f64;
    let (scaled, norms) = unit_columns(design);
    let inverse = (scaled.transpose() * &scaled).try_inverse()?;
    let error = |j: usize| (variance * inverse[(j, j)]).max(0.0).sqrt() / norms[j];
    Some((0..unknowns).map(error).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, columns: usize, values: &[f64]) -> DMatrix<f64> {
        DMatrix::from_row_slice(rows, columns, values)
    }

    #[test]
    fn the_unconstrained_solution_stands_where_it_is_not_negative() {
        let a = matrix(3, 2, &[1.0, 1.0, 1.0, 2.0, 1.0, 3.0]);
        let x = nnls(&a, &DVector::from_vec(vec![3.0, 5.0, 7.0]));
        assert!((x - DVector::from_vec(vec![1.0, 2.0])).norm() < 1e-12);
    }

    #[test]
    fn what_would_be_negative_is_zero_and_the_rest_is_solved_anew() {
        let a = matrix(3, 2, &[1.0, 1.0, 1.0, 2.0, 1.0, 3.0]);
        // The line through these falls, so the best that may not fall is their mean.
        let x = nnls(&a, &DVector::from_vec(vec![7.0, 5.0, 3.0]));
        assert!((x - DVector::from_vec(vec![5.0, 0.0])).norm() < 1e-12);
    }

    proptest! {
        /// The conditions of Kuhn and Tucker, which only the solution meets.
        #[test]
        fn no_direction_that_is_allowed_leads_down(
            values in prop::collection::vec(-1.0..1.0_f64, 24),
            b in prop::collection::vec(-1.0..1.0_f64, 6),
        ) {
            let (a, b) = (matrix(6, 4, &values), DVector::from_vec(b));
            let x = nnls(&a, &b);
            let gradient = a.transpose() * (&b - &a * &x);
            for j in 0..4 {
                prop_assert!(x[j] >= 0.0);
                prop_assert!(gradient[j] < 1e-8, "{} rises along {j}", gradient[j]);
                prop_assert!(x[j] == 0.0 || gradient[j].abs() < 1e-8);
            }
        }
    }

    #[test]
    fn columns_that_cannot_be_told_apart_are_named() {
        let check = |rows: usize, values: &[f64], expected: &[&[usize]]| {
            let found = confusions(&matrix(rows, values.len() / rows, values), 30.0);
            assert_eq!(found, expected, "{values:?}");
        };
        check(3, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], &[]);
        // The third is five times the second; the first stands apart.
        check(4, &[1.0, 2.0, 10.0, 1.0, 4.0, 20.0, 1.0, 9.0, 45.0, 1.0, 1.0, 5.0], &[&[1, 2]]);
        check(2, &[1.0, 0.0, 2.0, 0.0], &[&[1]]);
        // One equation for two unknowns.
        check(1, &[1.0, 3.0], &[&[0, 1]]);
    }

    /// By hand: the mean of 1, 2, 3, 4 has the standard error √(5/3 / 4).
    #[test]
    fn a_mean_has_its_standard_error() {
        let design = matrix(4, 1, &[1.0; 4]);
        let errors = standard_errors(&design, &[-1.5, -0.5, 0.5, 1.5]).unwrap();
        assert!((errors[0] - (5.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(standard_errors(&matrix(1, 1, &[1.0]), &[0.0]), None);
    }
}
