//! x
pub mod kernel;
pub mod engine;
pub mod records;
