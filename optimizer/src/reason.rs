//! Why: the links of the trail from signals to a replica count.

mod limits;
mod queueing;
mod slo;
mod throughput;
mod tokens;
mod vote;
mod zero;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use limits::LimitsReason;
pub use queueing::QueueingReason;
pub use slo::SloReason;
pub use throughput::{LineBasis, ThroughputReason};
pub use tokens::{CapacityBasis, RateBasis, TokensReason};
pub use vote::{Abstention, Veto, VoteReason};
pub use zero::ZeroReason;

use crate::id::VariantId;
use crate::observation::Bounds;
use crate::units::{Fraction, HourlyCost, QueueLength, Replicas, Seconds};

/// What a decision does to a replica count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
    /// As many as there are.
    NoChange,
}

impl Action {
    /// The action that leads from `current` to `desired`.
    #[must_use]
    pub fn between(current: Replicas, desired: Replicas) -> Self {
        match desired.cmp(&current) {
            std::cmp::Ordering::Greater => Self::ScaleUp,
            std::cmp::Ordering::Less => Self::ScaleDown,
            std::cmp::Ordering::Equal => Self::NoChange,
        }
    }

    /// The name for logs, labels and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScaleUp => "scale-up",
            Self::ScaleDown => "scale-down",
            Self::NoChange => "no-change",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A direction in which a replica count may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// One link of the trail from signals to a replica count.
///
/// [`Reason::as_str`] is the stable name for logs, metric labels and files; `Display` is a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    // What was seen.
    /// The replicas of the model and their state, over all variants.
    Observed {
        /// Replicas that report.
        reporting: usize,
        /// Of those, replicas at or above a threshold.
        saturated: usize,
        /// Of those, replicas without a usable signal.
        unknown: usize,
    },
    /// No replica of the model reports: the analyzer has no opinion.
    NothingReported,
    /// No replica has a usable signal: the analyzer has no opinion.
    SignalsMissing,
    /// Some replicas lack a signal, so no replica count may be lowered.
    SignalsIncomplete {
        /// How many replicas.
        replicas: usize,
    },
    /// Signals are too old to lower a replica count.
    SignalsStale {
        /// The age of the oldest one in use.
        age: Seconds,
    },
    /// Ready replicas do not report, or removed ones still do: part of the load is unknown.
    SilentReplicas {
        /// Replicas that take requests.
        ready: Replicas,
        /// Replicas that report.
        reporting: Replicas,
    },

    // What the saturation analyzer concluded.
    /// Every replica whose state is known is saturated.
    AllSaturated {
        /// How many.
        replicas: usize,
    },
    /// The mean over all replicas whose state is known is at or above a threshold, although the
    /// unsaturated ones may have enough to spare.
    MeanSaturated {
        /// Mean KV usage.
        kv: Fraction,
        /// Mean queue.
        queue: QueueLength,
    },
    /// The mean spare KV share of the unsaturated replicas is below its trigger.
    KvSpareLow {
        /// What is spare, as a share of the cache.
        spare: f64,
        /// What should be.
        trigger: Fraction,
    },
    /// The mean spare queue of the unsaturated replicas is below its trigger.
    QueueSpareLow {
        /// What is spare, in requests.
        spare: f64,
        /// What should be.
        trigger: QueueLength,
    },
    /// One replica fewer would still leave enough spare capacity.
    RemovalSafe {
        /// Spare KV share after the removal; negative when it would be beyond the threshold.
        kv_spare: f64,
        /// Spare queue after the removal.
        queue_spare: f64,
    },
    /// One replica fewer would leave too little spare capacity.
    RemovalUnsafe {
        /// Spare KV share after the removal; negative when it would be beyond the threshold.
        kv_spare: f64,
        /// Spare queue after the removal.
        queue_spare: f64,
    },
    /// Fewer than two unsaturated replicas: none can go.
    TooFewToShrink {
        /// How many are unsaturated.
        unsaturated: usize,
    },

    // What the other analyzers concluded.
    /// Of the tokens analyzer.
    Tokens(TokensReason),
    /// Of the throughput analyzer.
    Throughput(ThroughputReason),
    /// Of the queueing analyzer.
    Queueing(QueueingReason),
    /// Of the slo analyzer.
    Slo(SloReason),

    // What their votes came to.
    /// See there.
    Vote(VoteReason),

    // Which variant moves.
    /// The cheapest variant that can grow.
    CheapestToGrow {
        /// Its cost.
        cost: HourlyCost,
    },
    /// The most expensive variant that can shrink.
    DearestToShrink {
        /// Its cost.
        cost: HourlyCost,
    },
    /// Another variant of the model moves, in this step or since an earlier one.
    OtherVariantMoves {
        /// Which.
        variant: VariantId,
    },
    /// New replicas are not ready yet: their variant does not grow further, and no variant of the
    /// model shrinks.
    AwaitingReady {
        /// How many are pending.
        pending: Replicas,
    },
    /// An earlier decision is still being carried out, so it stands.
    InTransition {
        /// What was decided.
        desired: Replicas,
        /// For how long it has been on its way.
        elapsed: Seconds,
    },
    /// An earlier decision was not carried out in time and no longer counts.
    TransitionTimedOut {
        /// What was decided.
        desired: Replicas,
        /// For how long it was on its way.
        elapsed: Seconds,
    },

    // What held the move back.
    /// The move has not been recommended for long enough.
    Stabilizing {
        /// Of the move.
        direction: Direction,
        /// What is recommended now.
        recommended: Replicas,
        /// The most cautious recommendation in the window.
        kept: Replicas,
        /// The window.
        window: Seconds,
    },
    /// The variant moved in this direction a short time ago.
    CoolingDown {
        /// Of the move.
        direction: Direction,
        /// How much longer it has to wait.
        remaining: Seconds,
    },
    /// The move was larger than one step may be.
    StepLimited {
        /// Of the move.
        direction: Direction,
        /// What was wanted.
        wanted: Replicas,
        /// The most that may move at once.
        max_step: Replicas,
    },
    /// Limits on GPUs.
    Limits(LimitsReason),
    /// The rules at zero replicas.
    Zero(ZeroReason),
    /// The count may not fall below this.
    AtMinimum {
        /// The bound.
        min: Replicas,
    },
    /// The count may not rise above this.
    AtMaximum {
        /// The bound.
        max: Replicas,
    },
}

impl Reason {
    /// The bound that changes `count`; `None` when it lies inside the bounds.
    pub(crate) fn bound(bounds: Bounds, count: Replicas) -> Option<Self> {
        match Action::between(count, bounds.clamp(count)) {
            Action::NoChange => None,
            Action::ScaleUp => Some(Self::AtMinimum { min: bounds.min }),
            Action::ScaleDown => bounds.max.map(|max| Self::AtMaximum { max }),
        }
    }

    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Observed { .. } => "observed",
            Self::NothingReported => "nothing-reported",
            Self::SignalsMissing => "signals-missing",
            Self::SignalsIncomplete { .. } => "signals-incomplete",
            Self::SignalsStale { .. } => "signals-stale",
            Self::SilentReplicas { .. } => "silent-replicas",
            Self::AllSaturated { .. } => "all-saturated",
            Self::MeanSaturated { .. } => "mean-saturated",
            Self::KvSpareLow { .. } => "kv-spare-low",
            Self::QueueSpareLow { .. } => "queue-spare-low",
            Self::RemovalSafe { .. } => "removal-safe",
            Self::RemovalUnsafe { .. } => "removal-unsafe",
            Self::TooFewToShrink { .. } => "too-few-to-shrink",
            Self::Tokens(reason) => reason.as_str(),
            Self::Throughput(reason) => reason.as_str(),
            Self::Queueing(reason) => reason.as_str(),
            Self::Slo(reason) => reason.as_str(),
            Self::Vote(reason) => reason.as_str(),
            Self::CheapestToGrow { .. } => "cheapest-to-grow",
            Self::DearestToShrink { .. } => "dearest-to-shrink",
            Self::OtherVariantMoves { .. } => "other-variant-moves",
            Self::AwaitingReady { .. } => "awaiting-ready",
            Self::InTransition { .. } => "in-transition",
            Self::TransitionTimedOut { .. } => "transition-timed-out",
            Self::Stabilizing { .. } => "stabilizing",
            Self::CoolingDown { .. } => "cooling-down",
            Self::StepLimited { .. } => "step-limited",
            Self::Limits(reason) => reason.as_str(),
            Self::Zero(reason) => reason.as_str(),
            Self::AtMinimum { .. } => "at-minimum",
            Self::AtMaximum { .. } => "at-maximum",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observed { reporting, saturated, unknown: 0 } => {
                write!(f, "signals from {}, {saturated} saturated", Count(*reporting))
            }
            Self::Observed { reporting, saturated, unknown } => write!(
                f,
                "signals from {}, {saturated} saturated, {unknown} unknown",
                Count(*reporting)
            ),
            Self::NothingReported => f.write_str("no replica reports"),
            Self::SignalsMissing => f.write_str("no replica has a usable signal"),
            Self::SignalsIncomplete { replicas } => {
                write!(f, "incomplete signals from {}, so none is removed", Count(*replicas))
            }
            Self::SignalsStale { age } => {
                write!(f, "signals are {:.0}s old, too old to remove a replica", age.value())
            }
            Self::SilentReplicas { ready, reporting } => {
                write!(f, "of {ready} ready replicas {reporting} report")
            }
            Self::AllSaturated { replicas } => {
                write!(f, "no spare capacity: {}, all saturated", Count(*replicas))
            }
            Self::MeanSaturated { kv, queue } => write!(
                f,
                "the mean over all replicas is saturated: KV {:.2}, queue {:.1}",
                kv.value(),
                queue.value()
            ),
            Self::KvSpareLow { spare, trigger } => {
                write!(f, "spare KV {spare:.3} is below {trigger}")
            }
            Self::QueueSpareLow { spare, trigger } => {
                write!(f, "spare queue {spare:.2} is below {trigger}")
            }
            Self::RemovalSafe { kv_spare, queue_spare } => write!(
                f,
                "one replica fewer would leave KV {kv_spare:.3} and queue {queue_spare:.2} spare, enough"
            ),
            Self::RemovalUnsafe { kv_spare, queue_spare } => write!(
                f,
                "one replica fewer would leave KV {kv_spare:.3} and queue {queue_spare:.2} spare, too little"
            ),
            Self::TooFewToShrink { unsaturated } => {
                write!(f, "{unsaturated} unsaturated, too few to remove one")
            }
            Self::Tokens(reason) => reason.fmt(f),
            Self::Throughput(reason) => reason.fmt(f),
            Self::Queueing(reason) => reason.fmt(f),
            Self::Slo(reason) => reason.fmt(f),
            Self::Vote(reason) => reason.fmt(f),
            Self::CheapestToGrow { cost } => write!(f, "cheapest variant that can grow ({cost})"),
            Self::DearestToShrink { cost } => write!(f, "dearest variant that can shrink ({cost})"),
            Self::OtherVariantMoves { variant } => write!(f, "{variant} moves instead"),
            Self::AwaitingReady { pending } => {
                write!(f, "waiting for new replicas to become ready ({pending})")
            }
            Self::InTransition { desired, elapsed } => {
                write!(f, "still moving to {desired}, for {:.0}s so far", elapsed.value())
            }
            Self::TransitionTimedOut { desired, elapsed } => {
                write!(f, "gave up on {desired}, not reached in {:.0}s", elapsed.value())
            }
            Self::Stabilizing { direction, recommended, kept, window } => write!(
                f,
                "scaling {direction} to {recommended} waits: {kept} was recommended within {window}"
            ),
            Self::CoolingDown { direction, remaining } => {
                write!(f, "scaled {direction} a short time ago, {:.0}s to wait", remaining.value())
            }
            Self::StepLimited { direction, wanted, max_step } => {
                write!(f, "scaling {direction} to {wanted} is limited to {max_step} at once")
            }
            Self::Limits(reason) => reason.fmt(f),
            Self::Zero(reason) => reason.fmt(f),
            Self::AtMinimum { min } => write!(f, "no fewer than {min}"),
            Self::AtMaximum { max } => write!(f, "no more than {max}"),
        }
    }
}

/// A number of replicas with its noun.
struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 replica"),
            count => write!(f, "{count} replicas"),
        }
    }
}
