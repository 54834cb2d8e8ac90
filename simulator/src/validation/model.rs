//! What has to be known of a model to put a step together from the layers of one block.

use std::path::Path;

use serde::Deserialize;

use super::recording::{RunError, json, text};
use crate::catalog::{Architecture, Catalog};

/// The structure of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Structure {
    /// Transformer blocks.
    pub(super) num_layers: u32,
    /// Experts of a block, and how many of them a token activates.
    pub(super) experts: Option<(u32, u32)>,
}

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
        let known = architecture(&Catalog::builtin(), model).map(|known| Self {
            num_layers: known.layers,
            experts: known.experts.map(|experts| (experts.count, experts.active)),
        });
        known.ok_or_else(|| RunError::UnknownModel(model.to_owned()))
    }
}

/// The architecture of a model by the name of its repository: that of the catalog's model with this
/// name, or else with the longest name with which it begins, such as `qwen3-30b-a3b` of
/// `Qwen/Qwen3-30B-A3B-Instruct-2507`.
pub(super) fn architecture(catalog: &Catalog, model: &str) -> Option<Architecture> {
    let name = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    let family = || {
        let families = catalog.canonical_model_names().filter(|family| name.starts_with(family));
        families.max_by_key(|family| family.len())
    };
    let known = catalog.model(model).or_else(|| catalog.model(family()?));
    known.and_then(|(_, model)| model.architecture)
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
        assert_eq!(of("meta-llama/Llama-2-70b-hf"), Ok(dense(80)));
        let experts = Structure { num_layers: 48, experts: Some((128, 8)) };
        assert_eq!(of("Qwen/Qwen3-30B-A3B-Instruct-2507"), Ok(experts));
        assert_eq!(of("Qwen/Qwen3-32B-FP8"), Ok(dense(64)));
        assert!(of("acme/Own-1B").unwrap_err().contains("acme/Own-1B"));

        fs::write(folder.path().join("config.json"), r#"{"num_hidden_layers": 7}"#).unwrap();
        assert_eq!(of("meta-llama/Llama-3.1-8B"), Ok(dense(7)));
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert!(of("acme/Own-1B").unwrap_err().contains("num_hidden_layers"));
    }
}
