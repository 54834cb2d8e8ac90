//! The little linear algebra that three costs and two latencies need.

/// A vector of `N` numbers.
pub(super) type Vector<const N: usize> = [f64; N];

/// A matrix of `R` rows and `C` columns.
pub(super) type Matrix<const R: usize, const C: usize> = [[f64; C]; R];

pub(super) fn diagonal<const N: usize>(entries: Vector<N>) -> Matrix<N, N> {
    let mut matrix = [[0.0; N]; N];
    for (i, entry) in entries.into_iter().enumerate() {
        matrix[i][i] = entry;
    }
    matrix
}

pub(super) fn transpose<const R: usize, const C: usize>(a: &Matrix<R, C>) -> Matrix<C, R> {
    std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
}

pub(super) fn add<const R: usize, const C: usize>(
    a: &Matrix<R, C>,
    b: &Matrix<R, C>,
) -> Matrix<R, C> {
    std::array::from_fn(|i| std::array::from_fn(|j| a[i][j] + b[i][j]))
}

pub(super) fn multiply<const R: usize, const K: usize, const C: usize>(
    a: &Matrix<R, K>,
    b: &Matrix<K, C>,
) -> Matrix<R, C> {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..K).map(|k| a[i][k] * b[k][j]).sum()))
}

pub(super) fn apply<const R: usize, const C: usize>(a: &Matrix<R, C>, x: &Vector<C>) -> Vector<R> {
    std::array::from_fn(|i| dot(&a[i], x))
}

pub(super) fn dot<const N: usize>(a: &Vector<N>, b: &Vector<N>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A·B·Aᵀ.
pub(super) fn sandwich<const R: usize, const C: usize>(
    a: &Matrix<R, C>,
    b: &Matrix<C, C>,
) -> Matrix<R, R> {
    multiply(&multiply(a, b), &transpose(a))
}

/// The inverse of a symmetric positive definite matrix, by Cholesky's decomposition; `None` when it
/// is not positive definite, or a number is not finite.
pub(super) fn invert<const N: usize>(a: &Matrix<N, N>) -> Option<Matrix<N, N>> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let rest = a[i][j] - (0..j).map(|k| lower[i][k] * lower[j][k]).sum::<f64>();
            if i == j {
                // Written so that what is not a number is refused too.
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                lower[i][i] = rest.sqrt();
            } else {
                lower[i][j] = rest / lower[j][j];
            }
        }
    }
    let mut inverse = [[0.0; N]; N];
    for column in 0..N {
        let mut x = [0.0; N];
        for i in 0..N {
            let unit = if i == column { 1.0 } else { 0.0 };
            x[i] = (unit - (0..i).map(|k| lower[i][k] * x[k]).sum::<f64>()) / lower[i][i];
        }
        for i in (0..N).rev() {
            x[i] = (x[i] - (i + 1..N).map(|k| lower[k][i] * x[k]).sum::<f64>()) / lower[i][i];
        }
        for (row, entry) in inverse.iter_mut().zip(x) {
            row[column] = entry;
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_undoes_its_matrix() {
        let a = [[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]];
        let product = multiply(&a, &invert(&a).unwrap());
        for (i, row) in product.iter().enumerate() {
            for (j, entry) in row.iter().enumerate() {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((entry - expected).abs() < 1e-14, "{product:?}");
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_no_inverse() {
        for a in [[[1.0, 2.0], [2.0, 1.0]], [[0.0; 2]; 2], [[f64::NAN, 0.0], [0.0, 1.0]]] {
            assert_eq!(invert(&a), None, "{a:?}");
        }
    }
}
