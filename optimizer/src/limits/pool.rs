//! One pool.

use std::fmt;

use crate::gpu::GpuModel;
use crate::id::AcceleratorId;
use crate::units::Gpus;

/// GPUs from which some variants draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What limits them.
    pub source: PoolSource,
    /// The most that may be held.
    pub limit: Gpus,
    /// What pods of any kind hold, the variants' included; zero where nobody counts.
    pub used: Gpus,
    /// What the variants' replicas hold, or will when all of them run.
    pub held: Gpus,
}

/// What limits the GPUs of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSource {
    /// There are no more of this kind.
    Cluster(GpuModel),
    /// An entry of a quota.
    Quota {
        /// The quota.
        name: String,
        /// The entry.
        accelerator: AcceleratorId,
    },
}

impl Pool {
    /// What variants may take in addition to what they hold.
    ///
    /// A replica that waits for a node holds nothing yet, but will: so the larger of what pods hold
    /// and what the replicas need counts as taken.
    #[must_use]
    pub fn free(&self) -> Gpus {
        self.limit - self.used.max(self.held)
    }

    /// What the variants may hold together: what they do, and what is free. It is the limit less
    /// what others hold, but never less than what the variants have already.
    #[must_use]
    pub fn budget(&self) -> Gpus {
        self.held + self.free()
    }
}

impl PoolSource {
    /// The quota's name; `None` for the cluster.
    #[must_use]
    pub fn quota(&self) -> Option<&str> {
        match self {
            Self::Cluster(_) => None,
            Self::Quota { name, .. } => Some(name),
        }
    }

    /// The GPUs by name, as the cluster or the quota has it.
    #[must_use]
    pub fn accelerator(&self) -> String {
        match self {
            Self::Cluster(kind) => format!("{kind:#}"),
            Self::Quota { accelerator, .. } => accelerator.to_string(),
        }
    }
}

impl fmt::Display for PoolSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(kind) => write!(f, "the cluster's {kind:#}"),
            Self::Quota { name, accelerator } => write!(f, "quota {name}, {accelerator}"),
        }
    }
}
