//! What the tests read.

#![expect(dead_code, reason = "the fields are there for serde to fill")]

use std::collections::BTreeMap;

use serde::Deserialize;

/// A small cousin of a scenario, with one field of each kind that scenarios have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    seed: u64,
    duration: Duration,
    #[serde(default)]
    pub(super) models: Vec<Model>,
    #[serde(default)]
    pub(super) prices: BTreeMap<Accelerator, f64>,
    #[serde(default)]
    window: Option<[u32; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    name: String,
    slo: Slo,
    #[serde(default)]
    arrivals: Arrivals,
    #[serde(default)]
    replicas: Replicas,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slo {
    ttft: Duration,
    tpot: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Arrivals {
    #[default]
    None,
    Constant(f64),
    Gamma {
        rate: f64,
        cv: f64,
    },
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Accelerator {
    H100,
    L40S,
}

#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Bounds")]
struct Replicas;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    min: u32,
    max: u32,
}

impl TryFrom<Bounds> for Replicas {
    type Error = &'static str;

    fn try_from(bounds: Bounds) -> Result<Self, Self::Error> {
        if bounds.min <= bounds.max { Ok(Self) } else { Err("expected min to be at most max") }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Duration;

impl TryFrom<String> for Duration {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number = text.strip_suffix("ms").or(text.strip_suffix('s'));
        number
            .and_then(|number| number.parse::<f64>().ok())
            .map(|_| Self)
            .ok_or("expected a duration, such as 150ms")
    }
}
