//! What will be asked for.
//!
//! New replicas take minutes to become ready, so what counts is the arrival rate at that time and
//! not the one now. A [`Forecaster`] watches the rate of one model and, for a few leads, predicts it
//! in three ways:
//!
//! - **recent**: as now;
//! - **trend**: as now, plus the slope of the last minutes, damped;
//! - **seasonal**: as now, changed as it changed at this time of earlier seasons.
//!
//! It compares each prediction with what came, and for each lead uses the way that has lately been
//! best. The *upper bound* is the prediction times a quantile of the ratios of what came to what had
//! been predicted at that lead. It is honest by construction: whatever the traffic is like, the
//! bound was exceeded about as often as the policy allows. (This is split conformal prediction on a
//! moving window; it lags behind a change of the traffic's character by about the window's length.)

mod season;
mod track;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::policy::ForecastPolicy;
use crate::units::{RequestRate, Seconds, Timestamp};
use season::Season;
use track::Track;

/// How far ahead the forecaster looks. Between them the next longer one counts.
pub const LEADS: [Seconds; 6] = [
    Seconds::new(15.0),
    Seconds::new(30.0),
    Seconds::new(60.0),
    Seconds::new(120.0),
    Seconds::new(300.0),
    Seconds::new(600.0),
];

/// Two samples closer than this are one.
const SPACING: Seconds = Seconds::new(5.0);
/// The share of the slope that is still believed one trend window ahead.
const DAMPING: f64 = 0.5;
/// Rates are compared as if this much came besides, so that a ratio of two small ones means little:
/// one request a minute.
const FLOOR: f64 = 1.0 / 60.0;

/// No fleet gets more requests per second; beyond it sums would not be finite.
const MOST: f64 = 1e12;

/// The three ways of predicting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// As now.
    Recent,
    /// As now, plus the slope.
    Trend,
    /// As now, changed as in earlier seasons.
    Seasonal,
}

impl Method {
    /// The name for texts and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recent => "recent",
            Self::Trend => "trend",
            Self::Seasonal => "seasonal",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The arrival rate that is expected, with an upper bound, from now to a horizon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// In ascending order of their lead, the first of them at once; empty when nothing is known.
    points: Vec<Expectation>,
}

/// What is expected after a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// How far ahead.
    pub lead: Seconds,
    /// The prediction.
    pub expected: RequestRate,
    /// The rate that is exceeded as seldom as the policy allows.
    pub upper: RequestRate,
    /// How it was predicted.
    pub method: Method,
}

impl Outlook {
    /// From points in any order.
    #[must_use]
    pub fn new(mut points: Vec<Expectation>) -> Self {
        points.sort_by_key(|point| point.lead);
        Self { points }
    }

    /// The points, in ascending order of their lead.
    #[must_use]
    pub fn points(&self) -> &[Expectation] {
        &self.points
    }

    /// The highest upper bound from now to `lead` ahead, on the straight line between points and as
    /// at the last one beyond it; `None` when nothing is known.
    #[must_use]
    pub fn peak(&self, lead: Seconds) -> Option<RequestRate> {
        let beyond = self.points.iter().position(|point| point.lead >= lead);
        let until = beyond.unwrap_or(self.points.len());
        let within = self.points[..until].iter().map(|point| point.upper).max();
        let at_end = beyond.map(|idx| {
            let after = &self.points[idx];
            let before = &self.points[idx.saturating_sub(1)];
            let share = (lead - before.lead) / (after.lead - before.lead);
            if share.is_finite() {
                before.upper * (1.0 - share) + after.upper * share
            } else {
                after.upper
            }
        });
        within.max(at_end)
    }
}

/// Watches the arrival rate of one model. Its size is bounded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Forecaster {
    /// The samples of the trend window, oldest first.
    samples: VecDeque<Sample>,
    season: Season,
    tracks: Vec<Track>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sample {
    at: Timestamp,
    rate: f64,
}

impl Forecaster {
    /// Takes in that `rate` was seen at `at`, and judges the predictions that were made for then.
    ///
    /// A time that is not later than the last one changes nothing: it is the same sample again, or a
    /// clock that was set back.
    pub fn observe(&mut self, at: Timestamp, rate: RequestRate, policy: &ForecastPolicy) {
        let is_news = self.samples.back().is_none_or(|last| at.since(last.at) >= SPACING);
        if !is_news {
            return;
        }
        let rate = rate.value().min(MOST);
        self.samples.push_back(Sample { at, rate });
        while self.samples.front().is_some_and(|first| at.since(first.at) > policy.trend_window) {
            self.samples.pop_front();
        }
        self.season.observe(at, rate, policy.season);
        if self.tracks.is_empty() {
            self.tracks = LEADS.map(Track::new).into();
        }
        for idx in 0..self.tracks.len() {
            let predictions = self.predict(self.tracks[idx].lead(), policy);
            self.tracks[idx].judge(at, rate);
            self.tracks[idx].promise(at, predictions);
        }
    }

    /// What is expected from the last sample on; empty when there is none.
    #[must_use]
    pub fn outlook(&self, policy: &ForecastPolicy) -> Outlook {
        let Some(last) = self.samples.back() else { return Outlook::default() };
        let rate = |rate: f64| RequestRate::checked(rate).unwrap_or(RequestRate::new(f64::MAX));
        let now = rate(last.rate);
        let at_once =
            Expectation { lead: Seconds::ZERO, expected: now, upper: now, method: Method::Recent };
        let ahead = self.tracks.iter().map(|track| {
            let change = self.season.change(last.at, track.lead(), policy.season);
            let method = track.best(change.is_some());
            let expected = self.predict(track.lead(), policy)[method as usize];
            let ratio = track.ratio(method, policy.confidence.value(), expected);
            let upper = ((expected + FLOOR) * ratio - FLOOR).max(expected);
            Expectation { lead: track.lead(), expected: rate(expected), upper: rate(upper), method }
        });
        Outlook { points: std::iter::once(at_once).chain(ahead).collect() }
    }

    /// Makes `now` the latest time that is remembered.
    pub(crate) fn rewind(&mut self, now: Timestamp) {
        self.samples.retain(|sample| sample.at <= now);
        self.tracks.iter_mut().for_each(|track| track.rewind(now));
    }

    /// The rate after `lead`, by each [`Method`] in their order.
    fn predict(&self, lead: Seconds, policy: &ForecastPolicy) -> [f64; 3] {
        let Some(&Sample { at, rate }) = self.samples.back() else { return [0.0; 3] };
        let window = policy.trend_window.value().max(1.0);
        // ∫ of the slope over the lead, when the slope halves every window.
        let decay = -DAMPING.ln() / window;
        let reach = (1.0 - (-decay * lead.value()).exp()) / decay;
        let trend = rate + self.slope() * reach;
        let change = self.season.change(at, lead, policy.season);
        let seasonal = change.map_or(rate, |change| rate * change);
        [rate, trend, seasonal].map(|rate| rate.clamp(0.0, MOST))
    }

    /// The slope of the samples by least squares, per second.
    fn slope(&self) -> f64 {
        let Some(&Sample { at: last, .. }) = self.samples.back() else { return 0.0 };
        let count = self.samples.len() as f64;
        let age = |sample: &Sample| -last.since(sample.at).value();
        let mean_age = self.samples.iter().map(age).sum::<f64>() / count;
        let mean_rate = self.samples.iter().map(|sample| sample.rate).sum::<f64>() / count;
        let (mut covariance, mut variance) = (0.0, 0.0);
        for sample in &self.samples {
            let distance = age(sample) - mean_age;
            covariance += distance * (sample.rate - mean_rate);
            variance += distance * distance;
        }
        let slope = covariance / variance;
        // Two or three samples of a noisy rate have a slope, but it means nothing.
        if self.samples.len() < 4 || !slope.is_finite() { 0.0 } else { slope }
    }
}

#[cfg(test)]
mod tests;
