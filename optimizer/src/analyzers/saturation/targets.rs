//! Which variant moves.

use super::{Analysis, Verdict};
use crate::decision::Reason;
use crate::observation::VariantObservation;
use crate::units::{Replicas, Seconds};

/// A variant that may move, with what the controller remembers of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// The variant as it stands.
    pub observed: &'a VariantObservation,
    /// The decision that is still being carried out, if there is one.
    pub underway: Option<Underway>,
    /// Ready replicas have not reported for so long that growth no longer waits for them.
    pub silence_overdue: bool,
    /// Pending replicas have not become ready for so long that a removal no longer waits for them.
    pub start_overdue: bool,
}

/// A decision that is still being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underway {
    /// What was decided.
    pub desired: Replicas,
    /// For how long it has been on its way.
    pub elapsed: Seconds,
}

/// The replica count that the analyzer wants for one variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Where the variant starts: the decision under way, or the current count inside its bounds.
    pub start: Replicas,
    /// Where it should be. Differs from `start`, by one, for at most one variant of a model.
    pub replicas: Replicas,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// A target for each of a model's `candidates`, in their order.
///
/// A variant with a decision under way keeps it, and one outside its bounds returns to them. Of
/// the others at most one moves:
///
/// - up, the cheapest variant below its maximum without pending replicas (of equally expensive ones
///   the first by name), unless some variant has ready replicas that do not report;
/// - down, the most expensive variant above its minimum and with more than one replica (of equally
///   expensive ones the last by name), once all replicas of the model report and no other change
///   is under way: the analysis allows for one removal, not for two.
#[must_use]
pub fn targets(analysis: &Analysis, candidates: &[Candidate<'_>]) -> Vec<Target> {
    let movement = match analysis.verdict {
        Verdict::Keep => Movement::None,
        Verdict::Grow => grow(candidates),
        Verdict::Shrink => shrink(candidates),
    };
    candidates.iter().map(|candidate| candidate.target(analysis.verdict, &movement)).collect()
}

/// What a model does in this step.
enum Movement<'a> {
    None,
    /// A variant moves.
    By(&'a VariantObservation),
    /// No variant may move.
    Blocked(Reason),
}

fn grow<'a>(candidates: &[Candidate<'a>]) -> Movement<'a> {
    let silent = |candidate: &&Candidate<'_>| {
        candidate.reporting() < candidate.ready() && !candidate.silence_overdue
    };
    if let Some(reason) = silence(candidates.iter().filter(silent)) {
        return Movement::Blocked(reason);
    }
    let cheapest = candidates
        .iter()
        .filter(|candidate| candidate.obstacle_to_growth().is_none())
        .map(|candidate| candidate.observed)
        .min_by_key(|observed| (observed.cost, &observed.variant));
    cheapest.map_or(Movement::None, Movement::By)
}

fn shrink<'a>(candidates: &[Candidate<'a>]) -> Movement<'a> {
    if let Some(moving) = candidates.iter().find(|candidate| candidate.placement().is_some()) {
        let variant = moving.observed.variant.clone();
        return Movement::Blocked(Reason::OtherVariantMoves { variant });
    }
    let differs = |candidate: &&Candidate<'_>| candidate.reporting() != candidate.ready();
    if let Some(reason) = silence(candidates.iter().filter(differs)) {
        return Movement::Blocked(reason);
    }
    let starting = candidates.iter().filter(|candidate| !candidate.start_overdue);
    let pending: Replicas = starting.map(|candidate| candidate.observed.pending()).sum();
    if pending > Replicas::ZERO {
        return Movement::Blocked(Reason::AwaitingReady { pending });
    }
    let dearest = candidates
        .iter()
        .filter(|candidate| candidate.obstacle_to_removal().is_none())
        .map(|candidate| candidate.observed)
        .max_by_key(|observed| (observed.cost, &observed.variant));
    dearest.map_or(Movement::None, Movement::By)
}

/// The reason for which silent candidates hold a model back; `None` when there are none.
fn silence<'a, 'b: 'a>(silent: impl Iterator<Item = &'a Candidate<'b>>) -> Option<Reason> {
    let counts = silent.map(|candidate| (candidate.ready(), candidate.reporting()));
    counts
        .reduce(|sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
        .map(|(ready, reporting)| Reason::SilentReplicas { ready, reporting })
}

impl Candidate<'_> {
    fn target(&self, verdict: Verdict, movement: &Movement<'_>) -> Target {
        let start = self.start();
        let stay = |reason: Option<Reason>| Target {
            start,
            replicas: start,
            reasons: reason.into_iter().collect(),
        };
        if let Some(placement) = self.placement() {
            return stay(Some(placement));
        }
        let obstacle = match verdict {
            Verdict::Keep => None,
            Verdict::Grow => self.obstacle_to_growth(),
            Verdict::Shrink => self.obstacle_to_removal(),
        };
        match movement {
            Movement::None => stay(obstacle),
            Movement::Blocked(reason) => stay(Some(reason.clone())),
            Movement::By(mover) if mover.variant != self.observed.variant => {
                let variant = mover.variant.clone();
                stay(Some(obstacle.unwrap_or(Reason::OtherVariantMoves { variant })))
            }
            Movement::By(VariantObservation { cost, .. }) => {
                let (replicas, reason) = if verdict == Verdict::Grow {
                    (start + Replicas::new(1), Reason::CheapestToGrow { cost: *cost })
                } else {
                    (start - Replicas::new(1), Reason::DearestToShrink { cost: *cost })
                };
                Target { start, replicas, reasons: vec![reason] }
            }
        }
    }

    /// Where the variant starts: the decision under way, or the current count inside its bounds.
    pub(crate) fn start(&self) -> Replicas {
        self.underway.map_or(self.allowed(), |underway| underway.desired)
    }

    /// Why the analyzer has no say: a decision is under way, or the count is out of bounds.
    fn placement(&self) -> Option<Reason> {
        match self.underway {
            Some(Underway { desired, elapsed }) => Some(Reason::InTransition { desired, elapsed }),
            None => Reason::bound(self.observed.bounds, self.observed.current),
        }
    }

    fn obstacle_to_growth(&self) -> Option<Reason> {
        self.placement().or_else(|| {
            let VariantObservation { current, bounds, .. } = *self.observed;
            let pending = self.observed.pending();
            if pending > Replicas::ZERO {
                return Some(Reason::AwaitingReady { pending });
            }
            bounds.max.filter(|max| current >= *max).map(|max| Reason::AtMaximum { max })
        })
    }

    /// The last replica stays: to drop it is not for load averages to decide.
    fn obstacle_to_removal(&self) -> Option<Reason> {
        self.placement().or_else(|| {
            let VariantObservation { current, bounds, .. } = *self.observed;
            let floor = bounds.min.max(Replicas::new(1));
            (current <= floor).then_some(Reason::AtMinimum { min: floor.min(current) })
        })
    }

    /// The current count, inside its bounds.
    fn allowed(&self) -> Replicas {
        self.observed.bounds.clamp(self.observed.current)
    }

    /// Replicas that report.
    pub(crate) fn reporting(&self) -> Replicas {
        Replicas::new(u32::try_from(self.observed.replicas.len()).unwrap_or(u32::MAX))
    }

    /// Replicas that should report. One that is being removed may still be ready.
    pub(crate) fn ready(&self) -> Replicas {
        self.observed.ready.min(self.observed.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyzers::saturation::Spare;
    use crate::observation::{Bounds, ReplicaObservation, Signal};
    use crate::units::HourlyCost;

    fn variant(name: &str, cost: f64, count: u32) -> VariantObservation {
        let replica = ReplicaObservation {
            kv_usage: Signal::Missing,
            waiting: Signal::Missing,
            ..ReplicaObservation::silent("replica".parse().unwrap())
        };
        VariantObservation {
            cost: HourlyCost::new(cost),
            bounds: Bounds { min: Replicas::ZERO, max: None },
            current: Replicas::new(count),
            ready: Replicas::new(count),
            replicas: vec![replica; count as usize],
            ..VariantObservation::new(name.parse().unwrap(), "H100".parse().unwrap())
        }
    }

    const fn candidate(observed: &VariantObservation) -> Candidate<'_> {
        Candidate { observed, underway: None, silence_overdue: false, start_overdue: false }
    }

    /// Each target with the name of its reason.
    fn moves(verdict: Verdict, candidates: &[Candidate<'_>]) -> Vec<(u32, &'static str)> {
        let analysis = Analysis {
            reporting: 0,
            saturated: 0,
            unknown: 0,
            spare: Spare::default(),
            spare_after_removal: None,
            verdict,
            reasons: Vec::new(),
        };
        let name = |target: &Target| target.reasons.first().map_or("", Reason::as_str);
        let targets = targets(&analysis, candidates);
        targets.iter().map(|target| (target.replicas.get(), name(target))).collect()
    }

    #[test]
    fn a_silence_blocks_growth_until_it_is_overdue_and_shrinking_for_ever() {
        let mut silent = variant("silent", 20.0, 3);
        silent.replicas.pop();
        let cheap = variant("cheap", 5.0, 2);
        let mut candidates = [candidate(&silent), candidate(&cheap)];
        let blocked = [(3, "silent-replicas"), (2, "silent-replicas")];
        assert_eq!(moves(Verdict::Grow, &candidates), blocked);
        assert_eq!(moves(Verdict::Shrink, &candidates), blocked);

        candidates[0].silence_overdue = true;
        let grown = [(3, "other-variant-moves"), (3, "cheapest-to-grow")];
        assert_eq!(moves(Verdict::Grow, &candidates), grown);
        assert_eq!(moves(Verdict::Shrink, &candidates), blocked);
    }

    #[test]
    fn a_removed_replica_that_still_reports_blocks_shrinking_only() {
        let mut lingering = variant("a", 20.0, 2);
        lingering.replicas.extend(lingering.replicas.clone());
        let candidates = [candidate(&lingering)];
        assert_eq!(moves(Verdict::Shrink, &candidates), [(2, "silent-replicas")]);
        assert_eq!(moves(Verdict::Grow, &candidates), [(3, "cheapest-to-grow")]);
    }

    #[test]
    fn pending_replicas_block_shrinking_until_they_are_overdue() {
        let mut starting = variant("a", 5.0, 2);
        starting.current = Replicas::new(3);
        let dear = variant("b", 20.0, 2);
        let mut candidates = [candidate(&starting), candidate(&dear)];
        let blocked = [(3, "awaiting-ready"), (2, "awaiting-ready")];
        assert_eq!(moves(Verdict::Shrink, &candidates), blocked);

        candidates[0].start_overdue = true;
        let shrunk = [(3, "other-variant-moves"), (1, "dearest-to-shrink")];
        assert_eq!(moves(Verdict::Shrink, &candidates), shrunk);
        let grown = [(3, "awaiting-ready"), (3, "cheapest-to-grow")];
        assert_eq!(moves(Verdict::Grow, &candidates), grown);
    }

    /// The analysis found room for one removal. Two at once might be one too many.
    #[test]
    fn nothing_shrinks_while_another_variant_moves() {
        let (a, b) = (variant("a", 5.0, 3), variant("b", 20.0, 3));
        let mut candidates = [candidate(&a), candidate(&b)];
        candidates[0].underway =
            Some(Underway { desired: Replicas::new(2), elapsed: Seconds::ZERO });
        let expected = [(2, "in-transition"), (3, "other-variant-moves")];
        assert_eq!(moves(Verdict::Shrink, &candidates), expected);
    }

    #[test]
    fn bounds_leave_the_move_to_others_and_correct_what_is_outside() {
        let mut full = variant("full", 1.0, 2);
        full.bounds.max = Some(Replicas::new(2));
        let mut outside = variant("outside", 2.0, 1);
        outside.bounds.min = Replicas::new(3);
        let zero = variant("zero", 3.0, 0);
        let candidates = [candidate(&full), candidate(&outside), candidate(&zero)];
        let expected = [(2, "at-maximum"), (3, "at-minimum"), (1, "cheapest-to-grow")];
        assert_eq!(moves(Verdict::Grow, &candidates), expected);
        assert_eq!(moves(Verdict::Keep, &candidates), [(2, ""), (3, "at-minimum"), (0, "")]);
        // Alone, neither the last replica nor none at all can shrink.
        let one = variant("one", 1.0, 1);
        let expected = [(1, "at-minimum"), (0, "at-minimum")];
        assert_eq!(moves(Verdict::Shrink, &[candidate(&one), candidate(&zero)]), expected);
    }
}
