//! The coefficients of a linear plant, from measurements of a real server.
//!
//! Three kinds of [`Measurements`] say how fast a model runs on a GPU: the records of single
//! requests, the means of load stages that a load generator writes, and the counters that
//! Prometheus keeps. [`calibrate`] goes three steps:
//!
//! 1. *Equations.* Each measured time is a sum of the coefficients, times how often each counted.
//!    For a single request that is known from the requests beside it; for a stage, from Little's
//!    law. Where the equations cannot tell parameters apart, because the context was always
//!    the same, say, one of them is held at a prior, or left out.
//! 2. *Regression* of the others on relative errors, none of them negative.
//! 3. *Refinement.* The simulator serves the same load, and the coefficients move until it is as
//!    fast as the server was.
//!
//! What comes out is a [`Calibration`]: the coefficients with their standard errors, how far the
//! simulator is off with them, and for which loads that was seen. [`CalibratedProfile`] writes it as a
//! catalog file that a scenario can name.
//!
//! # Limits
//!
//! - A prompt counts in the step that brings its first token. Where many exceed the token budget of
//!   a step, their earlier chunks are counted late. What a sequence costs in all stays right, but its
//!   division between c2 and c3 was off by a third in a synthetic load of that kind.
//! - A server whose batch is bound by its KV cache has nearly the same context in every step, so
//!   c0, c2 and c3 stand in for each other; a prior decides then.
//! - What a client measures of a first token has its network and front end in it, which a plant has
//!   not.
//! - Errors of fit are of the data that was fitted to.

mod activity;
mod equation;
mod experiment;
mod fit;
mod least_squares;
mod load;
mod parameter;
mod profile;
mod refinement;
mod source;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::document::Problems;
use crate::engine::EngineConfigError;
use crate::validation::RunError;

pub use experiment::Latency;
pub use fit::{Calibration, Confusion, Estimate, FitError, Range, Status, ValidRanges, calibrate};
pub use load::{Arrivals, LoadStage};
pub use parameter::{Parameter, PerParameter};
pub use profile::CalibratedProfile;
pub use source::prometheus::{QueryRange, fetch};
pub use source::{Measurements, ReadOptions, ServerFacts, SourceFile};

/// Measurements that say nothing.
#[derive(Debug, Error)]
pub enum CalibrationError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}:{line}: {message}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// The field, and what is wrong with it.
        message: String,
    },
    /// A field has a value that no measurement has.
    #[error("{path}: {field}: {found} — expected {expected}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Nothing in a file or folder tells what it is.
    #[error(
        "{path}: expected a folder with requests.jsonl and meta.json, a folder of inference-perf \
         with stage_*_lifecycle_metrics.json, or a JSON file of vllm bench serve, guidellm or \
         Prometheus (/api/v1/query_range)",
        path = .0.display()
    )]
    Unrecognized(PathBuf),
    /// A YAML file is wrong.
    #[error(transparent)]
    Document(#[from] Problems),
    /// A run of single requests is broken.
    #[error("{path}: {source}", path = path.display())]
    Run {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        source: RunError,
    },
    /// The simulator cannot serve what was measured.
    #[error("the measured load cannot be simulated: {0}")]
    Simulation(#[from] RunError),
    /// No engine starts with these arguments.
    #[error("the measured server cannot be simulated: {0}")]
    Engine(#[from] EngineConfigError),
    /// A server does not answer as Prometheus does.
    #[error("{url}: {message}")]
    Http {
        /// What was asked.
        url: String,
        /// What came back.
        message: String,
    },
    /// Everything was left out.
    #[error("no request and no load stage is left to fit to{}", reasons(.0))]
    Nothing(Vec<String>),
}

fn reasons(notes: &[String]) -> String {
    notes.iter().flat_map(|note| ["\n  ", note]).collect()
}

#[cfg(test)]
mod tests;
