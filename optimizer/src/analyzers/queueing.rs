//! The queueing analyzer: how many requests per second can a replica serve within its targets?
//!
//! A replica is a queue with a state-dependent server ([`crate::queueing`]). Its costs come from a
//! profile and are tuned to the latencies that replicas report; its requests have the mean lengths
//! that the gateway sees; its targets are those of the policy, or what users are promised, or what
//! the costs allow. The capacity of a replica is what it completes at the largest load within its
//! targets, and the load of a model is its demand over that.
//!
//! The law is that of llm-inferno and of the workload-variant-autoscaler 0.9, with differences where
//! those fail:
//!
//! - Capacity is that of one replica, whatever the number of replicas that are desired, current or
//!   pending. The original multiplies it by the desired number, and so always finds it sufficient.
//! - A target that is out of reach is named, and a load at which the replica is stable takes its
//!   place. The original fails and says nothing.
//! - Costs move only in directions that observations show, and the confidence says how far what was
//!   not seen could matter to the answer.

mod capacity;
mod goal;
mod law;
mod learning;
mod workload;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::capacity::{Capacity, Server};
use self::goal::Goal;
use self::learning::{Learning, Sample};
use self::workload::{Demand, Reader};
use super::Subject;
use crate::assessment::{Abstention, Assessment, Judgment, Load, RoleNeed, VariantNeed, Verdict};
use crate::decision::{QueueingReason, Reason};
use crate::id::VariantId;
use crate::observation::{Role, Signal, VariantObservation};
use crate::policy::{AnalyzerName, CostTuner};
use crate::queueing::RequestShape;
use crate::queueing::tuning::Belief;
use crate::units::{Fraction, Tokens};

/// What the analyzer has learned of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// By variant. A variant that is not observed any more is forgotten.
    learned: BTreeMap<VariantId, Learning>,
}

/// What is known about a replica of one variant.
struct Known<'a> {
    variant: &'a VariantObservation,
    server: Server<'a>,
    belief: Belief,
}

/// The load of one variant, and how sure it is.
struct Weighed {
    load: Load,
    confidence: Fraction,
}

impl State {
    /// What the analyzer says about a model now; it learns from what it sees.
    pub fn assess(&mut self, subject: &Subject<'_>) -> Assessment {
        let mut reasons = Vec::new();
        let verdict = match self.judge(subject, &mut reasons) {
            Ok(judgment) => Verdict::Speaks(judgment),
            Err(abstention) => Verdict::Abstains(abstention),
        };
        let reasons = reasons.into_iter().map(Reason::Queueing).collect();
        Assessment { analyzer: AnalyzerName::Queueing, verdict, reasons }
    }

    fn judge(
        &mut self,
        subject: &Subject<'_>,
        reasons: &mut Vec<QueueingReason>,
    ) -> Result<Judgment, Abstention> {
        let policy = &subject.policy.queueing;
        let mut reader = Reader::new(subject.now, &subject.policy.signals);
        let missing = |reasons: &mut Vec<_>, signal: &str| {
            reasons.push(QueueingReason::SignalMissing { signal: signal.to_owned() });
            Abstention::SignalsMissing
        };
        let demand =
            Demand::read(subject, &mut reader).ok_or_else(|| missing(reasons, "arrivalRate"))?;
        let Demand { arrival, waiting } = demand;
        reasons.push(QueueingReason::Demand { arrival, waiting, drain: policy.drain_time });
        let rate = demand.rate(policy.drain_time);
        if rate <= 0.0 {
            // Nothing is needed, whatever a replica can do and whatever requests are like.
            let roles = roles(subject.variants, |_| Some(Load::default()));
            return Ok(Judgment { roles, confidence: Fraction::ONE, age: reader.age() });
        }
        let shape =
            workload::shape(subject, &mut reader).map_err(|signal| missing(reasons, signal))?;
        let known = self.learn(subject, shape, &reader, reasons);
        if known.is_empty() {
            return Err(Abstention::NotReady);
        }
        let goal = goal(subject, shape, &known, reasons)?;

        let mut loads = BTreeMap::new();
        let mut confidence = Fraction::ONE;
        for known in &known {
            if let Some(weighed) = known.weigh(rate, shape, &goal, reasons) {
                loads.insert(&known.variant.variant, weighed.load);
                confidence = confidence.min(weighed.confidence);
            }
        }
        if loads.is_empty() {
            return Err(Abstention::Unreliable);
        }
        let roles = roles(subject.variants, |variant| loads.get(&variant.variant).copied());
        Ok(Judgment { roles, confidence, age: reader.age() })
    }

    /// Takes in what replicas report, and tells what is known of each variant.
    fn learn<'a>(
        &mut self,
        subject: &Subject<'a>,
        shape: RequestShape,
        reader: &Reader<'_>,
        reasons: &mut Vec<QueueingReason>,
    ) -> Vec<Known<'a>> {
        let policy = &subject.policy.queueing;
        let observed = |id: &VariantId| subject.variants.iter().find(|it| it.variant == *id);
        self.learned.retain(|id, learning| observed(id).is_some_and(|it| learning.is_about(it)));
        let mut known = Vec::new();
        for &variant in subject.variants {
            let kv_capacity = kv_capacity(variant);
            let server =
                Server { role: variant.role, engine: &variant.engine, kv_capacity, policy };
            let completed = workload::completed_shape(variant, reader).unwrap_or(shape);
            let sample = match policy.tuner {
                CostTuner::Off => None,
                CostTuner::Kalman | CostTuner::Window => {
                    Sample::observe(variant, completed, reader)
                }
            };
            let start = || match variant.profile {
                Some(profile) => {
                    Some(Learning::from_profile(variant, law::costs(profile, shape), policy))
                }
                None => Learning::from_guess(variant, sample.as_ref()?),
            };
            let learning = self.learned.remove(&variant.variant).or_else(start);
            let Some(mut learning) = learning else {
                reasons.push(QueueingReason::CostsUnknown { variant: variant.variant.clone() });
                continue;
            };
            if let Some(sample) = sample {
                reasons.extend(learning.learn(&variant.variant, sample, &server));
            }
            known.push(Known { variant, server, belief: *learning.belief() });
            // A profile is looked up anew each time until there is something to add to it.
            if learning.has_learned() {
                self.learned.insert(variant.variant.clone(), learning);
            }
        }
        known
    }
}

impl Known<'_> {
    /// The load of a demand in requests per second, in replicas of the variant; `None` when there is
    /// no model of a replica.
    fn weigh(
        &self,
        rate: f64,
        shape: RequestShape,
        goal: &Goal,
        reasons: &mut Vec<QueueingReason>,
    ) -> Option<Weighed> {
        let (server, variant) = (&self.server, &self.variant.variant);
        let found = match server.capacity(self.belief.costs, shape, goal) {
            Ok(found) => found,
            Err(error) => {
                let (variant, why) = (variant.clone(), error.to_string());
                reasons.push(QueueingReason::NoModel { variant, why });
                return None;
            }
        };
        explain(variant, &found, reasons);
        let (up, down) = (server.policy.scale_up_at, server.policy.scale_down_at);
        let load = Load::over(rate, found.rate().value(), up.value(), down.value())?;
        let error = self.belief.relative_error(|costs| {
            server.capacity(costs, shape, goal).ok().map(|found| found.rate().value())
        });
        Some(Weighed { load, confidence: certainty(error) })
    }
}

/// The targets, from whoever sets them.
fn goal(
    subject: &Subject<'_>,
    shape: RequestShape,
    known: &[Known<'_>],
    reasons: &mut Vec<QueueingReason>,
) -> Result<Goal, Abstention> {
    let policy = &subject.policy.queueing;
    if let Some(means) = policy.targets(subject.model, subject.namespace) {
        return Ok(Goal { ttft: means.ttft, ttft_share: None, itl: means.itl });
    }
    if let Some(slo) = subject.slo {
        return Ok(Goal { ttft: slo.ttft, ttft_share: policy.ttft_share, itl: slo.tpot });
    }
    let multiplier = policy.slo_multiplier;
    let each = known.iter().filter_map(|it| Goal::inferred(it.belief.costs, shape, multiplier));
    let Some(goal) = each.reduce(Goal::or_looser).filter(|_| !multiplier.is_zero()) else {
        reasons.push(QueueingReason::NoTargets);
        return Err(Abstention::NotConfigured);
    };
    reasons.push(QueueingReason::TargetsInferred { ttft: goal.ttft, itl: goal.itl, multiplier });
    Ok(goal)
}

fn explain(variant: &VariantId, capacity: &Capacity, reasons: &mut Vec<QueueingReason>) {
    for target in &capacity.out_of_reach {
        let best = match target {
            goal::Target::Ttft { .. } => capacity.idle.ttft,
            goal::Target::Itl { .. } => capacity.idle.itl,
        };
        reasons.push(QueueingReason::OutOfReach {
            variant: variant.clone(),
            latency: target.latency().to_owned(),
            target: target.within(),
            best,
        });
    }
    reasons.push(QueueingReason::Capacity {
        variant: variant.clone(),
        rate: capacity.rate(),
        ttft: capacity.performance.ttft,
        itl: capacity.performance.itl,
    });
}

/// One less two relative standard deviations of a capacity, at least 0: the part of it that is
/// there all but certainly.
fn certainty(error: Option<f64>) -> Fraction {
    Fraction::checked((1.0 - 2.0 * error.unwrap_or(f64::INFINITY)).max(0.0))
        .unwrap_or(Fraction::ZERO)
}

/// The needs of all roles that variants have.
fn roles(
    variants: &[&VariantObservation],
    load: impl Fn(&VariantObservation) -> Option<Load>,
) -> Vec<RoleNeed> {
    let need = |role| {
        let of_role = variants.iter().filter(|variant| variant.role == role);
        let variants: Vec<VariantNeed> =
            of_role.map(|it| VariantNeed { variant: it.variant.clone(), load: load(it) }).collect();
        (!variants.is_empty()).then_some(RoleNeed { role, variants })
    };
    [Role::Both, Role::Prefill, Role::Decode].into_iter().filter_map(need).collect()
}

/// The tokens that the KV cache of a variant's replicas holds, as the least of them says, however
/// long ago: it does not change while a replica runs.
fn kv_capacity(variant: &VariantObservation) -> Option<Tokens> {
    let reported = variant.replicas.iter().filter_map(|it| match it.kv_capacity {
        Signal::Seen { value, .. } => Some(value),
        Signal::Missing => None,
    });
    reported.min().or(variant.engine.kv_capacity)
}
