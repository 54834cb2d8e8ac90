//! How good predictions of one lead were.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{FLOOR, Method};
use crate::units::{Seconds, Timestamp};

/// Predictions that are out at one time, at most: a lead is predicted so many times in its length.
const OUTSTANDING: f64 = 8.0;
/// The ratios that are kept for each method.
const KEPT: usize = 48;
/// How much a loss still counts after as many judgments as are kept.
const FORGETTING: f64 = 1.0 / 24.0;
/// A relative error that is larger by this much is not clearly worse.
const TOLERANCE: f64 = 0.02;
/// No rate of requests is so many times another one; beyond it numbers would not be finite.
const EXTREME: f64 = 1e12;
/// The ratio that is assumed for rates that nobody predicted yet, at high rates: as much may come
/// on top.
const UNKNOWN: f64 = 0.1;

/// The predictions of one lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Track {
    lead: Seconds,
    /// What was predicted and has not come yet.
    outstanding: VecDeque<Prediction>,
    /// For each method, what came over what was predicted, the newest last.
    ratios: [VecDeque<f64>; 3],
    /// For each method, the mean relative error of late.
    losses: [f64; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Prediction {
    due: Timestamp,
    rates: [f64; 3],
}

impl Track {
    pub(super) const fn new(lead: Seconds) -> Self {
        let ratios = [VecDeque::new(), VecDeque::new(), VecDeque::new()];
        Self { lead, outstanding: VecDeque::new(), ratios, losses: [0.0; 3] }
    }

    pub(super) const fn lead(&self) -> Seconds {
        self.lead
    }

    /// Remembers what the methods predict at `now`, unless the last time was a moment ago.
    pub(super) fn promise(&mut self, now: Timestamp, rates: [f64; 3]) {
        let due = now + self.lead;
        let spacing = self.lead.value() / OUTSTANDING;
        if self.outstanding.back().is_none_or(|last| due.since(last.due).value() >= spacing) {
            self.outstanding.push_back(Prediction { due, rates });
        }
    }

    /// Compares what was predicted for `now` or before with the rate that came.
    pub(super) fn judge(&mut self, now: Timestamp, came: f64) {
        while self.outstanding.front().is_some_and(|prediction| prediction.due <= now) {
            let Some(Prediction { due, rates }) = self.outstanding.pop_front() else { return };
            // After a gap in the samples nobody knows what came.
            if now.since(due) > self.lead {
                continue;
            }
            for (idx, predicted) in rates.into_iter().enumerate() {
                let ratio = ((came + FLOOR) / (predicted + FLOOR)).clamp(1.0 / EXTREME, EXTREME);
                if self.ratios[idx].len() == KEPT {
                    self.ratios[idx].pop_front();
                }
                self.ratios[idx].push_back(ratio);
                self.losses[idx] += FORGETTING * (ratio.ln().abs() - self.losses[idx]);
            }
        }
    }

    /// The method with the smallest error of late. A season that is known goes before the others
    /// unless it was clearly worse: only it can tell of a change that has not begun.
    pub(super) fn best(&self, season_is_known: bool) -> Method {
        let [recent, trend, seasonal] = self.losses;
        let least = recent.min(trend);
        if season_is_known && seasonal <= least * (1.0 + TOLERANCE) + TOLERANCE {
            Method::Seasonal
        } else if trend < recent {
            Method::Trend
        } else {
            Method::Recent
        }
    }

    /// The ratio of what comes to what is predicted that a share of the past stays below. Before
    /// there is a past, Poisson noise around `expected` in a minute, and some besides.
    pub(super) fn ratio(&self, method: Method, share: f64, expected: f64) -> f64 {
        let ratios = &self.ratios[method as usize];
        // The quantile of n ratios is one of them only when (n + 1)·share ≤ n.
        let rank = ((ratios.len() + 1) as f64 * share).ceil();
        let noise = 1.0 + UNKNOWN + 2.0 / (60.0 * (expected + FLOOR)).sqrt();
        if ratios.is_empty() {
            return noise;
        }
        let mut sorted: Vec<f64> = ratios.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let largest = sorted[sorted.len() - 1];
        if rank > ratios.len() as f64 {
            return if ratios.len() < KEPT / 4 { largest.max(noise) } else { largest };
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the rank is between 0 and the number of ratios"
        )]
        let idx = (rank as usize).saturating_sub(1);
        sorted[idx]
    }

    /// Forgets what was predicted at a later time than `now`.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        let lead = self.lead;
        self.outstanding.retain(|prediction| prediction.due <= now + lead);
    }
}
