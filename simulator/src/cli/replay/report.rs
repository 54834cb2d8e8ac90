//! What came out differently, for the terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::Table;
use optimizer::VariantDecision;
use optimizer::journal::{Difference, Mismatch};
use optimizer::units::{Replicas, Timestamp};

use crate::cli::moment;
use crate::results::decisions::main_reason;
use crate::results::format;
use crate::results::table::ruled;

/// Mismatches that are shown; the first of them says most, since later ones may follow from it.
const SHOWN: usize = 5;

/// A number of steps.
pub(super) fn decisions(count: u64) -> String {
    format::counted(count, "decision")
}

/// The first mismatches, each with both trails.
pub(super) fn mismatches(found: &[Mismatch]) -> String {
    let mut text = String::new();
    for Mismatch { step, at, memory_differs, variants } in &found[..found.len().min(SHOWN)] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}, step {step}", moment::show(*at));
        if *memory_differs {
            let _ = writeln!(text, "  what was remembered before it differs");
        }
        for difference in variants {
            let _ = writeln!(text, "  {}", name(difference));
            side(&mut text, "recorded", difference.recorded.as_ref());
            side(&mut text, "replayed", difference.replayed.as_ref());
        }
    }
    if found.len() > SHOWN {
        let _ = writeln!(text, "… {} more", format::count((found.len() - SHOWN) as u64));
    }
    text
}

fn side(text: &mut String, which: &str, decided: Option<&VariantDecision>) {
    let Some(decided) = decided else {
        let _ = writeln!(text, "    {which}: no decision");
        return;
    };
    let _ = writeln!(text, "    {which}: {} → {}", decided.current, decided.desired);
    for sentence in decided.sentences() {
        let _ = writeln!(text, "      {sentence}");
    }
}

/// Where another policy decided for another replica count. Decisions in a row that differ in the same
/// way are one line.
pub(super) fn changes(found: &[Mismatch], replayed: u64, color: bool) -> String {
    let mut changes: Vec<Change> = Vec::new();
    let mut latest = BTreeMap::new();
    let mut differ = BTreeSet::new();
    for Mismatch { step, at, variants, .. } in found {
        for difference in variants {
            let counts = counts(difference);
            if counts.0 == counts.1 {
                continue;
            }
            differ.insert((at, step));
            let variant = name(difference);
            let (step, at) = (*step, *at);
            let before = latest.get(&variant).map(|&idx: &usize| &mut changes[idx]);
            let same =
                |before: &&mut Change| before.last_step + 1 == step && before.counts == counts;
            if let Some(change) = before.filter(same) {
                (change.last_step, change.to) = (step, at);
                continue;
            }
            latest.insert(variant.clone(), changes.len());
            let decided = difference.replayed.as_ref();
            let because = decided.and_then(|decided| main_reason(&decided.trail));
            let because = because.map(ToString::to_string).unwrap_or_default();
            changes.push(Change { from: at, to: at, last_step: step, variant, counts, because });
        }
    }
    let differ = differ.len();
    let mut text = format!("{differ} of {} differ in a replica count\n", decisions(replayed));
    if !changes.is_empty() {
        text.push('\n');
        let table = table(changes, color).to_string();
        text.extend(table.lines().map(|line| line.trim_end().to_owned() + "\n"));
    }
    text
}

/// Decisions in a row about one variant that differ in the same way.
struct Change {
    from: Timestamp,
    to: Timestamp,
    last_step: u64,
    variant: String,
    /// The recorded count and the new one.
    counts: (Option<Replicas>, Option<Replicas>),
    /// The main reason for the first of them.
    because: String,
}

fn table(changes: Vec<Change>, color: bool) -> Table {
    let head = ["from", "to", "variant", "recorded", "now", "because"];
    let mut table = ruled(&head, head.len(), color);
    let shown =
        |count: Option<Replicas>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
    for Change { from, to, variant, counts: (recorded, now), because, .. } in changes {
        let [from, to] = [from, to].map(moment::show);
        table.add_row([from, to, variant, shown(recorded), shown(now), because]);
    }
    table
}

/// The recorded and the new replica count.
fn counts(difference: &Difference) -> (Option<Replicas>, Option<Replicas>) {
    let desired = |decided: Option<&VariantDecision>| decided.map(|decided| decided.desired);
    (desired(difference.recorded.as_ref()), desired(difference.replayed.as_ref()))
}

fn name(difference: &Difference) -> String {
    let decided = difference.recorded.as_ref().or(difference.replayed.as_ref());
    decided.map(|d| format!("{}/{}", d.namespace, d.variant)).unwrap_or_default()
}
