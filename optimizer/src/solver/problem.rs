//! What is to be solved.

use crate::units::{Gpus, HourlyCost, Replicas};

/// An allocation problem: the cheapest replica counts that cover every group's needs, within the
/// pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Problem {
    /// What needs replicas.
    pub groups: Vec<Group>,
    /// What options draw from.
    pub pools: Vec<Budget>,
}

/// One role of one model: something that its options' replicas have to cover together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Weight among groups when pools are too small; 1 is ordinary.
    pub priority: f64,
    /// Ways to cover it.
    pub options: Vec<GroupOption>,
    /// Whether replicas of one option alone have to cover it.
    pub single: bool,
    /// Groups with the same tag are useless without each other, as prefill and decode of a model
    /// are; `None` stands alone.
    pub joined: Option<u32>,
}

/// One variant.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupOption {
    /// The cost of one replica.
    pub cost: HourlyCost,
    /// What one replica covers of each need of the group, in the order of the needs: the counts of
    /// a group's options times these sum to at least 1 for every need. All options of a group have
    /// the same number of needs. Not negative; infinite where nothing is needed.
    pub covers: Vec<f64>,
    /// The fewest replicas.
    pub min: Replicas,
    /// The most replicas.
    pub max: Replicas,
    /// Replicas that exist.
    pub current: Replicas,
    /// GPUs of one replica.
    pub gpus: Gpus,
    /// The pools from which every one of these GPUs is drawn: the kind of GPU, and the quotas.
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
