//! What is added up over requests while a run goes on.

use std::ops::AddAssign;

use hdrhistogram::Histogram;
use optimizer::units::Seconds;
use serde::{Deserialize, Serialize};

use super::{Outcome, RequestRecord};

/// The requests of a model, or of all models, added up.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By outcome.
    pub counts: RequestCounts,
    /// Those within their targets.
    pub met: u64,
    /// Prompt tokens of those that an engine scheduled.
    pub prompt_tokens: u64,
    /// Those of them that were in the prefix cache.
    pub cached_tokens: u64,
    /// Output tokens of all of them.
    pub output_tokens: u64,
    /// How often they were preempted.
    pub preemptions: u64,
    /// Times to first token, of every request that got one.
    pub ttft: Latencies,
    /// Times per output token after the first, of completed requests with two or more.
    pub tpot: Latencies,
    /// From arrival to the last token, of completed requests.
    pub e2e: Latencies,
}

impl Tally {
    /// An empty one, that keeps at most `exact` values of a latency one by one.
    #[must_use]
    pub fn with_exact(exact: usize) -> Self {
        let latencies = || Latencies::with_exact(exact);
        Self { ttft: latencies(), tpot: latencies(), e2e: latencies(), ..Self::default() }
    }

    /// Adds a request, which met its targets or not.
    pub fn add(&mut self, request: &RequestRecord, met: bool) {
        self.counts += request.outcome;
        self.met += u64::from(met);
        if request.scheduled.is_some() {
            self.prompt_tokens += u64::from(request.prompt_tokens);
            self.cached_tokens += u64::from(request.cached_tokens);
        }
        self.output_tokens += u64::from(request.generated_tokens);
        self.preemptions += u64::from(request.preemptions);
        self.ttft.extend(request.ttft());
        self.tpot.extend(request.tpot());
        self.e2e.extend(request.e2e());
    }

    /// The share that met its targets; `None` when there is no request.
    #[must_use]
    pub fn attainment(&self) -> Option<f64> {
        let arrived = self.counts.arrived;
        (arrived > 0).then(|| self.met as f64 / arrived as f64)
    }

    /// Whether the values of all latencies were kept one by one.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let each = |latencies: &Latencies| matches!(latencies.known(), Known::Each(_));
        [&self.ttft, &self.tpot, &self.e2e].into_iter().all(each)
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.counts += other.counts;
        self.met += other.met;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.preemptions += other.preemptions;
        self.ttft += &other.ttft;
        self.tpot += &other.tpot;
        self.e2e += &other.e2e;
    }
}

/// Requests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// All that arrived: the sum of the others.
    pub arrived: u64,
    /// All their tokens were produced.
    pub completed: u64,
    /// Refused on arrival.
    pub rejected: u64,
    /// Lost with their replica.
    pub failed: u64,
    /// Unfinished when the run ended.
    pub in_flight: u64,
}

impl AddAssign for RequestCounts {
    fn add_assign(&mut self, other: Self) {
        self.arrived += other.arrived;
        self.completed += other.completed;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.in_flight += other.in_flight;
    }
}

impl AddAssign<Outcome> for RequestCounts {
    fn add_assign(&mut self, outcome: Outcome) {
        self.arrived += 1;
        *match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Rejected => &mut self.rejected,
            Outcome::Failed => &mut self.failed,
            Outcome::InFlight => &mut self.in_flight,
        } += 1;
    }
}

/// The values of one latency: one by one while they are few, then in a histogram, so that they take
/// no more memory however many come.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// The most that are kept one by one.
    exact: usize,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    Each(Vec<f64>),
    Binned(Box<Binned>),
}

/// Values in bins that are no wider than a thousandth of the values in them.
#[derive(Debug, Clone)]
pub struct Binned {
    /// The values in nanoseconds.
    pub nanos: Histogram<u64>,
    /// Their sum in seconds.
    pub sum: f64,
    /// The largest in seconds.
    pub max: f64,
}

/// What is known of the values of a latency.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// All of them, in seconds and in the order in which they came.
    Each(&'a [f64]),
    /// Their bins.
    Binned(&'a Binned),
}

/// Significant digits of a histogram of latencies: a quantile is within 0.1 %.
pub const LATENCY_DIGITS: u8 = 3;

/// Values that are kept one by one unless a run says otherwise: 8 MiB of each latency of a model.
pub const EXACT_BY_DEFAULT: usize = 1 << 20;

impl Default for Latencies {
    fn default() -> Self {
        Self::with_exact(EXACT_BY_DEFAULT)
    }
}

impl Latencies {
    /// No values, of which at most `exact` will be kept one by one.
    #[must_use]
    pub const fn with_exact(exact: usize) -> Self {
        Self { exact, values: Values::Each(Vec::new()) }
    }

    /// What is known of the values.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        match &self.values {
            Values::Each(values) => Known::Each(values),
            Values::Binned(binned) => Known::Binned(binned),
        }
    }

    fn bin(&mut self) -> &mut Binned {
        if let Values::Each(values) = &mut self.values {
            let mut binned = Binned { nanos: latency_histogram(), sum: 0.0, max: 0.0 };
            for seconds in values.drain(..) {
                binned.add(seconds);
            }
            self.values = Values::Binned(Box::new(binned));
        }
        match &mut self.values {
            Values::Binned(binned) => binned,
            Values::Each(_) => unreachable!("they were binned above"),
        }
    }
}

impl Extend<Seconds> for Latencies {
    fn extend<I: IntoIterator<Item = Seconds>>(&mut self, values: I) {
        for value in values {
            match &mut self.values {
                Values::Each(values) if values.len() < self.exact => values.push(value.value()),
                _ => self.bin().add(value.value()),
            }
        }
    }
}

impl AddAssign<&Self> for Latencies {
    fn add_assign(&mut self, other: &Self) {
        match &other.values {
            Values::Each(values) => self.extend(values.iter().copied().map(Seconds::new)),
            Values::Binned(binned) => {
                let all = self.bin();
                all.nanos.add(&binned.nanos).expect("a histogram that grows holds every value");
                all.sum += binned.sum;
                all.max = all.max.max(binned.max);
            }
        }
    }
}

impl Binned {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    fn add(&mut self, seconds: f64) {
        let nanos = (seconds * 1e9).round() as u64;
        self.nanos.record(nanos).expect("a histogram that grows takes every value");
        self.sum += seconds;
        self.max = self.max.max(seconds);
    }
}

/// An empty histogram that grows with its values.
#[must_use]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new(LATENCY_DIGITS).expect("three digits are within the library's range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_kept_and_many_are_binned() {
        let mut latencies = Latencies::with_exact(3);
        latencies.extend([0.3, 0.1, 0.2].map(Seconds::new));
        assert!(matches!(latencies.known(), Known::Each([0.3, 0.1, 0.2])));
        latencies.extend([Seconds::new(0.4)]);
        let Known::Binned(binned) = latencies.known() else { panic!("they are more than three") };
        assert_eq!(binned.nanos.len(), 4);
        assert!((binned.sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_sum_of_tallies_knows_what_its_parts_knew_together() {
        let of = |exact, values: &[f64]| {
            let mut latencies = Latencies::with_exact(exact);
            latencies.extend(values.iter().copied().map(Seconds::new));
            latencies
        };
        let mut all = of(10, &[1.0]);
        all += &of(10, &[2.0, 3.0]);
        assert!(matches!(all.known(), Known::Each([1.0, 2.0, 3.0])));
        all += &of(1, &[4.0, 5.0]);
        let Known::Binned(binned) = all.known() else { panic!("a part was binned") };
        assert_eq!((binned.nanos.len(), binned.sum, binned.max), (5, 15.0, 5.0));
    }
}
