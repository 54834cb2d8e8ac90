//! What a list of requests looks like from afar.

use std::fmt;

use optimizer::units::{RequestRate, Seconds, Timestamp, Tokens};

use super::Arrival;

/// Descriptive statistics of requests.
///
/// All spreads are those of the list itself, not estimates for a larger population. A statistic
/// that the list is too short for is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// The number of requests.
    pub requests: usize,
    /// The time from zero to the last arrival.
    pub duration: Seconds,
    /// Requests over duration.
    pub rate: Option<RequestRate>,
    /// The coefficient of variation of the gaps between arrivals: 1 for Poisson, more for bursts.
    pub interarrival_cv: Option<f64>,
    /// The coefficient of variation of the number of arrivals in whole windows of
    /// [`Self::RATE_WINDOW`]: how the load swings more slowly than bursts do.
    pub rate_cv: Option<f64>,
    /// Prompt lengths.
    pub prompt: LengthStatistics,
    /// Output lengths.
    pub output: LengthStatistics,
    /// Pearson's correlation of prompt and output length.
    pub correlation: Option<f64>,
}

impl Statistics {
    /// The window of [`Self::rate_cv`].
    pub const RATE_WINDOW: Seconds = Seconds::new(60.0);

    /// The statistics of requests in the order of their arrival; `None` when there are none.
    #[must_use]
    pub fn of(arrivals: &[Arrival]) -> Option<Self> {
        let last = arrivals.last()?;
        let duration = last.at.since(Timestamp::ZERO);
        let gaps = arrivals.windows(2).map(|pair| pair[1].at.since(pair[0].at).value());
        let prompt = || arrivals.iter().map(|arrival| arrival.prompt);
        let output = || arrivals.iter().map(|arrival| arrival.output);
        Some(Self {
            requests: arrivals.len(),
            duration,
            rate: RequestRate::over(arrivals.len() as f64, duration),
            interarrival_cv: Moments::of(gaps).cv(),
            rate_cv: Moments::of(counts_per_window(arrivals, duration).into_iter()).cv(),
            prompt: LengthStatistics::of(prompt())?,
            output: LengthStatistics::of(output())?,
            correlation: correlation(prompt().zip(output())),
        })
    }
}

impl fmt::Display for Statistics {
    /// One line for each statistic, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let rate = self.rate.map_or("-".to_owned(), |rate| format!("{:.2}/s", rate.value()));
        writeln!(f, "requests         {} in {:.1} s", self.requests, self.duration.value())?;
        writeln!(f, "rate             {rate}, CV {} over 60 s windows", or_none(self.rate_cv))?;
        writeln!(f, "interarrival CV  {}", or_none(self.interarrival_cv))?;
        writeln!(f, "prompt tokens    {}", self.prompt)?;
        writeln!(f, "output tokens    {}", self.output)?;
        write!(f, "correlation      {}", or_none(self.correlation))
    }
}

/// Descriptive statistics of token counts. A quantile is the smallest count that at least its
/// share of all counts does not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LengthStatistics {
    /// The mean, in tokens.
    pub mean: f64,
    /// The smallest count.
    pub min: Tokens,
    /// The median.
    pub p50: Tokens,
    /// The 75th percentile.
    pub p75: Tokens,
    /// The 90th percentile.
    pub p90: Tokens,
    /// The 99th percentile.
    pub p99: Tokens,
    /// The largest count.
    pub max: Tokens,
}

impl LengthStatistics {
    fn of(counts: impl Iterator<Item = Tokens>) -> Option<Self> {
        let mut sorted: Vec<_> = counts.collect();
        sorted.sort_unstable();
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted[rank.saturating_sub(1)]
        };
        Some(Self {
            mean: sorted.iter().map(|count| count.as_f64()).sum::<f64>() / sorted.len() as f64,
            min,
            p50: percentile(50),
            p75: percentile(75),
            p90: percentile(90),
            p99: percentile(99),
            max,
        })
    }
}

impl fmt::Display for LengthStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, min, p50, p75, p90, p99, max } = self;
        write!(
            f,
            "mean {mean:.0}, min {min}, p50 {p50}, p75 {p75}, p90 {p90}, p99 {p99}, max {max}"
        )
    }
}

/// The number of arrivals in each window that is over at the last arrival.
fn counts_per_window(arrivals: &[Arrival], duration: Seconds) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let window_at = |time: Seconds| (time / Statistics::RATE_WINDOW) as usize;
    let mut counts = vec![0.0; window_at(duration)];
    for arrival in arrivals {
        if let Some(count) = counts.get_mut(window_at(arrival.at.since(Timestamp::ZERO))) {
            *count += 1.0;
        }
    }
    counts
}

/// Pearson's correlation; `None` when one of the two does not vary.
fn correlation(pairs: impl Iterator<Item = (Tokens, Tokens)> + Clone) -> Option<f64> {
    let x = Moments::of(pairs.clone().map(|(x, _)| x.as_f64()));
    let y = Moments::of(pairs.clone().map(|(_, y)| y.as_f64()));
    let product = pairs.map(|(a, b)| (a.as_f64() - x.mean) * (b.as_f64() - y.mean)).sum::<f64>();
    let scale = x.count * (x.variance * y.variance).sqrt();
    (scale > 0.0).then(|| product / scale)
}

/// Count, mean and variance, updated value by value (Welford 1962), which stays exact where a sum
/// of squares would not.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for value in values {
            count += 1.0;
            let distance = value - mean;
            mean += distance / count;
            squares += distance * (value - mean);
        }
        Self { count, mean, variance: if count > 0.0 { squares / count } else { 0.0 } }
    }

    /// The coefficient of variation; `None` below two values, or when the mean is zero.
    fn cv(&self) -> Option<f64> {
        (self.count >= 2.0 && self.mean > 0.0).then(|| self.variance.sqrt() / self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Content;

    fn arrival(seconds: f64, prompt: u64, output: u64) -> Arrival {
        let at = Timestamp::from_seconds(seconds);
        Arrival {
            at,
            prompt: Tokens::new(prompt),
            output: Tokens::new(output),
            content: Content::default(),
        }
    }

    #[test]
    fn statistics_by_hand() {
        // Gaps 30, 60, 60: mean 50, variance 200. Whole windows: 2 and 1 arrivals.
        let list = [
            arrival(0.0, 10, 8),
            arrival(30.0, 20, 6),
            arrival(90.0, 30, 4),
            arrival(150.0, 40, 2),
        ];
        insta::assert_snapshot!(Statistics::of(&list).unwrap(), @r"
        requests         4 in 150.0 s
        rate             0.03/s, CV 0.33 over 60 s windows
        interarrival CV  0.28
        prompt tokens    mean 25, min 10, p50 20, p75 30, p90 40, p99 40, max 40
        output tokens    mean 5, min 2, p50 4, p75 6, p90 8, p99 8, max 8
        correlation      -1.00
        ");
    }

    #[test]
    fn short_lists_have_few_statistics() {
        assert_eq!(Statistics::of(&[]), None);
        let one = Statistics::of(&[arrival(0.0, 5, 5)]).unwrap();
        assert_eq!(
            (one.rate, one.interarrival_cv, one.rate_cv, one.correlation),
            (None, None, None, None)
        );
        assert_eq!(one.prompt.p99, Tokens::new(5));
    }
}
