//! A step time, learned from what replicas report.

use serde::{Deserialize, Serialize};

use super::StepTime;
use crate::units::{MeanTokens, QueueLength, Seconds, Timestamp};

/// The number of coefficients.
const N: usize = 4;

/// Where nothing is known: the middle, on a logarithmic scale, of what models of 7 to 70 billion
/// weights take on A100, H100 and L40S GPUs, in seconds, as the simulator's catalog has them.
const ANY_MODEL: [f64; N] = [12e-3, 70e-6, 60e-6, 100e-9];

/// How far a profile's coefficients may be off, and those of any model: relative deviations.
const PROFILE_DEVIATION: f64 = 0.3;
const ANY_DEVIATION: f64 = 1.0;

/// The relative deviation of what a replica reports from the law: means of windows that do not quite
/// match, and steps that are not quite linear.
const NOISE: f64 = 0.05;

/// A sample counts as no further off than by this factor.
const SURPRISE: f64 = 4.0;

/// The factors remain in this range: a step is never free.
const FACTORS: (f64, f64) = (0.05, 100.0);

/// What a replica reports of its steps: means over one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSample {
    /// The time of a step.
    pub time: Seconds,
    /// Prompt tokens that a step computes.
    pub prompt: MeanTokens,
    /// Sequences that decode in it.
    pub sequences: QueueLength,
    /// Tokens of context of those.
    pub context: MeanTokens,
}

/// A belief about the time of a step: the coefficients of a [`StepTime`], how sure they are, and when
/// they were last compared with a replica.
///
/// It is a Kalman filter, that is, recursive least squares that forgets. Each coefficient is held as
/// a factor of where it began, so that the four numbers, which lie orders of magnitude apart, are
/// alike. Replicas at one steady load tell only one combination of the four; what they do not tell
/// stays where the profile had it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepTimeFit {
    /// The coefficients with which it began, in seconds.
    origin: [f64; N],
    /// The variance of each factor at the beginning.
    prior: [f64; N],
    /// What each is multiplied by.
    factors: [f64; N],
    /// Their covariance.
    covariance: [[f64; N]; N],
    /// Comparisons.
    samples: u64,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learned_at: Option<Timestamp>,
}

impl StepTimeFit {
    /// From a profile, or from what holds for any model, which is hardly anything.
    #[must_use]
    pub fn new(profile: Option<StepTime>) -> Self {
        let origin = profile.map_or(ANY_MODEL, |profile| {
            [
                profile.overhead.value(),
                profile.per_prompt_token.value(),
                profile.per_sequence.value(),
                profile.per_context_token.value(),
            ]
        });
        let deviation = if profile.is_some() { PROFILE_DEVIATION } else { ANY_DEVIATION };
        let mut covariance = [[0.0; N]; N];
        for (idx, row) in covariance.iter_mut().enumerate() {
            row[idx] = deviation * deviation;
        }
        Self {
            origin,
            prior: [deviation * deviation; N],
            factors: [1.0; N],
            covariance,
            samples: 0,
            learned_at: None,
        }
    }

    /// Compares the belief with a sample taken at `at`. What was learned `memory` ago counts a
    /// fraction 1/e of what is learned now, about.
    pub fn learn(&mut self, sample: &StepSample, at: Timestamp, memory: Seconds) {
        self.forget(at, memory);
        let parts = self.parts(sample);
        let expected = dot(&parts, &self.factors);
        // `clamp` below needs a range.
        if !(expected > 0.0 && expected.is_finite()) {
            return;
        }
        // One sample that is far off is more likely wrong than right.
        let time = sample.time.value().clamp(expected / SURPRISE, expected * SURPRISE);
        let variance = (NOISE * time.max(expected)).powi(2);
        let spread = self.covariance.map(|row| dot(&row, &parts));
        let total = dot(&parts, &spread) + variance;
        // Nothing is learned from a step that took no time or does nothing.
        if !(sample.time.value() > 0.0 && total > 0.0 && total.is_finite()) {
            return;
        }
        for (row, gain) in self.covariance.iter_mut().zip(spread) {
            for (entry, other) in row.iter_mut().zip(spread) {
                *entry -= gain * other / total;
            }
        }
        for (factor, gain) in self.factors.iter_mut().zip(spread) {
            *factor = (*factor + gain * (time - expected) / total).clamp(FACTORS.0, FACTORS.1);
        }
        self.samples = self.samples.saturating_add(1);
        self.learned_at = Some(at);
    }

    /// What is believed.
    #[must_use]
    pub fn step_time(&self) -> StepTime {
        let coefficient = |idx: usize| {
            Seconds::checked(self.origin[idx] * self.factors[idx]).unwrap_or(Seconds::ZERO)
        };
        StepTime {
            overhead: coefficient(0),
            per_prompt_token: coefficient(1),
            per_sequence: coefficient(2),
            per_context_token: coefficient(3),
        }
    }

    /// The relative standard deviation of the believed time of a step like this, whose own time does
    /// not matter.
    #[must_use]
    pub fn uncertainty(&self, sample: &StepSample) -> f64 {
        let parts = self.parts(sample);
        let spread = self.covariance.map(|row| dot(&row, &parts));
        let relative = dot(&parts, &spread).max(0.0).sqrt() / dot(&parts, &self.factors);
        if relative.is_finite() { relative } else { f64::MAX }
    }

    /// How many samples it was compared with.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// When it was last compared with a replica; `None` if never.
    #[must_use]
    pub const fn learned_at(&self) -> Option<Timestamp> {
        self.learned_at
    }

    /// Lets the uncertainty grow with the time that has passed, up to where it began.
    fn forget(&mut self, at: Timestamp, memory: Seconds) {
        let Some(learned_at) = self.learned_at else { return };
        let passed = at.since(learned_at).value();
        // After fifty memories nothing is left, and an infinite factor would spoil the zeros.
        let memories = if passed > 0.0 { (passed / memory.value()).min(50.0) } else { 0.0 };
        let growth = memories.exp();
        for entry in self.covariance.iter_mut().flatten() {
            *entry *= growth;
        }
        for idx in 0..N {
            let excess = self.covariance[idx][idx] / self.prior[idx];
            if excess > 1.0 {
                // Rows and columns alike, so that it remains a covariance.
                let scale = excess.sqrt().recip();
                for other in 0..N {
                    self.covariance[idx][other] *= scale;
                    self.covariance[other][idx] *= scale;
                }
            }
        }
    }

    /// The parts of a step's time as they were at the beginning, in seconds.
    fn parts(&self, sample: &StepSample) -> [f64; N] {
        [
            self.origin[0],
            self.origin[1] * sample.prompt.value(),
            self.origin[2] * sample.sequences.value(),
            self.origin[3] * sample.context.value(),
        ]
    }
}

fn dot(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUE: StepTime = StepTime {
        overhead: Seconds::from_millis(7.0),
        per_prompt_token: Seconds::from_millis(0.025),
        per_sequence: Seconds::from_millis(0.028),
        per_context_token: Seconds::new(44e-9),
    };
    const HOUR: Seconds = Seconds::from_minutes(60.0);

    fn sample(prompt: f64, sequences: f64, per_sequence: f64) -> StepSample {
        let (prompt, sequences) = (MeanTokens::new(prompt), QueueLength::new(sequences));
        let context = MeanTokens::new(sequences.value() * per_sequence);
        StepSample { time: TRUE.of(prompt, sequences, context), prompt, sequences, context }
    }

    /// A day's loads: prompts, sequences and contexts that rise and fall, out of step.
    fn loads() -> impl Iterator<Item = StepSample> {
        (0..200).map(|idx| {
            let wave = |period: f64| 1.0 + 0.8 * (f64::from(idx) / period).sin();
            sample(200.0 * wave(7.0), 40.0 * wave(11.0), 1000.0 * wave(17.0))
        })
    }

    fn learn(fit: &mut StepTimeFit, samples: impl Iterator<Item = StepSample>) {
        for (idx, sample) in samples.enumerate() {
            fit.learn(&sample, Timestamp::from_seconds(60.0 * idx as f64), HOUR);
        }
    }

    fn error(fit: &StepTimeFit, at: &StepSample) -> f64 {
        fit.step_time().of(at.prompt, at.sequences, at.context) / at.time - 1.0
    }

    #[test]
    fn a_fit_without_a_profile_finds_the_step_time_from_what_it_sees() {
        let mut fit = StepTimeFit::new(None);
        let busy = sample(300.0, 60.0, 1500.0);
        assert!(fit.uncertainty(&busy) > 0.5, "{}", fit.uncertainty(&busy));
        learn(&mut fit, loads());
        assert!(error(&fit, &busy).abs() < 0.02, "{}", error(&fit, &busy));
        assert!(fit.uncertainty(&busy) < 0.05, "{}", fit.uncertainty(&busy));
        assert_eq!(
            (fit.samples(), fit.learned_at()),
            (200, Some(Timestamp::from_seconds(11_940.0)))
        );
    }

    #[test]
    fn a_steady_load_leaves_other_loads_to_the_profile() {
        let mut fit = StepTimeFit::new(Some(TRUE));
        learn(&mut fit, (0..100).map(|_| sample(100.0, 20.0, 1000.0)));
        let (seen, unseen) = (sample(100.0, 20.0, 1000.0), sample(6000.0, 20.0, 1000.0));
        assert!(fit.uncertainty(&seen) < 0.05, "{}", fit.uncertainty(&seen));
        assert!(fit.uncertainty(&unseen) > 0.15, "{}", fit.uncertainty(&unseen));
        assert!(error(&fit, &seen).abs() < 1e-6 && error(&fit, &unseen).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_profile_is_put_right() {
        let half = |span: Seconds| span * 0.5;
        let wrong = StepTime {
            overhead: half(TRUE.overhead),
            per_prompt_token: half(TRUE.per_prompt_token),
            per_sequence: half(TRUE.per_sequence),
            per_context_token: half(TRUE.per_context_token),
        };
        let mut fit = StepTimeFit::new(Some(wrong));
        learn(&mut fit, loads());
        for load in loads() {
            assert!(error(&fit, &load).abs() < 0.05, "{}", error(&fit, &load));
        }
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let slower = |sample: StepSample| StepSample { time: sample.time * 1.5, ..sample };
        let mut fit = StepTimeFit::new(Some(TRUE));
        learn(&mut fit, loads());
        let known = fit.uncertainty(&sample(200.0, 40.0, 1000.0));
        let later = Timestamp::from_seconds(12.0 * 3600.0);
        fit.learn(&slower(sample(200.0, 40.0, 1000.0)), later, HOUR);
        let after_one = error(&fit, &sample(200.0, 40.0, 1000.0));
        assert!(after_one > 0.2, "one sample after a night counts: {after_one}");
        assert!(known < 0.03, "{known}");
    }

    #[test]
    fn no_coefficient_becomes_negative_and_nothing_is_learned_from_nonsense() {
        let mut fit = StepTimeFit::new(Some(TRUE));
        for idx in 0..50 {
            let free = StepSample { time: Seconds::new(1e-9), ..sample(4000.0, 1.0, 10.0) };
            fit.learn(&free, Timestamp::from_seconds(f64::from(idx)), HOUR);
        }
        let believed = fit.step_time();
        assert!(believed.per_prompt_token > Seconds::ZERO && believed.overhead > Seconds::ZERO);
        let before = fit.clone();
        fit.learn(
            &StepSample { time: Seconds::ZERO, ..sample(1.0, 1.0, 1.0) },
            Timestamp::from_seconds(49.0),
            HOUR,
        );
        assert_eq!(fit.step_time(), before.step_time());
        let json = serde_json::to_string(&fit).unwrap();
        assert_eq!(serde_json::from_str::<StepTimeFit>(&json).unwrap().samples(), fit.samples());
    }
}
