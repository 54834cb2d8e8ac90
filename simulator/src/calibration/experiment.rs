//! The simulator beside what was measured.

use std::fmt;
use std::ops::Range;

use super::CalibrationError;
use super::parameter::{Coefficients, Parameter};
use crate::engine::step_time::Linear;
use crate::engine::{Engine, EngineConfig};
use crate::validation::{RecordedRequest, ReplayedRequest, Run, RunError, replay};

/// Requests whose latencies are known, one by one or in the mean.
#[derive(Debug)]
pub(super) struct Experiment {
    /// The server.
    pub(super) config: EngineConfig,
    /// In the order of their arrival.
    pub(super) requests: Vec<RecordedRequest>,
    /// Those that are compared.
    pub(super) counted: Range<usize>,
    /// The share of prompt tokens that is computed. The engine computes all of them, so each costs
    /// this share.
    pub(super) computed_share: f64,
    /// The means of the counted requests; without them each request says its own latencies.
    pub(super) means: Option<Means>,
}

/// Mean latencies in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    pub(super) ttft: Option<f64>,
    pub(super) tpot: f64,
    pub(super) e2e: Option<f64>,
}

/// A latency of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latency {
    /// Time to first token.
    Ttft,
    /// Time per output token after the first.
    Tpot,
    /// From arrival to last token.
    E2e,
}

impl Latency {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ttft, Self::Tpot, Self::E2e];
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::E2e => "E2E",
        })
    }
}

/// A latency that was measured, and what the simulator makes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deviation {
    pub(super) latency: Latency,
    real: f64,
    simulated: f64,
}

/// Latencies below this, in seconds, are no more exact than it.
const RESOLUTION: f64 = 1e-6;

impl Deviation {
    fn new(latency: Latency, real: f64, simulated: f64) -> Self {
        Self { latency, real: real.max(RESOLUTION), simulated: simulated.max(RESOLUTION) }
    }

    /// The logarithm of simulated over real, which is as far from zero for half as for double.
    pub(super) fn log_ratio(&self) -> f64 {
        (self.simulated / self.real).ln()
    }

    /// The size of the error in percent of what was measured.
    pub(super) fn error_pct(&self) -> f64 {
        (self.simulated / self.real - 1.0).abs() * 100.0
    }
}

impl Experiment {
    /// The requests of a run.
    pub(super) fn of_run(run: &Run) -> Result<Self, CalibrationError> {
        Ok(Self {
            config: run.engine.try_into()?,
            requests: run.requests.clone(),
            counted: 0..run.requests.len(),
            computed_share: 1.0,
            means: None,
        })
    }

    /// Simulates the requests with `coefficients`. There are as many deviations, in the same order,
    /// whatever these are.
    pub(super) fn run(
        &self,
        coefficients: &Coefficients,
    ) -> Result<Vec<Deviation>, CalibrationError> {
        let mut effective = *coefficients;
        effective[Parameter::PerPrefillToken] *= self.computed_share;
        let mut server = Engine::new(self.config, Linear::from(effective));
        let replayed =
            replay(&mut server, &self.requests, None, &[]).map_err(RunError::from)?.requests;
        let requests = &self.requests[self.counted.clone()];
        let replayed = &replayed[self.counted.clone()];
        Ok(match &self.means {
            Some(means) => means.deviations(requests, replayed),
            None => requests.iter().zip(replayed).flat_map(|(r, s)| each(r, s)).collect(),
        })
    }
}

fn each(real: &RecordedRequest, simulated: &ReplayedRequest) -> Vec<Deviation> {
    // From the arrival, which both have: the engine that jumps does not say when a step ended and
    // the scheduler looked.
    let ttft = (real.first_token - real.arrival, simulated.first_token - real.arrival);
    let e2e = (real.last_token - real.arrival, simulated.last_token - real.arrival);
    let gaps = f64::from(real.output_tokens.saturating_sub(1));
    let decode = (real.last_token - real.first_token, simulated.last_token - simulated.first_token);
    let tpot = (gaps > 0.0).then(|| (Latency::Tpot, decode.0 / gaps, decode.1 / gaps));
    let all = [Some((Latency::Ttft, ttft.0, ttft.1)), tpot, Some((Latency::E2e, e2e.0, e2e.1))];
    all.into_iter().flatten().map(|(latency, r, s)| Deviation::new(latency, r, s)).collect()
}

impl Means {
    fn deviations(
        &self,
        requests: &[RecordedRequest],
        replayed: &[ReplayedRequest],
    ) -> Vec<Deviation> {
        let mean = |value: fn(&RecordedRequest, &ReplayedRequest) -> f64| {
            let values = requests.iter().zip(replayed).map(|(request, r)| value(request, r));
            values.sum::<f64>() / requests.len() as f64
        };
        let ttft = mean(|request, r| r.first_token - request.arrival);
        let e2e = mean(|request, r| r.last_token - request.arrival);
        // Time over tokens, since that is what a server's counters and a client's means come to.
        let gaps = mean(|_, r| f64::from(r.output_tokens) - 1.0);
        let measured = [
            self.ttft.map(|real| Deviation::new(Latency::Ttft, real, ttft)),
            Some(Deviation::new(Latency::Tpot, self.tpot, (e2e - ttft) / gaps)),
            self.e2e.map(|real| Deviation::new(Latency::E2e, real, e2e)),
        ];
        measured.into_iter().flatten().collect()
    }
}
