//! Measured distributions, as tables of quantiles.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use optimizer::units::Tokens;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

use super::at_least_one;
use crate::workload::WorkloadProblem;

/// Quantiles of a token count, with straight lines between them.
///
/// Written as `{min: 1, p50: 129, p90: 424, p99.9: 700, max: 1000}`; the ends are required.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileTable {
    /// In the order of their percentiles.
    knots: Vec<(Percentile, Tokens)>,
}

impl QuantileTable {
    /// From pairs of a percentage and a count, in any order.
    ///
    /// # Panics
    ///
    /// When a percentage is outside 0..=100, or the table breaks a rule of [`Self::validate`].
    #[must_use]
    pub fn new(quantiles: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let knots = quantiles.into_iter().map(|(percent, count)| {
            let percentile = Percentile::checked(percent).expect("a percentage is in 0..=100");
            (percentile, Tokens::new(count))
        });
        let table = Self::sorted(knots.collect());
        let mut problems = Vec::new();
        table.validate("table", &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        table
    }

    /// The count below which this share of all counts lies, to the nearest token.
    ///
    /// # Panics
    ///
    /// When the table has fewer than two counts, and so is not valid, as [`Self::validate`] says.
    #[must_use]
    pub fn at(&self, share: f64) -> Tokens {
        let percent = share * 100.0;
        let above = self.knots.partition_point(|(percentile, _)| percentile.0 < percent);
        // The knots at the ends bound every share, so one knot stands on either side.
        let above = above.clamp(1, self.knots.len() - 1);
        let ((lower, low), (upper, high)) = (self.knots[above - 1], self.knots[above]);
        let part = (percent - lower.0) / (upper.0 - lower.0);
        at_least_one((low.as_f64() + part * (high - low).as_f64()).round())
    }

    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// this table in its file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        let mut check = |holds, name: &dyn fmt::Display, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{name}"), expected);
        };
        let has = |end| self.knots.iter().any(|(percentile, _)| *percentile == end);
        check(has(Percentile::MIN), &"min", "the smallest count");
        check(has(Percentile::MAX), &"max", "the largest count");
        if let Some((percentile, count)) = self.knots.first() {
            check(*count >= Tokens::new(1), percentile, "at least 1 token");
        }
        for pair in self.knots.windows(2) {
            let ((before, low), (percentile, high)) = (pair[0], pair[1]);
            check(before != percentile, &percentile, "each percentile once");
            check(low <= high, &percentile, "a count that is not below that of a lower percentile");
        }
    }

    fn sorted(mut knots: Vec<(Percentile, Tokens)>) -> Self {
        knots.sort_by_key(|(percentile, _)| *percentile);
        Self { knots }
    }
}

impl Serialize for QuantileTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.knots.iter().map(|(name, count)| (name.to_string(), count)))
    }
}

impl<'de> Deserialize<'de> for QuantileTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = QuantileTable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("quantiles such as {min: 1, p50: 129, p99: 601, max: 1000}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QuantileTable, A::Error> {
                // A map type would drop a percentile that is written twice without a word.
                let mut knots = Vec::new();
                while let Some(knot) = map.next_entry()? {
                    knots.push(knot);
                }
                Ok(QuantileTable::sorted(knots))
            }
        }

        deserializer.deserialize_map(Table)
    }
}

impl JsonSchema for QuantileTable {
    fn schema_name() -> Cow<'static, str> {
        "QuantileTable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Quantiles of a token count, with straight lines between them.",
            "properties": {
                "min": { "type": "integer", "minimum": 1, "description": "The smallest count." },
                "max": { "type": "integer", "minimum": 1, "description": "The largest count." },
            },
            "patternProperties": {
                r"^p\d+(\.\d+)?$": { "type": "integer", "minimum": 1 },
            },
            "additionalProperties": false,
        })
    }
}

/// A percentile: `p50` is the median, `min` and `max` are the ends, also written `p0` and `p100`.
#[derive(Debug, Clone, Copy)]
pub struct Percentile(f64);

impl Percentile {
    /// The smallest value.
    pub const MIN: Self = Self(0.0);
    /// The largest value.
    pub const MAX: Self = Self(100.0);

    /// From a percentage; `None` when it is outside 0..=100.
    #[must_use]
    pub const fn checked(percent: f64) -> Option<Self> {
        if percent >= 0.0 && percent <= 100.0 { Some(Self(percent)) } else { None }
    }
}

// Values are never NaN, so the total order is the numeric one.
impl PartialEq for Percentile {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Percentile {}

impl PartialOrd for Percentile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Percentile {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MIN {
            f.write_str("min")
        } else if *self == Self::MAX {
            f.write_str("max")
        } else {
            write!(f, "p{}", self.0)
        }
    }
}

impl FromStr for Percentile {
    type Err = ParsePercentileError;

    fn from_str(text: &str) -> Result<Self, ParsePercentileError> {
        let error = || ParsePercentileError(text.to_owned());
        match text {
            "min" => Ok(Self::MIN),
            "max" => Ok(Self::MAX),
            _ => {
                let number = text.strip_prefix('p').ok_or_else(error)?;
                if !number.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(error());
                }
                number.parse().ok().and_then(Self::checked).ok_or_else(error)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Percentile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Percentile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"min\", \"max\" or a percentile such as \"p50\" or \"p99.9\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Percentile, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// The text is no percentile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected \"min\", \"max\" or a percentile such as \"p50\" or \"p99.9\", not {0:?}")]
pub struct ParsePercentileError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_and_written() {
        for (text, canonical) in
            [("p50", "p50"), ("p99.9", "p99.9"), ("min", "min"), ("p0", "min"), ("p100", "max")]
        {
            assert_eq!(text.parse::<Percentile>().unwrap().to_string(), canonical, "{text}");
        }
        for text in ["", "p", "50", "p-1", "p101", "pNaN", "p+5", "P50", "median"] {
            assert!(text.parse::<Percentile>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lines_run_between_the_knots() {
        let table = QuantileTable::new([(100.0, 1000), (0.0, 1), (50.0, 11)]);
        for (share, count) in [(0.0, 1), (0.25, 6), (0.5, 11), (0.75, 506), (1.0, 1000)] {
            assert_eq!(table.at(share), Tokens::new(count), "{share}");
        }
        let single = QuantileTable::new([(0.0, 5), (100.0, 5)]);
        assert_eq!(single.at(0.3), Tokens::new(5));
    }

    #[test]
    fn every_problem_of_a_table_is_found() {
        let check = |text: &str, expected: &[&str]| {
            let table: QuantileTable = serde_json::from_str(text).unwrap();
            let mut problems = Vec::new();
            table.validate("q", &mut problems);
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        };
        check(r#"{"p0": 1, "p100": 1}"#, &[]);
        check("{}", &["q.min: expected the smallest count", "q.max: expected the largest count"]);
        check(
            r#"{"min": 0, "p50": 9, "p90": 8, "max": 8}"#,
            &[
                "q.min: expected at least 1 token",
                "q.p90: expected a count that is not below that of a lower percentile",
            ],
        );
        check(r#"{"min": 1, "max": 9, "p100": 9}"#, &["q.max: expected each percentile once"]);
    }
}
