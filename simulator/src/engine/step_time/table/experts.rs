//! The time of one block's experts.

use std::collections::BTreeMap;

use super::grid::Grid;

/// The experts of a block: their time by tokens and by the number of distinct experts activated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Experts {
    /// Experts, and how many of them a token activates.
    count: (u32, u32),
    /// By tokens, ascending: the time by activated experts, in seconds. Few tokens cannot activate
    /// many experts, so the rows are of different lengths.
    rows: Vec<(u32, Grid<1>)>,
}

impl Experts {
    /// From times at `[tokens, activated experts]`; `None` when there are none.
    pub(super) fn new(count: (u32, u32), points: &BTreeMap<[u32; 2], f64>) -> Option<Self> {
        let mut rows: BTreeMap<u32, BTreeMap<[u32; 1], f64>> = BTreeMap::new();
        for (&[tokens, activated], &time) in points {
            rows.entry(tokens).or_default().insert([activated], time);
        }
        let curve = |(tokens, row)| Some((tokens, Grid::within(&row)?.0));
        let rows: Vec<_> = rows.into_iter().filter_map(curve).collect();
        (!rows.is_empty()).then_some(Self { count, rows })
    }

    /// The time for `tokens` tokens, each of which takes its experts at random.
    pub(super) fn at(&self, tokens: u32) -> f64 {
        let activated = self.activated(tokens);
        let above = self.rows.partition_point(|&(size, _)| size <= tokens);
        let lower = above.saturating_sub(1).min(self.rows.len().saturating_sub(2));
        let near = self.rows[lower..].iter().take(2);
        let near = near.map(|(size, row)| ([*size], row.at([activated]))).collect();
        Grid::within(&near).map_or(0.0, |(grid, _)| grid.at([f64::from(tokens)]))
    }

    /// Distinct experts that `tokens` tokens activate on average: E · (1 - (1 - k/E)^n).
    fn activated(&self, tokens: u32) -> f64 {
        let (all, per_token) = (f64::from(self.count.0), f64::from(self.count.1));
        all * (1.0 - (1.0 - per_token / all).powf(f64::from(tokens)))
    }
}
