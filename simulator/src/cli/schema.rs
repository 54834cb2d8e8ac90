//! `plimsoll schema`: what files may hold, for editors.

use clap::{Args, ValueEnum};
use optimizer::Policy;
use schemars::generate::SchemaSettings;

use super::{Failure, print};
use crate::scenario::Scenario;

/// Print the JSON Schema of a file format, for editors that complete and check YAML.
///
/// Scenarios and policies name their schema in their first line, for the YAML language server:
/// `# yaml-language-server: $schema=schema/scenario.json`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plimsoll schema scenario > scenarios/schema/scenario.json")]
pub(super) struct SchemaArgs {
    /// The format.
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A scenario, for `plimsoll simulate`.
    Scenario,
    /// A policy: how replica counts are decided.
    Policy,
}

impl SchemaArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let schema = match self.format {
            Format::Scenario => Scenario::json_schema(),
            Format::Policy => {
                SchemaSettings::draft07().into_generator().into_root_schema_for::<Policy>()
            }
        };
        let text = serde_json::to_string_pretty(&schema).map_err(anyhow::Error::new)?;
        Ok(print(&format!("{text}\n"))?)
    }
}
