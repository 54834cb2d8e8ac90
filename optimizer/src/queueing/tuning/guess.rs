//! A first guess at the costs, from a single observation.

use super::Latencies;
use crate::queueing::{IterationCosts, RequestShape};

/// The share of the time between tokens that is taken for the overhead.
const OVERHEAD: f64 = 0.9;

/// Costs that explain one observation at a light load; `None` when none do.
///
/// Two latencies do not tell three costs, so the overhead is taken for nine tenths of the time
/// between tokens, as the workload-variant-autoscaler 0.9 does. What is left is split by
/// TTFT = α + (β + γ)·L and ITL = α + β + γ·(L + (m + 1)/2).
#[must_use]
pub fn guess(observed: Latencies, shape: RequestShape) -> Option<IterationCosts> {
    let [ttft, itl] = observed.to_array();
    let (input, output) = (shape.input.as_f64(), shape.output.as_f64());
    let overhead = OVERHEAD * itl;
    let per_prompt_token = (ttft - overhead) / input;
    let reads = input + f64::midpoint(output, 1.0) - 1.0;
    let read = (itl - overhead - per_prompt_token) / reads;
    let costs = [overhead, per_prompt_token - read, read];
    costs.iter().all(|cost| *cost > 0.0).then(|| IterationCosts::from_array(costs))?
}
