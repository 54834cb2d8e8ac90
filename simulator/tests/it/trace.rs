//! `plimsoll trace` from outside: what it prints.

use std::fmt::Write as _;

use crate::workdir::{Finished, SCENARIO, TRACE, WorkDir};

/// Standard output of a command that has to succeed without a word on the standard error.
#[track_caller]
fn stdout(workdir: &WorkDir, args: &[&str]) -> String {
    let Finished { code, stdout, stderr } = workdir.plimsoll(args);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
    stdout
}

/// Conversations of four turns, each of which has the turns before it as its prefix.
fn conversations() -> String {
    let mut text = String::new();
    for turn in 0..4_u64 {
        for conversation in 0..50_u64 {
            let hashes: Vec<_> = (0..=2 * turn).map(|idx| conversation * 100 + idx).collect();
            let (at, tokens) = (turn * 60_000 + conversation * 700, 512 * hashes.len());
            let _ = writeln!(
                text,
                "{{\"timestamp\": {at}, \"input_length\": {tokens}, \"output_length\": {}, \
                 \"hash_ids\": {hashes:?}}}",
                100 + turn
            );
        }
    }
    text
}

#[test]
fn help_explains_each_command() {
    let workdir = WorkDir::new(SCENARIO, TRACE);
    for command in ["inspect", "convert", "fit", "synthesize"] {
        let help = stdout(&workdir, &["trace", command, "--help"]);
        insta::assert_snapshot!(format!("help_trace_{command}"), help);
    }
}

#[test]
fn a_trace_is_shown() {
    let workdir = WorkDir::new(SCENARIO, TRACE);
    workdir.write("c.jsonl", &conversations());
    insta::assert_snapshot!("trace_inspect", stdout(&workdir, &["trace", "inspect", "c.jsonl"]));
    let json = stdout(&workdir, &["trace", "inspect", "c.jsonl", "t.csv", "--json"]);
    let files: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (files[0]["requests"].as_u64(), files[1]["requests"].as_u64()),
        (Some(200), Some(3))
    );
    // 1 + 3 + 5 of 1 + 3 + 5 + 7 blocks were there the turn before.
    let share = files[0]["prefix"]["share"].as_f64().unwrap();
    assert!((share - 9.0 / 16.0).abs() < 1e-12, "{share}");
}

#[test]
fn a_fitted_trace_is_compared() {
    let workdir = WorkDir::new(SCENARIO, TRACE);
    let preset = ["trace", "synthesize", "--preset=azure-chat", "--duration=20m", "-o", "c.csv"];
    stdout(&workdir, &preset);
    let fitted = stdout(&workdir, &["trace", "fit", "c.csv", "-o", "c.yaml"]);
    insta::assert_snapshot!("trace_fit", fitted);
}

#[test]
fn a_run_reads_what_was_drawn_from_a_fitted_trace() {
    let workdir = WorkDir::new(SCENARIO, TRACE);
    workdir.write("c.jsonl", &conversations());
    stdout(&workdir, &["trace", "fit", "c.jsonl", "-o", "c.yaml"]);
    let args = ["trace", "synthesize", "c.yaml", "-o", "d.jsonl", "--duration", "5m"];
    let drawn = stdout(&workdir, &args);
    assert!(drawn.starts_with("d.jsonl: "), "{drawn}");
    let results = workdir.simulate("out", &["--trace", "d.jsonl"]);
    let summary = std::fs::read_to_string(results.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let hits = summary["prefix_cache_hit_rate"].as_f64().unwrap();
    assert!(hits > 0.1, "prompts have nothing in common: {hits}");
}

#[test]
fn a_fault_names_file_line_field_and_what_was_expected() {
    let workdir = WorkDir::new(SCENARIO, &TRACE.replace("7.25,30,40", "7.25,x,40"));
    let Finished { code, stdout, stderr } = workdir.plimsoll(&["trace", "inspect", "t.csv"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        "error: t.csv:3: num_prefill_tokens: \"x\" — expected a whole number of tokens from 1 to \
         4294967295\n"
    );
}
