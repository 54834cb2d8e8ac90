//! One group: the cheapest counts that cover it, at given prices of GPUs.

use super::instance::{Column, Cover, Item, price_of};
use super::problem::ROUNDING;

/// Counts that a search may try for one group before it takes the best that it has found.
const TRIES: usize = 20_000;

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    /// The price of a GPU, by pool.
    pub(super) prices: &'a [f64],
    /// GPUs that are left, by pool; `None` is no limit.
    pub(super) room: Option<&'a [i64]>,
    /// The fewest and the most of each item; `None` is no limit beyond the caps.
    pub(super) bounds: Option<&'a [(u32, u32)]>,
    /// Which of two equally cheap answers to prefer.
    pub(super) order: Order,
}

/// Which of several equally cheap answers to prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As many as possible of what is cheaper for what it covers, then of what comes first.
    CheapestPerCoverage,
    /// As few as possible of what is dearer, then of what comes last.
    FewestOfTheDearest,
}

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The counts.
    pub(super) column: Column,
    /// The column's cost at the prices.
    pub(super) priced: f64,
    /// No way to cover the group is cheaper at the prices than this.
    pub(super) bound: f64,
}

impl<'a> Query<'a> {
    /// The cheapest way at these prices, without limits.
    pub(super) const fn at(prices: &'a [f64]) -> Self {
        Self { prices, room: None, bounds: None, order: Order::CheapestPerCoverage }
    }

    /// The same within what the pools hold.
    pub(super) const fn within(self, room: &'a [i64]) -> Self {
        Self { room: Some(room), ..self }
    }

    /// The same within these counts.
    pub(super) const fn bounded(self, bounds: &'a [(u32, u32)]) -> Self {
        Self { bounds: Some(bounds), ..self }
    }

    /// The same with another preference.
    pub(super) const fn ordered(self, order: Order) -> Self {
        Self { order, ..self }
    }

    fn bounds(&self, idx: usize, item: &Item) -> (u32, u32) {
        let (least, most) = self.bounds.map_or((0, u32::MAX), |bounds| bounds[idx]);
        (least, most.min(item.cap))
    }
}

impl Cover {
    /// The cheapest counts that cover the group; `None` when none were found.
    pub(super) fn cheapest(&self, query: Query<'_>) -> Option<Answer> {
        self.cheapest_or_bound(query).ok()
    }

    /// The cheapest counts that cover the group, or what they cost at least: infinitely much when
    /// there are none.
    pub(super) fn cheapest_or_bound(&self, query: Query<'_>) -> Result<Answer, f64> {
        if self.single {
            return self.cheapest_alone(query).ok_or(f64::INFINITY);
        }
        let mut search = Search::new(self, query);
        search.run();
        let exhausted = search.tries >= TRIES;
        let Some(counts) = search.best else {
            return Err(if exhausted { search.floor } else { f64::INFINITY });
        };
        let column = self.column(counts);
        let priced = column.priced(query.prices);
        let bound = if exhausted { priced.min(search.floor) } else { priced };
        Ok(Answer { column, priced, bound })
    }

    /// All ways to cover the group that cost less than `limit` at the prices and waste nothing;
    /// `None` when there are more than `most`.
    pub(super) fn all_below(
        &self,
        query: Query<'_>,
        limit: f64,
        most: usize,
    ) -> Option<Vec<Column>> {
        if self.single {
            let mut columns = self.alone_columns();
            columns.retain(|column| column.priced(query.prices) < limit);
            return Some(columns);
        }
        let mut search = Search::new(self, query);
        search.best_cost = limit;
        search.all = Some((Vec::new(), most));
        search.run();
        let (all, _) = search.all.take()?;
        let complete = search.tries < TRIES && all.len() <= most;
        complete.then(|| all.into_iter().map(|counts| self.column(counts)).collect())
    }

    fn cheapest_alone(&self, query: Query<'_>) -> Option<Answer> {
        let mut best: Option<Answer> = None;
        for column in self.alone_columns() {
            let within = self.items.iter().enumerate().all(|(idx, item)| {
                let (least, most) = query.bounds(idx, item);
                (least..=most).contains(&column.counts[idx])
            });
            let priced = column.priced(query.prices);
            let better = best.as_ref().is_none_or(|best| priced < best.priced);
            if within && better && query.room.is_none_or(|room| column.fits(room)) {
                best = Some(Answer { column, priced, bound: priced });
            }
        }
        best
    }
}

/// A depth-first search over the counts of one item after the other.
struct Search<'a> {
    cover: &'a Cover,
    query: Query<'a>,
    /// The items, in the order in which they are tried.
    order: Vec<usize>,
    /// For each place in the order and each target, the least price of covering all of it with the
    /// items from there on.
    rates: Vec<Vec<f64>>,
    /// No answer is cheaper.
    floor: f64,
    counts: Vec<u32>,
    open: Vec<Vec<f64>>,
    room: Option<Vec<i64>>,
    best: Option<Vec<u32>>,
    best_cost: f64,
    /// Where every answer below `best_cost` is wanted: those found, and the most.
    all: Option<(Vec<Vec<u32>>, usize)>,
    tries: usize,
}

impl<'a> Search<'a> {
    fn new(cover: &'a Cover, query: Query<'a>) -> Self {
        let prices: Vec<f64> =
            cover.items.iter().map(|item| item.least_price(query.prices)).collect();
        let order = query.order.of(cover, &prices);
        let mut rates = vec![vec![f64::INFINITY; cover.targets.len()]; order.len() + 1];
        for (place, &idx) in order.iter().enumerate().rev() {
            let (earlier, later) = rates.split_at_mut(place + 1);
            let rest = earlier[place].iter_mut().zip(&later[0]).zip(&cover.items[idx].covers);
            for ((rate, later), &share) in rest {
                let own = if share > 0.0 { prices[idx].max(0.0) / share } else { f64::INFINITY };
                *rate = own.min(*later);
            }
        }
        let mut open = vec![vec![0.0; cover.targets.len()]; order.len() + 1];
        open[0].clone_from(&cover.targets);
        let mut search = Self {
            cover,
            query,
            rates,
            floor: 0.0,
            counts: vec![0; order.len()],
            order,
            open,
            room: query.room.map(<[i64]>::to_vec),
            best: None,
            best_cost: f64::INFINITY,
            all: None,
            tries: 0,
        };
        search.floor = search.rest(0);
        search
    }

    fn run(&mut self) {
        self.place(0, 0.0);
    }

    /// Tries the counts of the item at a place in the order, and of all after it.
    fn place(&mut self, place: usize, cost: f64) {
        if place == self.order.len() {
            self.found(place, cost);
            return;
        }
        let cover = self.cover;
        let idx = self.order[place];
        let item = &cover.items[idx];
        let (least, most) = self.query.bounds(idx, item);
        let useful = item.needed(&self.open[place]).unwrap_or(0).max(least);
        let most = most.min(useful).min(self.room_for(item));
        if most < least {
            return;
        }
        let ascending = self.query.order == Order::FewestOfTheDearest;
        // With one target and one price, going down only ever makes it dearer, once so few are left
        // that others have to help.
        let steady = self.all.is_none()
            && !ascending
            && cover.targets.len() == 1
            && (item.kept == 0 || most <= item.kept);
        for step in 0..=most - least {
            let count = if ascending { least + step } else { most - step };
            self.tries += 1;
            if self.tries >= TRIES {
                return;
            }
            let drawn = price_of(&item.draws, self.query.prices);
            let with = cost + item.cost(count) + drawn * f64::from(count);
            for need in 0..cover.targets.len() {
                let open = self.open[place][need] - item.covers[need] * f64::from(count);
                self.open[place + 1][need] = open;
            }
            if with + self.rest(place + 1) >= self.best_cost {
                if steady && self.open[place + 1][0] > 2.0 * ROUNDING {
                    return;
                }
                continue;
            }
            self.counts[idx] = count;
            self.draw(item, i64::from(count));
            self.place(place + 1, with);
            self.draw(item, -i64::from(count));
            self.counts[idx] = 0;
        }
    }

    /// The least that it costs to cover what is open with the items from a place on.
    fn rest(&self, place: usize) -> f64 {
        let open = self.open[place].iter().zip(&self.rates[place]);
        let open = open.filter(|(open, _)| **open > 1.5 * ROUNDING);
        // Rounding must not make the bound exceed what it bounds.
        open.map(|(open, rate)| (open - ROUNDING) * rate).fold(0.0, f64::max)
    }

    fn found(&mut self, place: usize, cost: f64) {
        if self.open[place].iter().any(|open| *open > 1.5 * ROUNDING) || cost >= self.best_cost {
            return;
        }
        match &mut self.all {
            None => {
                self.best_cost = cost;
                self.best = Some(self.counts.clone());
            }
            Some((all, most)) => {
                let spare = self.cover.wastes(&self.counts, self.query.bounds);
                if !spare {
                    all.push(self.counts.clone());
                }
                if all.len() > *most {
                    self.tries = TRIES;
                }
            }
        }
    }

    fn room_for(&self, item: &Item) -> u32 {
        let Some(room) = &self.room else { return u32::MAX };
        let counts = item.draws.iter().map(|&(pool, gpus)| room[pool].max(0) / gpus);
        counts.min().map_or(u32::MAX, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn draw(&mut self, item: &Item, count: i64) {
        let Some(room) = &mut self.room else { return };
        for &(pool, gpus) in &item.draws {
            room[pool] -= gpus * count;
        }
    }
}

impl Cover {
    /// Whether the group stays covered with one replica less.
    fn wastes(&self, counts: &[u32], bounds: Option<&[(u32, u32)]>) -> bool {
        let open = self.open(counts);
        counts.iter().enumerate().any(|(idx, &count)| {
            let least = bounds.map_or(0, |bounds| bounds[idx].0);
            let covers = &self.items[idx].covers;
            count > least && covers.iter().zip(&open).all(|(cover, open)| open + cover <= ROUNDING)
        })
    }
}

impl Order {
    /// The items in the order in which a search tries them.
    fn of(self, cover: &Cover, prices: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..cover.items.len()).collect();
        let per_coverage = |idx: usize| {
            let shares = cover.items[idx].covers.iter().zip(&cover.targets);
            let covered: f64 = shares.map(|(share, target)| share / target).sum();
            if covered > 0.0 { prices[idx] / covered } else { f64::INFINITY }
        };
        match self {
            Self::CheapestPerCoverage => {
                let rates: Vec<f64> = order.iter().map(|&idx| per_coverage(idx)).collect();
                order.sort_by(|&a, &b| rates[a].total_cmp(&rates[b]));
            }
            Self::FewestOfTheDearest => {
                order.reverse();
                order.sort_by(|&a, &b| prices[b].total_cmp(&prices[a]));
            }
        }
        order
    }
}

/// How many more replicas of an item cover what is open of the target that is covered least.
pub(super) fn replicas_open(cover: &Cover, open: &[f64]) -> f64 {
    let replicas = |(need, open): (usize, &f64)| {
        let best = cover.items.iter().filter(|item| item.covers[need] > 0.0);
        let best =
            best.min_by(|a, b| (a.add / a.covers[need]).total_cmp(&(b.add / b.covers[need])));
        best.map_or(0.0, |item| open.max(0.0) / item.covers[need])
    };
    open.iter().enumerate().filter(|(_, open)| **open > ROUNDING).map(replicas).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::instance::{Instance, count_for};
    use crate::solver::{Group, GroupOption, Problem};
    use crate::units::{HourlyCost, Replicas};

    /// The counts of one group of options (cost, covers), without pools.
    fn check(options: &[(f64, &[f64])], expected: &[u32]) {
        let option = |&(cost, covers): &(f64, &[f64])| GroupOption {
            cost: HourlyCost::new(cost),
            covers: covers.to_vec(),
            max: Replicas::new(u32::MAX),
            ..GroupOption::default()
        };
        let options = options.iter().map(option).collect();
        let group = Group { priority: 1.0, options, single: false, joined: None };
        let problem = Problem { groups: vec![group], ..Problem::default() };
        let cover = &Instance::split(&problem)[0].covers[0];
        let answer = cover.cheapest(Query::at(&[])).unwrap();
        assert_eq!(answer.column.counts, expected);
    }

    #[test]
    fn the_cheapest_mix_covers_every_need() {
        check(&[(5.0, &[0.4]), (15.0, &[0.8])], &[3, 0]);
        // 3 at 5 cost as much as 5 + 10, and the cheaper per coverage goes first.
        check(&[(5.0, &[0.4]), (10.0, &[0.6])], &[3, 0]);
        check(&[(10.0, &[0.6]), (6.0, &[0.4])], &[1, 1]);
        check(&[(1.0, &[1.0, 0.1]), (1.0, &[0.1, 1.0])], &[1, 1]);
        check(&[(1.0, &[0.0]), (9.0, &[0.3])], &[0, 4]);
        check(&[(1.0, &[f64::NAN]), (9.0, &[0.5])], &[0, 2]);
        check(&[(1.0, &[f64::INFINITY]), (9.0, &[0.5])], &[0, 0]);
        check(&[(0.0, &[0.3]), (9.0, &[0.5])], &[4, 0]);
    }

    #[test]
    fn tenths_add_up() {
        assert_eq!(count_for(1.0, 0.1), Some(10));
        assert_eq!(count_for(0.3, 0.1), Some(3));
        assert_eq!(count_for(1.0, 1e-12), None);
        assert_eq!(count_for(0.0, 0.0), Some(0));
    }
}
