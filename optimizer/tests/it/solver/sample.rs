//! The sample data of llm-inferno, end to end: from profiles of models on accelerators, by way of the
//! queueing model, to allocations.
//!
//! `sample.json` holds its accelerators, profiles, targets and pools of 2025-09 (law V0) and 2026-03
//! (V1, V2), and results: the greedy ones are those of its own solution files where such exist; the
//! mixed-integer ones were computed with `HiGHS` to a gap of 0, with the coverage scaled so that its
//! tolerance does not leave a server short. (With rates per millisecond as they are, V0 small comes
//! to 37,924.5 when servers may mix accelerators, of which one is short.) The queue is ten times as
//! long as the batch.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::LazyLock;

use optimizer::queueing::{
    DEFAULT_TOKEN_BUDGET, IterationCosts, PhaseCosts, Replica, RequestShape, ServiceModel, Targets,
};
use optimizer::solver::greedy::{BestEffort, Candidate, SaturationPolicy, Server, allocate};
use optimizer::solver::{
    Budget, Group, GroupOption, PoolIdx, Problem, Proof, Solution, exact, fast,
};
use optimizer::units::{Gpus, HourlyCost, Replicas, RequestRate, Seconds, Tokens};
use serde::Deserialize;

use super::{MANY, fits};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    accelerators: Vec<Accelerator>,
    /// Model, accelerator, accelerators per replica, largest batch in 2025, α and β of 2025 in ms.
    profiles: Vec<(String, String, u32, u32, f64, f64)>,
    /// By model and class: time between tokens and time to the first, in ms.
    targets: BTreeMap<String, BTreeMap<String, (f64, f64)>>,
    sets: Vec<Set>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accelerator {
    name: String,
    pool: String,
    gpus: u32,
    cost: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    law: String,
    large: bool,
    pools: BTreeMap<String, u32>,
    unlimited: f64,
    greedy: f64,
    single: f64,
    multi: f64,
    /// Accelerator, replicas and cost of the greedy solution.
    servers: BTreeMap<String, (String, u32, f64)>,
}

/// One server on one accelerator.
struct Placement {
    accelerator: usize,
    option: GroupOption,
    replicas: Replicas,
}

impl Set {
    /// The servers, with the accelerators that meet their targets.
    fn placements(&self, sample: &Sample) -> Vec<Vec<Placement>> {
        self.servers
            .keys()
            .map(|server| {
                let (class, model) = server.split_once('-').unwrap();
                let profiles = sample.profiles.iter().filter(|profile| profile.0 == model);
                profiles.filter_map(|profile| self.place(sample, class, profile)).collect()
            })
            .collect()
    }

    fn place(
        &self,
        sample: &Sample,
        class: &str,
        (model, name, count, batch, alpha, beta): &(String, String, u32, u32, f64, f64),
    ) -> Option<Placement> {
        let idx = sample.accelerators.iter().position(|of| of.name == *name).unwrap();
        let accelerator = &sample.accelerators[idx];
        let in_small = ["L4", "A100", "AIU2", "G2", "2xAIU2", "4xA100"].contains(&&**name);
        if !self.large && !in_small {
            return None;
        }
        let ms = Seconds::from_millis;
        let law = match &*self.law {
            "V0" => ServiceModel::V0(PhaseCosts {
                decode_base: ms(*alpha),
                decode_per_request: ms(*beta),
                prefill_base: ms(8.0 * alpha),
                prefill_per_token: ms(beta / 32.0),
            }),
            law => {
                let costs = IterationCosts {
                    overhead: ms(*alpha),
                    compute_per_token: ms(beta / 10.0),
                    read_per_token: ms(beta / 320.0),
                };
                match law {
                    "V1" => ServiceModel::V1(costs),
                    _ => ServiceModel::V2 { costs, token_budget: DEFAULT_TOKEN_BUDGET },
                }
            }
        };
        // Batches were measured with 512 output tokens, and those of 2026 are twice as large.
        let batch = if self.law == "V0" { *batch } else { 2 * batch };
        let batch = NonZeroU32::new((batch * 512 / 1024).max(1)).unwrap();
        let shape = RequestShape { input: Tokens::new(128), output: Tokens::new(1024) };
        let (itl, ttft) = sample.targets[model][class];
        let targets = Targets { itl: Some(ms(itl)), ttft: Some(ms(ttft)), ..Targets::default() };
        let replica = Replica::new(law, shape, batch, 10 * batch.get()).unwrap();
        let sizing = replica.size(&targets).ok()?;
        let per_minute = match class {
            "Premium" => 60.0,
            "Bronze" => 120.0,
            _ => 240.0,
        };
        let per_minute = if self.large { 2.0 * per_minute } else { per_minute };
        let load = RequestRate::new(per_minute / 60.0);
        let pool = self.pools.keys().position(|pool| *pool == accelerator.pool).unwrap();
        Some(Placement {
            accelerator: idx,
            replicas: sizing.replicas_for(load)?,
            option: GroupOption {
                cost: HourlyCost::new(accelerator.cost * f64::from(*count)),
                covers: vec![sizing.performance.steady.throughput / load],
                max: MANY,
                gpus: Gpus::new(accelerator.gpus * count),
                pools: vec![PoolIdx(pool)],
                ..GroupOption::default()
            },
        })
    }

    fn problem(&self, placements: &[Vec<Placement>], single: bool) -> Problem {
        let group = |placements: &Vec<Placement>| Group {
            priority: 1.0,
            options: placements.iter().map(|placement| placement.option.clone()).collect(),
            single,
            joined: None,
        };
        let pools = self.pools.values().map(|&gpus| Budget(Gpus::new(gpus))).collect();
        Problem { groups: placements.iter().map(group).collect(), pools, ..Problem::default() }
    }
}

/// The sample and, for each set, its placements: sizing takes longer than solving.
static SAMPLE: LazyLock<(Sample, Vec<Vec<Vec<Placement>>>)> = LazyLock::new(|| {
    let sample: Sample = serde_json::from_str(include_str!("sample.json")).unwrap();
    let placements = sample.sets.iter().map(|set| set.placements(&sample)).collect();
    (sample, placements)
});

fn each(check: impl Fn(&str, &Set, &[Vec<Placement>], &Sample)) {
    let (sample, placements) = &*SAMPLE;
    for (set, placements) in sample.sets.iter().zip(placements) {
        let id = format!("{} {}", set.law, if set.large { "large" } else { "small" });
        check(&id, set, placements, sample);
    }
}

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() < 1e-6
}

#[test]
fn the_greedy_solver_is_llm_infernos() {
    each(|id, set, placements, sample| {
        let value = |placement: &Placement| {
            1.1 * placement.option.cost.value() * placement.replicas.as_f64()
        };
        let servers: Vec<Server> = set
            .servers
            .keys()
            .zip(placements)
            .map(|(name, placements)| {
                let candidate = |placement: &Placement| Candidate {
                    replicas: placement.replicas,
                    value: value(placement),
                    gpus: placement.option.gpus,
                    pool: placement.option.pools[0],
                };
                let classes = ["Premium", "Bronze", "Free"];
                let class = classes.iter().position(|class| name.starts_with(class)).unwrap();
                let priority = u32::try_from(class).unwrap() + 1;
                Server { priority, candidates: placements.iter().map(candidate).collect() }
            })
            .collect();
        let pools: Vec<Budget> = set.pools.values().map(|&gpus| Budget(Gpus::new(gpus))).collect();
        let policy = BestEffort { policy: SaturationPolicy::RoundRobin, delayed: false };
        let mut total = 0.0;
        let choices = allocate(&servers, &pools, policy);
        for ((choice, placements), (name, expected)) in
            choices.iter().zip(placements).zip(&set.servers)
        {
            let choice = choice.unwrap();
            let placement = &placements[choice.candidate];
            let cost = placement.option.cost.value() * choice.replicas.as_f64();
            total += cost;
            assert!(close(cost, expected.2), "{id} {name}: {cost}, not {expected:?}");
            // Equally good accelerators are taken in another order there.
            let accelerator = &sample.accelerators[placement.accelerator].name;
            let tied = placements.iter().filter(|other| close(value(other), value(placement)));
            assert!(
                tied.count() > 1
                    || (accelerator, choice.replicas.get()) == (&expected.0, expected.1),
                "{id} {name}: {accelerator} {}, not {expected:?}",
                choice.replicas
            );
        }
        assert!(close(total, set.greedy), "{id}: {total}, not {}", set.greedy);
    });
}

#[test]
fn without_pools_each_server_takes_its_cheapest() {
    each(|id, set, placements, _| {
        let mut problem = set.problem(placements, true);
        for option in problem.groups.iter_mut().flat_map(|group| &mut group.options) {
            option.pools.clear();
        }
        let solution = fast(&problem);
        assert!(close(solution.cost.value(), set.unlimited), "{id}: {}", solution.cost);
        assert_eq!(solution.proof, Proof::Optimal, "{id}");
    });
}

#[test]
fn one_accelerator_each_is_solved_exactly() {
    each(|id, set, placements, _| {
        let problem = set.problem(placements, true);
        let solution = exact(&problem, 5000);
        assert_eq!(solution.proof, Proof::Optimal, "{id}: {}", solution.cost);
        assert!(close(solution.cost.value(), set.single), "{id}: {}", solution.cost);
        check_fast(id, &problem, &solution);
    });
}

#[test]
fn mixed_accelerators_are_solved_exactly() {
    each(|id, set, placements, _| {
        let problem = set.problem(placements, false);
        let solution = exact(&problem, 5000);
        assert_eq!(solution.proof, Proof::Optimal, "{id}: {}", solution.cost);
        assert!(close(solution.cost.value(), set.multi), "{id}: {}", solution.cost);
        check_fast(id, &problem, &solution);
    });
}

/// The fast solution covers all, fits, and costs at most 2 % more.
fn check_fast(id: &str, problem: &Problem, exact: &Solution) {
    assert_eq!(exact.uncovered, [0; 0], "{id}");
    assert!(fits(problem, &exact.allocation), "{id}");
    let fast = fast(problem);
    assert_eq!(fast.uncovered, [0; 0], "{id}");
    assert!(fits(problem, &fast.allocation), "{id}");
    let ratio = fast.cost / exact.cost;
    assert!((1.0 - 1e-12..=1.02).contains(&ratio), "{id}: {ratio}");
}
