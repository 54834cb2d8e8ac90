//! What is wrong with a workload that a person wrote down.

use thiserror::Error;

/// A rule for workloads that is broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: expected {expected}")]
pub struct WorkloadProblem {
    /// The field, with the path that the caller of `validate` gave in front, such as
    /// `output.quantiles.p75`.
    pub path: String,
    /// What would have been right.
    pub expected: &'static str,
}

impl WorkloadProblem {
    /// Reports the rule, unless it `holds`.
    pub(super) fn unless(
        holds: bool,
        problems: &mut Vec<Self>,
        path: impl FnOnce() -> String,
        expected: &'static str,
    ) {
        if !holds {
            problems.push(Self { path: path(), expected });
        }
    }
}
