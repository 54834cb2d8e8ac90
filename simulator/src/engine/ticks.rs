//! The engine's own clock, finer than a nanosecond.
//!
//! Rounding each step to whole nanoseconds would make the time of k steps a matter of k roundings.
//! On a clock that holds each step exactly, the time of k steps has a closed form that equals their
//! sum to the last tick. The world outside sees an instant cut to nanoseconds.

use std::ops::{Add, AddAssign};

use optimizer::units::{Seconds, Timestamp};

/// A nanosecond has 2^20 ticks, so a tick is about a femtosecond.
const TICKS_PER_NANO_LOG2: u32 = 20;
const TICKS_PER_SECOND: f64 = 1e9 * (1_u64 << TICKS_PER_NANO_LOG2) as f64;

/// A span of engine time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(u64);

impl Ticks {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// From a number of ticks.
    #[must_use]
    pub const fn new(ticks: u64) -> Self {
        Self(ticks)
    }

    /// To the nearest tick. A span beyond the range, 4.8 hours, is cut to it: no step takes as long.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    pub fn from_seconds(span: Seconds) -> Self {
        Self((span.value() * TICKS_PER_SECOND + 0.5) as u64)
    }

    /// The number of ticks.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The span in seconds.
    #[must_use]
    pub fn as_seconds(self) -> Seconds {
        Seconds::new(self.0 as f64 / TICKS_PER_SECOND)
    }

    /// From whole nanoseconds, cut to the range.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos.saturating_mul(1 << TICKS_PER_NANO_LOG2))
    }

    /// The span cut to whole nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0 >> TICKS_PER_NANO_LOG2
    }

    /// `count` spans of this length.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl Add for Ticks {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// An instant of engine time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u128);

impl Moment {
    /// The instant at the beginning of its nanosecond.
    #[must_use]
    pub const fn at(instant: Timestamp) -> Self {
        Self((instant.as_nanos() as u128) << TICKS_PER_NANO_LOG2)
    }

    /// The instant cut to whole nanoseconds, as the world sees it.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_nanos(u64::try_from(self.0 >> TICKS_PER_NANO_LOG2).unwrap_or(u64::MAX))
    }

    /// The ticks since an earlier moment; zero when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u128 {
        self.0.saturating_sub(earlier.0)
    }

    /// The span since an earlier moment, cut to the range of a span.
    #[must_use]
    pub fn span_since(self, earlier: Self) -> Ticks {
        Ticks(u64::try_from(self.since(earlier)).unwrap_or(u64::MAX))
    }

    /// The ticks until the nanosecond of `instant` is over: whatever takes less than this from now
    /// on is seen by the world at `instant` or before.
    #[must_use]
    pub const fn until_end_of(self, instant: Timestamp) -> u128 {
        ((instant.as_nanos() as u128 + 1) << TICKS_PER_NANO_LOG2).saturating_sub(self.0)
    }
}

impl Add<u128> for Moment {
    type Output = Self;

    fn add(self, ticks: u128) -> Self {
        Self(self.0.saturating_add(ticks))
    }
}

impl AddAssign<u128> for Moment {
    fn add_assign(&mut self, ticks: u128) {
        *self = *self + ticks;
    }
}

impl Add<Ticks> for Moment {
    type Output = Self;

    fn add(self, span: Ticks) -> Self {
        self + u128::from(span.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_moments_agree_with_seconds() {
        let span = Ticks::from_seconds(Seconds::from_millis(31.589e-6));
        assert_eq!(span.as_nanos(), 31);
        assert!((span.as_seconds().value() - 31.589e-9).abs() < 1e-15);

        let start = Moment::at(Timestamp::from_nanos(7));
        let end = start + span;
        assert_eq!(end.timestamp(), Timestamp::from_nanos(38));
        assert_eq!(end.span_since(start), span);
        assert_eq!(start.since(end), 0);
    }

    #[test]
    fn a_nanosecond_lasts_until_the_next_begins() {
        let start = Moment::at(Timestamp::from_nanos(7));
        let length = start.until_end_of(Timestamp::from_nanos(7));
        assert_eq!((start + (length - 1)).timestamp(), Timestamp::from_nanos(7));
        assert_eq!((start + length).timestamp(), Timestamp::from_nanos(8));
        assert_eq!(start.until_end_of(Timestamp::from_nanos(6)), 0);
    }
}
