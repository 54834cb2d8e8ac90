//! Pairs of model and GPU without a profile.

use super::*;
use crate::engine::step_time::Plant;

/// A model in the catalog on a GPU that no profile knows.
const ESTIMATED: &str = "\
name: estimated
duration: 10m
models:
  - model: llama-3.1-70b
    slo: {ttft: 2s, tpot: 100ms}
    traffic:
      generated: {arrivals: {poisson: {rate: 2/s}}, prompt: {constant: 1000}, output: {constant: 200}}
    variants:
      - name: h200
        accelerator: H200
        tensorParallel: 4
        stepTime: roofline
";

/// Checks the problems of the estimated scenario once `part` of it is written as `instead`.
#[track_caller]
fn check_estimated(part: &str, instead: &str, expected: &[&str]) {
    assert_eq!(ESTIMATED.matches(part).count(), 1, "{part:?} is in the scenario once");
    let text = ESTIMATED.replace(part, instead);
    let problems = load(&text, &Overrides::default()).map(drop).unwrap_err().to_string();
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "for\n{text}");
}

#[test]
fn a_pair_without_a_profile_is_estimated_if_one_asks() {
    let Scenario { setup, notes, .. } = load(ESTIMATED, &Overrides::default()).unwrap();
    let variant = &setup.variants[0];
    let Plant::Served(served) = &variant.plant else { panic!("{:?}", variant.plant) };
    assert!(matches!(served.plant, Plant::Roofline(_)), "{:?}", served.plant);
    assert_eq!(
        notes,
        ["h200: the step times are estimated from the data sheet of H200, not measured"]
    );
    // 0.9 · 139.8 GiB − 32.9 GiB of weights − 1.3 GiB, 80 KiB a token: 1.2 million tokens.
    let expected = EngineArgs {
        max_num_batched_tokens: 8_192,
        max_num_seqs: 1_024,
        max_model_len: 131_072,
        block_size: 16,
        num_gpu_blocks: 75_093,
        ..EngineArgs::DEFAULT
    };
    assert_eq!(variant.engine, EngineConfig::try_from(expected).unwrap());

    let halved = load(ESTIMATED, &set(&["models[0].variants[0].engine.kvCacheDtype=fp8"])).unwrap();
    let expected = EngineArgs { num_gpu_blocks: 150_186, ..expected };
    assert_eq!(halved.setup.variants[0].engine, EngineConfig::try_from(expected).unwrap());
}

#[test]
fn nothing_is_estimated_unasked() {
    check_estimated(
        "        stepTime: roofline\n",
        "",
        &[
            "x.yaml:10:22: models[0].variants[0].accelerator: H200 — expected a pair with a profile, \
           and there is none for llama-3.1-70b on H200 with tensor parallelism 4 in bf16 (there are \
           profiles for H100 ×4 bf16, H100 ×8 bf16, A100 ×4 bf16, A100 ×8 bf16, L40S ×4 bf16, \
           L40S ×8 bf16, H100 ×2 fp8, H100 ×4 fp8, H100 ×8 fp8; or give stepTime: roofline for an \
           estimate, or a stepTime and engine.numGpuBlocks of your own)",
        ],
    );
    check(
        "        tensorParallel: 4\n",
        "        tensorParallel: 4\n        engine: {kvCacheDtype: fp8}\n",
        &["x.yaml:12:32: models[0].variants[0].engine.kvCacheDtype: fp8 — expected auto, because \
           profiles are of 16-bit caches (give stepTime: roofline for an estimate)"],
    );
}

#[test]
fn a_model_that_cannot_be_served_so() {
    check_estimated(
        "tensorParallel: 4",
        "tensorParallel: 3",
        &[
            "x.yaml:11:25: models[0].variants[0].tensorParallel: 3 — expected a divisor of the model's \
           64 attention heads",
        ],
    );
    check_estimated(
        "tensorParallel: 4",
        "tensorParallel: 1",
        &[
            "x.yaml:10:22: models[0].variants[0].accelerator: H200 — expected GPUs on which the model \
           fits: the weights take 131.4 GiB of each GPU, and with 1.3 GiB for activations they leave \
           no room for a KV cache in the 125.8 GiB that vLLM uses (raise tensorParallel, or lower \
           precision)",
        ],
    );
    // The cache holds less than one sequence of the length that is asked for.
    check_estimated(
        "H200\n        tensorParallel: 4",
        "L40S\n        tensorParallel: 4\n        engine: {maxModelLen: 131072}",
        &["x.yaml:12:31: models[0].variants[0].engine.maxModelLen: 131072 — expected at most the \
           76080 tokens that the KV cache holds"],
    );
}

#[test]
fn hardware_and_models_of_which_too_little_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let own = "
gpus: {T4: {pricePerHour: 0.5, maxNumBatchedTokens: 2048, maxNumSeqs: 256}}
models: {mine: {maxModelLen: 2048}}
";
    fs::write(folder.path().join("own.yaml"), own).unwrap();
    let problem_with = |part: &str, instead: &str| {
        let text = ESTIMATED.replace(part, instead) + "catalog: own.yaml\n";
        let loaded = Scenario::parse("x.yaml", text, folder.path(), &Overrides::default());
        loaded.unwrap_err().to_string()
    };
    assert_eq!(
        problem_with("H200", "T4"),
        "x.yaml:10:22: models[0].variants[0].accelerator: T4 — expected a GPU with a data sheet, which \
         a roofline needs (give its dataSheet in a catalog)"
    );
    assert_eq!(
        problem_with("llama-3.1-70b", "mine"),
        "x.yaml:12:19: models[0].variants[0].stepTime: roofline — expected a model whose architecture \
         is known, not mine (name its config.json with modelConfig)"
    );
}

/// The estimated scenario with a model of its own, described by `config`.
fn with_config(config: &str, overrides: &Overrides) -> Result<Scenario, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config).unwrap();
    let text = ESTIMATED.replace("llama-3.1-70b", "my/model\n    modelConfig: config.json");
    Scenario::parse("x.yaml", text, folder.path(), overrides)
}

const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "max_position_embeddings": 8192, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "vocab_size": 128256}"#;

#[test]
fn a_model_may_bring_its_own_description() {
    let setup = with_config(CONFIG, &Overrides::default()).unwrap().setup;
    assert_eq!(setup.models[0].model.as_str(), "my/model");
    // The same matrices as those of a model that the catalog knows.
    let known = ESTIMATED.replace("llama-3.1-70b", "llama-3.1-8b");
    let known = load(&known, &Overrides::default()).unwrap().setup;
    assert_eq!(setup.variants[0].plant, known.variants[0].plant);

    let problems = with_config(CONFIG, &set(&["models[0].variants[0].stepTime=null"])).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "x.yaml:11:22: models[0].variants[0].accelerator: H200 — expected a pair with a profile, and \
         there is none for my/model on H200 with tensor parallelism 4 in bf16 (give stepTime: \
         roofline for an estimate, or a stepTime and engine.numGpuBlocks of your own)"
    );
}

#[test]
fn a_description_without_a_model_in_it_is_refused_where_it_stands() {
    let problems = with_config(r#"{"hidden_size": 4096}"#, &Overrides::default()).unwrap_err();
    let places: Vec<_> = problems
        .iter()
        .map(|problem| (problem.place.name().rsplit('/').next().unwrap(), problem.path.to_string()))
        .collect();
    let missing = [
        "num_hidden_layers",
        "vocab_size",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    ];
    let expected: Vec<_> =
        missing.iter().map(|field| ("config.json", (*field).to_owned())).collect();
    assert_eq!(places, expected);
}

#[test]
fn a_flag_names_the_description_of_the_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    fs::write(&config, CONFIG).unwrap();
    let flag = Overrides {
        model_config: Some(config.to_str().unwrap().to_owned()),
        ..Overrides::default()
    };
    let scenario = load(&ESTIMATED.replace("llama-3.1-70b", "my/model"), &flag).unwrap();
    assert!(scenario.text.contains("# --model-config "), "{}", scenario.text);

    let model = ESTIMATED.split_once("models:\n").unwrap().1;
    let two = format!("{ESTIMATED}{}", model.replace("70b", "8b").replace("h200", "other"));
    assert_eq!(
        load(&two, &flag).unwrap_err().to_string(),
        "x.yaml:4:3: models: a list — expected one model for --model-config, not 2 (name it: --set \
         models[0].modelConfig=FILE)"
    );
}
