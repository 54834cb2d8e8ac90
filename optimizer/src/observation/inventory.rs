//! The GPUs that there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{AcceleratorId, Namespace};
use crate::units::Gpus;

/// GPUs by kind, and what may be used of them.
///
/// A namespace gets the smaller of what is there and what its quotas leave. Kinds may be spelled in
/// any way that [`GpuModel`](crate::gpu::GpuModel) reads, here and in quotas; two spellings of one
/// kind are one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Inventory {
    /// What exists in the cluster: a kind that is not listed does not exist. `None` where nobody
    /// counts, so that only quotas limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<BTreeMap<AcceleratorId, GpuPool>>,
    /// Limits besides; each that covers a namespace binds it. Their order does not matter.
    pub quotas: Vec<Quota>,
}

/// The GPUs of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GpuPool {
    /// All that nodes have to give.
    pub total: Gpus,
    /// What pods of any kind hold, the observed variants' included.
    #[serde(default)]
    pub used: Gpus,
}

/// A limit on GPUs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quota {
    /// The name, for reasons.
    pub name: String,
    /// Whom it binds.
    pub scope: QuotaScope,
    /// The most GPUs of each kind, over all that it binds; `None` is no limit. A kind that is not
    /// listed is not allowed. Where more than one entry covers a kind, as `A100` and
    /// `A100-SXM-80GB` may, each binds; a vendor's resource such as `nvidia.com/gpu` covers all of
    /// its kinds.
    pub limits: BTreeMap<AcceleratorId, Option<Gpus>>,
    /// What pods of any kind hold of each entry of `limits`, the observed variants' included. What
    /// is not listed is what the observed variants hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<AcceleratorId, Gpus>,
}

/// Whom a quota binds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum QuotaScope {
    /// All namespaces together, but for some.
    Cluster {
        /// Namespaces that it does not bind, and whose use does not count.
        #[serde(default)]
        except: BTreeSet<Namespace>,
    },
    /// One namespace.
    Namespace(Namespace),
}

impl QuotaScope {
    /// Whether it binds a namespace.
    #[must_use]
    pub fn binds(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Cluster { except } => !except.contains(namespace),
            Self::Namespace(bound) => bound == namespace,
        }
    }
}
