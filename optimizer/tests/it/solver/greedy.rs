//! llm-inferno's greedy solver: four scenarios under each policy, grouped and delayed, computed from
//! its published rules (2025-09), and the transition values of its unit tests.

use std::fmt::Write;

use optimizer::solver::greedy::{
    BestEffort, Candidate, Choice, SaturationPolicy, Server, allocate, transition_value,
};
use optimizer::solver::{Budget, PoolIdx};
use optimizer::units::{Fraction, Gpus, HourlyCost, Replicas};

/// A server: its priority, and its candidates as pool, replicas and value.
type Row<'a> = (u32, &'a [(usize, u32, f64)]);

/// What servers get, as in "s1 A4, s3 B1", under each policy: none, exhaustive, in turns by priority
/// and in turns, each grouped and delayed.
fn check(id: &str, gpus: [u32; 2], pools: [u32; 2], servers: &[Row<'_>], expected: [&str; 8]) {
    let servers: Vec<Server> = servers
        .iter()
        .map(|&(priority, candidates)| {
            let candidates = candidates.iter().map(|&(pool, replicas, value)| Candidate {
                replicas: Replicas::new(replicas),
                value,
                gpus: Gpus::new(gpus[pool]),
                pool: PoolIdx(pool),
            });
            Server { priority, candidates: candidates.collect() }
        })
        .collect();
    let policies = [
        SaturationPolicy::None,
        SaturationPolicy::PriorityExhaustive,
        SaturationPolicy::PriorityRoundRobin,
        SaturationPolicy::RoundRobin,
    ];
    let runs = policies.into_iter().flat_map(|policy| [(policy, false), (policy, true)]);
    for ((policy, delayed), expected) in runs.zip(expected) {
        let pools = pools.map(|gpus| Budget(Gpus::new(gpus)));
        let choices = allocate(&servers, &pools, BestEffort { policy, delayed });
        let mut text = String::new();
        for (idx, choice) in choices.iter().enumerate() {
            if let Some(choice) = choice {
                let pool = servers[idx].candidates[choice.candidate].pool.0;
                let separator = if text.is_empty() { "" } else { ", " };
                let name = ["A", "B"][pool];
                write!(text, "{separator}s{} {name}{}", idx + 1, choice.replicas).unwrap();
            }
        }
        assert_eq!(text, expected, "{id} {policy:?} delayed {delayed}");
    }
}

#[test]
fn the_largest_regret_chooses_first() {
    let servers: [Row<'_>; 3] = [
        (1, &[(0, 3, 33.0), (1, 1, 34.0)]),
        (1, &[(0, 2, 22.0), (1, 2, 66.0)]),
        (2, &[(0, 2, 22.0), (1, 1, 33.0)]),
    ];
    check("g1", [1, 2], [4, 4], &servers, ["s1 B1, s2 A2, s3 A2"; 8]);
}

#[test]
fn what_does_not_fit_whole_is_shared_by_policy() {
    let servers: [Row<'_>; 4] = [
        (1, &[(0, 4, 44.0)]),
        (1, &[(0, 4, 44.5), (1, 3, 99.0)]),
        (2, &[(0, 3, 33.0), (1, 2, 66.0)]),
        (3, &[(0, 2, 22.0)]),
    ];
    let (none, some) = ("s1 A4", "s1 A4, s2 A1, s3 B1");
    let expected = [none, none, some, some, some, some, some, some];
    check("g2", [1, 2], [5, 2], &servers, expected);

    let servers: [Row<'_>; 3] = [(1, &[(0, 6, 66.0)]), (1, &[(0, 5, 55.0)]), (2, &[(0, 5, 55.0)])];
    let (first, turns) = ("s1 A4", "s1 A2, s2 A2");
    let expected = ["", "", first, first, turns, turns, turns, "s1 A2, s2 A1, s3 A1"];
    check("g3", [1, 1], [4, 0], &servers, expected);

    let servers: [Row<'_>; 2] = [(1, &[(0, 4, 44.0), (1, 2, 44.5)]), (2, &[(0, 2, 22.0)])];
    let (none, grouped, delayed) = ("s2 A2", "s1 A3", "s1 A1, s2 A2");
    let expected = [none, none, grouped, delayed, grouped, delayed, grouped, delayed];
    check("g4", [1, 1], [3, 0], &servers, expected);
}

#[test]
fn broken_numbers_do_no_harm() {
    let candidate = |value, gpus, pool| Candidate {
        replicas: Replicas::new(u32::MAX),
        value,
        gpus: Gpus::new(gpus),
        pool: PoolIdx(pool),
    };
    let candidates = vec![candidate(f64::NAN, 0, 0), candidate(f64::NEG_INFINITY, 1, 5)];
    let servers = [Server { priority: 0, candidates }, Server { priority: 0, candidates: vec![] }];
    let policy = SaturationPolicy::PriorityExhaustive;
    let choices = allocate(&servers, &[], BestEffort { policy, delayed: true });
    // What needs no GPU fits everywhere.
    let all = Choice { candidate: 0, replicas: Replicas::new(u32::MAX) };
    assert_eq!(choices, [Some(all), None]);
}

/// llm-inferno's unit test, also in group K of the workload-variant-autoscaler 0.5's vectors (K1).
#[test]
fn a_change_of_accelerator_has_to_pay_for_itself() {
    let current = Some((0, HourlyCost::new(100.0)));
    let check = |current, accelerator, cost, expected: f64| {
        let next = (accelerator, HourlyCost::new(cost));
        let value = transition_value(current, next, Fraction::new(0.1));
        assert!((value - expected).abs() < 1e-12, "{value}, not {expected}");
    };
    check(current, 0, 100.0, 0.0);
    check(current, 0, 150.0, 50.0);
    check(current, 1, 120.0, 42.0);
    check(None, 1, 30.0, 33.0);
}
