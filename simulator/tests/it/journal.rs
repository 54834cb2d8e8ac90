//! From a run's journal to its replay and its explanation.

use std::fs;
use std::sync::OnceLock;

use crate::workdir::{Finished, SCENARIO, TRACE, WorkDir};

/// A run of three minutes, with a step of the controller every half.
fn run() -> WorkDir {
    let scenario = SCENARIO.replace("name: tiny\n", "name: tiny\nduration: 3m\n");
    WorkDir::new(&scenario, TRACE)
}

/// The lines of the journal that a run leaves. A run draws figures, which takes its time, so all
/// tests look at the journal of one.
fn lines() -> &'static [String] {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let workdir = run();
        let out = workdir.simulate("out", &["--journal"]);
        let text = fs::read_to_string(out.join("journal.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect()
    })
}

/// A folder with a journal of these lines, `j.jsonl`.
fn with_journal(lines: &[String]) -> WorkDir {
    let workdir = run();
    workdir.write("j.jsonl", &(lines.join("\n") + "\n"));
    workdir
}

/// Replays a journal, and returns the code, what was printed, and the error.
fn replay(workdir: &WorkDir, args: &[&str]) -> (Option<i32>, String, String) {
    let Finished { code, stdout, stderr } =
        workdir.plimsoll(&[&["replay", "j.jsonl"], args].concat());
    (code, stdout, stderr)
}

#[test]
fn help_explains_both_commands() {
    for command in ["replay", "explain"] {
        let Finished { code, stdout, .. } = run().plimsoll(&[command, "--help"]);
        assert_eq!(code, Some(0));
        insta::assert_snapshot!(format!("help_{command}"), stdout);
    }
}

#[test]
fn a_journal_is_written_when_one_asks_and_the_same_seed_gives_the_same_bytes() {
    let workdir = run();
    let without = workdir.simulate("without", &[]);
    assert!(!without.join("journal.jsonl").exists());
    let with = workdir.simulate("with", &["--journal"]);
    let text = fs::read_to_string(with.join("journal.jsonl")).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines());
    let run = fs::read_to_string(with.join("run.json")).unwrap();
    assert!(run.contains("journal.jsonl"), "{run}");
    for file in ["summary.json", "decisions.jsonl"] {
        let [with, without] = [&with, &without].map(|out| fs::read(out.join(file)).unwrap());
        assert!(with == without, "{file} differs");
    }
}

#[test]
fn a_journal_is_replayed() {
    let same = (Some(0), "6 decisions, all the same\n".to_owned(), String::new());
    assert_eq!(replay(&with_journal(lines()), &[]), same);
}

#[test]
fn a_decision_that_was_changed_is_shown() {
    let mut lines = lines().to_vec();
    assert!(lines[2].contains(r#""desired":1,"#), "{}", lines[2]);
    lines[2] = lines[2].replace(r#""desired":1,"#, r#""desired":2,"#);
    let (code, stdout, stderr) = replay(&with_journal(&lines), &[]);
    assert_eq!(code, Some(1));
    assert_eq!(stderr, "error: 1 of 6 decisions came out differently\n");
    insta::assert_snapshot!("replay_differs", stdout);
}

#[test]
fn another_policy_is_tried_on_what_was_seen() {
    let workdir = with_journal(lines());
    workdir.write("other.yaml", "saturation: {kvSpareTrigger: 0.8}\n");
    let (code, stdout, stderr) = replay(&workdir, &["--policy", "other.yaml"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("replay_policy", stdout);

    workdir.write("same.yaml", "{}\n");
    let (code, stdout, _) = replay(&workdir, &["--policy", "same.yaml"]);
    let expected = "0 of 6 decisions differ in a replica count\n";
    assert_eq!((code, stdout.as_str()), (Some(0), expected));

    workdir.write("bad.yaml", "saturation: {kvSpareTriger: 0.8}\n");
    let (code, stdout, stderr) = replay(&workdir, &["--policy", "bad.yaml"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("bad.yaml:1:14") && stderr.contains("kvSpareTrigger"), "{stderr}");
}

#[test]
fn what_cannot_be_replayed_is_named_with_its_line() {
    let check = |lines: &[String], expected: &str| {
        let (code, stdout, stderr) = replay(&with_journal(lines), &[]);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(1), "", expected));
    };
    let lines = lines();
    check(&lines[1..], "error: j.jsonl:5: there is no checkpoint, so nothing can be replayed\n");
    let gap = [&lines[..2], &lines[3..]].concat();
    check(&gap, "error: j.jsonl:3: step 3 follows where step 2 should be\n");
    let mut newer = lines.to_vec();
    newer[1] = newer[1].replace(r#""version":1"#, r#""version":7"#);
    check(&newer, "error: j.jsonl:2: a record of version 7, and only version 1 can be read\n");
    let finished = run().plimsoll(&["replay", "none.jsonl"]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.starts_with("error: cannot read none.jsonl: No such"));
}

#[test]
fn a_moment_is_explained() {
    let workdir = with_journal(lines());
    let explain = |args: &[&str]| workdir.plimsoll(&[&["explain", "j.jsonl"], args].concat());
    let told = explain(&["--at", "59s"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("explain", told.stdout);
    // The record at or before the time, and without one the last.
    assert!(explain(&["--at", "0:01:00"]).stdout.starts_with("0:01:00, step 1\n"));
    assert!(explain(&[]).stdout.starts_with("0:03:00, step 5\n"));
    assert_eq!(explain(&["--variant", "h100"]).stdout, explain(&[]).stdout);

    let json = explain(&["--at", "30s", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["variant"], &json[0]["step"]), (&"h100".into(), &0.into()));
    assert_eq!(json[0]["observed"]["ready"], 1);
    assert_eq!(json[0]["because"].as_array().unwrap().len(), 5);
}

#[test]
fn what_cannot_be_explained_is_said() {
    let workdir = with_journal(lines());
    let check = |args: &[&str], code: i32, expected: &str| {
        let all = [&["explain", "j.jsonl"], args].concat();
        let Finished { code: found, stderr, .. } = workdir.plimsoll(&all);
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    check(&["--at", "10s"], 1, "error: j.jsonl: the first record is of 0:00:30\n");
    let unknown = "error: no decision about a100; there are decisions about h100\n";
    check(&["--variant", "a100"], 1, unknown);
    check(&["--at", "noon"], 2, "expected a time since the beginning");
}
