//! What the queueing analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A link of the queueing analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum QueueingReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
}

impl QueueingReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "queueing-signal-missing",
        }
    }
}

impl fmt::Display for QueueingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignalMissing { signal } => write!(f, "queueing: nothing reports {signal}"),
        }
    }
}
