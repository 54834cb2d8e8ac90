//! The commands of `plimsoll`: what is typed, what is printed, and with which code it ends.

mod calibrate;
mod explain;
mod moment;
mod progress;
mod replay;
mod schema;
mod simulate;
mod trace;
mod validate;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use optimizer::units::Fraction;
use thiserror::Error;

use crate::document::Problems;
use crate::scenario::ScenarioError;

/// Decides how many replicas of each LLM to run on which GPUs, and tries it out in simulated time.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, after_help = format!("{START}\n\n{EXIT_CODES}"), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Simulate(simulate::SimulateArgs),
    Replay(replay::ReplayArgs),
    Explain(explain::ExplainArgs),
    Schema(schema::SchemaArgs),
    Trace(trace::TraceArgs),
    Validate(validate::ValidateArgs),
    Calibrate(Box<calibrate::CalibrateArgs>),
}

const START: &str = "\
Start with:
  plimsoll simulate scenarios/quickstart.yaml";

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the run or a file could not be finished, or a replay differs
  2  bad input: nothing was run, nothing was written
  3  --min-attainment was not met";

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Simulate(args) => args.run(),
        Command::Replay(args) => args.run(),
        Command::Explain(args) => args.run().map_err(Failure::Other),
        Command::Schema(args) => args.run(),
        Command::Trace(args) => args.run().map_err(Failure::Other),
        Command::Validate(args) => args.run().map_err(Failure::Other),
        Command::Calibrate(args) => args.run().map_err(Failure::Other),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug, Error)]
enum Failure {
    /// The scenario, or a file that it names, is wrong.
    #[error("{error}; nothing was run")]
    Input {
        /// The scenario, as it was named.
        scenario: String,
        /// What is wrong.
        error: ScenarioError,
    },
    /// Fewer requests met their targets than `--min-attainment` asks for.
    #[error("{} of the requests met their targets, and {least} was asked for", share(*.found))]
    Attainment {
        /// The share that did; `None` when no request arrived.
        found: Option<f64>,
        /// The share that was asked for.
        least: Fraction,
    },
    /// Anything else that kept the command from its end.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    fn report(&self) {
        match self {
            Self::Input { scenario, error: ScenarioError::Problems(problems) } => {
                let width = terminal_size::terminal_size_of(io::stderr());
                let width = width.map_or(PLAIN_WIDTH, |(width, _)| usize::from(width.0));
                let drawing = problems.render(width, has_color(&io::stderr()));
                eprintln!("{drawing}\n{} in {scenario}; nothing was run", count(problems));
            }
            other => eprintln!("error: {other}"),
        }
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Other(_) => 1,
            Self::Input { .. } => 2,
            Self::Attainment { .. } => 3,
        })
    }
}

/// The width of reports that no terminal limits.
const PLAIN_WIDTH: usize = 100;

fn count(problems: &Problems) -> String {
    match problems.len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    }
}

fn share(found: Option<f64>) -> String {
    found.map_or_else(|| "none".to_owned(), |share| format!("a share of {share}"))
}

/// Whether to write in color: to a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn has_color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to the standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to the standard output"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict() {
        Cli::command().debug_assert();
    }
}
