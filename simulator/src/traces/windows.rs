//! Arrivals counted in windows of time.

use optimizer::units::{Seconds, Timestamp};

use super::moments::Moments;

/// Counts arrivals in windows of one width, the first of which begins with the first arrival. Only
/// windows that are over count.
#[derive(Debug, Clone)]
pub(super) struct WindowCounts {
    width: u64,
    /// When the window that is not over began.
    began: Option<u64>,
    count: u64,
    most: u64,
    /// How many windows are over, and their counts.
    over: u64,
    moments: Moments,
}

impl WindowCounts {
    /// # Panics
    ///
    /// When the width is below a nanosecond.
    pub(super) fn new(width: Seconds) -> Self {
        let width = nanos(width);
        assert!(width > 0, "a window has a width");
        Self { width, began: None, count: 0, most: 0, over: 0, moments: Moments::default() }
    }

    /// Counts an arrival, which is no earlier than those before.
    pub(super) fn add(&mut self, at: Timestamp) {
        let at = at.as_nanos();
        let began = *self.began.get_or_insert(at);
        let over = (at - began) / self.width;
        if over > 0 {
            self.moments.add(self.count as f64);
            self.moments.add_repeated(0.0, (over - 1) as f64);
            self.most = self.most.max(self.count);
            self.began = Some(began + over * self.width);
            self.over += over;
            self.count = 0;
        }
        self.count += 1;
    }

    /// Arrivals per second in the fullest window; `None` when none is over.
    pub(super) fn peak(&self) -> Option<f64> {
        (self.over > 0).then(|| self.most as f64 / (self.width as f64 / 1e9))
    }

    /// The index of dispersion: the variance of the counts over their mean.
    pub(super) fn dispersion(&self) -> Option<f64> {
        self.moments.dispersion()
    }

    /// How many windows are over.
    pub(super) const fn windows(&self) -> u64 {
        self.over
    }
}

/// Arrivals over time, in at most [`Self::MOST_BINS`] bins, whatever the time: when they do not
/// suffice, each two become one.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    width: u64,
    began: Option<u64>,
    counts: Vec<u64>,
}

impl Timeline {
    /// More bins than a figure has pixels for would not be seen.
    pub(super) const MOST_BINS: usize = 720;

    pub(super) const fn new() -> Self {
        Self { width: 1_000_000_000, began: None, counts: Vec::new() }
    }

    /// Counts an arrival, which is no earlier than those before.
    pub(super) fn add(&mut self, at: Timestamp) {
        let since = at.as_nanos() - *self.began.get_or_insert(at.as_nanos());
        while since / self.width >= Self::MOST_BINS as u64 {
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.width *= 2;
        }
        let bin = usize::try_from(since / self.width).unwrap_or(Self::MOST_BINS);
        if self.counts.len() <= bin {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
    }

    /// Where each bin begins, in seconds since the first arrival, and its arrivals per second. The
    /// last bin is left out, because it is not over.
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        let width = self.width as f64 / 1e9;
        let whole = &self.counts[..self.counts.len().saturating_sub(1)];
        let rate = |(idx, &count): (usize, &u64)| (idx as f64 * width, count as f64 / width);
        whole.iter().enumerate().map(rate).collect()
    }
}

/// Nanoseconds of a span, to the nearest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub(super) fn nanos(span: Seconds) -> u64 {
    (span.value() * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn windows_begin_with_the_first_arrival_and_count_when_over() {
        let mut counts = WindowCounts::new(Seconds::new(10.0));
        for seconds in [5.0, 14.9, 15.0, 36.0] {
            counts.add(at(seconds));
        }
        // 5–15 has two, 15–25 one, 25–35 none; the one from 35 on is not over.
        assert_eq!((counts.windows(), counts.peak()), (3, Some(0.2)));
        let expected = (1.0 + 0.0 + 1.0) / 3.0 / 1.0;
        assert!((counts.dispersion().unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn a_timeline_has_few_bins_and_loses_nothing() {
        let mut timeline = Timeline::new();
        for idx in 0..10_000 {
            timeline.add(at(100.0 + f64::from(idx)));
        }
        assert!(timeline.counts.len() <= Timeline::MOST_BINS);
        assert_eq!(timeline.counts.iter().sum::<u64>(), 10_000);
        let rates = timeline.rates();
        assert!(rates.iter().all(|&(_, rate)| (rate - 1.0).abs() < 1e-12), "{rates:?}");
        assert_eq!(Timeline::new().rates(), []);
    }
}
