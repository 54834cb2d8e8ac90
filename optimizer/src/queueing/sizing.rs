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
    /// A percentile of the time to first token: that of the wait, and on top of it the mean time
    /// from the start of service to the first token.
    pub ttft_tail: Option<TailTarget>,
    /// Mean time between output tokens.
    pub itl: Option<Seconds>,
    /// A percentile of the wait.
    pub wait: Option<TailTarget>,
    /// The share of the maximum rate to leave unused.
    pub headroom: Fraction,
}

/// A time within which a share of the accepted requests has to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailTarget {
    /// The share, such as 0.95; less than one.
    pub share: Fraction,
    /// The longest time among them.
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
    /// The search narrows the range until it is within a relative 1e-12, or 1e-15 of the maximum,
    /// and returns its lower end, which meets the targets. It assumes that more load never helps.
    /// This does not hold for the time between tokens with a batch of one, which falls slightly
    /// with the load; there llm-inferno refuses loose targets and accepts violated ones. Here the
    /// maximum rate is tried first and the answer is verified, so neither happens.
    ///
    /// # Errors
    ///
    /// When a target is missed even at no load, with the best that is reachable, and when all
    /// requests are to wait no longer than some time.
    pub fn size(&self, targets: &Targets) -> Result<Sizing, SizingError> {
        let tails = [targets.wait, targets.ttft_tail];
        if tails.iter().flatten().any(|tail| tail.share == Fraction::ONE) {
            return Err(SizingError::EveryWait);
        }
        let most = self.max_rate() * (1.0 - targets.headroom.value());
        let flooded = self.trial(targets, most);
        if flooded.is_met {
            return Ok(Sizing { performance: flooded.performance });
        }
        let idle = self.trial(targets, RequestRate::ZERO);
        let Performance { ttft, itl, .. } = idle.performance;
        if let Some(target) = targets.ttft.filter(|target| ttft > *target) {
            return Err(SizingError::Ttft { target, best: ttft });
        }
        if let Some(target) = targets.ttft_tail.filter(|target| ttft > target.within) {
            return Err(SizingError::TtftTail { target, best: ttft });
        }
        if let Some(target) = targets.itl.filter(|target| itl > *target) {
            return Err(SizingError::Itl { target, best: itl });
        }
        Ok(Sizing { performance: self.search(targets, idle, flooded) })
    }

    /// The last load between one that meets the targets and one that does not.
    ///
    /// The method is that of false position, with the modification of Anderson and Björck (BIT 13,
    /// 1973): an end that stays counts for less, so that the other one comes nearer too. Where two
    /// of its steps do not halve the bracket, as where S(n) jumps, the third does, so that it never
    /// takes more than three times as many steps as halving.
    fn search(&self, targets: &Targets, mut low: Trial, mut high: Trial) -> Performance {
        let finest = RESOLUTION * high.arrival();
        // The bracket as it was two steps ago, and how many steps have been taken since.
        let (mut before, mut steps) = (f64::INFINITY, 0);
        loop {
            let (left, right) = (low.arrival(), high.arrival());
            let (width, enough) = (right - left, (TOLERANCE * left).max(finest));
            if width <= enough {
                return low.performance;
            }
            let is_slow = steps == 2 && width > before / 2.0;
            if steps == 2 {
                (before, steps) = (if is_slow { width / 2.0 } else { width }, 0);
            }
            let next = if is_slow {
                f64::midpoint(left, right)
            } else {
                steps += 1;
                let crossing = left - low.excess * width / (high.excess - low.excess);
                // A step off the end closes the bracket once the answer is known well enough.
                crossing.max(left + enough / 2.0).min(right - enough / 2.0)
            };
            let trial = self.trial(targets, RequestRate::new(next));
            let (replaced, kept) =
                if trial.is_met { (&mut low, &mut high) } else { (&mut high, &mut low) };
            let factor = 1.0 - trial.excess / replaced.excess;
            kept.excess *= if factor > 0.0 { factor } else { 0.5 };
            *replaced = trial;
        }
    }

    fn trial(&self, targets: &Targets, arrival: RequestRate) -> Trial {
        let performance = self.performance(arrival);
        let mut trial = Trial { performance, is_met: true, excess: -Trial::BOUND };
        if let Some(target) = targets.ttft {
            trial.compare(performance.ttft.value(), target.value());
        }
        if let Some(target) = targets.itl {
            trial.compare(performance.itl.value(), target.value());
        }
        if targets.wait.is_none() && targets.ttft_tail.is_none() {
            return trial;
        }
        let wait = self.wait(arrival);
        if let Some(target) = targets.wait {
            let later = wait.longer_than(target.within).value();
            trial.compare(later, 1.0 - target.share.value());
        }
        if let Some(target) = targets.ttft_tail {
            let is_possible = performance.first_token <= target.within;
            let later = wait.longer_than(target.within - performance.first_token).value();
            trial.compare(if is_possible { later } else { 1.0 }, 1.0 - target.share.value());
        }
        trial
    }
}

/// A load that was tried.
#[derive(Debug, Clone, Copy)]
struct Trial {
    performance: Performance,
    is_met: bool,
    /// The logarithm of the worst ratio of what is to what should be, within bounds: above zero
    /// when a target is missed.
    excess: f64,
}

impl Trial {
    /// Beyond this, how far a target is missed says nothing about where it is met.
    const BOUND: f64 = 5.0;

    fn arrival(&self) -> f64 {
        self.performance.steady.arrival.value()
    }

    fn compare(&mut self, actual: f64, target: f64) {
        let excess = (actual / target).ln().clamp(-Self::BOUND, Self::BOUND);
        if actual <= target {
            self.excess = self.excess.max(excess.min(-f64::EPSILON));
        } else {
            self.is_met = false;
            self.excess = self.excess.max(excess.max(f64::EPSILON));
        }
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
    /// The first token comes too late even for a request that does not wait.
    #[error(
        "a time to first token of {} for a share of {} is out of reach: without load it is {best}",
        target.within, target.share
    )]
    TtftTail {
        /// What was asked for.
        target: TailTarget,
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
