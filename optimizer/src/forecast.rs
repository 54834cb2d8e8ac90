//! What will be asked for.

use serde::{Deserialize, Serialize};

use crate::units::{RequestRate, Seconds};

/// The arrival rate that is expected, with an honest upper bound, from now to a horizon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Points in ascending order of their lead; empty when nothing is known.
    points: Vec<Expectation>,
}

/// What is expected after a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// How far ahead.
    pub lead: Seconds,
    /// The rate that is as likely exceeded as not.
    pub expected: RequestRate,
    /// The rate that is exceeded as seldom as the policy asks.
    pub upper: RequestRate,
}

impl Outlook {
    /// From points in any order.
    #[must_use]
    pub fn new(mut points: Vec<Expectation>) -> Self {
        points.sort_by_key(|point| point.lead);
        Self { points }
    }

    /// The highest upper bound from now to `lead` ahead, the first point beyond it included; `None`
    /// when nothing is known.
    #[must_use]
    pub fn peak(&self, lead: Seconds) -> Option<RequestRate> {
        let beyond = self.points.iter().position(|point| point.lead >= lead);
        let until = beyond.map_or(self.points.len(), |idx| idx + 1);
        self.points[..until].iter().map(|point| point.upper).max()
    }
}
