//! What a scenario means.
//!
//! Every function here takes what was written and the path at which it stands, and returns what it
//! comes to. `None` says that there is a problem, here or further up, which is noted by then; so a
//! broken part does not keep the others from being checked.

mod engine;
mod hardware;
mod inventory;
mod model;
mod traffic;
mod variant;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use optimizer::Policy;
use optimizer::id::{Namespace, VariantId};
use optimizer::units::Seconds;

use super::file::{ControlFile, ScenarioFile};
use crate::catalog::{Catalog, Model};
use crate::document::{Document, FieldPath, Guesses, Problem, Problems};
use crate::kernel::Streams;
use crate::setup::{ControlSetup, Setup};

/// What a scenario comes to.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) setup: Setup,
    /// When the last request arrives, or the duration if that is later.
    pub(super) length: Seconds,
    pub(super) notes: Vec<String>,
}

/// Resolves the scenario that was read from `document`, whose paths are relative to `folder`.
/// `guesses` and `problems` are those that are known from reading it.
pub(super) fn resolve(
    document: &Document,
    folder: &Path,
    file: &ScenarioFile,
    guesses: Guesses,
    problems: Vec<Problem>,
) -> Result<Resolved, Problems> {
    let resolver = Resolver {
        document,
        folder,
        streams: Streams::new(file.seed),
        duration: file.duration,
        guesses,
        problems,
        notes: Vec::new(),
        names: BTreeSet::new(),
    };
    resolver.run(file)
}

/// The least time between two events that repeat. Shorter ones would be noise in a real cluster,
/// and a time that rounds to zero nanoseconds would never let the run proceed.
const LEAST_INTERVAL: Seconds = Seconds::from_millis(1.0);

/// A scenario on its way to a setup.
struct Resolver<'a> {
    document: &'a Document,
    folder: &'a Path,
    streams: Streams,
    duration: Option<Seconds>,
    guesses: Guesses,
    problems: Vec<Problem>,
    notes: Vec<String>,
    /// The variants so far.
    names: BTreeSet<(Namespace, VariantId)>,
}

impl Resolver<'_> {
    fn run(mut self, file: &ScenarioFile) -> Result<Resolved, Problems> {
        let root = FieldPath::root();
        self.check_run(file);
        let catalog = self.catalog(file);
        let policy = self.policy(file);
        let control = self.control(&root.key("control"), &file.control);
        let mut setup = Setup {
            name: file.name.clone(),
            seed: file.seed,
            models: Vec::new(),
            variants: Vec::new(),
            inventory: None,
            control,
            policy: policy.unwrap_or_default(),
            duration: file.duration,
            drain_limit: file.drain_limit,
            sample_interval: file.sample_interval,
            exact_percentiles: file.exact_percentiles,
        };
        let mut length = file.duration.unwrap_or(Seconds::ZERO);
        for idx in 0..file.models.len() {
            let last_arrival = self.model(idx, file, catalog.as_ref(), &mut setup);
            length = length.max(last_arrival.unwrap_or(Seconds::ZERO));
        }
        setup.inventory = self.inventory(file, &setup.variants);
        Problems::reject(self.problems)?;
        Ok(Resolved { setup, length, notes: self.notes })
    }

    fn check_run(&mut self, file: &ScenarioFile) {
        let root = FieldPath::root();
        if !is_folder_name(&file.name) {
            let message = "expected letters, digits, `-`, `_` and `.`, because it names a folder";
            self.note(&root.key("name"), message);
        }
        if file.duration.is_some_and(Seconds::is_zero) {
            self.note(&root.key("duration"), "expected a duration above zero");
        }
        if file.models.is_empty() {
            self.note(&root.key("models"), "expected at least one model");
        }
        self.check_interval(&root.key("sampleInterval"), file.sample_interval);
    }

    fn control(&mut self, at: &FieldPath, file: &ControlFile) -> ControlSetup {
        let scrape_interval = at.key("scrapeInterval");
        self.check_interval(&scrape_interval, file.scrape_interval);
        self.check_interval(&at.key("interval"), file.interval);
        self.check_interval(&at.key("retention"), file.retention);
        // With a shorter window some queries would find no sample, at times that mean nothing.
        if file.window < file.scrape_interval && !self.guesses.cover(&scrape_interval) {
            let message = format!(
                "expected a window of at least the scrape interval, which is {}",
                file.scrape_interval
            );
            self.note(&at.key("window"), message);
        } else {
            self.check_interval(&at.key("window"), file.window);
        }
        ControlSetup {
            scrape_interval: file.scrape_interval,
            scrape_lag: file.scrape_lag,
            window: file.window,
            retention: file.retention,
            interval: file.interval,
            actuation_delay: file.actuation_delay,
            actuation: file.actuation,
        }
    }

    fn check_interval(&mut self, at: &FieldPath, interval: Seconds) {
        if interval < LEAST_INTERVAL {
            self.note(at, format!("expected at least {LEAST_INTERVAL}"));
        }
    }

    /// The built-in catalog, that of the scenario, and the models that it describes itself.
    fn catalog(&mut self, file: &ScenarioFile) -> Option<Catalog> {
        let mut catalog = Catalog::builtin();
        if let Some(name) = &file.catalog {
            let document = self.other_document(&FieldPath::root().key("catalog"), name)?;
            catalog.extend(self.sound(Catalog::read(&document))?);
        }
        let models = FieldPath::root().key("models");
        for (idx, model) in file.models.iter().enumerate() {
            if let Some(name) = &model.model_config {
                let document = self.other_document(&models.index(idx).key("modelConfig"), name)?;
                let described = self.sound(Model::from_config(&document))?;
                catalog.insert_model(model.model.as_str().to_owned(), described);
            }
        }
        Some(catalog)
    }

    fn policy(&mut self, file: &ScenarioFile) -> Option<Policy> {
        let root = FieldPath::root();
        match (&file.policy, &file.policy_file) {
            (None, None) => Some(Policy::default()),
            (Some(policy), None) => {
                let problems = policy_problems(self.document, "policy.", policy);
                self.sound(problems.map(|()| policy.clone()))
            }
            (None, Some(name)) => {
                let document = self.other_document(&root.key("policyFile"), name)?;
                let policy: Policy = self.sound(document.read())?;
                let problems = policy_problems(&document, "", &policy);
                self.sound(problems.map(|()| policy))
            }
            (Some(_), Some(_)) => {
                self.note(&root.key("policyFile"), "expected policy or policyFile, not both");
                None
            }
        }
    }

    /// The document in the file that the field at `at` names.
    fn other_document(&mut self, at: &FieldPath, name: &str) -> Option<Document> {
        let path = self.path_of(at, name);
        match std::fs::read_to_string(&path) {
            Ok(text) => self.sound(Document::parse(path.to_string_lossy(), text)),
            Err(error) => {
                let message = format!("expected a file that can be read: {error}");
                self.note(at, message);
                None
            }
        }
    }

    /// The path that the field at `at` names: relative to the scenario if it stands there, and to
    /// the working directory if it came with a flag.
    fn path_of(&self, at: &FieldPath, name: &str) -> PathBuf {
        let written_in_scenario = self.document.place(at).name() == self.document.name();
        if written_in_scenario { self.folder.join(name) } else { PathBuf::from(name) }
    }

    fn note(&mut self, at: &FieldPath, message: impl Into<String>) {
        self.note_problem(self.document.problem(at, message));
    }

    /// Notes a problem, unless it is one of a value that nobody wrote.
    fn note_problem(&mut self, problem: Problem) {
        if !self.guesses.cover(&problem.path) {
            self.problems.push(problem);
        }
    }

    /// Notes the problems of another check.
    fn sound<T>(&mut self, checked: Result<T, Problems>) -> Option<T> {
        checked.map_err(|found| self.problems.extend(found.iter().cloned())).ok()
    }
}

/// Checks the policy that stands in `document` below `prefix`.
pub(super) fn policy_problems(
    document: &Document,
    prefix: &str,
    policy: &Policy,
) -> Result<(), Problems> {
    let Err(broken) = policy.validate() else { return Ok(()) };
    let problem = |broken: optimizer::policy::PolicyProblem| {
        let path = format!("{prefix}{}", broken.path).parse();
        let path = path.expect("the policy names its fields as documents do");
        document.problem(&path, format!("expected {}", broken.expected))
    };
    Problems::reject(broken.into_iter().map(problem).collect())
}

fn is_folder_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}
