//! What is wrong with a document, and how it is shown.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde_json::Value;

use super::path::FieldPath;
use super::place::Place;
use super::scalar;

/// One fault of a document.
///
/// [`Display`](fmt::Display) gives one line, for logs and pipes:
/// `scenarios/x.yaml:12:7: models[0].slo.ttft: 0s — expected a duration above zero`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field at fault.
    pub path: FieldPath,
    /// The value found there, as a person would write it; `None` if there is none, or if showing
    /// it would not help.
    pub value: Option<String>,
    /// What is wrong, mostly as `expected …`.
    pub message: String,
    /// What may set it right.
    pub help: Option<String>,
    /// Where it is written.
    pub place: Place,
}

/// One or more [`Problem`]s, sorted by place.
///
/// [`Display`](fmt::Display) gives a line for each, and [`render`](Self::render) draws each with
/// the lines of the file around it. As a [`Diagnostic`], it draws them all as related ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Drawn>);

/// A problem as miette draws it. The snippet shows the place, so the text leaves it out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Drawn(Problem);

impl Problem {
    /// A problem without advice.
    pub(super) fn new(
        path: FieldPath,
        value: Option<String>,
        message: impl Into<String>,
        place: Place,
    ) -> Self {
        Self { path, value, message: message.into(), help: None, place }
    }

    /// The same problem with advice on how to set it right.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Problems {
    /// Nothing, if `found` is empty.
    ///
    /// # Errors
    /// All that was `found`.
    pub fn reject(found: Vec<Problem>) -> Result<(), Self> {
        if found.is_empty() { Ok(()) } else { Err(Self::sorted(found)) }
    }

    /// The problems of both, so that two files or two checks make one report.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self::sorted(self.0.into_iter().chain(other.0).map(|drawn| drawn.0).collect())
    }

    /// The problems, by place.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter().map(|drawn| &drawn.0)
    }

    /// How many there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty list of problems")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Draws each problem with the lines around its place, for a terminal `width` columns wide.
    pub fn render(&self, width: usize, color: bool) -> String {
        let theme =
            if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        // Only the theme decides on color: what stderr is attached to is for the caller to know.
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .without_syntax_highlighting();
        let mut drawing = String::new();
        for problem in &self.0 {
            if !drawing.is_empty() {
                drawing.push('\n');
            }
            handler
                .render_report(&mut drawing, problem)
                .expect("writing to a String does not fail");
        }
        drawing
    }

    /// All that was `found`, which is at least one.
    pub(super) fn sorted(mut found: Vec<Problem>) -> Self {
        debug_assert!(!found.is_empty(), "an error needs a problem");
        // Stable, so that problems with one place stay in the order in which they were found.
        found.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
        Self(found.into_iter().map(Drawn).collect())
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![Drawn(problem)])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        write_finding(self, f)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|drawn| drawn as &dyn Diagnostic)))
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(&self.0, f)
    }
}

impl std::error::Error for Drawn {}

impl Diagnostic for Drawn {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.0.place.source())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        // The label has no text: miette wraps the text above the snippet, but never a label.
        let label = LabeledSpan::new_primary_with_span(None, self.0.place.span());
        Some(Box::new(std::iter::once(label)))
    }
}

/// A value as reports show it: a scalar as it would be written, a map or list by its kind.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        // Quotes tell the text "3" from the number 3, and make odd characters visible.
        Value::String(text) if !is_plain(text) => shortened(&value.to_string()),
        Value::String(text) => shortened(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    matches!(scalar::resolve_plain(text), Ok(Value::String(_)))
        && text.trim() == text
        && !text.contains(char::is_control)
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Writes all but the place: `path: value — message`.
fn write_finding(problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !problem.path.is_root() {
        write!(f, "{}: ", problem.path)?;
    }
    if let Some(value) = &problem.value {
        write!(f, "{value} — ")?;
    }
    f.write_str(&problem.message)
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use super::super::Document;
    use super::*;

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (value, text) in [
            (json!("2s"), "2s"),
            (json!("3"), r#""3""#),
            (json!(3), "3"),
            (json!(0.5), "0.5"),
            (json!(null), "null"),
            (json!("null"), r#""null""#),
            (json!(" x"), r#"" x""#),
            (json!("a\nb"), r#""a\nb""#),
            (json!([1]), "a list"),
            (json!({}), "a map"),
        ] {
            assert_eq!(shown(&value), text);
        }
        assert_eq!(shown(&json!("é".repeat(100))), format!("{}…", "é".repeat(60)));
    }

    #[test]
    fn problems_merge_in_the_order_of_files_then_overrides() {
        let mut document = Document::parse("b.yaml", "x: 1\ny: 2\n").unwrap();
        document.set("z=3").unwrap();
        document.set("w=4").unwrap();
        let other = Document::parse("a.yaml", "v: 5\n").unwrap();
        let at = |document: &Document, path: &str| {
            Problems::from(document.problem(&path.parse().unwrap(), "expected more"))
        };
        let all = at(&document, "w")
            .merge(at(&document, "z"))
            .merge(at(&document, "y"))
            .merge(at(&document, "x"))
            .merge(at(&other, "v"));
        assert_eq!(all.len(), 5);
        insta::assert_snapshot!(all, @r"
        a.yaml:1:4: v: 5 — expected more
        b.yaml:1:4: x: 1 — expected more
        b.yaml:2:4: y: 2 — expected more
        --set:1:3: z: 3 — expected more
        --set:1:3: w: 4 — expected more
        ");
    }

    #[test]
    fn no_problems_are_no_error() {
        assert_eq!(Problems::reject(Vec::new()), Ok(()));
    }

    #[test]
    fn a_drawing_shows_the_lines_around_each_place() {
        let text = "seed: 7\nmodels:\n  - name: a\n    größe: {ttft: 0s} # tight\n";
        let mut document = Document::parse("scenarios/x.yaml", text).unwrap();
        document.set("models[0].replicas=many").unwrap();
        let ttft = "models[0].größe.ttft".parse().unwrap();
        let replicas = "models[0].replicas".parse().unwrap();
        let problems = Problems::from(
            document
                .problem(&ttft, "expected a duration above zero")
                .with_help("an SLO without a target is left out"),
        )
        .merge(document.problem(&replicas, "expected an integer").into());
        insta::assert_snapshot!(problems.render(60, false), @r"
          × models[0].größe.ttft: 0s — expected a duration above
          │ zero
           ╭─[scenarios/x.yaml:4:19]
         3 │   - name: a
         4 │     größe: {ttft: 0s} # tight
           ·                   ──
           ╰────
          help: an SLO without a target is left out

          × models[0].replicas: many — expected an integer
           ╭─[--set:1:20]
         1 │ models[0].replicas=many
           ·                    ────
           ╰────
        ");
        assert_eq!(problems.related().unwrap().count(), 2);
        assert!(problems.render(60, true).contains('\u{1b}'));
        assert!(!problems.render(60, false).contains('\u{1b}'));
    }
}
