//! Quantities as Kubernetes computes with them.

/// A metric's value in thousandths, as a whole number: the resolution at which the HPA's arithmetic
/// runs, so that a mean of 20.6666 is 20.666.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliQuantity(i64);

impl MilliQuantity {
    /// None of it.
    pub const ZERO: Self = Self(0);

    /// From thousandths.
    #[must_use]
    pub const fn new(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// From a float, with what is below a thousandth cut off: the conversion of KEDA and of
    /// prometheus-adapter. `None` when it is not finite, which both refuse or read as nothing.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "saturation is wanted")]
    pub fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self((value * 1e3) as i64))
    }

    /// The number of thousandths.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// The number of thousandths, for a ratio.
    pub(super) const fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_cut_off() {
        for (value, expected) in [
            (0.0, Some(0)),
            (20.666_66, Some(20_666)),
            (0.000_9, Some(0)),
            (-1.5, Some(-1500)),
            (1e300, Some(i64::MAX)),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            let actual = MilliQuantity::from_f64(value).map(MilliQuantity::thousandths);
            assert_eq!(actual, expected, "{value}");
        }
    }
}
