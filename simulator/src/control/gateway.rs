//! What the gateway of a model counts.

use optimizer::units::{MeanTokens, Seconds, Timestamp, Variation};

/// A gateway's queue and its counters since the run began. They cost the same for each request,
/// whatever its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GatewayState {
    /// Requests that wait for a replica.
    pub queue: u64,
    /// Their prompt tokens.
    pub queued_tokens: u64,
    /// Prompt lengths of the requests that arrived.
    pub prompts: Moments,
    /// Output lengths of the requests that were answered to the end.
    pub outputs: Moments,
    /// Arrivals in each [`BIN`] that is over.
    pub bins: Bins,
    /// The bin of the last arrival, by its number.
    bin: u64,
    in_bin: u64,
}

/// The time in which arrivals are counted together, to tell bursts from a steady stream: long enough
/// for a few requests, shorter than a burst that a fleet has to ride out. A gateway could export
/// such counts as a histogram with one observation for each bin.
pub const BIN: Seconds = Seconds::new(5.0);

impl GatewayState {
    /// All arrivals so far.
    #[must_use]
    pub const fn arrived(&self) -> u64 {
        self.prompts.count
    }

    /// Counts a request that arrives.
    pub fn arrives(&mut self, now: Timestamp, prompt_tokens: u32) {
        self.close_bins(now);
        self.in_bin += 1;
        self.prompts.add(prompt_tokens.into());
    }

    /// Counts a request that finds no replica.
    pub fn enqueue(&mut self, prompt_tokens: u32) {
        self.queue += 1;
        self.queued_tokens += u64::from(prompt_tokens);
    }

    /// Counts one of those that has found one.
    pub fn dequeue(&mut self, prompt_tokens: u32) {
        self.queue -= 1;
        self.queued_tokens -= u64::from(prompt_tokens);
    }

    /// Counts the bins that are over at `now`.
    pub fn close_bins(&mut self, now: Timestamp) {
        let bin = now.as_nanos() / (Timestamp::ZERO + BIN).as_nanos();
        if bin > self.bin {
            self.bins.add(std::mem::take(&mut self.in_bin));
            self.bins.add_empty(bin - self.bin - 1);
            self.bin = bin;
        }
    }
}

/// Counts of arrivals in bins one after the other, and by how much neighbors differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bins {
    count: u64,
    arrivals: u64,
    steps: u64,
    /// The sum of the squared differences between neighbors.
    squares: u128,
    last: Option<u64>,
}

impl Bins {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    fn add(&mut self, arrivals: u64) {
        if let Some(last) = self.last.replace(arrivals) {
            self.steps += 1;
            self.squares += u128::from(arrivals.abs_diff(last)).pow(2);
        }
        self.count += 1;
        self.arrivals += arrivals;
    }

    fn add_empty(&mut self, bins: u64) {
        if bins > 0 {
            self.add(0);
            self.steps += bins - 1;
            self.count += bins - 1;
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            arrivals: self.arrivals.saturating_sub(earlier.arrivals),
            steps: self.steps.saturating_sub(earlier.steps),
            squares: self.squares.saturating_sub(earlier.squares),
            last: self.last,
        }
    }

    /// The variance over the mean, which is 1 for a Poisson process; `None` when there are fewer
    /// than two bins, or no arrivals.
    ///
    /// The variance is half the mean square of the differences between neighbors (von Neumann's
    /// estimate), so a rate that rises and falls over minutes is not taken for bursts.
    #[must_use]
    pub fn dispersion(&self) -> Option<Variation> {
        let mean = self.arrivals as f64 / self.count as f64;
        let variance = self.squares as f64 / (2.0 * self.steps as f64);
        Variation::checked(variance / mean)
    }
}

/// Whole numbers: how many, their sum, and the sum of their squares, from which the mean and the
/// variance of those of any window follow without rounding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moments {
    count: u64,
    sum: u64,
    squares: u128,
}

impl Moments {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Adds a number.
    pub fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum += number;
        self.squares += u128::from(number) * u128::from(number);
    }

    /// Adds the numbers of `other`.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.saturating_sub(earlier.sum),
            squares: self.squares.saturating_sub(earlier.squares),
        }
    }

    /// The mean, of lengths in tokens; `None` when there are none.
    #[must_use]
    pub fn mean(&self) -> Option<MeanTokens> {
        MeanTokens::checked(self.sum as f64 / self.count as f64)
    }

    /// The deviation over the mean; `None` when there are fewer than two, or nothing but zeros.
    #[must_use]
    pub fn variation(&self) -> Option<Variation> {
        let mean = self.sum as f64 / self.count as f64;
        Variation::checked(self.variance()?.sqrt() / mean)
    }

    /// The unbiased estimate: (n·Σx² − (Σx)²) / (n(n − 1)). The difference is taken in integers, so
    /// equal numbers have a variance of exactly zero.
    fn variance(&self) -> Option<f64> {
        let others = self.count.checked_sub(1).filter(|&others| others > 0)?;
        let (count, sum) = (u128::from(self.count), u128::from(self.sum));
        let spread = (count * self.squares).saturating_sub(sum * sum);
        Some(spread as f64 / (self.count as f64 * others as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> Moments {
        let mut moments = Moments::default();
        for &number in numbers {
            moments.add(number);
        }
        moments
    }

    fn bins(numbers: &[u64]) -> Bins {
        let mut bins = Bins::default();
        for &number in numbers {
            bins.add(number);
        }
        bins
    }

    #[test]
    fn moments_give_mean_and_variance() {
        let moments = of(&[2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!(moments.mean(), Some(MeanTokens::new(5.0)));
        // The squares of the differences from it are 32 together.
        assert_eq!(moments.variation(), Some(Variation::new((32.0_f64 / 7.0).sqrt() / 5.0)));
        assert_eq!(of(&[1_000_000_007; 9]).variation(), Some(Variation::ZERO));
        for few in [of(&[]), of(&[7]), of(&[0, 0])] {
            assert_eq!(few.variation(), None);
        }
        assert_eq!(of(&[1, 2, 3, 9]).since(&of(&[1, 2])), of(&[3, 9]));
    }

    #[test]
    fn neighbors_tell_bursts_and_a_slope_does_not() {
        // The squares are 4, 16, 36, 16 and 4.
        let bursts = bins(&[2, 4, 0, 6, 2, 4]);
        assert_eq!(bursts.dispersion(), Some(Variation::new(76.0 / 10.0 / 3.0)));
        assert_eq!(bins(&[1, 2, 3, 4, 5]).dispersion(), Some(Variation::new(0.5 / 3.0)));
        // Of the last three bins, the first differs from its neighbor too.
        let late = bursts.since(&bins(&[2, 4, 0]));
        assert_eq!(late.dispersion(), Some(Variation::new(56.0 / 6.0 / 4.0)));
        let mut gap = bins(&[4]);
        gap.add_empty(3);
        assert_eq!(gap, bins(&[4, 0, 0, 0]));
        for few in [bins(&[]), bins(&[7]), bins(&[0, 0])] {
            assert_eq!(few.dispersion(), None);
        }
    }

    #[test]
    fn arrivals_are_counted_in_bins_and_empty_bins_count() {
        let mut gateway = GatewayState::default();
        for at in [0.0, 4.9, 5.0, 21.0] {
            gateway.arrives(Timestamp::from_seconds(at), 10);
        }
        // Bins of 2, 1, 0 and 0 arrivals are over; the one that began at 20 s is not.
        assert_eq!(gateway.bins, bins(&[2, 1, 0, 0]));
        gateway.close_bins(Timestamp::from_seconds(24.9));
        assert_eq!(gateway.bins, bins(&[2, 1, 0, 0]));
        gateway.close_bins(Timestamp::from_seconds(25.0));
        assert_eq!(gateway.bins, bins(&[2, 1, 0, 0, 1]));
        assert_eq!((gateway.arrived(), gateway.prompts), (4, of(&[10; 4])));
    }
}
