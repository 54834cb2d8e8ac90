//! Where a value stands in the tree of a document.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// The way from the root of a document to one of its values, such as `models[0].slo.ttft`.
///
/// Written and read by [`Display`](fmt::Display) and [`FromStr`]: names are joined by dots, a place
/// in a list is a number in brackets that counts from 0, and a name with any character other than
/// letters, digits, `_` and `-` is quoted as in JSON: `prices."a.b"`. The root is the empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The entry of a map that has this key.
    Key(String),
    /// The element of a list at this place, counted from 0.
    Index(usize),
}

/// A text that is not a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a field path: {reason}")]
pub struct ParseFieldPathError {
    text: String,
    reason: &'static str,
}

impl FieldPath {
    /// The path of the whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of the entry `name` of the map at this path.
    #[must_use]
    pub fn key(&self, name: impl Into<String>) -> Self {
        self.child(Segment::Key(name.into()))
    }

    /// The path of element `index`, counted from 0, of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.child(Segment::Index(index))
    }

    /// The path one step nearer to the root; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the path of the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path is `other`, or leads on from it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path one `segment` further.
    pub(super) fn child(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }

    /// The value that `tree` has at this path.
    pub(super) fn find<'tree>(&self, tree: &'tree Value) -> Option<&'tree Value> {
        self.0.iter().try_fold(tree, |node, segment| match segment {
            Segment::Key(name) => node.as_object()?.get(name),
            Segment::Index(index) => node.as_array()?.get(*index),
        })
    }

    /// As [`find`](Self::find), for a change.
    pub(super) fn find_mut<'tree>(&self, tree: &'tree mut Value) -> Option<&'tree mut Value> {
        self.0.iter().try_fold(tree, |node, segment| match segment {
            Segment::Key(name) => node.as_object_mut()?.get_mut(name),
            Segment::Index(index) => node.as_array_mut()?.get_mut(*index),
        })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(name) => {
                    if depth > 0 {
                        f.write_str(".")?;
                    }
                    if is_plain(name) {
                        f.write_str(name)?;
                    } else {
                        // JSON's quoting of a text, escapes included.
                        write!(f, "{}", Value::from(name.as_str()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl FromStr for FieldPath {
    type Err = ParseFieldPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| ParseFieldPathError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<FieldPath, &'static str> {
    let mut segments = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (digits, after) = inside.split_once(']').ok_or("a `[` has no `]`")?;
            segments.push(Segment::Index(parse_index(digits).ok_or("a list index is a number")?));
            rest = after;
        } else {
            if !segments.is_empty() {
                rest =
                    rest.strip_prefix('.').ok_or("a `.` or `[` has to follow a `]` or a quote")?;
            }
            let (name, after) = parse_name(rest)?;
            segments.push(Segment::Key(name));
            rest = after;
        }
    }
    Ok(FieldPath(segments))
}

/// A list index in decimal digits. (`usize::from_str` alone would let a `+` pass.)
pub(super) fn parse_index(digits: &str) -> Option<usize> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The name at the head of `text`, and what follows it.
fn parse_name(text: &str) -> Result<(String, &str), &'static str> {
    if text.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = strings.next().and_then(Result::ok).ok_or("a quoted name does not end")?;
        return Ok((name, &text[strings.byte_offset()..]));
    }
    let (name, after) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
    if name.is_empty() {
        return Err("a name is missing");
    }
    // `=` ends the path of an assignment, so it has to be quoted in a name.
    if name.contains(|c: char| matches!(c, '"' | ']' | '=') || c.is_whitespace() || c.is_control())
    {
        return Err("a name with such a character is written in double quotes");
    }
    Ok((name.to_owned(), after))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn paths_print_as_people_write_them() {
        let slo = FieldPath::root().key("models").index(0).key("slo");
        assert_eq!(slo.to_string(), "models[0].slo");
        assert_eq!(slo.key("a.b").key("").to_string(), r#"models[0].slo."a.b"."""#);
        assert_eq!(FieldPath::root().to_string(), "");
        assert_eq!(FieldPath::root().index(2).key("größe").to_string(), "[2].größe");
    }

    #[test]
    fn a_number_after_a_dot_is_a_name_until_a_list_is_met() {
        let path: FieldPath = "models.0".parse().unwrap();
        assert_eq!(path, FieldPath::root().key("models").key("0"));
    }

    #[test]
    fn faults_have_reasons() {
        for (text, reason) in [
            ("a..b", "a name is missing"),
            ("a.", "a name is missing"),
            (".a", "a name is missing"),
            ("a[x]", "a list index is a number"),
            ("a[+1]", "a list index is a number"),
            ("a[]", "a list index is a number"),
            ("a[0", "a `[` has no `]`"),
            ("a[0]b", "a `.` or `[` has to follow a `]` or a quote"),
            (r#"a."b"#, "a quoted name does not end"),
            ("a b", "a name with such a character is written in double quotes"),
        ] {
            let error = text.parse::<FieldPath>().unwrap_err();
            assert_eq!(error.reason, reason, "for {text}");
        }
    }

    #[test]
    fn a_path_is_within_itself_and_its_ancestors() {
        let parent = FieldPath::root().key("a");
        assert!(parent.is_within(&parent));
        assert!(parent.index(1).is_within(&parent));
        assert!(!FieldPath::root().key("ab").is_within(&parent));
        assert_eq!(parent.index(1).parent(), Some(parent));
        assert_eq!(FieldPath::root().parent(), None);
    }

    fn segment() -> impl Strategy<Value = Segment> {
        prop_oneof![
            any::<usize>().prop_map(Segment::Index),
            "[a-z_-]{1,8}".prop_map(Segment::Key),
            any::<String>().prop_map(Segment::Key),
        ]
    }

    proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..Default::default() })]

        #[test]
        fn a_printed_path_reads_back(segments in prop::collection::vec(segment(), 0..6)) {
            let path = FieldPath(segments);
            prop_assert_eq!(path.to_string().parse::<FieldPath>().unwrap(), path);
        }
    }
}
