//! What a model is made of, as far as memory and time depend on it.
//!
//! Counted are the matrices. Norms, biases and routers' corrections are vectors, less than a
//! thousandth of a model, and encoders of images and sound serve no text; all of these are left
//! out. Tests hold the counts against the published totals.
//!
//! [`huggingface`] reads one from a `config.json`.

mod huggingface;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Precision;

/// The shape of a decoder-only transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Architecture {
    /// Layers, each of an attention and a feed-forward part.
    pub layers: u32,
    /// Numbers that stand for a token between layers.
    pub hidden: u32,
    /// Tokens that the model knows.
    pub vocabulary: u32,
    /// Whether the output head is the embedding, stored once.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// How tokens attend to each other.
    pub attention: AttentionShape,
    /// Layers that see a window of the context only; the others see all of it.
    #[serde(default)]
    pub window: Option<Window>,
    /// The inner width of the feed-forward part, in layers without experts.
    #[serde(default)]
    pub intermediate: u32,
    /// The feed-forward part of layers with experts.
    #[serde(default)]
    pub experts: Option<ExpertShape>,
}

/// The heads of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AttentionShape {
    /// Heads in groups that share keys and values: as many groups as heads in the original
    /// transformer, fewer in most models of today.
    Grouped(GroupedAttention),
    /// Keys and values are kept as one short vector for all heads (MLA).
    Latent(LatentAttention),
}

/// Attention with keys and values for each group of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupedAttention {
    /// Query heads.
    pub heads: u32,
    /// Heads of keys and values.
    pub kv_heads: u32,
    /// The width of a head. It need not be the model's width over the number of heads.
    pub head_dim: u32,
}

/// Multi-head latent attention. Source: DeepSeek-V2, arXiv 2405.04434, section 2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LatentAttention {
    /// Query heads.
    pub heads: u32,
    /// The width to which queries are compressed; `None` if they are not.
    #[serde(default)]
    pub q_lora_rank: Option<u32>,
    /// The width of the vector that keys and values are computed from.
    pub kv_lora_rank: u32,
    /// The part of a head's query and key without position.
    pub qk_nope_head_dim: u32,
    /// The part with position, whose key all heads share.
    pub qk_rope_head_dim: u32,
    /// The width of a head's value.
    pub v_head_dim: u32,
}

/// Layers that do not see the whole context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Window {
    /// The tokens that they see.
    pub tokens: u32,
    /// How many layers these are.
    pub layers: u32,
}

/// A feed-forward part of which each token meets some experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExpertShape {
    /// Layers that have experts; the others are as `intermediate` says.
    pub layers: u32,
    /// Experts of a layer.
    pub count: u32,
    /// Those that a token is sent to.
    pub active: u32,
    /// The inner width of an expert.
    pub intermediate: u32,
    /// The inner width of what every token meets beside them.
    #[serde(default)]
    pub shared_intermediate: u32,
}

impl Architecture {
    /// Parameters in all.
    #[must_use]
    pub fn parameters(&self) -> u128 {
        let stored = if self.tied_embeddings { 1 } else { 2 };
        stored * self.embedding_parameters() + self.dense_parameters() + self.expert_parameters()
    }

    /// Parameters that one token meets: all but the experts that it is not sent to.
    #[must_use]
    pub fn active_parameters(&self) -> u128 {
        let idle = self.experts.map_or(0, |experts| experts.count - experts.active);
        self.parameters() - u128::from(idle) * self.parameters_of_an_expert()
    }

    /// Parameters of the embedding, and as many of the output head.
    #[must_use]
    pub fn embedding_parameters(&self) -> u128 {
        u128::from(self.vocabulary) * u128::from(self.hidden)
    }

    /// Parameters of the layers that every token meets.
    #[must_use]
    pub fn dense_parameters(&self) -> u128 {
        let gated = |width: u32| GATED * u128::from(self.hidden) * u128::from(width);
        let shared = self.experts.map_or(0, |experts| {
            let router = u128::from(self.hidden) * u128::from(experts.count);
            u128::from(experts.layers) * (gated(experts.shared_intermediate) + router)
        });
        let with_experts = self.experts.map_or(0, |experts| experts.layers);
        let plain = u128::from(self.layers.saturating_sub(with_experts));
        u128::from(self.layers) * self.attention.parameters(self.hidden)
            + plain * gated(self.intermediate)
            + shared
    }

    /// Parameters of one expert of each layer that has some.
    #[must_use]
    pub fn parameters_of_an_expert(&self) -> u128 {
        self.experts.map_or(0, |experts| {
            let matrix = u128::from(self.hidden) * u128::from(experts.intermediate);
            u128::from(experts.layers) * GATED * matrix
        })
    }

    fn expert_parameters(&self) -> u128 {
        self.experts.map_or(0, |experts| u128::from(experts.count)) * self.parameters_of_an_expert()
    }

    /// Bytes of the weights, over all GPUs. Embedding and head stay at 16 bits in any precision.
    #[must_use]
    pub fn weight_bytes(&self, precision: Precision) -> f64 {
        let layers = self.dense_parameters() as f64 * precision.bytes_per_parameter()
            + self.expert_parameters() as f64 * precision.bytes_per_expert_parameter();
        let stored = if self.tied_embeddings { 1.0 } else { 2.0 };
        layers + stored * self.embedding_parameters() as f64 * Precision::Bf16.bytes_per_parameter()
    }

    /// Numbers that the KV cache of one GPU keeps for one token, of all layers. Heads are divided
    /// among GPUs down to one each; a latent vector belongs to all heads and is not divided.
    ///
    /// Layers with a window are counted in full, as an engine without a cache of its own for them
    /// would keep them.
    #[must_use]
    pub fn kv_elements_per_token(&self, tensor_parallel: u32) -> u64 {
        u64::from(self.layers) * self.attention.kv_elements(tensor_parallel)
    }

    /// The layers that see all of the context.
    #[must_use]
    pub fn full_layers(&self) -> u32 {
        self.layers.saturating_sub(self.window.map_or(0, |window| window.layers))
    }

    /// What keeps the model from being divided among so many GPUs.
    ///
    /// # Errors
    ///
    /// The rules are vLLM's: the query heads must divide evenly, and the heads of keys and values
    /// must divide evenly or be repeated evenly.
    pub fn check_division(&self, tensor_parallel: u32) -> Result<(), String> {
        let (heads, kv_heads) = match self.attention {
            AttentionShape::Grouped(grouped) => (grouped.heads, Some(grouped.kv_heads)),
            AttentionShape::Latent(latent) => (latent.heads, None),
        };
        let even =
            |kv: u32| kv.is_multiple_of(tensor_parallel) || tensor_parallel.is_multiple_of(kv);
        if !heads.is_multiple_of(tensor_parallel) {
            return Err(format!("expected a divisor of the model's {heads} attention heads"));
        }
        match kv_heads {
            Some(kv) if !even(kv) => {
                Err(format!("expected a divisor or a multiple of the model's {kv} KV heads"))
            }
            _ => Ok(()),
        }
    }

    /// The first of the shape's numbers that cannot be, and what it should be.
    pub(super) fn misfit(&self) -> Option<(&'static str, String)> {
        let too_small = |&&(_, count): &&(&str, u32)| count == 0;
        let too_large = |&&(_, count): &&(&str, u32)| count > MOST;
        let (needed, optional) = (self.needed_counts(), self.optional_counts());
        if let Some(&(name, _)) = needed.iter().find(too_small) {
            return Some((name, "expected at least 1".to_owned()));
        }
        if let Some(&(name, _)) = needed.iter().chain(&optional).find(too_large) {
            return Some((name, format!("expected at most {MOST}")));
        }
        let window = self.window.map(|window| ("window.layers", window.layers, self.layers));
        let experts = self.experts.map(|experts| {
            [
                ("experts.layers", experts.layers, self.layers),
                ("experts.active", experts.active, experts.count),
            ]
        });
        let mut parts = window.into_iter().chain(experts.into_iter().flatten());
        let (name, _, whole) = parts.find(|&(_, part, whole)| part > whole)?;
        Some((name, format!("expected at most {whole}")))
    }

    /// The numbers that are at least 1, by their names.
    fn needed_counts(&self) -> Vec<(&'static str, u32)> {
        let mut counts =
            vec![("layers", self.layers), ("hidden", self.hidden), ("vocabulary", self.vocabulary)];
        match self.attention {
            AttentionShape::Grouped(grouped) => counts.extend([
                ("attention.grouped.heads", grouped.heads),
                ("attention.grouped.kvHeads", grouped.kv_heads),
                ("attention.grouped.headDim", grouped.head_dim),
            ]),
            AttentionShape::Latent(latent) => counts.extend([
                ("attention.latent.heads", latent.heads),
                ("attention.latent.qLoraRank", latent.q_lora_rank.unwrap_or(1)),
                ("attention.latent.kvLoraRank", latent.kv_lora_rank),
                ("attention.latent.qkNopeHeadDim", latent.qk_nope_head_dim),
                ("attention.latent.qkRopeHeadDim", latent.qk_rope_head_dim),
                ("attention.latent.vHeadDim", latent.v_head_dim),
            ]),
        }
        counts.extend(self.window.map(|window| ("window.tokens", window.tokens)));
        match self.experts {
            Some(experts) => counts.extend([
                ("experts.count", experts.count),
                ("experts.active", experts.active),
                ("experts.intermediate", experts.intermediate),
            ]),
            None => counts.push(("intermediate", self.intermediate)),
        }
        counts
    }

    /// The numbers that may be 0, by their names.
    fn optional_counts(&self) -> Vec<(&'static str, u32)> {
        let shared = self.experts.map(|experts| experts.shared_intermediate);
        vec![
            ("intermediate", self.intermediate),
            ("experts.sharedIntermediate", shared.unwrap_or(0)),
        ]
    }
}

/// No number of a shape is above this, so no product of them overflows. The largest of today's is a
/// quarter of it.
const MOST: u32 = 1 << 20;

/// The matrices of a gated feed-forward part: gate, up and down.
const GATED: u128 = 3;

impl AttentionShape {
    /// Parameters of one layer.
    fn parameters(&self, hidden: u32) -> u128 {
        let hidden = u128::from(hidden);
        match *self {
            Self::Grouped(GroupedAttention { heads, kv_heads, head_dim }) => {
                let heads = 2 * u128::from(heads) + 2 * u128::from(kv_heads);
                hidden * heads * u128::from(head_dim)
            }
            Self::Latent(latent) => {
                let heads = u128::from(latent.heads);
                let [nope, rope, value] =
                    [latent.qk_nope_head_dim, latent.qk_rope_head_dim, latent.v_head_dim]
                        .map(u128::from);
                let rank = u128::from(latent.kv_lora_rank);
                let query = heads * (nope + rope);
                let queries = latent
                    .q_lora_rank
                    .map_or(hidden * query, |rank| u128::from(rank) * (hidden + query));
                queries
                    + hidden * (rank + rope)
                    + rank * heads * (nope + value)
                    + heads * value * hidden
            }
        }
    }

    /// Numbers kept for one token by one of so many GPUs.
    pub(super) fn kv_elements(&self, tensor_parallel: u32) -> u64 {
        match *self {
            Self::Grouped(GroupedAttention { kv_heads, head_dim, .. }) => {
                2 * u64::from(kv_heads.div_ceil(tensor_parallel)) * u64::from(head_dim)
            }
            Self::Latent(latent) => {
                u64::from(latent.kv_lora_rank) + u64::from(latent.qk_rope_head_dim)
            }
        }
    }

    /// Multiplications for a decoding token and one token that it sees, of all heads. A latent
    /// vector is used as it is kept: as the key in full, and as the value without the position.
    pub(super) fn decode_products(&self) -> u64 {
        match *self {
            Self::Grouped(grouped) => 2 * u64::from(grouped.heads) * u64::from(grouped.head_dim),
            Self::Latent(latent) => {
                let kept = 2 * latent.kv_lora_rank + latent.qk_rope_head_dim;
                u64::from(latent.heads) * u64::from(kept)
            }
        }
    }

    /// Multiplications for a prompt's token and one token that it sees, of all heads. Here a latent
    /// vector is expanded to the keys and values of each head first.
    pub(super) fn prefill_products(&self) -> u64 {
        match *self {
            Self::Grouped(_) => self.decode_products(),
            Self::Latent(latent) => {
                let head = latent.qk_nope_head_dim + latent.qk_rope_head_dim + latent.v_head_dim;
                u64::from(latent.heads) * u64::from(head)
            }
        }
    }
}

#[cfg(test)]
mod tests;
