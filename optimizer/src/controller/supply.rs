//! The GPUs that a step may use.

use super::draft::Draft;
use super::plan::Plan;
use crate::limits::zero::{Sleeper, apply, usage};
use crate::limits::{Ask, Grant, Limits, Placed};
use crate::observation::FleetObservation;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::solver::{Budget, PoolIdx};
use crate::units::{Replicas, Timestamp};

/// The limits on all variants, addressed by draft and variant.
#[derive(Debug)]
pub(super) struct Supply<'a> {
    limits: Limits<'a>,
    /// Where the variants of each draft begin among those of the limits.
    first: Vec<usize>,
}

impl<'a> Supply<'a> {
    pub(super) fn new(observation: &FleetObservation, drafts: &[Draft<'a>]) -> Self {
        let mut placed = Vec::new();
        let mut first = Vec::with_capacity(drafts.len());
        for draft in drafts {
            first.push(placed.len());
            let namespace = draft.of.namespace;
            placed.extend(draft.of.variants.iter().map(|&variant| Placed { namespace, variant }));
        }
        Self { limits: Limits::new(observation.inventory.as_ref(), placed), first }
    }

    /// What the variants may hold together, pool by pool. The last pool is empty: what is denied
    /// draws from it.
    pub(super) fn budgets(&self) -> Vec<Budget> {
        let pools = self.limits.pools().iter().map(|pool| Budget(pool.budget()));
        pools.chain(std::iter::once(Budget(crate::units::Gpus::ZERO))).collect()
    }

    /// The pools of a variant.
    pub(super) fn pools(&self, draft: usize, variant: usize) -> Vec<PoolIdx> {
        let draw = &self.limits.draws()[self.first[draft] + variant];
        if draw.denied.is_some() {
            return vec![PoolIdx(self.limits.pools().len())];
        }
        draw.pools.iter().copied().map(PoolIdx).collect()
    }

    /// Applies the rules at zero to the plans of a draft.
    pub(super) fn zero(
        &self,
        now: Timestamp,
        idx: usize,
        draft: &Draft<'_>,
        plans: &mut [Plan],
        policy: &Policy,
    ) {
        let model = &draft.of;
        let sleepers: Vec<Sleeper<'_>> = model
            .variants
            .iter()
            .zip(plans.iter())
            .enumerate()
            .map(|(variant, (observed, plan))| Sleeper {
                variant: &observed.variant,
                role: observed.role,
                cost: observed.cost,
                bounds: observed.bounds,
                target: plan.target,
                startable: self
                    .limits
                    .free(self.first[idx] + variant)
                    .is_none_or(|free| free >= observed.gpus_per_replica),
            })
            .collect();
        let rule = policy.scale_to_zero.rule(model.name, model.namespace);
        let usage = usage(now, model.demand, &model.variants, &policy.signals);
        let outcome = apply(rule, usage, &sleepers);
        let Some(reason) = outcome.reason else { return };
        for (plan, target) in plans.iter_mut().zip(outcome.targets) {
            plan.target = target;
            plan.reasons.push(Reason::Zero(reason));
        }
    }

    /// What each variant gets of what it is to have, in the order of the drafts.
    pub(super) fn grant<'w>(&self, wishes: impl Iterator<Item = &'w Wish>) -> Vec<Grant> {
        let asks: Vec<Ask> = wishes
            .map(|wish| Ask { wanted: wish.desired, priority: wish.priority, slack: wish.slack })
            .collect();
        self.limits.grant(&asks).variants
    }
}

/// What a variant is to have, as far as pace goes.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) desired: Replicas,
    pub(super) priority: f64,
    /// How well its role does without.
    pub(super) slack: f64,
    pub(super) trail: Vec<Reason>,
}
