//! Joint distributions of two counts, as tables of quantiles.

use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::kernel::Stream;

/// A joint distribution of two counts. It is cut into bands by the first, and each band has
/// quantiles of both: within a band they are independent. So the table keeps how the second depends
/// on the first, whatever the shape, as far as bands tell them apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JointTable(Vec<Band>);

/// One band of a [`JointTable`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The share of all pairs in this band.
    pub share: f64,
    /// Quantiles of the first count at even shares, from the smallest to the largest.
    pub first: Vec<u64>,
    /// Quantiles of the second count.
    pub second: Vec<u64>,
}

/// Bands of a table of many pairs. The last is cut once more, because tails are long.
const BANDS: usize = 20;
/// Pairs in a band, at least.
const LEAST: usize = 40;
const FIRST_KNOTS: usize = 6;
const SECOND_KNOTS: usize = 21;

impl JointTable {
    /// The table of some pairs; `None` when there are none.
    pub(super) fn of(mut pairs: Vec<(u64, u64)>) -> Option<Self> {
        pairs.sort_unstable();
        let total = pairs.len();
        let bands = (total / LEAST).clamp(1, BANDS);
        let mut ends: Vec<_> = (1..=bands).map(|idx| total * idx / bands).collect();
        if bands == BANDS {
            ends.insert(bands - 1, total - total / 100);
        }
        let mut begin = 0;
        let bands = ends.into_iter().map(|end| {
            let pairs = &pairs[begin..end];
            begin = end;
            let mut second: Vec<_> = pairs.iter().map(|&(_, second)| second).collect();
            second.sort_unstable();
            let first: Vec<_> = pairs.iter().map(|&(first, _)| first).collect();
            Band {
                share: pairs.len() as f64 / total as f64,
                first: knots(&first, FIRST_KNOTS),
                second: knots(&second, SECOND_KNOTS),
            }
        });
        (total > 0).then(|| Self(bands.collect()))
    }

    /// The bands.
    #[must_use]
    pub fn bands(&self) -> &[Band] {
        &self.0
    }

    /// Draws a pair.
    pub(super) fn draw(&self, chance: &mut Stream) -> (u64, u64) {
        let all: f64 = self.0.iter().map(|band| band.share).sum();
        let mut left = chance.random::<f64>() * all;
        let (first, second) = (chance.random(), chance.random());
        let chosen = self.0.iter().find(|band| {
            left -= band.share;
            left < 0.0
        });
        let Some(band) = chosen.or(self.0.last()) else { return (0, 0) };
        (between(&band.first, first), between(&band.second, second))
    }
}

impl fmt::Display for JointTable {
    /// As lines of a YAML list, without indent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Band { share, first, second } in &self.0 {
            let share = (share * 1e6).round() / 1e6;
            writeln!(f, "- {{share: {share}, first: {first:?}, second: {second:?}}}")?;
        }
        Ok(())
    }
}

/// Quantiles of sorted counts at even shares, both ends included.
fn knots(sorted: &[u64], most: usize) -> Vec<u64> {
    let (last, count) = (sorted.len() - 1, most.min(sorted.len()).max(2));
    (0..count).map(|idx| sorted[last * idx / (count - 1)]).collect()
}

/// The count at a share of a list of quantiles, to the nearest; straight between two of them.
fn between(knots: &[u64], share: f64) -> u64 {
    let place = share * knots.len().saturating_sub(1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let below = place as usize;
    let Some(&low) = knots.get(below) else { return knots.last().copied().unwrap_or(0) };
    let high = knots.get(below + 1).copied().unwrap_or(low);
    let part = (place - below as f64) * high.saturating_sub(low) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below `high`")]
    let part = part.round() as u64;
    low + part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Streams;

    #[test]
    fn a_table_keeps_how_the_second_depends_on_the_first() {
        // Short prompts have answers of 7 tokens, long ones of 500 to 1000.
        let pairs = (0..8000_u64).map(|idx| match idx % 4 {
            0 => (1000 + idx / 4, 500 + idx % 501),
            _ => (10 + idx % 7, 7),
        });
        let table = JointTable::of(pairs.collect()).unwrap();
        assert_eq!(table.bands().len(), BANDS + 1);
        let mut chance = Streams::new(1).stream("test");
        let drawn: Vec<_> = (0..4000).map(|_| table.draw(&mut chance)).collect();
        let long = drawn.iter().filter(|&&(first, _)| first >= 1000).count();
        assert!((900..1100).contains(&long), "{long}");
        for (first, second) in drawn {
            assert_eq!(first >= 1000, second >= 500, "{first} {second}");
            assert!((10..=16).contains(&first) || (1000..3000).contains(&first), "{first}");
        }
    }

    #[test]
    fn few_pairs_have_one_band_and_none_have_no_table() {
        assert_eq!(JointTable::of(Vec::new()), None);
        let table = JointTable::of(vec![(5, 9)]).unwrap();
        assert_eq!(table.to_string(), "- {share: 1, first: [5, 5], second: [9, 9]}\n");
        assert_eq!(table.draw(&mut Streams::new(1).stream("test")), (5, 9));
        let table = JointTable::of(vec![(3, 1), (1, 2)]).unwrap();
        assert_eq!(table.to_string(), "- {share: 1, first: [1, 3], second: [1, 2]}\n");
    }

    #[test]
    fn between_quantiles_a_line_is_straight() {
        let check = |share: f64, count: u64| assert_eq!(between(&[10, 20, 60], share), count);
        check(0.0, 10);
        check(0.25, 15);
        check(0.5, 20);
        check(0.75, 40);
        check(1.0, 60);
    }
}
