//! What a scalar means: the core schema of YAML 1.2.2, section 10.3.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// A scalar that has no value; says what was expected in its place.
pub(super) type Unresolved = &'static str;

/// What to say about a tag outside the core schema.
pub(super) const UNKNOWN_TAG: Unresolved = "expected a value without this tag";

/// The value of the scalar `text`, from its style and, where one is given, its tag.
pub(super) fn resolve(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Value, Unresolved> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { resolve_plain(text) } else { Ok(text.into()) };
    };
    if !tag.is_yaml_core_schema() {
        return Err(UNKNOWN_TAG);
    }
    match tag.suffix.as_str() {
        "str" => Ok(text.into()),
        "null" => resolve_plain(text).ok().filter(Value::is_null).ok_or("expected null"),
        "bool" => {
            resolve_plain(text).ok().filter(Value::is_boolean).ok_or("expected true or false")
        }
        "int" => match resolve_plain(text)? {
            Value::Number(number) if !number.is_f64() => Ok(number.into()),
            _ => Err("expected an integer"),
        },
        "float" => match resolve_plain(text)? {
            Value::Number(number) => Ok(number.as_f64().into()),
            _ => Err("expected a number"),
        },
        _ => Err(UNKNOWN_TAG),
    }
}

/// The value of a scalar without quotes or tag.
///
/// An integer too large for 64 bits and a number that is not finite are faults, because the tree
/// cannot hold them and a text in their place would be a surprise.
pub(super) fn resolve_plain(text: &str) -> Result<Value, Unresolved> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(true.into()),
        "false" | "False" | "FALSE" => return Ok(false.into()),
        _ => {}
    }
    let (sign, unsigned) = split_sign(text);
    if let Some(digits) = text.strip_prefix("0x").filter(|digits| is_digits(digits, 16)) {
        return integer("", digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|digits| is_digits(digits, 8)) {
        return integer("", digits, 8);
    }
    if is_digits(unsigned, 10) {
        return integer(sign, unsigned, 10);
    }
    if is_float(unsigned) {
        let number = text.parse().ok().and_then(Number::from_f64);
        return number.map(Value::Number).ok_or("expected a finite number");
    }
    match (sign, unsigned) {
        (_, ".inf" | ".Inf" | ".INF") | ("", ".nan" | ".NaN" | ".NAN") => {
            Err("expected a finite number")
        }
        _ => Ok(text.into()),
    }
}

fn integer(sign: &str, digits: &str, radix: u32) -> Result<Value, Unresolved> {
    let outside = "expected an integer from -9223372036854775808 to 18446744073709551615";
    // Negative numbers are parsed with their sign, because the least has no positive twin.
    if sign == "-" {
        i64::from_str_radix(&format!("-{digits}"), radix).map(Value::from).or(Err(outside))
    } else {
        u64::from_str_radix(digits, radix).map(Value::from).or(Err(outside))
    }
}

/// Whether `text` matches `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa = match (whole, fraction) {
        ("", fraction) => is_digits(fraction, 10),
        (whole, "") => is_digits(whole, 10),
        (whole, fraction) => is_digits(whole, 10) && is_digits(fraction, 10),
    };
    mantissa && is_digits(split_sign(exponent).1, 10)
}

fn split_sign(text: &str) -> (&str, &str) {
    text.split_at(usize::from(text.starts_with(['-', '+'])))
}

fn is_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("Null", json!(null)),
            ("nULL", json!("nULL")),
            ("True", json!(true)),
            ("FALSE", json!(false)),
            ("yes", json!("yes")),
            ("0", json!(0)),
            ("-0", json!(0)),
            ("+12", json!(12)),
            ("007", json!(7)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("-0x1", json!("-0x1")),
            ("0x", json!("0x")),
            ("0o8", json!("0o8")),
            ("1_000", json!("1_000")),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("-.5e-1", json!(-0.05)),
            ("1e3", json!(1000.0)),
            ("12E+2", json!(1200.0)),
            ("1e", json!("1e")),
            (".", json!(".")),
            (".e3", json!(".e3")),
            ("1.2.3", json!("1.2.3")),
            ("-", json!("-")),
            ("150ms", json!("150ms")),
            ("inf", json!("inf")),
            ("2026-01-02", json!("2026-01-02")),
        ] {
            assert_eq!(resolve_plain(text), Ok(value), "for {text:?}");
        }
    }

    #[test]
    fn numbers_that_the_tree_cannot_hold_are_faults() {
        for text in [".inf", "-.INF", "+.Inf", ".nan", "1e999"] {
            assert_eq!(resolve_plain(text), Err("expected a finite number"), "for {text}");
        }
        for text in ["18446744073709551616", "-9223372036854775809", "0x10000000000000000"] {
            assert!(resolve_plain(text).is_err(), "for {text}");
        }
    }

    #[test]
    fn quotes_and_tags_override_the_form() {
        let core = |suffix: &str| Tag {
            handle: "tag:yaml.org,2002:".to_owned(),
            suffix: suffix.to_owned(),
        };
        let plain = ScalarStyle::Plain;
        let quoted = ScalarStyle::DoubleQuoted;
        assert_eq!(resolve("3", quoted, None), Ok(json!("3")));
        assert_eq!(resolve("3", plain, Some(&core("str"))), Ok(json!("3")));
        assert_eq!(resolve("3", quoted, Some(&core("int"))), Ok(json!(3)));
        assert_eq!(resolve("3", plain, Some(&core("float"))), Ok(json!(3.0)));
        assert_eq!(resolve("x", plain, Some(&core("int"))), Err("expected an integer"));
        assert_eq!(resolve("x", plain, Some(&core("bool"))), Err("expected true or false"));
        assert_eq!(resolve("x", plain, Some(&core("binary"))), Err(UNKNOWN_TAG));
        let own = Tag { handle: "!".to_owned(), suffix: "poisson".to_owned() };
        assert_eq!(resolve("x", plain, Some(&own)), Err(UNKNOWN_TAG));
    }
}
