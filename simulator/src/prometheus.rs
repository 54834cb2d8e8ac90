//! Prometheus between the replicas and whoever decides: series of samples, and PromQL's functions
//! over them, computed as Prometheus 3 computes them.
//!
//! ```text
//! scrape ──▶ Series ── range(now, 1m) ──▶ Window ── rate, increase, delta
//!              │                             ├───── max, min, avg, quantile over time
//!              └────── instant(now)          └───── histogram_quantile over rates of buckets
//! ```
//!
//! Why it is not enough to read the newest value: a rate is extrapolated to the edges of its window,
//! so it is off by up to a scrape interval; a counter that starts inside the window is only counted
//! from its first sample; a replica that is gone stays visible for five minutes unless its end was
//! marked. A policy that was tuned on exact rates meets none of that.
//!
//! Instants are whole milliseconds, as they are stored in Prometheus; those of the simulator are cut
//! off there. Values are PromQL's: floats without a unit, which may be NaN or infinite.
//!
//! The source of every rule is Prometheus 3's `promql/functions.go`, `promql/quantile.go` and
//! `promql/engine.go`. Not modeled: native histograms, start timestamps of counters (behind a
//! feature flag), and the `smoothed` and `anchored` modifiers.

mod extrapolation;
mod histogram;
mod over_time;
mod series;

pub use histogram::{Bucket, histogram_quantile};
pub use over_time::quantile;
pub use series::{LOOKBACK, PushError, Series, Window};
