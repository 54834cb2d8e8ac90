//! From the replicas that exist to those that should: additions and removals.

use std::collections::BTreeMap;

use super::cover::{Order, Query};
use super::instance::Instance;
use super::problem::{Allocation, Group, GroupOption, Problem, ROUNDING};
use super::{Solution, fast};
use crate::units::{Fraction, Replicas};

/// The cheapest additions to what exists that cover all needs; nothing is removed.
///
/// Of equally cheap additions, those are preferred that are cheaper for what they cover, then those
/// that come first. Where the pools are too small, what is left is shared out, as in [`fast`].
#[must_use]
pub fn grow(problem: &Problem) -> Solution {
    let mut problem = problem.clone();
    for option in problem.groups.iter_mut().flat_map(|group| &mut group.options) {
        option.min = option.min.max(option.current);
        option.max = option.max.max(option.min);
    }
    fast(&problem)
}

/// The most expensive removals from what exists after which the [`kept`](super::GroupOption::kept)
/// marks still hold; nothing is added.
///
/// Of equally expensive removals, dearer replicas go first, then those that come last. Replicas of
/// an option that covers nothing of some need stay, because nobody knows what they do. One replica
/// of a group stays, unless `to_zero` says otherwise and each option's fewest is 0.
///
/// Each group is looked at by itself, so a role that needs more replicas does not stop another from
/// letting some go. But what a short role holds back has not reached its partners yet: a group that
/// is joined with one that covers only a share of its needs keeps enough for its own load divided by
/// this share.
#[must_use]
pub fn shrink(problem: &Problem, to_zero: bool) -> Allocation {
    let mut coverages: BTreeMap<u32, Vec<(usize, f64)>> = BTreeMap::new();
    for (idx, group) in problem.groups.iter().enumerate() {
        if let Some(tag) = group.joined {
            coverages.entry(tag).or_default().push((idx, group.coverage(&current(group))));
        }
    }
    let counts = |(idx, group): (usize, &Group)| {
        let joined = group.joined.and_then(|tag| coverages.get(&tag));
        let partners = joined.into_iter().flatten().filter(|(partner, _)| *partner != idx);
        let passed = partners.map(|(_, coverage)| *coverage).fold(1.0, f64::min);
        kept(group, passed, to_zero).unwrap_or_else(|| current(group))
    };
    Allocation { counts: problem.groups.iter().enumerate().map(counts).collect() }
}

fn current(group: &Group) -> Vec<Replicas> {
    group.options.iter().map(|option| option.current).collect()
}

/// What a group keeps when its partners let a share of its load through; `None` when it is all.
fn kept(group: &Group, passed: f64, to_zero: bool) -> Option<Vec<Replicas>> {
    let mut group = group.clone();
    let marks = |option: &GroupOption| option.covers.len().max(option.kept.len());
    let needs = group.options.iter().map(marks).max().unwrap_or(0);
    for option in &mut group.options {
        if !option.kept.is_empty() {
            option.covers = std::mem::take(&mut option.kept);
        }
    }
    if passed <= 0.0 || group.coverage(&current(&group)) * passed < 1.0 - ROUNDING {
        return None;
    }
    for option in &mut group.options {
        option.covers = (0..needs).map(|need| option.cover(need) * passed).collect();
    }
    let is_need = |need: usize| group.options.iter().any(|option| option.cover(need) > 0.0);
    let needs: Vec<usize> = (0..needs).filter(|&need| is_need(need)).collect();
    let one_stays = !to_zero || group.options.iter().any(|option| option.min > Replicas::ZERO);
    for option in &mut group.options {
        let unknown = needs.iter().any(|&need| option.cover(need) <= 0.0);
        option.min = if unknown { option.current } else { option.min.min(option.current) };
        option.max = option.current;
        option.pools.clear();
        if one_stays {
            option.covers.push(1.0);
        }
    }
    let problem = Problem { groups: vec![group], pools: Vec::new(), switching: Fraction::ZERO };
    let instances = Instance::split(&problem);
    let cover = instances.first()?.covers.first()?;
    let query = Query::at(&[]).ordered(Order::FewestOfTheDearest);
    let above = cover.cheapest(query)?.column.counts;
    let fewest = problem.groups.iter().flat_map(|group| &group.options).map(|option| option.min);
    Some(fewest.zip(above).map(|(min, above)| min + Replicas::new(above)).collect())
}
