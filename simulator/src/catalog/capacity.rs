//! How many KV blocks fit beside the weights.
//!
//! ```text
//! cache = 0.9 · memory − weights − 1.30 GiB        on each GPU
//! blocks = ⌊cache / (tokens of a block · bytes of a token)⌋
//! ```
//!
//! 0.9 was long vLLM's `gpu_memory_utilization`. The 1.30 GiB are activations, CUDA graphs and what
//! else a server keeps: the mean of what block counts imply that vLLM reported on H100 for dense
//! models (from 0.42 to 1.49). A test holds the formula against them; it is within 1.5 %. What it
//! leaves out: activations grow with the token budget, encoders of images take memory, and models
//! with experts need more room. Llama 4 Scout has both, and its count comes out half too high.

use thiserror::Error;

use super::Deployment;

/// The share of a GPU's memory that a server takes.
const UTILIZATION: f64 = 0.9;

/// What a server keeps beside weights and cache.
const OVERHEAD_GIB: f64 = 1.30;

const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;

impl Deployment<'_> {
    /// The KV blocks of `block_size` tokens that fit.
    ///
    /// # Errors
    ///
    /// When the weights leave no room for a block.
    pub fn num_gpu_blocks(&self, block_size: u32) -> Result<u32, CapacityError> {
        let block = self.kv_bytes_per_token() as f64 * f64::from(block_size);
        blocks_that_fit(UTILIZATION * self.gpu.memory_gib, self.weight_bytes_per_gpu(), block)
    }
}

/// The KV blocks of `block` bytes that fit beside `weights` bytes, both on one GPU, of which a
/// server takes `memory_gib`.
///
/// # Errors
///
/// When the weights leave no room for a block.
pub(crate) fn blocks_that_fit(
    memory_gib: f64,
    weights: f64,
    block: f64,
) -> Result<u32, CapacityError> {
    let weights_gib = weights / BYTES_PER_GIB;
    let cache = (memory_gib - weights_gib - OVERHEAD_GIB) * BYTES_PER_GIB;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    match (cache / block) as u32 {
        0 => Err(CapacityError { weights_gib, memory_gib }),
        blocks => Ok(blocks),
    }
}

/// A model that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error(
    "the weights take {weights_gib:.1} GiB of each GPU, and with {OVERHEAD_GIB} GiB for activations \
     they leave no room for a KV cache in the {memory_gib:.1} GiB that vLLM uses"
)]
pub struct CapacityError {
    /// The weights on one GPU.
    pub weights_gib: f64,
    /// The memory of a GPU that a server takes.
    pub memory_gib: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, KvCacheDtype, PROFILE_BLOCK_SIZE, Precision};

    fn deployment<'a>(
        catalog: &'a Catalog,
        model: &str,
        gpu: &str,
        tensor_parallel: u32,
        precision: Precision,
    ) -> Deployment<'a> {
        Deployment {
            architecture: catalog.model(model).unwrap().1.architecture.as_ref().unwrap(),
            gpu: catalog.gpu(&gpu.parse().unwrap()).unwrap().data_sheet.as_ref().unwrap(),
            tensor_parallel,
            precision,
            kv_cache_dtype: KvCacheDtype::Auto,
        }
    }

    /// The profiles' counts come from the same formula with weights that someone else counted.
    #[test]
    fn the_formula_gives_the_blocks_of_every_profile() {
        let catalog = Catalog::builtin();
        for profile in &catalog.profiles {
            let gpu = profile.gpu.as_str();
            let deployment = deployment(
                &catalog,
                &profile.model,
                gpu,
                profile.tensor_parallel,
                profile.precision,
            );
            let blocks = f64::from(deployment.num_gpu_blocks(PROFILE_BLOCK_SIZE).unwrap());
            let error = blocks / f64::from(profile.num_gpu_blocks) - 1.0;
            assert!(error.abs() < 0.003, "{profile}: {blocks}, {:.2} % off", 100.0 * error);
        }
    }

    /// Block counts that vLLM reported on H100 with `gpu_memory_utilization` at 0.9, as recorded
    /// beside the experiments of inference-sim (`trained_physics_iter29.json`).
    #[test]
    fn the_formula_comes_near_the_blocks_that_servers_reported() {
        let catalog = Catalog::builtin();
        let (bf16, fp8) = (Precision::Bf16, Precision::Fp8);
        let check = |model, tensor_parallel, precision, reported: u32, percent: f64| {
            let deployment = deployment(&catalog, model, "H100", tensor_parallel, precision);
            let blocks = f64::from(deployment.num_gpu_blocks(PROFILE_BLOCK_SIZE).unwrap());
            let error = 100.0 * (blocks / f64::from(reported) - 1.0);
            assert!((error - percent).abs() < 0.1, "{model}: {blocks} is {error:.2} % off");
        };
        check("llama-2-7b", 1, bf16, 7_463, -1.5);
        check("llama-3.1-70b", 4, bf16, 30_251, 0.5);
        check("llama-3.1-70b", 4, bf16, 30_425, -0.1);
        check("mistral-nemo-12b", 1, bf16, 19_251, 0.3);
        check("mistral-nemo-12b", 2, bf16, 48_009, -0.1);
        check("qwen2.5-7b", 1, bf16, 65_352, -0.1);
        check("llama-4-scout", 2, fp8, 8_253, 55.7);
    }

    #[test]
    fn a_block_of_twice_the_tokens_or_bytes_halves_the_count() {
        let catalog = Catalog::builtin();
        let llama = deployment(&catalog, "llama-3.1-8b", "L40S", 1, Precision::Bf16);
        let blocks = llama.num_gpu_blocks(16).unwrap();
        assert_eq!(llama.num_gpu_blocks(32).unwrap(), blocks / 2);
        let narrow = Deployment { kv_cache_dtype: KvCacheDtype::Fp8, ..llama };
        assert_eq!(narrow.num_gpu_blocks(32).unwrap(), blocks);
    }

    #[test]
    fn a_model_that_does_not_fit_says_how_much_it_would_take() {
        let catalog = Catalog::builtin();
        let llama = deployment(&catalog, "llama-3.1-70b", "H100", 1, Precision::Bf16);
        insta::assert_snapshot!(
            llama.num_gpu_blocks(16).unwrap_err(),
            @"the weights take 131.4 GiB of each GPU, and with 1.3 GiB for activations they leave no room for a KV cache in the 71.3 GiB that vLLM uses"
        );
    }
}
