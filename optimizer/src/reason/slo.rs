//! What the slo analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::VariantId;
use crate::slo::Slo;
use crate::units::{Fraction, MeanTokens, QueueLength, RequestRate, Seconds};

/// A link of the slo analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum SloReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
    /// Nobody names a latency target for the model.
    NoTargets,
    /// What has to be served.
    Demand {
        /// Requests per second.
        rate: RequestRate,
        /// From now until this much later.
        lead: Seconds,
    },
    /// More requests wait than the load explains.
    Backlog {
        /// How many more.
        excess: QueueLength,
        /// In what time they are to be served.
        within: Seconds,
    },
    /// What one replica of a variant sustains.
    Sustains {
        /// The variant.
        variant: VariantId,
        /// Requests per second.
        rate: RequestRate,
        /// What keeps it from being more: `ttft`, `tpot`, `kv cache`, `sequences` or `throughput`.
        limit: String,
    },
    /// A replica meets a target only when it is next to idle, or not even then, so it is sized for
    /// what it can meet.
    OutOfReach {
        /// The variant.
        variant: VariantId,
        /// The targets for which it is sized.
        reachable: Slo,
    },
    /// Too little is known of how long the steps of a variant take.
    Uncertain {
        /// The variant.
        variant: VariantId,
        /// The relative deviation of the belief.
        deviation: f64,
    },
    /// A replica of a variant serves nothing of what is asked: a prompt does not fit its cache, or
    /// its step takes no time.
    ServesNothing {
        /// The variant.
        variant: VariantId,
    },
    /// Replicas are slower than the belief says for this load, so the belief is wrong.
    Slower {
        /// The variant.
        variant: VariantId,
        /// The mean that they report, of the time to first token or between tokens.
        observed: Seconds,
        /// The mean that was expected.
        expected: Seconds,
    },
    /// Sequences hold more tokens than the lengths of completed requests explain, so outputs have
    /// become longer.
    LongerContexts {
        /// Tokens that a running sequence holds on average.
        observed: MeanTokens,
        /// What was expected.
        expected: MeanTokens,
    },
    /// How sure it is.
    Confidence {
        /// 1 is certain.
        confidence: Fraction,
    },
}

impl SloReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "slo-signal-missing",
            Self::NoTargets => "slo-no-targets",
            Self::Demand { .. } => "slo-demand",
            Self::Backlog { .. } => "slo-backlog",
            Self::Sustains { .. } => "slo-sustains",
            Self::OutOfReach { .. } => "slo-out-of-reach",
            Self::Uncertain { .. } => "slo-uncertain",
            Self::ServesNothing { .. } => "slo-serves-nothing",
            Self::Slower { .. } => "slo-slower",
            Self::LongerContexts { .. } => "slo-longer-contexts",
            Self::Confidence { .. } => "slo-confidence",
        }
    }
}

impl fmt::Display for SloReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignalMissing { signal } => write!(f, "slo: nothing reports {signal}"),
            Self::NoTargets => f.write_str("slo: nobody names a latency target"),
            Self::Demand { rate, lead } => write!(
                f,
                "slo: up to {:.2} requests/s until {:.0}s from now",
                rate.value(),
                lead.value()
            ),
            Self::Backlog { excess, within } => write!(
                f,
                "slo: a backlog of {:.0} requests, to be served within {:.0}s",
                excess.value(),
                within.value()
            ),
            Self::Sustains { variant, rate, limit } => write!(
                f,
                "slo: a replica of {variant} sustains {:.2} requests/s, limited by {limit}",
                rate.value()
            ),
            Self::OutOfReach { variant, reachable } => write!(
                f,
                "slo: a target is out of reach of {variant}, so it is sized for TTFT {:.3}s and TPOT \
                 {:.1}ms",
                reachable.ttft.value(),
                reachable.tpot.as_millis()
            ),
            Self::Uncertain { variant, deviation } => write!(
                f,
                "slo: the step time of {variant} is known to ±{:.0} % only",
                deviation * 100.0
            ),
            Self::ServesNothing { variant } => {
                write!(f, "slo: a replica of {variant} can serve nothing of this")
            }
            Self::Slower { variant, observed, expected } => write!(
                f,
                "slo: {variant} takes {:.1}ms where {:.1}ms were expected",
                observed.as_millis(),
                expected.as_millis()
            ),
            Self::LongerContexts { observed, expected } => write!(
                f,
                "slo: sequences hold {:.0} tokens where {:.0} were expected",
                observed.value(),
                expected.value()
            ),
            Self::Confidence { confidence } => {
                write!(f, "slo: confidence {:.2}", confidence.value())
            }
        }
    }
}
