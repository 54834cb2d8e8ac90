//! A plant and what launching a prompt takes.

use super::{Batch, DecodeLaw, Plant, StepTime, Ticks};

/// A plant with a time on top for each step that has a prompt in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The times without it.
    pub plant: Plant,
    /// What a step with a prompt takes more.
    pub launches: Ticks,
}

impl StepTime for Served {
    fn step_time(&self, batch: &Batch) -> Ticks {
        let launches = if batch.prefill_tokens > 0 { self.launches } else { Ticks::ZERO };
        self.plant.step_time(batch) + launches
    }

    /// Steps that only decode have nothing on top.
    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        self.plant.decode_law(batch)
    }
}
