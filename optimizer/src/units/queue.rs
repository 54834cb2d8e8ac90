//! Queue lengths.

use std::fmt;

use super::{quantity, written_as_number};

quantity! {
    /// A number of waiting requests. Fractional, because it may be a mean over replicas or time.
    QueueLength, "requests"
}

written_as_number!(QueueLength, "a queue length, a number that is not negative", None);

impl fmt::Display for QueueLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
