//! Settings of the throughput analyzer.

use serde::{Deserialize, Serialize};

/// How the throughput analyzer judges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThroughputPolicy {}
