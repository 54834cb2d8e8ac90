//! Tail probabilities of the two distributions that the model uses.

/// The share of a standard normal distribution above `z`, to an absolute 1e-7.
///
/// Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.2.17.
pub(super) fn normal(z: f64) -> f64 {
    const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7;
    let t = (1.0 + 0.231_641_9 * z.abs()).recip();
    let polynomial = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530]
        .iter()
        .fold(0.0, |sum, coefficient| t * (coefficient + sum));
    let tail = DENSITY_AT_ZERO * (-0.5 * z * z).exp() * polynomial;
    if z < 0.0 { 1.0 - tail } else { tail }
}

/// The share above `x` of a gamma distribution that begins at `least` and has this mean and
/// variance.
///
/// The cube root of a gamma variable is nearly normal (Wilson and Hilferty, 1931).
pub(super) fn gamma(least: f64, mean: f64, variance: f64, x: f64) -> f64 {
    let (above, x) = (mean - least, x - least);
    if x <= 0.0 {
        return 1.0;
    }
    // Without spread, or with a mean at its very beginning, all of it lies at the mean.
    if variance <= 0.0 || above <= 0.0 {
        return if x < above { 1.0 } else { 0.0 };
    }
    let spread = variance / (9.0 * above * above);
    normal(((x / above).cbrt() - 1.0 + spread) / spread.sqrt())
}

/// The share above `x` of a lognormal distribution that begins at `least` and has this mean and
/// variance. A sum of lognormal variables is nearly one (Fenton, 1960).
pub(super) fn lognormal(least: f64, mean: f64, variance: f64, x: f64) -> f64 {
    let (above, x) = (mean - least, x - least);
    if x <= 0.0 {
        return 1.0;
    }
    if variance <= 0.0 || above <= 0.0 {
        return if x < above { 1.0 } else { 0.0 };
    }
    let spread = (variance / (above * above)).ln_1p();
    normal(((x / above).ln() + spread / 2.0) / spread.sqrt())
}

/// The mean of `tail(j)` over a number j with this mean and variance: negative binomial, or Poisson
/// where the variance is no greater than the mean. `tail` must not fall as j grows.
pub(super) fn over_counts(mean: f64, variance: f64, tail: impl Fn(f64) -> f64) -> f64 {
    /// Nobody waits for more prompts than that within any target.
    const MOST: u32 = 1000;
    /// A share that makes no difference.
    const NOTHING: f64 = 1e-4;
    let excess = (variance - mean).max(1e-9 * mean);
    let shape = mean * mean / excess;
    let ratio = excess / (mean + excess);
    let mut weight = (-shape * (excess / mean).ln_1p()).exp();
    // Written so that what is not a number ends here, too.
    if !(mean > 0.0 && weight > 1e-30) {
        return tail(mean);
    }
    let (mut rest, mut sum) = (1.0, 0.0);
    // Small counts hardly matter, and as `tail` rises they are found in leaps.
    let (mut matters, mut leap) = (0, 1);
    while matters + leap < MOST && tail(f64::from(matters + leap)) < NOTHING {
        matters += leap;
        leap *= 2;
    }
    for count in 0..MOST {
        if rest < NOTHING {
            return sum + rest * tail(f64::from(count));
        }
        if count >= matters {
            let above = tail(f64::from(count));
            if above > 0.99 {
                return sum + rest * above;
            }
            sum += weight * above;
        }
        rest -= weight;
        weight *= (shape + f64::from(count)) / f64::from(count + 1) * ratio;
    }
    sum + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
    }

    #[test]
    fn the_normal_tail_is_that_of_the_tables() {
        for (z, expected) in [
            (0.0, 0.5),
            (1.0, 0.158_655_25),
            (2.326_348, 0.01),
            (-1.644_853_6, 0.95),
            (6.0, 9.866e-10),
        ] {
            close(normal(z), expected, 2e-7);
        }
        assert!(normal(f64::INFINITY) <= 0.0);
    }

    /// An exponential distribution is a gamma distribution with variance = mean².
    #[test]
    fn the_gamma_tail_is_near_that_of_an_exponential() {
        for x in [0.5_f64, 1.0, 2.0, 4.605] {
            close(gamma(3.0, 4.0, 1.0, 3.0 + x), (-x).exp(), 0.008);
        }
        // With a large shape it is normal.
        close(gamma(0.0, 1000.0, 100.0, 1023.263), 0.01, 0.000_5);
    }

    #[test]
    fn the_lognormal_tail_is_exact() {
        // σ² = ln 2 for a variation of 1, so the median is 1/√2 of the mean.
        close(lognormal(0.0, 1.0, 1.0, 0.5_f64.sqrt()), 0.5, 1e-6);
        close(lognormal(5.0, 6.0, 1.0, 5.0 + 4.905), 0.01, 1e-4);
    }

    #[test]
    fn without_spread_all_lies_at_the_mean() {
        for tail in [gamma, lognormal] {
            for (least, variance, x, expected) in [
                (0.0, 0.0, 0.99, 1.0),
                (0.0, 0.0, 1.0, 0.0),
                (2.0, 1.0, 1.9, 1.0),
                (2.0, 1.0, 2.1, 0.0),
            ] {
                close(tail(least, 1.0, variance, x), expected, 0.0);
            }
        }
    }

    #[test]
    fn counts_are_weighted_as_they_occur() {
        let at_least = |least: f64| move |count: f64| f64::from(u8::from(count >= least));
        // Poisson with mean 2: P(N ≥ 4) = 1 − e⁻² (1 + 2 + 2 + 4/3).
        close(over_counts(2.0, 2.0, at_least(4.0)), 1.0 - 19.0 / 3.0 * (-2.0_f64).exp(), 2e-5);
        // Geometric with mean 1 and variance 2: P(N ≥ 3) = 1/8.
        close(over_counts(1.0, 2.0, at_least(3.0)), 0.125, 2e-5);
        // So many that none of them counts, and none at all.
        close(over_counts(1e6, 1e6, |count| count), 1e6, 1e-6);
        close(over_counts(0.0, 0.0, |count| 0.25 + count), 0.25, 0.0);
        close(over_counts(f64::NAN, 1.0, |_| 0.5), 0.5, 0.0);
    }
}
