//! Traces for the terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::HumanCount;
use optimizer::units::Seconds;

use crate::traces::Goodness;
use crate::traces::Inspection;
use crate::traces::goodness::Pair;
use crate::traces::inspection::{HourRate, LengthStatistics};
use crate::traces::reuse::PrefixReuse;

/// A rule below the head of a table, and nothing else.
const RULED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Models that are shown; of more, the most frequent.
const SHOWN_MODELS: usize = 8;

/// A trace in a few lines and tables, with an empty line at the end. `color` lets the terminal style
/// them.
pub(super) fn render(head: &str, found: &Inspection, notes: &[String], color: bool) -> String {
    let mut text = format!("{head}\n");
    let span = Seconds::new(found.span_s);
    let rate = number(found.rate_rps);
    // Writing to a string does not fail.
    let _ = write!(text, "{} requests in {}, {rate}/s", HumanCount(found.requests), length(span));
    if found.first_s > 0.0 {
        let _ = write!(text, ", the first at {}", length(Seconds::new(found.first_s)));
    }
    text.push('\n');
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.push('\n');
    push(&mut text, &windows(found, color));
    if let Some(gap) = &found.gap {
        let [mean, p50, p99, max] = [gap.mean_s, gap.p50_s, gap.p99_s, gap.max_s].map(millis);
        let cv = number(gap.cv);
        let _ = writeln!(
            text,
            "gaps between arrivals: mean {mean}, CV {cv}, p50 {p50}, p99 {p99}, max {max}\n"
        );
    }
    push(&mut text, &lengths(found, color));
    let _ = writeln!(text, "correlation of prompt and output: {}\n", number(found.correlation));
    if let Some(reuse) = &found.prefix {
        push(&mut text, &prefixes(reuse, color));
    }
    if found.hours.len() > 1 {
        let from = if found.hours_from_midnight { "hour" } else { "hour from the start" };
        push(&mut text, &hours(from, &found.hours, color));
    }
    if !found.models.is_empty() {
        push(&mut text, &models(found, color));
    }
    text
}

/// How like a trace fitted traffic is.
pub(super) fn render_goodness(goodness: &Goodness, color: bool) -> String {
    let mut table = table(&["", "trace", "fitted", "ratio"], 1, color);
    for Pair { name, recorded, drawn } in &goodness.pairs {
        let ratio = recorded.zip(*drawn).filter(|(recorded, _)| *recorded != 0.0);
        let ratio = ratio.map(|(recorded, drawn)| drawn / recorded);
        table.add_row([name.clone(), number(*recorded), number(*drawn), number(ratio)]);
    }
    let mut text = String::new();
    push(&mut text, &table);
    let Goodness { gap_ks, prompt_ks, output_ks, .. } = goodness;
    let _ = writeln!(
        text,
        "distance of the distributions: gaps {gap_ks:.3}, prompts {prompt_ks:.3}, outputs \
         {output_ks:.3}"
    );
    text
}

fn windows(found: &Inspection, color: bool) -> Table {
    let mut table = table(&["window", "windows", "peak/s", "dispersion"], 1, color);
    for window in &found.windows {
        table.add_row([
            length(Seconds::new(window.window_s)),
            HumanCount(window.windows).to_string(),
            number(window.peak_rps),
            number(window.dispersion),
        ]);
    }
    table
}

fn lengths(found: &Inspection, color: bool) -> Table {
    let head = ["tokens", "mean", "CV", "min", "p10", "p50", "p90", "p95", "p99", "max"];
    let mut table = table(&head, 1, color);
    for (name, lengths) in [("prompt", &found.prompt), ("output", &found.output)] {
        let LengthStatistics { mean, cv, min, p10, p50, p90, p95, p99, max } = *lengths;
        let counts = [min, p10, p50, p90, p95, p99, max];
        let counts = counts.map(|count| HumanCount(count).to_string());
        let first = [name.to_owned(), number(Some(mean)), number(cv)];
        table.add_row(first.into_iter().chain(counts));
    }
    table
}

fn prefixes(reuse: &PrefixReuse, color: bool) -> Table {
    let mut table = table(&["prefix cache of", "prompt tokens found"], 1, color);
    for cache in &reuse.caches {
        let size = format!("{} tokens", HumanCount(cache.tokens));
        table.add_row([size, percent(cache.share)]);
    }
    let all = format!("all {} tokens", HumanCount(reuse.distinct_tokens));
    table.add_row([all, percent(reuse.share)]);
    table
}

fn hours(from: &str, hours: &[HourRate], color: bool) -> Table {
    let mut table = table(&[from, "rate/s", ""], 1, color);
    if let Some(bar) = table.column_mut(2) {
        bar.set_cell_alignment(CellAlignment::Left);
    }
    let most = hours.iter().map(|hour| hour.rate_rps).fold(0.0, f64::max);
    for HourRate { hour, rate_rps } in hours {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 30")]
        let width = if most > 0.0 { (rate_rps / most * 30.0).round() as usize } else { 0 };
        table.add_row([hour.to_string(), number(Some(*rate_rps)), "▇".repeat(width)]);
    }
    table
}

fn models(found: &Inspection, color: bool) -> Table {
    let mut table = table(&["model", "requests"], 1, color);
    let mut models: Vec<_> = found.models.iter().collect();
    models.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
    let shown = models.len().min(SHOWN_MODELS);
    for &(name, &count) in &models[..shown] {
        table.add_row([name.clone(), HumanCount(count).to_string()]);
    }
    let rest: u64 = models[shown..].iter().map(|&(_, &count)| count).sum();
    if rest > 0 {
        let name = format!("{} others", models.len() - shown);
        table.add_row([name, HumanCount(rest).to_string()]);
    }
    table
}

fn table(head: &[&str], numbers_from: usize, color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Disabled);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(head);
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Adds a table and an empty line. comfy-table pads every line to the width of the table.
fn push(text: &mut String, table: &Table) {
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
}

/// Three significant digits, and from 100 on all digits before the point; a dash for none.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 || v <= 0.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// A length of time in its two largest units.
fn length(span: Seconds) -> String {
    let seconds = span.value();
    if seconds < 60.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let total = seconds.round() as u64;
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut left = total;
    let parts = units.map(|(name, unit)| {
        let count = left / unit;
        left %= unit;
        (count, name)
    });
    let largest = parts.iter().position(|&(count, _)| count > 0).unwrap_or(parts.len() - 1);
    let shown = parts[largest..].iter().take(2).filter(|&&(count, _)| count > 0);
    shown.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(" ")
}

fn millis(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{} ms", number(Some(seconds * 1e3)))
    } else {
        format!("{} s", number(Some(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_units() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (10.0, "10 s"),
            (59.94, "59.9 s"),
            (60.0, "1 min"),
            (3501.7, "58 min 22 s"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(length(Seconds::new(seconds)), text);
        }
        assert_eq!((millis(0.0123), millis(2.0)), ("12.3 ms".to_owned(), "2.00 s".to_owned()));
        assert_eq!((number(None), number(Some(-0.112))), ("–".to_owned(), "-0.112".to_owned()));
    }
}
