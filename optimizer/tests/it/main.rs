//! The optimizer's tests from outside: one crate, so it links once.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod arbitrary;
mod fleet;
mod journal;
mod layering;
mod limits;
mod properties;
mod queueing;
mod scene;
mod slo;
mod solver;
mod story;
mod throughput;
mod tokens;
mod tuning;
mod vectors;
mod votes;
