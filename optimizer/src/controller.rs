//! The controller: what a fleet should look like, given how it looks and what was decided before.
//!
//! [`Controller::step`] goes from the models to the fleet and back to the variants:
//!
//! 1. For every model the forecast and the [analyzers](crate::analyzers) of the policy learn from
//!    what is seen, and say what they need. Where all of them abstain, the saturation analyzer
//!    decides by thresholds.
//! 2. Their [votes](crate::vote) become groups of one allocation problem. What lacks something
//!    grows at the least cost, within the GPUs that there are; what lacks nothing lets go of what it
//!    need not keep.
//! 3. The [rules at zero](crate::limits::zero) let idle models sleep and wake them.
//!
//! For every variant it then applies, in this order, the rules that keep a fleet calm, and each rule
//! that binds leaves its [`Reason`] in the trail:
//!
//! 1. **Transition.** A decision that the fleet has not reached yet stands, until it is reached or
//!    `transitionTimeout` has passed; needs may take it further, thresholds may not. Replicas that
//!    have not become ready by then count for nothing, so that others can grow in their place.
//! 2. **Bounds.** A count outside its bounds returns to them at once. Nothing below may delay that,
//!    and nothing below leads out of them.
//! 3. **Stabilization.** Of the targets in a window the most cautious one counts, as in the
//!    Kubernetes horizontal pod autoscaler: the highest for a move down, the lowest for a move up.
//!    The count at the first sight of a variant is its first target, so nothing shrinks before a
//!    whole window has been seen.
//! 4. **Cooldown.** Two moves of a variant in one direction keep their distance in time.
//! 5. **Step.** One decision moves a variant by at most `maxStep`, where that is set.
//! 6. **GPUs.** What grows takes GPUs that are free now, the neediest of the highest priority first.
//!    What shrinks in this step gives its GPUs to a later one.
//!
//! ```
//! use optimizer::observation::{
//!     Bounds, Demand, ModelObservation, ReplicaObservation, Signal, VariantObservation,
//! };
//! use optimizer::units::{Fraction, HourlyCost, QueueLength, Replicas, Timestamp};
//! use optimizer::policy::AnalyzerName;
//! use optimizer::{Controller, FleetObservation, Policy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Timestamp::from_seconds(30.0);
//! let busy = ReplicaObservation {
//!     kv_usage: Signal::seen(Fraction::new(0.75), now),
//!     waiting: Signal::seen(QueueLength::new(1.0), now),
//!     ..ReplicaObservation::silent("llama-h100-0".parse()?)
//! };
//! let variant = VariantObservation {
//!     cost: HourlyCost::new(4.0),
//!     bounds: Bounds { min: Replicas::new(1), max: Some(Replicas::new(8)) },
//!     current: Replicas::new(1),
//!     ready: Replicas::new(1),
//!     replicas: vec![busy],
//!     ..VariantObservation::new("llama-h100".parse()?, "H100".parse()?)
//! };
//! let model = ModelObservation {
//!     model: "meta-llama/Llama-3.1-8B".parse()?,
//!     namespace: "chat".parse()?,
//!     slo: None,
//!     demand: Demand::default(),
//!     variants: vec![variant],
//! };
//! let fleet = FleetObservation { models: vec![model], ..FleetObservation::default() };
//!
//! let policy = Policy { analyzers: vec![AnalyzerName::Saturation], ..Policy::default() };
//! let mut controller = Controller::new(policy)?;
//! let decision = controller.step(now, &fleet);
//!
//! let llama = &decision.variants[0];
//! assert_eq!(llama.desired, Replicas::new(2));
//! let why: Vec<String> = llama.sentences().collect();
//! assert_eq!(why, [
//!     "signals from 1 replica, 0 saturated",
//!     "spare KV 0.050 is below 0.1",
//!     "cheapest variant that can grow (4/h)",
//! ]);
//! # Ok(())
//! # }
//! ```

mod census;
mod draft;
mod memory;
mod pace;
mod plan;
mod supply;

use thiserror::Error;

use draft::Draft;
pub use memory::Memory;
use plan::{Plan, plan};
use supply::{Supply, Wish};

use crate::analyzers::saturation::Candidate;
use crate::decision::{Action, Decision, Margins, Reason, VariantDecision};
use crate::limits::Grant;
use crate::observation::FleetObservation;
use crate::policy::{Policy, PolicyProblem};
use crate::units::Timestamp;

/// Decides, step by step, how many replicas each variant should have.
///
/// The same policy, memory, time and observation give the same decision, whatever the order of the
/// observation's parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    policy: Policy,
    memory: Memory,
}

impl Controller {
    /// A controller that remembers nothing.
    ///
    /// # Errors
    ///
    /// Every rule that `policy` breaks.
    pub fn new(policy: Policy) -> Result<Self, InvalidPolicy> {
        Self::restore(policy, Memory::default())
    }

    /// A controller that goes on where the one with this `memory` stopped.
    ///
    /// # Errors
    ///
    /// Every rule that `policy` breaks.
    pub fn restore(policy: Policy, memory: Memory) -> Result<Self, InvalidPolicy> {
        policy.validate().map_err(InvalidPolicy)?;
        Ok(Self { policy, memory })
    }

    /// Replaces the policy and keeps the memory.
    ///
    /// # Errors
    ///
    /// Every rule that `policy` breaks; the old policy then stays.
    pub fn set_policy(&mut self, policy: Policy) -> Result<(), InvalidPolicy> {
        policy.validate().map_err(InvalidPolicy)?;
        self.policy = policy;
        Ok(())
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// All that later decisions depend on, besides policy and observation. It serializes.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Decides for every variant of `observation` and remembers what it decided.
    ///
    /// A variant that is listed twice in its namespace counts once: under the first of its models
    /// by name, and there the cheapest of its entries, of those the smallest. A time before the
    /// last step's is the new present, and what was remembered from after it counts as present too.
    pub fn step(&mut self, now: Timestamp, observation: &FleetObservation) -> Decision {
        let Self { policy, memory } = self;
        memory.rewind(now);
        let models = census::models(observation);
        let drafts: Vec<Draft<'_>> =
            models.into_iter().map(|model| Draft::new(now, model, policy, memory)).collect();
        let supply = Supply::new(observation, &drafts);

        let mut wishes = Vec::new();
        for (idx, (draft, mut plans)) in drafts.iter().zip(plan(&drafts, &supply)).enumerate() {
            supply.zero(now, idx, draft, &mut plans, policy);
            wishes.push(paced(now, draft, plans, policy, memory));
        }
        let mut grants = supply.grant(wishes.iter().flatten().map(|(wish, _)| wish)).into_iter();

        let (mut variants, mut appraisals) = (Vec::new(), Vec::new());
        for (draft, wishes) in drafts.into_iter().zip(wishes) {
            for (candidate, (wish, margins)) in draft.candidates.iter().zip(wishes) {
                let grant = grants.next();
                variants.push(decided(now, &draft, candidate, wish, grant, margins, memory));
            }
            appraisals.extend(draft.appraisal);
        }
        memory.forget(now, &policy.signals);
        Decision { at: now, variants, appraisals }
    }
}

/// What the plans of a model come to in the pace that the policy allows.
fn paced(
    now: Timestamp,
    draft: &Draft<'_>,
    plans: Vec<Plan>,
    policy: &Policy,
    memory: &mut Memory,
) -> Vec<(Wish, Option<Margins>)> {
    let candidates = draft.candidates.iter().zip(&draft.recalls);
    let wish = |((candidate, recall), plan): ((&Candidate<'_>, &Option<Reason>), Plan)| {
        let mut trail = draft.preamble(candidate.observed.role);
        trail.extend(recall.clone());
        trail.extend(plan.reasons);
        let memory = memory.of(draft.of.namespace, candidate.observed, now);
        let desired = pace::pace(now, plan.start, plan.target, memory, &policy.scaling, &mut trail);
        let priority = draft.priority.value();
        (Wish { desired, priority, slack: plan.slack, trail }, plan.margins)
    };
    candidates.zip(plans).map(wish).collect()
}

/// The decision for one variant, which is remembered.
fn decided(
    now: Timestamp,
    draft: &Draft<'_>,
    candidate: &Candidate<'_>,
    wish: Wish,
    grant: Option<Grant>,
    margins: Option<Margins>,
    memory: &mut Memory,
) -> VariantDecision {
    let observed = candidate.observed;
    let Wish { desired: wanted, mut trail, .. } = wish;
    let mut desired = wanted;
    if let Some(grant) = grant {
        desired = grant.replicas;
        trail.extend(grant.limited.map(Reason::Limits));
    }
    memory.of(draft.of.namespace, observed, now).decide(now, candidate, desired);
    VariantDecision {
        namespace: draft.of.namespace.clone(),
        model: draft.of.name.clone(),
        variant: observed.variant.clone(),
        role: observed.role,
        current: observed.current,
        desired,
        action: Action::between(observed.current, desired),
        margins,
        trail,
    }
}

/// The policy breaks its rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidPolicy(pub Vec<PolicyProblem>);

#[cfg(test)]
mod tests;
