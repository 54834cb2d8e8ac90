//! What has to be known of a model to put a step together from the layers of one block.

use std::path::Path;

use serde::Deserialize;

use super::recording::{RunError, json, text};

/// The structure of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Structure {
    /// Transformer blocks.
    pub(super) num_layers: u32,
    /// Experts of a block, and how many of them a token activates.
    pub(super) experts: Option<(u32, u32)>,
}

/// The beginning of a name, blocks and experts.
type Known = (&'static str, u32, Option<(u32, u32)>);

/// Models whose runs need no `config.json`.
///
/// Source: `num_hidden_layers`, `num_experts` (`num_local_experts`) and `num_experts_per_tok` of
/// each model's `config.json`. Of two that fit, the first holds.
const KNOWN: [Known; 11] = [
    ("llama-2-7b", 32, None),
    ("llama-2-70b", 80, None),
    ("llama-3.1-8b", 32, None),
    ("llama-3.1-70b", 80, None),
    ("llama-3.3-70b", 80, None),
    ("codellama-34b", 48, None),
    ("mixtral-8x7b", 32, Some((8, 2))),
    ("qwen3-30b-a3b", 48, Some((128, 8))),
    ("qwen3-8b", 36, None),
    ("qwen3-14b", 40, None),
    ("qwen3-32b", 64, None),
];

/// The parts of a Hugging Face `config.json` that tell the structure.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(rename = "num_hidden_layers")]
    layers: u32,
    #[serde(rename = "num_experts", alias = "num_local_experts")]
    experts: Option<u32>,
    #[serde(rename = "num_experts_per_tok")]
    experts_per_token: Option<u32>,
}

impl Structure {
    /// From `config.json` in the folder of the run, or else by the model's name.
    pub(super) fn of(model: &str, folder: &Path) -> Result<Self, RunError> {
        let path = folder.join("config.json");
        if path.exists() {
            let config: Config = json(&path, &text(&path)?, 1)?;
            let experts = config.experts.zip(config.experts_per_token);
            return Ok(Self { num_layers: config.layers, experts });
        }
        Self::known(model).ok_or_else(|| RunError::UnknownModel(model.to_owned()))
    }

    fn known(model: &str) -> Option<Self> {
        let name = model.rsplit('/').next().unwrap_or(model).to_lowercase();
        let found = KNOWN.iter().find(|(known, ..)| name.starts_with(known));
        found.map(|&(_, num_layers, experts)| Self { num_layers, experts })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_config_file_comes_before_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let of = |model: &str| Structure::of(model, folder.path()).map_err(|e| e.to_string());
        let dense = |num_layers| Structure { num_layers, experts: None };
        assert_eq!(of("meta-llama/Llama-3.1-8B"), Ok(dense(32)));
        let experts = Structure { num_layers: 48, experts: Some((128, 8)) };
        assert_eq!(of("Qwen/Qwen3-30B-A3B-Instruct-2507"), Ok(experts));
        assert!(of("acme/Own-1B").unwrap_err().contains("acme/Own-1B"));

        fs::write(folder.path().join("config.json"), r#"{"num_hidden_layers": 7}"#).unwrap();
        assert_eq!(of("meta-llama/Llama-3.1-8B"), Ok(dense(7)));
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert!(of("acme/Own-1B").unwrap_err().contains("num_hidden_layers"));
    }
}
