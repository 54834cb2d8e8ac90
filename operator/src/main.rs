//! The operator's binary: parse, call, exit.

use std::process::ExitCode;

use clap::Parser as _;
use operator::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run(&mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
