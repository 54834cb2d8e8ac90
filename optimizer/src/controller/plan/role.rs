//! One role of one model, as a group of an allocation problem.

use super::Plan;
use crate::analyzers::saturation::Candidate;
use crate::controller::draft::{Draft, Way};
use crate::controller::supply::Supply;
use crate::decision::Margins;
use crate::observation::Role;
use crate::policy::AnalyzerName;
use crate::reason::{Reason, VoteReason};
use crate::solver::{Group, GroupOption, PoolIdx};
use crate::units::{Replicas, Weight};
use crate::vote::{Ballot, Need};

/// A coverage this little below 1 is rounding.
const ROUNDING: f64 = 1e-9;

/// One role of a draft.
pub(super) struct RoleOf<'d, 'o> {
    /// The place of the draft.
    pub(super) draft: usize,
    role: Role,
    priority: Weight,
    /// What the analyzers say; `None` when thresholds decide.
    ballot: Option<&'d Ballot>,
    members: Vec<Member<'d, 'o>>,
}

/// A variant of the role.
struct Member<'d, 'o> {
    /// Its place among the draft's variants.
    variant: usize,
    candidate: &'d Candidate<'o>,
    pools: Vec<PoolIdx>,
}

impl<'d, 'o> RoleOf<'d, 'o> {
    /// The roles of a draft, in their order.
    pub(super) fn all(draft: usize, of: &'d Draft<'o>, supply: &Supply<'_>) -> Vec<Self> {
        let ballots: &[Ballot] = match &of.way {
            Way::Thresholds(_) => &[],
            Way::Votes(ballots) | Way::Arbitration(ballots, _) => ballots,
        };
        let mut roles: Vec<Self> = Vec::new();
        for (variant, candidate) in of.candidates.iter().enumerate() {
            let pools = supply.pools(draft, variant);
            let member = Member { variant, candidate, pools };
            let role = candidate.observed.role;
            if let Some(known) = roles.iter_mut().find(|known| known.role == role) {
                known.members.push(member);
                continue;
            }
            let ballot = ballots.iter().find(|ballot| ballot.role == role);
            roles.push(Self { draft, role, priority: of.priority, ballot, members: vec![member] });
        }
        roles.sort_by_key(|role| role.role);
        roles
    }

    /// The group whose needs are what is required. What there is stays.
    pub(super) fn as_it_is(&self) -> Group {
        let options = self.options(|idx, member| {
            let present = member.counting();
            let limit = member.candidate.observed.bounds.max;
            let max = if self.ballot.is_none() || member.stuck() > Replicas::ZERO {
                present
            } else {
                limit.map_or(Replicas::new(u32::MAX), |limit| limit - member.stuck()).max(present)
            };
            self.option(idx, member, present, max)
        });
        self.group(options)
    }

    /// The group whose needs are what has to be kept. Nothing is added.
    pub(super) fn to_release(&self) -> Group {
        let options = self.options(|idx, member| {
            let present = member.counting();
            let min = member.candidate.observed.bounds.min.min(present);
            self.option(idx, member, min, present)
        });
        self.group(options)
    }

    /// The group that neither grows nor shrinks.
    pub(super) fn fixed(&self, counts: &[Replicas]) -> Group {
        let options = self.options(|idx, member| {
            let present = counts[idx];
            let option = self.option(idx, member, present, present);
            GroupOption { current: present, ..option }
        });
        self.group(options)
    }

    /// Takes up what was added, and says whether something was.
    pub(super) fn grow(&self, counts: &[Replicas], plans: &mut [Plan]) -> bool {
        let Some(ballot) = self.ballot else { return false };
        let before: Vec<Replicas> = self.members.iter().map(Member::counting).collect();
        let least = least(&ballot.needs, &before, |need| &need.required);
        let seen = least.map(|(analyzer, coverage)| {
            if coverage < 1.0 - ROUNDING {
                VoteReason::Uncovered { analyzer, coverage }
            } else {
                VoteReason::Covered { analyzer, coverage: finite(coverage) }
            }
        });
        for member in &self.members {
            plans[member.variant].slack = least.map_or(f64::INFINITY, |(_, coverage)| coverage);
        }
        let after = self::least(&ballot.needs, counts, |need| &need.required);
        let short = after.filter(|(_, coverage)| *coverage < 1.0 - ROUNDING);
        let mover =
            self.members.iter().zip(counts).find(|(member, count)| **count > member.counting());
        for (member, &count) in self.members.iter().zip(counts) {
            let plan = &mut plans[member.variant];
            let stuck = member.stuck();
            if stuck > Replicas::ZERO {
                plan.reasons.push(Reason::Vote(VoteReason::StuckPending { replicas: stuck }));
            }
            plan.reasons.extend(seen.clone().map(Reason::Vote));
            let added = count - member.counting();
            let cost = member.candidate.observed.cost;
            if added > Replicas::ZERO {
                plan.target = plan.start + added;
                plan.reasons.push(Reason::Vote(VoteReason::CheapestCover { added, cost }));
            } else if let Some((mover, _)) = mover {
                let variant = mover.candidate.observed.variant.clone();
                plan.reasons.push(Reason::OtherVariantMoves { variant });
            }
            if let Some((_, coverage)) = short {
                plan.reasons.push(Reason::Vote(VoteReason::CannotCover { coverage }));
            }
        }
        mover.is_some() || short.is_some()
    }

    /// Whether replicas may go, besides what the needs say; why not goes to the plans.
    pub(super) fn may_shrink(&self, plans: &mut [Plan]) -> bool {
        let Some(ballot) = self.ballot else { return false };
        let starting = self.members.iter().filter(|member| !member.candidate.start_overdue);
        let pending: Replicas = starting.map(|member| member.candidate.observed.pending()).sum();
        let obstacle = if let Some(veto) = ballot.veto {
            Some(Reason::Vote(VoteReason::Vetoed(veto)))
        } else {
            (pending > Replicas::ZERO).then_some(Reason::AwaitingReady { pending })
        };
        for member in &self.members {
            plans[member.variant].reasons.extend(obstacle.clone());
        }
        obstacle.is_none()
    }

    /// Takes up what was let go.
    pub(super) fn shrink(&self, counts: &[Replicas], plans: &mut [Plan]) {
        let Some(ballot) = self.ballot else { return };
        let left = least(&ballot.needs, counts, |need| &need.kept);
        for (idx, (member, &count)) in self.members.iter().zip(counts).enumerate() {
            let plan = &mut plans[member.variant];
            let removed = member.counting() - count;
            if removed > Replicas::ZERO {
                plan.target = plan.start - removed;
                plan.reasons.extend(left.map(|(analyzer, coverage)| {
                    let coverage = finite(coverage);
                    Reason::Vote(VoteReason::Releasable { removed, analyzer, coverage })
                }));
                continue;
            }
            let min = member.candidate.observed.bounds.min;
            if count <= min {
                plan.reasons.extend((count > Replicas::ZERO).then_some(Reason::AtMinimum { min }));
                continue;
            }
            let mut fewer = counts.to_vec();
            fewer[idx] = count - Replicas::new(1);
            let without = least(&ballot.needs, &fewer, |need| &need.kept);
            plan.reasons.extend(
                without
                    .filter(|(_, coverage)| *coverage < 1.0 - ROUNDING)
                    .map(|(analyzer, coverage)| VoteReason::Kept { analyzer, coverage })
                    .map(Reason::Vote),
            );
        }
    }

    /// Says how much the load could change before the counts would.
    pub(super) fn tell_margins(&self, plans: &mut [Plan]) {
        let Some(ballot) = self.ballot else { return };
        let counts: Vec<Replicas> = self
            .members
            .iter()
            .map(|member| plans[member.variant].target - member.stuck())
            .collect();
        let Some((grows_by, grows_above)) = least(&ballot.needs, &counts, |need| &need.required)
        else {
            return;
        };
        for (idx, member) in self.members.iter().enumerate() {
            let mut fewer = counts.clone();
            fewer[idx] = counts[idx] - Replicas::new(1);
            let without = least(&ballot.needs, &fewer, |need| &need.kept);
            let (shrinks_by, shrinks_below) = without.unwrap_or((grows_by, 0.0));
            plans[member.variant].margins = Some(Margins {
                grows_above: finite(grows_above),
                grows_by,
                shrinks_below: finite(shrinks_below).filter(|_| counts[idx] > Replicas::ZERO),
                shrinks_by,
            });
        }
    }

    fn options(&self, option: impl Fn(usize, &Member<'_, '_>) -> GroupOption) -> Vec<GroupOption> {
        self.members.iter().enumerate().map(|(idx, member)| option(idx, member)).collect()
    }

    fn option(
        &self,
        idx: usize,
        member: &Member<'_, '_>,
        min: Replicas,
        max: Replicas,
    ) -> GroupOption {
        let needs = self.ballot.map_or(&[][..], |ballot| &ballot.needs);
        let observed = member.candidate.observed;
        GroupOption {
            cost: observed.cost,
            covers: needs.iter().map(|need| need.required[idx]).collect(),
            kept: needs.iter().map(|need| need.kept[idx]).collect(),
            min,
            max,
            current: member.counting(),
            gpus: observed.gpus_per_replica,
            pools: member.pools.clone(),
        }
    }

    fn group(&self, options: Vec<GroupOption>) -> Group {
        // Prefill without decode serves nobody, nor the other way round.
        let joined = u32::try_from(self.draft).ok().filter(|_| self.role != Role::Both);
        Group { priority: self.priority.value(), options, single: false, joined }
    }
}

impl Member<'_, '_> {
    /// Replicas that have not become ready in time, and may never.
    fn stuck(&self) -> Replicas {
        if self.candidate.start_overdue {
            self.candidate.observed.pending()
        } else {
            Replicas::ZERO
        }
    }

    /// Replicas that count: those that there will be, as far as anybody knows.
    fn counting(&self) -> Replicas {
        self.candidate.start() - self.stuck()
    }
}

fn finite(coverage: f64) -> Option<f64> {
    coverage.is_finite().then_some(coverage)
}

/// Of the needs the one that `counts` cover least, and how well; of equals the first.
fn least(
    needs: &[Need],
    counts: &[Replicas],
    shares: fn(&Need) -> &Vec<f64>,
) -> Option<(AnalyzerName, f64)> {
    let coverage = |need: &Need| {
        let covered = shares(need).iter().zip(counts).map(|(share, count)| {
            if share.is_infinite() { f64::INFINITY } else { share * count.as_f64() }
        });
        (need.analyzer, covered.sum::<f64>())
    };
    needs.iter().map(coverage).min_by(|a, b| a.1.total_cmp(&b.1))
}
