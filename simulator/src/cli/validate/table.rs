//! A comparison for the terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use crate::validation::{Comparison, GpuMedian, Row};

/// A rule below the head of a table, and nothing else.
const RULED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// One table for each run, and one of the medians. `color` lets the terminal style them.
pub(super) fn render(comparisons: &[Comparison], medians: &[GpuMedian], color: bool) -> String {
    let mut text = String::new();
    for comparison in comparisons {
        let Comparison { run, replay, rows, notes } = comparison;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}: {} on {}, {} requests, {} preemptions simulated",
            run.name,
            run.model,
            run.gpu,
            run.requests.len(),
            replay.preemptions
        );
        for note in notes {
            let _ = writeln!(text, "note: {note}");
        }
        push(&mut text, &run_table(rows, color));
    }
    let _ = writeln!(text, "Medians of the errors' sizes by GPU");
    push(&mut text, &median_table(medians, color));
    text
}

fn run_table(rows: &[Row], color: bool) -> Table {
    let with_peer = rows.iter().any(|row| row.peer_error_pct.is_some());
    let mut head = vec!["metric", "unit", "real", "simulated", "error"];
    head.extend(with_peer.then_some("peer's error"));
    let mut table = table(&head, 2, color);
    for row in rows {
        let names = [row.metric.to_string(), row.unit.to_owned()];
        table.add_row(names.into_iter().chain(numbers(row, with_peer)));
    }
    table
}

/// Real, simulated and error, and the peer's error where the table has a column for it.
pub(super) fn numbers(row: &Row, with_peer: bool) -> impl Iterator<Item = String> {
    let values = [row.real, row.simulated].map(|value| format!("{value:.1}"));
    let errors = [Some(row.error_pct), with_peer.then_some(row.peer_error_pct)];
    values.into_iter().chain(errors.into_iter().flatten().map(signed))
}

pub(super) fn median_table(medians: &[GpuMedian], color: bool) -> Table {
    let mut table = table(&["GPU", "metric", "runs", "error"], 2, color);
    for GpuMedian { gpu, metric, runs, error_pct } in medians {
        let cells =
            [gpu.clone(), metric.to_string(), runs.to_string(), format!("{error_pct:.1} %")];
        table.add_row(cells);
    }
    table
}

pub(super) fn table(head: &[&str], numbers_from: usize, color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Disabled);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(head.iter().copied());
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Appends a table and an empty line; comfy-table pads every line to the width of the table.
pub(super) fn push(text: &mut String, table: &Table) {
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
}

pub(super) fn signed(percent: Option<f64>) -> String {
    percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:+.1} %"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::{Metric, Statistic};

    #[test]
    fn a_peer_has_a_column_where_it_has_numbers() {
        let row = |metric, error_pct, peer_error_pct| Row {
            run: "one".to_owned(),
            gpu: "GPU 1".to_owned(),
            model: "m".to_owned(),
            stage: None,
            metric,
            unit: "ms",
            real: 1234.56,
            simulated: 1222.2,
            error_pct,
            peer_error_pct,
        };
        let rows = [
            row(Metric::Ttft(Statistic::P90), Some(-1.001), Some(2.25)),
            row(Metric::Waiting, None, None),
        ];
        let text = |rows: &[Row]| {
            let mut text = String::new();
            push(&mut text, &run_table(rows, false));
            text
        };
        insta::assert_snapshot!(text(&rows));
        assert!(!text(&rows[1..]).contains("peer"));
    }
}
