//! Who waits, and who is next.

use std::collections::{BTreeMap, VecDeque};

use optimizer::units::Timestamp;

use super::SchedulingPolicy;
use super::sequence::Handle;

/// How urgent a request is. The least is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: i32,
    pub(super) arrival: Timestamp,
    /// Of those that arrive together, the first submitted comes first.
    pub(super) serial: u64,
}

impl Rank {
    /// What the victim of a preemption is chosen by: without the serial number, of equals vLLM takes
    /// the one that was admitted first.
    pub(super) const fn urgency(&self) -> (i32, Timestamp) {
        (self.priority, self.arrival)
    }
}

/// The waiting requests.
#[derive(Debug)]
pub(super) enum WaitingQueue {
    /// In the order of arrival, but preempted ones in front.
    Fcfs(VecDeque<Handle>),
    /// By rank, preempted ones as well.
    Priority(BTreeMap<Rank, Handle>),
}

impl WaitingQueue {
    pub(super) fn new(policy: SchedulingPolicy) -> Self {
        match policy {
            SchedulingPolicy::Fcfs => Self::Fcfs(VecDeque::new()),
            SchedulingPolicy::Priority => Self::Priority(BTreeMap::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Fcfs(queue) => queue.len(),
            Self::Priority(queue) => queue.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn head(&self) -> Option<Handle> {
        match self {
            Self::Fcfs(queue) => queue.front().copied(),
            Self::Priority(queue) => queue.first_key_value().map(|(_, &handle)| handle),
        }
    }

    pub(super) fn pop(&mut self) {
        match self {
            Self::Fcfs(queue) => drop(queue.pop_front()),
            Self::Priority(queue) => drop(queue.pop_first()),
        }
    }

    /// Takes in a request that arrived.
    pub(super) fn push(&mut self, handle: Handle, rank: Rank) {
        match self {
            Self::Fcfs(queue) => queue.push_back(handle),
            Self::Priority(queue) => drop(queue.insert(rank, handle)),
        }
    }

    /// Takes back a request that was preempted.
    pub(super) fn push_preempted(&mut self, handle: Handle, rank: Rank) {
        match self {
            Self::Fcfs(queue) => queue.push_front(handle),
            Self::Priority(queue) => drop(queue.insert(rank, handle)),
        }
    }

    /// Takes out a request, if it waits.
    pub(super) fn remove(&mut self, handle: Handle, rank: Rank) {
        match self {
            Self::Fcfs(queue) => queue.retain(|&waiting| waiting != handle),
            Self::Priority(queue) => drop(queue.remove(&rank)),
        }
    }

    /// All of them, the next one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Handle> {
        let (fcfs, ranked) = match self {
            Self::Fcfs(queue) => (Some(queue.iter()), None),
            Self::Priority(queue) => (None, Some(queue.values())),
        };
        fcfs.into_iter().flatten().chain(ranked.into_iter().flatten()).copied()
    }
}
