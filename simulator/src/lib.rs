//! x
pub mod kernel;
pub mod records;
