//! Numbers as people read them, in the table, the report and the figures.

use optimizer::units::{Seconds, Timestamp};

/// A latency with three significant digits: `412 ms`, `1.23 s`, `12.5 min`.
pub(crate) fn latency(span: Seconds) -> String {
    let seconds = span.value();
    if span.is_zero() {
        "0 s".to_owned()
    } else if seconds < 0.9995 {
        format!("{} ms", significant(span.as_millis()))
    } else if seconds < 599.5 {
        format!("{} s", significant(seconds))
    } else {
        format!("{} min", significant(seconds / 60.0))
    }
}

/// A latency target, as short as it was written: `1.5 s`, `45 ms`.
pub(super) fn target(span: Seconds) -> String {
    let short = |value: f64| (value * 1e6).round() / 1e6;
    if span.value() < 1.0 {
        format!("{} ms", short(span.as_millis()))
    } else {
        format!("{} s", short(span.value()))
    }
}

/// A length of time in its two largest units: `30 s`, `5 min`, `1 h 30 min`, `7 d`.
pub(crate) fn span(span: Seconds) -> String {
    let total = whole(span);
    let parts = [
        (total / 86_400, "d"),
        (total / 3600 % 24, "h"),
        (total / 60 % 60, "min"),
        (total % 60, "s"),
    ];
    let Some(first) = parts.iter().position(|&(count, _)| count > 0) else {
        return "0 s".to_owned();
    };
    let shown: Vec<_> = parts[first..]
        .iter()
        .take(2)
        .filter(|&&(count, _)| count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    shown.join(" ")
}

/// A time of the run as on a clock: `0:05:10`, from the second day on `1d 0:05:10`.
pub(crate) fn clock(at: Timestamp) -> String {
    let total = whole(at.since(Timestamp::ZERO));
    let (days, rest) = (total / 86_400, total % 86_400);
    let time = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}d {time}") } else { time }
}

/// A share with one decimal. Only all of it is `100%`, and only none of it is `0%`.
pub(crate) fn percent(share: f64) -> String {
    if share >= 1.0 {
        return "100%".to_owned();
    }
    if share <= 0.0 {
        return "0%".to_owned();
    }
    match format!("{:.1}%", share * 100.0).as_str() {
        "100.0%" => "99.9%".to_owned(),
        "0.0%" => "<0.1%".to_owned(),
        text => text.to_owned(),
    }
}

/// A count with commas between thousands.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (idx, digit) in digits.char_indices() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 request`, `2,000 requests`.
pub(crate) fn counted(value: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(value), if value == 1 { "" } else { "s" })
}

/// The counts that are not zero, each with its name: `20 rejected, 1 in flight`.
pub(super) fn listed(counts: &[(u64, &str)]) -> String {
    let told = counts.iter().filter(|&&(value, _)| value > 0);
    told.map(|&(value, name)| format!("{} {name}", count(value))).collect::<Vec<_>>().join(", ")
}

/// An amount with two decimals and commas between thousands. The currency is the scenario's.
pub(super) fn amount(value: f64) -> String {
    let text = format!("{value:.2}");
    match text.split_once('.') {
        Some((whole, cents)) => match whole.parse() {
            Ok(whole) => format!("{}.{cents}", count(whole)),
            Err(_) => text,
        },
        None => text,
    }
}

/// Three significant digits, and from 100 on all digits before the point.
pub(crate) fn significant(value: f64) -> String {
    let decimals = match value {
        v if v <= 0.0 => 0,
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Whole seconds, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a span is not negative, and one beyond 2^64 seconds is not worth reading"
)]
fn whole(span: Seconds) -> u64 {
    span.value().round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_three_digits() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.000_25, "0.250 ms"),
            (0.023_456, "23.5 ms"),
            (0.412, "412 ms"),
            (0.9996, "1.00 s"),
            (12.34, "12.3 s"),
            (183.0, "183 s"),
            (750.0, "12.5 min"),
        ] {
            assert_eq!(latency(Seconds::new(seconds)), text);
        }
    }

    #[test]
    fn times_have_their_two_largest_units() {
        for (seconds, long, dial) in [
            (0.0, "0 s", "0:00:00"),
            (30.0, "30 s", "0:00:30"),
            (310.0, "5 min 10 s", "0:05:10"),
            (5400.0, "1 h 30 min", "1:30:00"),
            (3610.0, "1 h", "1:00:10"),
            (604_800.0, "7 d", "7d 0:00:00"),
        ] {
            assert_eq!(span(Seconds::new(seconds)), long);
            assert_eq!(clock(Timestamp::from_seconds(seconds)), dial);
        }
    }

    #[test]
    fn a_share_is_not_rounded_to_all_or_nothing() {
        for (share, text) in
            [(0.0, "0%"), (0.0001, "<0.1%"), (0.973, "97.3%"), (0.9999, "99.9%"), (1.0, "100%")]
        {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(amount(1234.5), "1,234.50");
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(counted(2000, "request"), "2,000 requests");
        assert_eq!(listed(&[(1200, "lost"), (0, "found"), (3, "left")]), "1,200 lost, 3 left");
        assert_eq!(listed(&[(0, "lost")]), "");
    }
}
