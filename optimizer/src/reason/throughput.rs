//! What the throughput analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::VariantId;
use crate::observation::Role;
use crate::units::{Fraction, RequestRate, Seconds, TokenRate};

/// A link of the throughput analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum ThroughputReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
    /// Requests complete although none is said to arrive, so no replica count may be lowered.
    ArrivalsContradicted {
        /// Requests that complete.
        completions: RequestRate,
    },
    /// It knows nothing of the part of a request that a role serves.
    NoModel {
        /// The role.
        role: Role,
    },
    /// Too little was seen of a variant to draw its line.
    NotReady {
        /// The variant.
        variant: VariantId,
        /// Points that were seen.
        points: usize,
        /// The range of KV usage over which they spread.
        spread: Fraction,
    },
    /// A variant generates more or fewer tokens than its line says.
    LineMissed {
        /// The variant.
        variant: VariantId,
        /// What the line says.
        predicted: TokenRate,
        /// What was seen.
        observed: TokenRate,
        /// For how many steps in a row.
        misses: u32,
    },
    /// What one engine of a variant generates when it is full, and how that is known.
    Capacity {
        /// The variant.
        variant: VariantId,
        /// Generated tokens.
        rate: TokenRate,
        /// Time between tokens then.
        itl: Seconds,
        /// How that is known.
        basis: LineBasis,
    },
    /// The tokens that a role has to generate.
    Demand {
        /// The role.
        role: Role,
        /// How many.
        rate: TokenRate,
    },
}

/// How a variant's line of ITL over KV usage is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineBasis {
    /// Slope and intercept are fitted to many points.
    Fitted,
    /// The slope is fitted to a few points, and the intercept is known otherwise.
    Pinned,
    /// It is not, but what it gave some time ago is.
    Remembered,
}

impl ThroughputReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "throughput-signal-missing",
            Self::ArrivalsContradicted { .. } => "throughput-arrivals-contradicted",
            Self::NoModel { .. } => "throughput-no-model",
            Self::NotReady { .. } => "throughput-not-ready",
            Self::LineMissed { .. } => "throughput-line-missed",
            Self::Capacity { .. } => "throughput-capacity",
            Self::Demand { .. } => "throughput-demand",
        }
    }
}

impl fmt::Display for ThroughputReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignalMissing { signal } => write!(f, "throughput: nothing reports {signal}"),
            Self::ArrivalsContradicted { completions } => write!(
                f,
                "throughput: none arrives, but {completions} complete, so none is removed"
            ),
            Self::NoModel { role } => write!(f, "throughput: no opinion on {role}"),
            Self::NotReady { variant, points, spread } => write!(
                f,
                "throughput: {points} points of {variant} over {:.2} of its KV usage are too few",
                spread.value()
            ),
            Self::LineMissed { variant, predicted, observed, misses } => write!(
                f,
                "throughput: {variant} generates {observed} instead of {predicted}, \
                 {misses} times in a row"
            ),
            Self::Capacity { variant, rate, itl, basis } => write!(
                f,
                "throughput: an engine of {variant} generates {rate} when full, with {:.1}ms between tokens \
                 ({basis})",
                itl.as_millis()
            ),
            Self::Demand { role, rate } => {
                write!(f, "throughput: {rate} are asked of the role {role}")
            }
        }
    }
}

impl fmt::Display for LineBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fitted => "fitted",
            Self::Pinned => "fitted to a few points",
            Self::Remembered => "remembered",
        })
    }
}
