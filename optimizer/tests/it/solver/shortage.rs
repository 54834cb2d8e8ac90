//! Pools that are too small: group F of the workload-variant-autoscaler 0.9's vectors ("GS").

use optimizer::solver::{Budget, Group, PoolIdx, Problem, Proof, fast, grow};
use optimizer::units::{Gpus, Replicas};

use super::moves::{Variant, role, variant};
use super::{counts, drawn, fits, group, problem};

/// A model with one role: what it lacks, its variants, the GPUs of one replica and its pools.
fn model(lacks: f64, variants: &[(Variant, u32, &[usize])]) -> Group {
    let of: Vec<Variant> = variants.iter().map(|(variant, ..)| variant.clone()).collect();
    let mut role = role(&[lacks], &of);
    for (option, (_, gpus, pools)) in role.options.iter_mut().zip(variants) {
        option.gpus = Gpus::new(*gpus);
        option.pools = pools.iter().copied().map(PoolIdx).collect();
    }
    role
}

/// A model with one variant of cost 5, capacity 10,000 and 2 GPUs, of which one replica runs.
fn plain(lacks: f64, pools: &[usize]) -> Group {
    model(lacks, &[(variant(5.0, 1e4, 1), 2, pools)])
}

/// A problem where this many GPUs are free.
fn with_free(groups: Vec<Group>, free: &[u32]) -> Problem {
    let mut problem = problem(groups, free);
    let used = problem.drawn(&problem.current());
    for (pool, used) in problem.pools.iter_mut().zip(used) {
        *pool = Budget(pool.0 + Gpus::new(u32::try_from(used).unwrap()));
    }
    problem
}

fn check(id: &str, groups: Vec<Group>, free: &[u32], expected: &[&[u32]]) {
    let problem = with_free(groups, free);
    let solution = grow(&problem);
    assert_eq!(counts(&solution.allocation), expected, "{id}");
    assert!(fits(&problem, &solution.allocation), "{id}");
}

#[test]
fn one_model_takes_what_there_is() {
    let two = |lacks, exp: u32| {
        let variants =
            [(variant(5.0, 1e4, 1), 2, &[0_usize][..]), (variant(15.0, 2e4, 1), exp, &[1])];
        vec![model(lacks, &variants)]
    };
    check("GS-01", two(2e4, 4), &[10, 8], &[&[3, 1]]);
    check("GS-02", vec![plain(5e4, &[0])], &[4], &[&[3]]);
    check("GS-07", two(3e4, 4), &[4, 0], &[&[3, 1]]);
    check("GS-08, no budget", vec![plain(2e4, &[0])], &[0], &[&[1]]);
    check("GS-08, no such pool", vec![plain(2e4, &[9])], &[], &[&[1]]);
    // Upstream does not scale without a finite limit.
    check("GS-18", vec![plain(5e4, &[])], &[], &[&[6]]);
}

#[test]
fn models_share_by_need_and_priority() {
    let plain15 = |lacks| model(lacks, &[(variant(5.0, 1.5e4, 1), 2, &[0])]);
    let prior = |priority, lacks, pools: &[usize]| Group { priority, ..plain(lacks, pools) };
    check("GS-03", vec![plain15(5e4), plain15(1e4)], &[8], &[&[4], &[2]]);
    check("GS-04", vec![plain15(5e4), plain15(3e4), plain15(1e4)], &[12], &[&[4], &[3], &[2]]);
    check("GS-05", vec![plain(2e4, &[0]), plain(2e4, &[0])], &[8], &[&[3], &[3]]);
    let h100 = model(3e4, &[(variant(15.0, 2e4, 1), 4, &[0])]);
    check("GS-06", vec![h100, plain(2e4, &[1])], &[4, 6], &[&[2], &[3]]);
    check("GS-09", vec![prior(1.0, 2e4, &[0]), prior(5.0, 2e4, &[0])], &[4], &[&[1], &[3]]);
    // Analyzers with scores of 1 and 2 ask for the first model, that with 1 for the second: what
    // upstream multiplies with the need, the caller puts into the priority.
    check("GS-10", vec![prior(3.0, 2e4, &[0]), prior(1.0, 2e4, &[0])], &[4], &[&[3], &[1]]);
}

#[test]
fn roles_of_a_model_grow_together() {
    let pair = |prefill: Group, decode: Group| {
        vec![Group { joined: Some(7), ..prefill }, Group { joined: Some(7), ..decode }]
    };
    let decode3 = model(5e3, &[(variant(5.0, 1e4, 3), 2, &[0])]);
    check("GS-11", pair(plain(1.5e4, &[0]), decode3), &[10], &[&[3], &[4]]);
    check("GS-12", pair(plain(1e4, &[0]), plain(3e4, &[0])), &[12], &[&[2], &[4]]);
    check("GS-13", pair(plain(2e4, &[0]), plain(2e4, &[1])), &[0, 4], &[&[1], &[1]]);
    // Of six GPUs, two replicas go to one role and one to the other; neither gets all.
    check("together", pair(plain(3e4, &[0]), plain(3e4, &[0])), &[6], &[&[2], &[2]]);
}

#[test]
fn quotas_bind_like_pools() {
    check("GS-14", vec![plain(5e4, &[0, 1])], &[100, 2], &[&[2]]);
    let prior = |priority| Group { priority, ..plain(5e4, &[0]) };
    check("GS-15", vec![prior(100.0), prior(1.0)], &[2], &[&[2], &[1]]);
    let models = vec![plain(2e4, &[0, 1]), plain(2e4, &[0, 2])];
    check("GS-16", models, &[100, 0, 6], &[&[1], &[3]]);
    check("GS-17", vec![plain(2e4, &[0, 1])], &[100, 0], &[&[1]]);
}

#[test]
fn a_shortage_stays_where_it_is() {
    let options = |pool| vec![drawn(1.0, &[0.5], 1, &[pool])];
    let solution =
        fast(&problem(vec![group(options(0)), group(options(0)), group(options(1))], &[3, 9]));
    assert_eq!(counts(&solution.allocation), [[2], [1], [2]]);
    assert_eq!(solution.uncovered, [1]);
    assert_eq!(solution.proof, Proof::Short { certain: true });
}

#[test]
fn a_group_that_cannot_be_covered_takes_what_it_can_and_costs_nobody_the_proof() {
    let mut hopeless = group(vec![drawn(1.0, &[0.1], 1, &[0])]);
    hopeless.options[0].max = Replicas::new(4);
    let rest = group(vec![drawn(2.0, &[0.5], 1, &[0])]);
    let solution = fast(&problem(vec![hopeless, rest], &[6]));
    assert_eq!(counts(&solution.allocation), [[4], [2]]);
    assert_eq!((solution.uncovered, solution.proof), (vec![0], Proof::Optimal));
}

#[test]
fn the_fewest_replicas_are_there_whatever_the_pools_say() {
    let mut fixed = group(vec![drawn(1.0, &[0.25], 2, &[0])]);
    fixed.options[0].min = Replicas::new(3);
    let solution = fast(&problem(vec![fixed], &[0]));
    assert_eq!(counts(&solution.allocation), [[3]]);
    assert_eq!(solution.uncovered, [0]);
}
