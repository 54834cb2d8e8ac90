//! From what all models need to a target for every variant.
//!
//! Roles are groups of one allocation problem. First all groups that lack something grow, at once,
//! because they draw from the same GPUs. Then those that lack nothing let go what they can. No group
//! does both in one step: what is dearer than need be goes once what is cheaper is ready.

mod role;

use role::RoleOf;

use super::draft::{Draft, Way};
use super::supply::Supply;
use crate::decision::Margins;
use crate::reason::{Reason, VoteReason};
use crate::solver::{Group, Problem, grow, shrink};
use crate::units::Replicas;
use crate::vote::arbitrate;

/// Where a variant should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// Where it starts.
    pub(super) start: Replicas,
    /// Where it should be.
    pub(super) target: Replicas,
    /// Why.
    pub(super) reasons: Vec<Reason>,
    pub(super) margins: Option<Margins>,
    /// How well the role does without: the share of its need that is covered, or the spare KV cache
    /// where thresholds decide.
    pub(super) slack: f64,
}

/// A plan for each variant of each draft, in their order.
pub(super) fn plan(drafts: &[Draft<'_>], supply: &Supply<'_>) -> Vec<Vec<Plan>> {
    let mut plans: Vec<Vec<Plan>> = drafts.iter().map(Draft::stay).collect();
    let roles: Vec<RoleOf<'_, '_>> = drafts
        .iter()
        .enumerate()
        .flat_map(|(idx, draft)| RoleOf::all(idx, draft, supply))
        .collect();

    let growing = problem(&roles, supply, |_, role| role.as_it_is());
    let grown = grow(&growing).allocation.counts;
    let mut releasing = Vec::with_capacity(roles.len());
    for (role, counts) in roles.iter().zip(&grown) {
        let plans = &mut plans[role.draft];
        releasing.push(!role.grow(counts, plans) && role.may_shrink(plans));
    }
    if releasing.contains(&true) {
        // The others are there too, because what one role lets go depends on its partner.
        let shrinking = problem(&roles, supply, |idx, role| {
            if releasing[idx] { role.to_release() } else { role.fixed(&grown[idx]) }
        });
        let shrunk = shrink(&shrinking, false).counts;
        for ((role, counts), _) in
            roles.iter().zip(&shrunk).zip(&releasing).filter(|(_, may)| **may)
        {
            role.shrink(counts, &mut plans[role.draft]);
        }
    }
    for role in &roles {
        role.tell_margins(&mut plans[role.draft]);
    }
    for (draft, plans) in drafts.iter().zip(&mut plans) {
        draft.arbitrate(plans);
    }
    plans
}

fn problem<'d, 'o>(
    roles: &[RoleOf<'d, 'o>],
    supply: &Supply<'_>,
    group: impl Fn(usize, &RoleOf<'d, 'o>) -> Group,
) -> Problem {
    let groups = roles.iter().enumerate().map(|(idx, role)| group(idx, role)).collect();
    Problem { groups, pools: supply.budgets(), ..Problem::default() }
}

impl Draft<'_> {
    /// Where its variants are, or where thresholds want them.
    fn stay(&self) -> Vec<Plan> {
        let by_thresholds = match &self.way {
            Way::Thresholds(thresholds) => Some(&thresholds.targets),
            Way::Votes(_) | Way::Arbitration(..) => None,
        };
        let plan = |(idx, candidate): (usize, &crate::analyzers::saturation::Candidate<'_>)| {
            let start = candidate.start();
            let target = by_thresholds.and_then(|targets| targets.get(idx));
            let bound = || Reason::bound(candidate.observed.bounds, candidate.observed.current);
            Plan {
                start,
                target: target.map_or(start, |target| target.replicas),
                reasons: target
                    .map_or_else(|| bound().into_iter().collect(), |target| target.reasons.clone()),
                margins: None,
                slack: self.slack(candidate.observed.role),
            }
        };
        self.candidates.iter().enumerate().map(plan).collect()
    }

    /// Lets thresholds stop what a model decided, where the policy asks for that.
    fn arbitrate(&self, plans: &mut [Plan]) {
        let Way::Arbitration(_, thresholds) = &self.way else { return };
        let targets = self.candidates.iter().zip(&thresholds.targets);
        for (plan, (candidate, wanted)) in plans.iter_mut().zip(targets) {
            let is_safe = thresholds.shrinking_is_safe(candidate.observed.role);
            let (saturation, model) = (wanted.replicas, plan.target);
            let outcome = arbitrate(saturation, model, plan.start, is_safe);
            plan.target = candidate.observed.bounds.clamp(outcome.target);
            let safety_override = outcome.safety_override;
            let reason = VoteReason::Arbitrated { saturation, model, safety_override };
            plan.reasons.push(Reason::Vote(reason));
        }
    }
}
