//! The requests of a model by class of service and by tenant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stats::LatencyStats;
use super::summary::SloTargets;
use crate::records::{ModelRecord, RequestCounts, Tally};
use crate::workload::Client;

/// Some requests of a model in numbers. Names that end in `_s` are seconds.
///
/// There is no time between tokens: engines tell the tokens of all requests of a model together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Their targets; `None` when they have different ones.
    pub slo: Option<SloTargets>,
    /// By outcome.
    pub requests: RequestCounts,
    /// Time to first token, of every request that got one.
    pub ttft_s: Option<LatencyStats>,
    /// Time per output token after the first, of completed requests with two or more.
    pub tpot_s: Option<LatencyStats>,
    /// From arrival to the last token, of completed requests.
    pub e2e_s: Option<LatencyStats>,
    /// The share of arrived requests that completed within their targets; rejected, failed and
    /// unfinished ones miss. `None` when none arrived.
    pub slo_attainment: Option<f64>,
    /// Output tokens.
    pub output_tokens: u64,
}

/// Groups by name.
pub type Groups = BTreeMap<String, GroupSummary>;

/// The classes of a model's requests; none when all are of one.
pub(super) fn classes(model: &ModelRecord) -> Groups {
    groups(model, |client| &client.class.name)
}

/// The tenants of a model's requests; none when all are of one. Requests without a tenant are
/// those of `-`.
pub(super) fn tenants(model: &ModelRecord) -> Groups {
    groups(model, |client| client.tenant.as_deref().unwrap_or("-"))
}

fn groups(model: &ModelRecord, name: impl Fn(&Client) -> &str) -> Groups {
    let mut groups: BTreeMap<&str, (Option<SloTargets>, Tally)> = BTreeMap::new();
    for record in &model.clients {
        let slo = SloTargets::from(record.client.class.slo.unwrap_or(model.slo));
        groups
            .entry(name(&record.client))
            .and_modify(|(common, tally)| {
                *common = common.filter(|common| *common == slo);
                *tally += &record.tally;
            })
            .or_insert_with(|| (Some(slo), record.tally.clone()));
    }
    if groups.len() < 2 {
        return Groups::new();
    }
    groups.into_iter().map(|(name, (slo, tally))| (name.to_owned(), summary(slo, &tally))).collect()
}

fn summary(slo: Option<SloTargets>, tally: &Tally) -> GroupSummary {
    GroupSummary {
        slo,
        requests: tally.counts,
        ttft_s: LatencyStats::of_latencies(&tally.ttft),
        tpot_s: LatencyStats::of_latencies(&tally.tpot),
        e2e_s: LatencyStats::of_latencies(&tally.e2e),
        slo_attainment: tally.attainment(),
        output_tokens: tally.output_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Summary;
    use crate::results::sample::{self, Shape};

    #[test]
    fn groups_are_told_apart_and_add_up() {
        let recording = sample::recording_of_clients();
        let model = &recording.models[0];
        let (classes, tenants) = (classes(model), tenants(model));
        assert_eq!(classes.keys().collect::<Vec<_>>(), ["batch", "interactive"]);
        assert_eq!(tenants.keys().collect::<Vec<_>>(), ["-", "acme"]);
        for groups in [&classes, &tenants] {
            let arrived: u64 = groups.values().map(|group| group.requests.arrived).sum();
            assert_eq!(arrived, model.tally.counts.arrived);
        }
        // Batch has targets of its own, and acme sends requests of both classes.
        assert_eq!(classes["batch"].slo.map(|slo| slo.ttft_s), Some(60.0));
        assert!(classes["batch"].slo_attainment > classes["interactive"].slo_attainment);
        assert_eq!(tenants["acme"].slo, None);
        let summary = Summary::of(&recording);
        assert_eq!(summary.models.values().next().unwrap().classes, classes);
    }

    #[test]
    fn a_single_client_is_no_group() {
        let recording = sample::recording(Shape::HALF_HOUR);
        assert!(classes(&recording.models[0]).is_empty());
        let text = serde_json::to_string(&Summary::of(&recording)).unwrap();
        assert!(!text.contains("classes") && !text.contains("tenants"), "{text}");
    }
}
