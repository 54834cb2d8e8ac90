//! What an analyzer says about a model, in replicas.
//!
//! Analyzers count in different units: tokens in a cache, tokens per second, requests per second.
//! None of these leaves its analyzer. What leaves is, for each variant, the load *in replicas of
//! that variant*: how many of them alone would carry all that the role has to do. So the share of
//! the work that n replicas of a variant carry is n / load, and a fleet carries all of it when these
//! shares add up to one, whatever the mix of variants. Two analyzers' answers can be compared, and
//! one allocation can satisfy both.

use serde::{Deserialize, Serialize};

use crate::id::VariantId;
use crate::observation::Role;
use crate::policy::AnalyzerName;
pub use crate::reason::Abstention;

use crate::reason::Reason;
use crate::units::{Fraction, ReplicaLoad, Replicas, Seconds};

/// One analyzer's answer for one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// Who says it.
    pub analyzer: AnalyzerName,
    /// What it says.
    pub verdict: Verdict,
    /// What it saw and concluded, in the order of its rules.
    pub reasons: Vec<Reason>,
}

/// Whether an analyzer has something to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It has.
    Speaks(Judgment),
    /// It has not: it asks for nothing and forbids nothing.
    Abstains(Abstention),
}

/// What an analyzer says when it speaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgment {
    /// The need of each role that the model's variants have, in the order of [`Role`].
    pub roles: Vec<RoleNeed>,
    /// How sure it is. Below the policy's bound it may ask for more, but lets nothing go.
    pub confidence: Fraction,
    /// The age of the oldest signal that it used. When that is stale it may ask for more, but lets
    /// nothing go.
    pub age: Seconds,
}

/// What one role of a model needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleNeed {
    /// The role.
    pub role: Role,
    /// One entry for each variant of the role, sorted by name.
    pub variants: Vec<VariantNeed>,
}

/// What a role needs, in replicas of one of its variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantNeed {
    /// The variant.
    pub variant: VariantId,
    /// The load; `None` where the analyzer does not know what a replica of the variant can do. Such
    /// replicas count for nothing, and none is added on this analyzer's word.
    pub load: Option<Load>,
}

/// A load between two marks, in replicas of one variant that would carry all of it alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Below this the role needs more replicas.
    pub required: ReplicaLoad,
    /// Above this replicas may go; not below `required`. The distance between the two is what
    /// keeps a fleet from swinging.
    pub kept: ReplicaLoad,
}

impl Assessment {
    /// Of an analyzer that has nothing to say.
    #[must_use]
    pub const fn abstain(analyzer: AnalyzerName, why: Abstention) -> Self {
        Self { analyzer, verdict: Verdict::Abstains(why), reasons: Vec::new() }
    }

    /// What it says, if it speaks.
    #[must_use]
    pub const fn judgment(&self) -> Option<&Judgment> {
        match &self.verdict {
            Verdict::Speaks(judgment) => Some(judgment),
            Verdict::Abstains(_) => None,
        }
    }
}

impl Load {
    /// From a demand, what one replica can carry (both in the analyzer's own unit), and the shares
    /// of that at which replicas are added and let go. `None` when a replica carries nothing or a
    /// number is not finite.
    #[must_use]
    pub fn over(demand: f64, capacity: f64, scale_up: f64, scale_down: f64) -> Option<Self> {
        if capacity <= 0.0 {
            return None;
        }
        let required = ReplicaLoad::checked(demand / (capacity * scale_up))?;
        let kept = ReplicaLoad::checked(demand / (capacity * scale_down))?;
        Some(Self { required, kept: kept.max(required) })
    }
}

impl RoleNeed {
    /// The share of the need that `replicas` of its variants carry, in the order of
    /// [`Self::variants`]: 1 is just enough. `mark` picks one of the two loads.
    #[must_use]
    pub fn coverage(&self, replicas: &[Replicas], mark: fn(&Load) -> ReplicaLoad) -> f64 {
        let shares = self.variants.iter().zip(replicas).map(|(variant, &count)| {
            let load = variant.load.as_ref().map(mark);
            match load {
                Some(load) if load.is_zero() => f64::INFINITY,
                Some(load) => count.as_f64() / load.value(),
                None => 0.0,
            }
        });
        shares.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_different_variants_add_up() {
        let need = |name: &str, capacity| VariantNeed {
            variant: name.parse().unwrap(),
            load: Load::over(30_000.0, capacity, 1.0, 0.5),
        };
        let role = RoleNeed {
            role: Role::Both,
            variants: vec![need("a", 10_000.0), need("b", 20_000.0), need("c", 0.0)],
        };
        assert_eq!(role.variants[2].load, None);
        let count = |counts: [u32; 3]| counts.map(Replicas::new);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(role.coverage(&count([1, 1, 9]), |load| load.required), 1.0);
        close(role.coverage(&count([1, 1, 9]), |load| load.kept), 0.5);
        close(role.coverage(&count([0, 2, 0]), |load| load.required), 4.0 / 3.0);
    }

    #[test]
    fn no_demand_is_covered_by_nothing() {
        let need =
            VariantNeed { variant: "a".parse().unwrap(), load: Load::over(0.0, 10.0, 0.85, 0.70) };
        let role = RoleNeed { role: Role::Both, variants: vec![need] };
        assert!(role.coverage(&[Replicas::ZERO], |load| load.required) >= 1.0);
        for (demand, capacity) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0)] {
            assert_eq!(Load::over(demand, capacity, 0.85, 0.70), None, "{demand} {capacity}");
        }
    }
}
