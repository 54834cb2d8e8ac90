//! Who gets the GPUs that are free.

use super::{Limits, Pool};
use crate::decision::LimitsReason;
use crate::observation::VariantObservation;
use crate::units::{Gpus, Replicas};

/// What a variant should have, and how much that matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// The replicas that it should have; its bounds go before.
    pub wanted: Replicas,
    /// The model's priority: the highest goes first. 1 is ordinary.
    pub priority: f64,
    /// How well the model does without: the least goes first. It is a share of something, such as
    /// spare KV or the part of the need that is covered; the same for all asks of a step.
    pub slack: f64,
}

/// What all get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// One for each variant, in the order of the limits' variants.
    pub variants: Vec<Grant>,
    /// What is left in each pool, in their order.
    pub left: Vec<Gpus>,
}

/// What one variant gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The replicas that it may have.
    pub replicas: Replicas,
    /// What there were too few GPUs of, for what was wanted or for the minimum.
    pub limited: Option<LimitsReason>,
}

impl Limits<'_> {
    /// Hands out the free GPUs. The asks are in the order of the variants; a variant without one
    /// asks for what it has.
    ///
    /// The minima come first, then what is wanted, both in the order of priority, slack, cost, and
    /// name. Each takes as many whole replicas as fit, and leaves the rest to those after it. A
    /// minimum stands even where it does not fit: its replicas wait for GPUs, which nobody else
    /// gets before them. Nobody loses a replica for want of GPUs, and what is given back in this
    /// step is not free yet.
    ///
    /// More GPUs may give somebody less: they let a large replica in that went without, at the cost
    /// of small ones that come after it. What holds is that of the variants whose grant differs, the
    /// first gets more.
    #[must_use]
    pub fn grant(&self, asks: &[Ask]) -> Grants {
        let mut claims: Vec<Claim<'_>> =
            (0..self.variants.len()).map(|idx| Claim::new(self, idx, asks.get(idx))).collect();
        let mut order: Vec<usize> = (0..claims.len()).collect();
        order.sort_by(|&a, &b| claims[a].precedence(&claims[b]));

        let mut free: Vec<Gpus> = self.pools.iter().map(Pool::free).collect();
        for &idx in &order {
            claims[idx].take_minimum(&self.pools, &mut free);
        }
        for &idx in &order {
            claims[idx].take_wanted(&self.pools, &mut free);
        }
        Grants { variants: claims.into_iter().map(Claim::settle).collect(), left: free }
    }
}

/// The GPUs of so many replicas of a variant.
pub(super) fn gpus(variant: &VariantObservation, replicas: Replicas) -> Gpus {
    Gpus::new(per_replica(variant).saturating_mul(replicas.get()))
}

/// The GPUs of one replica. A variant for which nobody counts them has one, or it would be free.
fn per_replica(variant: &VariantObservation) -> u32 {
    variant.gpus_per_replica.get().max(1)
}

/// An ask on its way to a grant.
struct Claim<'a> {
    limits: &'a Limits<'a>,
    idx: usize,
    ask: Ask,
    /// What it has got so far.
    granted: Replicas,
    limited: Option<LimitsReason>,
}

impl<'a> Claim<'a> {
    fn new(limits: &'a Limits<'_>, idx: usize, ask: Option<&Ask>) -> Self {
        let variant = limits.variants[idx].variant;
        let current = variant.current;
        let ask = ask.copied().unwrap_or(Ask { wanted: current, priority: 1.0, slack: 0.0 });
        let ask = Ask { wanted: variant.bounds.clamp(ask.wanted), ..ask };
        Self { limits, idx, ask, granted: current.min(ask.wanted), limited: None }
    }

    fn variant(&self) -> &VariantObservation {
        self.limits.variants[self.idx].variant
    }

    fn precedence(&self, other: &Self) -> std::cmp::Ordering {
        // Adding zero makes one zero of the two.
        let by_number = |a: f64, b: f64| (a + 0.0).total_cmp(&(b + 0.0));
        let name = |claim: &Self| {
            let placed = claim.limits.variants[claim.idx];
            (placed.variant.cost, placed.namespace, &placed.variant.variant, claim.idx)
        };
        by_number(other.ask.priority, self.ask.priority)
            .then(by_number(self.ask.slack, other.ask.slack))
            .then_with(|| name(self).cmp(&name(other)))
    }

    fn take_minimum(&mut self, pools: &[Pool], free: &mut [Gpus]) {
        // `wanted` lies inside the bounds, so this is the minimum or, below it, the maximum.
        let least = self.variant().bounds.min.min(self.ask.wanted);
        let missing = least - self.granted;
        if missing == Replicas::ZERO {
            return;
        }
        if self.fitting(free) < missing {
            self.limited = Some(self.reason(least, pools, free));
        }
        self.take(missing, free);
    }

    fn take_wanted(&mut self, pools: &[Pool], free: &mut [Gpus]) {
        let missing = self.ask.wanted - self.granted;
        let fitting = self.fitting(free);
        if fitting < missing {
            let granted = self.granted + fitting;
            self.limited = Some(self.reason(granted, pools, free));
        }
        self.take(missing.min(fitting), free);
    }

    /// How many more replicas fit into what is free.
    fn fitting(&self, free: &[Gpus]) -> Replicas {
        let draw = &self.limits.draws[self.idx];
        if draw.denied.is_some() {
            return Replicas::ZERO;
        }
        let least = draw.pools.iter().map(|&pool| free[pool].get()).min();
        Replicas::new(least.map_or(u32::MAX, |least| least / per_replica(self.variant())))
    }

    fn take(&mut self, replicas: Replicas, free: &mut [Gpus]) {
        let taken = gpus(self.variant(), replicas);
        for &pool in &self.limits.draws[self.idx].pools {
            free[pool] = free[pool] - taken;
        }
        self.granted += replicas;
    }

    /// Why it gets no more than `granted`: of its pools the one with the least left, and of two the
    /// first.
    fn reason(&self, granted: Replicas, pools: &[Pool], free: &[Gpus]) -> LimitsReason {
        let draw = &self.limits.draws[self.idx];
        if let Some(denied) = &draw.denied {
            return denied.clone();
        }
        let tightest = draw.pools.iter().min_by_key(|&&pool| free[pool]);
        let source = tightest.map(|&pool| &pools[pool].source);
        LimitsReason::GpusLimited {
            wanted: self.ask.wanted,
            granted,
            quota: source.and_then(|source| source.quota()).map(str::to_owned),
            accelerator: source.map_or_else(
                || self.variant().accelerator.to_string(),
                super::PoolSource::accelerator,
            ),
        }
    }

    fn settle(self) -> Grant {
        Grant { replicas: self.granted, limited: self.limited }
    }
}
