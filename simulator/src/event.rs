//! What can happen in the simulated world.

use optimizer::units::Replicas;

use crate::fleet::ReplicaIdx;
use crate::kernel;

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A replica has something to tell: a first token, a finish.
    Serves(ReplicaIdx),
    /// A replica has loaded its model.
    ReplicaStarts(ReplicaIdx),
    /// A draining replica has had its time.
    DrainExpires(ReplicaIdx),
    /// The next request of a model arrives.
    Arrives {
        /// The model, by position.
        model: usize,
    },
    /// Prometheus scrapes the replicas.
    Scrape,
    /// The controller takes a step.
    Control,
    /// The cluster acts on a decision: one count for each variant, by position.
    Actuate(Vec<Replicas>),
    /// An autoscaler of the cluster looks at what was decided.
    Autoscale,
    /// The recorded series take a sample.
    Sample,
    /// The run ends, whatever is still in flight.
    End,
}

impl kernel::Event for Event {
    /// At one instant, work that is done frees its place before new work asks for one; whoever
    /// looks sees the state after both; and what was seen is acted on last.
    fn rank(&self) -> u8 {
        match self {
            Self::Serves(_) => 0,
            Self::ReplicaStarts(_) => 1,
            Self::DrainExpires(_) => 2,
            Self::Arrives { .. } => 3,
            Self::Scrape => 4,
            Self::Control => 5,
            Self::Actuate(_) => 6,
            Self::Autoscale => 7,
            Self::Sample => 8,
            Self::End => 9,
        }
    }
}
