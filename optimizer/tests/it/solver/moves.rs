//! Additions and removals: group E of the workload-variant-autoscaler 0.9's vectors ("CA"), group E
//! of the 0.5's ("E"), and group J of the 0.9's ("DV"), which names defects and the better answer.

use optimizer::solver::{Group, GroupOption, Problem, exact, grow, shrink};
use optimizer::units::{Gpus, HourlyCost, Replicas};

use super::{MANY, counts, group, option, problem};

/// A variant: its cost, what one replica can do in the unit of each analyzer, and its replicas.
#[derive(Clone)]
pub(super) struct Variant {
    pub(super) cost: f64,
    pub(super) capacity: Vec<f64>,
    pub(super) current: u32,
    pub(super) min: u32,
    pub(super) max: Option<u32>,
}

pub(super) fn variant(cost: f64, capacity: f64, current: u32) -> Variant {
    Variant { cost, capacity: vec![capacity], current, min: 0, max: None }
}

/// A role of which each analyzer says how much it lacks (above zero) or can spare (below).
pub(super) fn role(lacks: &[f64], variants: &[Variant]) -> Group {
    let options = variants.iter().map(|variant| {
        let per_need = |load: &dyn Fn(usize, f64) -> f64| {
            let cover = |need: usize| {
                let supply = variants.iter();
                let supply: f64 = supply.map(|of| of.capacity[need] * f64::from(of.current)).sum();
                let load = load(need, supply);
                if load > 0.0 { variant.capacity[need] / load } else { f64::INFINITY }
            };
            (0..lacks.len()).map(cover).collect()
        };
        GroupOption {
            cost: HourlyCost::new(variant.cost),
            // Who neither lacks nor can spare anything is between the marks.
            covers: per_need(&|need, supply| supply + lacks[need]),
            kept: per_need(&|need, supply| supply + lacks[need]),
            min: Replicas::new(variant.min),
            max: variant.max.map_or(MANY, Replicas::new),
            current: Replicas::new(variant.current),
            ..GroupOption::default()
        }
    });
    group(options.collect())
}

/// What additions and removals make of a problem: where nothing is added, replicas may go.
fn moved(problem: &Problem) -> Vec<Vec<u32>> {
    let (grown, shrunk) = (grow(problem), shrink(problem, false));
    let pairs = counts(&grown.allocation).into_iter().zip(counts(&shrunk));
    let current = counts(&problem.current()).into_iter();
    pairs.zip(current).map(|((up, down), now)| if up == now { down } else { up }).collect()
}

fn check(id: &str, lacks: f64, variants: &[Variant], expected: &[u32]) {
    assert_eq!(moved(&problem(vec![role(&[lacks], variants)], &[])), [expected], "{id}");
}

#[test]
fn additions_are_the_cheapest() {
    let v = variant;
    check("CA-01, E1", 5e3, &[v(5.0, 1e4, 2), v(15.0, 2e4, 1)], &[3, 1]);
    check("CA-02, E2", 5e3, &[v(5.0, 1e4, 2), v(10.0, 1.5e4, 1)], &[3, 1]);
    check("CA-03, E3", 5e3, &[v(1.0, 0.0, 0), v(10.0, 1e4, 1)], &[0, 2]);
    check("CA-04, E4", 25e3, &[v(5.0, 1e4, 1), v(10.0, 1.5e4, 1)], &[4, 1]);
    let full = Variant { max: Some(3), ..v(5.0, 1e4, 1) };
    // Upstream fills up the cheap one first and gets 3 and 2, which cost 5 more.
    check("CA-05", 30e3, &[full, v(15.0, 2e4, 1)], &[2, 2]);
    check("E10", 0.0, &[v(5.0, 1e4, 2)], &[2]);
}

#[test]
fn removals_are_the_most_expensive() {
    let v = variant;
    check("CA-06, E5", -15e3, &[v(5.0, 1e4, 3), v(15.0, 2e4, 2)], &[2, 2]);
    check("CA-07, E6", -30e3, &[v(15.0, 2e4, 1), v(5.0, 1e4, 1)], &[0, 1]);
    check("CA-08, E7", -15e3, &[v(15.0, 2e4, 1), v(5.0, 1e4, 1)], &[1, 0]);
    let three = [v(15.0, 2e4, 2), v(10.0, 1.5e4, 2), v(5.0, 1e4, 2)];
    check("CA-09, E8", -50e3, &three, &[0, 2, 1]);
    let bounded = Variant { min: 2, ..v(15.0, 2e4, 3) };
    check("CA-10", -50e3, &[bounded, v(5.0, 1e4, 3)], &[2, 0]);
    let kept = Variant { min: 1, ..v(15.0, 2e4, 2) };
    check("CA-11", -80e3, &[kept, v(5.0, 1e4, 3)], &[1, 0]);
    check("E9", -25e3, &[v(5.0, 1e4, 3), v(15.0, 2e4, 2)], &[3, 1]);
}

#[test]
fn roles_move_by_themselves() {
    let v = variant;
    let check =
        |id: &str, prefill: (f64, &[Variant]), decode: (f64, &[Variant]), expected: [&[u32]; 2]| {
            let mut groups = vec![role(&[prefill.0], prefill.1), role(&[decode.0], decode.1)];
            for group in &mut groups {
                group.joined = Some(0);
            }
            assert_eq!(moved(&problem(groups, &[])), expected, "{id}");
        };
    check("CA-12", (0.0, &[v(15.0, 1e4, 2)]), (-2e4, &[v(5.0, 1e4, 3)]), [&[2], &[1]]);
    check("CA-13", (-1e4, &[v(5.0, 1e4, 3)]), (-2e4, &[v(5.0, 1e4, 3)]), [&[2], &[1]]);
    check("CA-15", (2e4, &[v(5.0, 1e4, 1)]), (2e4, &[v(5.0, 1e4, 1)]), [&[3], &[3]]);
    check("CA-16", (0.0, &[v(5.0, 1e4, 2)]), (1e4, &[v(5.0, 1e4, 1)]), [&[2], &[2]]);
    let two = [v(5.0, 1e4, 2), v(15.0, 1e4, 2)];
    check("CA-17", (-2e4, &two), (-1e4, &[v(5.0, 1e4, 3)]), [&[2, 0], &[2]]);
    // Upstream, prefill at its most stops decode, though nobody wants more prefill.
    let full = Variant { max: Some(2), ..v(5.0, 1e4, 2) };
    check("DV-02", (-2e4, &[full]), (3e4, &[v(5.0, 1e4, 1)]), [&[1], &[4]]);
    // Upstream, a role that needs more stops the other from letting go. Here decode lets one go of
    // the two that it can spare: a third of the load has not passed prefill yet.
    check("D3", (1e4, &[v(5.0, 1e4, 2)]), (-2e4, &[v(5.0, 1e4, 4)]), [&[3], &[3]]);
    check("CA-14", (0.0, &[]), (-2e4, &[v(10.0, 1e4, 1), v(5.0, 1e4, 1)]), [&[], &[0, 1]]);
}

#[test]
fn the_largest_of_several_needs_counts() {
    let two = |cost, capacity: [f64; 2], current, max| Variant {
        capacity: capacity.to_vec(),
        max,
        ..variant(cost, 0.0, current)
    };
    let check = |id: &str, lacks: [f64; 2], variants: &[Variant], expected: &[u32]| {
        assert_eq!(moved(&problem(vec![role(&lacks, variants)], &[])), [expected], "{id}");
    };
    check("CA-18", [5e3, 25e3], &[two(5.0, [1e4; 2], 2, None)], &[5]);
    // Upstream takes what one analyzer counts off what the other lacks, and stops at b 1.
    let variants = [two(5.0, [1e5, 1e3], 1, Some(3)), two(10.0, [1e5, 1e3], 1, None)];
    check("DV-01", [0.0, 5e3], &variants, &[3, 4]);
    // Nothing goes while one analyzer needs it.
    check("kept by one", [-15e3, 0.0], &[two(5.0, [1e4; 2], 2, None)], &[2]);
}

#[test]
fn models_move_by_themselves() {
    let groups =
        vec![role(&[5e3], &[variant(5.0, 1e4, 1)]), role(&[-1e4], &[variant(10.0, 1e4, 2)])];
    assert_eq!(moved(&problem(groups, &[])), [[2], [1]], "E11");
}

#[test]
fn the_last_replica_goes_only_on_request() {
    let of = |min| {
        let idle = Variant { min, ..variant(5.0, 1e4, 2) };
        problem(vec![role(&[-3e4], &[idle, variant(5.0, 1e4, 1)])], &[])
    };
    // Of equal cost, what comes last goes first.
    assert_eq!(counts(&shrink(&of(0), false)), [[1, 0]]);
    assert_eq!(counts(&shrink(&of(0), true)), [[0, 0]]);
    assert_eq!(counts(&shrink(&of(1), true)), [[1, 0]]);
}

#[test]
fn replicas_that_nobody_knows_stay() {
    let mut known = role(&[-1e4], &[variant(5.0, 1e4, 2), variant(50.0, 0.0, 1)]);
    assert_eq!(counts(&shrink(&problem(vec![known.clone()], &[]), true)), [[1, 1]]);
    known.options[1].kept = vec![f64::NAN];
    assert_eq!(counts(&shrink(&problem(vec![known], &[]), true)), [[1, 1]]);
    let free = group(vec![GroupOption { current: Replicas::new(2), ..option(1.0, &[]) }]);
    assert_eq!(counts(&shrink(&problem(vec![free.clone()], &[]), false)), [[1]]);
    assert_eq!(counts(&shrink(&problem(vec![free], &[]), true)), [[0]]);
}

/// Row K2 of the workload-variant-autoscaler 0.5: without load and without a minimum there is
/// nothing, and it costs nothing.
#[test]
fn k2_no_load_needs_nothing() {
    let option = GroupOption {
        cost: HourlyCost::new(100.0),
        covers: vec![f64::INFINITY],
        max: Replicas::new(8),
        gpus: Gpus::new(1),
        ..GroupOption::default()
    };
    let group = Group { priority: 1.0, options: vec![option], single: false, joined: None };
    let problem = Problem { groups: vec![group], ..Problem::default() };
    let solution = exact(&problem, 10);
    assert_eq!(solution.allocation.counts, [[Replicas::ZERO]]);
    assert_eq!(solution.cost, HourlyCost::ZERO);
}
