//! How many KV blocks a recorded server had, when its run does not say.

use super::model::architecture;
use crate::catalog::{Catalog, KvCacheDtype, Precision, blocks_that_fit};

/// The memory of GPUs that a process can see, in GiB, by the beginning of the device's name.
///
/// Source: what `cudaMemGetInfo` reports as the total, as logged by programs on these GPUs, and for
/// RTX 4090 a recorded run's own `meta.json`.
const MEMORY_GIB: [(&str, f64); 4] = [
    ("NVIDIA RTX PRO 6000 Blackwell", 94.97),
    ("NVIDIA GeForce RTX 4090", 23.52),
    ("NVIDIA H100 80GB HBM3", 79.19),
    ("NVIDIA L40S", 44.4),
];

/// A server, as far as its cache depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server<'a> {
    /// The device's name.
    pub(super) gpu: &'a str,
    /// The memory of one GPU in bytes, when the run says it.
    pub(super) memory_bytes: Option<u64>,
    /// The model.
    pub(super) model: &'a str,
    /// GPUs that share each layer.
    pub(super) tensor_parallel: u32,
    /// The share of a GPU's memory that the server takes.
    pub(super) utilization: f64,
    /// Tokens of a block.
    pub(super) block_size: u32,
}

impl Server<'_> {
    /// The blocks that fit beside 16-bit weights; `None` when the GPU or the model is not known, or
    /// not even one fits.
    pub(super) fn num_gpu_blocks(&self) -> Option<u32> {
        let known = || MEMORY_GIB.iter().find(|(name, _)| self.gpu.starts_with(name));
        let stated = self.memory_bytes.map(|bytes| bytes as f64 / f64::from(1 << 30));
        let memory_gib = stated.or_else(|| known().map(|(_, gib)| *gib))?;
        let architecture = architecture(&Catalog::builtin(), self.model)?;
        let weights = architecture.weight_bytes(Precision::Bf16) / f64::from(self.tensor_parallel);
        let elements = architecture.kv_elements_per_token(self.tensor_parallel);
        let token = elements * KvCacheDtype::Auto.bytes();
        let block = token as f64 * f64::from(self.block_size);
        blocks_that_fit(self.utilization * memory_gib, weights, block).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Server<'_> = Server {
        gpu: "NVIDIA GeForce RTX 4090",
        memory_bytes: None,
        model: "meta-llama/Llama-3.1-8B",
        tensor_parallel: 1,
        utilization: 0.9,
        block_size: 16,
    };

    /// The recorded run reports 2588.
    #[test]
    fn the_blocks_of_a_recorded_server_are_met_within_three_percent() {
        let blocks = SERVER.num_gpu_blocks().unwrap();
        assert!(blocks.abs_diff(2588) < 78, "{blocks}");
        let stated = Server { gpu: "?", memory_bytes: Some(25_250_627_584), ..SERVER };
        assert!(stated.num_gpu_blocks().unwrap().abs_diff(blocks) < 4);
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_has_no_count() {
        assert_eq!(Server { gpu: "GPU 1", ..SERVER }.num_gpu_blocks(), None);
        assert_eq!(Server { model: "acme/Own-1B", ..SERVER }.num_gpu_blocks(), None);
        assert_eq!(Server { model: "Qwen/Qwen3-32B", ..SERVER }.num_gpu_blocks(), None);
    }
}
