//! The base rate: constant, or constant in steps that come by chance.

use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::RateState;
use crate::kernel::Stream;

/// A rate that is constant in steps, one after the other. Rates are per second, times in seconds.
#[derive(Debug, Clone)]
pub(super) enum BaseRate {
    /// Steps of equal length, known in advance.
    Steps {
        rates: Vec<f64>,
        /// The length of a step.
        step: f64,
        /// The next step. It is kept beside the time, because a time at the border of two steps
        /// does not divide cleanly.
        next: usize,
    },
    /// States that follow each other by chance.
    Jumping {
        states: Vec<RateState>,
        state: usize,
        /// When the last step ended.
        end: f64,
        chance: Stream,
    },
}

/// A time during which the base rate stands still.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BaseStep {
    pub(super) end: f64,
    pub(super) rate: f64,
}

impl BaseRate {
    /// Steps in one correlation time: enough for the path to look smooth from window to window.
    const RESOLUTION: f64 = 16.0;

    /// Steps of equal length that fill the run.
    pub(super) fn steps(rates: Vec<f64>, run: f64) -> Self {
        let step = run / rates.len() as f64;
        Self::Steps { rates, step, next: 0 }
    }

    /// States that last for exponential times. The first is drawn as time would find it.
    pub(super) fn jumping(states: Vec<RateState>, mut chance: Stream) -> Self {
        let span = |state: &RateState| state.mean_duration.value();
        let mut mark = chance.random::<f64>() * states.iter().map(span).sum::<f64>();
        let state = states.iter().position(|state| {
            mark -= span(state);
            mark < 0.0
        });
        // Rounding may leave the mark at the very end.
        Self::Jumping { state: state.unwrap_or(states.len() - 1), states, end: 0.0, chance }
    }

    /// A rate whose logarithm is a stationary first-order autoregressive process, scaled to its
    /// mean and variation over the run.
    pub(super) fn wandering(
        mean: f64,
        cv: f64,
        correlation_time: f64,
        run: f64,
        chance: &mut Stream,
    ) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let steps = (run / correlation_time * Self::RESOLUTION).ceil().max(1.0) as usize;
        let memory = (-1.0 / Self::RESOLUTION).exp();
        let renewal = (1.0 - memory * memory).sqrt();
        let mut level: f64 = StandardNormal.sample(chance);
        let mut path = Vec::with_capacity(steps);
        for _ in 0..steps {
            path.push(level);
            let fresh: f64 = StandardNormal.sample(chance);
            level = memory * level + renewal * fresh;
        }
        let path = standardized(path);
        // The standard deviation of the logarithm of a lognormal variable with this variation.
        let sigma = (cv * cv).ln_1p().sqrt();
        let factors: Vec<_> = path.into_iter().map(|level| (sigma * level).exp()).collect();
        let scale = mean * factors.len() as f64 / factors.iter().sum::<f64>();
        Self::steps(factors.into_iter().map(|factor| scale * factor).collect(), run)
    }
}

/// Steps in the order of time, the first from zero on. Where there are no more, the run is over.
impl Iterator for BaseRate {
    type Item = BaseStep;

    fn next(&mut self) -> Option<BaseStep> {
        match self {
            Self::Steps { rates, step, next } => {
                let rate = *rates.get(*next)?;
                *next += 1;
                Some(BaseStep { end: *next as f64 * *step, rate })
            }
            Self::Jumping { states, state, end, chance } => {
                let current = states[*state];
                let stay: f64 = Exp1.sample(chance);
                // A stay too short to move the clock would be passed over for ever.
                *end = (*end + stay * current.mean_duration.value()).max(end.next_up());
                let away = chance.random_range(1..states.len());
                *state = (*state + away) % states.len();
                Some(BaseStep { end: *end, rate: current.rate.value() })
            }
        }
    }
}

/// Shifted and scaled to mean 0 and standard deviation 1; a path that does not vary becomes zero.
fn standardized(path: Vec<f64>) -> Vec<f64> {
    let count = path.len() as f64;
    let mean = path.iter().sum::<f64>() / count;
    let variance = path.iter().map(|level| (level - mean).powi(2)).sum::<f64>() / count;
    let scale = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
    path.into_iter().map(|level| (level - mean) * scale).collect()
}

#[cfg(test)]
mod tests {
    use optimizer::units::{RequestRate, Seconds};

    use super::*;
    use crate::kernel::Streams;

    /// Three states, entered alike: each has its share of time, and follows each other as often.
    #[test]
    fn states_have_their_shares_of_time() {
        let states: Vec<_> = [(0.0, 10.0), (1.0, 30.0), (2.0, 60.0)]
            .map(|(rate, span)| RateState {
                rate: RequestRate::new(rate),
                mean_duration: Seconds::new(span),
            })
            .into();
        let mut spans = [0.0; 3];
        let mut follows = [[0; 3]; 3];
        let (mut now, mut last) = (0.0, None);
        for step in BaseRate::jumping(states, Streams::new(1).stream("rate")).take(60_000) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            let state = step.rate as usize;
            spans[state] += step.end - now;
            now = step.end;
            if let Some(last) = last.replace(state) {
                follows[last][state] += 1;
            }
        }
        for (span, share) in spans.into_iter().zip([0.1, 0.3, 0.6]) {
            assert!((span / now - share).abs() < 0.01, "{span} of {now} is not {share}");
        }
        for (from, row) in follows.into_iter().enumerate() {
            for (to, count) in row.into_iter().enumerate() {
                let expected: f64 = if from == to { 0.0 } else { 10_000.0 };
                let found = f64::from(count);
                assert!((found - expected).abs() < 400.0, "{from} to {to}: {found}");
            }
        }
    }
}
