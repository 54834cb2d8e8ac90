//! A step in words and tables, for the terminal.

use std::fmt::Write as _;

use optimizer::explain::Explanation;
use optimizer::journal::Record;
use optimizer::observation::{Demand, Lengths, ReplicaObservation, Signal, VariantObservation};
use optimizer::units::{Seconds, Timestamp};

use super::Explained;
use crate::cli::moment;
use crate::results::format;
use crate::results::table::ruled;

/// Replicas of a variant that are shown.
const SHOWN: usize = 12;

/// What was seen, how old it was, and what was decided why. `color` styles the tables.
pub(super) fn tell(record: &Record, shown: &[Explained<'_>], color: bool) -> String {
    let mut text = format!("{}, step {}\n", moment::show(record.at), record.step);
    let mut model = None;
    for explained in shown {
        let this = (explained.namespace, explained.model);
        if model.replace(this) != Some(this) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "\n{}/{}", this.0, this.1);
            text.extend(explained.demand.map(|demand| demand_of(demand, record.at)));
        }
        text.push_str(&variant(explained, record.at, color));
    }
    text
}

/// What the users of a model asked for, a line for each that is known.
fn demand_of(demand: &Demand, now: Timestamp) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, known: Option<(String, Timestamp)>| {
        let known = known.map(|(text, at)| format!("  {name}: {text}, {}", age(now, at)));
        lines.extend(known);
    };
    let per_second = |rate: f64| format!("{}/s", format::significant(rate));
    line("arrivals", seen(&demand.arrival_rate, |rate| per_second(rate.value())));
    line("at the gateway", seen(&demand.gateway_queue, |queue| requests(queue.value())));
    line("requests lately", seen(&demand.recent_requests, |count| requests(count.value())));
    line("burstiness", seen(&demand.burstiness, |ratio| format::significant(ratio.value())));
    line("prompts", lengths(&demand.input));
    line("outputs", lengths(&demand.output));
    if lines.is_empty() {
        lines.push("  nothing is known of the demand".to_owned());
    }
    lines.join("\n") + "\n"
}

fn lengths(lengths: &Lengths) -> Option<(String, Timestamp)> {
    let (mean, at) = seen(&lengths.mean, |mean| format::significant(mean.value()))?;
    let variation = seen(&lengths.variation, |ratio| format::significant(ratio.value()));
    let variation = variation.map(|(ratio, _)| format!(" (variation {ratio})"));
    Some((format!("{mean} tokens{}", variation.unwrap_or_default()), at))
}

fn variant(explained: &Explained<'_>, now: Timestamp, color: bool) -> String {
    let Explained { variant, observed, decision, because, explanation, .. } = explained;
    let mut text = format!("\n  {variant}");
    match observed {
        Some(observed) => text.push_str(&state(observed, now, color)),
        None => text.push_str(": not in the observation\n"),
    }
    let _ = writeln!(
        text,
        "    {} → {} ({}), because",
        decision.current, decision.desired, decision.action
    );
    for sentence in because {
        let _ = writeln!(text, "      - {sentence}");
    }
    for sentence in explanation.iter().flat_map(Explanation::sentences) {
        let _ = writeln!(text, "    {sentence}");
    }
    text
}

/// The counts and the replicas of a variant.
fn state(observed: &VariantObservation, now: Timestamp, color: bool) -> String {
    let VariantObservation { accelerator, gpus_per_replica, cost, current, ready, .. } = observed;
    let max = observed.bounds.max.map_or_else(|| "∞".to_owned(), |max| max.to_string());
    let mut text = format!(
        ": {gpus_per_replica} × {accelerator}, {cost}, {ready} of {current} ready, {} to {max} \
         allowed\n",
        observed.bounds.min
    );
    if observed.replicas.is_empty() {
        text.push_str("    no replica reports\n");
        return text;
    }
    let head =
        ["replica", "KV", "running", "waiting", "TTFT", "ITL", "prompt/s", "output/s", "seen"];
    let mut table = ruled(&head, 1, color);
    let mut replicas: Vec<_> = observed.replicas.iter().collect();
    replicas.sort_by(|one, other| one.replica.cmp(&other.replica));
    for replica in &replicas[..replicas.len().min(SHOWN)] {
        table.add_row(row(replica, now));
    }
    for line in table.to_string().lines() {
        let _ = writeln!(text, "    {}", line.trim_end());
    }
    if replicas.len() > SHOWN {
        let _ = writeln!(text, "    … {} more", replicas.len() - SHOWN);
    }
    text
}

fn row(replica: &ReplicaObservation, now: Timestamp) -> [String; 9] {
    let cells = [
        seen(&replica.kv_usage, |share| format::percent(share.value())),
        seen(&replica.running, |count| number(count.value())),
        seen(&replica.waiting, |count| number(count.value())),
        seen(&replica.ttft, format::latency),
        seen(&replica.itl, format::latency),
        seen(&replica.prompt_rate, |rate| format::significant(rate.value())),
        seen(&replica.generation_rate, |rate| format::significant(rate.value())),
    ];
    let oldest = cells.iter().flatten().map(|&(_, at)| at).min();
    let [kv, running, waiting, ttft, itl, prompt, output] =
        cells.map(|cell| cell.map_or_else(|| "–".to_owned(), |(text, _)| text));
    let seen = oldest.map_or_else(|| "never".to_owned(), |at| age(now, at));
    [replica.replica.to_string(), kv, running, waiting, ttft, itl, prompt, output, seen]
}

/// A value in words, and when it was sampled.
fn seen<T: Copy>(signal: &Signal<T>, show: impl Fn(T) -> String) -> Option<(String, Timestamp)> {
    match *signal {
        Signal::Seen { value, at } => Some((show(value), at)),
        Signal::Missing => None,
    }
}

fn requests(count: f64) -> String {
    let number = number(count);
    let noun = if number == "1" { "request" } else { "requests" };
    format!("{number} {noun}")
}

/// A number of requests, which may be a mean.
fn number(count: f64) -> String {
    if count.fract() > 0.0 { format::significant(count) } else { format!("{count:.0}") }
}

fn age(now: Timestamp, at: Timestamp) -> String {
    let age = now.since(at);
    if age < Seconds::new(0.5) {
        "just now".to_owned()
    } else {
        format!("{} ago", format::span(age))
    }
}
