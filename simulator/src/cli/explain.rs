//! `plimsoll explain`: one step of the controller, from what it saw to what it decided.

mod narrative;

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueHint};
use optimizer::explain::{Explanation, explain};
use optimizer::id::{ModelId, Namespace, VariantId};
use optimizer::journal::{PolicyEntry, Record};
use optimizer::observation::{Demand, ModelObservation, VariantObservation};
use optimizer::units::Timestamp;
use optimizer::{Policy, VariantDecision};
use serde::Serialize;

use super::{has_color, moment, print};
use crate::results::read_journal;

/// Explain the decisions of one moment: what was seen, how old it was, and what followed from it.
///
/// Of the journal's records the last one is explained, or the last at or before a time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  plimsoll explain out/quickstart/journal.jsonl
  plimsoll explain out/quickstart/journal.jsonl --at 12.5m --variant llama-l40s
  plimsoll explain journal.jsonl --at 2026-08-01T09:30:00Z --json")]
pub(super) struct ExplainArgs {
    /// The journal, a record a line.
    #[arg(value_hint = ValueHint::FilePath)]
    journal: PathBuf,
    /// A time since the beginning, such as 12.5m or 0:12:30, or a date in the form of RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Timestamp>,
    /// Explain this variant alone.
    #[arg(long, value_name = "NAME")]
    variant: Option<VariantId>,
    /// Print a JSON list with an object for each variant.
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    /// Does what was asked.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read, or has no such record or variant.
    pub(super) fn run(self) -> Result<()> {
        let (record, policy) = self.record()?;
        let shown = shown(&record, &policy, self.variant.as_ref())?;
        let text = if self.json {
            serde_json::to_string_pretty(&shown).context("cannot write out the list")? + "\n"
        } else {
            narrative::tell(&record, &shown, has_color(&io::stdout()))
        };
        print(&text)
    }

    /// The record, and the policy that was in force.
    fn record(&self) -> Result<(Record, Policy)> {
        let mut found = None;
        let mut policy = Policy::default();
        for read in read_journal(&self.journal)? {
            let (_, record) = read?;
            if let PolicyEntry::Whole(whole) = &record.policy {
                policy = (**whole).clone();
            }
            match self.at {
                // A clock may have been set back, so the end is looked at as well.
                Some(at) if record.at > at => {
                    if found.is_none() {
                        let begins = moment::show(record.at);
                        bail!("{}: the first record is of {begins}", self.journal.display());
                    }
                }
                _ => found = Some((record, policy.clone())),
            }
        }
        found.with_context(|| format!("{}: there is no record", self.journal.display()))
    }
}

/// A decision, and what it was made from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    at: Timestamp,
    step: u64,
    namespace: &'a Namespace,
    model: &'a ModelId,
    variant: &'a VariantId,
    /// What the model's users asked for.
    demand: Option<&'a Demand>,
    /// What was known of the variant.
    observed: Option<&'a VariantObservation>,
    decision: &'a VariantDecision,
    /// The trail as sentences.
    because: Vec<String>,
    /// The same in brief, and what would have led to another count.
    explanation: Option<Explanation>,
}

/// The decisions of a record, or those about one variant.
fn shown<'a>(
    record: &'a Record,
    policy: &Policy,
    only: Option<&VariantId>,
) -> Result<Vec<Explained<'a>>> {
    let decisions = record.decision.variants.iter();
    let chosen = decisions.filter(|decided| only.is_none_or(|name| decided.variant == *name));
    let shown: Vec<_> = chosen.map(|decided| explained(record, policy, decided)).collect();
    if let Some(name) = only.filter(|_| shown.is_empty()) {
        let known = record.decision.variants.iter().map(|decided| decided.variant.as_str());
        let known: Vec<_> = known.collect();
        bail!("no decision about {name}; there are decisions about {}", known.join(", "));
    }
    Ok(shown)
}

fn explained<'a>(
    record: &'a Record,
    policy: &Policy,
    decision: &'a VariantDecision,
) -> Explained<'a> {
    let VariantDecision { namespace, model, variant, .. } = decision;
    let of_model = |seen: &&ModelObservation| (&seen.namespace, &seen.model) == (namespace, model);
    let seen = record.observation.models.iter().find(of_model);
    let variants = seen.into_iter().flat_map(|seen| &seen.variants);
    Explained {
        at: record.at,
        step: record.step,
        namespace,
        model,
        variant,
        demand: seen.map(|seen| &seen.demand),
        observed: variants.into_iter().find(|seen| seen.variant == *variant),
        decision,
        because: decision.sentences().collect(),
        explanation: explain(&record.decision, &record.observation, policy, namespace, variant),
    }
}
