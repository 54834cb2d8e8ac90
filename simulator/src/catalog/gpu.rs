//! Kinds of GPU.

use optimizer::units::HourlyCost;
use schemars::JsonSchema;
use serde::Deserialize;

/// What is known of a kind of GPU.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Gpu {
    /// The price of one GPU, in currency units per hour.
    pub price_per_hour: HourlyCost,
    /// What the engine argument `maxNumBatchedTokens` is when it is not given.
    pub max_num_batched_tokens: u32,
    /// What the engine argument `maxNumSeqs` is when it is not given.
    pub max_num_seqs: u32,
    /// What its maker says of it. Needed for estimates, not for profiles.
    #[serde(default)]
    pub data_sheet: Option<DataSheet>,
}

/// What bounds the speed of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataSheet {
    /// The memory that a process can see, in GiB: a little less than is sold.
    pub memory_gib: f64,
    /// The bandwidth of the memory, in 10⁹ bytes per second.
    pub memory_gb_per_s: f64,
    /// Dense multiplications and additions of 16-bit numbers, in 10¹² per second.
    pub bf16_tflops: f64,
    /// The same of 8-bit floating-point numbers; left out if the GPU has no unit for them.
    #[serde(default)]
    pub fp8_tflops: Option<f64>,
    /// The way to the other GPUs of its server.
    pub link: Link,
}

impl DataSheet {
    /// The name of a number that is not above zero.
    pub(super) fn misfit(&self) -> Option<&'static str> {
        let numbers = [
            ("memoryGib", self.memory_gib),
            ("memoryGbPerS", self.memory_gb_per_s),
            ("bf16Tflops", self.bf16_tflops),
            ("fp8Tflops", self.fp8_tflops.unwrap_or(1.0)),
            ("link.gbPerS", self.link.gb_per_s),
        ];
        numbers.into_iter().find(|&(_, number)| number <= 0.0).map(|(name, _)| name)
    }
}

/// How GPUs reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Link {
    /// Its kind.
    pub kind: LinkKind,
    /// What one GPU can send, in 10⁹ bytes per second. Data sheets often add what it can receive.
    pub gb_per_s: f64,
}

/// Kinds of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LinkKind {
    /// From GPU to GPU: NVLink, Infinity Fabric.
    Direct,
    /// Through the host, which several GPUs share.
    Pcie,
}
