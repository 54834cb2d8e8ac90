//! What users of a model are promised.

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// Latency targets of one request.
///
/// A request meets its targets when it completes, its first token comes within `ttft`, and the mean
/// time of the tokens after the first, (last − first) / (out − 1), is within `tpot`. A request with
/// one output token has no time per output token, so only `ttft` binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Slo {
    /// Time to first token, from the arrival of the request.
    pub ttft: Seconds,
    /// Time per output token after the first.
    pub tpot: Seconds,
}

impl Slo {
    /// Whether a completed request met its targets; `tpot` is `None` when it had one output token.
    #[must_use]
    pub fn is_met(&self, ttft: Seconds, tpot: Option<Seconds>) -> bool {
        ttft <= self.ttft && tpot.is_none_or(|tpot| tpot <= self.tpot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_targets_bind_and_meeting_one_exactly_is_meeting_it() {
        let slo = Slo { ttft: Seconds::new(2.0), tpot: Seconds::from_millis(100.0) };
        let met = |ttft: f64, tpot: Option<f64>| {
            slo.is_met(Seconds::new(ttft), tpot.map(Seconds::from_millis))
        };
        assert!(met(2.0, Some(100.0)));
        assert!(met(2.0, None));
        assert!(!met(2.1, Some(10.0)));
        assert!(!met(0.1, Some(101.0)));
    }
}
