//! What serde says is wrong, taken apart.
//!
//! `serde_json::Error` gives no more than a text. Its forms are the default methods of
//! `serde::de::Error`, and the tests of this module and of [`recover`](super::recover) hold them.

/// A message of serde, by what a reader can do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// A map has a field that its struct does not.
    UnknownField { name: String, known: Vec<String> },
    /// A name is none of the variants of an enum.
    UnknownVariant { name: String, known: Vec<String> },
    /// A map lacks a field.
    MissingField { name: String },
    /// Anything else, as a full message.
    Other(String),
}

impl Complaint {
    /// Takes apart a message of serde.
    pub(super) fn of(message: &str) -> Self {
        let named = |prefix: &str| {
            let rest = message.strip_prefix(prefix)?.strip_prefix(" `")?;
            let (name, rest) = rest.split_once("`, expected ").or(rest.split_once("`, there "))?;
            Some((name.to_owned(), quoted(rest)))
        };
        if let Some((name, known)) = named("unknown field") {
            return Self::UnknownField { name, known };
        }
        if let Some((name, known)) = named("unknown variant") {
            return Self::UnknownVariant { name, known };
        }
        let missing = message.strip_prefix("missing field `");
        if let Some(name) = missing.and_then(|rest| rest.strip_suffix('`')) {
            return Self::MissingField { name: name.to_owned() };
        }
        let mismatch = ["invalid type: ", "invalid value: ", "invalid length "]
            .iter()
            .any(|prefix| message.starts_with(prefix));
        // The last `expected`, because a text that was found may hold the word too.
        match message.rsplit_once(", expected ") {
            Some((_, expected)) if mismatch => Self::Other(format!("expected {}", plain(expected))),
            _ => Self::Other(message.to_owned()),
        }
    }
}

/// The message for a name that is none of the `known` ones.
pub(super) fn expected_one_of(known: &[String]) -> String {
    match known {
        [] => "expected no fields here".to_owned(),
        [only] => format!("expected {only}"),
        [first, second] => format!("expected {first} or {second}"),
        [names @ .., last] => format!("expected one of {} or {last}", names.join(", ")),
    }
}

/// The advice to take one of the `known` names, if `name` is close to it.
pub(super) fn advice(name: &str, known: &[String]) -> Option<String> {
    closest(name, known).map(|meant| format!("did you mean {meant}?"))
}

/// The one of the `known` names that `name` is most likely a slip of the pen for: at most one
/// letter in three is wrong, missing, too many, or swapped with its neighbor.
pub(super) fn closest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let written = name.to_lowercase();
    known
        .iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&written, &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count().max(3))
        // The first of equals, which is the first in the struct.
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.as_str())
}

/// The names in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What serde expected, without the names of Rust's types.
fn plain(expected: &str) -> String {
    let (least, name) = expected.strip_prefix("a nonzero ").map_or((0, expected), |name| (1, name));
    let integer = match name {
        "u8" => format!("an integer from {least} to {}", u8::MAX),
        "u16" => format!("an integer from {least} to {}", u16::MAX),
        "u32" => format!("an integer from {least} to {}", u32::MAX),
        "u64" | "u128" | "usize" => format!("an integer of at least {least}"),
        "i8" => format!("an integer from {} to {}", i8::MIN, i8::MAX),
        "i16" => format!("an integer from {} to {}", i16::MIN, i16::MAX),
        "i32" => format!("an integer from {} to {}", i32::MIN, i32::MAX),
        "i64" | "i128" | "isize" => "an integer".to_owned(),
        _ => String::new(),
    };
    if !integer.is_empty() {
        return integer;
    }
    match expected {
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "unit" => "null",
        "string or map" => "a name, or a map with one key",
        "fewer elements in array" => "a shorter list",
        "map with a single key" => "a map with one key",
        // From a name alone, where the variant of that name holds more.
        "struct variant" => "this name as the key of a map of its fields",
        "newtype variant" | "tuple variant" => "this name as the key of its value",
        _ if expected.starts_with("struct ") => "a map",
        _ => expected,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_are_taken_from_the_message() {
        for (message, name, known) in [
            ("unknown field `x`, expected `a`", "x", names(&["a"])),
            ("unknown field `x`, expected `a` or `b`", "x", names(&["a", "b"])),
            ("unknown field `x y`, expected one of `a`, `b`, `c`", "x y", names(&["a", "b", "c"])),
            ("unknown field `x`, there are no fields", "x", names(&[])),
        ] {
            let name = name.to_owned();
            assert_eq!(Complaint::of(message), Complaint::UnknownField { name, known });
        }
        assert_eq!(
            Complaint::of("unknown variant `x`, expected `a` or `b`"),
            Complaint::UnknownVariant { name: "x".to_owned(), known: names(&["a", "b"]) }
        );
        assert_eq!(
            Complaint::of("missing field `seed`"),
            Complaint::MissingField { name: "seed".to_owned() }
        );
    }

    #[test]
    fn expectations_lose_the_names_of_types() {
        for (message, expected) in [
            (r#"invalid type: string "a, expected b", expected u8"#, "an integer from 0 to 255"),
            ("invalid value: integer `-1`, expected u64", "an integer of at least 0"),
            ("invalid value: integer `0`, expected a nonzero u16", "an integer from 1 to 65535"),
            ("invalid type: null, expected a sequence", "a list"),
            ("invalid type: integer `3`, expected struct Slo", "a map"),
            ("invalid type: integer `3`, expected struct variant Arrivals::Gamma", "a map"),
            ("invalid length 1, expected an array of length 2", "an array of length 2"),
            ("invalid length 3, expected fewer elements in array", "a shorter list"),
            ("invalid value: map, expected map with a single key", "a map with one key"),
        ] {
            assert_eq!(Complaint::of(message), Complaint::Other(format!("expected {expected}")));
        }
    }

    #[test]
    fn a_message_of_ones_own_stays_as_it_is() {
        let own = "`5 parsecs` is no duration, expected a number and a unit";
        assert_eq!(Complaint::of(own), Complaint::Other(own.to_owned()));
    }

    #[test]
    fn only_a_close_name_is_suggested() {
        let known = names(&["ttft", "tpot", "replicas", "minReplicas"]);
        for (name, suggestion) in [
            ("tttf", Some("ttft")),
            ("TPOT", Some("tpot")),
            ("replica", Some("replicas")),
            ("min_replicas", Some("minReplicas")),
            ("itl", None),
            ("seed", None),
        ] {
            assert_eq!(closest(name, &known), suggestion, "for {name}");
        }
    }

    #[test]
    fn lists_of_names_read_as_english() {
        assert_eq!(expected_one_of(&names(&[])), "expected no fields here");
        assert_eq!(expected_one_of(&names(&["a"])), "expected a");
        assert_eq!(expected_one_of(&names(&["a", "b"])), "expected a or b");
        assert_eq!(expected_one_of(&names(&["a", "b", "c"])), "expected one of a, b or c");
    }
}
