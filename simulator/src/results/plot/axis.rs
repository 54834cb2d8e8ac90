//! Axes: what range they show, and where their ticks stand.

use optimizer::units::{Seconds, Timestamp};

/// An axis from its low to its high end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Values that have a grid line, with their labels; a minor tick has none.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to the first round number that is not below `high`, with at most `most` steps.
    pub(super) fn from_zero(high: f64, most: f64) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = round_step(high / most);
        let steps = (high / step - 1e-9).ceil();
        Self::linear(step * steps, step, |value| plain(value, step))
    }

    /// From 0 to `high` or a little more, in whole numbers.
    pub(super) fn counts(high: u32, most: f64) -> Self {
        let high = f64::from(high.max(1));
        let least = (high / most).ceil();
        let step = if least <= 5.0 { least } else { round_step(least) };
        let steps = (high / step).ceil();
        Self::linear(step * steps, step, |value| plain(value, 1.0))
    }

    /// From 0 to 100 %.
    pub(super) fn share(steps: u32) -> Self {
        let step = 1.0 / f64::from(steps);
        Self::linear(1.0, step, |value| format!("{:.0}%", value * 100.0))
    }

    /// Latencies from `low` to `high`, and the unit of the labels: logarithmic when they span more
    /// than a factor of 20, from 0 otherwise.
    pub(super) fn latencies(low: Seconds, high: Seconds) -> (Self, &'static str) {
        let (low, high) = (low.value(), if high.is_zero() { 1e-3 } else { high.value() });
        let (unit, name) = if high <= 2.0 { (1e-3, "ms") } else { (1.0, "s") };
        if low <= 0.0 || high / low <= 20.0 {
            let step = round_step(high / unit / 6.0) * unit;
            let steps = (high / step - 1e-9).ceil();
            return (Self::linear(step * steps, step, |v| plain(v / unit, step / unit)), name);
        }
        let name = if high <= 2.0 { "ms, logarithmic" } else { "s, logarithmic" };
        (Self::logarithmic(low, high, unit), name)
    }

    /// The time of a run, and what its labels are: seconds, minutes, hours or days.
    pub(super) fn time(end: Timestamp) -> (Self, &'static str) {
        const STEPS: [f64; 19] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0,
            7200.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
        ];
        let end = if end == Timestamp::ZERO { 1.0 } else { end.as_seconds() };
        let fitting = STEPS.into_iter().find(|step| end / step <= 10.0);
        let step = fitting.unwrap_or_else(|| round_step(end / 86_400.0 / 10.0).ceil() * 86_400.0);
        let (unit, name): (f64, _) = match end {
            e if e < 180.0 => (1.0, "time (s)"),
            e if e <= 7200.0 => (60.0, "time (min)"),
            e if e <= 172_800.0 => (0.0, "time (h:mm)"),
            _ => (86_400.0, "time (days)"),
        };
        let label = |at: f64| {
            if unit > 0.0 { plain(at / unit, step / unit) } else { hours(at) }
        };
        // The axis ends with the run, not with the tick after it: nothing is known beyond.
        let ticks =
            (0..=11).map(|idx| f64::from(idx) * step).take_while(|at| *at <= end * 1.000_001);
        let ticks = ticks.map(|at| (at, label(at))).collect();
        (Self { low: 0.0, high: end, logarithmic: false, ticks }, name)
    }

    /// Where a value stands, 0 at the low and 1 at the high end. Values beyond are clamped.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    /// The highest value that is shown.
    pub(super) fn high(&self) -> f64 {
        self.high
    }

    fn linear(high: f64, step: f64, label: impl Fn(f64) -> String) -> Self {
        let ticks = (0..=20)
            .map(|idx| f64::from(idx) * step)
            .take_while(|at| *at <= high * 1.000_001)
            .map(|at| (at, label(at)))
            .collect();
        Self { low: 0.0, high, logarithmic: false, ticks }
    }

    /// Labels at 1, 2 and 5 of each decade while there are few decades, then at 1 only. The range
    /// ends at the nearest of 1, 2 and 5, so that the curve fills it.
    fn logarithmic(low: f64, high: f64, unit: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a decade of seconds is a small number"
        )]
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let steps = |digits: &'static [i32]| {
            let all =
                decades.clone().flat_map(move |decade| digits.iter().map(move |d| (decade, *d)));
            all.map(|(decade, digit)| (digit, f64::from(digit) * 10_f64.powi(decade)))
        };
        let few = high / low < 400.0;
        let low =
            steps(&[1, 2, 5]).map(|(_, v)| v).filter(|v| *v <= low * 1.000_001).fold(0.0, f64::max);
        let high =
            steps(&[1, 2, 5]).map(|(_, v)| v).find(|v| *v >= high * 0.999_999).unwrap_or(high);
        let ticks = steps(&[1, 2, 3, 4, 5, 6, 7, 8, 9])
            .filter(|(_, value)| (low * 0.999_999..=high * 1.000_001).contains(value))
            .map(|(digit, value)| {
                let labeled = digit == 1 || few && (digit == 2 || digit == 5);
                (value, if labeled { shortest(value / unit) } else { String::new() })
            })
            .collect();
        Self { low, high, logarithmic: true, ticks }
    }
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `at_least`.
fn round_step(at_least: f64) -> f64 {
    let decade = 10_f64.powf(at_least.log10().floor());
    let found = [1.0, 2.0, 2.5, 5.0].into_iter().map(|digit| digit * decade);
    found.into_iter().find(|step| *step >= at_least * 0.999_999).unwrap_or(10.0 * decade)
}

/// A value with as many decimals as tell neighbors a step apart.
fn plain(value: f64, step: f64) -> String {
    let decimals = (0..6).find(|&decimals| {
        let scaled = step * 10_f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6
    });
    format!("{value:.*}", usize::try_from(decimals.unwrap_or(6)).unwrap_or(0))
}

fn shortest(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}")
}

fn hours(at: f64) -> String {
    let minutes = (at / 60.0).round();
    format!("{:.0}:{:02.0}", (minutes / 60.0).floor(), minutes % 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks
            .iter()
            .map(|(_, label)| label.as_str())
            .collect::<Vec<_>>()
            .join(" ")
            .trim()
            .to_owned()
    }

    #[test]
    fn time_is_told_in_units_that_fit_the_run() {
        for (seconds, text, title) in [
            (0.0, "0 1", "time (s)"),
            (30.0, "0 5 10 15 20 25 30", "time (s)"),
            (600.0, "0 1 2 3 4 5 6 7 8 9 10", "time (min)"),
            (3600.0, "0 10 20 30 40 50 60", "time (min)"),
            (21_600.0, "0:00 1:00 2:00 3:00 4:00 5:00 6:00", "time (h:mm)"),
            (604_800.0, "0 1 2 3 4 5 6 7", "time (days)"),
            (8_640_000.0, "0 10 20 30 40 50 60 70 80 90 100", "time (days)"),
        ] {
            let (axis, name) = Axis::time(Timestamp::from_seconds(seconds));
            assert_eq!((labels(&axis).as_str(), name), (text, title), "{seconds}");
        }
    }

    #[test]
    fn latencies_are_logarithmic_when_they_differ_much() {
        for (low, high, text, unit) in [
            (0.018, 0.061, "0 20 40 60 80", "ms"),
            (0.02, 1.5, "20 50 100 200 500 1000 2000", "ms, logarithmic"),
            (0.03, 30.0, "0.1 1 10", "s, logarithmic"),
            (0.0, 0.0, "0.0 0.2 0.4 0.6 0.8 1.0", "ms"),
            (2.0, 12.0, "0 2 4 6 8 10 12", "s"),
        ] {
            let (axis, name) = Axis::latencies(Seconds::new(low), Seconds::new(high));
            let labels = labels(&axis).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!((labels.as_str(), name), (text, unit), "{low} {high}");
            assert!(
                axis.high() >= high && (high <= 0.0 || axis.place(high) > 0.5),
                "{low} {high} {axis:?}"
            );
        }
    }

    #[test]
    fn counts_are_whole_numbers() {
        for (high, text) in [
            (0, "0 1"),
            (3, "0 1 2 3"),
            (11, "0 3 6 9 12"),
            (7, "0 2 4 6 8"),
            (40, "0 10 20 30 40"),
        ] {
            assert_eq!(labels(&Axis::counts(high, 4.0)), text, "{high}");
        }
        assert_eq!(labels(&Axis::from_zero(0.0, 4.0)), "0.00 0.25 0.50 0.75 1.00");
    }
}
