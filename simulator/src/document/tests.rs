//! Faults from the text to the report.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

use self::scenario::Scenario;

mod scenario;

/// The report on `text`, read as a [`Scenario`].
fn report(text: &str) -> String {
    let read = Document::parse("x.yaml", text).and_then(|document| document.read::<Scenario>());
    read.map_or_else(|problems| problems.to_string(), |scenario| format!("{scenario:?}"))
}

/// Checks the problems of `text`; each expected line follows `x.yaml:`.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|line| format!("x.yaml:{line}")).collect();
    assert_eq!(report(text), expected.join("\n"), "for\n{text}");
}

/// Checks a sound scenario (two lines) with one model (two lines) that `rest` goes on with.
#[track_caller]
fn check_model(rest: &str, expected: &[&str]) {
    let head = "seed: 7\nduration: 60s\nmodels:\n- name: chat\n  slo: {ttft: 2s, tpot: 50ms}\n";
    check(&format!("{head}  {rest}\n"), expected);
}

/// Checks the problems of a scenario whose third line is `rest`.
#[track_caller]
fn check_field(rest: &str, expected: &[&str]) {
    check(&format!("seed: 7\nduration: 60s\n{rest}\n"), expected);
}

#[test]
fn a_sound_document_reads() {
    let text = "
seed: 7
duration: 60s
models:
  - name: chat
    slo: {ttft: 2s, tpot: 50ms}
    arrivals: {gamma: {rate: 3, cv: 2.5}}
    replicas: {min: 0, max: 4}
  - name: code
    slo: {ttft: 2s, tpot: 50ms}
    arrivals: none
prices: {H100: 4.5, L40S: 1}
window: [1, 2]
";
    let scenario: Scenario = Document::parse("x.yaml", text).unwrap().read().unwrap();
    assert_eq!(scenario.models.len(), 2);
    assert_eq!(scenario.prices.len(), 2);
}

#[test]
fn values_of_the_wrong_kind() {
    check_field("models: 3", &["3:9: models: 3 — expected a list"]);
    check_field("models:", &["3:7: models: null — expected a list"]);
    check_field("models: [3]", &["3:10: models[0]: 3 — expected a map"]);
    check_field("window: 3", &["3:9: window: 3 — expected an array of length 2"]);
    check_field("window: [1]", &["3:9: window: a list — expected an array of length 2"]);
    check_field("window: [1, 2, 3]", &["3:9: window: a list — expected a shorter list"]);
    check_field(
        "window: [1, -2]",
        &["3:13: window[1]: -2 — expected an integer from 0 to 4294967295"],
    );
    check_field("prices: {H100: '4'}", &[r#"3:16: prices.H100: "4" — expected a number"#]);
    check("chat", &["1:1: chat — expected a map"]);
}

#[test]
fn errors_of_a_type_keep_their_words() {
    check_model(
        "arrivals: none\n- name: code\n  slo: {ttft: 2 parsecs, tpot: 1s}",
        &["8:15: models[1].slo.ttft: 2 parsecs — expected a duration, such as 150ms"],
    );
    check_model(
        "replicas: {min: 3, max: 2}",
        &["6:13: models[0].replicas: a map — expected min to be at most max"],
    );
}

#[test]
fn unknown_fields_are_placed_at_their_key() {
    check_model(
        "replica: {min: 3, max: 2}",
        &[
            "6:3: models[0].replica: no such field: expected one of name, slo, arrivals or replicas \
           (did you mean replicas?)",
        ],
    );
    // One slip is one problem: `seed` is not missing as well.
    check(
        "sede: 7\nduration: 60s\n",
        &["1:1: sede: no such field: expected one of seed, duration, models, prices or window \
           (did you mean seed?)"],
    );
}

#[test]
fn missing_fields_are_placed_at_their_map() {
    check("models: []", &["1:1: missing field seed", "1:1: missing field duration"]);
    check_model("replicas:\n    max: 3", &["7:5: models[0].replicas: missing field min"]);
    check_model(
        "arrivals: {gamma: {}}",
        &[
            "6:21: models[0].arrivals.gamma: missing field rate",
            "6:21: models[0].arrivals.gamma: missing field cv",
        ],
    );
}

#[test]
fn choices() {
    check_model(
        "arrivals: gama",
        &["6:13: models[0].arrivals: gama — expected one of none, constant or gamma \
           (did you mean gamma?)"],
    );
    check_model(
        "arrivals: {gama: {rate: x}}",
        &[
            "6:14: models[0].arrivals.gama: no such choice: expected one of none, constant or gamma \
           (did you mean gamma?)",
        ],
    );
    check_model(
        "arrivals: {gamma: {rate: x, cv: y}}",
        &[
            "6:28: models[0].arrivals.gamma.rate: x — expected a number",
            "6:35: models[0].arrivals.gamma.cv: y — expected a number",
        ],
    );
    check_model(
        "arrivals: {constant: x}",
        &["6:24: models[0].arrivals.constant: x — expected a number"],
    );
    check_model("arrivals: {none: 3}", &["6:20: models[0].arrivals.none: 3 — expected null"]);
    check_model(
        "arrivals: gamma",
        &["6:13: models[0].arrivals: gamma — expected this name as the key of a map of its fields"],
    );
    check_model(
        "arrivals: constant",
        &["6:13: models[0].arrivals: constant — expected this name as the key of its value"],
    );
    check_model(
        "arrivals: {none: null, constant: 3}",
        &["6:13: models[0].arrivals: a map — expected a map with one key"],
    );
    check_model(
        "arrivals: 3",
        &["6:13: models[0].arrivals: 3 — expected a name, or a map with one key"],
    );
}

/// Serde tells no path into a map whose keys are an enum.
#[test]
fn maps_by_names() {
    check_field(
        "prices: {V100: x, L40S: y, H10: 3, H100: z}",
        &[
            "3:10: prices.V100: no such choice: expected H100 or L40S (did you mean H100?)",
            "3:25: prices.L40S: y — expected a number",
            "3:28: prices.H10: no such choice: expected H100 or L40S (did you mean H100?)",
            "3:42: prices.H100: z — expected a number",
        ],
    );
}

#[test]
fn a_fault_in_an_anchor_shows_at_each_alias() {
    check_field(
        "models: [{name: a, slo: &slo {ttft: 1x, tpot: 1s}}, {name: b, slo: *slo}]",
        &[
            "3:37: models[0].slo.ttft: 1x — expected a duration, such as 150ms",
            "3:68: models[1].slo.ttft: 1x — expected a duration, such as 150ms",
        ],
    );
}

#[test]
fn faults_at_every_level_are_in_one_report() {
    check(
        "seed: soon\nmodels:\n- slo: {ttft: 1x}\n- 3\n- name: c\n  slo: fast\nwindow: [a, b]\nhue: 3\n",
        &[
            "1:1: missing field duration",
            "1:7: seed: soon — expected an integer of at least 0",
            "3:3: models[0]: missing field name",
            "3:8: models[0].slo: missing field tpot",
            "3:15: models[0].slo.ttft: 1x — expected a duration, such as 150ms",
            "4:3: models[1]: 3 — expected a map",
            "6:8: models[2].slo: fast — expected a map",
            "7:10: window[0]: a — expected an integer from 0 to 4294967295",
            "7:13: window[1]: b — expected an integer from 0 to 4294967295",
            "8:1: hue: no such field: expected one of seed, duration, models, prices or window",
        ],
    );
}

#[test]
fn problems_of_meaning_have_the_place_of_the_field_or_what_would_hold_it() {
    let text = "seed: 7\nduration: 0s\nmodels:\n- name: a\n";
    let document = Document::parse("x.yaml", text).unwrap();
    let problem =
        |path: &str| document.problem(&path.parse().unwrap(), "expected more").to_string();
    assert_eq!(problem("duration"), "x.yaml:2:11: duration: 0s — expected more");
    assert_eq!(problem("models[0].slo.ttft"), "x.yaml:4:3: models[0].slo.ttft: expected more");
    assert_eq!(problem("prices"), "x.yaml:1:1: prices: expected more");
}

#[test]
fn a_flood_of_faults_ends() {
    let text = format!("seed: 7\nduration: 60s\nmodels: [{}]\n", "3, ".repeat(2_000));
    let problems = Document::parse("x.yaml", text).unwrap().read::<Scenario>().unwrap_err();
    assert_eq!(problems.len(), 200);
}

/// The model at `index` with the faults that `faulty` chooses, and the problems expected of them.
/// Each model has six lines, after a head of three.
fn faulty_model(index: usize, faulty: [bool; 5]) -> (String, Vec<String>) {
    let line = 4 + 6 * index;
    let [name, ttft, tpot, arrivals, replicas] = faulty;
    let text = [
        if name { "- name: [a]" } else { "- name: a" },
        "  slo:",
        if ttft { "    ttft: 2x" } else { "    ttft: 2s" },
        if tpot { "" } else { "    tpot: 9ms" },
        if arrivals { "  arivals: none" } else { "  arrivals: none" },
        if replicas { "  replicas: {min: 5, max: 1}" } else { "  replicas: {min: 1, max: 5}" },
    ];
    let problems = [
        (name, 0, 9, ".name: a list — expected a string"),
        (tpot, 2, 5, ".slo: missing field tpot"),
        (ttft, 2, 11, ".slo.ttft: 2x — expected a duration, such as 150ms"),
        (
            arrivals,
            4,
            3,
            ".arivals: no such field: expected one of name, slo, arrivals or replicas \
             (did you mean arrivals?)",
        ),
        (replicas, 5, 13, ".replicas: a map — expected min to be at most max"),
    ];
    let problems = problems
        .into_iter()
        .filter(|(faulty, ..)| *faulty)
        .map(|(_, below, column, rest)| {
            format!("x.yaml:{}:{column}: models[{index}]{rest}", line + below)
        })
        .collect();
    (text.join("\n"), problems)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..Default::default() })]

    #[test]
    fn no_fault_hides_another(faults in prop::collection::vec(any::<[bool; 5]>(), 1..6)) {
        prop_assume!(faults.as_flattened().contains(&true));
        let mut text = "seed: 7\nduration: 60s\nmodels:\n".to_owned();
        let mut expected = Vec::new();
        for (index, &faulty) in faults.iter().enumerate() {
            let (model, problems) = faulty_model(index, faulty);
            text.push_str(&model);
            text.push('\n');
            expected.extend(problems);
        }
        prop_assert_eq!(report(&text), expected.join("\n"));
    }

    #[test]
    fn a_report_on_any_text_ends(text in r"(seed: |models: |- |slo: |name: |x|3|[{},\[\]]|\n|  ){0,40}") {
        report(&text);
    }
}
