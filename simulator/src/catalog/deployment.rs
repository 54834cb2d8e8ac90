//! A model on the GPUs of one replica.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Architecture, DataSheet, Precision};

/// A model, divided among the GPUs of one replica by tensor parallelism.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// The model.
    pub architecture: &'a Architecture,
    /// The kind of GPU.
    pub gpu: &'a DataSheet,
    /// GPUs of the replica, at least 1.
    pub tensor_parallel: u32,
    /// The number format of the weights.
    pub precision: Precision,
    /// The number format of the KV cache.
    pub kv_cache_dtype: KvCacheDtype,
}

/// The number format of a KV cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KvCacheDtype {
    /// 16 bits, in any precision of the weights.
    #[default]
    Auto,
    /// 8 bits, floating point.
    Fp8,
}

impl KvCacheDtype {
    /// The name, as in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp8 => "fp8",
        }
    }

    /// Bytes of a number.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Auto => 2,
            Self::Fp8 => 1,
        }
    }
}

impl Deployment<'_> {
    /// Bytes of weights on one GPU: an equal part of all of them.
    #[must_use]
    pub fn weight_bytes_per_gpu(&self) -> f64 {
        self.architecture.weight_bytes(self.precision) / self.shares()
    }

    /// Bytes that the KV cache of one GPU keeps for one token.
    #[must_use]
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.architecture.kv_elements_per_token(self.tensor_parallel) * self.kv_cache_dtype.bytes()
    }

    pub(super) fn shares(&self) -> f64 {
        f64::from(self.tensor_parallel)
    }
}
