//! A short name for a long value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The 64-bit FNV-1a hash of a value's JSON, written as 16 hexadecimal digits.
///
/// It tells by accident-proof means, not by secure ones, whether two values are equal. It does not
/// depend on the machine or the compiler: fields stand in the order of their declaration and keys in
/// ascending order. (Source: G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, T. Hansen, "The FNV
/// Non-Cryptographic Hash Algorithm".)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(u64);

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Digest {
    /// The digest of a value.
    ///
    /// # Panics
    ///
    /// When the value has no JSON, as a map whose keys are no text. No type of this crate is like
    /// that.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Self {
        Self::of_bytes(&serde_json::to_vec(value).expect("the value has a JSON text"))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        Self(bytes.iter().fold(OFFSET_BASIS, step))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parsed = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        parsed.map(Self).ok_or_else(|| ParseDigestError(text.to_owned()))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, ParseDigestError> {
        text.parse()
    }
}

/// The text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a digest of 16 hexadecimal digits, not {0:?}")]
pub struct ParseDigestError(String);

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of the authors' reference implementation, `test_fnv.c`.
    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325_u64),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(Digest::of_bytes(text.as_bytes()), Digest(hash), "{text:?}");
        }
    }

    #[test]
    fn a_digest_survives_its_text_and_nothing_else_is_one() {
        let digest = Digest(0x0012_34ab_0000_cdef);
        assert_eq!(digest.to_string(), "001234ab0000cdef");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "1234", "+01234ab0000cdef", "001234ab0000cdefff", "x01234ab0000cdef"] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
