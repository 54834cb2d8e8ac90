//! How a rate rises and falls over a run.

use std::f64::consts::TAU;

use optimizer::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workload::WorkloadProblem;

/// Factors on a rate, all of which hold at once. Without any, the rate is what it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RateProfile(
    /// The factors.
    pub Vec<RateFactor>,
);

/// A factor on a rate that changes with time. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RateFactor {
    /// A sine wave around 1, such as the course of a day.
    Diurnal {
        /// From peak to peak. Default: 24h.
        #[serde(default = "day")]
        period: Seconds,
        /// When the peak is, the first time.
        peak_at: Seconds,
        /// The rate at the peak over that at the trough, at least 1.
        #[schemars(range(min = 1))]
        peak_to_trough: f64,
    },
    /// A straight line from one factor to another, which hold before and after it.
    Ramp {
        /// When the line begins.
        start: Seconds,
        /// When it ends.
        end: Seconds,
        /// The factor before it. Default: 1.
        #[serde(default = "one")]
        #[schemars(range(min = 0))]
        from: f64,
        /// The factor after it.
        #[schemars(range(min = 0))]
        to: f64,
    },
    /// A crowd that comes quickly and goes slowly. Before it, the factor is 1.
    FlashCrowd {
        /// When the first of it come.
        at: Seconds,
        /// The factor when all of it is there, at least 1.
        #[schemars(range(min = 1))]
        peak: f64,
        /// How long the factor rises, in a straight line.
        rise: Seconds,
        /// How long all of it stays. Default: 0s.
        #[serde(default)]
        plateau: Seconds,
        /// The time in which what the factor is above 1 falls to 1/e of it, again and again.
        decay: Seconds,
    },
    /// Factors that hold from a time until that of the next.
    Steps {
        /// The time after which the steps begin again. Without it, the last one holds for good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        period: Option<Seconds>,
        /// In the order of their times, the first from zero on.
        #[schemars(length(min = 1))]
        steps: Vec<RateStep>,
    },
}

/// A factor that holds from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RateStep {
    /// When it begins.
    pub from: Seconds,
    /// The factor; 0 is silence.
    #[schemars(range(min = 0))]
    pub factor: f64,
}

impl RateProfile {
    /// The product of the factors at a time, in seconds.
    #[must_use]
    pub fn at(&self, time: f64) -> f64 {
        self.0.iter().map(|factor| factor.at(time)).product()
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this profile in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        for (idx, factor) in self.0.iter().enumerate() {
            factor.validate(&format!("{path}[{idx}]"), problems);
        }
    }

    /// A later time up to which all factors are smooth, and not too much happens for a quadrature.
    pub(super) fn smooth_until(&self, time: f64) -> f64 {
        let ends = self.0.iter().map(|factor| factor.smooth_until(time));
        // A time that rounds to this one would let the clock stand still.
        ends.fold(f64::INFINITY, f64::min).max(time.next_up())
    }

    /// Whether a factor changes between a time and the end of the smooth part that begins there.
    pub(super) fn curves(&self, time: f64) -> bool {
        self.0.iter().any(|factor| factor.curves(time))
    }
}

/// Beyond so many decay times the rest of a flash crowd is below the last place of the rate.
const DECAY_TIMES: f64 = 40.0;

/// The shortest time in which a factor may change. Within a second, chance hides any change.
const LEAST: Seconds = Seconds::new(1.0);

impl RateFactor {
    fn at(&self, time: f64) -> f64 {
        match *self {
            Self::Diurnal { period, peak_at, peak_to_trough } => {
                let amplitude = (peak_to_trough - 1.0) / (peak_to_trough + 1.0);
                1.0 + amplitude * (TAU * (time - peak_at.value()) / period.value()).cos()
            }
            Self::Ramp { start, end, from, to } => {
                let part = (time - start.value()) / (end - start).value();
                from + (to - from) * part.clamp(0.0, 1.0)
            }
            Self::FlashCrowd { at, peak, rise, plateau, decay } => {
                let since = time - at.value();
                let late = since - (rise + plateau).value();
                let excess = if since <= 0.0 || late > DECAY_TIMES * decay.value() {
                    0.0
                } else if late > 0.0 {
                    (-late / decay.value()).exp()
                } else if since < rise.value() {
                    since / rise.value()
                } else {
                    1.0
                };
                1.0 + (peak - 1.0) * excess
            }
            Self::Steps { period, ref steps } => {
                let time = period.map_or(time, |period| time.rem_euclid(period.value()));
                let next = steps.partition_point(|step| step.from.value() <= time);
                steps[next.saturating_sub(1)].factor
            }
        }
    }

    /// The time, later than `time`, up to which the factor is smooth; infinite when it is for good.
    fn smooth_until(&self, time: f64) -> f64 {
        let after = |border: &f64| *border > time;
        let first =
            |borders: &[f64]| borders.iter().copied().filter(after).fold(f64::INFINITY, f64::min);
        match *self {
            Self::Diurnal { period, .. } => {
                let quarter = 0.25 * period.value();
                time + quarter
            }
            Self::Ramp { start, end, .. } => first(&[start.value(), end.value()]),
            Self::FlashCrowd { at, rise, plateau, decay, .. } => {
                let top = at + rise;
                let falls = (top + plateau).value();
                if time >= falls + DECAY_TIMES * decay.value() {
                    f64::INFINITY
                } else if time >= falls {
                    (time + decay.value()).min(falls + DECAY_TIMES * decay.value())
                } else {
                    first(&[at.value(), top.value(), falls])
                }
            }
            Self::Steps { period, ref steps } => {
                let borders = steps.iter().map(|step| step.from.value());
                let Some(period) = period else {
                    return borders.filter(after).fold(f64::INFINITY, f64::min);
                };
                let begin = (time / period.value()).floor() * period.value();
                // Rounding may put the time into the period before its own.
                let rounds = [begin, begin + period.value(), begin + 2.0 * period.value()];
                let borders = borders.flat_map(|border| rounds.map(|round| round + border));
                borders.filter(after).fold(f64::INFINITY, f64::min)
            }
        }
    }

    /// Whether the factor changes between `time` and the end of the smooth part.
    fn curves(&self, time: f64) -> bool {
        match *self {
            Self::Diurnal { peak_to_trough, .. } => peak_to_trough > 1.0,
            Self::Ramp { start, end, .. } => (start.value()..end.value()).contains(&time),
            Self::FlashCrowd { at, rise, plateau, decay, .. } => {
                let (begin, top) = (at.value(), (at + rise).value());
                let falls = (at + rise + plateau).value();
                let over = falls + DECAY_TIMES * decay.value();
                (begin..top).contains(&time) || (falls..over).contains(&time)
            }
            Self::Steps { .. } => false,
        }
    }

    fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        const FACTOR: &str = "a number that is not negative";
        let factor = |number: f64| number >= 0.0 && number.is_finite();
        let above_one = |number: f64| number >= 1.0 && number.is_finite();
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        match *self {
            Self::Diurnal { period, peak_to_trough, .. } => {
                check(period >= LEAST, "diurnal.period", "at least 1s");
                check(above_one(peak_to_trough), "diurnal.peakToTrough", "a number of at least 1");
            }
            Self::Ramp { start, end, from, to } => {
                check(end > start, "ramp.end", "a time after start");
                check(factor(from), "ramp.from", FACTOR);
                check(factor(to), "ramp.to", FACTOR);
            }
            Self::FlashCrowd { peak, rise, decay, .. } => {
                check(above_one(peak), "flashCrowd.peak", "a number of at least 1");
                check(rise >= LEAST, "flashCrowd.rise", "at least 1s");
                check(decay >= LEAST, "flashCrowd.decay", "at least 1s");
            }
            Self::Steps { period, ref steps } => {
                check(!steps.is_empty(), "steps.steps", "at least one step");
                for (idx, step) in steps.iter().enumerate() {
                    let field = |name: &str| format!("steps.steps[{idx}].{name}");
                    let in_order = match idx.checked_sub(1) {
                        Some(before) => steps[before].from < step.from,
                        None => step.from.is_zero(),
                    };
                    check(in_order, &field("from"), "0s first, and then each after the last");
                    check(factor(step.factor), &field("factor"), FACTOR);
                }
                if let (Some(period), Some(last)) = (period, steps.last()) {
                    check(
                        period >= LEAST && period > last.from,
                        "steps.period",
                        "at least 1s, and more than the time of the last step",
                    );
                }
            }
        }
    }
}

const fn day() -> Seconds {
    Seconds::new(86_400.0)
}

const fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> RateProfile {
        serde_json::from_str(text).unwrap()
    }

    /// Checks values of the one factor that is written as `text`.
    #[track_caller]
    fn check(text: &str, values: &[(f64, f64)]) {
        let profile = profile(&format!("[{text}]"));
        let mut problems = Vec::new();
        profile.validate("profile", &mut problems);
        assert_eq!(problems, []);
        for &(time, expected) in values {
            let found = profile.at(time);
            assert!((found - expected).abs() < 1e-12, "{time}: {found} is not {expected}");
        }
    }

    #[test]
    fn factors_take_their_course() {
        check(
            r#"{"diurnal": {"peakAt": "14h", "peakToTrough": 4}}"#,
            &[(14.0 * 3600.0, 1.6), (2.0 * 3600.0, 0.4), (8.0 * 3600.0, 1.0), (38.0 * 3600.0, 1.6)],
        );
        check(
            r#"{"ramp": {"start": "10s", "end": "20s", "to": 3}}"#,
            &[(0.0, 1.0), (10.0, 1.0), (15.0, 2.0), (20.0, 3.0), (99.0, 3.0)],
        );
        let crowd = r#"{"flashCrowd":
            {"at": "10s", "peak": 5, "rise": "2s", "plateau": "3s", "decay": "4s"}}"#;
        let tail = 1.0 + 4.0 * (-1.0_f64).exp();
        let values =
            [(9.0, 1.0), (11.0, 3.0), (12.0, 5.0), (15.0, 5.0), (19.0, tail), (1000.0, 1.0)];
        check(crowd, &values);
        let steps = r#"{"steps": {"period": "1m", "steps":
            [{"from": "0s", "factor": 1}, {"from": "20s", "factor": 0}]}}"#;
        check(
            steps,
            &[(0.0, 1.0), (19.9, 1.0), (20.0, 0.0), (59.0, 0.0), (60.0, 1.0), (85.0, 0.0)],
        );
    }

    #[test]
    fn smooth_parts_end_where_the_course_bends() {
        let text = r#"[{"ramp": {"start": "10s", "end": "20s", "to": 3}},
            {"steps": {"period": "15s", "steps": [{"from": "0s", "factor": 1}]}}]"#;
        let profile = profile(text);
        let mut time = 0.0;
        let mut borders = Vec::new();
        while time < 40.0 {
            borders.push((time, profile.curves(time)));
            time = profile.smooth_until(time);
        }
        assert_eq!(
            borders,
            [(0.0, false), (10.0, true), (15.0, true), (20.0, false), (30.0, false)]
        );
    }

    #[test]
    fn every_problem_of_a_profile_is_found() {
        let text = r#"[
            {"diurnal": {"period": "0s", "peakAt": "0s", "peakToTrough": 0.5}},
            {"ramp": {"start": "1s", "end": "1s", "from": -1, "to": -2}},
            {"flashCrowd": {"at": "0s", "peak": 0, "rise": "0s", "decay": "0s"}},
            {"steps": {"steps": []}},
            {"steps": {"period": "1s", "steps": [{"from": "1s", "factor": -1}, {"from": "1s", "factor": 1}]}}
        ]"#;
        let mut problems = Vec::new();
        profile(text).validate("p", &mut problems);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"));
    }
}
