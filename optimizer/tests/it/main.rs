//! Tests of the optimizer through its public interface.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod arbitrary;
mod fleet;
mod properties;
mod story;
mod vectors;
