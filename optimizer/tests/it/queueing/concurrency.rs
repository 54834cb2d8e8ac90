//! Batch limits, against those that llm-inferno's queue-analysis 0.8 finds.
//!
//! `concurrency.json` holds its published records: the throughput within the targets at twelve
//! limits for six scenarios, and the limit that its search chooses for 36, among 1 to 256. Its
//! numbers are 32-bit floats, from a search that stops when a latency is within 1e-6 of its target:
//! where the latency hardly depends on the rate, that fixes the rate to 1e-4. A throughput of 0 says
//! that the targets are out of reach.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use optimizer::queueing::{Concurrency, Replica, Targets};
use optimizer::units::Seconds;
use serde::Deserialize;

use super::{model, near, shape};

const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Records {
    curves: Vec<Curve>,
    searches: Vec<Search>,
}

#[derive(Deserialize)]
struct Curve {
    #[serde(flatten)]
    scenario: Scenario,
    throughput: BTreeMap<u32, f64>,
}

#[derive(Deserialize)]
struct Search {
    #[serde(flatten)]
    scenario: Scenario,
    chosen: u32,
    throughput: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scenario {
    name: String,
    params: Vec<f64>,
    input: u64,
    output: u64,
    ttft_ms: f64,
    itl_ms: f64,
    max_queue: u32,
}

impl Scenario {
    fn targets(&self) -> Targets {
        Targets {
            ttft: Some(Seconds::from_millis(self.ttft_ms)),
            itl: Some(Seconds::from_millis(self.itl_ms)),
            ..Targets::default()
        }
    }

    /// Requests per second under a batch limit; 0 when the targets are out of reach.
    fn throughput(&self, max_batch: u32) -> f64 {
        let model = model("V2", &self.params, None);
        let shape = shape(self.input, self.output);
        let max_batch = NonZeroU32::new(max_batch).unwrap();
        let replica = Replica::new(model, shape, max_batch, self.max_queue).unwrap();
        let sizing = replica.size(&self.targets());
        sizing.map_or(0.0, |sizing| sizing.performance.steady.throughput.value())
    }

    fn optimal(&self) -> Option<(u32, f64)> {
        let (model, shape) = (model("V2", &self.params, None), shape(self.input, self.output));
        let limit = NonZeroU32::new(256).unwrap();
        let found = Concurrency::optimal(model, shape, limit, self.max_queue, &self.targets());
        let found = found.ok()?;
        let throughput = found.sizing.performance.steady.throughput.value();
        Some((found.max_batch.get(), throughput))
    }
}

/// With a batch of one the original has 0 everywhere, which is the defect that
/// `a_batch_of_one_meets_loose_targets_and_misses_tight_ones` is about: the targets are in reach.
#[test]
fn throughput_rises_with_the_batch_limit_as_published() {
    for Curve { scenario, throughput } in records().curves {
        for (max_batch, expected) in throughput {
            let what = format!("{} at {max_batch}", scenario.name);
            let actual = scenario.throughput(max_batch);
            if max_batch == 1 {
                assert!(actual > expected, "{what}: {actual}");
            } else {
                near(&what, actual, expected, TOLERANCE, 0.0);
            }
        }
    }
}

/// The original stops halving after six steps, which leaves a bracket of up to four limits, and
/// takes its upper end. Here the search goes on, so that the limit is as much smaller in 17 of the
/// 36 scenarios, and serves as much.
#[test]
fn the_batch_limit_is_in_the_bracket_that_the_published_search_ends_with() {
    let mut same = 0;
    for Search { scenario, chosen, throughput } in records().searches {
        let what = &scenario.name;
        let Some((max_batch, served)) = scenario.optimal() else {
            assert!(throughput <= 0.0, "{what}: the original serves {throughput}");
            same += 1;
            continue;
        };
        near(what, scenario.throughput(chosen), throughput, TOLERANCE, 0.0);
        assert!(max_batch <= chosen && chosen - max_batch < 4, "{what}: {max_batch}, not {chosen}");
        let most = scenario.throughput(256);
        assert!(served >= 0.99 * most, "{what}: {served} of {most}");
        same += u32::from(max_batch == chosen);
    }
    assert_eq!(same, 19);
}

/// The original takes an absent target for one that no batch keeps, and so answers 3 at most.
#[test]
fn without_targets_nothing_limits_the_batch() {
    let (model, shape) = (model("V2", &[8.0, 0.033, 0.000_333], None), shape(256, 1024));
    let limit = NonZeroU32::new(256).unwrap();
    let found = Concurrency::optimal(model, shape, limit, 128, &Targets::default()).unwrap();
    assert_eq!(found.max_batch, limit);
    let out_of_reach = Targets { itl: Some(Seconds::from_millis(1.0)), ..Targets::default() };
    assert!(Concurrency::optimal(model, shape, limit, 128, &out_of_reach).is_err());
}

fn records() -> Records {
    serde_json::from_str(include_str!("concurrency.json")).unwrap()
}
