//! What came out differently, for the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use optimizer::VariantDecision;
use optimizer::journal::{Difference, Mismatch};
use optimizer::units::Replicas;

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

/// Where another policy decided for another replica count. Of decisions in a row that differ in the
/// same way, the first is shown.
pub(super) fn changes(found: &[Mismatch], replayed: u64, color: bool) -> String {
    let mut table = ruled(&["time", "variant", "current", "recorded", "now", "because"], 5, color);
    let mut before = BTreeMap::new();
    let (mut differ, mut rows) = (0_u64, 0_u64);
    for Mismatch { step, at, variants, .. } in found {
        let counts = variants.iter().map(|difference| (difference, counts(difference)));
        let changed: Vec<_> =
            counts.filter(|(_, (recorded, replayed))| recorded != replayed).collect();
        differ += u64::from(!changed.is_empty());
        for (difference, counts) in changed {
            let variant = name(difference);
            let last = before.insert(variant.clone(), (*step, counts));
            if last.is_some_and(|(earlier, same)| earlier + 1 == *step && same == counts) {
                continue;
            }
            let shown = |count: Option<Replicas>| {
                count.map_or_else(|| "–".to_owned(), |count| count.to_string())
            };
            let current = difference.recorded.as_ref().map(|decided| decided.current);
            let because =
                difference.replayed.as_ref().and_then(|decided| main_reason(&decided.trail));
            rows += 1;
            table.add_row([
                moment::show(*at),
                variant,
                shown(current),
                shown(counts.0),
                shown(counts.1),
                because.map(ToString::to_string).unwrap_or_default(),
            ]);
        }
    }
    let mut text = format!("{differ} of {} differ in a replica count\n", decisions(replayed));
    if rows > 0 {
        text.push('\n');
        text.extend(table.to_string().lines().map(|line| line.trim_end().to_owned() + "\n"));
    }
    text
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
