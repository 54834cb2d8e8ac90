//! Settings of the forecast.

use serde::{Deserialize, Serialize};

use crate::units::{Fraction, Seconds};

/// How the arrival rate is forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ForecastPolicy {
    /// The share of times at which the rate turns out to be no higher than the upper bound.
    pub confidence: Fraction,
    /// How much of the past the trend is read from.
    pub trend_window: Seconds,
    /// After this time traffic repeats itself; `"0s"` switches seasons off.
    pub season: Seconds,
}

impl Default for ForecastPolicy {
    fn default() -> Self {
        Self {
            confidence: Fraction::new(0.8),
            trend_window: Seconds::from_minutes(5.0),
            season: Seconds::from_minutes(24.0 * 60.0),
        }
    }
}
