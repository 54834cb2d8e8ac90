//! Values with their age.

use serde::{Deserialize, Serialize};

use crate::policy::Freshness;
use crate::units::{Seconds, Timestamp};

/// A value that may not have been reported, and when it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal<T> {
    /// Nobody reported it.
    #[default]
    Missing,
    /// Reported.
    Seen {
        /// What was reported.
        value: T,
        /// When the sample was taken, which is before it was read.
        at: Timestamp,
    },
}

impl<T: Copy> Signal<T> {
    /// A value that was sampled at `at`.
    #[must_use]
    pub const fn seen(value: T, at: Timestamp) -> Self {
        Self::Seen { value, at }
    }

    /// The value, however old.
    #[must_use]
    pub const fn last(&self) -> Option<T> {
        match *self {
            Self::Missing => None,
            Self::Seen { value, .. } => Some(value),
        }
    }

    /// What the signal is worth at `now`.
    #[must_use]
    pub fn read(&self, now: Timestamp, freshness: &Freshness) -> Reading<T> {
        match *self {
            Self::Missing => Reading::Missing,
            Self::Seen { value, at } => {
                let age = now.since(at);
                if age > freshness.missing_after {
                    Reading::Missing
                } else if age > freshness.stale_after {
                    Reading::Stale { value, age }
                } else {
                    Reading::Fresh(value)
                }
            }
        }
    }
}

/// A signal, judged by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// Recent enough to act on.
    Fresh(T),
    /// Good enough to keep or raise a replica count, not to lower it.
    Stale {
        /// What was last reported.
        value: T,
        /// How long ago.
        age: Seconds,
    },
    /// Never reported, or so long ago that it says nothing.
    Missing,
}

impl<T> Reading<T> {
    /// The value, fresh or stale.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Fresh(value) | Self::Stale { value, .. } => Some(value),
            Self::Missing => None,
        }
    }

    /// Whether the value is recent enough to act on.
    pub const fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ages_from_fresh_to_stale_to_missing() {
        let freshness = Freshness::default();
        let signal = Signal::seen(7, Timestamp::from_seconds(100.0));
        let at = |seconds: f64| signal.read(Timestamp::from_seconds(seconds), &freshness);
        assert_eq!(at(160.0), Reading::Fresh(7));
        assert_eq!(at(161.0), Reading::Stale { value: 7, age: Seconds::new(61.0) });
        assert_eq!(at(401.0), Reading::Missing);
        // A sample from the future is a clock that differs, not an old sample.
        assert_eq!(at(99.0), Reading::Fresh(7));
        assert_eq!(Signal::<u32>::Missing.read(Timestamp::ZERO, &freshness), Reading::Missing);
    }
}
