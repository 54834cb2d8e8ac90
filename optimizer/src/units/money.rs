//! Money.

use std::fmt;
use std::ops::Mul;

use super::{Seconds, quantity, written_as_number};

quantity! {
    /// Currency units per hour of one replica. Which currency does not matter, as long as one
    /// policy compares like with like.
    HourlyCost, "currency units per hour"
}

written_as_number!(HourlyCost, "a cost per hour, a number that is not negative", None);

/// What a span at this price comes to.
impl Mul<Seconds> for HourlyCost {
    type Output = f64;

    fn mul(self, span: Seconds) -> f64 {
        self.0 * span.as_hours()
    }
}

impl fmt::Display for HourlyCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/h", self.0))
    }
}
