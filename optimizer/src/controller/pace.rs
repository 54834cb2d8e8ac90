//! How fast a variant may move.

use super::memory::VariantMemory;
use crate::decision::{Action, Direction, Reason};
use crate::policy::{DirectionPolicy, ScalingPolicy};
use crate::units::{Replicas, Timestamp};

/// How far the way from `start` to `target` may be gone at `now`; records the target.
///
/// The result lies between the two. So when both are inside a variant's bounds, it is too.
pub(super) fn pace(
    now: Timestamp,
    start: Replicas,
    target: Replicas,
    memory: &mut VariantMemory,
    scaling: &ScalingPolicy,
    trail: &mut Vec<Reason>,
) -> Replicas {
    let longest = scaling.up.stabilization_window.max(scaling.down.stabilization_window);
    memory.record(now, target, longest);
    let (direction, limits) = match Action::between(start, target) {
        Action::NoChange => return start,
        Action::ScaleUp => (Direction::Up, &scaling.up),
        Action::ScaleDown => (Direction::Down, &scaling.down),
    };
    let way = Way { direction, start, limits };
    let stable = way.stabilize(now, target, memory, trail);
    if stable == start || way.is_cooling_down(now, memory, trail) {
        return start;
    }
    way.limit_step(stable, trail)
}

/// A move in one direction, and what limits it.
struct Way<'a> {
    direction: Direction,
    start: Replicas,
    limits: &'a DirectionPolicy,
}

impl Way<'_> {
    /// The most cautious of the targets in the window, but not back beyond the start.
    fn stabilize(
        &self,
        now: Timestamp,
        target: Replicas,
        memory: &VariantMemory,
        trail: &mut Vec<Reason>,
    ) -> Replicas {
        let window = self.limits.stabilization_window;
        let mut targets = memory.targets(now, window);
        let kept = match self.direction {
            Direction::Up => targets.next().map_or(target, |lowest| lowest.min(target)),
            Direction::Down => targets.next_back().map_or(target, |highest| highest.max(target)),
        };
        if kept != target {
            let (direction, recommended) = (self.direction, target);
            trail.push(Reason::Stabilizing { direction, recommended, kept, window });
        }
        match self.direction {
            Direction::Up => kept.max(self.start),
            Direction::Down => kept.min(self.start),
        }
    }

    fn is_cooling_down(
        &self,
        now: Timestamp,
        memory: &VariantMemory,
        trail: &mut Vec<Reason>,
    ) -> bool {
        let direction = self.direction;
        let remaining = memory
            .last_move(direction)
            .map(|last| self.limits.cooldown - now.since(last))
            .filter(|remaining| !remaining.is_zero());
        trail.extend(remaining.map(|remaining| Reason::CoolingDown { direction, remaining }));
        remaining.is_some()
    }

    fn limit_step(&self, wanted: Replicas, trail: &mut Vec<Reason>) -> Replicas {
        let Some(max_step) = self.limits.max_step else { return wanted };
        let direction = self.direction;
        let limited = match direction {
            Direction::Up => wanted.min(self.start + max_step),
            Direction::Down => wanted.max(self.start - max_step),
        };
        if limited != wanted {
            trail.push(Reason::StepLimited { direction, wanted, max_step });
        }
        limited
    }
}
