//! What the requests of a variant are like.

use serde::{Deserialize, Serialize};

use crate::analyzers::reading::total;

/// Mean lengths in tokens, and the share of prompt tokens that the prefix cache has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) input: f64,
    pub(super) output: f64,
    pub(super) hits: f64,
}

impl Shape {
    /// The mean over engines, each with the rate at which it completes requests. An engine without
    /// completions says nothing, unless none has any.
    pub(super) fn mean(engines: &[(f64, Self)]) -> Option<Self> {
        let by_rate = engines.iter().any(|(rate, _)| *rate > 0.0);
        let weight = |rate: f64| if by_rate { rate } else { 1.0 };
        let weights = total(engines.iter().map(|(rate, _)| weight(*rate)));
        let mean = |of: fn(&Self) -> f64| {
            let weighted = engines.iter().map(|(rate, shape)| of(shape) * weight(*rate));
            total(weighted) / weights
        };
        (weights > 0.0).then(|| Self {
            input: mean(|shape| shape.input),
            output: mean(|shape| shape.output),
            hits: mean(|shape| shape.hits),
        })
    }

    /// The tokens that a request has in the KV cache, on average over its life: prompt tokens that
    /// it does not share, and half of its output.
    pub(super) fn per_request(&self) -> f64 {
        self.input * (1.0 - self.hits) + self.output / 2.0
    }

    /// Whether a mean length differs by more than a share of what it was `before`.
    pub(super) fn has_moved(&self, before: &Self, tolerance: f64) -> bool {
        let moved = |now: f64, before: f64| (now - before).abs() > tolerance * before;
        moved(self.input, before.input) || moved(self.output, before.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIGHT: Shape = Shape { input: 1000.0, output: 200.0, hits: 0.1 };
    const HEAVY: Shape = Shape { input: 3000.0, output: 600.0, hits: 0.5 };

    /// Vectors TA-01 and TA-09 of the workload-variant-autoscaler 0.9.
    #[test]
    fn shapes_are_weighted_by_rate() {
        let check = |rates: [f64; 2], expected: [f64; 3]| {
            let mean = Shape::mean(&[(rates[0], LIGHT), (rates[1], HEAVY)]).unwrap();
            let found = [mean.input, mean.output, mean.hits];
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "{rates:?}: {found} {expected}");
            }
        };
        check([1.0, 3.0], [2500.0, 500.0, 0.4]);
        check([0.0, 0.0], [2000.0, 400.0, 0.3]);
        check([0.0, 2.0], [3000.0, 600.0, 0.5]);
        assert_eq!(Shape::mean(&[]), None);
        let shape = Shape { input: 5000.0, output: 200.0, hits: 0.1 };
        assert!((shape.per_request() - 4600.0).abs() < 1e-9);
    }

    #[test]
    fn a_shape_moves_by_more_than_its_tolerance() {
        let shape = |input, output| Shape { input, output, hits: 0.0 };
        for (now, expected) in [
            (shape(1200.0, 160.0), false),
            (shape(1201.0, 200.0), true),
            (shape(1000.0, 159.0), true),
        ] {
            assert_eq!(now.has_moved(&LIGHT, 0.2), expected, "{now:?}");
        }
    }
}
