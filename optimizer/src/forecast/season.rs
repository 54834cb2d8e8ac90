//! What a rate was like at this time of earlier seasons.

use serde::{Deserialize, Serialize};

use crate::units::{Seconds, Timestamp};

/// The slots that a season is divided into: ten minutes of a day.
const SLOTS: usize = 144;
/// The weight of the newest season in a slot's mean.
const NEWEST: f64 = 0.4;
/// A slot at less than this rate, in requests per second, says nothing about a ratio.
const LEAST: f64 = 1.0 / 60.0;

/// The mean rate in each slot of a season.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Season {
    /// One mean for each slot that was seen whole; empty before the first sample.
    means: Vec<Option<f64>>,
    /// The slot that is being filled.
    open: Option<Open>,
}

/// A slot that is being filled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Open {
    /// Its number since the epoch.
    number: u64,
    sum: f64,
    samples: u32,
}

impl Season {
    /// Takes in a rate. A slot's mean counts once the slot is over.
    pub(super) fn observe(&mut self, at: Timestamp, rate: f64, season: Seconds) {
        let Some((number, _)) = place(at, season) else { return };
        match &mut self.open {
            Some(open) if open.number == number => {
                open.sum += rate;
                open.samples += 1;
            }
            open => {
                let ended = open.replace(Open { number, sum: rate, samples: 1 });
                if let Some(ended) = ended {
                    self.close(ended);
                }
            }
        }
    }

    /// By what factor the rate changed from here to `lead` ahead in earlier seasons; `None` when
    /// that was not seen.
    pub(super) fn change(&self, at: Timestamp, lead: Seconds, season: Seconds) -> Option<f64> {
        let then = self.at(at + lead, season)?;
        let now = self.at(at, season)?;
        (now > LEAST).then(|| then / now)
    }

    /// The mean rate at a time of the season, between the middles of slots.
    fn at(&self, at: Timestamp, season: Seconds) -> Option<f64> {
        let (number, within) = place(at, season)?;
        let slot = |number: u64| {
            let idx = usize::try_from(number % SLOTS as u64).ok()?;
            self.means.get(idx).copied().flatten()
        };
        let here = slot(number)?;
        // A season has no first slot: before slot 0 comes the last one.
        let neighbor = if within < 0.5 { number + SLOTS as u64 - 1 } else { number + 1 };
        let there = slot(neighbor).unwrap_or(here);
        let weight = (within - 0.5).abs();
        Some(here * (1.0 - weight) + there * weight)
    }

    fn close(&mut self, Open { number, sum, samples }: Open) {
        self.means.resize(SLOTS, None);
        let mean = sum / f64::from(samples);
        let Ok(idx) = usize::try_from(number % SLOTS as u64) else { return };
        let slot = &mut self.means[idx];
        *slot = Some(slot.map_or(mean, |old| old + NEWEST * (mean - old)));
    }
}

/// The number of the slot of a time since the epoch, and how much of the slot is over; `None`
/// without a season.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are not negative, and a slot of at least a nanosecond has a number that fits"
)]
fn place(at: Timestamp, season: Seconds) -> Option<(u64, f64)> {
    let slot = season.value() / SLOTS as f64;
    let slots = at.as_seconds() / slot;
    (slot >= 1e-9 && slots.is_finite()).then(|| (slots.floor() as u64, slots.fract()))
}
