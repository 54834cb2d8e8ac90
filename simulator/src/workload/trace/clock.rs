//! How files tell the time.

use std::str::FromStr;

use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use thiserror::Error;

/// What the numbers or words of a time column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// A date and time, such as `2023-11-16 18:15:46.6805900`; in UTC unless it has an offset.
    Calendar,
    /// A number of seconds.
    Seconds,
    /// A number of milliseconds.
    Milliseconds,
    /// A number of microseconds.
    Microseconds,
    /// A number of nanoseconds.
    Nanoseconds,
}

impl Clock {
    /// What a column has to hold, for a message.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Calendar => "a date and time, such as 2023-11-16 18:15:46.6805900",
            Self::Seconds => "a number of seconds, finite and not negative",
            Self::Milliseconds => "a number of milliseconds, finite and not negative",
            Self::Microseconds => "a number of microseconds, finite and not negative",
            Self::Nanoseconds => "a number of nanoseconds, finite and not negative",
        }
    }

    /// The nanoseconds that a text means: since 1970 for a date, else since the clock's own zero.
    pub(crate) fn nanos(self, text: &str) -> Option<i64> {
        if self == Self::Calendar {
            return calendar(text);
        }
        match text.parse::<u64>() {
            Ok(whole) => self.nanos_of_whole(whole.try_into().ok()?),
            Err(_) => self.nanos_of(text.parse().ok()?),
        }
    }

    /// As [`nanos_of`](Self::nanos_of), but exact also where a float would round.
    pub(crate) fn nanos_of_whole(self, value: i64) -> Option<i64> {
        if value < 0 { None } else { value.checked_mul(self.unit()?) }
    }

    /// The nanoseconds of a number in this clock's unit, to the nearest; `None` for a calendar, or
    /// when it is negative, not finite, or beyond 292 years.
    pub(crate) fn nanos_of(self, value: f64) -> Option<i64> {
        let nanos = value * self.unit()? as f64;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        (0.0..i64::MAX as f64).contains(&nanos).then(|| nanos.round() as i64)
    }

    /// Nanoseconds of one unit.
    const fn unit(self) -> Option<i64> {
        Some(match self {
            Self::Calendar => return None,
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        })
    }
}

fn calendar(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let time = pieces.date().to_datetime(pieces.time()?);
    let zone = pieces.to_numeric_offset().map_or(TimeZone::UTC, TimeZone::fixed);
    zone.to_timestamp(time).ok()?.as_nanosecond().try_into().ok()
}

impl FromStr for Clock {
    type Err = ParseClockError;

    fn from_str(text: &str) -> Result<Self, ParseClockError> {
        Ok(match text {
            "date" => Self::Calendar,
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "us" => Self::Microseconds,
            "ns" => Self::Nanoseconds,
            _ => return Err(ParseClockError(text.to_owned())),
        })
    }
}

/// The text is no unit of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a unit of time, one of s, ms, us, ns and date, not {0:?}")]
pub struct ParseClockError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_read_to_the_nanosecond() {
        let check = |unit: &str, text: &str, expected: Option<i64>| {
            assert_eq!(unit.parse::<Clock>().unwrap().nanos(text), expected, "{text} {unit}");
        };
        check("s", "1.5", Some(1_500_000_000));
        check("s", "1700000000", Some(1_700_000_000_000_000_000));
        check("ms", "3000", Some(3_000_000_000));
        check("us", "1700000000123457", Some(1_700_000_000_123_457_000));
        check("ns", "1700000000123456789", Some(1_700_000_000_123_456_789));
        check("date", "1970-01-01 00:00:01.25+00:00", Some(1_250_000_000));
        for text in ["-1", "NaN", "inf", "1e30", "", "18446744073709551615"] {
            check("s", text, None);
        }
        assert!("minutes".parse::<Clock>().is_err());
    }
}
