//! What another simulator reached on the same run.

use std::collections::BTreeMap;
use std::path::Path;

use super::recording::{RunError, text};

/// Errors in percent, by the metric's name in [`Metric`](super::Metric); empty when the run has
/// none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerErrors(BTreeMap<String, f64>);

impl PeerErrors {
    /// Reads `peer-simulator-errors.txt`: rows such as `TTFT Mean  7097.2  6815.7  -4.0%`.
    pub(super) fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join("peer-simulator-errors.txt");
        if path.exists() { Ok(Self::parse(&text(&path)?)) } else { Ok(Self::default()) }
    }

    fn parse(text: &str) -> Self {
        let row = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [metric, statistic, _, _, error] = words[..] else { return None };
            let error = error.strip_suffix('%')?.parse().ok()?;
            Some((format!("{}_{}", metric.to_lowercase(), statistic.to_lowercase()), error))
        };
        Self(text.lines().filter_map(row).collect())
    }

    /// The error of a metric.
    #[must_use]
    pub fn get(&self, metric: &str) -> Option<f64> {
        self.0.get(metric).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_among_other_lines() {
        let errors = PeerErrors::parse(
            "Metric  vLLM  Sim  Diff%\n------\nTTFT Mean  7097.2  6815.7  -4.0%\n\n\
             Latency P99  37638.8  37027.3  -1.6%\n",
        );
        let found = ["ttft_mean", "latency_p99", "tpot_mean"].map(|metric| errors.get(metric));
        assert_eq!(found, [Some(-4.0), Some(-1.6), None]);
    }
}
