//! The optimizer's tests from outside: one crate, so it links once.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod arbitrary;
mod fleet;
mod layering;
mod properties;
mod queueing;
mod slo;
mod story;
mod vectors;
