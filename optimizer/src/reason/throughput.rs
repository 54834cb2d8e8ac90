//! What the throughput analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A link of the throughput analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum ThroughputReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
}

impl ThroughputReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "throughput-signal-missing",
        }
    }
}

impl fmt::Display for ThroughputReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignalMissing { signal } => write!(f, "throughput: nothing reports {signal}"),
        }
    }
}
