//! The linear relaxation: each group takes a mixture of its columns.
//!
//! Minimize Σ c·z subject to Σ z = 1 for each group and Σ u·z ≤ budget for each pool. There are many
//! groups and few pools, so this is solved by the primal simplex method with generalized upper
//! bounds (Dantzig and Van Slyke, 1967): each group has a key column that takes up what its other
//! columns leave, and only pools without slack have a row. The matrix to invert has as many rows as
//! there are such pools.

use super::instance::Column;

/// A pivot or a ratio that is taken for zero.
const ZERO: f64 = 1e-9;
/// Steps without progress before the rule changes to the one that cannot cycle.
const STALLS: usize = 40;

/// The relaxation of some groups' columns.
#[derive(Debug)]
pub(super) struct Master<'a> {
    /// The columns that each group may take.
    pub(super) columns: &'a [Vec<&'a Column>],
    /// The GPUs of each pool.
    pub(super) budgets: &'a [f64],
    /// A gain that is not worth a step.
    pub(super) tolerance: f64,
}

/// An optimal solution of the relaxation.
#[derive(Debug)]
pub(super) struct Relaxed {
    /// The price of a GPU, by pool: what one more would save.
    pub(super) prices: Vec<f64>,
    /// By group, the columns that it takes a part of, and how much.
    pub(super) parts: Vec<Vec<(usize, f64)>>,
}

/// The columns with a row, and the pools without slack.
struct Basis {
    /// The key column of each group.
    keys: Vec<usize>,
    /// Other columns that are taken in part: group and column.
    extras: Vec<(usize, usize)>,
    /// Pools that are used up. As many as extras.
    tight: Vec<usize>,
    /// What the keys alone leave in each pool.
    left: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Enters {
    Column(usize, usize),
    /// The slack of a pool, by its place among the tight ones.
    Slack(usize),
}

enum Leaves {
    Extra(usize),
    Slack(usize),
    Key(usize),
}

impl Master<'_> {
    /// Solves it from columns, one for each group, that fit together. After `most` steps it stops,
    /// and the prices are only good.
    pub(super) fn solve(&self, keys: Vec<usize>, most: usize) -> Relaxed {
        let mut left = self.budgets.to_vec();
        for (columns, &key) in self.columns.iter().zip(&keys) {
            for &(pool, gpus) in &columns[key].draws {
                left[pool] -= gpus as f64;
            }
        }
        let mut basis = Basis { keys, extras: Vec::new(), tight: Vec::new(), left };
        let mut prices = vec![0.0; self.budgets.len()];
        let mut stalled = 0;
        for _ in 0..most {
            let Some(inverse) = self.inverse(&basis) else { break };
            prices = self.prices(&basis, &inverse);
            let entering = self.entering(&basis, &prices, stalled > STALLS);
            let Some(enters) = entering else { break };
            let Some(progress) = self.step(&mut basis, &inverse, enters) else { break };
            stalled = if progress { 0 } else { stalled + 1 };
        }
        let parts = self.parts(&basis);
        Relaxed { prices, parts }
    }

    /// What an extra draws beyond its group's key, by pool.
    fn difference(&self, basis: &Basis, (group, column): (usize, usize)) -> Vec<f64> {
        let mut difference = vec![0.0; self.budgets.len()];
        for &(pool, gpus) in &self.columns[group][column].draws {
            difference[pool] += gpus as f64;
        }
        for &(pool, gpus) in &self.columns[group][basis.keys[group]].draws {
            difference[pool] -= gpus as f64;
        }
        difference
    }

    /// The inverse of the extras' differences in the tight pools, row by extra.
    fn inverse(&self, basis: &Basis) -> Option<Vec<Vec<f64>>> {
        let size = basis.tight.len();
        let mut rows = vec![vec![0.0; 2 * size]; size];
        for (extra, &of) in basis.extras.iter().enumerate() {
            let difference = self.difference(basis, of);
            for (row, &pool) in basis.tight.iter().enumerate() {
                rows[row][extra] = difference[pool];
            }
        }
        for (row, values) in rows.iter_mut().enumerate() {
            values[size + row] = 1.0;
        }
        invert(&mut rows)?;
        Some(rows.into_iter().map(|row| row[size..].to_vec()).collect())
    }

    fn prices(&self, basis: &Basis, inverse: &[Vec<f64>]) -> Vec<f64> {
        let mut prices = vec![0.0; self.budgets.len()];
        for (row, &pool) in basis.tight.iter().enumerate() {
            let dearer = basis.extras.iter().enumerate().map(|(extra, &(group, column))| {
                let columns = &self.columns[group];
                (columns[column].cost - columns[basis.keys[group]].cost) * inverse[extra][row]
            });
            prices[pool] = -dearer.sum::<f64>();
        }
        prices
    }

    /// What to bring in: the largest gain, or, to be sure of an end, the first.
    fn entering(&self, basis: &Basis, prices: &[f64], first: bool) -> Option<Enters> {
        let mut best = (-self.tolerance, None);
        for (place, &pool) in basis.tight.iter().enumerate() {
            if prices[pool] < best.0 {
                best = (prices[pool], Some(Enters::Slack(place)));
                if first {
                    return best.1;
                }
            }
        }
        for (group, columns) in self.columns.iter().enumerate() {
            let key = columns[basis.keys[group]].priced(prices);
            for (idx, column) in columns.iter().enumerate() {
                let gain = column.priced(prices) - key;
                if gain < best.0 && idx != basis.keys[group] {
                    best = (gain, Some(Enters::Column(group, idx)));
                    if first {
                        return best.1;
                    }
                }
            }
        }
        best.1
    }

    /// Brings in a column or a slack as far as it goes. Says whether that was any way at all;
    /// `None` when nothing stops it, which only rounding can bring about.
    fn step(&self, basis: &mut Basis, inverse: &[Vec<f64>], enters: Enters) -> Option<bool> {
        let enters_by: Vec<f64> = match enters {
            Enters::Column(group, column) => self.difference(basis, (group, column)),
            Enters::Slack(place) => {
                let mut unit = vec![0.0; self.budgets.len()];
                unit[basis.tight[place]] = 1.0;
                unit
            }
        };
        let apply = |by: &[f64]| -> Vec<f64> {
            let row = |row: &Vec<f64>| {
                row.iter().zip(&basis.tight).map(|(value, &pool)| value * by[pool]).sum()
            };
            inverse.iter().map(row).collect()
        };
        let (amounts, falls) = (apply(&basis.left), apply(&enters_by));
        let differences: Vec<Vec<f64>> =
            basis.extras.iter().map(|&extra| self.difference(basis, extra)).collect();
        let mut best: Option<(f64, f64, Leaves)> = None;
        // Of those that stop it at once, the largest pivot is the safest.
        let mut offer = |amount: f64, fall: f64, leaves: Leaves| {
            if fall > ZERO {
                let ratio = amount.max(0.0) / fall;
                let better = best.as_ref().is_none_or(|(least, pivot, _)| {
                    ratio < least - ZERO || (ratio <= least + ZERO && fall > *pivot)
                });
                if better {
                    best = Some((ratio, fall, leaves));
                }
            }
        };
        for (extra, (&amount, &fall)) in amounts.iter().zip(&falls).enumerate() {
            offer(amount, fall, Leaves::Extra(extra));
        }
        for pool in (0..self.budgets.len()).filter(|pool| !basis.tight.contains(pool)) {
            let through = |values: &[f64]| -> f64 {
                values.iter().zip(&differences).map(|(value, by)| value * by[pool]).sum()
            };
            let slack = basis.left[pool] - through(&amounts);
            offer(slack, enters_by[pool] - through(&falls), Leaves::Slack(pool));
        }
        let mut groups: Vec<usize> = basis.extras.iter().map(|&(group, _)| group).collect();
        let entering_group = match enters {
            Enters::Column(group, _) => Some(group),
            Enters::Slack(_) => None,
        };
        groups.extend(entering_group);
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let of_group = |values: &[f64]| -> f64 {
                let values = values.iter().zip(&basis.extras);
                values.filter(|(_, extra)| extra.0 == group).map(|(value, _)| value).sum()
            };
            let enters = if entering_group == Some(group) { 1.0 } else { 0.0 };
            let (taken, change) = (of_group(&amounts), of_group(&falls));
            offer(1.0 - taken, enters - change, Leaves::Key(group));
        }
        let (ratio, _, leaves) = best?;
        self.replace(basis, enters, leaves);
        Some(ratio > ZERO)
    }

    fn replace(&self, basis: &mut Basis, enters: Enters, leaves: Leaves) {
        match (leaves, enters) {
            (Leaves::Extra(extra), Enters::Column(group, column)) => {
                basis.extras[extra] = (group, column);
            }
            (Leaves::Extra(extra), Enters::Slack(place)) => {
                basis.extras.remove(extra);
                basis.tight.remove(place);
            }
            (Leaves::Slack(pool), Enters::Column(group, column)) => {
                basis.extras.push((group, column));
                basis.tight.push(pool);
            }
            (Leaves::Slack(pool), Enters::Slack(place)) => basis.tight[place] = pool,
            (Leaves::Key(group), enters) => {
                let extra = basis.extras.iter().position(|&(other, _)| other == group);
                match (extra, enters) {
                    (Some(extra), Enters::Column(..)) => {
                        self.set_key(basis, group, basis.extras[extra].1);
                        let Enters::Column(group, column) = enters else { return };
                        basis.extras[extra] = (group, column);
                    }
                    (Some(extra), Enters::Slack(place)) => {
                        self.set_key(basis, group, basis.extras[extra].1);
                        basis.extras.remove(extra);
                        basis.tight.remove(place);
                    }
                    // The key leaves for the entering column of its own group.
                    (None, Enters::Column(_, column)) => self.set_key(basis, group, column),
                    (None, Enters::Slack(_)) => {}
                }
            }
        }
    }

    fn set_key(&self, basis: &mut Basis, group: usize, column: usize) {
        for &(pool, gpus) in &self.columns[group][basis.keys[group]].draws {
            basis.left[pool] += gpus as f64;
        }
        for &(pool, gpus) in &self.columns[group][column].draws {
            basis.left[pool] -= gpus as f64;
        }
        basis.keys[group] = column;
    }

    fn parts(&self, basis: &Basis) -> Vec<Vec<(usize, f64)>> {
        let mut parts: Vec<Vec<(usize, f64)>> =
            basis.keys.iter().map(|&key| vec![(key, 1.0)]).collect();
        let Some(inverse) = self.inverse(basis) else { return parts };
        for (row, &(group, column)) in inverse.iter().zip(&basis.extras) {
            let amount =
                row.iter().zip(&basis.tight).map(|(value, &pool)| value * basis.left[pool]);
            let amount: f64 = amount.sum::<f64>().clamp(0.0, 1.0);
            parts[group][0].1 -= amount;
            parts[group].push((column, amount));
        }
        for parts in &mut parts {
            parts.retain(|(_, amount)| *amount > ZERO);
        }
        parts
    }
}

/// Gauss–Jordan elimination with partial pivoting on `[A | I]`; `None` when A is singular.
fn invert(rows: &mut [Vec<f64>]) -> Option<()> {
    for at in 0..rows.len() {
        let pivot = (at..rows.len())
            .max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs()))
            .filter(|&pivot| rows[pivot][at].abs() > ZERO)?;
        rows.swap(at, pivot);
        let scale = rows[at][at];
        for value in &mut rows[at] {
            *value /= scale;
        }
        let pivot_row = rows[at].clone();
        for (idx, row) in rows.iter_mut().enumerate() {
            let factor = row[at];
            if idx != at && factor.abs() > 0.0 {
                for (value, by) in row.iter_mut().zip(&pivot_row) {
                    *value -= factor * by;
                }
            }
        }
    }
    Some(())
}
