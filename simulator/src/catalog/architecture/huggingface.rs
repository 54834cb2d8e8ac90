//! From a Hugging Face `config.json` to an architecture.
//!
//! The file has no one schema: each family of models names its fields a little differently, and
//! most fields are of no interest here. So unknown fields are passed over, and what is needed and
//! not there is named, all at once. Models with a part for text and others for images keep the
//! former in `text_config`.

use serde_json::Value;

use super::{Architecture, AttentionShape, ExpertShape, GroupedAttention, LatentAttention, Window};
use crate::catalog::Model;
use crate::document::{Document, FieldPath, Problem, Problems};

impl Model {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// Every field that is needed and not there, and every field that does not fit.
    pub fn from_config(document: &Document) -> Result<Self, Problems> {
        let mut config = Config::new(document);
        let architecture = config.architecture();
        let max_model_len = config.count(&["max_position_embeddings"]);
        if config.problems.is_empty()
            && let Some((name, message)) = architecture.misfit()
        {
            let message = format!("no model has such a shape: {name}: {message}");
            config.problems.push(document.problem(&config.at, message));
        }
        Problems::reject(config.problems)?;
        Ok(Self { max_model_len, aliases: Vec::new(), architecture: Some(architecture) })
    }
}

/// Where files of models with several parts keep that for text.
const NESTED: &str = "text_config";

/// A file that is being read. A field that is not there reads as 1, and is noted.
struct Config<'a> {
    document: &'a Document,
    /// Where the fields of the text model are.
    at: FieldPath,
    /// These fields.
    fields: &'a Value,
    problems: Vec<Problem>,
}

impl<'a> Config<'a> {
    fn new(document: &'a Document) -> Self {
        let root = (FieldPath::root(), document.tree());
        let nested = root.1.get(NESTED).filter(|fields| fields.is_object());
        let (at, fields) = nested.map_or(root, |fields| (FieldPath::root().key(NESTED), fields));
        Self { document, at, fields, problems: Vec::new() }
    }

    fn architecture(&mut self) -> Architecture {
        let layers = self.count(&["num_hidden_layers", "n_layer"]);
        let hidden = self.count(&["hidden_size", "n_embd"]);
        let family = self.family();
        let window = self.window(layers, &family);
        let experts = self.experts(layers, &family);
        // Experts in every layer leave nothing for a plain feed-forward part to be.
        let plain = experts.is_none_or(|experts| experts.layers < layers);
        let widths: &[&str] = match &*family {
            "llama4_text" => &["intermediate_size_mlp"],
            _ => &["intermediate_size", "ffn_hidden_size"],
        };
        Architecture {
            layers,
            hidden,
            vocabulary: self.count(&["vocab_size"]),
            tied_embeddings: self.flag("tie_word_embeddings").unwrap_or_else(|| {
                // Files leave out what is their family's default.
                family.starts_with("gemma")
            }),
            attention: self.attention(hidden),
            window,
            intermediate: if plain { self.count(widths) } else { 0 },
            experts,
        }
    }

    fn attention(&mut self, hidden: u32) -> AttentionShape {
        let heads = self.count(&["num_attention_heads", "n_head"]);
        if let Some(kv_lora_rank) = self.find("kv_lora_rank") {
            return AttentionShape::Latent(LatentAttention {
                heads,
                q_lora_rank: self.find("q_lora_rank"),
                kv_lora_rank,
                qk_nope_head_dim: self.count(&["qk_nope_head_dim"]),
                qk_rope_head_dim: self.count(&["qk_rope_head_dim"]),
                v_head_dim: self.count(&["v_head_dim"]),
            });
        }
        let kv_heads = self.find("num_key_value_heads").unwrap_or(heads);
        let head_dim = self.find("head_dim").unwrap_or_else(|| {
            // The quotient means something only if both numbers are known.
            let whole = hidden.is_multiple_of(heads) || !self.problems.is_empty();
            if !whole {
                let message = format!(
                    "expected a field head_dim, because {hidden} does not divide by {heads} heads"
                );
                self.problems.push(self.document.problem(&self.at, message));
            }
            (hidden / heads.max(1)).max(1)
        });
        AttentionShape::Grouped(GroupedAttention { heads, kv_heads, head_dim })
    }

    /// The layers with a window: listed one by one, all but every so many, or all.
    fn window(&mut self, layers: u32, family: &str) -> Option<Window> {
        let chunked = family == "llama4_text";
        let size = if chunked { "attention_chunk_size" } else { "sliding_window" };
        let tokens = self.find(size)?;
        if self.flag("use_sliding_window") == Some(false) {
            return None;
        }
        let listed = self.value("layer_types").and_then(Value::as_array).map(|kinds| {
            let full = kinds.iter().filter(|kind| *kind == "full_attention").count();
            kinds.len() - full
        });
        let period = self.find("sliding_window_pattern").or(match family {
            "llama4_text" => Some(4),
            "gemma3_text" => Some(6),
            "gemma2" | "gpt_oss" => Some(2),
            _ => None,
        });
        let layers = match (listed.and_then(|count| u32::try_from(count).ok()), period) {
            (Some(count), _) => count,
            (None, Some(period)) => layers - layers / period.max(1),
            (None, None) => layers,
        };
        Some(Window { tokens, layers }).filter(|window| window.layers > 0)
    }

    fn experts(&mut self, layers: u32, family: &str) -> Option<ExpertShape> {
        let counts = ["num_local_experts", "n_routed_experts", "num_experts"];
        let count = counts.iter().find_map(|name| self.find(name)).filter(|&count| count > 1)?;
        let active = self.count(&["num_experts_per_tok", "experts_per_token"]);
        let intermediate = self.count(&["moe_intermediate_size", "intermediate_size"]);
        let shared_intermediate = match family {
            "llama4_text" => intermediate,
            _ => self.find("shared_expert_intermediate_size").unwrap_or_else(|| {
                self.find("n_shared_experts").unwrap_or(0).saturating_mul(intermediate)
            }),
        };
        let plain = self.find("first_k_dense_replace").unwrap_or(0);
        let steps = ["interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq"];
        let step = steps.iter().find_map(|name| self.find(name)).unwrap_or(1).max(1);
        let layers = layers.saturating_sub(plain) / step;
        Some(ExpertShape { layers, count, active, intermediate, shared_intermediate })
    }

    /// The family of the text model, as the file calls it.
    fn family(&self) -> String {
        self.value("model_type").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The first of these fields that is there; they are names of one thing.
    fn count(&mut self, names: &[&str]) -> u32 {
        if let Some(count) = names.iter().find_map(|name| self.find(name)) {
            return count;
        }
        let known = self
            .problems
            .iter()
            .any(|problem| names.iter().any(|name| problem.path == self.at.key(*name)));
        if !known {
            let at = self.at.key(names[0]);
            let problem = self.document.problem(&at, "expected this field, which is needed");
            self.problems.push(problem);
        }
        1
    }

    /// The number in a field, if the field is there; one that is no count is noted.
    fn find(&mut self, name: &str) -> Option<u32> {
        let value = self.value(name).filter(|value| !value.is_null())?;
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        if count.is_none() {
            let at = self.at.key(name);
            self.problems.push(self.document.problem(&at, "expected a whole number"));
        }
        count
    }

    /// Whether a field says so; some files keep it beside the text model.
    fn flag(&self, name: &str) -> Option<bool> {
        let outer = || self.document.tree().get(name);
        self.value(name).or_else(outer).and_then(Value::as_bool)
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name)
    }
}
