//! What analyzers remember of a variant.

use serde::{Deserialize, Serialize};

use crate::id::AcceleratorId;
use crate::observation::{EngineConfig, Role, VariantObservation};
use crate::units::{Gpus, Timestamp};

/// A value and when it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dated<T> {
    pub(super) value: T,
    pub(super) at: Timestamp,
}

/// What makes a variant what it is. When that changes, nothing that was learned of it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kind {
    role: Role,
    accelerator: AcceleratorId,
    gpus_per_replica: Gpus,
    engine: EngineConfig,
}

impl Kind {
    pub(super) fn of(variant: &VariantObservation) -> Self {
        Self {
            role: variant.role,
            accelerator: variant.accelerator.clone(),
            gpus_per_replica: variant.gpus_per_replica,
            engine: variant.engine.clone(),
        }
    }

    /// Whether a variant is still of this kind, or another one is of it too.
    pub(super) fn is_of(&self, variant: &VariantObservation) -> bool {
        let Self { role, accelerator, gpus_per_replica, engine } = self;
        *role == variant.role
            && *accelerator == variant.accelerator
            && *gpus_per_replica == variant.gpus_per_replica
            && *engine == variant.engine
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) const fn engine(&self) -> &EngineConfig {
        &self.engine
    }
}
