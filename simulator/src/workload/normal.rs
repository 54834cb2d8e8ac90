//! The standard normal distribution.

/// Beyond so many deviations a double cannot tell the distribution from 0 or 1.
const FAR: f64 = 8.3;

/// The share of a standard normal variable up to `z`, to an absolute error of a few units in the
/// last place of 1: the series ½ + φ(z)(z + z³/3 + z⁵/(3·5) + …) of Marsaglia, "Evaluating the
/// normal distribution", 2004.
pub(super) fn share_below(z: f64) -> f64 {
    if z <= -FAR {
        return 0.0;
    }
    if z >= FAR {
        return 1.0;
    }
    let (mut sum, mut term, mut divisor) = (z, z, 1.0);
    loop {
        divisor += 2.0;
        term *= z * z / divisor;
        let next = sum + term;
        // Terms are all of the sign of z, so the sum stands still once they no longer matter.
        #[expect(clippy::float_cmp, reason = "the series has converged when the sum stands still")]
        if next == sum {
            return (0.5 + sum * density(z)).clamp(0.0, 1.0);
        }
        sum = next;
    }
}

/// The value below which this share of a standard normal variable lies: the inverse of
/// [`share_below`], by Newton's method within an interval that is halved when a step would leave
/// it. The ends, 0 and 1, have finite values.
pub(super) fn quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-FAR, FAR);
    let mut z = 0.0;
    // From the middle, halving alone gets within 1e-15 in as many steps.
    for _ in 0..64 {
        let excess = share_below(z) - share;
        if excess > 0.0 {
            high = z;
        } else {
            low = z;
        }
        let next = z - excess / density(z);
        let next = if next >= low && next <= high { next } else { f64::midpoint(low, high) };
        let moved = (next - z).abs();
        z = next;
        if moved < 1e-13 {
            break;
        }
    }
    z
}

fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tables of the normal distribution with 15 digits.
    #[test]
    fn shares_at_known_points() {
        for (z, share) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.0, 0.158_655_253_931_457_05),
            (2.0, 0.977_249_868_051_820_8),
            (-3.0, 0.001_349_898_031_630_094_6),
            (5.0, 0.999_999_713_348_428_1),
            (1.281_551_565_544_600_5, 0.9),
            (-100.0, 0.0),
            (100.0, 1.0),
        ] {
            assert!((share_below(z) - share).abs() < 1e-15, "{z}: {}", share_below(z));
        }
    }

    #[test]
    fn a_quantile_is_the_inverse_of_the_share() {
        for share in [1e-12, 1e-4, 0.1, 0.5, 0.9, 0.999, 1.0 - 1e-9] {
            let found = share_below(quantile(share));
            assert!((found - share).abs() < 1e-15, "{share}: {found}");
        }
        assert!(quantile(0.0) < -7.0 && quantile(1.0) > 7.0);
        assert!((quantile(0.9) - 1.281_551_565_544_600_5).abs() < 1e-12);
    }
}
