//! Every type error of a document, from a deserializer that stops at the first.
//!
//! Serde gives up at the first error. So the error is noted, its cause is taken out of a working
//! copy of the tree, and the copy is read again, until it reads or nothing is left. A field that is
//! missing, because it was or because it was just taken out, would hide all that follows it; a
//! stand-in takes its place if one of a few plain values will do, and else the map goes that lacks
//! it. Errors that such changes bring about are not noted.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::Segment as Step;

use super::Document;
use super::complaint::{Complaint, advice, closest, expected_one_of};
use super::path::{FieldPath, Segment};
use super::problem::Problem;

/// How many errors are treated before the report goes out as it is. No one reads further.
const MAX_ROUNDS: usize = 200;

/// What could be read of a document.
#[derive(Debug)]
pub struct Partial<T> {
    /// The value, in which a stand-in may take the place of what does not fit. `None` if there is
    /// no value that has every element of every list in its place.
    pub value: Option<T>,
    /// All that does not fit; nothing if the value is as it was written.
    pub problems: Vec<Problem>,
    /// The fields that are not as they were written.
    pub guesses: Guesses,
}

/// The fields of a value that are not as they were written.
#[derive(Debug, Default)]
pub struct Guesses(BTreeSet<FieldPath>);

impl Guesses {
    /// Whether the field at `path` is no more than a guess: as a whole, in part, or because it lies
    /// in one. A check of its meaning would tell nothing then.
    pub fn cover(&self, path: &FieldPath) -> bool {
        self.0.iter().any(|guess| guess.is_within(path) || path.is_within(guess))
    }
}

/// Reads the tree of `document` as a `T`, as far as that goes.
pub(super) fn read<T: DeserializeOwned>(document: &Document) -> Partial<T> {
    let error = match attempt::<T>(&document.tree) {
        Ok(value) => {
            return Partial {
                value: Some(value),
                problems: Vec::new(),
                guesses: Guesses::default(),
            };
        }
        Err(error) => error,
    };
    let recovery = Recovery {
        document,
        working: document.tree.clone(),
        changed: BTreeSet::new(),
        problems: Vec::new(),
    };
    recovery.run(error)
}

type ReadError = serde_path_to_error::Error<serde_json::Error>;

struct Recovery<'a> {
    document: &'a Document,
    /// The tree, less what was taken out, plus stand-ins.
    working: Value,
    /// What was taken out or has a stand-in, by its path in the document.
    changed: BTreeSet<FieldPath>,
    problems: Vec<Problem>,
}

/// A field in the working copy, and in the document: elements taken out of a list move the rest.
struct Field {
    working: FieldPath,
    written: FieldPath,
}

impl Recovery<'_> {
    fn run<T: DeserializeOwned>(mut self, mut error: ReadError) -> Partial<T> {
        let mut value = None;
        for _ in 0..MAX_ROUNDS {
            if !self.treat::<T>(&error) {
                break;
            }
            match attempt::<T>(&self.working) {
                Ok(read) => {
                    value = Some(read);
                    break;
                }
                Err(next) => error = next,
            }
        }
        // The first error is never the effect of a change, so there is a problem to report.
        debug_assert!(!self.problems.is_empty(), "a document that does not read has a problem");
        // Whoever checks the value finds its fields by their indices.
        let is_element =
            |path: &FieldPath| matches!(path.segments().last(), Some(Segment::Index(_)));
        let value = value.filter(|_| !self.changed.iter().any(is_element));
        Partial { value, problems: self.problems, guesses: Guesses(self.changed) }
    }

    /// Notes `error` and removes its cause. False if there is nothing left to read.
    fn treat<T: DeserializeOwned>(&mut self, error: &ReadError) -> bool {
        let at = self.locate::<T>(error);
        match Complaint::of(&error.inner().to_string()) {
            Complaint::UnknownField { name, known } => {
                let field = if ends_with(&at.working, &name) { at } else { at.key(&name) };
                self.note_key(&field, "no such field", &name, &known);
                if let (Some(meant), Some(map)) = (closest(&name, &known), field.written.parent()) {
                    // One slip is one problem: the field that was meant is not missing as well.
                    self.changed.insert(map.key(meant));
                }
                self.take_out(field)
            }
            Complaint::UnknownVariant { name, known } => {
                let value = at.working.find(&self.working);
                let inside = at.key(&name);
                // The name is the value, or a key in it, or in a map by such names its own key.
                if value.is_some_and(|value| *value == name) {
                    let problem = self.document.problem(&at.written, expected_one_of(&known));
                    self.note_slip(problem, &name, &known);
                    return self.take_out(at);
                }
                let key = if inside.working.find(&self.working).is_some() { inside } else { at };
                self.note_key(&key, "no such choice", &name, &known);
                self.take_out(key)
            }
            Complaint::MissingField { name } => {
                let field = at.key(&name);
                if self.changed.insert(field.written.clone()) {
                    let (path, place) = (at.written.clone(), self.document.place(&at.written));
                    let message = format!("missing field {name}");
                    self.problems.push(Problem::new(path, None, message, place));
                }
                // A field that is there and missing all the same is one that serde tells a false
                // path of, and a stand-in would not be found either.
                let lost = field.working.find(&self.working).is_some();
                (!lost && self.stand_in::<T>(&field)) || self.take_out(at)
            }
            Complaint::Other(message) => {
                if !self.is_effect(&at.written) {
                    self.problems.push(self.document.problem(&at.written, message));
                }
                self.take_out(at)
            }
        }
    }

    /// Notes that the key of `field` is none of the `known` ones. Its value does not matter then.
    fn note_key(&mut self, field: &Field, fault: &str, name: &str, known: &[String]) {
        let problem = Problem::new(
            field.written.clone(),
            None,
            format!("{fault}: {}", expected_one_of(known)),
            self.document.key_place(&field.written),
        );
        self.note_slip(problem, name, known);
    }

    fn note_slip(&mut self, mut problem: Problem, name: &str, known: &[String]) {
        problem.help = advice(name, known);
        self.problems.push(problem);
    }

    /// Whether an error at `path` may be the effect of a change at or below it.
    fn is_effect(&self, path: &FieldPath) -> bool {
        self.changed.range(path..).next().is_some_and(|changed| changed.is_within(path))
    }

    /// Takes `field` out of the working copy; what holds it, if it is not there. False at the root.
    fn take_out(&mut self, mut field: Field) -> bool {
        loop {
            let (Some(working), Some(written)) = (field.working.parent(), field.written.parent())
            else {
                return false;
            };
            let gone = match (working.find_mut(&mut self.working), field.working.segments().last())
            {
                (Some(Value::Object(entries)), Some(Segment::Key(name))) => {
                    entries.remove(name).is_some()
                }
                (Some(Value::Array(elements)), Some(Segment::Index(index)))
                    if *index < elements.len() =>
                {
                    elements.remove(*index);
                    true
                }
                _ => false,
            };
            if gone {
                self.changed.insert(field.written);
                return true;
            }
            field = Field { working, written };
        }
    }

    /// Puts a plain value in the place of a missing field, if the field takes one.
    fn stand_in<T: DeserializeOwned>(&mut self, field: &Field) -> bool {
        let (Some(map), Some(Segment::Key(name))) =
            (field.working.parent(), field.working.segments().last())
        else {
            return false;
        };
        let candidates = [
            json!(null),
            json!(1),
            json!("1s"),
            json!("x"),
            json!([]),
            json!({}),
            json!(true),
            json!(0.5),
        ];
        for candidate in candidates {
            let Some(Value::Object(entries)) = map.find_mut(&mut self.working) else {
                return false;
            };
            entries.insert(name.clone(), candidate);
            let refused = attempt::<T>(&self.working)
                .is_err_and(|error| self.locate::<T>(&error).working.is_within(&field.working));
            if !refused {
                return true;
            }
        }
        if let Some(Value::Object(entries)) = map.find_mut(&mut self.working) {
            entries.remove(name);
        }
        false
    }

    /// The field that serde's path leads to.
    fn locate<T: DeserializeOwned>(&self, error: &ReadError) -> Field {
        let mut field = Field { working: FieldPath::root(), written: FieldPath::root() };
        for step in error.path() {
            field = match step {
                Step::Map { key } => field.key(key),
                Step::Seq { index } => Field {
                    working: field.working.index(*index),
                    written: field.written.index(self.written_index(&field.written, *index)),
                },
                // A variant is a key where it holds something, and no step where it is a name.
                Step::Enum { variant } => {
                    let inside = field.key(variant);
                    let is_key = inside.working.find(&self.working).is_some();
                    if is_key { inside } else { field }
                }
                Step::Unknown => match self.entry_at_fault::<T>(&field.working, error) {
                    Some(key) => field.key(&key),
                    None => break,
                },
            };
        }
        field
    }

    /// The key of the entry of `map` in which `error` occurs. The path does not tell it where keys
    /// are not read as strings but as an enum, say. Entries are read in order up to the first
    /// error, so it is the first with which the error is there.
    fn entry_at_fault<T: DeserializeOwned>(
        &self,
        map: &FieldPath,
        error: &ReadError,
    ) -> Option<String> {
        let mut trial = self.working.clone();
        let entries = std::mem::take(map.find_mut(&mut trial)?.as_object_mut()?);
        for (key, value) in entries {
            map.find_mut(&mut trial)?.as_object_mut()?.insert(key.clone(), value);
            let other = attempt::<T>(&trial).err();
            if other.is_some_and(|other| other.to_string() == error.to_string()) {
                return Some(key);
            }
        }
        None
    }

    /// The index in the document of the element with `index` in the working copy.
    fn written_index(&self, list: &FieldPath, index: usize) -> usize {
        let kept = |&written: &usize| !self.changed.contains(&list.index(written));
        (0..).filter(kept).nth(index).unwrap_or(index)
    }
}

impl Field {
    fn key(&self, name: &str) -> Self {
        Self { working: self.working.key(name), written: self.written.key(name) }
    }
}

fn attempt<T: DeserializeOwned>(tree: &Value) -> Result<T, ReadError> {
    serde_path_to_error::deserialize(tree)
}

fn ends_with(path: &FieldPath, name: &str) -> bool {
    matches!(path.segments().last(), Some(Segment::Key(last)) if last == name)
}
