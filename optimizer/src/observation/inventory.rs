//! The GPUs that there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{AcceleratorId, Namespace};
use crate::units::Gpus;

/// GPUs by kind, and what may be used of them.
///
/// A kind that is not listed does not exist. A namespace gets the smaller of what is there and what
/// its quotas leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Inventory {
    /// What exists in the cluster.
    pub gpus: BTreeMap<AcceleratorId, GpuPool>,
    /// Limits besides; each that covers a namespace binds it.
    pub quotas: Vec<Quota>,
}

/// The GPUs of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GpuPool {
    /// All that nodes have to give.
    pub total: Gpus,
    /// What pods of any kind hold, the observed variants' included.
    pub used: Gpus,
}

/// A limit on GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quota {
    /// The name, for reasons.
    pub name: String,
    /// Whom it binds.
    pub scope: QuotaScope,
    /// The most GPUs of each kind, over all that it binds; `None` is no limit. A kind that is not
    /// listed is not allowed.
    pub limits: BTreeMap<AcceleratorId, Option<Gpus>>,
}

/// Whom a quota binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
