//! The counts against published totals, and what a `config.json` comes to.

use super::*;
use crate::catalog::{Catalog, Model};
use crate::document::Document;

fn architecture(name: &str) -> Architecture {
    let catalog = Catalog::builtin();
    catalog.model(name).unwrap().1.architecture.unwrap()
}

/// The parameters of the safetensors files that the models' pages on Hugging Face show, in 10⁹;
/// without encoders and heads for speculation.
const PARAMETERS: [(&str, f64); 37] = [
    ("codellama-34b", 33.744),
    ("deepseek-v3", 671.03),
    ("gemma-3-12b", 11.766),
    ("gemma-3-1b", 1.000),
    ("gemma-3-27b", 27.009),
    ("gemma-3-4b", 3.880),
    ("gpt-oss-120b", 116.83),
    ("gpt-oss-20b", 20.91),
    ("llama-2-13b", 13.016),
    ("llama-2-70b", 68.977),
    ("llama-2-7b", 6.738),
    ("llama-3.1-405b", 405.85),
    ("llama-3.1-70b", 70.554),
    ("llama-3.1-8b", 8.030),
    ("llama-3.3-70b", 70.554),
    ("llama-4-scout", 107.77),
    ("mistral-7b", 7.248),
    ("mistral-nemo-12b", 12.248),
    ("mixtral-8x22b", 140.63),
    ("mixtral-8x7b", 46.703),
    ("phi-4", 14.660),
    ("qwen2.5-0.5b", 0.494),
    ("qwen2.5-1.5b", 1.544),
    ("qwen2.5-14b", 14.770),
    ("qwen2.5-32b", 32.764),
    ("qwen2.5-3b", 3.086),
    ("qwen2.5-72b", 72.706),
    ("qwen2.5-7b", 7.616),
    ("qwen3-0.6b", 0.596),
    ("qwen3-1.7b", 1.721),
    ("qwen3-14b", 14.768),
    ("qwen3-235b-a22b", 235.09),
    ("qwen3-30b-a3b", 30.532),
    ("qwen3-32b", 32.762),
    ("qwen3-4b", 4.022),
    ("qwen3-8b", 8.191),
    ("yi-34b", 34.389),
];

#[test]
fn every_model_has_as_many_parameters_as_its_page_says() {
    let catalog = Catalog::builtin();
    let names: Vec<_> = catalog.models.keys().map(String::as_str).collect();
    assert_eq!(names, PARAMETERS.map(|(name, _)| name));
    for (name, billions) in PARAMETERS {
        let counted = architecture(name).parameters() as f64 / 1e9;
        assert!((counted / billions - 1.0).abs() < 0.001, "{name}: {counted} is not {billions}");
    }
}

#[test]
fn a_token_meets_some_of_the_experts() {
    // As the models' reports say: Mixtral, arXiv 2401.04088; Qwen3, 2505.09388; DeepSeek-V3,
    // 2412.19437, which counts neither embedding nor head in its 37.
    for (name, billions) in [
        ("mixtral-8x7b", 12.9),
        ("qwen3-30b-a3b", 3.3),
        ("qwen3-235b-a22b", 22.0),
        ("deepseek-v3", 37.6),
        ("llama-4-scout", 17.2),
        ("llama-3.1-8b", 8.03),
    ] {
        let counted = architecture(name).active_parameters() as f64 / 1e9;
        assert!((counted / billions - 1.0).abs() < 0.02, "{name}: {counted} is not {billions}");
    }
}

#[test]
fn the_kv_cache_keeps_what_attention_needs() {
    for (name, tensor_parallel, elements) in [
        ("llama-3.1-8b", 1, 65_536),
        ("llama-3.1-8b", 2, 32_768),
        // Eight heads on sixteen GPUs: one each, twice.
        ("llama-3.1-8b", 16, 8_192),
        ("llama-3.1-70b", 1, 163_840),
        // The width of a head is 128, not 5120 / 32.
        ("mistral-nemo-12b", 1, 40 * 2 * 8 * 128),
        ("deepseek-v3", 1, 576 * 61),
        ("deepseek-v3", 8, 576 * 61),
    ] {
        let kept = architecture(name).kv_elements_per_token(tensor_parallel);
        assert_eq!(kept, elements, "{name} on {tensor_parallel}");
    }
}

#[test]
fn only_the_layers_shrink_with_precision() {
    let llama = architecture("llama-3.1-8b");
    let embedding = 2.0 * 2.0 * 128_256.0 * 4096.0;
    let layers = llama.weight_bytes(Precision::Bf16) - embedding;
    assert!((llama.weight_bytes(Precision::Fp8) - embedding - layers / 2.0).abs() < 1.0);
    // The page of GPT-OSS-20B says 12.8 GiB for the checkpoint.
    let gib = architecture("gpt-oss-20b").weight_bytes(Precision::Mxfp4) / (1_u64 << 30) as f64;
    assert!((gib - 12.8).abs() < 0.1, "{gib}");
}

#[test]
fn heads_are_divided_evenly_or_not_at_all() {
    for (name, tensor_parallel, fits) in [
        ("llama-3.1-8b", 8, true),
        ("llama-3.1-8b", 16, true),
        ("llama-3.1-8b", 3, false),
        ("phi-4", 4, false),
        ("phi-4", 5, true),
        ("qwen2.5-7b", 8, false),
        ("deepseek-v3", 16, true),
    ] {
        let divided = architecture(name).check_division(tensor_parallel);
        assert_eq!(divided.is_ok(), fits, "{name} on {tensor_parallel}: {divided:?}");
    }
}

fn read(text: &str) -> Result<Model, String> {
    let document = Document::parse("config.json", text).unwrap();
    Model::from_config(&document).map_err(|problems| problems.to_string())
}

/// A file with the fields of a model in the catalog, and some that do not matter.
#[track_caller]
fn check_config(text: &str, name: &str) {
    let model = read(text).unwrap();
    let catalog = Catalog::builtin();
    let (_, known) = catalog.model(name).unwrap();
    assert_eq!(model.architecture, known.architecture, "{name}");
    assert_eq!(model.max_model_len, known.max_model_len, "{name}");
}

#[test]
fn files_of_every_family_come_to_what_the_catalog_has() {
    check_config(
        r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
            "max_position_embeddings": 131072, "model_type": "llama", "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 8, "tie_word_embeddings": false,
            "rope_scaling": {"factor": 8.0}, "torch_dtype": "bfloat16", "vocab_size": 128256}"#,
        "llama-3.1-8b",
    );
    check_config(
        r#"{"model_type": "mistral", "head_dim": 128, "hidden_size": 5120,
            "intermediate_size": 14336, "max_position_embeddings": 131072,
            "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
            "sliding_window": null, "vocab_size": 131072}"#,
        "mistral-nemo-12b",
    );
    check_config(
        r#"{"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
            "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32,
            "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
            "sliding_window": null, "vocab_size": 32000}"#,
        "mixtral-8x7b",
    );
    check_config(
        r#"{"model_type": "qwen3_moe", "decoder_sparse_step": 1, "head_dim": 128,
            "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
            "mlp_only_layers": [], "moe_intermediate_size": 768, "num_attention_heads": 32,
            "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
            "num_key_value_heads": 4, "sliding_window": null, "use_sliding_window": false,
            "tie_word_embeddings": false, "vocab_size": 151936}"#,
        "qwen3-30b-a3b",
    );
    check_config(
        r#"{"model_type": "deepseek_v3", "first_k_dense_replace": 3, "hidden_size": 7168,
            "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
            "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_routed_experts": 256,
            "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8,
            "num_hidden_layers": 61, "num_key_value_heads": 128, "q_lora_rank": 1536,
            "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
            "vocab_size": 129280, "tie_word_embeddings": false}"#,
        "deepseek-v3",
    );
    let kinds = ["sliding_attention", "full_attention"].repeat(12);
    check_config(
        &format!(
            r#"{{"model_type": "gpt_oss", "experts_per_token": 4, "head_dim": 64,
                "hidden_size": 2880, "intermediate_size": 2880, "layer_types": {kinds:?},
                "max_position_embeddings": 131072, "num_attention_heads": 64,
                "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 8,
                "num_local_experts": 32, "quantization_config": {{"quant_method": "mxfp4"}},
                "sliding_window": 128, "tie_word_embeddings": false, "vocab_size": 201088}}"#
        ),
        "gpt-oss-20b",
    );
    check_config(
        r#"{"model_type": "gemma3", "vision_config": {"hidden_size": 1152}, "text_config": {
            "model_type": "gemma3_text", "head_dim": 128, "hidden_size": 5376,
            "intermediate_size": 21504, "max_position_embeddings": 131072,
            "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16,
            "sliding_window": 1024, "vocab_size": 262208}}"#,
        "gemma-3-27b",
    );
    check_config(
        r#"{"model_type": "llama4", "tie_word_embeddings": false, "text_config": {
            "model_type": "llama4_text", "attention_chunk_size": 8192, "head_dim": 128,
            "hidden_size": 5120, "interleave_moe_layer_step": 1, "intermediate_size": 8192,
            "intermediate_size_mlp": 16384, "max_position_embeddings": 10485760,
            "num_attention_heads": 40, "num_experts_per_tok": 1, "num_hidden_layers": 48,
            "num_key_value_heads": 8, "num_local_experts": 16, "vocab_size": 202048}}"#,
        "llama-4-scout",
    );
}

#[test]
fn a_file_without_what_is_needed_is_told_all_of_it() {
    let problems = read(r#"{"model_type": "clip", "projection_dim": 512}"#).unwrap_err();
    insta::assert_snapshot!(problems);
    let problems = read(
        r#"{"text_config": {
  "hidden_size": "wide", "num_hidden_layers": 4, "num_attention_heads": 7, "vocab_size": 10,
  "intermediate_size": 9.5, "max_position_embeddings": 16
}}"#,
    );
    insta::assert_snapshot!(problems.unwrap_err());
}

#[test]
fn a_shape_that_cannot_be_is_refused() {
    for (text, message) in [
        (
            r#"{"hidden_size": 100, "num_hidden_layers": 4, "num_attention_heads": 7,
                "vocab_size": 10, "intermediate_size": 9, "max_position_embeddings": 16}"#,
            "expected a field head_dim, because 100 does not divide by 7 heads",
        ),
        (
            r#"{"hidden_size": 100, "num_hidden_layers": 0, "num_attention_heads": 10,
                "vocab_size": 10, "intermediate_size": 9, "max_position_embeddings": 16}"#,
            "no model has such a shape: layers: expected at least 1",
        ),
        (
            r#"{"hidden_size": 100, "num_hidden_layers": 2, "num_attention_heads": 0,
                "vocab_size": 10, "intermediate_size": 9, "max_position_embeddings": 16}"#,
            "expected a field head_dim, because 100 does not divide by 0 heads",
        ),
        (
            r#"{"hidden_size": 4294967295, "num_hidden_layers": 2, "num_attention_heads": 5,
                "vocab_size": 10, "intermediate_size": 9, "max_position_embeddings": 16}"#,
            "no model has such a shape: hidden: expected at most 1048576",
        ),
        (
            r#"{"hidden_size": 100, "num_hidden_layers": 2, "num_attention_heads": 10,
                "num_local_experts": 4, "num_experts_per_tok": 5,
                "vocab_size": 10, "intermediate_size": 9, "max_position_embeddings": 16}"#,
            "no model has such a shape: experts.active: expected at most 4",
        ),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.contains(message), "{problems}");
    }
}
