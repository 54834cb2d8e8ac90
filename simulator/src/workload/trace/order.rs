//! Rows in the order of their arrival.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::record::Row;

/// How many rows are kept at most: to sort them, or because they have the same time.
pub(super) const MOST_ROWS: usize = 1 << 20;

/// Sorts rows that come out of order, over a window of [`MOST_ROWS`]: a file of no more rows is
/// sorted whole, and of a longer one no row may be late by more. Equal times keep their order.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    waiting: BinaryHeap<Waiting>,
    latest: i64,
    pushed: u64,
    late: u64,
}

impl Sorter {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_ROWS
    }

    pub(super) fn push(&mut self, row: Row) {
        self.late += u64::from(self.pushed > 0 && row.nanos < self.latest);
        self.latest = if self.pushed == 0 { row.nanos } else { self.latest.max(row.nanos) };
        self.waiting.push(Waiting { place: self.pushed, row });
        self.pushed += 1;
    }

    /// The earliest of the rows that wait.
    pub(super) fn pop(&mut self) -> Option<Row> {
        self.waiting.pop().map(|waiting| waiting.row)
    }

    /// How many rows came behind a later one.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }
}

/// A row, ordered so that the greatest is the earliest.
#[derive(Debug)]
struct Waiting {
    place: u64,
    row: Row,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.row.nanos, other.place).cmp(&(self.row.nanos, self.place))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// Spreads rows with the same time evenly until the next time, or over a longest span. All at once
/// they would be a burst that never was.
#[derive(Debug)]
pub(super) struct Spread {
    longest: i64,
    ready: VecDeque<Row>,
    /// The first row of the next batch.
    ahead: Option<Row>,
}

impl Spread {
    /// Over `longest` nanoseconds at most.
    pub(super) const fn new(longest: i64) -> Self {
        Self { longest, ready: VecDeque::new(), ahead: None }
    }

    /// The next row of those that `pull` yields; the row itself when there are too many with its
    /// time.
    pub(super) fn next(
        &mut self,
        mut pull: impl FnMut() -> Option<Row>,
    ) -> Result<Option<Row>, Row> {
        if let Some(row) = self.ready.pop_front() {
            return Ok(Some(row));
        }
        let Some(first) = self.ahead.take().or_else(&mut pull) else { return Ok(None) };
        if first.exact || self.longest == 0 {
            return Ok(Some(first));
        }
        let begins = first.nanos;
        self.ready.push_back(first);
        loop {
            match pull() {
                Some(row) if row.nanos == begins && !row.exact => {
                    if self.ready.len() == MOST_ROWS {
                        return Err(row);
                    }
                    self.ready.push_back(row);
                }
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        let until_next = self.ahead.as_ref().map_or(i64::MAX, |next| next.nanos - begins);
        let step =
            until_next.min(self.longest) / i64::try_from(self.ready.len()).unwrap_or(i64::MAX);
        for (place, row) in (0..).zip(&mut self.ready) {
            row.nanos += step * place;
        }
        Ok(self.ready.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Content;

    fn row(nanos: i64, line: u64) -> Row {
        let content = Content::default();
        Row { line, nanos, exact: false, prompt: 1, output: 1, failed: false, model: None, content }
    }

    #[test]
    fn rows_are_sorted_and_equal_times_keep_their_order() {
        let mut sorter = Sorter::default();
        for (line, nanos) in (1..).zip([5, 3, 9, 3, 9]) {
            sorter.push(row(nanos, line));
        }
        assert_eq!(sorter.late(), 2);
        let order: Vec<_> = std::iter::from_fn(|| sorter.pop()).map(|row| row.line).collect();
        assert_eq!(order, [2, 4, 1, 3, 5]);
    }

    #[test]
    fn a_batch_is_spread_until_the_next_or_over_the_longest_span() {
        let check = |longest: i64, nanos: &[i64], expected: &[i64]| {
            let mut rows = nanos.iter().map(|&nanos| row(nanos, 1));
            let mut spread = Spread::new(longest);
            let times: Vec<_> = std::iter::from_fn(|| spread.next(|| rows.next()).unwrap())
                .map(|row| row.nanos)
                .collect();
            assert_eq!(times, expected, "{longest} {nanos:?}");
        };
        check(100, &[0, 0, 50, 50, 400, 400], &[0, 25, 50, 100, 400, 450]);
        check(0, &[0, 0, 50], &[0, 0, 50]);
        check(100, &[], &[]);
    }

    #[test]
    fn a_batch_without_end_is_refused() {
        let mut spread = Spread::new(1);
        let refused = spread.next(|| Some(row(7, 3))).unwrap_err();
        assert_eq!(refused.nanos, 7);
    }
}
