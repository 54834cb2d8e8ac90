//! `plimsoll trace`: makes traces.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use optimizer::units::Seconds;

use crate::kernel::Streams;
use crate::workload::Arrival;
use crate::workload::stats::Statistics;
use crate::workload::synthesis;
use crate::workload::trace::azure;

/// Make traces: files that say when which requests arrive
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

impl TraceArgs {
    /// Does what was asked.
    ///
    /// # Errors
    ///
    /// When the command fails; the error says at which file.
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            TraceCommand::Synthesize(args) => args.run(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    Synthesize(SynthesizeArgs),
}

/// Write a synthetic trace with the statistics of recorded traffic
///
/// The file has the columns `arrived_at,num_prefill_tokens,num_decode_tokens`: seconds, and the
/// tokens of prompt and output. The same preset, duration and seed give the same bytes. A file that
/// exists is replaced. The statistics of what was written go to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  plimsoll trace synthesize --preset azure-chat --duration 1h --seed 1 --out chat.csv")]
struct SynthesizeArgs {
    /// The traffic to imitate
    #[arg(long, value_enum)]
    preset: Preset,
    /// How long the traffic lasts, such as "30m" or "1h"
    #[arg(long, default_value = "1h")]
    duration: Seconds,
    /// Another seed gives another trace with the same statistics
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl SynthesizeArgs {
    fn run(self) -> Result<()> {
        let Self { preset, duration, seed, out } = self;
        let arrivals = preset.synthesize(duration, Streams::new(seed));
        let Some(statistics) = Statistics::of(&arrivals) else {
            bail!("no request arrives within {duration}: take a longer time");
        };
        let file =
            File::create(&out).with_context(|| format!("cannot create {}", out.display()))?;
        azure::write(&arrivals, BufWriter::new(file))
            .with_context(|| format!("cannot write {}", out.display()))?;
        println!("{}\n{statistics}", out.display());
        Ok(())
    }
}

/// The traffic that can be imitated.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    /// Chat, as in the Azure LLM inference trace of 2023
    AzureChat,
}

impl Preset {
    fn synthesize(self, duration: Seconds, streams: Streams) -> Vec<Arrival> {
        match self {
            Self::AzureChat => synthesis::azure_chat(duration, streams),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::workload::trace::Trace;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        trace: TraceArgs,
    }

    fn synthesize(options: &[&str]) -> Result<()> {
        Command::try_parse_from([&["trace", "synthesize"], options].concat())?.trace.run()
    }

    #[test]
    fn the_file_holds_what_is_simulated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.csv");
        let out = path.to_str().unwrap();
        fs::write(&path, "something else").unwrap();
        synthesize(&["--preset=azure-chat", "--duration=10m", "--seed=7", "--out", out]).unwrap();
        let simulated = synthesis::azure_chat(Seconds::from_minutes(10.0), Streams::new(7));
        assert_eq!(Trace::read(&path).unwrap().arrivals(), simulated);
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let check = |options: &[&str], expected: &str| {
            let error = format!("{:#}", synthesize(options).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let absent = folder.path().join("absent/chat.csv");
        let out = ["--out", absent.to_str().unwrap()];
        check(&[&["--preset=azure-chat"], &out[..]].concat(), "cannot create ");
        check(
            &[&["--preset=azure-chat", "--duration=0s"], &out[..]].concat(),
            "no request arrives within 0s",
        );
        check(&[&["--preset=chat"], &out[..]].concat(), "possible values: azure-chat");
        check(&["--preset=azure-chat"], "--out <FILE>");
    }
}
