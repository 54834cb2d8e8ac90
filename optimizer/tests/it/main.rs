//! Tests of the optimizer through its public interface.

mod arbitrary;
mod fleet;
mod properties;
mod story;
mod vectors;
