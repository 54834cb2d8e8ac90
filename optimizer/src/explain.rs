//! Why a variant has the count it has, and what would have given it another one.
//!
//! [`explain`] takes one decision and what it was made from, and tells for one variant what was
//! seen and how old it was, what each analyzer said, which rule bound the count, and what would have
//! had to be different for one replica more or fewer. The answer is data; [`Explanation::sentences`]
//! says the same in a few plain sentences.

mod sentences;

use serde::{Deserialize, Serialize};

use crate::analyzers::saturation::{Analysis, analyze};
use crate::assessment::Assessment;
use crate::decision::{Decision, VariantDecision};
use crate::forecast::Expectation;
use crate::id::{Namespace, ReplicaId, VariantId};
use crate::observation::{FleetObservation, ModelObservation, ReplicaObservation, Signal};
use crate::policy::{AnalyzerName, Policy, Thresholds};
use crate::reason::{Action, Direction, Reason, VoteReason};
use crate::units::{Fraction, MeanTokens, QueueLength, RequestRate, Seconds, Timestamp};

/// What there is to say about one variant in one decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// When it was decided.
    pub at: Timestamp,
    /// The decision, with its trail.
    pub decision: VariantDecision,
    /// The signals of the model that were there, and those that were missing.
    pub seen: Vec<Seen>,
    /// The arrival rate that was expected; empty where nobody asked.
    pub expected: Vec<Expectation>,
    /// What each analyzer said; empty where thresholds alone decided.
    pub said: Vec<Assessment>,
    /// The rule that stood between what was wanted and what was decided.
    pub bound: Option<Reason>,
    /// What would have given one replica more.
    pub more: Vec<Condition>,
    /// What would have given one replica fewer.
    pub fewer: Vec<Condition>,
}

/// A signal, by its name in the observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The replica that reported it; `None` for a signal of the whole model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaId>,
    /// The signal.
    pub signal: String,
    /// Its value, in the unit of the observation; `None` when it was missing.
    pub value: Option<f64>,
    /// How old it was.
    pub age: Option<Seconds>,
}

/// Something that would have led to another count. Where several are listed, any one is enough for
/// one replica more, and all of them together are needed for one fewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "condition", rename_all = "kebab-case")]
pub enum Condition {
    /// The load would have to be so many times what it is.
    Load {
        /// How many times; more than 1 for more replicas.
        factor: f64,
        /// The analyzer that would move first.
        analyzer: AnalyzerName,
    },
    /// The replicas' mean of a signal would have to be at this value.
    Mean {
        /// `kvUsage` or `waiting`.
        signal: String,
        /// What it is.
        now: f64,
        /// What it would have to be.
        at: f64,
    },
    /// A rule would have to be gone.
    Rule {
        /// As the trail has it.
        reason: Reason,
    },
}

/// Explains the decision for one variant; `None` when the decision or the observation lacks it.
#[must_use]
pub fn explain(
    decision: &Decision,
    observation: &FleetObservation,
    policy: &Policy,
    namespace: &Namespace,
    variant: &VariantId,
) -> Option<Explanation> {
    let of = |d: &&VariantDecision| d.namespace == *namespace && d.variant == *variant;
    let decided = decision.variants.iter().find(of)?;
    let model = observation.models.iter().find(|model| {
        model.namespace == *namespace
            && model.model == decided.model
            && model.variants.iter().any(|observed| observed.variant == *variant)
    })?;
    let appraisal = decision
        .appraisals
        .iter()
        .find(|appraisal| appraisal.namespace == *namespace && appraisal.model == decided.model);
    let bound = decided.trail.iter().rev().find(|reason| is_rule(reason)).cloned();
    let (mut more, mut fewer) = match decided.margins {
        Some(_) => by_margins(decided),
        None => by_thresholds(decision.at, model, decided, policy),
    };
    if let Some(reason) = &bound {
        // What a rule held back would have come without it.
        let rule = || vec![Condition::Rule { reason: reason.clone() }];
        match held_back(reason) {
            Some(true) => more = rule(),
            Some(false) => fewer = rule(),
            None => {}
        }
    }
    Some(Explanation {
        at: decision.at,
        decision: decided.clone(),
        seen: seen(decision.at, model),
        expected: appraisal.map_or_else(Vec::new, |a| a.outlook.points().to_vec()),
        said: appraisal.map_or_else(Vec::new, |a| a.assessments.clone()),
        bound,
        more,
        fewer,
    })
}

/// Whether a reason is a rule that stands between what is wanted and what is decided.
const fn is_rule(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Stabilizing { .. }
            | Reason::CoolingDown { .. }
            | Reason::StepLimited { .. }
            | Reason::AtMinimum { .. }
            | Reason::AtMaximum { .. }
            | Reason::InTransition { .. }
            | Reason::AwaitingReady { .. }
            | Reason::SilentReplicas { .. }
            | Reason::Limits(_)
            | Reason::Zero(_)
            | Reason::Vote(VoteReason::CannotCover { .. } | VoteReason::Vetoed(_))
    )
}

/// Whether a rule held back growth (`true`) or a removal (`false`).
const fn held_back(rule: &Reason) -> Option<bool> {
    match rule {
        Reason::Stabilizing { direction, .. }
        | Reason::CoolingDown { direction, .. }
        | Reason::StepLimited { direction, .. } => Some(matches!(direction, Direction::Up)),
        Reason::AtMaximum { .. }
        | Reason::Limits(_)
        | Reason::Vote(VoteReason::CannotCover { .. }) => Some(true),
        Reason::AtMinimum { .. }
        | Reason::AwaitingReady { .. }
        | Reason::Vote(VoteReason::Vetoed(_)) => Some(false),
        _ => None,
    }
}

fn by_margins(decided: &VariantDecision) -> (Vec<Condition>, Vec<Condition>) {
    let Some(margins) = decided.margins else { return (Vec::new(), Vec::new()) };
    let load = |factor, analyzer| Condition::Load { factor, analyzer };
    let more = margins.grows_above.map(|factor| load(factor, margins.grows_by));
    let fewer = margins.shrinks_below.map(|factor| load(factor, margins.shrinks_by));
    (more.into_iter().collect(), fewer.into_iter().collect())
}

/// How far the means are from where thresholds would have moved the model.
fn by_thresholds(
    now: Timestamp,
    model: &ModelObservation,
    decided: &VariantDecision,
    policy: &Policy,
) -> (Vec<Condition>, Vec<Condition>) {
    let thresholds = policy.saturation.thresholds(&model.model, &model.namespace);
    let of_role = model.variants.iter().filter(|variant| variant.role == decided.role);
    let analysis = analyze(now, of_role, &thresholds, &policy.signals);
    let Thresholds { kv_cache, queue_length, kv_spare, queue_spare } = thresholds;
    let condition = |signal: &str, now: f64, at: f64| Condition::Mean {
        signal: signal.to_owned(),
        now,
        at: at.max(0.0),
    };
    let Analysis { spare, spare_after_removal, .. } = analysis;
    let count = analysis.unsaturated() as f64;
    if count < 1.0 {
        return (Vec::new(), Vec::new());
    }
    let (kv, queue) = (kv_cache.value() - spare.kv, queue_length.value() - spare.queue);
    let (kv_limit, queue_limit) =
        (kv_cache.value() - kv_spare.value(), queue_length.value() - queue_spare.value());
    // The model grows when a mean is above its limit.
    let growth = [("kvUsage", kv, kv_limit), ("waiting", queue, queue_limit)];
    // What N replicas carry may rest on N − 1 when the mean over these is not above the limit.
    let share = (count - 1.0) / count;
    let removal = spare_after_removal
        .map(|_| [("kvUsage", kv, kv_limit * share), ("waiting", queue, queue_limit * share)]);
    let pick = |from: &[(&str, f64, f64)], above: bool| {
        let wanted = from.iter().filter(|(_, now, at)| (now > at) == above);
        wanted.map(|&(signal, now, at)| condition(signal, now, at)).collect::<Vec<_>>()
    };
    let removal = removal.iter().flatten().copied().collect::<Vec<_>>();
    match decided.action {
        Action::ScaleUp => (Vec::new(), pick(&growth, true)),
        Action::ScaleDown => (pick(&removal, false), Vec::new()),
        Action::NoChange => (pick(&growth, false), pick(&removal, true)),
    }
}

/// The signals of a model that analyzers read, in the order of the observation.
fn seen(now: Timestamp, model: &ModelObservation) -> Vec<Seen> {
    let demand = &model.demand;
    let mut all = vec![
        signal(now, None, "arrivalRate", &demand.arrival_rate, RequestRate::value),
        signal(now, None, "gatewayQueue", &demand.gateway_queue, QueueLength::value),
        signal(now, None, "inputTokens", &demand.input.mean, MeanTokens::value),
        signal(now, None, "outputTokens", &demand.output.mean, MeanTokens::value),
    ];
    for replica in model.variants.iter().flat_map(|variant| &variant.replicas) {
        let ReplicaObservation { kv_usage, waiting, running, ttft, itl, .. } = replica;
        let name = Some(&replica.replica);
        all.push(signal(now, name, "kvUsage", kv_usage, Fraction::value));
        all.push(signal(now, name, "waiting", waiting, QueueLength::value));
        all.push(signal(now, name, "running", running, QueueLength::value));
        all.push(signal(now, name, "ttft", ttft, Seconds::value));
        all.push(signal(now, name, "itl", itl, Seconds::value));
    }
    all
}

fn signal<T: Copy>(
    now: Timestamp,
    replica: Option<&ReplicaId>,
    name: &str,
    signal: &Signal<T>,
    value: fn(T) -> f64,
) -> Seen {
    let (value, age) = match *signal {
        Signal::Missing => (None, None),
        Signal::Seen { value: seen, at } => (Some(value(seen)), Some(now.since(at))),
    };
    Seen { replica: replica.cloned(), signal: name.to_owned(), value, age }
}

#[cfg(test)]
mod tests;
