//! Demand against supply.

use std::collections::BTreeMap;

use crate::observation::{Role, VariantObservation};
use crate::units::Fraction;

/// What is asked of a model, or of one of its roles, and what its replicas can carry, all in one
/// analyzer's own unit.
///
/// [`Load`](crate::assessment::Load) says the same in replicas. This is the form in which the
/// workload-variant-autoscaler states it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Balance {
    /// What is asked for.
    pub demand: f64,
    /// What the ready replicas can carry.
    pub supply: f64,
    /// What they can carry once the pending ones are ready too.
    pub anticipated: f64,
}

impl Balance {
    /// How much is lacking, when replicas should be in use up to the share `scale_up`, and those
    /// that are pending count.
    #[must_use]
    pub fn required(&self, scale_up: Fraction) -> f64 {
        (self.demand / scale_up.value() - self.anticipated).max(0.0)
    }

    /// How much may go, when the replicas that stay should be in use up to the share `scale_down`.
    /// Those that are pending do not count.
    #[must_use]
    pub fn spare(&self, scale_down: Fraction) -> f64 {
        (self.supply - self.demand / scale_down.value()).max(0.0)
    }
}

/// How the requests of a model spread over its roles.
///
/// A request is served by one variant of the role [`Role::Both`], or by a [`Role::Prefill`] and a
/// [`Role::Decode`] variant. Which way it goes is the router's choice; with nothing else known, the
/// ready replicas tell: each of those that decode gets the same share.
#[derive(Debug, Clone, Default)]
pub(super) struct RoleShares {
    /// Ready replicas of the roles that there are.
    ready: BTreeMap<Role, u64>,
}

impl RoleShares {
    pub(super) fn of(variants: &[&VariantObservation]) -> Self {
        let mut ready = BTreeMap::new();
        for variant in variants {
            *ready.entry(variant.role).or_default() += u64::from(variant.ready.get());
        }
        Self { ready }
    }

    /// The roles that there are, in their order.
    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        self.ready.keys().copied()
    }

    /// The share of the requests that a role takes part in serving.
    pub(super) fn share(&self, role: Role) -> f64 {
        let of = |role| self.ready.get(&role).copied();
        let whole = match (of(Role::Both), of(Role::Decode).or(of(Role::Prefill))) {
            (None, _) => 0.0,
            (_, None) => 1.0,
            (Some(0), Some(0)) => 0.5,
            (Some(both), Some(split)) => both as f64 / (both as f64 + split as f64),
        };
        if role == Role::Both { whole } else { 1.0 - whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Replicas;

    /// Vectors TH-01 to TH-05 and TH-07 of the workload-variant-autoscaler 0.9, and the required and
    /// spare capacities in vectors D13 to D17 of its version 0.5.
    #[test]
    fn thresholds_leave_a_dead_band() {
        let (up, down) = (Fraction::new(0.85), Fraction::new(0.70));
        for (name, [demand, supply, anticipated], required, spare) in [
            ("TH-01", [10_000.0, 10_000.0, 10_000.0], 1_764.705_882_352_941, 0.0),
            ("TH-02", [5_000.0, 10_000.0, 10_000.0], 0.0, 2_857.142_857_142_857),
            ("TH-03", [8_000.0, 10_000.0, 10_000.0], 0.0, 0.0),
            ("TH-04", [8_000.0, 7_000.0, 10_000.0], 0.0, 0.0),
            ("TH-05", [10_000.0, 10_000.0, 0.0], 11_764.705_882_352_94, 0.0),
            ("TH-07 prefill", [8_000.0, 10_000.0, 11_000.0], 0.0, 0.0),
            ("TH-07 decode", [9_500.0, 10_000.0, 10_000.0], 1_176.470_588_235_294, 0.0),
        ] {
            let balance = Balance { demand, supply, anticipated };
            assert!((balance.required(up) - required).abs() < 1e-9, "{name}");
            assert!((balance.spare(down) - spare).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn a_balance_of_anything_is_a_number() {
        for demand in [0.0, f64::MAX] {
            let balance = Balance { demand, supply: f64::MAX, anticipated: f64::MAX };
            for share in [Fraction::ZERO, Fraction::ONE] {
                assert!(balance.required(share) >= 0.0);
                assert!(balance.spare(share) >= 0.0);
            }
        }
    }

    #[test]
    fn requests_spread_over_the_replicas_that_decode() {
        use Role::{Both, Decode, Prefill};
        let check = |ready: &[(Role, u32)], expected: &[(Role, f64)]| {
            let variants: Vec<_> = ready
                .iter()
                .enumerate()
                .map(|(idx, &(role, ready))| VariantObservation {
                    role,
                    ready: Replicas::new(ready),
                    ..VariantObservation::new(
                        format!("v{idx}").parse().unwrap(),
                        "H100".parse().unwrap(),
                    )
                })
                .collect();
            let shares = RoleShares::of(&variants.iter().collect::<Vec<_>>());
            let found: Vec<_> = shares.roles().map(|role| (role, shares.share(role))).collect();
            assert_eq!(found, expected);
        };
        check(&[(Both, 2), (Both, 0)], &[(Both, 1.0)]);
        check(&[(Prefill, 0), (Decode, 3)], &[(Prefill, 1.0), (Decode, 1.0)]);
        check(
            &[(Prefill, 9), (Decode, 3), (Both, 1)],
            &[(Both, 0.25), (Prefill, 0.75), (Decode, 0.75)],
        );
        check(&[(Decode, 0), (Both, 0)], &[(Both, 0.5), (Decode, 0.5)]);
    }
}
