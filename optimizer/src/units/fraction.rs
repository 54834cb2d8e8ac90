//! Shares.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

use super::written_as_number;

/// A share between 0 and 1, such as the part of a KV cache that is in use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fraction(f64);

impl Fraction {
    /// None of it.
    pub const ZERO: Self = Self(0.0);
    /// All of it.
    pub const ONE: Self = Self(1.0);

    /// From a number in 0..=1.
    ///
    /// # Panics
    ///
    /// When `value` is outside 0..=1. Use [`Self::checked`] for input from outside.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        assert!(value >= 0.0 && value <= 1.0, "a fraction lies between 0 and 1");
        // The sum turns -0 into 0, which would differ from it in the order and in its text.
        Self(value + 0.0)
    }

    /// From a number; `None` when it is outside 0..=1 or not a number.
    #[must_use]
    pub const fn checked(value: f64) -> Option<Self> {
        if value >= 0.0 && value <= 1.0 { Some(Self(value + 0.0)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

written_as_number!(Fraction, "a number between 0 and 1", Some(1.0));

impl TryFrom<f64> for Fraction {
    type Error = FractionError;

    fn try_from(value: f64) -> Result<Self, FractionError> {
        Self::checked(value).ok_or(FractionError(value))
    }
}

// Values are never NaN, so the total order is the numeric one.
impl PartialEq for Fraction {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0).is_eq()
    }
}

impl Eq for Fraction {}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number is no share.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("expected a number between 0 and 1, not {0}")]
pub struct FractionError(f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shares_are_fractions() {
        for value in [0.0, 0.5, 1.0] {
            assert_eq!(Fraction::try_from(value), Ok(Fraction::new(value)));
        }
        for value in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(Fraction::try_from(value).is_err(), "{value}");
        }
    }
}
