//! From counters to load stages.

use super::Series;
use crate::calibration::load::{Arrivals, LoadStage};
use crate::calibration::source::{Candidate, ReadOptions};

/// Counters, and all times at which one has a value.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    series: &'a [Series],
    /// Ascending.
    pub(super) times: Vec<f64>,
}

impl<'a> Windows<'a> {
    pub(super) fn of(series: &'a [Series]) -> Self {
        let values = series.iter().flat_map(|one| &one.values);
        let mut times: Vec<f64> = values.map(|&(at, _)| at).collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        Self { series, times }
    }

    /// What a mean replica did from one time to the next. What nobody did is zero or no number, for
    /// which the stage is left out.
    pub(super) fn candidate(
        &self,
        from: f64,
        to: f64,
        file: &str,
        options: &ReadOptions,
    ) -> Candidate {
        let increase = |name: &str| self.increase(&format!("vllm:{name}"), from, to);
        let replicas = self.present("vllm:num_requests_running", to).max(1) as f64;
        let requests = increase("time_to_first_token_seconds_count");
        let between_tokens = ["inter_token_latency", "time_per_output_token"]
            .map(|name| ["sum", "count"].map(|part| increase(&format!("{name}_seconds_{part}"))));
        let [sum, count] =
            if between_tokens[0][1] > 0.0 { between_tokens[0] } else { between_tokens[1] };
        let queries = increase("prefix_cache_queries_total");
        let hits = increase("prefix_cache_hits_total");
        let cached = if queries > 0.0 { hits / queries } else { 0.0 };
        let stage = LoadStage {
            name: format!("{file} from {from} s"),
            rate: requests / (to - from) / replicas,
            arrivals: Arrivals::Poisson,
            prompt_tokens: increase("prompt_tokens_total") / requests,
            cached_fraction: options.cached_fraction.unwrap_or(cached),
            output_tokens: increase("generation_tokens_total") / requests,
            ttft: Some(increase("time_to_first_token_seconds_sum") / requests),
            tpot: sum / count,
            e2e: None,
        };
        Candidate { stage, answered_share: 1.0 }
    }

    /// Of all replicas that have a value at both times.
    fn increase(&self, name: &str, from: f64, to: f64) -> f64 {
        let of = |series: &Series| {
            let (before, after) = (series.at(from)?, series.at(to)?);
            Some(if after < before { after } else { after - before })
        };
        self.series.iter().filter(|series| series.name == name).filter_map(of).sum()
    }

    fn present(&self, name: &str, at: f64) -> usize {
        let of_name = self.series.iter().filter(|series| series.name == name);
        of_name.filter(|series| series.at(at).is_some()).count()
    }
}

impl Series {
    fn at(&self, time: f64) -> Option<f64> {
        let idx = self.values.partition_point(|&(at, _)| at < time);
        self.values.get(idx).filter(|&&(at, _)| at <= time).map(|&(_, value)| value)
    }
}
