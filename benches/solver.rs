//! The solver on fleets whose pools are too small for everyone's first choice.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use optimizer::solver::{Budget, Group, GroupOption, PoolIdx, Problem, Proof, exact, fast};
use optimizer::units::{Gpus, HourlyCost, Replicas};

/// Kinds of GPU.
const POOLS: usize = 4;

/// Groups with four options each, one for every kind of GPU, and 90 % of the GPUs that all would
/// draw if each took its first choice, spread evenly over the kinds.
fn fleet(groups: u32, single: bool) -> Problem {
    // A full-period generator draws the data without a random crate.
    let mut state = 1_u64;
    let mut draw = move |least: f64, most: f64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        least + (most - least) * ((state >> 33) as f64 / (1_u64 << 31) as f64)
    };
    let mut wanted = 0.0;
    let groups: Vec<Group> = (0..groups)
        .map(|_| {
            let load = draw(1.0, 20.0);
            let options: Vec<GroupOption> = (0..POOLS)
                .map(|pool| {
                    let gpus = match draw(0.0, 4.0) {
                        0.0..2.0 => 1_u32,
                        2.0..3.0 => 2,
                        _ => 4,
                    };
                    let strength = 1.0 + 0.6 * pool as f64;
                    let speed = f64::from(gpus) * strength * draw(0.6, 1.4);
                    let price = f64::from(gpus) * strength * draw(0.8, 1.2);
                    GroupOption {
                        cost: HourlyCost::new((100.0 * price).round() / 100.0),
                        covers: vec![speed / load],
                        max: Replicas::new(1000),
                        gpus: Gpus::new(gpus),
                        pools: vec![PoolIdx(pool)],
                        ..GroupOption::default()
                    }
                })
                .collect();
            let alone = |option: &GroupOption| (1.0 / option.covers[0]).ceil();
            let cost = |option: &&GroupOption| option.cost.value() * alone(option);
            let best = options.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
            let best = best.expect("a group has options");
            wanted += best.gpus.as_f64() * alone(best);
            Group { priority: 1.0, options, single, joined: None }
        })
        .collect();
    let even = whole(0.9 * wanted / POOLS as f64);
    let pools = vec![Budget(Gpus::new(even)); POOLS];
    Problem { groups, pools, ..Problem::default() }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of GPUs of some thousands"
)]
fn whole(gpus: f64) -> u32 {
    gpus as u32
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("solver");
    group.sample_size(10);
    for (name, single) in [("one option each", true), ("mixed", false)] {
        let problem = fleet(1000, single);
        let solution = exact(&problem, 10_000);
        assert_eq!(solution.proof, Proof::Optimal, "{}", solution.cost);
        group.bench_function(format!("exact, 1000 groups, {name}"), |b| {
            b.iter(|| exact(black_box(&problem), 10_000));
        });
        let problem = fleet(2500, single);
        let rough = fast(&problem);
        assert!(rough.uncovered.is_empty(), "{:?}", rough.proof);
        group.bench_function(format!("fast, 2500 groups, {name}"), |b| {
            b.iter(|| fast(black_box(&problem)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
