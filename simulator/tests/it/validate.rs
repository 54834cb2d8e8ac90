//! `plimsoll validate` on runs of which only summaries are known. Their numbers are made up.

use std::fs;

use crate::workdir::{Finished, SCENARIO, TRACE, WorkDir};

const PROFILE: &str = r#"{
  "api": {"type": "completion", "streaming": true},
  "data": {
    "type": "shared_prefix",
    "shared_prefix": {
      "num_unique_system_prompts": 3, "num_users_per_system_prompt": 2,
      "system_prompt_len": 100, "question_len": 400, "output_len": 200,
      "enable_multi_turn_chat": true
    }
  },
  "load": {"type": "constant", "stages": [{"rate": 2, "duration": 60}, {"rate": 5, "duration": 60}]}
}"#;

const EXPERIMENT: &str = "\
model: meta-llama/Llama-3.1-8B-Instruct
tensor_parallelism: 1
max_model_len: 4096
max_num_batched_tokens: 2048
max_num_seqs: 128
app: inference-perf
";

/// What a stage measured, with latencies of so many seconds.
fn lifecycle(e2e: f64, ttft: f64) -> String {
    let spread = |mean: f64| format!(r#"{{"mean": {mean}, "p90": {mean}, "p99": {mean}}}"#);
    format!(
        r#"{{"load_summary": {{"count": 7}},
            "successes": {{
              "count": 7,
              "latency": {{"request_latency": {}, "time_to_first_token": {}, "more": null}},
              "prompt_len": {{"min": 510, "max": 530, "mean": 520}}
            }},
            "failures": {{"count": 0}}}}"#,
        spread(e2e),
        spread(ttft)
    )
}

const TABLE: &str = "\
experiment,model,workload,hardware,tp,precision,max_num_batched_tokens,stage_index,metric,actual_ms
1-general-lite,meta-llama/Llama-3.1-8B-Instruct,general,A100-80GB,1,FP16,2048,0,e2e_mean,3000
1-general-lite,meta-llama/Llama-3.1-8B-Instruct,general,A100-80GB,1,FP16,2048,1,e2e_mean,3500
1-general-lite,meta-llama/Llama-3.1-8B-Instruct,general,A100-80GB,1,FP16,2048,-1,e2e_mean,3400
1-general-lite,meta-llama/Llama-3.1-8B-Instruct,general,A100-80GB,1,FP16,2048,-1,ttft_mean,45
2-poetry,meta-llama/Llama-3.1-8B-Instruct,poetry,H100,1,FP16,,0,e2e_mean,3000
3-codegen,acme/Own-1B,codegen,H100,1,FP16,,0,e2e_mean,3000
3-codegen,acme/Own-1B,codegen,H100,1,FP16,,1,e2e_mean,3000
4-roleplay,mistralai/Mixtral-8x7B-v0.1,roleplay,H100,2,FP16,,0,e2e_mean,30000
5-roleplay,mistralai/Mixtral-8x7B-v0.1,roleplay,H100,2,FP16,,1,e2e_mean,3000
6-roleplay,mistralai/Mixtral-8x7B-v0.1,roleplay,H100,2,W4A16,,0,e2e_mean,3000
";

/// A folder and a table of runs.
fn runs() -> WorkDir {
    let workdir = WorkDir::new(SCENARIO, TRACE);
    let folder = "runs/h100/one";
    fs::create_dir_all(workdir.path().join(folder)).unwrap();
    for (file, text) in [
        ("profile.yaml", PROFILE.to_owned()),
        ("exp-config.yaml", EXPERIMENT.to_owned()),
        ("stage_0_lifecycle_metrics.json", lifecycle(1.5, 0.025)),
        ("stage_1_lifecycle_metrics.json", lifecycle(1.6, 0.03)),
        ("summary_lifecycle_metrics.json", lifecycle(1.55, 0.028)),
        ("peer-simulator-errors.txt", "E2E Mean 1550.0 1600.0 3.2%\n".to_owned()),
    ] {
        workdir.write(&format!("{folder}/{file}"), &text);
    }
    workdir.write("runs/table.csv", TABLE);
    workdir.write("runs/other.csv", "a,b\n1,2\n");
    workdir
}

#[test]
fn summaries_are_laid_beside_their_simulation() {
    let Finished { code, stdout, stderr } = runs().plimsoll(&["validate", "runs", "--seeds", "1"]);
    assert_eq!(code, Some(0), "{stderr}");
    insta::assert_snapshot!("validate", stdout);
    insta::assert_snapshot!("validate_not_compared", stderr);
}

#[test]
fn the_list_for_programs_has_the_same_numbers_every_time() {
    let list = || runs().plimsoll(&["validate", "runs", "--json"]).stdout;
    let text = list();
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let first = &rows[0];
    assert_eq!(first["run"], "one");
    assert_eq!(first["gpu"], "H100");
    assert_eq!(first["model"], "meta-llama/Llama-3.1-8B-Instruct");
    for number in ["real", "simulated", "error_pct"] {
        assert!(first[number].is_f64(), "{first}");
    }
    assert_eq!(list(), text);
}

/// Checks that the run is broken when `part` of a file of the folder is `instead`.
#[track_caller]
fn check_broken(file: &str, part: &str, instead: &str, expected: &[&str]) {
    let workdir = runs();
    let path = format!("runs/h100/one/{file}");
    let text = fs::read_to_string(workdir.path().join(&path)).unwrap();
    assert_eq!(text.matches(part).count(), 1, "{part:?} in {text}");
    workdir.write(&path, &text.replace(part, instead));
    let Finished { code, stderr, .. } = workdir.plimsoll(&["validate", "runs", "--seeds", "1"]);
    assert_eq!(code, Some(1), "{stderr}");
    for expected in [&[file], expected].concat() {
        assert!(stderr.contains(expected), "no {expected:?} in\n{stderr}");
    }
}

#[test]
fn a_broken_folder_says_where() {
    let stage = "stage_1_lifecycle_metrics.json";
    check_broken(
        stage,
        r#""request_latency""#,
        r#""latency""#,
        &["missing field `request_latency`"],
    );
    check_broken(stage, r#""count": 7,"#, r#""count": 0,"#, &["successes.count", "was answered"]);
    check_broken(
        stage,
        r#""failures": {"count": 0}"#,
        r#""failures": {"count": -1}"#,
        &["failures.count"],
    );
    let file = "profile.yaml";
    check_broken(file, "constant", "concurrent", &["load.type", "concurrent", "poisson"]);
    check_broken(file, r#""rate": 5"#, r#""rate": 0"#, &["load.stages[1].rate", "above zero"]);
    check_broken(file, r#""question_len": 400, "#, "", &["question_len"]);
    check_broken(file, "400", "4000000000", &["data.shared_prefix.question_len", "1000000"]);
    check_broken(file, r#""rate": 5"#, r#""rate": 5e9"#, &["load.stages[1]", "requests"]);
    check_broken("exp-config.yaml", "model: meta-llama/Llama-3.1-8B-Instruct\n", "", &["model"]);
}

#[test]
fn a_run_that_is_not_known_is_not_broken() {
    let workdir = runs();
    let named = EXPERIMENT.replace("meta-llama/Llama-3.1-8B-Instruct", "acme/Own-1B");
    workdir.write("runs/h100/one/exp-config.yaml", &named);
    let Finished { code, stderr, .. } = workdir.plimsoll(&["validate", "runs", "--seeds", "1"]);
    assert_eq!(code, Some(0), "{stderr}");
    let expected = "not compared: runs/h100/one: the model acme/Own-1B is not in the catalog";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn a_broken_table_says_in_which_line() {
    let check = |part: &str, instead: &str, expected: &str| {
        let workdir = runs();
        workdir.write("runs/table.csv", &TABLE.replace(part, instead));
        let Finished { code, stderr, .. } = workdir.plimsoll(&["validate", "runs"]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(expected), "no {expected:?} in\n{stderr}");
    };
    check("-1,ttft_mean,45", "-1,ttft_mean,fast", "runs/table.csv: line 5: actual_ms: ");
    check("-1,ttft_mean,45", "-1,warmth,45", "line 5: metric: warmth");
    check("-1,ttft_mean,45", "-1,e2e_mean,45", "line 5: a second value of e2e_mean for stage -1");
}
