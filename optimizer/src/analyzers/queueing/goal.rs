//! The targets that a replica is sized for.

use crate::observation::Role;
use crate::queueing::{IterationCosts, RequestShape, TailTarget, Targets};
use crate::units::{Factor, Fraction, Seconds};

/// Latency targets, wherever they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Goal {
    /// Time to first token.
    pub(super) ttft: Seconds,
    /// The share of requests that it holds for; `None` when it holds for the mean.
    pub(super) ttft_share: Option<Fraction>,
    /// Mean time between tokens.
    pub(super) itl: Seconds,
}

impl Goal {
    /// What a replica keeps at the load at which an iteration takes `multiplier` times its
    /// overhead, as the workload-variant-autoscaler 0.9 infers it: with k for the multiplier,
    /// TTFT = k·α + (β + γ)·L and ITL = k·α + β + γ·(L + (m + 1)/2).
    pub(super) fn inferred(
        costs: IterationCosts,
        shape: RequestShape,
        multiplier: Factor,
    ) -> Option<Self> {
        let input = shape.input.as_f64();
        let context = input + f64::midpoint(shape.output.as_f64(), 1.0);
        let [overhead, compute, read] =
            [costs.overhead, costs.compute_per_token, costs.read_per_token].map(Seconds::value);
        let iteration = multiplier.value() * overhead;
        let ttft = Seconds::checked(iteration + (compute + read) * input)?;
        let itl = Seconds::checked(iteration + compute + read * context)?;
        Some(Self { ttft, ttft_share: None, itl })
    }

    /// The looser of both in each latency.
    pub(super) fn or_looser(self, other: Self) -> Self {
        Self { ttft: self.ttft.max(other.ttft), itl: self.itl.max(other.itl), ..self }
    }

    /// What it asks of a role: the first token is the prefill's, the others are the decode's.
    pub(super) fn of(self, role: Role) -> Vec<Target> {
        let ttft = Target::Ttft { within: self.ttft, share: self.ttft_share };
        let itl = Target::Itl { within: self.itl };
        match role {
            Role::Both => vec![ttft, itl],
            Role::Prefill => vec![ttft],
            Role::Decode => vec![itl],
        }
    }
}

/// One target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Time to first token, for a share of the requests or on average.
    Ttft { within: Seconds, share: Option<Fraction> },
    /// Mean time between tokens.
    Itl { within: Seconds },
}

impl Target {
    /// Adds itself to `targets`.
    pub(super) fn join(self, targets: Targets) -> Targets {
        match self {
            Self::Ttft { within, share: None } => Targets { ttft: Some(within), ..targets },
            Self::Ttft { within, share: Some(share) } => {
                Targets { ttft_tail: Some(TailTarget { share, within }), ..targets }
            }
            Self::Itl { within } => Targets { itl: Some(within), ..targets },
        }
    }

    /// The name of its latency.
    pub(super) const fn latency(self) -> &'static str {
        match self {
            Self::Ttft { .. } => "ttft",
            Self::Itl { .. } => "itl",
        }
    }

    /// The time.
    pub(super) const fn within(self) -> Seconds {
        match self {
            Self::Ttft { within, .. } | Self::Itl { within } => within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Tokens;

    /// Vector QM-13 of the workload-variant-autoscaler 0.9.
    #[test]
    fn targets_are_inferred_as_in_the_original() {
        let costs = IterationCosts {
            overhead: Seconds::from_millis(5.0),
            compute_per_token: Seconds::from_millis(0.05),
            read_per_token: Seconds::from_millis(5e-5),
        };
        let shape = RequestShape { input: Tokens::new(1024), output: Tokens::new(256) };
        let goal = Goal::inferred(costs, shape, Factor::new(3.0)).unwrap();
        assert!((goal.ttft.as_millis() - 66.2512).abs() < 1e-9, "{goal:?}");
        assert!((goal.itl.as_millis() - 15.107_625).abs() < 1e-9, "{goal:?}");
    }
}
