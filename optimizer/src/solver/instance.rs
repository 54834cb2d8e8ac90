//! A problem in the form that the searches work on.
//!
//! What has to be there anyway is taken off: the fewest replicas of each option, and what they cover
//! and draw. Pools that cannot run out are dropped. What is left falls apart into [`Instance`]s that
//! share no pool, so that a shortage in one cluster or namespace does not touch another.

use std::collections::BTreeMap;

use super::problem::{Budget, Group, GroupOption, PoolIdx, Problem, ROUNDING};

/// Groups that compete for pools, or are joined with groups that do.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// Indices into [`Problem::groups`].
    pub(super) groups: Vec<usize>,
    /// Each group's part, in the same order.
    pub(super) covers: Vec<Cover>,
    /// GPUs that are left in each pool that can run out.
    pub(super) budgets: Vec<i64>,
}

/// What a group still needs, and what could cover it.
#[derive(Debug, Clone)]
pub(super) struct Cover {
    /// By option.
    pub(super) items: Vec<Item>,
    /// What is to be covered of each need that is not covered yet, above zero.
    pub(super) targets: Vec<f64>,
    /// What the fewest replicas cover of the same needs.
    pub(super) covered: Vec<f64>,
    /// Whether one item alone has to cover it.
    pub(super) single: bool,
    /// The group's weight, finite and not negative.
    pub(super) priority: f64,
    /// The group's tag.
    pub(super) joined: Option<u32>,
}

/// One option; counts are replicas above its fewest.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Replicas that are there anyway.
    pub(super) fewest: u32,
    /// The cost of a replica that exists: what it costs, less what stopping it would.
    pub(super) keep: f64,
    /// Replicas that exist above the fewest.
    pub(super) kept: u32,
    /// The cost of a replica that does not: what it costs, and starting it.
    pub(super) add: f64,
    /// The most of them.
    pub(super) cap: u32,
    /// The fewest that cover the group alone, if so many can exist.
    pub(super) alone: Option<u32>,
    /// What a replica covers of each of the group's targets.
    pub(super) covers: Vec<f64>,
    /// What a replica draws, by pool of the instance.
    pub(super) draws: Vec<(usize, i64)>,
}

/// One way to cover a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// By item.
    pub(super) counts: Vec<u32>,
    pub(super) cost: f64,
    /// By pool, without zeros.
    pub(super) draws: Vec<(usize, i64)>,
}

impl Instance {
    /// The parts of a problem.
    pub(super) fn split(problem: &Problem) -> Vec<Self> {
        let left = left(problem);
        let mut covers: Vec<Cover> =
            problem.groups.iter().map(|group| Cover::new(problem, group, &left)).collect();
        join(&mut covers);
        // A pool that everyone together cannot empty does not bind.
        let mut most = vec![0_i64; left.len()];
        for item in covers.iter().flat_map(|cover| &cover.items) {
            for &(pool, gpus) in &item.draws {
                most[pool] = most[pool].saturating_add(gpus.saturating_mul(i64::from(item.cap)));
            }
        }
        for item in covers.iter_mut().flat_map(|cover| &mut cover.items) {
            item.draws.retain(|&(pool, _)| most[pool] > left[pool]);
        }
        let parts = parts(&covers, left.len());
        let mut instances: Vec<Self> = Vec::new();
        let mut of_part = BTreeMap::new();
        // The index of each pool within its instance.
        let mut local = vec![None; left.len()];
        for (idx, (mut cover, part)) in covers.into_iter().zip(parts).enumerate() {
            let at = *of_part.entry(part).or_insert_with(|| {
                instances.push(Self { groups: vec![], covers: vec![], budgets: vec![] });
                instances.len() - 1
            });
            let instance = &mut instances[at];
            for (pool, _) in cover.items.iter_mut().flat_map(|item| &mut item.draws) {
                *pool = *local[*pool].get_or_insert_with(|| {
                    instance.budgets.push(left[*pool]);
                    instance.budgets.len() - 1
                });
            }
            instance.groups.push(idx);
            instance.covers.push(cover);
        }
        for instance in &mut instances {
            instance.round_budgets();
        }
        instances
    }

    /// Lowers each budget to what its draws can add up to, as far as their common divisor tells.
    fn round_budgets(&mut self) {
        let mut divisors = vec![0_i64; self.budgets.len()];
        for item in self.covers.iter().flat_map(|cover| &cover.items) {
            for &(pool, gpus) in &item.draws {
                divisors[pool] = common_divisor(divisors[pool], gpus);
            }
        }
        for (budget, divisor) in self.budgets.iter_mut().zip(divisors) {
            *budget -= *budget % divisor.max(1);
        }
    }

    /// What is left in the pools when each group takes its column.
    pub(super) fn room<'a>(&self, columns: impl IntoIterator<Item = &'a Column>) -> Vec<i64> {
        let mut room = self.budgets.clone();
        for column in columns {
            column.take(&mut room);
        }
        room
    }
}

impl Cover {
    fn new(problem: &Problem, group: &Group, left: &[i64]) -> Self {
        let covers = |need| group.options.iter().map(move |option| option.cover(need));
        let needs: Vec<usize> = (0..group.needs())
            .filter(|&need| {
                covers(need).any(|cover| cover > 0.0) && covers(need).all(f64::is_finite)
            })
            .collect();
        // Of a mixed group the fewest replicas cover a part together; of a single one only those of
        // the option that is chosen count, so nothing can be taken off yet.
        let covered = |need| {
            let shares = covers(need).zip(&group.options);
            let share: f64 = shares.map(|(cover, option)| cover * option.min.as_f64()).sum();
            if group.single { 0.0 } else { share }
        };
        let items = group.options.iter().map(|option| {
            let covers = needs.iter().map(|&need| option.cover(need)).collect();
            Item::new(problem, option, covers, left)
        });
        let mut cover = Self {
            items: items.collect(),
            targets: needs.iter().map(|&need| 1.0 - covered(need)).collect(),
            covered: needs.iter().map(|&need| covered(need)).collect(),
            single: group.single,
            priority: if group.priority.is_finite() { group.priority.max(0.0) } else { 1.0 },
            joined: group.joined,
        };
        cover.limit();
        cover
    }

    /// Drops targets that are reached, and sets what follows from those that are not.
    fn limit(&mut self) {
        let open = |item: &Item, target: f64, need: usize| {
            if self.single { target - item.covers[need] * f64::from(item.fewest) } else { target }
        };
        let settled = self.items.iter().any(|item| {
            (0..self.targets.len()).all(|need| open(item, self.targets[need], need) <= ROUNDING)
        });
        let kept: Vec<usize> = (0..self.targets.len())
            .filter(|&need| if self.single { !settled } else { self.targets[need] > ROUNDING })
            .collect();
        let single = self.single;
        self.targets = kept.iter().map(|&need| self.targets[need]).collect();
        self.covered = kept.iter().map(|&need| self.covered[need]).collect();
        for item in &mut self.items {
            item.covers = kept.iter().map(|&need| item.covers[need]).collect();
            let taken = if single { f64::from(item.fewest) } else { 0.0 };
            let targets = self.targets.iter().zip(&item.covers);
            let open: Vec<f64> = targets.map(|(target, cover)| target - cover * taken).collect();
            item.limit(&open);
        }
    }

    /// For each target, the share of the whole need that can be reached with all that the pools and
    /// the options' most allow.
    fn reach(&self) -> Vec<f64> {
        let reach = |need: usize| {
            let most = |item: &Item| item.covers[need] * f64::from(item.cap);
            let of_fewest = |item: &Item| item.covers[need] * f64::from(item.fewest);
            if self.single {
                self.items.iter().map(|item| most(item) + of_fewest(item)).fold(0.0, f64::max)
            } else {
                self.covered[need] + self.items.iter().map(most).sum::<f64>()
            }
        };
        (0..self.targets.len()).map(reach).collect()
    }

    /// Lowers each target to a share of the whole need.
    fn lower(&mut self, shares: impl Iterator<Item = f64>) {
        let targets = self.targets.iter_mut().zip(&self.covered);
        for ((target, covered), share) in targets.zip(shares) {
            // Rounding must not leave a target just out of reach.
            *target = target.min(share * (1.0 - ROUNDING) - covered);
        }
        self.limit();
    }

    /// Whether nothing is left to cover.
    pub(super) fn is_settled(&self) -> bool {
        self.targets.is_empty()
    }

    /// A way to cover the group.
    pub(super) fn column(&self, counts: Vec<u32>) -> Column {
        let cost = self.items.iter().zip(&counts).map(|(item, &count)| item.cost(count)).sum();
        let mut draws: Vec<(usize, i64)> = Vec::new();
        for (item, &count) in self.items.iter().zip(&counts).filter(|(_, count)| **count > 0) {
            for &(pool, gpus) in &item.draws {
                let gpus = gpus.saturating_mul(i64::from(count));
                match draws.iter_mut().find(|(other, _)| *other == pool) {
                    Some((_, sum)) => *sum = sum.saturating_add(gpus),
                    None => draws.push((pool, gpus)),
                }
            }
        }
        Column { counts, cost, draws }
    }

    /// The ways to cover the group with one item alone.
    pub(super) fn alone_columns(&self) -> Vec<Column> {
        let counts = |idx: usize| {
            let alone = self.items[idx].alone?;
            let mut counts = vec![0; self.items.len()];
            counts[idx] = alone;
            Some(self.column(counts))
        };
        let mut columns: Vec<Column> = Vec::new();
        for column in (0..self.items.len()).filter_map(counts) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// What is uncovered of each target.
    pub(super) fn open(&self, counts: &[u32]) -> Vec<f64> {
        let covered = |need: usize| {
            let shares = self.items.iter().zip(counts);
            let shares = shares.map(|(item, &count)| {
                let fewest = if self.single { item.fewest } else { 0 };
                item.covers[need] * (f64::from(count) + f64::from(fewest))
            });
            if self.single { shares.fold(0.0, f64::max) } else { shares.sum() }
        };
        (0..self.targets.len()).map(|need| self.targets[need] - covered(need)).collect()
    }

    /// Whether the counts cover every target.
    pub(super) fn is_covered(&self, counts: &[u32]) -> bool {
        if self.single {
            let alone = |(item, &count): (&Item, &u32)| item.alone.is_some_and(|n| n <= count);
            return self.is_settled() || self.items.iter().zip(counts).any(alone);
        }
        self.open(counts).iter().all(|open| *open <= 1.5 * ROUNDING)
    }
}

impl Item {
    fn new(problem: &Problem, option: &GroupOption, covers: Vec<f64>, left: &[i64]) -> Self {
        let price = option.price();
        let switching = price * problem.switching.value();
        let mut item = Self {
            fewest: option.min.get(),
            keep: price - switching,
            kept: (option.current - option.min).get(),
            add: price + switching,
            cap: (option.max - option.min).get(),
            alone: None,
            covers,
            draws: Vec::new(),
        };
        if option.gpus.get() > 0 {
            let gpus = i64::from(option.gpus.get());
            for PoolIdx(pool) in option.distinct_pools() {
                let Some(left) = left.get(pool) else {
                    item.cap = 0;
                    continue;
                };
                item.cap = item.cap.min(u32::try_from(left / gpus).unwrap_or(u32::MAX));
                item.draws.push((pool, gpus));
            }
        }
        item
    }

    /// Sets how many cover what is open, and caps the count there: more is of no use.
    fn limit(&mut self, open: &[f64]) {
        let most = self.needed(open);
        self.cap = self.cap.min(most.unwrap_or(0));
        let covers_all = self.covers.iter().zip(open).all(|(cover, open)| {
            *open <= ROUNDING || count_for(*open, *cover).is_some_and(|count| count <= self.cap)
        });
        self.alone = most.or(Some(0)).filter(|_| covers_all);
    }

    /// The fewest that cover what is open of the targets that the item can cover; `None` when it
    /// covers nothing.
    pub(super) fn needed(&self, open: &[f64]) -> Option<u32> {
        let counts = self.covers.iter().zip(open).filter(|(cover, _)| **cover > 0.0);
        counts.map(|(cover, open)| count_for(*open, *cover).unwrap_or(u32::MAX)).max()
    }

    /// What this many cost, against none.
    pub(super) fn cost(&self, count: u32) -> f64 {
        let kept = count.min(self.kept);
        f64::from(kept) * self.keep + f64::from(count - kept) * self.add
    }

    /// The least that a replica costs with the GPUs at these prices.
    pub(super) fn least_price(&self, prices: &[f64]) -> f64 {
        let cost = if self.kept > 0 { self.keep } else { self.add };
        cost + price_of(&self.draws, prices)
    }
}

impl Column {
    /// Its cost with the GPUs at these prices.
    pub(super) fn priced(&self, prices: &[f64]) -> f64 {
        self.cost + price_of(&self.draws, prices)
    }

    /// Whether the pools hold what it draws.
    pub(super) fn fits(&self, room: &[i64]) -> bool {
        self.draws.iter().all(|&(pool, gpus)| gpus <= room[pool])
    }

    pub(super) fn take(&self, room: &mut [i64]) {
        for &(pool, gpus) in &self.draws {
            room[pool] = room[pool].saturating_sub(gpus);
        }
    }

    pub(super) fn give_back(&self, room: &mut [i64]) {
        for &(pool, gpus) in &self.draws {
            room[pool] = room[pool].saturating_add(gpus);
        }
    }
}

/// What draws cost at these prices.
pub(super) fn price_of(draws: &[(usize, i64)], prices: &[f64]) -> f64 {
    draws.iter().map(|&(pool, gpus)| prices[pool] * gpus as f64).sum()
}

/// The fewest replicas that cover what is open of a need; `None` when no count does.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "only a number that fits is cast"
)]
pub(super) fn count_for(open: f64, cover: f64) -> Option<u32> {
    if open <= ROUNDING {
        return Some(0);
    }
    let count = ((open - ROUNDING) / cover).ceil().max(1.0);
    (count <= f64::from(u32::MAX)).then_some(count as u32)
}

/// The GPUs that the fewest replicas leave in each pool.
fn left(problem: &Problem) -> Vec<i64> {
    let mut fewest = problem.current();
    for (group, counts) in problem.groups.iter().zip(&mut fewest.counts) {
        for (option, count) in group.options.iter().zip(counts) {
            *count = option.min;
        }
    }
    let left = |(budget, drawn): (&Budget, u64)| {
        (i64::from(budget.0.get()) - i64::try_from(drawn).unwrap_or(i64::MAX)).max(0)
    };
    problem.pools.iter().zip(problem.drawn(&fewest)).map(left).collect()
}

/// Lowers the targets of groups that can never be covered to what can be, and those of their
/// partners with them: what a partner would add beyond that is useless.
fn join(covers: &mut [Cover]) {
    let reaches: Vec<Vec<f64>> = covers.iter().map(Cover::reach).collect();
    let mut reach_of = BTreeMap::new();
    for (cover, reach) in covers.iter().zip(&reaches) {
        if let (Some(tag), false) = (cover.joined, reach.is_empty()) {
            // One analyzer's doubt about one role is not enough to hold its partner back.
            let best = reach.iter().copied().fold(0.0, f64::max);
            let least = reach_of.entry(tag).or_insert(1.0_f64);
            *least = least.min(best);
        }
    }
    for (cover, reach) in covers.iter_mut().zip(reaches) {
        let joint = cover.joined.and_then(|tag| reach_of.get(&tag)).copied().unwrap_or(1.0);
        if joint < 1.0 || reach.iter().any(|reach| *reach < 1.0) {
            cover.lower(reach.into_iter().map(|reach| reach.min(joint)));
        }
    }
}

/// A number for each group; the same for those that share a pool or a tag.
fn parts(covers: &[Cover], pools: usize) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..covers.len()).collect();
    let mut first_of_pool = vec![None; pools];
    let mut first_of_tag = BTreeMap::new();
    for (idx, cover) in covers.iter().enumerate() {
        for &(pool, _) in cover.items.iter().flat_map(|item| &item.draws) {
            let first = *first_of_pool[pool].get_or_insert(idx);
            unite(&mut parent, first, idx);
        }
        if let Some(tag) = cover.joined {
            let first = *first_of_tag.entry(tag).or_insert(idx);
            unite(&mut parent, first, idx);
        }
    }
    (0..covers.len()).map(|idx| root(&mut parent, idx)).collect()
}

fn unite(parent: &mut [usize], one: usize, other: usize) {
    let (one, other) = (root(parent, one), root(parent, other));
    // The smaller index leads, so the answer does not depend on the order of the unions.
    parent[one.max(other)] = one.min(other);
}

fn root(parent: &mut [usize], mut idx: usize) -> usize {
    while parent[idx] != idx {
        parent[idx] = parent[parent[idx]];
        idx = parent[idx];
    }
    idx
}

fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The whole part of a number, as far as a count holds it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cast to the nearest count there is"
)]
pub(super) fn whole(number: f64) -> u32 {
    number.floor() as u32
}
