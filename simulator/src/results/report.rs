//! The run as one page: `report.html`.
//!
//! The page stands alone. Its style and its figures are in it, it needs no script, and it asks no
//! network for anything. Like the summary it is a function of the run: it names no time of the wall
//! clock.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use optimizer::units::{Fraction, Seconds};

use super::format;
use super::groups::Groups;
use super::labels::{model_key, model_names, variant_key, variant_names};
use super::plot::{Figure, PlotError};
use super::stats::LatencyStats;
use super::summary::{Latency, ModelSummary, SloTargets, Summary};
use crate::records::{ModelRecord, Recording, ScalingRecord};

/// More decisions than this are folded away until they are asked for.
const MOST_UNFOLDED: usize = 50;

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// The facts.
    pub recording: &'a Recording,
    /// Their summary.
    pub summary: &'a Summary,
    /// What the scenario is for, in its author's words; may be empty.
    pub description: &'a str,
    /// The text of the scenario's file.
    pub scenario_text: &'a str,
    /// The text of the policy's file; may be empty.
    pub policy_text: &'a str,
    /// The KV use from which on the policy calls a replica saturated.
    pub kv_threshold: Option<Fraction>,
    /// The version of Plimsoll.
    pub version: Option<&'a str>,
}

/// The page.
///
/// # Errors
///
/// [`PlotError`] when a figure cannot be drawn.
pub fn render(input: &ReportInput<'_>) -> Result<String, PlotError> {
    let ReportInput { recording, summary, .. } = *input;
    let figures = [
        ("Latency distributions", Figure::latency(recording).svg()?),
        ("The run over time", Figure::timeline(recording, input.kv_threshold).svg()?),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (summary.scenario) " – Plimsoll" }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                main {
                    (heading(input))
                    (tiles(summary, recording))
                    h2 { "Figures" }
                    @for (name, svg) in &figures {
                        figure role="img" aria-label=(name) { (PreEscaped(svg)) }
                    }
                    (latencies(recording, summary))
                    (groups(recording, summary, "Class", |model| &model.classes))
                    (groups(recording, summary, "Tenant", |model| &model.tenants))
                    (variants(recording, summary))
                    (decisions(recording))
                    h2 { "Inputs" }
                    (source("Scenario", input.scenario_text))
                    (source("Policy", input.policy_text))
                    footer {
                        "Made by Plimsoll"
                        @if let Some(version) = input.version { " " (version) }
                        (precision(recording))
                    }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn precision(recording: &Recording) -> &'static str {
    if recording.tally().is_exact() {
        ". Percentiles of TTFT, TPOT and E2E are exact, those of ITL within 0.1%."
    } else {
        ". Percentiles are within 0.1%."
    }
}

fn heading(input: &ReportInput<'_>) -> Markup {
    let summary = input.summary;
    html! {
        h1 { (summary.scenario) }
        p.muted {
            (format::span(Seconds::new(summary.simulated_s))) " simulated, "
            (format::counted(summary.requests.arrived, "request")) ", seed " (summary.seed)
        }
        @if !input.description.is_empty() { p.lead { (input.description) } }
    }
}

fn tiles(summary: &Summary, recording: &Recording) -> Markup {
    let counts = summary.requests;
    let lost = format::listed(&counts.lost());
    let lost = if lost.is_empty() { "all that arrived".to_owned() } else { lost };
    let attainment = summary.slo_attainment.map_or_else(|| "–".to_owned(), format::percent);
    let goodput = format!("{} requests/s within SLO", format::significant(summary.goodput_rps));
    let hours = Seconds::new(summary.simulated_s).as_hours();
    let per_hour = if hours > 0.0 { summary.cost / hours } else { 0.0 };
    let ups = recording.scalings.iter().filter(|s| s.desired > s.previous).count();
    let moves = format!("{ups} up, {} down", recording.scalings.len() - ups);
    let most = format!("at most {}", summary.replicas.max);
    let gpus = if hours > 0.0 { summary.gpu_hours / hours } else { 0.0 };
    html! {
        ul.tiles {
            (tile("SLO attainment", &attainment, &goodput, ""))
            (latency_tile("TTFT p99", summary.latency.ttft_s, summary, |slo| slo.ttft_s))
            (latency_tile("TPOT p99", summary.latency.tpot_s, summary, |slo| slo.tpot_s))
            (tile("Completed", &format::count(counts.completed), &lost, ""))
            (tile("Cost", &format::amount(summary.cost), &format!("{} per hour", format::amount(per_hour)), ""))
            (tile("GPU-hours", &format::amount(summary.gpu_hours), &format!("{} GPUs on average", format::significant(gpus)), ""))
            (tile("Replicas on average", &format::significant(summary.replicas.mean), &most, ""))
            (tile("Scaling decisions", &format::count(recording.scalings.len() as u64), &moves, ""))
        }
    }
}

fn tile(name: &str, value: &str, note: &str, class: &str) -> Markup {
    html! {
        li {
            div.name { (name) }
            div class={ "value " (class) } { (value) }
            div.note { (note) }
        }
    }
}

/// A percentile against its target. With different targets for different models neither is right
/// for all requests, so the tile then takes no side.
fn latency_tile(
    name: &str,
    stats: Option<LatencyStats>,
    summary: &Summary,
    target: fn(&SloTargets) -> f64,
) -> Markup {
    let Some(stats) = stats else { return tile(name, "–", "no request has one", "") };
    let mut targets: Vec<_> =
        summary.models.values().map(|model| Seconds::new(target(&model.slo))).collect();
    targets.sort();
    targets.dedup();
    let (slo, class) = match targets.as_slice() {
        [] => (String::new(), ""),
        [one] if stats.p99 > one.value() => (format::target(*one), "bad"),
        [one] => (format::target(*one), "good"),
        [low, .., high] => (format!("{} to {}", format::target(*low), format::target(*high)), ""),
    };
    let note = format!("p50 {}, SLO {slo}", format::latency(Seconds::new(stats.p50)));
    tile(name, &format::latency(Seconds::new(stats.p99)), &note, class)
}

fn latencies(recording: &Recording, summary: &Summary) -> Markup {
    let names = model_names(recording);
    html! {
        h2 { "Latency" }
        div.scroll {
            table {
                caption { "Numbers beyond the target are set in bold." }
                thead {
                    tr {
                        th { "Model" } th {}
                        @for name in ["mean", "p50", "p90", "p95", "p99", "max", "SLO", "within SLO"] {
                            th.number { (name) }
                        }
                    }
                }
                tbody {
                    @if names.len() > 1 {
                        (latency_rows("all", &summary.latency, None, summary.slo_attainment))
                    }
                    @for (model, name) in recording.models.iter().zip(&names) {
                        @if let Some(model) = summary.models.get(&model_key(model)) {
                            (latency_rows(name, &model.latency, Some(model.slo), model.slo_attainment))
                        }
                    }
                }
            }
        }
    }
}

/// The four rows of one model. The attainment is told once: it is a property of requests.
fn latency_rows(
    name: &str,
    latency: &Latency,
    slo: Option<SloTargets>,
    attainment: Option<f64>,
) -> Markup {
    let rows = [
        ("TTFT", latency.ttft_s, slo.map(|slo| slo.ttft_s)),
        ("TPOT", latency.tpot_s, slo.map(|slo| slo.tpot_s)),
        ("ITL", latency.itl_s, None),
        ("E2E", latency.e2e_s, None),
    ];
    html! {
        @for (idx, (short, stats, target)) in rows.into_iter().enumerate() {
            tr {
                @if idx == 0 { th rowspan="4" { (name) } }
                td { (short) }
                @match stats {
                    Some(stats) => {
                        @for value in [stats.mean, stats.p50, stats.p90, stats.p95, stats.p99, stats.max] {
                            @let over = target.is_some_and(|target| value > target);
                            td.number.bad[over] { (format::latency(Seconds::new(value))) }
                        }
                    }
                    None => { @for _ in 0..6 { td.number { "–" } } }
                }
                td.number { @if let Some(target) = target { (format::target(Seconds::new(target))) } }
                @if idx == 0 {
                    td.number rowspan="4" { (attainment.map_or_else(|| "–".to_owned(), format::percent)) }
                }
            }
        }
    }
}

/// Nothing, when no model has several groups.
fn groups(
    recording: &Recording,
    summary: &Summary,
    kind: &str,
    groups: fn(&ModelSummary) -> &Groups,
) -> Markup {
    let names = model_names(recording);
    let of = |model: &ModelRecord| summary.models.get(&model_key(model)).map(groups);
    let rows: Vec<_> = recording
        .models
        .iter()
        .zip(&names)
        .flat_map(|(model, name)| of(model).into_iter().flatten().map(move |group| (name, group)))
        .collect();
    if rows.is_empty() {
        return html! {};
    }
    let latency = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| format::latency(Seconds::new(value)))
    };
    html! {
        h2 { (kind) }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "Model" } th { (kind) }
                        @for name in ["requests", "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "within SLO"] {
                            th.number { (name) }
                        }
                    }
                }
                tbody {
                    @for (model, (name, group)) in rows {
                        tr {
                            td { (model) }
                            th { (name) }
                            td.number { (format::count(group.requests.arrived)) }
                            td.number { (latency(group.ttft_s.map(|stats| stats.p50))) }
                            td.number { (latency(group.ttft_s.map(|stats| stats.p99))) }
                            td.number { (latency(group.tpot_s.map(|stats| stats.p50))) }
                            td.number { (latency(group.tpot_s.map(|stats| stats.p99))) }
                            td.number { (group.slo_attainment.map_or_else(|| "–".to_owned(), format::percent)) }
                        }
                    }
                }
            }
        }
    }
}

fn variants(recording: &Recording, summary: &Summary) -> Markup {
    let (models, names) = (model_names(recording), variant_names(recording));
    html! {
        h2 { "Variants" }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "Variant" } th { "Model" } th { "Accelerator" }
                        @for name in ["replicas, mean", "max", "GPU-hours", "cost", "requests served"] {
                            th.number { (name) }
                        }
                    }
                }
                tbody {
                    @for (record, name) in recording.variants.iter().zip(&names) {
                        @if let Some(variant) = summary.variants.get(&variant_key(recording, record)) {
                            tr {
                                th { (name) }
                                td { (models[record.model]) }
                                td { (variant.accelerator) }
                                td.number { (format::significant(variant.replicas.mean)) }
                                td.number { (variant.replicas.max) }
                                td.number { (format::amount(variant.gpu_hours)) }
                                td.number { (format::amount(variant.cost)) }
                                td.number { (format::count(variant.requests_served)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn decisions(recording: &Recording) -> Markup {
    let count = recording.scalings.len();
    let names = variant_names(recording);
    let table = html! {
        div.scroll {
            table {
                thead { tr { th { "Time" } th { "Variant" } th { "Replicas" } th { "Because" } } }
                tbody { @for scaling in &recording.scalings { (decision(scaling, &names)) } }
            }
        }
    };
    html! {
        h2 { "Scaling decisions" }
        @if count == 0 {
            p.muted { "No decision moved a replica count." }
        } @else if count > MOST_UNFOLDED {
            details { summary { "All " (format::count(count as u64)) " decisions" } (table) }
        } @else {
            (table)
        }
    }
}

fn decision(scaling: &ScalingRecord, names: &[String]) -> Markup {
    let up = scaling.desired > scaling.previous;
    html! {
        tr {
            td.nowrap { (format::clock(scaling.at)) }
            td.nowrap { (names[scaling.variant]) }
            td.nowrap {
                span class=(if up { "good" } else { "bad" }) { (if up { "▲" } else { "▼" }) }
                " " (scaling.previous) " → " (scaling.desired)
            }
            td { ul { @for reason in &scaling.trail { li { (reason) } } } }
        }
    }
}

fn source(name: &str, text: &str) -> Markup {
    html! { @if !text.is_empty() { details { summary { (name) } pre { (text) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::sample::{self, Shape};

    fn page(recording: &Recording) -> String {
        let summary = Summary::of(recording);
        let input = ReportInput {
            recording,
            summary: &summary,
            description: "A day of <b>chat</b>.",
            scenario_text: "name: diurnal\nbudget: 5 < 6 & 7",
            policy_text: "saturation: {}",
            kv_threshold: Some(Fraction::new(0.8)),
            version: Some("0.1.0"),
        };
        render(&input).unwrap()
    }

    #[test]
    fn the_page_stands_alone() {
        let page = page(&sample::recording(Shape::HALF_HOUR));
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for reference in ["http://", "https://", "src=", "href=", "@import", "url(", "<script"] {
            assert!(!page.contains(reference), "{reference}");
        }
        assert_eq!(page.matches("<svg ").count(), 2);
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let page = page(&sample::recording(Shape::HALF_HOUR));
        assert!(page.contains("A day of &lt;b&gt;chat&lt;/b&gt;."));
        assert!(page.contains("budget: 5 &lt; 6 &amp; 7"));
        assert!(page.contains("<h1>diurnal &lt;chat&gt; &amp; batch</h1>"));
        assert!(!page.contains("<chat>"));
    }

    #[test]
    fn every_decision_is_told_with_its_reasons_and_many_are_folded() {
        let few = sample::recording(Shape::HALF_HOUR);
        let text = page(&few);
        assert_eq!(text.matches("<td class=\"nowrap\">0:").count(), few.scalings.len());
        assert_eq!(text.matches("spare KV 0.062 is below 0.1").count(), 7);
        assert!(!text.contains("All "));
        let many = sample::recording(Shape { variants: 12, ..Shape::HALF_HOUR });
        let folded = format!("All {} decisions", many.scalings.len());
        assert!(page(&many).contains(&folded), "{folded}");
    }

    #[test]
    fn the_same_run_gives_the_same_page() {
        let shape = Shape { models: 2, variants: 3, ..Shape::HALF_HOUR };
        assert!(page(&sample::recording(shape)) == page(&sample::recording(shape)));
    }

    #[test]
    fn a_run_in_which_nothing_happened_has_a_page() {
        let text = page(&sample::empty(Shape { variants: 0, ..Shape::HALF_HOUR }));
        assert!(text.contains("No decision moved a replica count."));
        assert!(text.contains("no request has one"));
    }
}
