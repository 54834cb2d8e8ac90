//! What the rules at zero replicas did to a decision.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{QueueLength, Seconds};

/// A link of the trail that tells of going to zero, and of coming back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum ZeroReason {
    /// The model may go to zero, and nobody used it for long enough.
    IdleToZero {
        /// How long "long enough" is.
        retention: Seconds,
    },
    /// The model may not go to zero, so one way of serving it stays.
    KeptAwake,
    /// Requests wait for a model that would have no replica.
    WokenByQueue {
        /// How many.
        queue: QueueLength,
    },
}

impl ZeroReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::IdleToZero { .. } => "idle-to-zero",
            Self::KeptAwake => "kept-awake",
            Self::WokenByQueue { .. } => "woken-by-queue",
        }
    }
}

impl fmt::Display for ZeroReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdleToZero { retention } => write!(f, "no request in {retention}, so none stays"),
            Self::KeptAwake => f.write_str("the cheapest stays: the model may not go to zero"),
            Self::WokenByQueue { queue } => {
                write!(f, "the cheapest starts: no replica, and {queue} waiting")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn each_finding_is_a_sentence_and_survives_its_file() {
        for (reason, name, sentence) in [
            (
                ZeroReason::IdleToZero { retention: Seconds::from_minutes(10.0) },
                "idle-to-zero",
                "no request in 10m, so none stays",
            ),
            (
                ZeroReason::KeptAwake,
                "kept-awake",
                "the cheapest stays: the model may not go to zero",
            ),
            (
                ZeroReason::WokenByQueue { queue: QueueLength::new(3.0) },
                "woken-by-queue",
                "the cheapest starts: no replica, and 3 waiting",
            ),
        ] {
            let reason = Reason::Zero(reason);
            assert_eq!((reason.as_str(), reason.to_string().as_str()), (name, sentence));
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), reason);
        }
    }
}
