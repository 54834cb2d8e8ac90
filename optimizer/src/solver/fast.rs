//! A good allocation, quickly: prices for GPUs, then repair.
//!
//! Each pool gets a price for its GPUs, and each group takes what is cheapest with these prices. The
//! prices are those that make the pools come out even, as far as they can: they maximize the
//! Lagrangian bound, by a subgradient method with Polyak's step. Where a pool is still overdrawn,
//! groups give way to the next best, the smallest loss for each GPU first. At last groups, alone and
//! in pairs, take what is cheaper in what is left.

use super::cover::{Answer, Query};
use super::instance::{Column, Cover, Instance};

/// Steps of the subgradient method, for each set of columns.
const STEPS: usize = 40;
/// How often columns are added at the best prices so far.
const ROUNDS: usize = 2;
/// Groups for which a pair is sought, those with most to gain.
const PAIRS: usize = 64;
/// Passes of the improvement.
const PASSES: usize = 4;
/// A gain that is no rounding error, as a share of the cost.
const GAIN: f64 = 1e-9;

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Approximation {
    /// One column for each group that together fit, if such were found.
    pub(super) chosen: Option<Vec<Column>>,
    /// Ways to cover each group that are worth considering.
    pub(super) columns: Vec<Vec<Column>>,
    /// The prices of a GPU, by pool.
    pub(super) prices: Vec<f64>,
    /// No allocation that covers all is cheaper.
    pub(super) bound: f64,
}

/// Approximates; `None` when some group cannot be covered by itself.
pub(super) fn approximate(instance: &Instance) -> Option<Approximation> {
    let free = vec![0.0; instance.budgets.len()];
    let answers: Option<Vec<Answer>> =
        instance.covers.iter().map(|cover| cover.cheapest(Query::at(&free))).collect();
    let answers = answers?;
    let bound = answers.iter().map(|answer| answer.bound).sum();
    let cheapest: Vec<Column> = answers.into_iter().map(|answer| answer.column).collect();
    if instance.room(&cheapest).iter().all(|room| *room >= 0) {
        let columns = cheapest.iter().map(|column| vec![column.clone()]).collect();
        return Some(Approximation { chosen: Some(cheapest), columns, prices: free, bound });
    }
    let mut columns: Vec<Vec<Column>> = instance.covers.iter().map(Cover::alone_columns).collect();
    let floors: Vec<f64> = cheapest.iter().map(|column| column.cost).collect();
    add_columns(&mut columns, cheapest);
    // A first allocation, whatever it costs, tells the method of steps how far it has to go.
    let mut best = Best::new(repaired(instance, &columns, &free));
    let mut dual = Dual { prices: free, bound };
    for _ in 0..ROUNDS {
        dual.ascend(instance, &columns, best.cost);
        let answers: Option<Vec<Answer>> =
            instance.covers.iter().map(|cover| cover.cheapest(Query::at(&dual.prices))).collect();
        let answers = answers?;
        dual.bound = bound.max(lagrangian(instance, &dual.prices, &answers));
        add_columns(&mut columns, answers.into_iter().map(|answer| answer.column));
        best.offer(repaired(instance, &columns, &dual.prices));
    }
    if let Some(chosen) = &mut best.chosen {
        improve(instance, &columns, chosen, Some(&floors));
    }
    Some(Approximation { chosen: best.chosen, columns, prices: dual.prices, bound: dual.bound })
}

/// The least that any allocation can cost, by the cheapest way for each group at these prices.
pub(super) fn lagrangian(instance: &Instance, prices: &[f64], answers: &[Answer]) -> f64 {
    let budgets = instance.budgets.iter().zip(prices);
    let budgets: f64 = budgets.map(|(budget, price)| *budget as f64 * price).sum();
    answers.iter().map(|answer| answer.bound).sum::<f64>() - budgets
}

/// Adds each group's column where it is new.
pub(super) fn add_columns(
    columns: &mut [Vec<Column>],
    new: impl IntoIterator<Item = Column>,
) -> bool {
    let mut any = false;
    for (columns, column) in columns.iter_mut().zip(new) {
        if !columns.contains(&column) {
            columns.push(column);
            any = true;
        }
    }
    any
}

/// The best prices so far, and the bound that they prove for the columns at hand.
struct Dual {
    prices: Vec<f64>,
    bound: f64,
}

impl Dual {
    fn ascend(&mut self, instance: &Instance, columns: &[Vec<Column>], cost: f64) {
        let scale: Vec<f64> =
            instance.budgets.iter().map(|budget| (*budget as f64).max(1.0)).collect();
        let (mut prices, mut best_bound) = (self.prices.clone(), f64::NEG_INFINITY);
        let (mut pace, mut idle) = (1.0, 0);
        for _ in 0..STEPS {
            let mut room = instance.budgets.clone();
            let mut bound = 0.0;
            for columns in columns {
                let (column, cost) = cheapest(columns, &prices);
                columns[column].take(&mut room);
                bound += cost;
            }
            let budgets = instance.budgets.iter().zip(&prices);
            bound -= budgets.map(|(budget, price)| *budget as f64 * price).sum::<f64>();
            if bound > best_bound {
                (best_bound, idle) = (bound, 0);
                self.prices.clone_from(&prices);
            } else {
                idle += 1;
                if idle == 4 {
                    (pace, idle) = (pace / 2.0, 0);
                }
            }
            let slope: Vec<f64> = room
                .iter()
                .zip(&scale)
                .zip(&prices)
                // A free pool that has room stays free.
                .map(
                    |((room, scale), price)| {
                        if *room > 0 && *price <= 0.0 { 0.0 } else { -*room as f64 / scale }
                    },
                )
                .collect();
            let norm: f64 = slope.iter().map(|slope| slope * slope).sum();
            let aim = if cost.is_finite() { cost } else { bound.abs() * 1.05 + 1.0 };
            if norm <= 0.0 || aim - bound <= GAIN * aim.abs() {
                break;
            }
            let step = pace * (aim - bound) / norm;
            for ((price, slope), scale) in prices.iter_mut().zip(&slope).zip(&scale) {
                *price = (*price + step * slope / scale).max(0.0);
            }
        }
    }
}

/// The best allocation so far.
struct Best {
    chosen: Option<Vec<Column>>,
    cost: f64,
}

impl Best {
    fn new(chosen: Option<Vec<Column>>) -> Self {
        let mut best = Self { chosen: None, cost: f64::INFINITY };
        best.offer(chosen);
        best
    }

    fn offer(&mut self, chosen: Option<Vec<Column>>) {
        let Some(chosen) = chosen else { return };
        let cost = chosen.iter().map(|column| column.cost).sum();
        if cost < self.cost {
            *self = Self { chosen: Some(chosen), cost };
        }
    }
}

/// An allocation near what each group would take at these prices, if one is found.
fn repaired(instance: &Instance, columns: &[Vec<Column>], prices: &[f64]) -> Option<Vec<Column>> {
    let choice = columns.iter().map(|columns| cheapest(columns, prices).0).collect();
    repair(instance, columns, choice, prices)
}

/// The column that is cheapest at these prices, and what it costs with them.
fn cheapest(columns: &[Column], prices: &[f64]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (idx, column) in columns.iter().enumerate() {
        let cost = column.priced(prices);
        if cost < best.1 {
            best = (idx, cost);
        }
    }
    best
}

/// Moves groups to other columns until no pool is overdrawn; `None` when that fails.
fn repair(
    instance: &Instance,
    columns: &[Vec<Column>],
    mut choice: Vec<usize>,
    prices: &[f64],
) -> Option<Vec<Column>> {
    let mut room = instance.room(columns.iter().zip(&choice).map(|(of, &idx)| &of[idx]));
    // Each pass moves at least one group and lowers the overdraft, so this ends long before.
    for _ in 0..instance.covers.len() {
        if room.iter().all(|room| *room >= 0) {
            break;
        }
        let mut offers = Vec::new();
        for (group, columns) in columns.iter().enumerate() {
            let from = &columns[choice[group]];
            if from.draws.iter().all(|&(pool, _)| room[pool] >= 0) {
                continue;
            }
            for (to, column) in columns.iter().enumerate() {
                let relief = relief(instance, &room, from, column);
                if relief > 0.0 {
                    let loss = column.priced(prices) - from.priced(prices);
                    offers.push((loss / relief, group, to));
                }
            }
        }
        offers.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut moved = vec![false; columns.len()];
        for (_, group, to) in offers {
            let (from, to_column) = (&columns[group][choice[group]], &columns[group][to]);
            if moved[group] || relief(instance, &room, from, to_column) <= 0.0 {
                continue;
            }
            from.give_back(&mut room);
            to_column.take(&mut room);
            (choice[group], moved[group]) = (to, true);
        }
        if !moved.contains(&true) {
            break;
        }
    }
    let mut chosen: Vec<Option<Column>> =
        columns.iter().zip(choice).map(|(of, idx)| Some(of[idx].clone())).collect();
    evict(&mut chosen, &mut room);
    // The groups that have to go anywhere else, those with the fewest ways first.
    let mut homeless: Vec<usize> =
        (0..chosen.len()).filter(|&group| chosen[group].is_none()).collect();
    homeless.sort_by_key(|&group| columns[group].len());
    for group in homeless {
        let query = Query::at(prices).within(&room);
        let column = instance.covers[group].cheapest(query)?.column;
        column.take(&mut room);
        chosen[group] = Some(column);
    }
    chosen.into_iter().collect()
}

/// By how much a move lowers the overdraft, as a sum of shares of the budgets.
fn relief(instance: &Instance, room: &[i64], from: &Column, to: &Column) -> f64 {
    let change = |pool: usize| {
        let drawn = |column: &Column| {
            column.draws.iter().find(|(other, _)| *other == pool).map_or(0, |(_, gpus)| *gpus)
        };
        let after = room[pool] + drawn(from) - drawn(to);
        let over = |room: i64| (-room).max(0);
        (over(room[pool]) - over(after)) as f64 / (instance.budgets[pool] as f64).max(1.0)
    };
    let pools = from.draws.iter().map(|(pool, _)| *pool);
    let others = to.draws.iter().map(|(pool, _)| *pool);
    let others = others.filter(|pool| from.draws.iter().all(|(other, _)| other != pool));
    pools.chain(others).map(change).sum()
}

/// Takes the groups that draw most out of overdrawn pools until none is overdrawn.
fn evict(chosen: &mut [Option<Column>], room: &mut [i64]) {
    while let Some(pool) = room.iter().position(|room| *room < 0) {
        let drawn = |column: &Option<Column>| {
            let draws = column.iter().flat_map(|column| &column.draws);
            draws.filter(|(other, _)| *other == pool).map(|(_, gpus)| *gpus).sum::<i64>()
        };
        let Some(most) = chosen.iter_mut().max_by_key(|column| drawn(column)) else { return };
        let Some(column) = most.take() else { return };
        column.give_back(room);
    }
}

/// Lets groups take cheaper columns in what is left, alone and in pairs, while that helps. What each
/// group costs at least saves it the search where it is known.
pub(super) fn improve(
    instance: &Instance,
    columns: &[Vec<Column>],
    chosen: &mut [Column],
    floors: Option<&[f64]>,
) {
    let prices = vec![0.0; instance.budgets.len()];
    let mut room = instance.room(chosen.iter());
    for _ in 0..PASSES {
        let mut improved = false;
        for (group, (cover, column)) in instance.covers.iter().zip(chosen.iter_mut()).enumerate() {
            let gain = GAIN * column.cost.abs();
            if floors.is_some_and(|floors| column.cost <= floors[group] + gain) {
                continue;
            }
            column.give_back(&mut room);
            if let Some(answer) = cover.cheapest(Query::at(&prices).within(&room))
                && answer.column.cost < column.cost - gain
            {
                *column = answer.column;
                improved = true;
            }
            column.take(&mut room);
        }
        improved |= pair_up(columns, chosen, &mut room);
        if !improved {
            return;
        }
    }
}

/// Lets a group take a cheaper column that does not fit, where another can make way for less than
/// that saves.
fn pair_up(columns: &[Vec<Column>], chosen: &mut [Column], room: &mut [i64]) -> bool {
    let saving = |group: usize, chosen: &[Column]| {
        let least = columns[group].iter().map(|column| column.cost).fold(f64::INFINITY, f64::min);
        chosen[group].cost - least
    };
    let mut eager: Vec<(f64, usize)> =
        (0..chosen.len()).map(|group| (saving(group, chosen), group)).collect();
    eager.retain(|(saving, group)| *saving > GAIN * chosen[*group].cost.abs());
    eager.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut improved = false;
    for (_, group) in eager.into_iter().take(PAIRS) {
        let mut best: Option<(f64, usize, usize, usize)> = None;
        for (to, column) in columns[group].iter().enumerate() {
            let saved = chosen[group].cost - column.cost;
            if saved <= best.map_or(GAIN * chosen[group].cost.abs(), |best| best.0) {
                continue;
            }
            chosen[group].give_back(room);
            column.take(room);
            for (other, others) in columns.iter().enumerate().filter(|(idx, _)| *idx != group) {
                let from = &chosen[other];
                if from.draws.iter().all(|&(pool, _)| room[pool] >= 0) {
                    continue;
                }
                from.give_back(room);
                for (way, make_way) in others.iter().enumerate() {
                    let gain = saved - (make_way.cost - from.cost);
                    let least = best.map_or(GAIN * chosen[group].cost.abs(), |best| best.0);
                    if gain > least && fits(room, make_way) {
                        best = Some((gain, to, other, way));
                    }
                }
                from.take(room);
            }
            column.give_back(room);
            chosen[group].take(room);
        }
        if let Some((_, to, other, way)) = best {
            for (group, column) in [(group, &columns[group][to]), (other, &columns[other][way])] {
                chosen[group].give_back(room);
                column.take(room);
                chosen[group] = column.clone();
            }
            improved = true;
        }
    }
    improved
}

/// Whether no pool is overdrawn once the column is taken.
fn fits(room: &[i64], column: &Column) -> bool {
    let drawn = |pool: usize| {
        column.draws.iter().find(|(other, _)| *other == pool).map_or(0, |(_, gpus)| *gpus)
    };
    room.iter().enumerate().all(|(pool, room)| *room >= drawn(pool))
}
