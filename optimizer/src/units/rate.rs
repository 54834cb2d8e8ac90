//! Rates.

use std::fmt;
use std::ops::Mul;
use std::str::FromStr;

use thiserror::Error;

use super::{Seconds, quantity, written_as_text};

quantity! {
    /// Requests per second.
    RequestRate, "requests per second"
}

written_as_text!(
    RequestRate,
    r"^\d+(\.\d+)?/(s|min|h)$",
    "a request rate with its unit, such as \"5.5/s\", \"330/min\" or \"2000/h\""
);

impl RequestRate {
    /// `count` requests in a time of `span`; `None` when no time has passed.
    #[must_use]
    pub fn over(count: f64, span: Seconds) -> Option<Self> {
        Self::checked(count / span.value())
    }
}

/// The number of requests that are expected in a span.
impl Mul<Seconds> for RequestRate {
    type Output = f64;

    fn mul(self, span: Seconds) -> f64 {
        self.0 * span.value()
    }
}

impl FromStr for RequestRate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let error = || ParseRateError(text.to_owned());
        let (number, unit) = text.split_once('/').ok_or_else(error)?;
        let number = number.trim();
        if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err(error());
        }
        let seconds = match unit.trim() {
            "s" => 1.0,
            "min" | "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(error()),
        };
        let count: f64 = number.parse().map_err(|_| error())?;
        Self::checked(count / seconds).ok_or_else(error)
    }
}

impl fmt::Display for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", self.0))
    }
}

/// The text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a request rate with its unit, such as \"5.5/s\" or \"330/min\", not {0:?}")]
pub struct ParseRateError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for (text, per_second) in
            [("5.53/s", 5.53), ("330/min", 5.5), ("7200/h", 2.0), ("0/s", 0.0)]
        {
            let rate: RequestRate = text.parse().unwrap();
            assert_eq!(rate, RequestRate::new(per_second), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for text in ["", "5", "-1/s", "NaN/s", "5/day", "/s"] {
            assert!(text.parse::<RequestRate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rate_over_a_span_is_a_count() {
        let expected = RequestRate::new(2.5) * Seconds::new(4.0);
        assert!((expected - 10.0).abs() < 1e-12);
        assert_eq!(RequestRate::over(10.0, Seconds::new(4.0)), Some(RequestRate::new(2.5)));
        assert_eq!(RequestRate::over(10.0, Seconds::ZERO), None);
    }
}
