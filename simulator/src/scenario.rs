//! What a person writes to describe a run.
//!
//! The way of a scenario: its YAML is parsed, the command line's overrides are set in it, it is
//! read into structs, and each of these is resolved: defaults are filled in from the
//! [catalog](crate::catalog), the files that it names are read, and whatever cannot be meant is a
//! problem. Either all of it holds, and a [`Setup`] comes out, or every problem does, each with its
//! place. Nothing has run by then.
//!
//! A path inside a scenario is relative to the scenario; one that came from the command line,
//! also by `--set`, is relative to the working directory.

mod file;
mod overrides;
mod presets;
mod resolve;

use std::path::{Path, PathBuf};

use optimizer::Policy;
use optimizer::units::Seconds;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use thiserror::Error;

use crate::document::{Document, Partial, Problems};
use crate::setup::Setup;

pub use overrides::Overrides;

use file::ScenarioFile;
use resolve::Resolved;

/// A scenario that is ready to run.
#[derive(Debug)]
pub struct Scenario {
    /// All that the run needs.
    pub setup: Setup,
    /// What the run is to show, as its author says.
    pub description: String,
    /// The file as it was written, and the flags that changed it as comments below.
    pub text: String,
    /// When the last request arrives, or the duration if that is later: what progress is measured
    /// against.
    pub length: Seconds,
    /// What a reader of the results should know about the inputs, as sentences.
    pub notes: Vec<String>,
}

impl Scenario {
    /// Reads a scenario and every file that it names.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or with all problems that the scenario has.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Self::parse(&path.to_string_lossy(), text, folder, overrides)?)
    }

    /// As [`load`](Self::load), from a text with a name; paths in it are relative to `folder`.
    fn parse(
        name: &str,
        text: String,
        folder: &Path,
        overrides: &Overrides,
    ) -> Result<Self, Problems> {
        let mut document = Document::parse(name, text.as_str())?;
        let mut problems = overrides.apply(&mut document);
        let Partial { value, problems: misfits, guesses } = document.read_partly::<ScenarioFile>();
        problems.extend(misfits);
        let Some(file) = value else {
            return Err(
                Problems::reject(problems).expect_err("whatever has no value has a problem")
            );
        };
        let Resolved { setup, length, notes } =
            resolve::resolve(&document, folder, &file, guesses, problems)?;
        let text = overrides.annotate(text);
        Ok(Self { setup, description: file.description, text, length, notes })
    }

    /// The JSON Schema of a scenario file, for editors. Draft 7, which all of them know.
    #[must_use]
    pub fn json_schema() -> Schema {
        SchemaSettings::draft07().into_generator().into_root_schema_for::<ScenarioFile>()
    }
}

/// Reads a policy file.
///
/// # Errors
///
/// When it cannot be read, or with all problems that it has.
pub fn read_policy(path: &Path) -> Result<Policy, ScenarioError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
    let document = Document::parse(path.to_string_lossy(), text)?;
    let policy: Policy = document.read()?;
    resolve::policy_problems(&document, "", &policy)?;
    Ok(policy)
}

/// Why a scenario cannot run.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file itself cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something in it, or in a file that it names, is wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
}

#[cfg(test)]
mod tests;
