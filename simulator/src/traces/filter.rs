//! Which requests of a trace are kept, and when they arrive.

use optimizer::units::{Fraction, Seconds, Timestamp};
use rand::RngExt;

use crate::kernel::{Stream, Streams};
use crate::workload::trace::{Record, Speed};

/// What is kept of a trace. The default keeps all of it.
#[derive(Debug, Clone)]
pub struct Filter {
    from: Timestamp,
    until: Option<Timestamp>,
    speed: Speed,
    sample: Fraction,
    model: Option<String>,
    chance: Stream,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            from: Timestamp::ZERO,
            until: None,
            speed: Speed::RECORDED,
            sample: Fraction::new(1.0),
            model: None,
            chance: Streams::new(1).stream("trace/sample"),
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filtered {
    /// It is kept, and arrives at its new time.
    Kept(Record),
    /// It is left out.
    Dropped,
    /// Neither it nor any later one is kept.
    Over,
}

impl Filter {
    /// Keeps requests from this time on, which becomes time zero.
    #[must_use]
    pub fn from(self, from: Seconds) -> Self {
        Self { from: Timestamp::ZERO + from, ..self }
    }

    /// Keeps requests before this time.
    #[must_use]
    pub fn until(self, until: Seconds) -> Self {
        Self { until: Some(Timestamp::ZERO + until), ..self }
    }

    /// Lets requests arrive so many times as fast: the rate is multiplied, every gap divided.
    #[must_use]
    pub fn scale_rate(self, speed: Speed) -> Self {
        Self { speed, ..self }
    }

    /// Keeps each request with this probability, on its own. That keeps the shape of the rate, and
    /// thins bursts.
    #[must_use]
    pub fn sample(self, share: Fraction, seed: u64) -> Self {
        Self { sample: share, chance: Streams::new(seed).stream("trace/sample"), ..self }
    }

    /// Keeps requests for this model, by its name in the trace.
    #[must_use]
    pub fn model(self, model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..self }
    }

    /// Takes the next request of a trace.
    pub fn take(&mut self, record: Record) -> Filtered {
        if self.until.is_some_and(|until| record.at >= until) {
            return Filtered::Over;
        }
        let other_model =
            self.model.as_ref().is_some_and(|model| record.model.as_deref() != Some(model));
        if record.at < self.from || other_model {
            return Filtered::Dropped;
        }
        if self.sample.value() < 1.0 && self.chance.random::<f64>() >= self.sample.value() {
            return Filtered::Dropped;
        }
        let since = record.at.as_nanos() - self.from.as_nanos();
        let at = if self.speed == Speed::RECORDED {
            Timestamp::from_nanos(since)
        } else {
            Timestamp::from_seconds(
                Timestamp::from_nanos(since).as_seconds() / f64::from(self.speed),
            )
        };
        Filtered::Kept(Record { at, ..record })
    }
}

#[cfg(test)]
mod tests {
    use optimizer::units::Tokens;

    use super::*;
    use crate::engine::Content;

    /// The times of a second each, 0 to `count`, that are kept.
    fn kept(mut filter: Filter, count: u32) -> Vec<f64> {
        let mut times = Vec::new();
        for second in 0..count {
            let model = if second % 2 == 0 { "even" } else { "odd" };
            let record = Record {
                at: Timestamp::from_seconds(second.into()),
                prompt: Tokens::new(1),
                output: Tokens::new(1),
                model: Some(model.into()),
                content: Content::default(),
            };
            match filter.take(record) {
                Filtered::Kept(record) => times.push(record.at.as_seconds()),
                Filtered::Dropped => {}
                Filtered::Over => break,
            }
        }
        times
    }

    #[test]
    fn a_filter_keeps_what_it_says() {
        let all = Filter::default;
        assert_eq!(kept(all(), 3), [0.0, 1.0, 2.0]);
        assert_eq!(kept(all().from(Seconds::new(2.0)).until(Seconds::new(4.0)), 9), [0.0, 1.0]);
        assert_eq!(kept(all().scale_rate(Speed::try_from(4.0).unwrap()), 3), [0.0, 0.25, 0.5]);
        assert_eq!(kept(all().model("odd"), 5), [1.0, 3.0]);
        assert_eq!(kept(all().model("other"), 5), [0.0; 0]);
    }

    #[test]
    fn a_sample_is_a_function_of_its_seed() {
        let sample = |seed| kept(Filter::default().sample(Fraction::new(0.25), seed), 4000);
        assert!((900..1100).contains(&sample(1).len()), "{}", sample(1).len());
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1), sample(2));
    }
}
