//! The simulator against recorded runs of real servers.
//!
//! Of some runs every request is known, of others only [`summary`] statistics. What follows here is
//! of the former.
//!
//! A [`Run`] is a folder that says what was asked of one vLLM server and when each answer came. Its
//! requests are replayed, at the times and with the tokens that were recorded, through the engine
//! on a plant of layer timings, and what the engine does is laid beside what the server did
//! ([`compare`]). The layer timings were taken on the same GPU but are of single kernels, so the
//! step times know nothing of the run. One constant does: [`HOST_TIME`], for all runs, was read off
//! one of them.

mod cache;
mod comparison;
mod layers;
mod model;
mod peer;
mod prompts;
mod recording;
mod replay;
pub mod summary;
mod survey;

pub use comparison::{Comparison, GpuMedian, Metric, Row, Statistic, compare, medians};
pub use layers::HOST_TIME;
pub use peer::PeerErrors;
pub use prompts::{BlockText, Prompts};
pub use recording::{RecordedRequest, Run, RunError, Sample};
pub use replay::{Replay, ReplayedRequest, replay};
pub use survey::{Survey, survey};

#[cfg(test)]
mod tests;
