//! Tests of the optimizer through its public interface.

mod fleet;
mod properties;
mod story;
mod vectors;
