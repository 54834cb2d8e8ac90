//! One replica.

use optimizer::units::Timestamp;

use crate::engine::step_time::Plant;
use crate::engine::{DataParallel, Engine};
use crate::kernel::EventKey;
use crate::setup::VariantSetup;

/// Where a replica stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Created; the image is pulled, the weights are loaded, the graphs are captured.
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
    /// When it was created.
    pub created: Timestamp,
    /// Its engines.
    pub engine: DataParallel<Engine<Plant>>,
    /// When it has something to tell.
    pub event: Option<EventKey>,
    /// The end of its cold start or of its drain timeout.
    pub deadline: Option<EventKey>,
}

impl Replica {
    pub(super) fn new(variant: usize, setup: &VariantSetup, now: Timestamp) -> Self {
        let engine = || Engine::new(setup.engine, setup.plant.clone());
        let ranks = (0..setup.data_parallel).map(|_| engine()).collect();
        Self {
            variant,
            state: State::Starting,
            created: now,
            engine: DataParallel::new(ranks),
            event: None,
            deadline: None,
        }
    }
}
