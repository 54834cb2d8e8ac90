//! What is to be solved.

use crate::units::{Fraction, Gpus, HourlyCost, Replicas};

/// An allocation problem: the cheapest replica counts that cover every group's needs, within the
/// pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Problem {
    /// What needs replicas.
    pub groups: Vec<Group>,
    /// What options draw from.
    pub pools: Vec<Budget>,
    /// What a replica that starts or stops costs, as a share of its cost per hour. So a move from
    /// one option to another has to save more than this share of both. llm-inferno takes 0.1.
    pub switching: Fraction,
}

/// One role of one model: something that its options' replicas have to cover together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Weight among groups when pools are too small; 1 is ordinary. It is no rank: 100 is close to
    /// one.
    pub priority: f64,
    /// Ways to cover it.
    pub options: Vec<GroupOption>,
    /// Whether replicas of one option alone have to cover it. The others stay at their fewest.
    pub single: bool,
    /// Groups with the same tag are useless without each other, as prefill and decode of a model
    /// are; `None` stands alone.
    pub joined: Option<u32>,
}

/// One variant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupOption {
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// What one replica covers of each need of the group, in the order of the needs: the counts of
    /// a group's options times these sum to at least 1 for every need. Not negative; infinite where
    /// nothing is needed. What is missing or not a number covers nothing, and a need that no option
    /// covers is not a need.
    pub covers: Vec<f64>,
    /// The same with a margin, so not more than `covers`: replicas may go while these still sum to
    /// 1. Only [`shrink`](super::shrink) reads it, and takes `covers` where it is empty.
    pub kept: Vec<f64>,
    /// The fewest replicas. They are there even if the pools are too small for them.
    pub min: Replicas,
    /// The most replicas; not less than `min`.
    pub max: Replicas,
    /// Replicas that exist.
    pub current: Replicas,
    /// GPUs of one replica.
    pub gpus: Gpus,
    /// The pools from which every one of these GPUs is drawn: the kind of GPU, and the quotas. One
    /// that the problem does not have is empty.
    pub pools: Vec<PoolIdx>,
}

/// An index into [`Problem::pools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIdx(pub usize);

/// The GPUs that the problem's options may hold together, those that they hold already included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(pub Gpus);

/// Replica counts for every option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// By group and option.
    pub counts: Vec<Vec<Replicas>>,
}

/// How far a sum of shares may be below what is asked for and still count as all of it.
pub(super) const ROUNDING: f64 = 1e-9;
/// No replica costs more, so that sums stay finite.
const DEAREST: f64 = 1e15;

impl Problem {
    /// What exists.
    #[must_use]
    pub fn current(&self) -> Allocation {
        let counts = |group: &Group| group.options.iter().map(|option| option.current).collect();
        Allocation { counts: self.groups.iter().map(counts).collect() }
    }

    /// What an allocation costs per hour, with the switching from what exists.
    #[must_use]
    pub fn cost(&self, allocation: &Allocation) -> HourlyCost {
        let options = self.groups.iter().zip(&allocation.counts);
        let options = options.flat_map(|(group, counts)| group.options.iter().zip(counts));
        let cost = options.map(|(option, &count)| {
            let moved = (count - option.current) + (option.current - count);
            option.price() * (count.as_f64() + self.switching.value() * moved.as_f64())
        });
        HourlyCost::checked(cost.sum()).unwrap_or(HourlyCost::new(f64::MAX))
    }

    /// The GPUs that an allocation draws from each pool.
    #[must_use]
    pub fn drawn(&self, allocation: &Allocation) -> Vec<u64> {
        let mut drawn = vec![0_u64; self.pools.len()];
        for (group, counts) in self.groups.iter().zip(&allocation.counts) {
            for (option, &count) in group.options.iter().zip(counts) {
                let gpus = u64::from(option.gpus.get()) * u64::from(count.get());
                for PoolIdx(pool) in option.distinct_pools() {
                    if let Some(drawn) = drawn.get_mut(pool) {
                        *drawn = drawn.saturating_add(gpus);
                    }
                }
            }
        }
        drawn
    }
}

impl Group {
    /// The share that `counts` cover of the need that is covered least; infinite where nothing is
    /// needed.
    #[must_use]
    pub fn coverage(&self, counts: &[Replicas]) -> f64 {
        let least = |count_of: &dyn Fn(usize) -> f64| {
            (0..self.needs()).fold(f64::INFINITY, |least, need| {
                let covered = self.options.iter().enumerate();
                let covered: f64 = covered
                    .map(|(idx, option)| match (option.cover(need), count_of(idx)) {
                        (f64::INFINITY, _) => f64::INFINITY,
                        (cover, count) => cover * count,
                    })
                    .sum();
                // A need that no option covers is not a need.
                let nobody = self.options.iter().all(|option| option.cover(need) <= 0.0);
                if nobody { least } else { least.min(covered) }
            })
        };
        let count = |idx: usize| counts.get(idx).map_or(0.0, |count| count.as_f64());
        if self.single {
            let alone = |only| least(&|idx| if idx == only { count(idx) } else { 0.0 });
            (0..self.options.len()).map(alone).fold(least(&|_| 0.0), f64::max)
        } else {
            least(&count)
        }
    }

    /// Whether `counts` cover every need.
    #[must_use]
    pub fn is_covered(&self, counts: &[Replicas]) -> bool {
        self.coverage(counts) >= 1.0 - 2.0 * ROUNDING
    }

    /// The number of needs.
    pub(super) fn needs(&self) -> usize {
        self.options.iter().map(|option| option.covers.len()).max().unwrap_or(0)
    }
}

impl GroupOption {
    /// The cost of one replica, not so large that sums overflow.
    pub(super) fn price(&self) -> f64 {
        self.cost.value().min(DEAREST)
    }

    /// What one replica covers of a need; zero for what is no number.
    pub(super) fn cover(&self, need: usize) -> f64 {
        self.covers.get(need).copied().filter(|cover| *cover > 0.0).unwrap_or(0.0)
    }

    /// The pools, each once.
    pub(super) fn distinct_pools(&self) -> Vec<PoolIdx> {
        let mut pools = self.pools.clone();
        pools.sort_unstable();
        pools.dedup();
        pools
    }
}
