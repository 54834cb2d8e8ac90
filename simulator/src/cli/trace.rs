//! `plimsoll trace`: describes, converts, imitates and makes traces.

mod convert;
mod fit;
mod input;
mod inspect;
mod plot;
mod synthesize;
mod table;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Describe, convert, imitate and make traces: files that say when which requests arrive
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
            TraceCommand::Inspect(args) => args.run(),
            TraceCommand::Convert(args) => args.run(),
            TraceCommand::Fit(args) => args.run(),
            TraceCommand::Synthesize(args) => args.run(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    Inspect(Box<inspect::InspectArgs>),
    Convert(Box<convert::ConvertArgs>),
    Fit(Box<fit::FitArgs>),
    Synthesize(synthesize::SynthesizeArgs),
}

#[cfg(test)]
mod tests;
