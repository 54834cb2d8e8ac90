//! The run as a table for the terminal.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle,
};
use optimizer::units::Seconds;

use super::decisions::main_reason;
use super::format;
use super::groups::Groups;
use super::labels::{model_key, model_names, variant_key, variant_names};
use super::summary::{Latency, ModelSummary, SloTargets, Summary};
use crate::records::{Recording, ScalingRecord};

/// Decisions that are shown; of more, the first and the last of them.
const SHOWN_DECISIONS: usize = 8;

/// A rule below the head of a table, and nothing else.
const RULED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The run in a few lines and three tables, with a line feed at the end. `color` adds escape
/// sequences for a terminal; without it the text is plain.
#[must_use]
pub fn render(recording: &Recording, summary: &Summary, color: bool) -> String {
    let style = Style { color };
    let mut blocks = vec![headline(summary), latencies(recording, summary, style).to_string()];
    for kind in [Kind::CLASS, Kind::TENANT] {
        blocks.extend(groups(recording, summary, kind, style).map(|table| table.to_string()));
    }
    if !recording.variants.is_empty() {
        blocks.push(variants(recording, summary, style).to_string());
    }
    if !recording.scalings.is_empty() {
        blocks.push(decisions(recording, style));
    }
    let text = blocks.join("\n\n");
    // comfy-table pads every line to the width of the table.
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A table without rows. Columns from `numbers_from` on are flush right; `color` styles the head.
pub(crate) fn ruled(head: &[&str], numbers_from: usize, color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Disabled);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(head.iter().map(|name| {
        let cell = Cell::new(name);
        if color { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Whether cells are colored.
#[derive(Debug, Clone, Copy)]
struct Style {
    color: bool,
}

impl Style {
    fn table(self, head: &[&str], numbers_from: usize) -> Table {
        ruled(head, numbers_from, self.color)
    }

    fn paint(self, cell: Cell, color: Color) -> Cell {
        if self.color { cell.fg(color) } else { cell }
    }
}

fn headline(summary: &Summary) -> String {
    let counts = summary.requests;
    let mut lines = vec![format!(
        "{}: {} simulated, seed {}",
        summary.scenario,
        format::span(Seconds::new(summary.simulated_s)),
        summary.seed
    )];
    let lost = format::listed(&counts.lost());
    let lost = if lost.is_empty() { lost } else { format!(", {lost}") };
    lines.push(format!(
        "{} of {} completed{lost}",
        format::count(counts.completed),
        format::counted(counts.arrived, "request"),
    ));
    let attainment = summary.slo_attainment.map_or_else(|| "–".to_owned(), format::percent);
    lines.push(format!(
        "{attainment} within SLO, goodput {}/s, cost {}, {} GPU-hours, {} replicas on average, at most {}",
        format::significant(summary.goodput_rps),
        format::amount(summary.cost),
        format::amount(summary.gpu_hours),
        format::significant(summary.replicas.mean),
        summary.replicas.max,
    ));
    if let Some(rate) = summary.prefix_cache_hit_rate.filter(|&rate| rate > 0.0) {
        lines.push(format!("{} of the prompt tokens in the prefix cache", format::percent(rate)));
    }
    lines.join("\n")
}

fn latencies(recording: &Recording, summary: &Summary, style: Style) -> Table {
    let names = model_names(recording);
    let single = names.len() == 1;
    let first = if single { "latency" } else { "model" };
    let mut head = vec![first, "", "mean", "p50", "p90", "p95", "p99", "max", "SLO", "within SLO"];
    if single {
        head.remove(1);
    }
    let mut table = style.table(&head, if single { 1 } else { 2 });
    for (model, name) in recording.models.iter().zip(&names) {
        if let Some(model) = summary.models.get(&model_key(model)) {
            let name = (!single).then_some(name.as_str());
            for row in latency_rows(name, &model.latency, model.slo, model.slo_attainment, style) {
                table.add_row(row);
            }
        }
    }
    table
}

/// The four rows of a model. A number beyond its target is marked.
fn latency_rows(
    name: Option<&str>,
    latency: &Latency,
    slo: SloTargets,
    attainment: Option<f64>,
    style: Style,
) -> impl Iterator<Item = Vec<Cell>> {
    let rows = [
        ("TTFT", latency.ttft_s, Some(slo.ttft_s)),
        ("TPOT", latency.tpot_s, Some(slo.tpot_s)),
        ("ITL", latency.itl_s, None),
        ("E2E", latency.e2e_s, None),
    ];
    let attainment = attainment.map(format::percent).unwrap_or_default();
    rows.into_iter().enumerate().map(move |(idx, (short, stats, target))| {
        let mut row: Vec<Cell> = Vec::new();
        row.extend(name.map(|name| Cell::new(if idx == 0 { name } else { "" })));
        row.push(Cell::new(short));
        let values = stats.map(|s| [s.mean, s.p50, s.p90, s.p95, s.p99, s.max].map(Some));
        for value in values.unwrap_or_default() {
            row.push(match value {
                Some(value) => latency_cell(value, target, style),
                None => Cell::new("–"),
            });
        }
        row.push(Cell::new(target.map(|t| format::target(Seconds::new(t))).unwrap_or_default()));
        row.push(Cell::new(if idx == 0 { attainment.as_str() } else { "" }));
        row
    })
}

fn latency_cell(seconds: f64, target: Option<f64>, style: Style) -> Cell {
    let text = format::latency(Seconds::new(seconds));
    if target.is_some_and(|target| seconds > target) {
        style.paint(Cell::new(format!("✗ {text}")), Color::Red)
    } else {
        Cell::new(text)
    }
}

/// By what requests are told apart.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    groups: fn(&ModelSummary) -> &Groups,
}

impl Kind {
    const CLASS: Self = Self { name: "class", groups: |model| &model.classes };
    const TENANT: Self = Self { name: "tenant", groups: |model| &model.tenants };
}

/// One row for each group of each model; no table when no model has several.
fn groups(recording: &Recording, summary: &Summary, kind: Kind, style: Style) -> Option<Table> {
    let names = model_names(recording);
    let single = names.len() == 1;
    let mut head =
        vec!["model", kind.name, "requests", "TTFT p50", "p99", "TPOT p50", "p99", "within SLO"];
    if single {
        head.remove(0);
    }
    let mut table = style.table(&head, if single { 1 } else { 2 });
    for (record, model) in recording.models.iter().zip(&names) {
        let Some(groups) = summary.models.get(&model_key(record)).map(kind.groups) else {
            continue;
        };
        for (idx, (name, group)) in groups.iter().enumerate() {
            let mut row: Vec<Cell> = Vec::new();
            row.extend((!single).then(|| Cell::new(if idx == 0 { model } else { "" })));
            row.extend([Cell::new(name), Cell::new(format::count(group.requests.arrived))]);
            let targets = [group.slo.map(|slo| slo.ttft_s), group.slo.map(|slo| slo.tpot_s)];
            for (stats, target) in [group.ttft_s, group.tpot_s].into_iter().zip(targets) {
                for value in [stats.map(|stats| stats.p50), stats.map(|stats| stats.p99)] {
                    row.push(
                        value.map_or(Cell::new("–"), |value| latency_cell(value, target, style)),
                    );
                }
            }
            row.push(Cell::new(group.slo_attainment.map(format::percent).unwrap_or_default()));
            table.add_row(row);
        }
    }
    (table.row_count() > 0).then_some(table)
}

fn variants(recording: &Recording, summary: &Summary, style: Style) -> Table {
    let head = ["variant", "GPU", "replicas", "max", "GPU-hours", "cost", "served"];
    let mut table = style.table(&head, 2);
    for (record, name) in recording.variants.iter().zip(variant_names(recording)) {
        if let Some(variant) = summary.variants.get(&variant_key(recording, record)) {
            table.add_row([
                name,
                variant.accelerator.clone(),
                format::significant(variant.replicas.mean),
                variant.replicas.max.to_string(),
                format::amount(variant.gpu_hours),
                format::amount(variant.cost),
                format::count(variant.requests_served),
            ]);
        }
    }
    table
}

fn decisions(recording: &Recording, style: Style) -> String {
    let names = variant_names(recording);
    let count = recording.scalings.len();
    let mut table = style.table(&["decision", "variant", "replicas", "because"], 4);
    let half = SHOWN_DECISIONS / 2;
    for (idx, scaling) in recording.scalings.iter().enumerate() {
        if count <= SHOWN_DECISIONS || idx < half || idx >= count - half {
            table.add_row(decision(scaling, &names, style));
        } else if idx == half {
            table.add_row([format!("… {} more", format::count((count - 2 * half) as u64))]);
        }
    }
    table.to_string()
}

fn decision(scaling: &ScalingRecord, names: &[String], style: Style) -> [Cell; 4] {
    let up = scaling.desired > scaling.previous;
    let (sign, color) = if up { ("▲", Color::Green) } else { ("▼", Color::Yellow) };
    let moved = format!("{sign} {} → {}", scaling.previous, scaling.desired);
    [
        Cell::new(format::clock(scaling.at)),
        Cell::new(&names[scaling.variant]),
        style.paint(Cell::new(moved), color),
        Cell::new(main_reason(&scaling.trail).map(ToString::to_string).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::sample::{self, Shape};

    fn text(recording: &Recording, color: bool) -> String {
        render(recording, &Summary::of(recording), color)
    }

    #[test]
    fn one_model() {
        insta::assert_snapshot!(text(&sample::recording(Shape::HALF_HOUR), false));
    }

    #[test]
    fn several_models() {
        let shape = Shape { models: 2, variants: 3, ..Shape::HALF_HOUR };
        insta::assert_snapshot!(text(&sample::recording(shape), false));
    }

    #[test]
    fn several_classes() {
        insta::assert_snapshot!(text(&sample::recording_of_clients(), false));
    }

    #[test]
    fn nothing_happened() {
        insta::assert_snapshot!(text(
            &sample::empty(Shape { variants: 0, ..Shape::HALF_HOUR }),
            false
        ));
    }

    #[test]
    fn color_only_when_asked_and_nothing_else_changes() {
        let recording = sample::recording(Shape::HALF_HOUR);
        let (plain, colored) = (text(&recording, false), text(&recording, true));
        assert!(!plain.contains('\u{1b}'));
        assert!(colored.contains("\u{1b}[38;5;9m"), "{colored}");
        let mut stripped = String::new();
        for (idx, piece) in colored.split('\u{1b}').enumerate() {
            stripped.push_str(if idx == 0 { piece } else { piece.split_once('m').unwrap().1 });
        }
        // The colored head of a last column keeps its padding.
        let trimmed: String =
            stripped.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        assert_eq!(trimmed, plain);
    }
}
