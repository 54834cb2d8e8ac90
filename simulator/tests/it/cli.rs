//! The command from outside: what it prints, what it writes, and the code with which it ends.

use std::fs;

use crate::workdir::{Finished, SCENARIO, TRACE, WorkDir};

fn sound() -> WorkDir {
    WorkDir::new(SCENARIO, TRACE)
}

/// Checks that a run of `workdir` is refused with code 2, writes nothing, and says each part of
/// `expected`.
#[track_caller]
fn check_refused(workdir: &WorkDir, args: &[&str], expected: &[&str]) -> String {
    let before = workdir.files();
    let finished = workdir.plimsoll(&[&["simulate", "x.yaml"], args].concat());
    let Finished { code, stdout, stderr } = finished;
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.ends_with("nothing was run\n"), "{stderr}");
    // Long sentences are wrapped, so white space and the frame around them do not count.
    let words = |text: &str| -> String {
        text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    };
    for part in expected {
        assert!(words(&stderr).contains(&words(part)), "no {part:?} in\n{stderr}");
    }
    assert_eq!(workdir.files(), before);
    stderr
}

/// Checks the scenario with `part` replaced by `instead`.
#[track_caller]
fn check_scenario(part: &str, instead: &str, expected: &[&str]) {
    assert_eq!(SCENARIO.matches(part).count(), 1, "{part:?}");
    check_refused(&WorkDir::new(&SCENARIO.replace(part, instead), TRACE), &[], expected);
}

/// Checks the trace with `part` replaced by `instead`.
#[track_caller]
fn check_trace(part: &str, instead: &str, expected: &[&str]) {
    assert_eq!(TRACE.matches(part).count(), 1, "{part:?}");
    let place = "[x.yaml:6:21]";
    let expected = [&[place, "models[0].traffic.trace.file"], expected].concat();
    check_refused(&WorkDir::new(SCENARIO, &TRACE.replace(part, instead)), &[], &expected);
}

#[test]
fn help_explains_each_command() {
    let help = |args: &[&str]| {
        let Finished { code, stdout, stderr } = sound().plimsoll(args);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        stdout
    };
    insta::assert_snapshot!("help", help(&["--help"]));
    insta::assert_snapshot!("help_simulate", help(&["simulate", "--help"]));
    insta::assert_snapshot!("help_schema", help(&["schema", "--help"]));
    assert_eq!(help(&["--version"]), format!("plimsoll {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_run_prints_a_table_and_writes_its_results() {
    let workdir = sound();
    let Finished { code, stdout, stderr } = workdir.plimsoll(&["simulate", "x.yaml"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("TTFT") && stdout.contains("out/tiny/report.html"), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "no color where there is no terminal");
    for file in
        ["summary.json", "run.json", "requests.parquet", "timeseries.parquet", "report.html"]
    {
        assert!(workdir.path().join("out/tiny").join(file).is_file(), "{file}");
    }
    let summary = fs::read_to_string(workdir.path().join("out/tiny/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["requests"]["completed"], 3);
    // A step of the plant takes 7 ms at least.
    for latency in ["ttft_s", "tpot_s", "itl_s", "e2e_s"] {
        assert!(summary[latency]["p50"].as_f64().unwrap() > 0.006, "{latency} in {summary}");
    }
}

#[test]
fn an_attainment_that_is_missed_has_its_own_code() {
    let run = |least: &str, ttft: &str| {
        let ttft = format!("models[0].slo.ttft={ttft}");
        let args = ["simulate", "x.yaml", "--quiet", "--set", &ttft, "--min-attainment", least];
        sound().plimsoll(&args)
    };
    let met = run("1", "2s");
    assert_eq!((met.code, met.stdout.as_str(), met.stderr.as_str()), (Some(0), "", ""), "quiet");
    let missed = run("0.5", "1ms");
    assert_eq!(missed.code, Some(3));
    assert_eq!(
        missed.stderr,
        "error: a share of 0 of the requests met their targets, and 0.5 was asked for\n"
    );
    assert_eq!(run("1.5", "2s").code, Some(2));
}

#[test]
fn results_that_cannot_be_written_are_a_failure_of_the_run() {
    let workdir = sound();
    workdir.write("file", "");
    let run = workdir.plimsoll(&["simulate", "x.yaml", "--quiet", "--out", "file/results"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("error: ") && run.stderr.contains("file/results"),
        "{}",
        run.stderr
    );
}

#[test]
fn flags_are_checked_by_the_parser() {
    for args in [&["simulate"][..], &["simulate", "x.yaml", "--seed", "-1"], &["fly"]] {
        assert_eq!(sound().plimsoll(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn traces_with_faults() {
    check_trace(TRACE, "", &["t.csv: is empty"]);
    check_trace("0.5,1000,20\n7.25,30,40\n15,500,1\n", "", &["t.csv: has no requests"]);
    check_trace("15,500,1\n", "15,50", &["t.csv:4: 2 fields", "expected 3"]);
    check_trace(
        "7.25,30,40",
        "7.25,-30,40",
        &["t.csv:3: num_prefill_tokens: \"-30\"", "expected a whole number"],
    );
    check_trace("7.25,30,40", "7.25,NaN,40", &["t.csv:3: num_prefill_tokens: \"NaN\""]);
    check_trace("7.25,30,40", "NaN,30,40", &["t.csv:3: arrived_at: \"NaN\""]);
    check_trace(
        "7.25,30,40",
        "0.25,30,40",
        &["t.csv:3: arrived_at: \"0.25\"", "no time before that of line 2"],
    );
    check_trace("arrived_at", "time", &["t.csv:1: header", "arrived_at"]);
}

#[test]
fn numbers_that_mean_nothing() {
    check_scenario(
        "ttft: 2s",
        "ttft: 0s",
        &["[x.yaml:4:17]", "models[0].slo.ttft: 0s — expected a duration above zero"],
    );
    check_scenario(
        "ttft: 2s",
        "ttft: -2s",
        &["[x.yaml:4:17]", "models[0].slo.ttft: -2s — expected a duration"],
    );
    check_scenario(
        "tpot: 100ms",
        "tpot: .nan",
        &["[x.yaml:4:27]", "models[0].slo.tpot: .nan — expected a finite number"],
    );
    check_scenario(
        "{max: 2}",
        "{max: 0}",
        &["[x.yaml:10:25]", "replicas.max: 0 — expected at least 1"],
    );
    check_scenario(
        "{max: 2}",
        "{min: 3, max: 2}",
        &["[x.yaml:10:33]", "expected at least min, which is 3"],
    );
    check_scenario("{max: 2}", "{min: 0}", &["[x.yaml:8:7]", "from zero, nothing scales"]);
    check_scenario(
        "{file: t.csv}",
        "{file: t.csv, speed: 0}",
        &["[x.yaml:6:35]", "trace.speed", "expected a speed above zero"],
    );
    check_scenario(
        "name: tiny",
        "name: tiny\ncontrol: {interval: 0s}",
        &["[x.yaml:2:21]", "control.interval: 0s — expected at least 1ms"],
    );
}

#[test]
fn things_that_do_not_exist() {
    check_scenario(
        "H100\n",
        "H10\n",
        &[
            "[x.yaml:9:22]",
            "accelerator: H10 — expected one of A100, A100-40GB,",
            "did you mean H100?",
        ],
    );
    check_scenario(
        "llama-3.1-8b",
        "llama-4",
        &["[x.yaml:3:12]", "models[0].model: llama-4 — expected a model of the catalog"],
    );
    check_scenario(
        "llama-3.1-8b",
        "llama-3.1-70b",
        &[
            "[x.yaml:9:22]",
            "there is none for llama-3.1-70b on H100 with tensor parallelism 1 in bf16",
            "there are profiles for H100 ×4 bf16",
        ],
    );
    check_scenario("t.csv", "no.csv", &["[x.yaml:6:21]", "no.csv", "No such file"]);
    check_scenario("t.csv", ".", &["[x.yaml:6:21]", "Is a directory"]);
    check_scenario(
        "name: tiny",
        "name: tiny\npolicyFile: no.yaml",
        &["[x.yaml:2:13]", "policyFile: no.yaml — expected a file that can be read: No such file"],
    );
    check_scenario(
        "name: tiny",
        "name: tiny\ncatalog: /",
        &["[x.yaml:2:10]", "catalog: / — expected a file that can be read: Is a directory"],
    );
    check_scenario(
        "slo:",
        "slow:",
        &["[x.yaml:4:5]", "models[0].slow: no such field", "did you mean slo?"],
    );
    let absent = sound().plimsoll(&["simulate", "y.yaml"]);
    assert_eq!(absent.code, Some(2));
    assert_eq!(
        absent.stderr,
        "error: cannot read y.yaml: No such file or directory (os error 2); nothing was run\n"
    );
}

#[test]
fn flags_that_do_not_fit_the_scenario() {
    check_refused(&sound(), &["--trace", "no.csv"], &["[--trace:1:", "no.csv", "No such file"]);
    check_refused(&sound(), &["--policy", "no.yaml"], &["[--policy:1:", "no.yaml", "No such file"]);
    check_refused(&sound(), &["--set", "models[1].slo=1"], &["[--set:1:1]", "the list of 1"]);
    check_refused(&sound(), &["--set", "sed=1"], &["[--set:1:1]", "did you mean seed?"]);
    let workdir = sound();
    workdir.write("p.yaml", "saturation:\n  kvCacheThreshold: 2\n");
    check_refused(
        &workdir,
        &["--policy", "p.yaml"],
        &["[p.yaml:2:21]", "saturation.kvCacheThreshold: 2 — expected a number between 0 and 1"],
    );
}

#[test]
fn a_report_shows_the_lines_around_each_problem() {
    let spoilt =
        SCENARIO.replace("2s", "0s").replace("H100\n", "H10\n").replace("max: 2", "min: 5, max: 2");
    insta::assert_snapshot!(
        "several_problems",
        check_refused(&WorkDir::new(&spoilt, TRACE), &[], &["3 problems"])
    );
    let trace = TRACE.replace("30", "-30").replace("15,500", "1,x");
    insta::assert_snapshot!(
        "trace_faults",
        check_refused(&WorkDir::new(SCENARIO, &trace), &[], &["1 problem"])
    );
    insta::assert_snapshot!(
        "problem_in_flag",
        check_refused(&sound(), &["--set", "models[0].slo.tpot=0s"], &[])
    );
}
