//! From a recording to what people and programs read after a run.
//!
//! Everything here is a function of a [`Recording`](crate::records::Recording), which the simulated
//! world leaves behind:
//!
//! | file | what | for |
//! |---|---|---|
//! | `summary.json` | the run in numbers: [`Summary`] | comparisons, tuning |
//! | `requests.parquet`, `timeseries.parquet` | every request, every sample | notebooks |
//! | `decisions.jsonl` | every decision that moved a replica count, and why | questions at night |
//! | `latency.*`, `timeline.*` | two figures, as SVG and PNG | documents |
//! | `report.html` | all of it on one page | people |
//! | `journal.jsonl` | every step of the controller, on request | replays and explanations |
//! | `run.json` | what differs between equal runs: [`RunInfo`] | measurements of speed |
//!
//! The same recording gives the same bytes, `run.json` excepted. The terminal shows
//! [`table::render`].

pub(crate) mod format;
mod labels;
pub mod stats;
pub mod groups;
pub mod summary;
pub mod parquet;
pub mod decisions;
pub mod plot;
pub mod report;
pub mod table;
pub mod run_info;
mod files;
mod journal;

#[cfg(test)]
mod sample;

pub use files::{RequestsFile, ResultsError, write, write_run_info};
pub use journal::{JournalError, JournalFile, read_journal};
pub use report::ReportInput;
pub use run_info::RunInfo;
pub use summary::Summary;
