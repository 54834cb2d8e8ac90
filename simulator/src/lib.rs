//! x
pub mod kernel;
pub mod records;
pub mod results;
