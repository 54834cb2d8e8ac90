//! The relaxation of one node of the search tree, what it proves, and what can be made of it.

use super::cover::{Answer, Query};
use super::fast::lagrangian;
use super::instance::{Column, Cover, Instance, whole};
use super::master::{Master, Relaxed};

/// Simplex steps for one relaxation, for each group and pool.
const STEPS: usize = 60;
/// Rounds of generating columns for one relaxation.
const ROUNDS: usize = 40;
/// A difference of costs that is no rounding error, as a share of the cost.
const EXACT: f64 = 1e-9;
/// A gain in the relaxation that is not worth a step, as a share of the cost of skipping.
const IDLE: f64 = 1e-16;

/// An instance of which the ways to cover some groups are all known.
pub(super) struct Part<'a> {
    pub(super) instance: &'a Instance,
    /// Whether the group's columns are all that matter.
    pub(super) listed: Vec<bool>,
    /// What leaving a group uncovered costs.
    pub(super) skipping: f64,
}

/// A bound on the count of one item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    group: usize,
    item: usize,
    least: u32,
    most: u32,
}

/// What the relaxation of a node gives.
pub(super) struct Relaxation {
    /// The price of a GPU, by pool.
    pub(super) prices: Vec<f64>,
    /// No allocation in the node is cheaper.
    pub(super) bound: f64,
    /// By group, the columns that it takes a part of, and how much. Nothing where it is skipped.
    pub(super) parts: Vec<Vec<(Column, f64)>>,
}

impl Part<'_> {
    /// Solves the relaxation of a node, and adds to `columns` what it has to generate.
    pub(super) fn evaluate(
        &self,
        columns: &mut [Vec<Column>],
        branches: &[Branch],
        prices: &[f64],
    ) -> Relaxation {
        let covers = &self.instance.covers;
        let limits = self.limits(branches);
        let mut prices = prices.to_vec();
        let mut bound = f64::NEG_INFINITY;
        let mut parts = Vec::new();
        for _ in 0..ROUNDS {
            let relaxed;
            (relaxed, parts) = self.relax(columns, &limits, &prices);
            prices = relaxed.prices.iter().map(|price| price.max(0.0)).collect();
            let answers: Vec<Answer> = covers
                .iter()
                .enumerate()
                .map(|(group, cover)| {
                    self.answer(cover, &columns[group], &limits[group], group, &prices)
                })
                .collect();
            bound = bound.max(lagrangian(self.instance, &prices, &answers));
            let mut grown = false;
            for (group, answer) in answers.into_iter().enumerate() {
                let known = columns[group].iter();
                let known = known
                    .filter(|column| within(column, &limits[group]))
                    .map(|column| column.priced(&prices))
                    .fold(self.skipping, f64::min);
                if !self.listed[group]
                    && answer.priced < known - EXACT * (known.abs() + 1e-6)
                    && !columns[group].contains(&answer.column)
                {
                    columns[group].push(answer.column);
                    grown = true;
                }
            }
            if !grown {
                break;
            }
        }
        Relaxation { prices, bound, parts }
    }

    /// The bounds of each group's counts; empty where there are none.
    fn limits(&self, branches: &[Branch]) -> Vec<Vec<(u32, u32)>> {
        let mut limits = vec![Vec::new(); self.instance.covers.len()];
        for branch in branches {
            let limits: &mut Vec<(u32, u32)> = &mut limits[branch.group];
            if limits.is_empty() {
                limits.resize(self.instance.covers[branch.group].items.len(), (0, u32::MAX));
            }
            let (least, most) = &mut limits[branch.item];
            (*least, *most) = ((*least).max(branch.least), (*most).min(branch.most));
        }
        limits
    }

    fn relax(
        &self,
        columns: &[Vec<Column>],
        limits: &[Vec<(u32, u32)>],
        prices: &[f64],
    ) -> (Relaxed, Vec<Vec<(Column, f64)>>) {
        // The first column of each group is to skip it, so there is always a solution.
        let skip = Column { counts: Vec::new(), cost: self.skipping, draws: Vec::new() };
        let mut room = self.instance.budgets.clone();
        let mut keys = Vec::new();
        let mut lists = Vec::new();
        for (columns, limits) in columns.iter().zip(limits) {
            let mut list = vec![&skip];
            list.extend(columns.iter().filter(|column| within(column, limits)));
            let fitting = (1..list.len()).filter(|&idx| list[idx].fits(&room));
            let key = fitting
                .min_by(|&a, &b| list[a].priced(prices).total_cmp(&list[b].priced(prices)))
                .unwrap_or(0);
            list[key].take(&mut room);
            keys.push(key);
            lists.push(list);
        }
        let budgets: Vec<f64> = self.instance.budgets.iter().map(|gpus| *gpus as f64).collect();
        let tolerance = IDLE * self.skipping;
        let master = Master { columns: &lists, budgets: &budgets, tolerance };
        let relaxed = master.solve(keys, STEPS * (lists.len() + budgets.len()));
        let parts = relaxed.parts.iter().zip(&lists).map(|(parts, list)| {
            let parts = parts.iter().filter(|(idx, _)| *idx > 0);
            parts.map(|&(idx, amount)| (list[idx].clone(), amount)).collect()
        });
        let parts = parts.collect();
        (relaxed, parts)
    }

    /// The cheapest way to cover a group in this node, or to skip it.
    fn answer(
        &self,
        cover: &Cover,
        columns: &[Column],
        limits: &[(u32, u32)],
        group: usize,
        prices: &[f64],
    ) -> Answer {
        let skip = |bound: f64| {
            let column = Column { counts: Vec::new(), cost: self.skipping, draws: Vec::new() };
            Answer { column, priced: self.skipping, bound: bound.min(self.skipping) }
        };
        if self.listed[group] {
            let columns = columns.iter().filter(|column| within(column, limits));
            let least = columns.map(|column| column.priced(prices)).fold(self.skipping, f64::min);
            return Answer { priced: least, ..skip(least) };
        }
        let query = Query::at(prices);
        let query = if limits.is_empty() { query } else { query.bounded(limits) };
        match cover.cheapest_or_bound(query) {
            Ok(answer) if answer.priced < self.skipping => answer,
            Ok(answer) => skip(answer.bound),
            Err(bound) => skip(bound),
        }
    }

    /// Makes an allocation from a relaxation: groups that take one column keep it, and the others
    /// take the cheapest that is left.
    pub(super) fn rounded(&self, relaxation: &Relaxation) -> Option<Vec<Column>> {
        let mut chosen: Vec<Option<Column>> = relaxation
            .parts
            .iter()
            .map(|parts| if let [(column, _)] = &parts[..] { Some(column.clone()) } else { None })
            .collect();
        let mut room = self.instance.room(chosen.iter().flatten());
        for (group, parts) in relaxation.parts.iter().enumerate() {
            if chosen[group].is_some() {
                continue;
            }
            // The mixture itself, if its counts are whole: it costs and draws no more.
            let mixed = mixed(&self.instance.covers[group], parts);
            let query = Query::at(&relaxation.prices).within(&room);
            let column = match mixed.filter(|column| column.fits(&room)) {
                Some(column) => column,
                None => self.instance.covers[group].cheapest(query)?.column,
            };
            column.take(&mut room);
            chosen[group] = Some(column);
        }
        if room.iter().any(|room| *room < 0) {
            return None;
        }
        chosen.into_iter().collect()
    }

    /// Where to branch: the count that is least decided.
    pub(super) fn branch(&self, relaxation: &Relaxation) -> Option<[Branch; 2]> {
        let mut best: Option<(f64, [Branch; 2])> = None;
        for (group, parts) in relaxation.parts.iter().enumerate() {
            let cover = &self.instance.covers[group];
            if parts.len() < 2 || mixed(cover, parts).is_some() {
                continue;
            }
            let all: f64 = parts.iter().map(|(_, amount)| amount).sum();
            for item in 0..cover.items.len() {
                let counts = || parts.iter().map(|(column, amount)| (column.counts[item], amount));
                let mean: f64 =
                    counts().map(|(count, amount)| f64::from(count) * amount).sum::<f64>() / all;
                let below = counts().filter(|(count, _)| f64::from(*count) <= mean);
                let (Some(low), Some(high)) = (
                    counts().map(|(count, _)| count).min(),
                    counts().map(|(count, _)| count).max(),
                ) else {
                    continue;
                };
                if low == high {
                    continue;
                }
                let below: f64 = below.map(|(_, amount)| amount / all).sum();
                let at = whole(mean).clamp(low, high - 1);
                let price = cover.items[item].least_price(&relaxation.prices);
                let spread = price * f64::from(high - low);
                let score = below.min(1.0 - below) * (spread + EXACT);
                if best.is_none_or(|(other, _)| score > other) {
                    let less = Branch { group, item, least: 0, most: at };
                    let more = Branch { group, item, least: at + 1, most: u32::MAX };
                    best = Some((score, [less, more]));
                }
            }
        }
        best.map(|(_, branches)| branches)
    }
}

/// The column that a mixture is, when it is one.
fn mixed(cover: &Cover, parts: &[(Column, f64)]) -> Option<Column> {
    let all: f64 = parts.iter().map(|(_, amount)| amount).sum();
    if cover.single || (all - 1.0).abs() > 1e-6 {
        return None;
    }
    let counts: Option<Vec<u32>> = (0..cover.items.len())
        .map(|item| {
            let counts = parts.iter().map(|(column, amount)| (column.counts[item], amount));
            let mean: f64 = counts.map(|(count, amount)| f64::from(count) * amount).sum();
            let near = (mean - mean.round()).abs() < 1e-6;
            near.then(|| whole(mean.round()))
        })
        .collect();
    counts.filter(|counts| cover.is_covered(counts)).map(|counts| cover.column(counts))
}

fn within(column: &Column, limits: &[(u32, u32)]) -> bool {
    let counts = column.counts.iter().zip(limits);
    counts.into_iter().all(|(count, (least, most))| (least..=most).contains(&count))
}
