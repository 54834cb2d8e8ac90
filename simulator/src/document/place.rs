//! Places in a text: what an error report points at.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// A stretch of a text, from which a value was read. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    /// Byte offsets, on character boundaries.
    span: Range<usize>,
}

/// A text with a name, drawn from by every [`Place`] in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Reports list the sources in this order: files have 0, and the n-th override has n.
    pub(super) rank: usize,
}

impl Place {
    /// The stretch of `source` between two byte offsets, cut at its first line break: a snippet
    /// shows where a value starts, not all of a long list.
    pub(super) fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let inside = &source.text[span.clone()];
        let length = inside.find(['\n', '\r']).unwrap_or(inside.len());
        let end = span.start + inside[..length].trim_end().len();
        Self { source: Arc::clone(source), span: span.start..end }
    }

    /// The same place without the comment that may end its line.
    pub(super) fn without_comment(mut self) -> Self {
        if let Some(length) = self.text().find(" #") {
            self.span.end = self.span.start + self.text()[..length].trim_end().len();
        }
        self
    }

    /// The name of the file, or `--set`.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        let text = self.source.text.as_bytes();
        let breaks = (0..self.span.start)
            .filter(|&at| match text[at] {
                b'\n' => true,
                b'\r' => text.get(at + 1) != Some(&b'\n'),
                _ => false,
            })
            .count();
        breaks + 1
    }

    /// The column, counted from 1 in characters (Unicode scalar values).
    pub fn column(&self) -> usize {
        self.source.column(self.span.start) + 1
    }

    /// The stretch of text itself, up to the end of its first line.
    pub fn text(&self) -> &str {
        &self.source.text[self.span.clone()]
    }

    /// What miette underlines.
    pub(super) fn span(&self) -> SourceSpan {
        SourceSpan::from(self.span.clone())
    }

    /// The text that [`span`](Self::span) is a part of.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// What reports are sorted by.
    pub(super) fn order(&self) -> (usize, &str, usize) {
        (self.source.rank, &self.source.name, self.span.start)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.name(), self.line(), self.column())
    }
}

/// As [`Display`](fmt::Display): the text of the file would drown everything else.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl Source {
    /// The characters between the start of the line and the byte offset `at`.
    fn column(&self, at: usize) -> usize {
        let before = &self.text[..at];
        let line = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
        before[line..].chars().count()
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, context_lines_before, context_lines_after)?;
        // miette counts a column in bytes, but people and editors count characters.
        let column = if context_lines_before == 0 { self.column(span.offset()) } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            read.data(),
            *read.span(),
            read.line(),
            column,
            read.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, part: &str, expected: (usize, usize)) {
        let source = Arc::new(Source { name: "x.yaml".to_owned(), text: text.to_owned(), rank: 0 });
        let start = text.find(part).expect("the part is in the text");
        let place = Place::new(&source, start..start + part.len());
        assert_eq!((place.line(), place.column()), expected);
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        check("a: b", "a", (1, 1));
        check("a: b\nc: d", "d", (2, 4));
        check("größe: 東京, x", "x", (1, 12));
        check("a: b\r\nc: d\r\ne", "e", (3, 1));
        check("a: b\rc: d", "c", (2, 1));
    }

    #[test]
    fn a_place_ends_with_its_first_line() {
        let text = "a: 1 # why\r\nb: 2".to_owned();
        let source = Arc::new(Source { name: "x.yaml".to_owned(), text, rank: 0 });
        let place = Place::new(&source, 0..16);
        assert_eq!(place.text(), "a: 1 # why");
        assert_eq!(place.without_comment().text(), "a: 1");
    }
}
