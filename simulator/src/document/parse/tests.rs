//! Texts to trees and places.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;

use super::super::Document;
use super::*;

/// Checks the line that each fault of `text` gives, each after `x.yaml:`.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let problems = Document::parse("x.yaml", text).unwrap_err().to_string();
    let expected: Vec<String> = expected.iter().map(|line| format!("x.yaml:{line}")).collect();
    assert_eq!(problems, expected.join("\n"), "for\n{text}");
}

/// Checks the stretch of text that is the place of the value at `path`.
#[track_caller]
fn check_place(text: &str, path: &str, expected: &str) {
    let document = Document::parse("x.yaml", text).unwrap();
    let place = document.place(&path.parse().unwrap());
    assert_eq!(format!("{}:{} {}", place.line(), place.column(), place.text()), expected);
}

#[test]
fn a_document_is_one_value() {
    for text in ["", "# nothing\n", "---\n", "\u{feff}"] {
        check(text, &["1:1: expected a value, and there is none"]);
    }
    check("a: 1\n---\nb: 2\n", &["2:1: expected one document, and here a second starts"]);
    assert_eq!(Document::parse("x.yaml", "\u{feff}--- # why\nx\n...\n").unwrap().tree(), "x");
}

#[test]
fn syntax_errors_have_a_place() {
    check("a: 1\nb: c: d\n", &["2:5: not YAML: mapping values are not allowed in this context"]);
    check(
        "a:\n\tb: 2\n",
        &["2:2: not YAML: tabs disallowed within this context (block indentation)"],
    );
    check("a: [1, 2\n", &["2:1: not YAML: while parsing a flow sequence, expected ',' or ']'"]);
    check("größe: *b\n", &["1:8: not YAML: while parsing node, found unknown anchor"]);
}

#[test]
fn every_bad_key_and_number_is_reported() {
    let text = "a: .nan
b: 1
2: x
a: 3
[c]: y
? {d: 1}
: z
e: 99999999999999999999
f: !own x
g: !own [1]
null: x
<<: {h: 2}
";
    check(
        text,
        &[
            "1:4: a: .nan — expected a finite number",
            "3:1: 2 — expected a string as the key; quotes make it one",
            "4:1: a: expected each key of a map only once",
            "5:1: a list — expected a string as the key; quotes make it one",
            "6:3: a map — expected a string as the key; quotes make it one",
            "8:4: e: 99999999999999999999 — expected an integer from -9223372036854775808 to \
                 18446744073709551615",
            "9:4: f: x — expected a value without this tag",
            "10:4: g: expected a value without this tag",
            "11:1: null — expected a string as the key; quotes make it one",
            "12:1: expected no merge key, which YAML 1.2 lacks",
        ],
    );
}

#[test]
fn an_alias_stands_for_the_value_and_has_its_own_place() {
    let text = "base: &base {ttft: 2s, deep: &deep [1]}\nuse: *base\nlist: [*deep]\n";
    let document = Document::parse("x.yaml", text).unwrap();
    let base = json!({"ttft": "2s", "deep": [1]});
    assert_eq!(*document.tree(), json!({"base": base, "use": base, "list": [[1]]}));
    check_place(text, "use", "2:6 *base");
    check_place(text, "use.ttft", "2:6 *base");
    check_place(text, "base.ttft", "1:20 2s");
    check_place("&a key: &b x\nother: {*a : *b}\n", "other.key", "2:14 *b");
}

#[test]
fn aliases_are_bounded() {
    check("a: &a [*a]\n", &["1:8: a[0]: expected an alias of a value that has ended"]);
    // Each line repeats the one before ten times: 10^9 values from 200 bytes.
    let bomb: String = std::iter::once("a0: &a0 x\n".to_owned())
        .chain((1..10).map(|n| {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            format!("a{n}: &a{n} [{aliases}]\n")
        }))
        .collect();
    check(&bomb, &["7:25: a6[3]: expected aliases that repeat less"]);
    let tower: String = std::iter::once("a0: &a0 x\n".to_owned())
        .chain((1..200).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)))
        .collect();
    check(&tower, &["101:14: a100[0]: expected maps and lists nested less deeply"]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Document::parse("x.yaml", nested(MAX_DEPTH + 1)).is_ok());
    let problems = Document::parse("x.yaml", nested(MAX_DEPTH + 2)).unwrap_err().to_string();
    assert!(problems.ends_with("expected maps and lists nested less deeply"), "{problems}");
    assert!(Document::parse("x.yaml", "[".repeat(100_000)).is_err());
}

#[test]
fn places_are_those_of_the_values() {
    let text = "größe: 3
slo: # both
  ttft: '2s' # it's short
  tpot:
list:
- x: y
- |
  long
  text
flow: {a: [東京, b],
  c: \"d \\\" # d\" } # d
";
    let text = &text.replace('\n', "\r\n");
    check_place(text, "größe", "1:8 3");
    check_place(text, "slo", "3:3 ttft: '2s'");
    check_place(text, "slo.ttft", "3:9 '2s'");
    check_place(text, "slo.tpot", "4:7 ");
    check_place(text, "list", "6:3 x: y");
    check_place(text, "list[0]", "6:3 x: y");
    check_place(text, "list[1]", "8:3 long");
    check_place(text, "flow.a[1]", "10:16 b");
    check_place(text, "flow.c", r#"11:6 "d \" # d""#);
    check_place(text, "flow", "10:7 {a: [東京, b],");
    check_place(text, "absent.field", "1:1 größe: 3");
}

/// Any tree of JSON; it is YAML too.
fn tree() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |x| x.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let tree = scalar.prop_recursive(4, 40, 6, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inside, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    tree.prop_map(|inside| json!([inside]))
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..Default::default() })]

    #[test]
    fn json_reads_as_the_same_tree(tree in tree(), pretty: bool) {
        let text = if pretty { format!("{tree:#}") } else { tree.to_string() };
        let document = Document::parse("x.json", text);
        prop_assert_eq!(document.map(|document| document.tree), Ok(tree));
    }

    #[test]
    fn no_text_makes_it_panic(bytes: Vec<u8>, marks in r#"[-a1?:,\[\]{}&*!|>'"%#~ \t\r\n.é]{0,60}"#) {
        for text in [String::from_utf8_lossy(&bytes).into_owned(), marks] {
            if let Err(problems) = Document::parse("x.yaml", text) {
                problems.render(80, true);
            }
        }
    }
}
