//! `plimsoll trace synthesize`: a trace that nobody recorded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum, ValueHint};
use optimizer::units::{Seconds, Timestamp};

use crate::cli::print;
use crate::engine::Content;
use crate::kernel::Streams;
use crate::traces::{Drawn, FittedTraffic, Sink};
use crate::workload::stats::Statistics;
use crate::workload::trace::Record;
use crate::workload::{Arrival, synthesis};

/// Write a synthetic trace with the statistics of recorded traffic
///
/// The traffic is a preset, or was fitted to a trace by `plimsoll trace fit`. The name of the file
/// tells its form: .csv with the columns `arrived_at,num_prefill_tokens,num_decode_tokens` (seconds,
/// and the tokens of prompt and output), .jsonl (Mooncake's objects, which keep what prompts have in
/// common), both also with .gz behind, or .parquet. The same traffic, duration and seed give the same
/// bytes. A file that exists is replaced. What was written goes to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plimsoll trace synthesize --preset azure-chat --duration 1h --seed 1 --out chat.csv
  plimsoll trace synthesize hour.yaml --duration 24h --seed 7 -o day.csv")]
pub(super) struct SynthesizeArgs {
    /// Traffic that was fitted to a trace
    #[arg(value_name = "GENERATOR", value_hint = ValueHint::FilePath,
        required_unless_present = "preset", conflicts_with = "preset")]
    generator: Option<PathBuf>,
    /// The traffic to imitate
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// How long the traffic lasts, such as "30m" or "1h"
    #[arg(long, default_value = "1h")]
    duration: Seconds,
    /// Another seed gives another trace with the same statistics
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: PathBuf,
}

/// The traffic that can be imitated.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    /// Chat, as in the Azure LLM inference trace of 2023
    AzureChat,
}

impl SynthesizeArgs {
    pub(super) fn run(self) -> Result<()> {
        let Self { generator, preset, duration, seed, out } = self;
        let streams = Streams::new(seed);
        if let Some(generator) = &generator {
            let drawn = Drawn::new(&read(generator)?, duration, streams);
            return write(drawn, duration, &out);
        }
        match preset.unwrap_or(Preset::AzureChat) {
            Preset::AzureChat => {
                let arrivals = synthesis::azure_chat(duration, streams);
                let records = arrivals.iter().map(record);
                write(records, duration, &out)?;
                let statistics = Statistics::of(&arrivals);
                statistics.map_or(Ok(()), |statistics| print(&format!("{statistics}\n")))
            }
        }
    }
}

fn read(generator: &Path) -> Result<FittedTraffic> {
    let name = generator.display().to_string();
    let text = fs::read_to_string(generator).with_context(|| format!("cannot read {name}"))?;
    Ok(FittedTraffic::parse(&name, &text)?)
}

fn record(arrival: &Arrival) -> Record {
    let &Arrival { at, prompt, output, .. } = arrival;
    Record { at, prompt, output, model: None, content: Content::default() }
}

fn write(records: impl Iterator<Item = Record>, duration: Seconds, out: &Path) -> Result<()> {
    let mut records = records.peekable();
    if records.peek().is_none() {
        bail!("no request arrives within {duration}: take a longer time");
    }
    let mut sink = Sink::create(out)?;
    records.try_for_each(|record| sink.write(record))?;
    let written = sink.finish()?;
    if written.prefixes_lost {
        eprintln!("note: what prompts have in common is left out; .jsonl keeps it");
    }
    let (count, last) = (indicatif::HumanCount(written.requests), written.last);
    let last = last.since(Timestamp::ZERO).value();
    print(&format!("{}: {count} requests in {last:.1} s\n", out.display()))
}
