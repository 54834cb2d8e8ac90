//! What the slo analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A link of the slo analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum SloReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
}

impl SloReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "slo-signal-missing",
        }
    }
}

impl fmt::Display for SloReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignalMissing { signal } => write!(f, "slo: nothing reports {signal}"),
        }
    }
}
