//! Which replica gets a request.

use super::{Fleet, ReplicaIdx};
use crate::engine::ModelServer;

impl Fleet {
    /// The ready replica of a model with the fewest requests in flight, over all its variants; of
    /// equals the oldest. `None` when no replica of the model is ready.
    ///
    /// A count of requests says nothing of a replica's speed: a fast variant is not preferred until
    /// it has the shorter queue, which is what a plain least-request load balancer does.
    #[must_use]
    pub fn least_loaded(&self, model: usize) -> Option<ReplicaIdx> {
        let variants = (0..self.variants.len()).filter(|&v| self.variants[v].setup.model == model);
        let ready = variants.flat_map(|variant| self.ready(variant));
        ready.min_by_key(|&(idx, replica)| (replica.engine.load(), idx)).map(|(idx, _)| idx)
    }
}
