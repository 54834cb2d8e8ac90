//! What to do when the pools are too small for all: progressive filling.
//!
//! One replica at a time goes to whoever needs most: the need in replicas of the cheapest option,
//! times the priority. Joined groups grow together, the one that lags first, since what it does not
//! let through is of no use to the others. When it cannot grow any more, neither do they.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use super::cover::{Query, replicas_open};
use super::instance::{Column, Cover, Instance, whole};
use super::problem::ROUNDING;

/// Needs of more replicas than this are filled in larger steps.
const FINE: f64 = 4096.0;

/// Shares out what the pools hold. Groups that can be covered in what is left in the end are.
pub(super) fn share_out(instance: &Instance) -> Vec<Column> {
    let mut filling = Filling {
        instance,
        room: instance.budgets.clone(),
        counts: instance.covers.iter().map(|cover| vec![0; cover.items.len()]).collect(),
    };
    let bundles = bundles(instance);
    let mut queue: BinaryHeap<Turn> =
        (0..bundles.len()).filter_map(|idx| filling.turn(idx, &bundles[idx])).collect();
    while let Some(Turn { bundle, .. }) = queue.pop() {
        if filling.step(&bundles[bundle]) {
            queue.extend(filling.turn(bundle, &bundles[bundle]));
        }
    }
    let columns = instance.covers.iter().zip(filling.counts);
    let mut columns: Vec<Column> = columns.map(|(cover, counts)| cover.column(counts)).collect();
    place_what_fits(instance, &bundles, &mut columns);
    columns
}

/// Covers each bundle that can be covered at once in what is left, and makes those cheaper that are
/// covered already.
fn place_what_fits(instance: &Instance, bundles: &[Vec<usize>], columns: &mut [Column]) {
    let prices = vec![0.0; instance.budgets.len()];
    let mut room = instance.room(columns.iter());
    // What one makes cheaper may leave enough for another, so this goes on until nothing changes.
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for bundle in bundles {
            changed |= place(instance, bundle, &prices, columns, &mut room);
        }
    }
}

/// Covers one bundle, if all of it can be. Says whether that changed anything.
fn place(
    instance: &Instance,
    bundle: &[usize],
    prices: &[f64],
    columns: &mut [Column],
    room: &mut Vec<i64>,
) -> bool {
    let before = room.clone();
    let placed: Option<Vec<Column>> = bundle
        .iter()
        .map(|&group| {
            columns[group].give_back(room);
            let query = Query::at(prices).within(room);
            let column = instance.covers[group].cheapest(query)?.column;
            column.take(room);
            Some(column)
        })
        .collect();
    let better = |placed: &Vec<Column>| {
        bundle.iter().zip(placed).any(|(&group, column)| {
            let old = &columns[group];
            let covered = instance.covers[group].is_covered(&old.counts);
            !covered || column.cost < old.cost * (1.0 - ROUNDING)
        })
    };
    let Some(placed) = placed.filter(better) else {
        *room = before;
        return false;
    };
    for (&group, column) in bundle.iter().zip(placed) {
        columns[group] = column;
    }
    true
}

/// The groups that stand and fall together, in the order of their first.
fn bundles(instance: &Instance) -> Vec<Vec<usize>> {
    let mut bundles: Vec<Vec<usize>> = Vec::new();
    let mut of_tag = BTreeMap::new();
    for (group, cover) in instance.covers.iter().enumerate() {
        let known = cover.joined.and_then(|tag| of_tag.get(&tag).copied());
        if let Some(bundle) = known {
            let bundle: &mut Vec<usize> = &mut bundles[bundle];
            bundle.push(group);
            continue;
        }
        if let Some(tag) = cover.joined {
            of_tag.insert(tag, bundles.len());
        }
        bundles.push(vec![group]);
    }
    bundles
}

struct Filling<'a> {
    instance: &'a Instance,
    room: Vec<i64>,
    counts: Vec<Vec<u32>>,
}

impl Filling<'_> {
    /// The bundle's place in the queue; `None` when it is covered.
    fn turn(&self, bundle: usize, groups: &[usize]) -> Option<Turn> {
        let weight = |&group: &usize| {
            let cover = &self.instance.covers[group];
            let open = cover.open(&self.counts[group]);
            let need = replicas_open(cover, &open);
            (need > 0.0).then_some(need * cover.priority)
        };
        let need = groups.iter().filter_map(weight).max_by(f64::total_cmp)?;
        Some(Turn { need, bundle })
    }

    /// Adds to the groups that lag most, to all or to none of them.
    fn step(&mut self, groups: &[usize]) -> bool {
        let covers = &self.instance.covers;
        let open = |&&group: &&usize| !covers[group].is_covered(&self.counts[group]);
        let open: Vec<(usize, f64)> = groups
            .iter()
            .filter(open)
            .map(|&group| (group, covers[group].level(&self.counts[group])))
            .collect();
        let lowest = open.iter().map(|(_, level)| *level).fold(f64::INFINITY, f64::min);
        let mut added = Vec::new();
        for (group, _) in open.into_iter().filter(|(_, level)| *level <= lowest + ROUNDING) {
            let Some((item, count)) = self.pick(group) else {
                for (group, item, count) in added {
                    self.add(group, item, -i64::from(count));
                }
                return false;
            };
            self.add(group, item, i64::from(count));
            added.push((group, item, count));
        }
        !added.is_empty()
    }

    /// The item that covers most cheaply what the group lacks most, among those that fit, and how
    /// many.
    fn pick(&self, group: usize) -> Option<(usize, u32)> {
        let (cover, counts) = (&self.instance.covers[group], &self.counts[group]);
        let open = cover.open(counts);
        let lacks = |need: &usize| open[*need] / cover.targets[*need];
        let worst = (0..open.len()).max_by(|a, b| lacks(a).total_cmp(&lacks(b)).then(b.cmp(a)))?;
        let committed = cover.single.then(|| counts.iter().position(|count| *count > 0)).flatten();
        let rate = |item: &usize| cover.items[*item].add / cover.items[*item].covers[worst];
        let fits = |&item: &usize| {
            let of = &cover.items[item];
            counts[item] < of.cap
                && of.covers[worst] > 0.0
                && of.draws.iter().all(|&(pool, gpus)| gpus <= self.room[pool])
        };
        let item = (0..cover.items.len())
            .filter(|item| committed.is_none_or(|committed| committed == *item))
            .filter(fits)
            .min_by(|a, b| rate(a).total_cmp(&rate(b)))?;
        let of = &cover.items[item];
        // A fair share of a huge need is not found one replica at a time.
        let lacking = open[worst] / of.covers[worst];
        let fine = whole(lacking / FINE).clamp(1, of.cap - counts[item]);
        let room = of.draws.iter().map(|&(pool, gpus)| self.room[pool] / gpus);
        let room = room.min().map_or(u32::MAX, |room| u32::try_from(room).unwrap_or(u32::MAX));
        Some((item, fine.min(room)))
    }

    fn add(&mut self, group: usize, item: usize, count: i64) {
        let counts = &mut self.counts[group][item];
        *counts = u32::try_from(i64::from(*counts) + count).unwrap_or(u32::MAX);
        for &(pool, gpus) in &self.instance.covers[group].items[item].draws {
            self.room[pool] -= gpus * count;
        }
    }
}

impl Cover {
    /// The share of the whole need that is covered least.
    fn level(&self, counts: &[u32]) -> f64 {
        let open = self.open(counts);
        let level = |(need, open): (usize, &f64)| self.covered[need] + self.targets[need] - open;
        open.iter().enumerate().map(level).fold(f64::INFINITY, f64::min)
    }
}

/// A bundle's claim on the next replica.
#[derive(Debug)]
struct Turn {
    /// In replicas, times the priority.
    need: f64,
    bundle: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.need.total_cmp(&other.need).then(other.bundle.cmp(&self.bundle))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}
