//! From the events of the YAML parser to a tree and the place of each of its values.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::path::FieldPath;
use super::place::{Place, Source};
use super::problem::{Problem, Problems, shown};
use super::scalar::{self, UNKNOWN_TAG};

#[cfg(test)]
mod tests;

/// Where the values of a tree were written. Values inside an alias have no entry of their own.
pub(super) type Places = BTreeMap<FieldPath, Spot>;

/// Where one value was written.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// The key, for an entry of a map.
    pub(super) key: Option<Place>,
    pub(super) value: Place,
}

/// How deep maps and lists may be nested. Everything that walks a tree recurses, so this bounds
/// the stack; real files stay below 20.
const MAX_DEPTH: usize = 100;

/// How much the aliases of a document may repeat, in values and bytes of text together. Nested
/// aliases would otherwise fill any memory from a small file.
const MAX_REPEATED: usize = 1 << 20;

const SECOND: &str = "expected one document, and here a second starts";
const EMPTY: &str = "expected a value, and there is none";

/// Parses the text of `source` from byte `start` on: the tree, and the places of its values under
/// the path `root`.
///
/// # Errors
/// Every fault up to the first that leaves the rest without a meaning, such as a syntax error.
pub(super) fn parse(
    source: &Arc<Source>,
    start: usize,
    root: &FieldPath,
) -> Result<(Value, Places), Problems> {
    let text = &source.text[start..];
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        source,
        offsets: (text.char_indices().map(|(at, _)| start + at))
            .chain([source.text.len()])
            .collect(),
        root,
        places: Places::new(),
        problems: Vec::new(),
        anchors: BTreeMap::new(),
        repeated: 0,
    };
    let tree = builder.document();
    let mut problems = builder.problems;
    match tree {
        Ok(tree) => Problems::reject(problems).map(|()| (tree, builder.places)),
        Err(halt) => {
            problems.push(*halt);
            Err(Problems::sorted(problems))
        }
    }
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    source: &'a Arc<Source>,
    /// The byte offset in the source of each character that the parser counts, and of the end.
    offsets: Vec<usize>,
    root: &'a FieldPath,
    places: Places,
    problems: Vec<Problem>,
    /// The finished values that have an anchor, by the number that the parser gives it.
    anchors: BTreeMap<usize, Anchored>,
    /// What aliases have repeated so far, to be held below [`MAX_REPEATED`].
    repeated: usize,
}

struct Anchored {
    value: Value,
    weight: usize,
    depth: usize,
}

/// The problem that leaves the rest of the document without a meaning.
type Halt = Box<Problem>;

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Value, Halt> {
        let root = self.root;
        loop {
            match self.next()? {
                (Event::DocumentStart(_), _) => break,
                (Event::StreamEnd, _) => return halt(root, self.first(), EMPTY),
                _ => {}
            }
        }
        let (event, place) = self.next()?;
        if matches!(&event, Event::Scalar(text, ScalarStyle::Plain, 0, None) if text.is_empty()) {
            return halt(root, self.first(), EMPTY);
        }
        let tree = self.node(event, Spot { key: None, value: place }, root)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(tree),
                (Event::DocumentStart(_), place) => return halt(root, place, SECOND),
                _ => {}
            }
        }
    }

    /// The value that starts with `event`; `spot` is noted as its place.
    fn node(&mut self, event: Event<'a>, spot: Spot, path: &FieldPath) -> Result<Value, Halt> {
        if path.segments().len() > MAX_DEPTH {
            return halt(path, spot.value, "expected maps and lists nested less deeply");
        }
        let place = spot.value.clone();
        let (anchor, value) = match event {
            Event::Alias(anchor) => (0, self.alias(anchor, &place, path)?),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(&text, style, tag.as_deref());
                let value = value.unwrap_or_else(|expected| {
                    self.report(path, Some(text.into_owned()), place, expected);
                    Value::Null
                });
                (anchor, value)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", &place, path);
                (anchor, self.list(path)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", &place, path);
                (anchor, self.map(path)?)
            }
            _ => return halt(path, place, "expected a value"),
        };
        if anchor != 0 {
            let (weight, depth) = extent(&value);
            self.anchors.insert(anchor, Anchored { value: value.clone(), weight, depth });
        }
        self.places.insert(path.clone(), spot);
        Ok(value)
    }

    fn list(&mut self, path: &FieldPath) -> Result<Value, Halt> {
        let mut elements = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(elements)),
                (event, place) => {
                    let spot = Spot { key: None, value: place };
                    let element = self.node(event, spot, &path.index(elements.len()))?;
                    elements.push(element);
                }
            }
        }
    }

    fn map(&mut self, path: &FieldPath) -> Result<Value, Halt> {
        let mut entries = Map::new();
        loop {
            let (key, place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Object(entries)),
                (event, place) => (self.key(event, &place, path)?, place),
            };
            let entry = path.key(key.as_str());
            if entries.contains_key(&key) {
                self.report(&entry, None, place.clone(), "expected each key of a map only once");
            }
            let (event, value_place) = self.next()?;
            let spot = Spot { key: Some(place), value: value_place };
            let value = self.node(event, spot, &entry)?;
            entries.insert(key, value);
        }
    }

    /// The text of a key. For a key that is no text, what reports show it as.
    fn key(&mut self, event: Event<'a>, place: &Place, map: &FieldPath) -> Result<String, Halt> {
        if matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<") {
            self.report(map, None, place.clone(), "expected no merge key, which YAML 1.2 lacks");
        }
        let key = match event {
            Event::Scalar(text, style, 0, tag) => {
                match scalar::resolve(&text, style, tag.as_deref()) {
                    Ok(Value::String(key)) => return Ok(key),
                    _ => text.into_owned(),
                }
            }
            // An anchor, an alias, or a map or list. A key is no field, so no place stays.
            event => {
                let spot = Spot { key: None, value: place.clone() };
                let aside = map.key("?");
                let key = self.node(event, spot, &aside)?;
                self.places.remove(&aside);
                match key {
                    Value::String(key) => return Ok(key),
                    other => shown(&other),
                }
            }
        };
        let expected = "expected a string as the key; quotes make it one";
        self.report(map, Some(key.clone()), place.clone(), expected);
        Ok(key)
    }

    fn alias(&mut self, anchor: usize, place: &Place, path: &FieldPath) -> Result<Value, Halt> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return halt(path, place.clone(), "expected an alias of a value that has ended");
        };
        if path.segments().len() + anchored.depth > MAX_DEPTH {
            return halt(path, place.clone(), "expected maps and lists nested less deeply");
        }
        self.repeated += anchored.weight;
        if self.repeated > MAX_REPEATED {
            return halt(path, place.clone(), "expected aliases that repeat less");
        }
        Ok(anchored.value.clone())
    }

    fn check_tag(&mut self, tag: Option<&Tag>, core: &str, place: &Place, path: &FieldPath) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema() || tag.suffix != core) {
            self.report(path, None, place.clone(), UNKNOWN_TAG);
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), Halt> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                let place = self.place(&event, span);
                Ok((event, place))
            }
            Some(Err(error)) => {
                let place = self.point(*error.marker());
                halt(self.root, place, format!("not YAML: {}", error.info()))
            }
            None => halt(self.root, self.first(), EMPTY),
        }
    }

    fn place(&self, event: &Event<'_>, span: Span) -> Place {
        let start = self.offset(span.start);
        match event {
            // The parser gives the first token of a map or list. All of its first line says more.
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                Place::new(self.source, start..self.source.text.len()).without_comment()
            }
            // A value that was left out has the place of what stands before or after it.
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => {
                Place::new(self.source, start..start)
            }
            // The parser counts the comment behind a quoted scalar in.
            Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..) => {
                let length = quoted_length(&self.source.text[start..]);
                let end = length.map_or(self.offset(span.end).max(start), |length| start + length);
                Place::new(self.source, start..end)
            }
            _ => Place::new(self.source, start..self.offset(span.end).max(start)),
        }
    }

    fn point(&self, marker: Marker) -> Place {
        let start = self.offset(marker);
        Place::new(self.source, start..start)
    }

    fn first(&self) -> Place {
        self.point(Marker::default())
    }

    fn offset(&self, marker: Marker) -> usize {
        self.offsets.get(marker.index()).copied().unwrap_or(self.source.text.len())
    }

    fn report(
        &mut self,
        path: &FieldPath,
        value: Option<String>,
        place: Place,
        message: impl Into<String>,
    ) {
        self.problems.push(Problem::new(path.clone(), value, message, place));
    }
}

fn halt<T>(path: &FieldPath, place: Place, message: impl Into<String>) -> Result<T, Halt> {
    Err(Box::new(Problem::new(path.clone(), None, message, place)))
}

/// The bytes from an opening quote, at the head of `text`, to the closing one.
fn quoted_length(text: &str) -> Option<usize> {
    let mut rest = text.char_indices().peekable();
    let (_, quote) = rest.next().filter(|(_, first)| matches!(first, '"' | '\''))?;
    while let Some((at, character)) = rest.next() {
        if character == '\\' && quote == '"' {
            rest.next();
        } else if character == quote {
            // A single quote is escaped by another.
            if quote == '"' || rest.next_if(|(_, next)| *next == quote).is_none() {
                return Some(at + 1);
            }
        }
    }
    None
}

/// How many values and bytes of text `value` holds, and how deep it is nested.
fn extent(value: &Value) -> (usize, usize) {
    let mut total = (1, 0);
    let mut add = |key: &str, inside: &Value| {
        let (weight, depth) = extent(inside);
        total = (total.0 + key.len() + weight, total.1.max(depth + 1));
    };
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| add("", element)),
        Value::Object(entries) => entries.iter().for_each(|(key, element)| add(key, element)),
        Value::String(text) => return (1 + text.len(), 0),
        _ => {}
    }
    total
}
