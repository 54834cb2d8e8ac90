//! From several analyzers' answers to what a role needs.
//!
//! Any analyzer may ask for more replicas. Replicas go only when every analyzer that speaks lets
//! them go, and only on fresh signals: an analyzer that is unsure or whose signals are stale keeps
//! what there is. One that abstains has no vote, and when all abstain nothing goes. Missing is not
//! zero.
//!
//! Answers are compared as coverage (see [`assessment`](crate::assessment)), so their units never
//! mix.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assessment::{Assessment, Load, RoleNeed};
use crate::id::VariantId;
use crate::observation::Role;
use crate::policy::{AnalyzerName, Freshness, VotingPolicy};
use crate::reason::{Action, Veto};
use crate::units::{Fraction, ReplicaLoad, Replicas};

/// What the analyzers together say about one role of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// The role.
    pub role: Role,
    /// Its variants, sorted by name.
    pub variants: Vec<VariantId>,
    /// What each analyzer asks for.
    pub needs: Vec<Need>,
    /// Why nothing may go, if that is so.
    pub veto: Option<Veto>,
}

/// One analyzer's need, as shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Whose.
    pub analyzer: AnalyzerName,
    /// The share of what is required that one replica of each variant covers; the shares of all
    /// replicas have to add up to 1.
    pub required: Vec<f64>,
    /// The same for what has to be kept.
    pub kept: Vec<f64>,
}

/// Counts the votes on one model, by role in the order of [`Role`].
#[must_use]
pub fn count(
    assessments: &[Assessment],
    variants: &BTreeMap<Role, Vec<VariantId>>,
    voting: VotingPolicy,
    freshness: &Freshness,
) -> Vec<Ballot> {
    let of_role = |(&role, variants): (&Role, &Vec<VariantId>)| {
        let mut ballot = Ballot { role, variants: variants.clone(), needs: Vec::new(), veto: None };
        let mut spoken = BTreeSet::new();
        for assessment in assessments {
            ballot.add(assessment, voting, freshness, &mut spoken);
        }
        if spoken.is_empty() {
            ballot.veto = Some(Veto::NobodySpeaks);
        }
        ballot
    };
    variants.iter().map(of_role).collect()
}

impl Ballot {
    fn add(
        &mut self,
        assessment: &Assessment,
        voting: VotingPolicy,
        freshness: &Freshness,
        spoken: &mut BTreeSet<AnalyzerName>,
    ) {
        let analyzer = assessment.analyzer;
        let Some(judgment) = assessment.judgment() else { return };
        let Some(need) = judgment.roles.iter().find(|need| need.role == self.role) else { return };
        spoken.insert(analyzer);
        if judgment.confidence < voting.min_confidence {
            let confidence = judgment.confidence;
            self.veto.get_or_insert(Veto::Unsure { analyzer, confidence });
        }
        if judgment.age > freshness.stale_after {
            self.veto.get_or_insert(Veto::Stale { analyzer, age: judgment.age });
        }
        let required = self.shares(need, |load| load.required);
        if required.iter().all(|share| *share <= 0.0) {
            self.veto.get_or_insert(Veto::CapacityUnknown { analyzer });
            return;
        }
        let kept = self.shares(need, |load| load.kept);
        self.needs.push(Need { analyzer, required, kept });
    }

    /// Adds for each need that variants which `is_spot` tells of cover at most `share` of it: the
    /// others alone have to cover the rest. Where there are no others, nothing is added.
    pub fn limit_spot(&mut self, share: Fraction, is_spot: impl Fn(&VariantId) -> bool) {
        let rest = 1.0 - share.value();
        if rest <= 0.0 || self.variants.iter().all(&is_spot) {
            return;
        }
        let of_others = |shares: &[f64]| {
            let share = |(variant, share): (&VariantId, &f64)| {
                if is_spot(variant) { 0.0 } else { share / rest }
            };
            self.variants.iter().zip(shares).map(share).collect()
        };
        let more: Vec<Need> = self
            .needs
            .iter()
            .map(|need| Need {
                analyzer: need.analyzer,
                required: of_others(&need.required),
                kept: of_others(&need.kept),
            })
            .filter(|need| need.required.iter().any(|share| *share > 0.0))
            .collect();
        self.needs.extend(more);
    }

    /// For each variant of the role, the share of the need that one replica covers.
    fn shares(&self, need: &RoleNeed, mark: fn(&Load) -> ReplicaLoad) -> Vec<f64> {
        let share = |variant: &VariantId| {
            let found = need.variants.iter().find(|entry| entry.variant == *variant);
            match found.and_then(|entry| entry.load.as_ref()).map(mark) {
                Some(load) if load.is_zero() => f64::INFINITY,
                Some(load) => 1.0 / load.value(),
                None => 0.0,
            }
        };
        self.variants.iter().map(share).collect()
    }
}

/// The outcome of an arbitration between saturation and a model, for one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arbitration {
    /// Where the variant should be.
    pub target: Replicas,
    /// Against the current count.
    pub action: Action,
    /// Saturation stopped what the model wanted.
    pub safety_override: bool,
    /// The target is the model's.
    pub model_based: bool,
    /// The target is that of saturation.
    pub saturation_based: bool,
}

/// Lets a model decide, within what saturation allows: the arbitration of the
/// workload-variant-autoscaler 0.4.
///
/// `saturation` is the target by thresholds, and `shrinking_is_safe` what they say about one
/// replica fewer; `None` where they could not tell. A model that wants fewer replicas is stopped
/// when saturation wants more, or does not find that safe.
#[must_use]
pub fn arbitrate(
    saturation: Replicas,
    model: Replicas,
    current: Replicas,
    shrinking_is_safe: Option<bool>,
) -> Arbitration {
    let outcome = |target, safety_override, model_based, saturation_based| Arbitration {
        target,
        action: Action::between(current, target),
        safety_override,
        model_based,
        saturation_based,
    };
    let unsafe_to_shrink = shrinking_is_safe == Some(false);
    if model < current && (saturation > current || unsafe_to_shrink) {
        return outcome(current, true, false, true);
    }
    if saturation > current && model == current {
        return outcome(saturation, false, false, true);
    }
    if model == current {
        return outcome(current, false, false, false);
    }
    outcome(model, false, true, false)
}

#[cfg(test)]
mod tests;
