//! What users ask for.

use serde::{Deserialize, Serialize};

use super::Signal;
use crate::units::{Bytes, MeanTokens, QueueLength, RequestCount, RequestRate, Variation};

/// What the users of a model ask for.
///
/// What requests are like is told here as the gateway sees it. Where the gateway tells nothing, the
/// [means that replicas report](super::ReplicaObservation) take its place, and those are means of
/// requests that *completed*, which lag behind a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Demand {
    /// Arrivals over the scrape window.
    pub arrival_rate: Signal<RequestRate>,
    /// Requests that wait at the gateway, because no replica takes them.
    pub gateway_queue: Signal<QueueLength>,
    /// The size of those requests.
    pub gateway_bytes: Signal<Bytes>,
    /// Requests in the retention time of scale-to-zero: arrivals, or completions where nobody
    /// counts arrivals.
    pub recent_requests: Signal<RequestCount>,
    /// How arrivals cluster: the variance of the number of arrivals in a few seconds over its mean,
    /// which is 1 for a Poisson process. A rate that changes over minutes is not meant by it.
    pub burstiness: Signal<Variation>,
    /// Prompt tokens of the requests that arrived in the scrape window.
    pub input: Lengths,
    /// Tokens that were generated for requests of the scrape window.
    pub output: Lengths,
}

/// A distribution of token counts, in brief.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Lengths {
    /// The mean.
    pub mean: Signal<MeanTokens>,
    /// Deviation over mean.
    pub variation: Signal<Variation>,
}
