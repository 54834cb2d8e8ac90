//! The searches against counting through all allocations.

use optimizer::solver::{Allocation, Group, Problem, Proof, exact, fast};
use optimizer::units::{Fraction, Replicas};
use proptest::prelude::*;

use super::{Draw, counts, drawn, fits, group, problem};

/// A problem small enough to count through: up to three groups of two or three options, two pools.
fn small(seed: u64, single: bool) -> Problem {
    let mut draw = Draw(seed);
    let groups = (0..=draw.up_to(2)).map(|_| {
        let needs = 1 + draw.up_to(1);
        let options = (0..2).map(|_| {
            let cost = f64::from(1 + draw.up_to(30));
            let covers: Vec<f64> = (0..needs).map(|_| draw.between(0.2, 2.0)).collect();
            let pools: &[usize] = [&[0_usize][..], &[1], &[0, 1]][draw.up_to(2) as usize];
            let mut option = drawn(cost, &covers, 1 + draw.up_to(2), pools);
            option.current = Replicas::new(draw.up_to(2));
            option.min = Replicas::new(u32::from(draw.up_to(9) == 0));
            option.max = Replicas::new(4 + draw.up_to(2));
            option
        });
        Group { single, ..group(options.collect()) }
    });
    let groups: Vec<Group> = groups.collect();
    let pools = [4 + draw.up_to(12), 4 + draw.up_to(12)];
    let switching = Fraction::new(0.1 * f64::from(draw.up_to(3)));
    Problem { switching, ..problem(groups, &pools) }
}

/// The least cost of all allocations that cover all needs and fit.
fn counted(problem: &Problem) -> Option<f64> {
    let mut least: Option<f64> = None;
    let options: Vec<(usize, u32, u32)> = problem
        .groups
        .iter()
        .enumerate()
        .flat_map(|(idx, group)| {
            group.options.iter().map(move |option| (idx, option.min.get(), option.max.get()))
        })
        .collect();
    let mut at: Vec<u32> = options.iter().map(|option| option.1).collect();
    loop {
        let mut allocation = Allocation { counts: vec![vec![]; problem.groups.len()] };
        for (&(group, ..), &count) in options.iter().zip(&at) {
            allocation.counts[group].push(Replicas::new(count));
        }
        let covered = problem.groups.iter().zip(&allocation.counts);
        let mut covered = covered.map(|(group, counts)| group.is_covered(counts));
        if covered.all(|covered| covered) && fits(problem, &allocation) {
            let cost = problem.cost(&allocation).value();
            least = Some(least.map_or(cost, |least| least.min(cost)));
        }
        let Some(next) = (0..at.len()).find(|&idx| at[idx] < options[idx].2) else {
            return least;
        };
        for (at, option) in at.iter_mut().zip(&options).take(next) {
            *at = option.1;
        }
        at[next] += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_exact_search_finds_what_counting_finds(seed: u64, single: bool) {
        let problem = small(seed, single);
        let (solution, rough) = (exact(&problem, 100_000), fast(&problem));
        let Some(least) = counted(&problem) else {
            // The fewest replicas may draw more than there is.
            for of in [solution, rough] {
                prop_assert!(!of.uncovered.is_empty() || !fits(&problem, &of.allocation), "{:?}", of);
            }
            return Ok(());
        };
        let (cost, more) = (solution.cost.value(), rough.cost.value());
        prop_assert_eq!(solution.proof, Proof::Optimal);
        prop_assert!((cost - least).abs() <= 1e-9 * least, "{} {}", cost, least);
        prop_assert!(fits(&problem, &solution.allocation) && solution.uncovered.is_empty());
        prop_assert!(fits(&problem, &rough.allocation) && rough.uncovered.is_empty());
        prop_assert!(more >= cost * (1.0 - 1e-12));
        let within = match rough.proof {
            Proof::Within(gap) => more * (1.0 - gap) <= cost * (1.0 + 1e-9),
            Proof::Optimal => more <= cost * (1.0 + 1e-9),
            Proof::Short { .. } => false,
        };
        prop_assert!(within, "{:?}", rough);
    }

    /// More GPUs never cost more, and more need never costs less.
    #[test]
    fn the_cheapest_cost_moves_the_right_way(seed: u64, single: bool, factor in 1.0..2.0_f64) {
        let problem = small(seed, single);
        let solution = exact(&problem, 100_000);
        prop_assume!(solution.uncovered.is_empty());
        let mut wider = problem.clone();
        wider.pools[0].0 = wider.pools[0].0 + wider.pools[1].0;
        let roomy = exact(&wider, 100_000);
        prop_assert!(roomy.cost.value() <= solution.cost.value() * (1.0 + 1e-9));
        let mut heavier = Problem { switching: Fraction::ZERO, ..problem.clone() };
        let light = exact(&heavier, 100_000);
        for option in heavier.groups.iter_mut().flat_map(|group| &mut group.options) {
            for cover in &mut option.covers {
                *cover /= factor;
            }
        }
        let heavy = exact(&heavier, 100_000);
        if heavy.uncovered.is_empty() {
            prop_assert!(heavy.cost.value() >= light.cost.value() * (1.0 - 1e-9));
        }
    }

    /// Neither search nor filling cares about the order of groups and options.
    #[test]
    fn permuting_the_problem_permutes_the_answer(seed: u64, single: bool) {
        let mut problem = small(seed, single);
        let mut draw = Draw(seed ^ 1);
        for option in problem.groups.iter_mut().flat_map(|group| &mut group.options) {
            // Costs that no two sums share.
            option.cost = optimizer::units::HourlyCost::new(draw.between(1.0, 30.0));
        }
        let mut turned = problem.clone();
        turned.groups.reverse();
        for group in &mut turned.groups {
            group.options.reverse();
        }
        for (one, other) in [
            (exact(&problem, 100_000), exact(&turned, 100_000)),
            (fast(&problem), fast(&turned)),
        ] {
            // Where the pools are too small, equal claims are met in order.
            prop_assume!(one.uncovered.is_empty());
            let mut back = counts(&other.allocation);
            back.reverse();
            for counts in &mut back {
                counts.reverse();
            }
            prop_assert_eq!(counts(&one.allocation), back);
        }
    }
}
