//! Instants and spans of time.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{quantity, written_as_text};

/// An instant: nanoseconds since an epoch that the driver chooses (the Unix epoch in the operator,
/// the start of the run in the simulator). Integer, so that equal instants are equal.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const MAX: Self = Self(u64::MAX);

    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the epoch, to the nearest nanosecond.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Self {
        Self(nanos(seconds))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The time that has passed since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0) as f64 / 1e9)
    }
}

impl Add<Seconds> for Timestamp {
    type Output = Self;

    fn add(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(nanos(span.0)))
    }
}

impl AddAssign<Seconds> for Timestamp {
    fn add_assign(&mut self, span: Seconds) {
        *self = *self + span;
    }
}

impl fmt::Display for Timestamp {
    /// Seconds since the epoch with millisecond resolution, as `12.345s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.as_seconds())
    }
}

/// Nearest nanosecond; `as` saturates, which is what an instant beyond the range should do.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is wanted")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

quantity! {
    /// A span of time.
    Seconds, "seconds"
}

written_as_text!(
    Seconds,
    r"^\d+(\.\d+)?(ns|us|ms|s|m|min|h|d)$",
    "a duration with its unit, such as \"150ms\", \"2s\", \"5m\" or \"1h\""
);

/// Suffix and seconds; the first that gives the shortest exact text is what `Display` writes.
const UNITS: [(&str, f64); 8] = [
    ("s", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

impl Seconds {
    /// From milliseconds.
    ///
    /// # Panics
    ///
    /// When `value` is negative or not finite.
    #[must_use]
    pub const fn from_millis(value: f64) -> Self {
        Self::new(value / 1e3)
    }

    /// From minutes.
    ///
    /// # Panics
    ///
    /// When `value` is negative or not finite.
    #[must_use]
    pub const fn from_minutes(value: f64) -> Self {
        Self::new(value * 60.0)
    }

    /// The number of milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> f64 {
        self.0 * 1e3
    }

    /// The number of hours.
    #[must_use]
    pub const fn as_hours(self) -> f64 {
        self.0 / 3600.0
    }

    /// The span as PromQL writes it in a range such as `rate(x[1d])`: whole seconds, at least one,
    /// rounded down, in the largest unit that divides them (`90m` and not `1h30m`).
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturation is wanted: no range is that long"
    )]
    pub fn to_promql(self) -> String {
        let seconds = (self.0 as u64).max(1);
        let units: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
        let (suffix, unit) =
            units.into_iter().find(|(_, unit)| seconds.is_multiple_of(*unit)).unwrap_or(("s", 1));
        format!("{}{suffix}", seconds / unit)
    }

    fn parse_with(number: &str, unit: f64) -> Option<Self> {
        let value: f64 = number.parse().ok()?;
        // Division by the inverse keeps "150ms" equal to 0.15, which a product would miss by an ulp.
        Self::checked(if unit < 1.0 { value / (1.0 / unit).round() } else { value * unit })
    }
}

impl FromStr for Seconds {
    type Err = ParseSecondsError;

    fn from_str(text: &str) -> Result<Self, ParseSecondsError> {
        let error = || ParseSecondsError(text.to_owned());
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(error)?;
        let (number, suffix) = trimmed.split_at(split);
        let number = number.trim_end();
        if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err(error());
        }
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == suffix).ok_or_else(error)?;
        Self::parse_with(number, unit).ok_or_else(error)
    }
}

impl fmt::Display for Seconds {
    /// The shortest text that parses back to exactly this span, of two the one without a decimal point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.into_iter().filter_map(|(suffix, unit)| {
            let scaled = if unit < 1.0 { self.0 * (1.0 / unit).round() } else { self.0 / unit };
            let number = format!("{scaled}");
            (Self::parse_with(&number, unit) == Some(*self)).then(|| format!("{number}{suffix}"))
        });
        let shortest = exact
            .min_by_key(|text| (text.len(), text.contains('.')))
            .unwrap_or_else(|| format!("{}s", self.0));
        f.pad(&shortest)
    }
}

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "expected a duration with its unit, such as \"150ms\", \"2s\", \"5m\" or \"1h\", not {0:?}"
)]
pub struct ParseSecondsError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, canonical) in [
            ("150ms", 0.15, "150ms"),
            ("2s", 2.0, "2s"),
            ("2.5 s", 2.5, "2.5s"),
            ("90s", 90.0, "90s"),
            ("10m", 600.0, "10m"),
            ("10min", 600.0, "10m"),
            ("1h", 3600.0, "1h"),
            ("1.5h", 5400.0, "90m"),
            ("7d", 604_800.0, "7d"),
            ("20us", 2e-5, "20us"),
            ("0s", 0.0, "0s"),
        ] {
            let parsed: Seconds = text.parse().unwrap();
            assert_eq!(parsed, Seconds::new(seconds), "{text}");
            assert_eq!(parsed.to_string(), canonical, "{text}");
        }
    }

    /// The Prometheus durations of the workload-variant-autoscaler 0.5's vectors, group F.
    #[test]
    fn ranges_of_promql() {
        for (span, expected) in [
            ("24h", "1d"),
            ("48h", "2d"),
            ("168h", "7d"),
            ("1h", "1h"),
            ("12h", "12h"),
            ("1m", "1m"),
            ("10m", "10m"),
            ("30s", "30s"),
            ("90m", "90m"),
            ("100ms", "1s"),
            ("0s", "1s"),
            ("1500ms", "1s"),
            ("25h", "25h"),
        ] {
            assert_eq!(span.parse::<Seconds>().unwrap().to_promql(), expected, "{span}");
        }
        assert_eq!(Seconds::new(f64::MAX).to_promql(), format!("{}s", u64::MAX));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "-1s", "s", "NaNs", "infs", "1 fortnight", "1e999s", "+2s", "1s2"] {
            assert!(text.parse::<Seconds>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn instants_and_spans_agree_to_the_nanosecond() {
        let start = Timestamp::from_seconds(1.000_000_001);
        assert_eq!(start.as_nanos(), 1_000_000_001);
        assert_eq!((start + Seconds::from_millis(1.5)).as_nanos(), 1_001_500_001);
        assert_eq!(Timestamp::ZERO.since(start), Seconds::ZERO);
        assert_eq!(Timestamp::MAX + Seconds::new(1.0), Timestamp::MAX);
    }

    proptest::proptest! {
        #[test]
        fn every_span_survives_its_text(value in 0.0..1e12_f64) {
            let span = Seconds::new(value);
            proptest::prop_assert_eq!(span.to_string().parse::<Seconds>(), Ok(span));
        }
    }
}
