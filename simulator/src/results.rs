//! What people and programs read after a run.

mod format;
mod labels;
pub mod stats;
pub mod summary;
pub mod decisions;
pub mod parquet;
pub mod run_info;
#[cfg(test)]
mod sample;
pub mod plot;
