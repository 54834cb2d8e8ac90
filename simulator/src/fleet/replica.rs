//! One replica.

use optimizer::units::{Seconds, Timestamp};

use crate::engine::step_time::Plant;
use crate::engine::{DataParallel, Engine};
use crate::kernel::EventKey;
use crate::setup::VariantSetup;

/// Where a replica stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Created; waits for GPUs.
    Pending,
    /// On its GPUs; the image is pulled, the weights are loaded, the graphs are captured.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes no new requests, finishes those it has.
    Draining,
    /// Holds nothing any more.
    Gone,
}

/// A model server and what is scheduled for it.
#[derive(Debug)]
pub struct Replica {
    /// Its variant.
    pub variant: usize,
    /// Where it stands.
    pub state: State,
    /// When it got its GPUs.
    pub placed: Option<Timestamp>,
    /// Its engines.
    pub engine: DataParallel<Engine<Plant>>,
    /// When it has something to tell.
    pub event: Option<EventKey>,
    /// The end of its cold start or of its drain timeout.
    pub deadline: Option<EventKey>,
}

impl Replica {
    pub(super) fn new(variant: usize, setup: &VariantSetup) -> Self {
        let engine = || Engine::new(setup.engine, setup.plant.clone());
        let ranks = (0..setup.data_parallel).map(|_| engine()).collect();
        Self {
            variant,
            state: State::Pending,
            placed: None,
            engine: DataParallel::new(ranks),
            event: None,
            deadline: None,
        }
    }

    /// For how long it has held its GPUs.
    pub(super) fn held(&self, now: Timestamp) -> Seconds {
        self.placed.map_or(Seconds::ZERO, |placed| now.since(placed))
    }
}
