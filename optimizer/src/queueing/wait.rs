//! How long an accepted request waits.

use super::geometric::Geometric;
use super::span;
use crate::units::{Fraction, RequestRate, Seconds};

/// The relative width at which the search for a percentile stops.
const TOLERANCE: f64 = 1e-12;

/// The waiting time of an accepted request, exactly.
///
/// A request that finds N in service and k waiting has to see k + 1 completions at rate µ(N), so its
/// wait is Erlang(k + 1, µ(N)) and the whole is a mixture of these and of no wait at all. The
/// weights are geometric in k.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitDistribution {
    /// The largest of the probabilities that a request finds the batch full and k waiting.
    largest: f64,
    /// ln(λ / µ(N)), by which their logarithm grows with k. Below zero the largest is that of
    /// k = 0, above zero that of the last.
    log_load: f64,
    /// How many k there are: Q.
    places: usize,
    /// µ(N), in requests per second.
    full_rate: f64,
}

impl WaitDistribution {
    /// From the largest weight, the logarithm of the ratio of neighbors, and their number.
    pub(super) const fn new(
        largest: f64,
        log_load: f64,
        places: usize,
        full_rate: RequestRate,
    ) -> Self {
        Self { largest, log_load, places, full_rate: full_rate.value() }
    }

    /// The mean wait.
    pub fn mean(&self) -> Seconds {
        let Geometric { sum, weighted } = Geometric::sum(self.ratio(), self.places);
        let completions =
            if self.log_load > 0.0 { self.places as f64 * sum - weighted } else { sum + weighted };
        span(self.largest * completions / self.full_rate)
    }

    /// The share of accepted requests that wait longer than `wait`.
    pub fn longer_than(&self, wait: Seconds) -> Fraction {
        Fraction::new(self.longer_than_completions(wait.value() * self.full_rate).min(1.0))
    }

    /// The shortest time within which a share of the accepted requests stops waiting, to a relative
    /// 1e-12, rounded up; `None` for all of them when some wait, as then no time is long enough.
    pub fn percentile(&self, share: Fraction) -> Option<Seconds> {
        let rest = 1.0 - share.value();
        if self.longer_than_completions(0.0) <= rest {
            return Some(Seconds::ZERO);
        }
        if rest <= 0.0 {
            return None;
        }
        let (mut low, mut high) = (0.0, 1.0);
        while self.longer_than_completions(high) > rest {
            (low, high) = (high, 2.0 * high);
        }
        while high - low > TOLERANCE * high {
            let middle = f64::midpoint(low, high);
            if self.longer_than_completions(middle) > rest {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(span(high / self.full_rate))
    }

    /// The share that waits longer than it takes to complete `expected` requests on average.
    ///
    /// Completions in that time are Poisson distributed, and a request still waits if there were
    /// fewer than it needs.
    fn longer_than_completions(&self, expected: f64) -> f64 {
        if !expected.is_finite() {
            return 0.0;
        }
        let more_than = self.more_than(probable_completions(expected));
        if expected <= 0.0 {
            return more_than.first().copied().unwrap_or(0.0);
        }
        let (log_expected, mut log_poisson, mut sum) = (expected.ln(), -expected, 0.0);
        for (completions, more_than) in more_than.iter().enumerate() {
            if completions > 0 {
                log_poisson += log_expected - (completions as f64).ln();
            }
            sum += log_poisson.exp() * more_than;
        }
        sum
    }

    /// The probability that a request waits for more than j completions, for j below `count`.
    fn more_than(&self, count: usize) -> Vec<f64> {
        let count = count.min(self.places);
        let weight = |k: usize| {
            // From the largest weight on, so that no power overflows.
            let steps = if self.log_load > 0.0 { self.places - 1 - k } else { k };
            let log = if steps == 0 { 0.0 } else { steps as f64 * -self.log_load.abs() };
            self.largest * log.exp()
        };
        let rest = Geometric::sum(self.ratio(), self.places - count).sum;
        let first =
            if self.log_load > 0.0 || count == self.places { self.largest } else { weight(count) };
        // Summed from the far end, so that a rare long wait keeps its digits.
        let mut more_than: Vec<f64> = (0..count).map(weight).collect();
        let mut sum = first * rest;
        for probability in more_than.iter_mut().rev() {
            sum += *probability;
            *probability = sum;
        }
        more_than
    }

    /// The ratio of a weight to its larger neighbor.
    fn ratio(&self) -> f64 {
        (-self.log_load.abs()).exp()
    }
}

/// A number of completions that is exceeded with a probability below 1e-17 where `expected` are
/// expected, by Bernstein's bound for a Poisson variable, exp(−a² / (2·(x + a/3))) with a above the
/// mean x.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is positive, and saturation is wanted"
)]
fn probable_completions(expected: f64) -> usize {
    const LOG: f64 = 40.0;
    let above = LOG / 3.0 + (LOG / 3.0).hypot((2.0 * LOG * expected).sqrt());
    (expected + above).ceil() as usize
}
