//! Runs of which only summaries are known, for the terminal.

use std::fmt::Write as _;

use super::table::{median_table, numbers, push, table};
use crate::validation::summary::SummaryComparison;
use crate::validation::{Row, medians};

/// A table of each run, and one of the medians over those that their server kept up with. `color`
/// lets the terminal style them.
pub(super) fn render(comparisons: &[SummaryComparison], color: bool) -> String {
    let mut text = String::new();
    for SummaryComparison { run, plant, rows, notes } in comparisons {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {} on {}", run.name, run.model, plant.gpu);
        for note in notes {
            let _ = writeln!(text, "note: {note}");
        }
        push(&mut text, &run_table(rows, color));
    }
    let (kept_up, overloaded): (Vec<_>, Vec<_>) =
        comparisons.iter().partition(|comparison| comparison.run.overload.is_none());
    for (title, comparisons) in [
        ("Medians of the errors' sizes by GPU, over whole runs", kept_up),
        ("The same of runs whose server was overloaded", overloaded),
    ] {
        let rows = comparisons.iter().flat_map(|comparison| &comparison.rows);
        let whole: Vec<Row> = rows.filter(|row| row.stage.is_none()).cloned().collect();
        if !whole.is_empty() {
            let _ = writeln!(text, "{title}");
            push(&mut text, &median_table(&medians(&whole), color));
        }
    }
    text
}

fn run_table(rows: &[Row], color: bool) -> comfy_table::Table {
    let with_peer = rows.iter().any(|row| row.peer_error_pct.is_some());
    let mut head = vec!["stage", "metric", "real, ms", "simulated, ms", "error"];
    head.extend(with_peer.then_some("peer's error"));
    let mut table = table(&head, 2, color);
    for row in rows {
        let stage = row.stage.map_or_else(|| "all".to_owned(), |stage| stage.to_string());
        let names = [stage, row.metric.to_string()];
        table.add_row(names.into_iter().chain(numbers(row, with_peer)));
    }
    table
}
