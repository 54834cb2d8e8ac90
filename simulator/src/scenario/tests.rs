//! What a scenario comes to, and what is wrong with one.

mod cluster;
mod estimates;
mod traffic;

use std::fs;

use optimizer::Policy;
use optimizer::units::{Fraction, Gpus, HourlyCost, Replicas};

use super::*;
use crate::engine::step_time::Plant;
use crate::engine::{EngineArgs, EngineConfig, SchedulingPolicy};

/// A sound scenario, to be spoilt.
const SOUND: &str = "\
name: sound
duration: 10m
models:
  - model: llama-3.1-70b
    slo: {ttft: 2s, tpot: 100ms}
    traffic:
      generated: {arrivals: {poisson: {rate: 2/s}}, prompt: {constant: 1000}, output: {constant: 200}}
    variants:
      - name: h100
        accelerator: H100
        tensorParallel: 4
";

fn load(text: &str, overrides: &Overrides) -> Result<Scenario, Problems> {
    Scenario::parse("x.yaml", text.to_owned(), Path::new(""), overrides)
}

fn set(assignments: &[&str]) -> Overrides {
    Overrides { set: assignments.iter().map(|&set| set.to_owned()).collect(), ..Default::default() }
}

/// Checks the problems of the sound scenario once `part` of it is written as `instead`.
#[track_caller]
fn check(part: &str, instead: &str, expected: &[&str]) {
    assert_eq!(SOUND.matches(part).count(), 1, "{part:?} is in the scenario once");
    let text = SOUND.replace(part, instead);
    let problems = load(&text, &Overrides::default()).map(drop).unwrap_err().to_string();
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "for\n{text}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let Scenario { setup, length, notes, .. } = load(SOUND, &Overrides::default()).unwrap();
    assert_eq!(
        (setup.name.as_str(), setup.seed, length),
        ("sound", 1, Seconds::from_minutes(10.0))
    );
    assert_eq!(notes, [""; 0]);
    assert_eq!(setup.policy, Policy::default());
    assert_eq!(setup.drain_limit, Seconds::from_minutes(30.0));
    assert_eq!(setup.control.window, Seconds::from_minutes(1.0));
    assert_eq!(setup.models[0].namespace.as_str(), "default");

    let variant = &setup.variants[0];
    assert_eq!(variant.gpus_per_replica, Gpus::new(4));
    assert_eq!(variant.cost, HourlyCost::new(15.6));
    assert_eq!(variant.bounds.min, Replicas::new(1));
    assert_eq!(variant.bounds.max, None);
    assert_eq!(variant.initial, Replicas::new(1));
    assert_eq!(variant.cold_start, Seconds::from_minutes(2.0));
}

/// The engine arguments that `engine` comes to, as (sequences, tokens, context, blocks).
#[track_caller]
fn check_engine(engine: &str, [seqs, tokens, context, blocks]: [u32; 4]) {
    let engine = format!("models[0].variants[0].engine={engine}");
    let variant = load(SOUND, &set(&[&engine])).unwrap().setup.variants.remove(0);
    let expected = EngineArgs {
        max_num_batched_tokens: tokens,
        max_num_seqs: seqs,
        max_model_len: context,
        block_size: if engine.contains("blockSize") { 32 } else { 16 },
        num_gpu_blocks: blocks,
        ..EngineArgs::DEFAULT
    };
    assert_eq!(variant.engine, EngineConfig::try_from(expected).unwrap(), "for {engine}");
}

#[test]
fn engine_arguments_default_as_in_vllm() {
    check_engine("{}", [1024, 8192, 131_072, 30_406]);
    check_engine("{blockSize: 32}", [1024, 8192, 131_072, 15_203]);
    // As `--max-model-len auto`: what the cache holds, less the null block.
    check_engine("{numGpuBlocks: 1001}", [1024, 8192, 16_000, 1001]);
    check_engine("{maxNumBatchedTokens: 512}", [512, 512, 131_072, 30_406]);
    check_engine("{maxNumSeqs: 2, maxModelLen: 2048}", [2, 4096, 2048, 30_406]);
}

#[test]
fn engine_arguments_are_what_is_given() {
    let engine = "models[0].variants[0].engine={asyncScheduling: false, enablePrefixCaching: \
                  false, schedulingPolicy: priority, longPrefillTokenThreshold: 500, watermark: \
                  0.01, maxNumQueuedReqs: 7, maxNumQueuedTokens: 80000, dataParallelSize: 2}";
    let variant = load(SOUND, &set(&[engine])).unwrap().setup.variants.remove(0);
    let expected = EngineArgs {
        max_num_batched_tokens: 8192,
        max_num_seqs: 1024,
        max_model_len: 131_072,
        block_size: 16,
        num_gpu_blocks: 30_406,
        async_scheduling: false,
        enable_prefix_caching: false,
        scheduling_policy: SchedulingPolicy::Priority,
        long_prefill_token_threshold: 500,
        watermark: Fraction::new(0.01),
        max_num_queued_reqs: Some(7),
        max_num_queued_tokens: Some(80_000),
    };
    assert_eq!(variant.engine, EngineConfig::try_from(expected).unwrap());
    // Two engines, on four GPUs each.
    assert_eq!((variant.data_parallel, variant.gpus_per_replica), (2, Gpus::new(8)));
    assert_eq!(variant.cost, HourlyCost::new(31.2));
}

#[test]
fn engine_arguments_with_which_no_engine_starts() {
    let check = |engine: &str, expected: &str| {
        let field = "        tensorParallel: 4\n";
        check(field, &format!("{field}        engine: {engine}\n"), &[expected]);
    };
    check(
        "{blockSize: 0}",
        "x.yaml:12:29: models[0].variants[0].engine.blockSize: 0 — expected at least 1",
    );
    check(
        "{blockSize: 4000000000}",
        "x.yaml:12:29: models[0].variants[0].engine.blockSize: 4000000000 — expected a size of \
         which two blocks fit the cache",
    );
    check(
        "{numGpuBlocks: 1}",
        "x.yaml:12:32: models[0].variants[0].engine.numGpuBlocks: 1 — expected at least 2",
    );
    check(
        "{maxNumSeqs: 9000}",
        "x.yaml:12:30: models[0].variants[0].engine.maxNumSeqs: 9000 — expected at most \
         maxNumBatchedTokens, which is 8192",
    );
    check(
        "{maxModelLen: 2000, numGpuBlocks: 100}",
        "x.yaml:12:31: models[0].variants[0].engine.maxModelLen: 2000 — expected at most the 1584 \
         tokens that the KV cache holds",
    );
    check(
        "{maxModelLen: 131073}",
        "x.yaml:12:31: models[0].variants[0].engine.maxModelLen: 131073 — expected at most 131072, \
         the model's context",
    );
    check(
        "{maxModelLen: 1000}",
        "x.yaml:7:61: models[0].traffic.generated.prompt: a map — expected a prompt that fits the \
         context of h100, which is 1000 tokens; the shortest has 1000",
    );
}

#[test]
fn a_plant_of_ones_own_needs_no_profile() {
    let plant =
        "{linear: {base: 5ms, perPrefillToken: 1us, perDecodeSequence: 1us, perContextToken: 1ns}}";
    let fields = [
        "models[0].variants[0].tensorParallel=3",
        "models[0].variants[0].engine.numGpuBlocks=1000",
    ];
    let plant = format!("models[0].variants[0].stepTime={plant}");
    assert!(load(SOUND, &set(&fields)).is_err());
    let setup = load(SOUND, &set(&[fields[0], fields[1], &plant])).unwrap().setup;
    assert_eq!(setup.variants[0].gpus_per_replica, Gpus::new(3));
}

#[test]
fn names_that_nobody_knows() {
    check(
        "accelerator: H100",
        "accelerator: H10",
        &[
            "x.yaml:10:22: models[0].variants[0].accelerator: H10 — expected one of A100, A100-40GB, \
             A100-PCIe, A100-PCIe-40GB, A10G, B200, H100, H100-PCIe, H200, L4, L40S or MI300X \
             (did you mean H100?)",
        ],
    );
    check(
        "llama-3.1-70b",
        "llama-3.1-7b",
        &["x.yaml:4:12: models[0].model: llama-3.1-7b — expected a model of the catalog \
           (did you mean llama-3.1-70b?)"],
    );
    check(
        "        tensorParallel: 4\n",
        "",
        &[
            "x.yaml:10:22: models[0].variants[0].accelerator: H100 — expected a pair with a profile, and \
         there is none for llama-3.1-70b on H100 with tensor parallelism 1 in bf16 (there are \
         profiles for H100 ×4 bf16, H100 ×8 bf16, A100 ×4 bf16, A100 ×8 bf16, L40S ×4 bf16, \
         L40S ×8 bf16, H100 ×2 fp8, H100 ×4 fp8, H100 ×8 fp8; or give stepTime: \
         roofline for an estimate, or a stepTime and engine.numGpuBlocks of your own)",
        ],
    );
    check(
        "name: sound",
        "name: a/b",
        &[
            "x.yaml:1:7: name: a/b — expected letters, digits, `-`, `_` and `.`, because it names a folder",
        ],
    );
}

#[test]
fn replica_counts_that_contradict() {
    let check = |replicas: &str, expected: &[&str]| {
        let field = "        tensorParallel: 4\n";
        check(field, &format!("{field}        replicas: {replicas}\n"), expected);
    };
    check(
        "{max: 0}",
        &["x.yaml:12:25: models[0].variants[0].replicas.max: 0 — expected at least 1"],
    );
    check(
        "{min: 3, max: 2}",
        &[
            "x.yaml:12:33: models[0].variants[0].replicas.max: 2 — expected at least min, which is 3",
        ],
    );
    check(
        "{initial: 5, max: 4}",
        &[
            "x.yaml:12:29: models[0].variants[0].replicas.initial: 5 — expected at most max, which is 4",
        ],
    );
    check(
        "{initial: 1, min: 2}",
        &[
            "x.yaml:12:29: models[0].variants[0].replicas.initial: 1 — expected at least min, which is 2",
        ],
    );
    check(
        "{min: 0}",
        &[
            "x.yaml:9:7: models[0].variants: a list — expected a variant that begins with a replica: \
         from zero, nothing scales",
        ],
    );
    check(
        "{min: -1}",
        &[
            "x.yaml:12:25: models[0].variants[0].replicas.min: -1 — expected an integer from 0 to 4294967295",
        ],
    );
}

#[test]
fn numbers_that_mean_nothing() {
    check(
        "ttft: 2s",
        "ttft: 0s",
        &["x.yaml:5:17: models[0].slo.ttft: 0s — expected a duration above zero"],
    );
    check(
        "tpot: 100ms",
        "tpot: -1ms",
        &["x.yaml:5:27: models[0].slo.tpot: -1ms — expected a duration with its unit, such as \
         \"150ms\", \"2s\", \"5m\" or \"1h\", not \"-1ms\""],
    );
    check(
        "rate: 2/s",
        "rate: 0/s",
        &[
            "x.yaml:7:46: models[0].traffic.generated.arrivals.poisson.rate: 0/s — expected a rate above zero",
        ],
    );
    check(
        "duration: 10m",
        "duration: 0s",
        &["x.yaml:2:11: duration: 0s — expected a duration above zero"],
    );
    check(
        "duration: 10m\n",
        "",
        &[
            "x.yaml:1:1: duration: expected a duration, because generated traffic has no end of its own",
        ],
    );
    check(
        "constant: 1000",
        "constant: 0",
        &[
            "x.yaml:7:72: models[0].traffic.generated.prompt.constant: 0 — expected at least 1 token",
        ],
    );
    check(
        "tensorParallel: 4",
        "tensorParallel: 0",
        &["x.yaml:11:25: models[0].variants[0].tensorParallel: 0 — expected at least 1"],
    );
    check(
        "duration: 10m\n",
        "duration: 10m\nsampleInterval: 0s\ncontrol: {scrapeInterval: 0s, window: 0s, interval: 0s}\n",
        &[
            "x.yaml:3:17: sampleInterval: 0s — expected at least 1ms",
            "x.yaml:4:27: control.scrapeInterval: 0s — expected at least 1ms",
            "x.yaml:4:39: control.window: 0s — expected at least 1ms",
            "x.yaml:4:53: control.interval: 0s — expected at least 1ms",
        ],
    );
    check(
        "duration: 10m\n",
        "duration: 10m\ncontrol: {window: 5s}\n",
        &[
            "x.yaml:3:19: control.window: 5s — expected a window of at least the scrape interval, which is 15s",
        ],
    );
}

#[test]
fn what_must_be_there_or_only_once() {
    check(
        &SOUND[SOUND.find("models:").unwrap()..],
        "models: []\n",
        &["x.yaml:3:9: models: a list — expected at least one model"],
    );
    check(
        &SOUND[SOUND.find("    variants:").unwrap()..],
        "    variants: []\n",
        &["x.yaml:8:15: models[0].variants: a list — expected at least one variant"],
    );
    let model = &SOUND[SOUND.find("  - model:").unwrap()..];
    check(
        "models:\n",
        &format!("models:\n{model}"),
        &[
            "x.yaml:12:12: models[1].model: llama-3.1-70b — expected each model once in namespace default",
            "x.yaml:17:15: models[1].variants[0].name: h100 — expected a name once in namespace default",
        ],
    );
    check(
        "duration: 10m\n",
        "duration: 10m\npolicy: {}\npolicyFile: p.yaml\n",
        &["x.yaml:4:13: policyFile: p.yaml — expected policy or policyFile, not both"],
    );
}

#[test]
fn a_broken_part_hides_no_other() {
    let text = SOUND
        .replace("2s, tpot: 100ms", "0s, tpot: -1ms")
        .replace("H100", "T4")
        .replace("2/s", "0/s");
    let policy = "policy: {saturation: {kvCacheThreshold: 0.5, kvSpareTrigger: 0.6}}\n";
    let overrides = Overrides { trace: Some("x.csv".to_owned()), ..set(&["seed.x=1"]) };
    let problems = load(&format!("{text}{policy}catalog: no.yaml\n"), &overrides).unwrap_err();
    insta::assert_snapshot!(problems, @r#"
    x.yaml:4:3: models: a list — expected a model that is driven by a trace, for --trace to replace it
    x.yaml:5:17: models[0].slo.ttft: 0s — expected a duration above zero
    x.yaml:5:27: models[0].slo.tpot: -1ms — expected a duration with its unit, such as "150ms", "2s", "5m" or "1h", not "-1ms"
    x.yaml:7:46: models[0].traffic.generated.arrivals.poisson.rate: 0/s — expected a rate above zero
    x.yaml:12:62: policy.saturation.kvSpareTrigger: 0.6 — expected a share that is not above kvCacheThreshold
    x.yaml:13:10: catalog: no.yaml — expected a file that can be read: No such file or directory (os error 2)
    --set:1:1: seed: a map — expected an integer of at least 0
    "#);
}

#[test]
fn a_gpu_is_checked_although_the_model_is_unknown() {
    let text = SOUND.replace("llama-3.1-70b", "llama-9").replace("H100", "T4");
    let problems = load(&text, &Overrides::default()).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(paths, ["models[0].model", "models[0].variants[0].accelerator"]);
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.yaml");
    fs::write(&policy, "saturation: {kvCacheThreshold: 0.7}").unwrap();
    let text = format!("{SOUND}seed: 3\npolicy: {{saturation: {{kvCacheThreshold: 0.6}}}}\n");
    let overrides = Overrides {
        policy: Some(policy.to_str().unwrap().to_owned()),
        seed: Some(9),
        ..set(&["seed=5", "models[0].slo.ttft=3s"])
    };
    let setup = load(&text, &overrides).unwrap().setup;
    assert_eq!(setup.seed, 9);
    assert_eq!(setup.policy.saturation.kv_cache_threshold, Fraction::new(0.7));
    assert_eq!(setup.models[0].slo.ttft, Seconds::new(3.0));
}

/// A folder with a scenario that is driven by a trace, and the trace.
fn with_trace(trace: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("x.yaml");
    let generated = SOUND.lines().find(|line| line.contains("generated")).unwrap();
    let traced = SOUND.replace(generated, "      trace: {file: t.csv, speed: 2}");
    fs::write(&scenario, traced.replace("duration: 10m\n", "")).unwrap();
    if let Some(trace) = trace {
        fs::write(folder.path().join("t.csv"), trace).unwrap();
    }
    (folder, scenario)
}

const TRACE: &str = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,10,20\n100,30,40\n";

#[test]
fn a_trace_lies_beside_the_scenario() {
    let (_folder, scenario) = with_trace(Some(TRACE));
    let Scenario { setup, length, .. } = Scenario::load(&scenario, &Overrides::default()).unwrap();
    assert_eq!(length, Seconds::new(50.0));
    assert_eq!(setup.models[0].workload.clone().count(), 2);
}

#[test]
fn a_trace_on_the_command_line_replaces_the_only_one() {
    let (folder, scenario) = with_trace(None);
    let other = folder.path().join("it's \"other\".csv");
    fs::write(&other, TRACE).unwrap();
    let overrides =
        Overrides { trace: Some(other.to_str().unwrap().to_owned()), ..Default::default() };
    let Scenario { length, .. } = Scenario::load(&scenario, &overrides).unwrap();
    assert_eq!(length, Seconds::new(50.0), "the speed stays");

    let problem = load(SOUND, &overrides).unwrap_err().to_string();
    assert!(problem.contains("expected a model that is driven by a trace"), "{problem}");

    let text = fs::read_to_string(&scenario).unwrap();
    let model = &text[text.find("  - model:").unwrap()..];
    let problem = load(&format!("{text}{model}"), &overrides).unwrap_err().to_string();
    assert!(problem.contains("--set models[0].traffic.trace.file=FILE"), "{problem}");
}

#[test]
fn the_faults_of_a_trace_are_named_by_its_lines() {
    let (folder, scenario) = with_trace(Some(&format!("{TRACE}90,-1,40\n101,3\n")));
    let error = Scenario::load(&scenario, &Overrides::default()).unwrap_err().to_string();
    let error = error.replace(folder.path().to_str().unwrap(), "F");
    insta::assert_snapshot!(error, @r#"
    F/x.yaml:6:21: models[0].traffic.trace.file: t.csv — expected a trace without faults (F/t.csv:4: num_prefill_tokens: "-1" — expected a whole number of tokens from 1 to 4294967295
    F/t.csv:4: arrived_at: "90" — expected no time before that of line 3
    F/t.csv:5: 2 fields, none for num_decode_tokens — expected 3, as in the header)
    "#);
}

#[test]
fn files_that_cannot_be_read() {
    let (_folder, scenario) = with_trace(None);
    let load = |assignments: &[&str]| {
        let error = Scenario::load(&scenario, &set(assignments)).unwrap_err();
        assert!(matches!(error, ScenarioError::Problems(_)));
        error.to_string()
    };
    assert!(load(&[]).contains("No such file"));
    for field in ["policyFile", "catalog"] {
        let problems = load(&[&format!("{field}=no.yaml"), "models[0].traffic.trace.file=/"]);
        assert!(
            problems.contains(&format!(
                "{field}: no.yaml — expected a file that can be read: No such file"
            )),
            "{problems}"
        );
        assert!(problems.contains("Is a directory"), "{problems}");
    }
    let absent = Scenario::load(Path::new("no.yaml"), &Overrides::default()).unwrap_err();
    assert!(absent.to_string().starts_with("cannot read no.yaml: No such file"));
}

#[test]
fn another_catalog_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.yaml");
    let own = "
gpus: {T4: {pricePerHour: 0.5, maxNumBatchedTokens: 2048, maxNumSeqs: 256}}
profiles:
  - model: llama-3.1-8b
    gpu: T4
    tensorParallel: 1
    precision: fp8
    stepTime: {linear: {base: 50ms, perPrefillToken: 1ms, perDecodeSequence: 1us, perContextToken: 1ns}}
    numGpuBlocks: 999
    evidence: D
";
    fs::write(&path, own).unwrap();
    let text = SOUND
        .replace("70b", "8b")
        .replace("H100\n        tensorParallel: 4", "T4\n        precision: fp8")
        + "catalog: catalog.yaml\n";
    let scenario = Scenario::parse("x.yaml", text, folder.path(), &Overrides::default()).unwrap();
    assert_eq!(scenario.setup.variants[0].cost, HourlyCost::new(0.5));
    // What one measured oneself is taken as it is.
    assert!(matches!(scenario.setup.variants[0].plant, Plant::Linear(_)));
    let built_in = load(SOUND, &Overrides::default()).unwrap().setup.variants.remove(0);
    assert!(matches!(built_in.plant, Plant::Served(_)), "{:?}", built_in.plant);
    assert_eq!(
        scenario.notes,
        [
            "h100: the step times of llama-3.1-8b on T4 with tensor parallelism 1 in fp8 are known to \
          an order of magnitude only"
        ]
    );
}
