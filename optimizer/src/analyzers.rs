//! The analyzers: how much does a model need?
//!
//! Each looks at one model and answers with an [`Assessment`](crate::assessment::Assessment), in
//! replicas. What it learns on the way it keeps in its `State`, which serializes.
//!
//! | analyzer | what it takes for the limit of a replica |
//! |---|---|
//! | [`saturation`] | thresholds on KV usage and queue length |
//! | [`tokens`] | tokens that its KV cache holds, and that its steps get through |
//! | [`throughput`] | decode tokens per second, from the line of ITL over KV usage |
//! | [`queueing`] | the arrival rate at which a queue with a state-dependent server meets its targets |
//! | [`slo`] | the arrival rate at which a percentile of the requests meets the latency targets |

pub mod saturation;
mod balance;
mod memory;
mod reading;
pub mod tokens;
pub mod throughput;
pub mod queueing;
pub mod slo;

pub use balance::Balance;

use crate::forecast::Outlook;
use crate::id::{ModelId, Namespace};
use crate::observation::{Demand, VariantObservation};
use crate::policy::Policy;
use crate::slo::Slo;
use crate::units::Timestamp;

/// One model at one moment, as the analyzers see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The time.
    pub now: Timestamp,
    /// The namespace.
    pub namespace: &'a Namespace,
    /// The model.
    pub model: &'a ModelId,
    /// What its users are promised; `None` where nobody says.
    pub slo: Option<Slo>,
    /// What they ask for now.
    pub demand: &'a Demand,
    /// What they will ask for.
    pub outlook: &'a Outlook,
    /// Its variants, sorted by name, each once.
    pub variants: &'a [&'a VariantObservation],
    /// The policy in force.
    pub policy: &'a Policy,
}
