//! Sums of powers.

/// The sums of a geometric series, and of the same series weighted by its index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Geometric {
    /// The sum of rᵏ over k from 0 to the number of terms less one.
    pub(super) sum: f64,
    /// The sum of k·rᵏ over the same k.
    pub(super) weighted: f64,
}

impl Geometric {
    /// The sums for a ratio r in 0..=1.
    ///
    /// The closed forms divide by 1 − r and lose their digits where r is close to 1. Doubling the
    /// number of terms adds what is positive only, so it keeps them, in O(log `terms`) steps.
    pub(super) fn sum(ratio: f64, terms: usize) -> Self {
        let (mut sum, mut weighted, mut power) = (0.0, 0.0, 1.0);
        let mut count = 0_usize;
        for bit in (0..usize::BITS - terms.leading_zeros()).rev() {
            weighted += power * (weighted + count as f64 * sum);
            sum += power * sum;
            power *= power;
            count *= 2;
            if terms >> bit & 1 == 1 {
                weighted += count as f64 * power;
                sum += power;
                power *= ratio;
                count += 1;
            }
        }
        Self { sum, weighted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_sums_what_counting_sums() {
        for ratio in [0.0, 1e-9, 0.3, 0.9, 0.999, 1.0 - 1e-9, 1.0] {
            for terms in [0, 1, 2, 3, 7, 8, 160, 2560] {
                let (mut sum, mut weighted, mut power) = (0.0, 0.0, 1.0);
                for k in 0..terms {
                    sum += power;
                    weighted += k as f64 * power;
                    power *= ratio;
                }
                let found = Geometric::sum(ratio, terms);
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b;
                assert!(close(found.sum, sum), "{ratio} {terms}: {found:?}, not {sum}");
                assert!(
                    close(found.weighted, weighted),
                    "{ratio} {terms}: {found:?}, not {weighted}"
                );
            }
        }
    }
}
