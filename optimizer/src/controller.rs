//! The controller: what a fleet should look like, given how it looks and what was decided before.
//!
//! For every model, [`Controller::step`] asks the
//! [saturation analyzer](crate::analyzers::saturation) which variant should move. For every variant it then applies, in this order, the rules that keep a
//! fleet calm, and each rule that binds leaves its [`Reason`] in the trail:
//!
//! 1. **Transition.** A decision that the fleet has not reached yet stands, until it is reached or
//!    `transitionTimeout` has passed.
//! 2. **Bounds.** A count outside its bounds returns to them at once. Nothing below may delay that,
//!    and nothing below leads out of them.
//! 3. **Stabilization.** Of the targets in a window the most cautious one counts, as in the
//!    Kubernetes horizontal pod autoscaler: the highest for a move down, the lowest for a move up.
//!    The count at the first sight of a variant is its first target, so nothing shrinks before a
//!    whole window has been seen.
//! 4. **Cooldown.** Two moves of a variant in one direction keep their distance in time.
//! 5. **Step.** One decision moves a variant by at most `maxStep`.
//!
//! ```
//! use optimizer::observation::{
//!     Bounds, Demand, ModelObservation, ReplicaObservation, Signal, VariantObservation,
//! };
//! use optimizer::units::{Fraction, HourlyCost, QueueLength, Replicas, Timestamp};
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
//! let mut controller = Controller::new(Policy::default())?;
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

mod memory;
mod pace;

use std::collections::BTreeMap;

use thiserror::Error;

pub use memory::Memory;

use crate::analyzers::saturation::{Candidate, analyze, targets};
use crate::decision::{Action, Decision, Reason, VariantDecision};
use crate::id::{ModelId, Namespace};
use crate::observation::{FleetObservation, VariantObservation};
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
        self.memory.rewind(now);
        let mut variants = Vec::new();
        for ((namespace, model), observed) in by_model(observation) {
            variants.extend(self.decide(now, namespace, model, &observed));
        }
        self.memory.forget(now, &self.policy.signals);
        Decision { at: now, variants, appraisals: Vec::new() }
    }

    /// Decides for the variants of one model, in their order.
    fn decide(
        &mut self,
        now: Timestamp,
        namespace: &Namespace,
        model: &ModelId,
        variants: &[&VariantObservation],
    ) -> Vec<VariantDecision> {
        let Policy { saturation, scaling, signals, .. } = &self.policy;
        let thresholds = saturation.thresholds(model, namespace);
        let analysis = analyze(now, variants.iter().copied(), &thresholds, signals);

        let (candidates, recalls): (Vec<Candidate<'_>>, Vec<Option<Reason>>) = variants
            .iter()
            .map(|variant| {
                let memory = self.memory.of(namespace, variant, now);
                memory.candidate(now, variant, scaling.transition_timeout)
            })
            .unzip();

        let targets = targets(&analysis, &candidates);
        let mut decisions = Vec::with_capacity(variants.len());
        for ((candidate, recall), target) in candidates.iter().zip(recalls).zip(targets) {
            let observed = candidate.observed;
            let mut trail = analysis.reasons.clone();
            trail.extend(recall);
            trail.extend(target.reasons);

            let memory = self.memory.of(namespace, observed, now);
            let (start, wanted) = (target.start, target.replicas);
            let desired = pace::pace(now, start, wanted, memory, scaling, &mut trail);
            memory.decide(now, candidate, desired);

            decisions.push(VariantDecision {
                namespace: namespace.clone(),
                model: model.clone(),
                variant: observed.variant.clone(),
                role: observed.role,
                margins: None,
                current: observed.current,
                desired,
                action: Action::between(observed.current, desired),
                trail,
            });
        }
        decisions
    }
}

/// The policy breaks its rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidPolicy(pub Vec<PolicyProblem>);

/// The variants of each model, sorted by name; models sorted by namespace and name.
fn by_model(
    observation: &FleetObservation,
) -> BTreeMap<(&Namespace, &ModelId), Vec<&VariantObservation>> {
    let mut all: Vec<_> = observation
        .models
        .iter()
        .flat_map(|m| m.variants.iter().map(|variant| (&m.namespace, variant, &m.model)))
        .collect();
    all.sort_by_key(|&(namespace, variant, model)| {
        let VariantObservation { cost, current, ready, bounds, replicas, .. } = variant;
        let size = (current, ready, bounds.min, bounds.max, replicas.len());
        (namespace, &variant.variant, model, cost, size)
    });
    all.dedup_by_key(|(namespace, variant, _)| (*namespace, &variant.variant));

    let mut models = BTreeMap::<_, Vec<_>>::new();
    for (namespace, variant, model) in all {
        models.entry((namespace, model)).or_default().push(variant);
    }
    models
}

#[cfg(test)]
mod tests;
