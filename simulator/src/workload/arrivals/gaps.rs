//! Gaps between requests, counted in expected requests.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand_distr::{Distribution, Gamma, Weibull};

use crate::kernel::Stream;

/// The coefficients of variation that Weibull gaps may have. Beyond them the shape leaves the range
/// in which the distribution can be told from a constant, or from nothing but zeros.
pub(super) const WEIBULL_CV: RangeInclusive<f64> = 0.02..=50.0;

/// A distribution of gaps, with mean one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gaps {
    /// Always one.
    Constant,
    /// Gamma; exponential when the shape is one.
    Gamma(Gamma<f64>),
    /// Weibull.
    Weibull(Weibull<f64>),
}

impl Gaps {
    /// Gamma gaps with this shape, which must be above zero.
    pub(super) fn gamma(shape: f64) -> Self {
        Self::Gamma(Gamma::new(shape, 1.0 / shape).expect("a valid process has a positive shape"))
    }

    /// Weibull gaps with this coefficient of variation, within [`WEIBULL_CV`].
    pub(super) fn weibull(cv: f64) -> Self {
        let shape = weibull_shape(cv);
        let scale = (-ln_gamma(1.0 + 1.0 / shape)).exp();
        Self::Weibull(Weibull::new(scale, shape).expect("a valid process has a positive shape"))
    }

    /// Draws a gap. The `first` of constant gaps is cut short by chance, so that clients of one
    /// rate do not send all at once.
    pub(super) fn sample(&self, first: bool, chance: &mut Stream) -> f64 {
        match self {
            Self::Constant if first => chance.random(),
            Self::Constant => 1.0,
            Self::Gamma(gamma) => gamma.sample(chance),
            Self::Weibull(weibull) => weibull.sample(chance),
        }
    }
}

/// The shape k of a Weibull variable with this coefficient of variation: the solution of
/// 1 + cv² = Γ(1 + 2/k) / Γ(1 + 1/k)², whose right side falls with k.
fn weibull_shape(cv: f64) -> f64 {
    let wanted = (cv * cv).ln_1p();
    let (mut low, mut high) = (0.05_f64, 200.0_f64);
    // Halving the interval of logarithms this often leaves less than one unit in the last place.
    for _ in 0..64 {
        let middle = (low * high).sqrt();
        let found = ln_gamma(1.0 + 2.0 / middle) - 2.0 * ln_gamma(1.0 + 1.0 / middle);
        if found > wanted { low = middle } else { high = middle }
    }
    (low * high).sqrt()
}

/// The logarithm of the Gamma function above zero, by Stirling's series at an argument of ten or
/// more, where five terms leave an error below 1e-15: Abramowitz and Stegun 6.1.41, and the
/// recurrence 6.1.15 to get there.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Streams;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
    }

    #[test]
    fn the_gamma_function_at_known_points() {
        for (x, gamma) in [(1.0, 1.0), (2.0, 1.0), (5.0, 24.0), (11.0, 3_628_800.0)] {
            close(ln_gamma(x), f64::ln(gamma), 1e-13);
        }
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
    }

    /// A shape of one is exponential, with variation one; of two is Rayleigh, √(4/π − 1); of one
    /// half has Γ(5)/Γ(3)² = 6, so √5.
    #[test]
    fn the_shape_follows_from_the_variation() {
        for (cv, shape) in
            [(1.0, 1.0), ((4.0 / std::f64::consts::PI - 1.0).sqrt(), 2.0), (5.0_f64.sqrt(), 0.5)]
        {
            close(weibull_shape(cv), shape, 1e-12);
        }
    }

    #[test]
    fn the_mean_is_one_and_the_variation_as_asked() {
        let check = |gaps: Gaps, cv: f64| {
            let mut chance = Streams::new(1).stream("gaps");
            let values: Vec<_> = (0..200_000).map(|_| gaps.sample(false, &mut chance)).collect();
            let mean = values.iter().sum::<f64>() / 2e5;
            let variance = values.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 2e5;
            close(mean, 1.0, 0.01 * cv.max(1.0));
            close(variance.sqrt(), cv, 0.03 * cv);
        };
        check(Gaps::weibull(0.3), 0.3);
        check(Gaps::weibull(1.0), 1.0);
        check(Gaps::weibull(2.0), 2.0);
        check(Gaps::gamma(4.0), 0.5);
        check(Gaps::Constant, 0.0);
    }
}
