//! What was learned of one variant.

use serde::{Deserialize, Serialize};

use super::capacity::Server;
use super::workload::Reader;
use crate::decision::QueueingReason;
use crate::id::{AcceleratorId, VariantId};
use crate::observation::{EngineConfig, Role, Signal, VariantObservation};
use crate::policy::{CostTuner, QueueingPolicy};
use crate::queueing::tuning::{
    self, Belief, Drift, KalmanFilter, KalmanSettings, Latencies, Observed, WindowSettings,
};
use crate::queueing::{IterationCosts, RequestShape};
use crate::units::{Fraction, QueueLength, RequestRate, Seconds, Timestamp};

/// How many times smaller or larger than at first a cost may become.
const REACH: f64 = 100.0;
/// Rejections in a row from which on the belief rather than the observations is doubted.
const DOUBTFUL: usize = 5;
/// The relative standard deviation of costs that are guessed, or doubted.
const CLUELESS: Fraction = Fraction::new(0.5);
/// The requests that wait, for each that runs, up to which latencies are those of a steady state.
const BACKLOG: f64 = 0.1;

/// What was learned of a variant, with what it was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Learning {
    /// What was learned holds for this hardware and these settings only.
    accelerator: AcceleratorId,
    engine: EngineConfig,
    role: Role,
    filter: KalmanFilter,
    /// The observations of the window, the newest last. A filter keeps those that it has rejected
    /// in a row.
    samples: Vec<Sample>,
    /// The time of the newest observation.
    until: Timestamp,
}

/// Latencies, and the load under which they were observed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sample {
    at: Timestamp,
    /// The requests that one replica completed.
    rate: RequestRate,
    shape: RequestShape,
    observed: Observed,
}

impl Learning {
    /// From a profile.
    pub(super) fn from_profile(
        variant: &VariantObservation,
        costs: IterationCosts,
        policy: &QueueingPolicy,
    ) -> Self {
        Self::new(variant, Belief::prior(costs, policy.prior_error))
    }

    /// From a single observation, where nothing else tells the costs; `None` when none fit it.
    pub(super) fn from_guess(variant: &VariantObservation, sample: &Sample) -> Option<Self> {
        let Observed { ttft, itl } = sample.observed;
        let costs = tuning::guess(Latencies { ttft: ttft?, itl: itl? }, sample.shape)?;
        Some(Self::new(variant, Belief::prior(costs, CLUELESS)))
    }

    fn new(variant: &VariantObservation, prior: Belief) -> Self {
        Self {
            accelerator: variant.accelerator.clone(),
            engine: variant.engine.clone(),
            role: variant.role,
            filter: KalmanFilter::new(prior),
            samples: Vec::new(),
            until: Timestamp::ZERO,
        }
    }

    /// Whether what was learned still holds for a variant.
    pub(super) fn is_about(&self, variant: &VariantObservation) -> bool {
        self.accelerator == variant.accelerator
            && self.engine == variant.engine
            && self.role == variant.role
    }

    /// Whether it has taken in an observation.
    pub(super) const fn has_learned(&self) -> bool {
        self.until.as_nanos() > 0
    }

    /// What it believes.
    pub(super) const fn belief(&self) -> &Belief {
        self.filter.belief()
    }

    /// Takes in an observation that is newer than the last, and says what came of it.
    pub(super) fn learn(
        &mut self,
        variant: &VariantId,
        sample: Sample,
        server: &Server<'_>,
    ) -> Option<QueueingReason> {
        if sample.at <= self.until {
            return None;
        }
        self.until = sample.at;
        let policy = server.policy;
        match policy.tuner {
            CostTuner::Off => None,
            CostTuner::Kalman => self.filter(variant, sample, server),
            CostTuner::Window => {
                self.samples.push(sample);
                let window = usize::try_from(policy.window).unwrap_or(usize::MAX);
                let surplus = self.samples.len().saturating_sub(window);
                self.samples.drain(..surplus);
                let origin = self.filter.origin();
                let belief = self.fit(origin, policy.prior_error, server)?;
                self.filter = KalmanFilter::resumed(origin, belief);
                Some(self.learned(variant, policy))
            }
        }
    }

    /// Takes in an observation by the filter. Where it rejects one after the other, it is the costs
    /// that have changed, and they are learned anew from what was rejected.
    fn filter(
        &mut self,
        variant: &VariantId,
        sample: Sample,
        server: &Server<'_>,
    ) -> Option<QueueingReason> {
        let policy = server.policy;
        let settings = KalmanSettings {
            drift: policy.drift,
            drifts: Drift::Seen,
            noise: policy.noise,
            expected: None,
            // Two latencies: χ² with two degrees of freedom exceeds x with probability e^(−x/2).
            gate: -2.0 * policy.false_rejects.value().ln(),
            reach: REACH,
        };
        let step =
            self.filter.update(|it| sample.predict(it, server), sample.observed, &settings)?;
        if step.accepted {
            self.samples.clear();
            return Some(self.learned(variant, policy));
        }
        self.samples.push(sample);
        let in_a_row = self.samples.len();
        if in_a_row >= DOUBTFUL {
            let belief = self.fit(self.belief().costs, CLUELESS, server);
            self.samples.clear();
            self.filter = KalmanFilter::new(belief?);
            return Some(self.learned(variant, policy));
        }
        let (variant, surprise) = (variant.clone(), step.surprise);
        Some(QueueingReason::ObservationRejected { variant, surprise, in_a_row })
    }

    /// The costs that explain the samples best.
    fn fit(&self, prior: IterationCosts, error: Fraction, server: &Server<'_>) -> Option<Belief> {
        let settings = WindowSettings { prior_error: error, noise: server.policy.noise };
        let observed: Vec<Observed> = self.samples.iter().map(|sample| sample.observed).collect();
        let predict = |idx: usize, costs| self.samples[idx].predict(costs, server);
        tuning::fit(prior, &observed, predict, &settings)
    }

    fn learned(&self, variant: &VariantId, policy: &QueueingPolicy) -> QueueingReason {
        let seen = self.belief().seen(policy.prior_error);
        QueueingReason::CostsLearned { variant: variant.clone(), seen }
    }
}

impl Sample {
    /// The mean latencies of a variant's replicas, weighted by what they completed; `None` when no
    /// replica has a fresh one, or when there is a backlog, since its latencies are those of its
    /// past.
    pub(super) fn observe(
        variant: &VariantObservation,
        shape: RequestShape,
        reader: &Reader<'_>,
    ) -> Option<Self> {
        let mut sums = Sums::default();
        let mut replicas: Vec<_> = variant.replicas.iter().collect();
        replicas.sort_by(|a, b| a.replica.cmp(&b.replica));
        let mut newest = None;
        for replica in replicas {
            let Some(rate) = reader.fresh(&replica.completions).filter(|rate| !rate.is_zero())
            else {
                continue;
            };
            let (ttft, itl) = (reader.fresh(&replica.ttft), reader.fresh(&replica.itl));
            if ttft.or(itl).is_none() {
                continue;
            }
            sums.replicas += 1.0;
            sums.completed += rate.value();
            sums.ttft.add(ttft, rate);
            sums.itl.add(itl, rate);
            sums.waiting += reader.fresh(&replica.waiting).map_or(0.0, QueueLength::value);
            sums.running += reader.fresh(&replica.running).map_or(0.0, QueueLength::value);
            newest = newest.max(taken(&replica.ttft)).max(taken(&replica.itl));
        }
        if sums.waiting > (BACKLOG * sums.running).max(sums.replicas) {
            return None;
        }
        let decodes = variant.role != Role::Prefill && shape.output.get() > 1;
        let observed = Observed {
            ttft: sums.ttft.mean().filter(|_| variant.role != Role::Decode),
            itl: sums.itl.mean().filter(|_| decodes),
        };
        observed.ttft.or(observed.itl)?;
        let rate = RequestRate::checked(sums.completed / sums.replicas)?;
        Some(Self { at: newest?, rate, shape, observed })
    }

    /// The latencies under its load, if an iteration has these costs.
    fn predict(&self, costs: IterationCosts, server: &Server<'_>) -> Option<Latencies> {
        let replica = server.replica(costs, self.shape).ok()?;
        let performance = replica.performance(self.rate);
        Some(Latencies { ttft: performance.ttft, itl: performance.itl })
    }
}

/// Sums over replicas.
#[derive(Debug, Default)]
struct Sums {
    replicas: f64,
    completed: f64,
    ttft: WeightedMean,
    itl: WeightedMean,
    waiting: f64,
    running: f64,
}

#[derive(Debug, Default)]
struct WeightedMean {
    sum: f64,
    weight: f64,
}

impl WeightedMean {
    fn add(&mut self, value: Option<Seconds>, weight: RequestRate) {
        if let Some(value) = value {
            self.sum += value.value() * weight.value();
            self.weight += weight.value();
        }
    }

    /// `None` of nothing, and of what took no time.
    fn mean(&self) -> Option<Seconds> {
        Seconds::checked(self.sum / self.weight).filter(|mean| !mean.is_zero())
    }
}

fn taken<T>(signal: &Signal<T>) -> Option<Timestamp> {
    match signal {
        Signal::Missing => None,
        Signal::Seen { at, .. } => Some(*at),
    }
}
