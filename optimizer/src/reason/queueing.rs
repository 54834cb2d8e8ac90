//! What the queueing analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::VariantId;
use crate::units::{Factor, QueueLength, RequestRate, Seconds};

/// A link of the queueing analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum QueueingReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
    /// What is asked for.
    Demand {
        /// Requests that arrive.
        arrival: RequestRate,
        /// Requests that wait.
        waiting: QueueLength,
        /// The time in which those are to be served.
        drain: Seconds,
    },
    /// Nobody sets targets, and none are to be inferred.
    NoTargets,
    /// Nobody sets targets, so they follow from the costs of an iteration.
    TargetsInferred {
        /// Mean time to first token.
        ttft: Seconds,
        /// Mean time between tokens.
        itl: Seconds,
        /// The multiple of an iteration's overhead that they allow for.
        multiplier: Factor,
    },
    /// Nothing is known of how long a variant's iterations take.
    CostsUnknown {
        /// Which.
        variant: VariantId,
    },
    /// An observation moved the costs of a variant.
    CostsLearned {
        /// Which.
        variant: VariantId,
        /// How many of the three directions in which they can differ have been seen.
        seen: f64,
    },
    /// An observation was too far from what the costs of a variant predict.
    ObservationRejected {
        /// Which.
        variant: VariantId,
        /// The normalized innovation squared.
        surprise: f64,
        /// How many were rejected in a row.
        in_a_row: usize,
    },
    /// There is no queueing model of a replica.
    NoModel {
        /// Of which variant.
        variant: VariantId,
        /// Why.
        why: String,
    },
    /// A replica of a variant cannot keep a target under any load that is worth the name.
    OutOfReach {
        /// Which.
        variant: VariantId,
        /// The latency, `ttft` or `itl`.
        latency: String,
        /// What it should be.
        target: Seconds,
        /// What it is without load.
        best: Seconds,
    },
    /// What a replica of a variant can serve.
    Capacity {
        /// Which.
        variant: VariantId,
        /// Requests that it completes.
        rate: RequestRate,
        /// Their mean time to first token.
        ttft: Seconds,
        /// Their mean time between tokens.
        itl: Seconds,
    },
}

impl QueueingReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "queueing-signal-missing",
            Self::Demand { .. } => "queueing-demand",
            Self::NoTargets => "queueing-no-targets",
            Self::TargetsInferred { .. } => "queueing-targets-inferred",
            Self::CostsUnknown { .. } => "queueing-costs-unknown",
            Self::CostsLearned { .. } => "queueing-costs-learned",
            Self::ObservationRejected { .. } => "queueing-observation-rejected",
            Self::NoModel { .. } => "queueing-no-model",
            Self::OutOfReach { .. } => "queueing-out-of-reach",
            Self::Capacity { .. } => "queueing-capacity",
        }
    }
}

impl fmt::Display for QueueingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("queueing: ")?;
        match self {
            Self::SignalMissing { signal } => write!(f, "nothing reports {signal}"),
            Self::Demand { arrival, waiting, drain } => write!(
                f,
                "{:.2}/s arrive, and {:.1} wait, to be served within {drain}",
                arrival.value(),
                waiting.value()
            ),
            Self::NoTargets => f.write_str("nobody sets latency targets, and none are inferred"),
            Self::TargetsInferred { ttft, itl, multiplier } => write!(
                f,
                "nobody sets latency targets; {multiplier} times the overhead allows TTFT {}, ITL {}",
                Millis(*ttft),
                Millis(*itl)
            ),
            Self::CostsUnknown { variant } => {
                write!(f, "nothing tells how long an iteration of {variant} takes")
            }
            Self::CostsLearned { variant, seen } => {
                write!(f, "the costs of {variant} were observed in {seen:.1} of 3 directions")
            }
            Self::ObservationRejected { variant, surprise, in_a_row } => write!(
                f,
                "the latencies of {variant} are too far from the model's (NIS {surprise:.1}), \
                 {in_a_row} in a row"
            ),
            Self::NoModel { variant, why } => write!(f, "no model of {variant}: {why}"),
            Self::OutOfReach { variant, latency, target, best } => write!(
                f,
                "{variant} cannot keep {latency} {} under load: without any it is {}",
                Millis(*target),
                Millis(*best)
            ),
            Self::Capacity { variant, rate, ttft, itl } => write!(
                f,
                "a replica of {variant} serves {:.3}/s at TTFT {}, ITL {}",
                rate.value(),
                Millis(*ttft),
                Millis(*itl)
            ),
        }
    }
}

/// A latency, to a tenth of a millisecond.
struct Millis(Seconds);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}ms", self.0.as_millis())
    }
}
