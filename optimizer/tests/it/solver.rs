//! The solver against numbers from elsewhere, against counting, and against itself.

use optimizer::solver::{Allocation, Budget, Group, GroupOption, PoolIdx, Problem};
use optimizer::units::{Gpus, HourlyCost, Replicas};

mod greedy;
mod moves;
mod properties;
mod sample;
mod search;
mod shortage;

/// A number of replicas that no option reaches.
const MANY: Replicas = Replicas::new(u32::MAX);

/// An option of any number of replicas, one GPU each.
fn option(cost: f64, covers: &[f64]) -> GroupOption {
    GroupOption {
        cost: HourlyCost::new(cost),
        covers: covers.to_vec(),
        max: MANY,
        gpus: Gpus::new(1),
        ..GroupOption::default()
    }
}

/// The same, drawn from pools.
fn drawn(cost: f64, covers: &[f64], gpus: u32, pools: &[usize]) -> GroupOption {
    let pools = pools.iter().copied().map(PoolIdx).collect();
    GroupOption { gpus: Gpus::new(gpus), pools, ..option(cost, covers) }
}

fn group(options: Vec<GroupOption>) -> Group {
    Group { priority: 1.0, options, single: false, joined: None }
}

fn problem(groups: Vec<Group>, pools: &[u32]) -> Problem {
    let pools = pools.iter().map(|&gpus| Budget(Gpus::new(gpus))).collect();
    Problem { groups, pools, ..Problem::default() }
}

fn counts(allocation: &Allocation) -> Vec<Vec<u32>> {
    let group = |group: &Vec<Replicas>| group.iter().map(|count| count.get()).collect();
    allocation.counts.iter().map(group).collect()
}

/// Whether the pools hold what the allocation draws.
fn fits(problem: &Problem, allocation: &Allocation) -> bool {
    let drawn = problem.drawn(allocation);
    drawn.iter().zip(&problem.pools).all(|(drawn, pool)| *drawn <= u64::from(pool.0.get()))
}

/// A generator of test data: a linear congruence, of which the high bits are used.
struct Draw(u64);

impl Draw {
    /// A whole number from 0 to `most`.
    fn up_to(&mut self, most: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % (u64::from(most) + 1)).unwrap()
    }

    /// A number from `least` to `most`.
    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * f64::from(self.up_to(1 << 20)) / f64::from(1 << 20)
    }
}
