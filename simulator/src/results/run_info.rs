//! How the run was made: `run.json`.
//!
//! What differs between two equal runs is here and nowhere else: how long they took, on which
//! version of the program.

use optimizer::units::Seconds;
use serde::{Deserialize, Serialize};

use super::summary::Summary;

/// How the run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of Plimsoll.
    pub plimsoll: String,
    /// The command line.
    pub command: Vec<String>,
    /// The scenario's file, as it was named.
    pub scenario_file: Option<String>,
    /// How long the run took on the wall clock, in seconds.
    pub wall_s: f64,
    /// Simulated seconds per second of wall time. `None` when the clock saw no time pass.
    pub simulated_s_per_wall_s: Option<f64>,
    /// Arrived requests per second of wall time. `None` when the clock saw no time pass.
    pub requests_per_wall_s: Option<f64>,
    /// The files that were written, by name.
    pub files: Vec<String>,
}

impl RunInfo {
    /// The facts of a run that took `wall`, without command and files.
    #[must_use]
    pub fn new(plimsoll: &str, summary: &Summary, wall: Seconds) -> Self {
        let per_wall = |amount: f64| (!wall.is_zero()).then(|| amount / wall.value());
        Self {
            plimsoll: plimsoll.to_owned(),
            command: Vec::new(),
            scenario_file: None,
            wall_s: wall.value(),
            simulated_s_per_wall_s: per_wall(summary.simulated_s),
            requests_per_wall_s: per_wall(summary.requests.arrived as f64),
            files: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::sample::{self, Shape};

    #[test]
    fn rates_are_per_second_of_wall_time() {
        let summary = Summary::of(&sample::recording(Shape::HALF_HOUR));
        let info = RunInfo::new("0.1.0", &summary, Seconds::new(0.5));
        assert_eq!(info.simulated_s_per_wall_s, Some(3600.0));
        assert_eq!(info.requests_per_wall_s, Some(8000.0));
        let instant = RunInfo::new("0.1.0", &summary, Seconds::ZERO);
        assert_eq!(instant.simulated_s_per_wall_s, None);
    }
}
