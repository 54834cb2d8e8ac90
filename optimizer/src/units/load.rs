//! Numbers of requests and replicas that are not whole.

use std::fmt;

use super::{Replicas, quantity, written_as_number};

quantity! {
    /// A number of requests, possibly an estimate: Prometheus extrapolates the increase of a counter.
    RequestCount, "requests"
}

written_as_number!(RequestCount, "a number of requests, which is not negative", None);

quantity! {
    /// A load in replicas of one variant: how many of them, possibly a fraction, would carry it.
    ReplicaLoad, "replicas"
}

written_as_number!(ReplicaLoad, "a load in replicas, which is not negative", None);

quantity! {
    /// How much something varies: a coefficient of variation (deviation over mean), or a ratio of
    /// variances. It has no unit; 0 is constant, 1 a Poisson process.
    Variation, "parts"
}

written_as_number!(Variation, "a variation, a number that is not negative", None);

quantity! {
    /// What something counts among others; the ordinary weight is 1.
    Weight, "parts"
}

written_as_number!(Weight, "a weight, a number that is not negative", None);

quantity! {
    /// A multiple of something. It has no unit.
    Factor, "times"
}

written_as_number!(Factor, "a factor, a number that is not negative", None);

impl ReplicaLoad {
    /// How far above a whole number a load may be and still count as that number: rounding.
    const WHOLE: f64 = 1e-9;

    /// The load as a count, rounded up.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is clamped to the range of the count"
    )]
    pub fn ceil(self) -> Replicas {
        let whole = (self.0 * (1.0 - Self::WHOLE)).ceil().clamp(0.0, f64::from(u32::MAX));
        Replicas::new(whole as u32)
    }
}

impl fmt::Display for RequestCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ReplicaLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_rounds_up_unless_it_is_a_whole_number_but_for_rounding() {
        for (load, expected) in [(0.0, 0), (0.2, 1), (3.0, 3), (3.000_000_000_1, 3), (3.001, 4)] {
            assert_eq!(ReplicaLoad::new(load).ceil(), Replicas::new(expected), "{load}");
        }
        assert_eq!(ReplicaLoad::new(1e300).ceil(), Replicas::new(u32::MAX));
    }
}
