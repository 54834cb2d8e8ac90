//! What one replica can do at a load, by queueing theory.
//!
//! A replica serves up to N requests at once and lets up to Q more wait; what arrives beyond that
//! is turned away. Requests arrive as a Poisson process. A request stays in service for a mean time
//! S(n) that depends on the number n in service, so the replica completes µ(n) = n / S(n) requests
//! per second, and µ(N) while more than N are there. That makes the number in the system a
//! birth–death chain with a product-form distribution.
//!
//! 1. [`ServiceModel`] gives S(n) for a [`RequestShape`], by one of four published laws.
//! 2. [`Chain`] gives the stationary distribution and its means, as a [`SteadyState`].
//! 3. [`WaitDistribution`] gives the waiting time of an accepted request, not only its mean.
//! 4. [`Replica`] puts these together and gives the [`Performance`] at an arrival rate.
//! 5. [`Replica::size`] turns this around: the largest arrival rate that meets [`Targets`].
//! 6. [`Concurrency`] is the smallest batch limit that serves as much as a large one.
//! 7. [`tuning`] learns the costs in the law from the latencies that replicas report.
//!
//! The laws V0 to V2 are those of the llm-inferno project (queue-analysis, 2025 and 2026). They
//! know mean token counts only, and neither the KV cache nor preemption nor prefix reuse.
//!
//! Numbers of requests that are means, such as a mean batch size, are plain `f64`.

mod service;
mod geometric;
mod chain;
mod wait;
mod replica;
mod sizing;
mod concurrency;
pub mod tuning;

use crate::units::Seconds;

pub use chain::{Chain, ChainError, SteadyState};
pub use concurrency::{Concurrency, ConcurrencyError};
pub use replica::{Performance, Replica, ReplicaError};
pub use service::{DEFAULT_TOKEN_BUDGET, IterationCosts, PhaseCosts, RequestShape, ServiceModel};
pub use sizing::{Sizing, SizingError, THROUGHPUT_HEADROOM, TailTarget, Targets};
pub use wait::WaitDistribution;

/// A span of `value` seconds, or the longest there is when that is too long for an `f64`.
fn span(value: f64) -> Seconds {
    Seconds::checked(value).unwrap_or(Seconds::new(f64::MAX))
}
