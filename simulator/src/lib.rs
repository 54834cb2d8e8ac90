//! x
pub mod kernel;
pub mod engine;
pub mod document;
pub mod records;
