//! `plimsoll trace convert`: a trace in another form, or a part of it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueHint};
use indicatif::HumanCount;
use optimizer::units::{Fraction, Seconds};

use super::input::{self, InputArgs};
use crate::cli::print;
use crate::traces::{Filter, Filtered, Sink};
use crate::workload::trace::Speed;

/// Write a trace in a form that scenarios read, or as Parquet
///
/// The name of OUT tells its form: .csv (seconds, prompt tokens, output tokens), .jsonl (Mooncake's
/// objects, with what prompts have in common), both also with .gz behind, or .parquet. The file is
/// put in place when it is whole. Filters apply in the order in which they stand here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  plimsoll trace convert AzureLLMInferenceTrace_conv.csv hour.csv
  plimsoll trace convert BurstGPT_1.csv.gz day.csv --from 24h --until 48h --model GPT-4
  plimsoll trace convert sharegpt.json chats.csv --rate 2/s")]
pub(super) struct ConvertArgs {
    /// The trace to read
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    from_file: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    to_file: PathBuf,
    /// Leave out requests before this time, which becomes time zero
    #[arg(long, value_name = "TIME")]
    from: Option<Seconds>,
    /// Leave out requests from this time on
    #[arg(long, value_name = "TIME")]
    until: Option<Seconds>,
    /// Keep requests for one model, by its name in the trace
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Keep each request with this probability, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    sample: Option<Fraction>,
    /// Let requests arrive so many times as fast
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    scale_rate: Option<Speed>,
    /// Another seed takes another sample, and makes other times where a file has none
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    input: InputArgs,
}

impl ConvertArgs {
    pub(super) fn run(self) -> Result<()> {
        let Self { from_file, to_file, seed, .. } = &self;
        let mut filter = self.filter();
        let mut sink = Sink::create(to_file)?;
        let summary = self.input.read(from_file, *seed, |record, _| {
            match filter.take(record) {
                Filtered::Kept(record) => sink.write(record)?,
                Filtered::Dropped => {}
                Filtered::Over => return Ok(false),
            }
            Ok(true)
        })?;
        if sink.requests() == 0 {
            bail!("{}: no request is left; nothing was written", from_file.display());
        }
        let written = sink.finish()?;
        for note in input::notes(&summary) {
            eprintln!("note: {note}");
        }
        if written.prefixes_lost {
            eprintln!("note: what prompts have in common is left out; .jsonl keeps it");
        }
        print(&format!(
            "{}: {} requests in {:.1} s\n",
            to_file.display(),
            HumanCount(written.requests),
            written.last.as_seconds()
        ))
    }

    fn filter(&self) -> Filter {
        let mut filter = Filter::default();
        if let Some(from) = self.from {
            filter = filter.from(from);
        }
        if let Some(until) = self.until {
            filter = filter.until(until);
        }
        if let Some(model) = &self.model {
            filter = filter.model(model);
        }
        if let Some(share) = self.sample {
            filter = filter.sample(share, self.seed);
        }
        if let Some(speed) = self.scale_rate {
            filter = filter.scale_rate(speed);
        }
        filter
    }
}

fn fraction(text: &str) -> Result<Fraction, String> {
    let share = text.parse().ok().and_then(Fraction::checked);
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn speed(text: &str) -> Result<Speed, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number above zero".to_owned())?;
    Speed::try_from(factor).map_err(|error| error.to_string())
}
