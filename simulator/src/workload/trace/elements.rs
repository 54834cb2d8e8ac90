//! The objects of a JSON array, one at a time.

use std::io::{self, BufRead};

/// The longest object that is read. A conversation has some hundred kilobytes at most.
const LONGEST: usize = 64 << 20;

/// Cuts a file into its outermost objects, without reading more of it than one. The objects may
/// stand in an array, or one after another.
#[derive(Debug)]
pub(super) struct Elements<R> {
    source: R,
    line: u64,
    object: Vec<u8>,
}

/// An object, and where it begins.
#[derive(Debug)]
pub(super) enum Element<'r> {
    /// The text of an object, and its first line.
    Object(u64, &'r [u8]),
    /// Something else stands where an object should begin, or the file ends within one.
    Broken(u64, &'static str),
}

impl<R: BufRead> Elements<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, line: 1, object: Vec::new() }
    }

    /// The next object; `None` at the end. Nothing should be read after what is broken.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub(super) fn next(&mut self) -> io::Result<Option<Element<'_>>> {
        self.object.clear();
        let (mut begins, mut scan) = (self.line, Scan::default());
        loop {
            let bytes = self.source.fill_buf()?;
            if bytes.is_empty() {
                let broken = Element::Broken(begins, "the file ends within an object");
                return Ok((!self.object.is_empty()).then_some(broken));
            }
            let mut taken = 0;
            let mut ended = false;
            for &byte in bytes {
                if scan.depth == 0 && byte != b'{' {
                    if !byte.is_ascii_whitespace() && !b"[],".contains(&byte) {
                        return Ok(Some(Element::Broken(self.line, "there is something else")));
                    }
                    self.line += u64::from(byte == b'\n');
                    taken += 1;
                    continue;
                }
                if scan.depth == 0 {
                    begins = self.line;
                }
                self.line += u64::from(byte == b'\n');
                taken += 1;
                self.object.push(byte);
                if scan.ends_at(byte) {
                    ended = true;
                    break;
                }
            }
            self.source.consume(taken);
            if ended {
                return Ok(Some(Element::Object(begins, &self.object)));
            }
            if self.object.len() > LONGEST {
                return Ok(Some(Element::Broken(begins, "an object is longer than 64 MiB")));
            }
        }
    }
}

/// How deep in an object, and whether in a text.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Scan {
    /// Takes a byte, and says whether it ends the object.
    const fn ends_at(&mut self, byte: u8) -> bool {
        if self.in_text {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_text = false;
            }
            return false;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The objects of a text with their lines; what is broken is told.
    fn cut(text: &str) -> Vec<(u64, String)> {
        // A small buffer, so that objects lie across its ends.
        let mut elements = Elements::new(BufReader::with_capacity(3, text.as_bytes()));
        let mut found = Vec::new();
        loop {
            match elements.next().unwrap() {
                None => return found,
                Some(Element::Object(line, text)) => {
                    found.push((line, String::from_utf8(text.to_vec()).unwrap()));
                }
                Some(Element::Broken(line, what)) => {
                    found.push((line, what.to_owned()));
                    return found;
                }
            }
        }
    }

    #[test]
    fn objects_are_cut_at_their_braces() {
        let check = |text: &str, expected: &[(u64, &str)]| {
            let found = cut(text);
            let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("[]", &[]);
        check("[{\"a\": {}},\n {\"b\":\n[1]}]\n", &[(1, "{\"a\": {}}"), (2, "{\"b\":\n[1]}")]);
        check("{}\n\n{\"}\\\"{\": 1}\n", &[(1, "{}"), (3, "{\"}\\\"{\": 1}")]);
        check("[{}, 7]", &[(1, "{}"), (1, "there is something else")]);
        check("[\n{\"a\": [", &[(2, "the file ends within an object")]);
    }
}
