//! YAML files whose every value knows its place.
//!
//! A scenario is written by hand, so it is wrong at first, and mostly in more than one way. A
//! [`Document`] holds the text, the tree of its values and the place of each, so that whoever finds
//! a fault, the parser, the reader of types, or a check of meaning, can say in which line it is,
//! and so that all faults come in one report:
//!
//! ```text
//! scenarios/x.yaml:12:7: models[0].slo.ttft: 0s — expected a duration above zero
//! scenarios/x.yaml:15:5: models[0].replica: no such field: … (did you mean replicas?)
//! ```
//!
//! The way of a document: [`parse`](Document::parse) → [`set`](Document::set), for each override
//! → [`read`](Document::read), into a type → checks of meaning, which make their
//! [`problem`](Document::problem)s by path.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::path::{FieldPath, ParseFieldPathError, Segment};
pub use self::place::Place;
pub use self::problem::{Problem, Problems};
pub use self::recover::{Guesses, Partial};

use self::parse::Places;
use self::place::Source;

mod parse;
mod path;
mod place;
mod problem;
mod scalar;
mod set;

mod complaint;
mod recover;

#[cfg(test)]
mod tests;

/// A YAML text as a tree of values that know their places.
#[derive(Debug, Clone)]
pub struct Document {
    source: Arc<Source>,
    tree: Value,
    places: Places,
    /// How many overrides were set.
    overrides: usize,
}

impl Document {
    /// Parses one YAML 1.2 document. `name` is what reports call it, mostly the path of the file.
    ///
    /// Scalars mean what the core schema (YAML 1.2.2, section 10.3) says. An alias stands for the
    /// value of its anchor, and its place is that of the alias.
    ///
    /// # Errors
    /// Syntax errors (the first one ends the report); no document or more than one; a key that is
    /// given twice or is no text; a number that is not finite or beyond 64 bits; a tag outside the
    /// core schema; nesting or repetition by aliases beyond reason.
    pub fn parse(name: impl Into<String>, text: impl Into<String>) -> Result<Self, Problems> {
        let mut text = text.into();
        // A byte order mark is no part of the first line.
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let source = Arc::new(Source { name: name.into(), text, rank: 0 });
        let (tree, places) = parse::parse(&source, 0, &FieldPath::root())?;
        Ok(Self { source, tree, places, overrides: 0 })
    }

    /// Reads the document as a `T`.
    ///
    /// Structs should `#[serde(deny_unknown_fields)]`. Enums have to be tagged externally, as serde
    /// does by default: internally tagged and untagged ones, and `#[serde(flatten)]`, make serde
    /// forget the path, so a problem inside would be placed at the whole value. The text of an
    /// error of a type's own (`serde::de::Error::custom`) is the message as it stands.
    ///
    /// # Errors
    /// Every value that does not fit, every unknown and every missing field, as far as each can be
    /// told apart from the others: what a wrong value would have held is not judged.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        let Partial { value, problems, .. } = self.read_partly();
        Problems::reject(problems)?;
        Ok(value.expect("a document without problems has a value"))
    }

    /// As [`read`](Self::read), but what can be read of a faulty document is there as well, so that
    /// checks of meaning can go on and add their problems to the same report.
    pub fn read_partly<T: DeserializeOwned>(&self) -> Partial<T> {
        recover::read(self)
    }

    /// A problem with the field at `path`, with its value and place. If the field was left out, the
    /// problem has no value and the place of what would hold it.
    ///
    /// `message` reads best as `expected …`.
    pub fn problem(&self, path: &FieldPath, message: impl Into<String>) -> Problem {
        let value = path.find(&self.tree).map(problem::shown);
        Problem::new(path.clone(), value, message, self.place(path))
    }

    /// A problem with the name at `path`, which is none of the `known` ones. If one of them is
    /// close, the advice is to take it.
    pub fn unknown_name(&self, path: &FieldPath, known: &[String]) -> Problem {
        let mut problem = self.problem(path, complaint::expected_one_of(known));
        let written = path.find(&self.tree).and_then(Value::as_str);
        problem.help = written.and_then(|name| complaint::advice(name, known));
        problem
    }

    /// What reports call the document.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The tree of all values, overrides included.
    pub fn tree(&self) -> &Value {
        &self.tree
    }

    /// The place of the value at `path`, or else of the nearest value that holds it.
    pub fn place(&self, path: &FieldPath) -> Place {
        let mut path = path.clone();
        loop {
            if let Some(spot) = self.places.get(&path) {
                return spot.value.clone();
            }
            match path.parent() {
                Some(parent) => path = parent,
                None => return Place::new(&self.source, 0..0),
            }
        }
    }

    /// The place of the key at `path`, or else of the nearest value that holds it.
    fn key_place(&self, path: &FieldPath) -> Place {
        let key = self.places.get(path).and_then(|spot| spot.key.clone());
        key.unwrap_or_else(|| self.place(path))
    }
}
