//! Times of a journal, as people write and read them.
//!
//! A simulated run begins at zero, an operator counts from the Unix epoch. A time of the former is a
//! span since the beginning, one of the latter a date.

use optimizer::units::{Seconds, Timestamp};

use crate::results::format;

/// Times from here on are dates: September 2001, and a simulated run of three decades.
const FIRST_DATE: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000_000);

/// A time such as `12.5m` or `0:12:30` since the beginning, or a date in the form of RFC 3339.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = text.parse::<Seconds>() {
        return Ok(Timestamp::ZERO + span);
    }
    if let Some(span) = clock(text) {
        return Ok(Timestamp::ZERO + span);
    }
    let date = text.parse::<jiff::Timestamp>().ok();
    let nanos = date.and_then(|date| u64::try_from(date.as_nanosecond()).ok());
    nanos.map(Timestamp::from_nanos).ok_or_else(|| {
        "expected a time since the beginning, such as 12.5m or 0:12:30, or a date such as \
         2026-08-01T09:30:00Z"
            .to_owned()
    })
}

/// As on a clock, or the date.
pub(super) fn show(at: Timestamp) -> String {
    let date = i128::from(at.as_nanos());
    match jiff::Timestamp::from_nanosecond(date) {
        Ok(date) if at >= FIRST_DATE => format!("{date:.0}"),
        _ => format::clock(at),
    }
}

/// Hours, minutes and seconds, as `0:12:30`.
fn clock(text: &str) -> Option<Seconds> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    match numbers?[..] {
        [hours, minutes @ ..60, seconds @ ..60] => {
            let minutes = f64::from(hours) * 60.0 + f64::from(minutes);
            Seconds::checked(minutes * 60.0 + f64::from(seconds))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_clocks_or_dates() {
        for (text, seconds) in
            [("90s", 90.0), ("12.5m", 750.0), ("0:12:30", 750.0), ("26:00:00", 93_600.0)]
        {
            assert_eq!(parse(text), Ok(Timestamp::from_seconds(seconds)), "{text}");
        }
        let date = parse("2026-08-01T09:30:00Z").unwrap();
        assert_eq!(date, Timestamp::from_seconds(1_785_576_600.0));
        assert_eq!(show(date), "2026-08-01T09:30:00Z");
        assert_eq!(show(Timestamp::from_seconds(750.0)), "0:12:30");
        for text in ["", "12", "0:60:00", "1:2", "-1s", "1960-01-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
