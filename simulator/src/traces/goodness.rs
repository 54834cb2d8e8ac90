//! How like a trace the traffic is that was fitted to it.

use optimizer::units::Seconds;
use serde::Serialize;

use super::draw::Drawn;
use super::fitted::FittedTraffic;
use super::inspection::{Inspection, Inspector};
use crate::kernel::Streams;

/// A trace beside traffic that was drawn from what was fitted to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goodness {
    /// The largest distance between the distributions of the gaps (Kolmogorov and Smirnov).
    pub gap_ks: f64,
    /// The same of the prompt lengths.
    pub prompt_ks: f64,
    /// The same of the output lengths.
    pub output_ks: f64,
    /// Statistics of both.
    pub pairs: Vec<Pair>,
}

/// A statistic of the trace and of the drawn traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// What it is.
    pub name: String,
    /// Its value for the trace.
    pub recorded: Option<f64>,
    /// Its value for the drawn traffic.
    pub drawn: Option<f64>,
}

/// The seed of the traffic that is compared. Another one gives other small differences.
const SEED: u64 = 1;

/// Requests that are drawn at most. More would say no more.
const MOST_REQUESTS: usize = 1 << 20;

impl Goodness {
    /// Draws as long a traffic as the trace is, and compares; `None` when nothing arrives.
    #[must_use]
    pub fn of(traffic: &FittedTraffic, recorded: &Inspection) -> Option<Self> {
        let span = Seconds::new(recorded.span_s);
        let mut inspector = Inspector::default();
        for record in Drawn::new(traffic, span, Streams::new(SEED)).take(MOST_REQUESTS) {
            inspector.add(&record, None);
        }
        let drawn = inspector.finish()?;
        let pair = |name: &str, of: &dyn Fn(&Inspection) -> Option<f64>| Pair {
            name: name.to_owned(),
            recorded: of(recorded),
            drawn: of(&drawn),
        };
        let mut pairs = vec![
            pair("rate (1/s)", &|found| found.rate_rps),
            pair("gap CV", &|found| found.gap?.cv),
        ];
        for (idx, window) in recorded.windows.iter().enumerate() {
            let name = format!("dispersion in {} s", window.window_s);
            pairs.push(pair(&name, &|found| found.windows[idx].dispersion));
        }
        pairs.push(pair("prompt tokens, mean", &|found| Some(found.prompt.mean)));
        pairs.push(pair("output tokens, mean", &|found| Some(found.output.mean)));
        pairs.push(pair("correlation", &|found| found.correlation));
        if let Some(reuse) = &recorded.prefix {
            let found = |found: &Inspection| Some(found.prefix.as_ref()?.share);
            pairs.push(pair("prefix reuse, infinite cache", &found));
            for cache in &reuse.caches {
                let share = |found: &Inspection| {
                    let caches = &found.prefix.as_ref()?.caches;
                    Some(caches.iter().find(|other| other.tokens == cache.tokens)?.share)
                };
                pairs.push(pair(&format!("prefix reuse, {} tokens", cache.tokens), &share));
            }
        }
        let (one, other) = (&recorded.curves, &drawn.curves);
        Some(Self {
            gap_ks: distance(&one.gap, &other.gap),
            prompt_ks: distance(&one.prompt, &other.prompt),
            output_ks: distance(&one.output, &other.output),
            pairs,
        })
    }
}

/// The largest difference in height of two distribution functions, given as stairs: a value, and
/// the share that is no larger.
pub(super) fn distance(one: &[(f64, f64)], other: &[(f64, f64)]) -> f64 {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let (mut low, mut high, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
    while let (Some(&&(x, share)), Some(&&(y, other_share))) = (one.peek(), other.peek()) {
        if x <= y {
            low = share;
            one.next();
        }
        if y <= x {
            high = other_share;
            other.next();
        }
        most = most.max((low - high).abs());
    }
    // What is left of one lies above all of the other.
    let rest = if one.peek().is_some() { 1.0 - low } else { 1.0 - high };
    if one.peek().is_some() || other.peek().is_some() { most.max(rest) } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        let check = |one: &[(f64, f64)], other: &[(f64, f64)], expected: f64| {
            for (one, other) in [(one, other), (other, one)] {
                let found = distance(one, other);
                assert!((found - expected).abs() < 1e-12, "{one:?} {other:?}: {found}");
            }
        };
        let half = [(1.0, 0.5), (2.0, 1.0)];
        check(&half, &half, 0.0);
        check(&half, &[(1.0, 1.0)], 0.5);
        check(&half, &[(3.0, 1.0)], 1.0);
        check(&half, &[(1.0, 0.25), (1.5, 0.9), (2.0, 1.0)], 0.4);
        check(&half, &[(1.5, 0.1), (4.0, 1.0)], 0.9);
    }
}
