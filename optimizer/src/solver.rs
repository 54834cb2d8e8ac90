//! From needs to replica counts: the cheapest allocation that covers them.
//!
//! A [`Problem`] is pure numbers: groups that each need a coverage, options that provide it at a
//! cost, and pools from which options draw. Who builds it knows what they stand for.
//!
//! - [`exact`] finds the cheapest allocation and proves it, by branch and price.
//! - [`fast`] finds a good one in near-linear time, by prices and repair, and says how good at least.
//! - [`grow`] and [`shrink`] start from what exists and only add or only remove.
//! - [`greedy`] is llm-inferno's method, for comparison.
//!
//! Where the pools are too small for all, what they hold is shared out by priority.

mod problem;
mod instance;
mod cover;
mod share;
mod fast;
mod master;
mod relaxation;
mod exact;
mod moves;
pub mod greedy;

pub use moves::{grow, shrink};
pub use problem::{Allocation, Budget, Group, GroupOption, PoolIdx, Problem};

use fast::{Approximation, approximate};
use instance::{Column, Instance};

use crate::units::{HourlyCost, Replicas};

/// Nodes in which [`fast`] searches for an allocation that covers all when repair finds none.
const RESCUE_NODES: usize = 2000;
/// The gap above which [`fast`] searches on, as a share of the cost.
const POLISHED: f64 = 0.005;
/// The nodes in which it does, and the most groups that share pools for which it does. In larger
/// sets the gap is small anyway.
const POLISH_NODES: usize = 40;
const POLISH_GROUPS: usize = 200;

/// Replica counts, and how good they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The counts.
    pub allocation: Allocation,
    /// What they cost per hour, with the switching from what exists.
    pub cost: HourlyCost,
    /// The groups, by index, whose needs they do not cover.
    pub uncovered: Vec<usize>,
    /// How good they are.
    pub proof: Proof,
}

/// How good a solution is.
///
/// A group that its options' most or a single pool keep from being covered, whatever the other
/// groups do, counts as covered with what it can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Proof {
    /// No allocation that covers all is cheaper.
    Optimal,
    /// No allocation that covers all is cheaper by more than this share of the cost.
    Within(f64),
    /// No allocation was found that covers all, so what the pools hold was shared out.
    Short {
        /// Whether it is certain that there is none.
        certain: bool,
    },
}

/// The cheapest allocation that covers all needs.
///
/// The search stops after `nodes` nodes, for each set of groups that share pools, and then says how
/// far from the cheapest the allocation can be at most.
#[must_use]
pub fn exact(problem: &Problem, nodes: usize) -> Solution {
    solve(problem, |instance, start| exact::solve(instance, start, nodes))
}

/// An allocation that covers all needs and costs little more than the cheapest.
#[must_use]
pub fn fast(problem: &Problem) -> Solution {
    solve(problem, |instance, start| match start {
        Approximation { chosen: None, .. } => exact::solve(instance, start, RESCUE_NODES),
        Approximation { chosen: Some(ref chosen), bound, .. } => {
            let cost: f64 = chosen.iter().map(|column| column.cost).sum();
            if cost - bound > POLISHED * cost && chosen.len() <= POLISH_GROUPS {
                exact::solve(instance, start, POLISH_NODES)
            } else {
                exact::Outcome { chosen: start.chosen, bound }
            }
        }
    })
}

fn solve(
    problem: &Problem,
    search: impl Fn(&Instance, Approximation) -> exact::Outcome,
) -> Solution {
    let mut allocation = problem.current();
    let fewest = problem.groups.iter().map(|group| group.options.iter().map(|option| option.min));
    for (counts, fewest) in allocation.counts.iter_mut().zip(fewest) {
        counts.clear();
        counts.extend(fewest);
    }
    let (mut gap, mut short, mut certain) = (0.0, false, true);
    for instance in Instance::split(problem) {
        let start = approximate(&instance);
        let outcome = start.map(|start| search(&instance, start));
        let (chosen, bound) =
            outcome.map_or((None, f64::INFINITY), |outcome| (outcome.chosen, outcome.bound));
        let columns = chosen.unwrap_or_else(|| {
            short = true;
            certain &= bound.is_infinite();
            share::share_out(&instance)
        });
        let cost: f64 = columns.iter().map(|column| column.cost).sum();
        gap += (cost - bound).max(0.0);
        for (group, column) in instance.groups.iter().zip(&columns) {
            add(&mut allocation.counts[*group], column);
        }
    }
    let cost = problem.cost(&allocation);
    let groups = problem.groups.iter().zip(&allocation.counts);
    let uncovered = groups.enumerate().filter(|(_, (group, counts))| !group.is_covered(counts));
    let uncovered = uncovered.map(|(idx, _)| idx).collect();
    let proof = match short {
        true => Proof::Short { certain },
        false if gap <= 1e-9 * cost.value() => Proof::Optimal,
        false => Proof::Within(gap / cost.value()),
    };
    Solution { allocation, cost, uncovered, proof }
}

fn add(counts: &mut [Replicas], column: &Column) {
    for (count, &above) in counts.iter_mut().zip(&column.counts) {
        *count += Replicas::new(above);
    }
}
