//! From expected requests to seconds.

use super::profile::RateProfile;
use super::rate::{BaseRate, BaseStep};

/// Inverts the expected number of requests since the start, Λ(t) = ∫ base · profile: where that has
/// grown by a gap, a request arrives.
///
/// Where the rate is constant, the inverse is a division. Elsewhere the integral is taken by
/// Gauss and Legendre's rule with eight nodes, over panels that the profile chooses so short that
/// its error is below that of rounding, and inverted by Newton's method: exact to rounding as well.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    base: BaseRate,
    step: Option<BaseStep>,
    profile: RateProfile,
    panel: Panel,
    /// Seconds since the start.
    now: f64,
    /// Seconds that the run lasts.
    run: f64,
}

/// A time during which base and profile are smooth.
#[derive(Debug, Clone, Copy)]
struct Panel {
    end: f64,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A constant rate.
    Flat { rate: f64 },
    /// The profile times `base`; until the end, `due` requests are expected.
    Curved { base: f64, due: f64 },
}

impl Clock {
    /// A clock at time zero that stops after `run` seconds.
    pub(super) fn new(base: BaseRate, profile: RateProfile, run: f64) -> Self {
        let panel = Panel { end: 0.0, shape: Shape::Flat { rate: 0.0 } };
        Self { base, step: None, profile, panel, now: 0.0, run }
    }

    /// Moves on until `expected` more requests were due, and returns that time in seconds; `None`
    /// when the run ends before.
    pub(super) fn advance(&mut self, mut expected: f64) -> Option<f64> {
        loop {
            let due = match self.panel.shape {
                Shape::Flat { rate } => (self.panel.end - self.now) * rate,
                Shape::Curved { due, .. } => due,
            };
            if expected < due {
                self.now = self.time_of(expected);
                return Some(self.now);
            }
            expected -= due;
            self.now = self.panel.end;
            self.panel = self.next_panel()?;
        }
    }

    /// The panel that begins now; `None` at the end of the run.
    fn next_panel(&mut self) -> Option<Panel> {
        if self.now >= self.run {
            return None;
        }
        while self.step.is_none_or(|step| step.end <= self.now) {
            self.step = Some(self.base.next()?);
        }
        let BaseStep { end, rate: base } = self.step?;
        let smooth = self.profile.smooth_until(self.now);
        let end = end.min(self.run).min(smooth);
        let shape = if self.profile.curves(self.now) {
            Shape::Curved { base, due: base * self.profile.integral(self.now, end) }
        } else {
            // In the middle, no border is near enough for rounding to matter.
            Shape::Flat { rate: base * self.profile.at(f64::midpoint(self.now, end)) }
        };
        Some(Panel { end, shape })
    }

    /// The time at which `expected` requests are due, which is within the panel.
    fn time_of(&mut self, expected: f64) -> f64 {
        match &mut self.panel.shape {
            Shape::Flat { rate } => self.now + expected / *rate,
            Shape::Curved { base, due } => {
                let (wanted, whole) = (expected / *base, *due / *base);
                *due -= expected;
                self.profile.invert(self.now, self.panel.end, wanted, whole)
            }
        }
    }
}

impl RateProfile {
    /// The integral of the profile between two times of one panel.
    pub(super) fn integral(&self, from: f64, to: f64) -> f64 {
        let (middle, half) = (f64::midpoint(from, to), 0.5 * (to - from));
        let pair = |(node, weight): (f64, f64)| {
            weight * (self.at(middle - half * node) + self.at(middle + half * node))
        };
        half * NODES.into_iter().map(pair).sum::<f64>()
    }

    /// The time before `end` at which the integral from `from` on is `wanted`; up to `end` it is
    /// `whole`. Newton's method, kept within an interval that surely holds the time.
    fn invert(&self, from: f64, end: f64, wanted: f64, whole: f64) -> f64 {
        let (mut low, mut high) = (from, end);
        let start = from + wanted / self.at(from);
        let mut time = if start < end { start } else { from + (end - from) * (wanted / whole) };
        for _ in 0..MOST_ITERATIONS {
            let excess = self.integral(from, time) - wanted;
            if excess > 0.0 {
                high = time;
            } else {
                low = time;
            }
            let next = time - excess / self.at(time);
            let next = if next >= low && next <= high { next } else { f64::midpoint(low, high) };
            let moved = (next - time).abs();
            time = next;
            if moved <= RESOLUTION {
                break;
            }
        }
        time
    }
}

/// A tenth of the nanosecond in which time is counted. The last step of Newton's method squares
/// what is left.
const RESOLUTION: f64 = 1e-10;

/// Halving alone needs as many to get from a day down to the resolution.
const MOST_ITERATIONS: usize = 64;

/// The positive nodes and the weights of Gauss and Legendre's rule with eight nodes: Abramowitz
/// and Stegun, table 25.4.
const NODES: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_27),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::super::profile::{RateFactor, RateStep};
    use super::*;

    fn clock(rates: &[f64], factors: Vec<RateFactor>, run: f64) -> Clock {
        Clock::new(BaseRate::steps(rates.to_vec(), run), RateProfile(factors), run)
    }

    #[test]
    fn time_runs_through_the_steps_of_a_path() {
        let mut clock = clock(&[1.0, 0.0, 4.0], Vec::new(), 3.0);
        assert_eq!(clock.advance(0.5), Some(0.5));
        assert_eq!(clock.advance(1.5), Some(2.25));
        assert_eq!(clock.advance(2.0), Some(2.75));
        assert_eq!(clock.advance(1.0), None);
    }

    /// Against the closed form of the integral of a ramp from 1 to 3 over ten seconds, t + t²/10.
    #[test]
    fn a_ramp_is_inverted_exactly() {
        let (start, end) = (Seconds::ZERO, Seconds::new(10.0));
        let mut clock =
            clock(&[2.0], vec![RateFactor::Ramp { start, end, from: 1.0, to: 3.0 }], 10.0);
        let mut expected = 0.0;
        while let Some(time) = clock.advance(0.7) {
            expected += 0.7;
            let found = 2.0 * (time + time * time / 10.0);
            assert!((found - expected).abs() < 1e-9, "{time}: {found} is not {expected}");
        }
        assert!(expected > 39.0, "{expected} of 40 were due");
    }

    /// A product: against its integral by many small steps.
    #[test]
    fn factors_multiply() {
        let factors = vec![
            RateFactor::Diurnal {
                period: Seconds::new(100.0),
                peak_at: Seconds::new(30.0),
                peak_to_trough: 5.0,
            },
            RateFactor::FlashCrowd {
                at: Seconds::new(40.0),
                peak: 6.0,
                rise: Seconds::new(5.0),
                plateau: Seconds::new(10.0),
                decay: Seconds::new(20.0),
            },
            RateFactor::Steps {
                period: Some(Seconds::new(60.0)),
                steps: vec![
                    RateStep { from: Seconds::ZERO, factor: 1.0 },
                    RateStep { from: Seconds::new(50.0), factor: 0.5 },
                ],
            },
        ];
        let profile = RateProfile(factors.clone());
        let mut clock = clock(&[3.0, 1.0, 2.0, 4.0], factors, 200.0);
        let (mut reached, mut integral) = (0.0, 0.0);
        let base = |time: f64| {
            if time < 50.0 {
                3.0
            } else if time < 100.0 {
                1.0
            } else if time < 150.0 {
                2.0
            } else {
                4.0
            }
        };
        let step = 1e-4;
        while let Some(time) = clock.advance(20.0) {
            while reached + step < time {
                let middle = reached + 0.5 * step;
                integral += step * base(middle) * profile.at(middle);
                reached += step;
            }
            let rest = time - reached;
            let middle = reached + 0.5 * rest;
            integral += rest * base(middle) * profile.at(middle);
            reached = time;
            assert!((integral - 20.0).abs() < 1e-3, "{time}: {integral}");
            integral = 0.0;
        }
        assert!(reached > 180.0, "{reached}");
    }
}
