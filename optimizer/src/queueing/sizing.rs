//! The largest load that meets targets.

use thiserror::Error;

use super::{Performance, Replica};
use crate::units::{Fraction, Replicas, RequestRate, Seconds};

/// The share of its maximum rate that llm-inferno leaves unused when a deployment has a throughput
/// target.
pub const THROUGHPUT_HEADROOM: Fraction = Fraction::new(0.1);

/// The share of µ(N) up to which a replica counts as stable.
const STABLE: f64 = 0.999;
/// The width at which the search stops, relative to the answer.
const TOLERANCE: f64 = 1e-12;
/// The same, relative to the maximum rate, for an answer of almost nothing.
const RESOLUTION: f64 = 1e-15;
/// How far above a whole number of replicas a ratio may be to count as that number.
const WHOLE: f64 = 1e-9;

/// What a replica has to hold. What is absent does not bind.
///
/// A throughput target binds the deployment, not the replica: it becomes the total rate of
/// [`Sizing::replicas_for`], with [`THROUGHPUT_HEADROOM`] left on each replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets {
    /// Mean time to first token, the wait included.
    pub ttft: Option<Seconds>,
    /// Mean time between output tokens.
    pub itl: Option<Seconds>,
    /// A percentile of the wait.
    pub wait: Option<WaitTarget>,
    /// The share of the maximum rate to leave unused.
    pub headroom: Fraction,
}

/// A share of the accepted requests that has to start service within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTarget {
    /// The share, such as 0.95; less than one.
    pub share: Fraction,
    /// The longest wait among them.
    pub within: Seconds,
}

/// The largest load of a replica that meets its targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizing {
    /// What the replica does at that arrival rate.
    pub performance: Performance,
}

impl Sizing {
    /// The largest arrival rate, λ*.
    pub fn arrival(&self) -> RequestRate {
        self.performance.steady.arrival
    }

    /// The replicas that serve `total` requests per second when each completes what this one does;
    /// `None` when no number of them would.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "only a number that fits is cast"
    )]
    pub fn replicas_for(&self, total: RequestRate) -> Option<Replicas> {
        let replicas = (total / self.performance.steady.throughput - WHOLE).ceil().max(0.0);
        (replicas <= f64::from(u32::MAX)).then(|| Replicas::new(replicas as u32))
    }
}

impl Replica {
    /// The rate up to which a replica counts as stable: 0.999·µ(N).
    pub fn max_rate(&self) -> RequestRate {
        self.chain().full_rate() * STABLE
    }

    /// The largest arrival rate that meets all targets, at most [`Self::max_rate`] less the
    /// headroom.
    ///
    /// The search halves the range until it is narrower than a relative 1e-12, or than 1e-15 of the
    /// maximum, and returns its lower end, which meets the targets. It assumes that more load never
    /// helps. This does not hold for the time between tokens with a batch of one, which falls
    /// slightly with the load; there llm-inferno refuses loose targets and accepts violated ones.
    /// Here the maximum rate is tried first and the answer is verified, so neither happens.
    ///
    /// # Errors
    ///
    /// When a target is missed even at no load, with the best that is reachable, and when all
    /// requests are to wait no longer than some time.
    pub fn size(&self, targets: &Targets) -> Result<Sizing, SizingError> {
        if targets.wait.is_some_and(|wait| wait.share == Fraction::ONE) {
            return Err(SizingError::EveryWait);
        }
        let sizing = |arrival| Sizing { performance: self.performance(arrival) };
        let most = self.max_rate() * (1.0 - targets.headroom.value());
        if self.meets(targets, most) {
            return Ok(sizing(most));
        }
        let idle = self.performance(RequestRate::ZERO);
        if let Some(target) = targets.ttft.filter(|target| idle.ttft > *target) {
            return Err(SizingError::Ttft { target, best: idle.ttft });
        }
        if let Some(target) = targets.itl.filter(|target| idle.itl > *target) {
            return Err(SizingError::Itl { target, best: idle.itl });
        }
        let (mut low, mut high) = (0.0, most.value());
        while high - low > (TOLERANCE * low).max(RESOLUTION * most.value()) {
            let middle = f64::midpoint(low, high);
            if self.meets(targets, RequestRate::new(middle)) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(sizing(RequestRate::new(low)))
    }

    fn meets(&self, targets: &Targets, arrival: RequestRate) -> bool {
        let performance = self.performance(arrival);
        let wait_is_met = |target: WaitTarget| {
            let longer = self.wait(arrival).longer_than(target.within);
            longer.value() <= 1.0 - target.share.value()
        };
        targets.ttft.is_none_or(|target| performance.ttft <= target)
            && targets.itl.is_none_or(|target| performance.itl <= target)
            && targets.wait.is_none_or(wait_is_met)
    }
}

/// No load meets the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SizingError {
    /// The first token comes too late even at no load.
    #[error("a mean time to first token of {target} is out of reach: without load it is {best}")]
    Ttft {
        /// What was asked for.
        target: Seconds,
        /// What is reachable.
        best: Seconds,
    },
    /// Tokens come too slowly even at no load.
    #[error("a mean time between tokens of {target} is out of reach: without load it is {best}")]
    Itl {
        /// What was asked for.
        target: Seconds,
        /// What is reachable.
        best: Seconds,
    },
    /// A wait has no upper bound.
    #[error("no wait is long enough for every request: ask for a share below 1")]
    EveryWait,
}
