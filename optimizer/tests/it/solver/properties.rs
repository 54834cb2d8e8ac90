//! What holds for every problem, broken ones included.

use optimizer::solver::{
    Budget, Group, GroupOption, PoolIdx, Problem, Proof, exact, fast, grow, shrink,
};
use optimizer::units::{Fraction, Gpus, HourlyCost, Replicas};
use proptest::prelude::*;

use super::{Draw, counts, drawn, fits, group, problem};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..2.0_f64,
        1 => Just(0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1.0),
        1 => Just(1e-300),
        1 => Just(f64::MAX),
    ]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..6_u32, 1 => Just(u32::MAX)]
}

fn any_option() -> impl Strategy<Value = GroupOption> {
    let cost = prop_oneof![4 => 0.0..50.0_f64, 1 => Just(0.0), 1 => Just(f64::MAX)];
    let covers = || prop::collection::vec(number(), 0..3);
    let numbers = (count(), count(), count(), count());
    let pools = prop::collection::vec(0..4_usize, 0..3);
    (cost, covers(), covers(), numbers, pools).prop_map(
        |(cost, covers, kept, (min, max, current, gpus), pools)| GroupOption {
            cost: HourlyCost::new(cost),
            covers,
            kept,
            min: Replicas::new(min),
            max: Replicas::new(max),
            current: Replicas::new(current),
            gpus: Gpus::new(gpus),
            pools: pools.into_iter().map(PoolIdx).collect(),
        },
    )
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let options = prop::collection::vec(any_option(), 0..4);
    let joined = prop::option::of(0..2_u32);
    let group = (number(), options, any::<bool>(), joined).prop_map(
        |(priority, options, single, joined)| Group { priority, options, single, joined },
    );
    let pools = prop::collection::vec(prop_oneof![8 => 0..20_u32, 1 => Just(u32::MAX)], 0..3);
    (prop::collection::vec(group, 0..5), pools, 0.0..=1.0_f64).prop_map(
        |(groups, pools, switching)| Problem {
            groups,
            pools: pools.into_iter().map(|gpus| Budget(Gpus::new(gpus))).collect(),
            switching: Fraction::new(switching),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_problem_is_a_panic_and_bounds_hold(problem in any_problem(), to_zero: bool) {
        for solution in [exact(&problem, 50), fast(&problem), grow(&problem)] {
            let groups = problem.groups.iter().zip(&solution.allocation.counts);
            for (group, counts) in groups {
                prop_assert_eq!(group.options.len(), counts.len());
            }
        }
        let rough = fast(&problem);
        for (group, counts) in problem.groups.iter().zip(&rough.allocation.counts) {
            for (option, count) in group.options.iter().zip(counts) {
                prop_assert!((option.min..=option.max.max(option.min)).contains(count));
            }
        }
        let grown = counts(&grow(&problem).allocation);
        let (current, shrunk) = (counts(&problem.current()), counts(&shrink(&problem, to_zero)));
        for (grown, (current, shrunk)) in grown.iter().zip(current.iter().zip(&shrunk)) {
            prop_assert!(grown.iter().zip(current).all(|(grown, current)| grown >= current));
            prop_assert!(shrunk.iter().zip(current).all(|(shrunk, current)| shrunk <= current));
        }
    }

    /// What removals leave still covers what is to be kept, if it was covered.
    #[test]
    fn removals_keep_the_marks(problem in any_problem(), to_zero: bool) {
        let shrunk = shrink(&problem, to_zero);
        for (group, counts) in problem.groups.iter().zip(&shrunk.counts) {
            let mut marks = group.clone();
            for option in &mut marks.options {
                if !option.kept.is_empty() {
                    option.covers = option.kept.clone();
                }
            }
            let current: Vec<Replicas> = group.options.iter().map(|of| of.current).collect();
            if marks.is_covered(&current) {
                prop_assert!(marks.is_covered(counts), "{:?} {:?}", marks, counts);
            } else {
                prop_assert_eq!(counts, &current);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The fast search is within 2 % of the cheapest where there are some groups to share the pools,
    /// covers all where that can be done, and does not waste what is left where it cannot.
    #[test]
    fn the_fast_search_is_close(seed: u64, groups in 12..30_u32, tightness in 0.7..1.1_f64) {
        let problem = fleet(seed, groups, tightness);
        let (best, rough) = (exact(&problem, 300), fast(&problem));
        prop_assert!(fits(&problem, &rough.allocation));
        if best.uncovered.is_empty() {
            prop_assert!(rough.uncovered.is_empty());
            let ratio = rough.cost / best.cost;
            prop_assert!(ratio <= 1.02, "{} {:?} {:?}", ratio, best.proof, rough.proof);
        } else {
            let short = matches!(rough.proof, Proof::Short { .. });
            prop_assert!(short, "{:?}", rough.proof);
            let drawn = problem.drawn(&rough.allocation);
            for &idx in &rough.uncovered {
                // With the counts that it has as the fewest, the group alone cannot be covered.
                let mut alone = problem.clone();
                alone.groups = vec![problem.groups[idx].clone()];
                let own = problem.drawn(&optimizer::solver::Allocation {
                    counts: (0..problem.groups.len())
                        .map(|at| if at == idx { rough.allocation.counts[at].clone() } else { vec![] })
                        .collect(),
                });
                for (pool, (drawn, own)) in alone.pools.iter_mut().zip(drawn.iter().zip(&own)) {
                    let others = u32::try_from(drawn - own).unwrap();
                    *pool = Budget(pool.0 - Gpus::new(others));
                }
                prop_assert_eq!(exact(&alone, 100).uncovered, [0]);
            }
        }
    }
}

/// Groups with up to four options in three pools, that together hold a share of what the cheapest
/// options would draw.
fn fleet(seed: u64, groups: u32, tightness: f64) -> Problem {
    let mut draw = Draw(seed);
    let mut wanted = [0.0; 3];
    let groups: Vec<Group> = (0..groups)
        .map(|_| {
            let load = draw.between(1.0, 12.0);
            let options = (0..2 + draw.up_to(2)).map(|at| {
                let pool = ((at + draw.up_to(1)) % 3) as usize;
                let gpus = 1 << draw.up_to(2);
                let rate = draw.between(0.5, 2.0) * f64::from(gpus);
                let cost = (f64::from(gpus) * draw.between(0.5, 2.0) * 10.0).round();
                wanted[pool] += load / rate * f64::from(gpus) / 2.5;
                drawn(cost, &[rate / load], gpus, &[pool])
            });
            let options = options.collect();
            Group { single: draw.up_to(3) == 0, ..group(options) }
        })
        .collect();
    let pools = wanted.map(|gpus| Gpus::new(ceil(gpus * tightness)));
    problem(groups, &pools.map(Gpus::get))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small test data")]
fn ceil(number: f64) -> u32 {
    number.ceil() as u32
}
