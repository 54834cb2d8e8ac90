//! Text that prompts begin with and have in common: instructions, descriptions of tools, documents.

use optimizer::units::Tokens;
use rand_distr::{Distribution, Zipf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Length, WorkloadProblem};
use crate::engine::{Segment, TextId};
use crate::kernel::{Stream, Streams};

/// Texts of one kind, of which every prompt, or every conversation, begins with some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedText {
    /// Tokens of a text. Each text has the same number whenever it is used.
    pub tokens: Length,
    /// How many texts there are. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub texts: u32,
    /// How many of them, all different, a prompt begins with. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub per_prompt: u32,
    /// How much more often some are used than others: the text of rank k is used in proportion to
    /// 1/kᶻⁱᵖᶠ. Default: 0, which is each as often as any other.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub zipf: f64,
}

const fn one() -> u32 {
    1
}

impl SharedText {
    /// Checks what the types cannot, and adds every problem to `problems`; `path` is the place of
    /// these texts in their file.
    pub fn validate(&self, path: &str, problems: &mut Vec<WorkloadProblem>) {
        self.tokens.validate(&format!("{path}.tokens"), problems);
        let mut check = |holds, field: &str, expected| {
            WorkloadProblem::unless(holds, problems, || format!("{path}.{field}"), expected);
        };
        check(self.texts >= 1, "texts", "at least 1");
        check(
            (1..=self.texts.min(1000)).contains(&self.per_prompt),
            "perPrompt",
            "a number from 1 to 1000 that is not above texts",
        );
        check(self.zipf >= 0.0 && self.zipf.is_finite(), "zipf", "a number that is not negative");
    }

    /// The fewest tokens that a prompt begins with.
    #[must_use]
    pub fn least(&self) -> Tokens {
        Tokens::new(self.tokens.least().get().saturating_mul(u64::from(self.per_prompt)))
    }
}

/// Kinds of texts of one client, ready to be drawn.
#[derive(Debug, Clone)]
pub(super) struct SharedTexts {
    kinds: Vec<SharedText>,
    streams: Streams,
    name: String,
    names: TextNames,
}

impl SharedTexts {
    /// The texts' lengths are from streams that begin with `name`.
    pub(super) fn new(
        kinds: &[SharedText],
        streams: Streams,
        name: &str,
        names: TextNames,
    ) -> Self {
        Self { kinds: kinds.to_vec(), streams, name: format!("{name}/shared"), names }
    }

    /// Draws what one prompt begins with.
    pub(super) fn draw(&self, chance: &mut Stream) -> Vec<Segment> {
        let mut segments = Vec::new();
        for (kind, texts) in self.kinds.iter().enumerate() {
            let first = segments.len();
            for _ in 0..texts.per_prompt {
                let mut idx = texts.draw_one(chance);
                let mut segment = self.segment(kind, texts, idx);
                // Whoever is drawn twice makes way for the next.
                while segments[first..].iter().any(|other: &Segment| other.text == segment.text) {
                    idx = (idx + 1) % texts.texts;
                    segment = self.segment(kind, texts, idx);
                }
                segments.push(segment);
            }
        }
        segments
    }

    fn segment(&self, kind: usize, texts: &SharedText, idx: u32) -> Segment {
        let tokens = match texts.tokens {
            Length::Constant(tokens) => tokens,
            // A text of its own stream has its length without anybody remembering it.
            ref drawn => {
                drawn.sample(&mut self.streams.stream(&format!("{}/{kind}/{idx}", self.name)))
            }
        };
        Segment { text: self.names.shared(kind, idx), tokens: tokens_u32(tokens) }
    }
}

impl SharedText {
    fn draw_one(&self, chance: &mut Stream) -> u32 {
        if self.texts == 1 {
            return 0;
        }
        let ranks = Zipf::new(f64::from(self.texts), self.zipf).expect("valid texts have ranks");
        let rank: f64 = ranks.sample(chance);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
        let idx = (rank as u32).clamp(1, self.texts) - 1;
        idx
    }
}

/// The names of one client's texts, apart from those of the other clients of its model.
///
/// Of the 64 bits, the upper 24 are the client. Below, names of shared texts and of others differ
/// in their highest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextNames(u64);

impl TextNames {
    const CLIENT: u32 = 40;
    const OWN: u64 = 1 << 39;

    /// The names of the client at this position.
    pub(super) const fn of_client(position: usize) -> Self {
        Self((position as u64) << Self::CLIENT)
    }

    /// A text that one conversation has for itself.
    pub(super) const fn own(self, number: u64) -> TextId {
        TextId(self.0.wrapping_add(Self::OWN).wrapping_add(number))
    }

    /// A text with a name from a recording.
    pub(super) const fn recorded(self, TextId(name): TextId) -> TextId {
        TextId(self.0.wrapping_add(name))
    }

    const fn shared(self, kind: usize, idx: u32) -> TextId {
        TextId(self.0.wrapping_add(((kind as u64) << 32) | idx as u64))
    }
}

/// A length as engines count it. What does not fit the type does not fit any context, either.
pub(super) fn tokens_u32(tokens: Tokens) -> u32 {
    u32::try_from(tokens.get()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn kind(text: &str) -> SharedText {
        serde_json::from_str(text).unwrap()
    }

    fn texts(kinds: &[SharedText]) -> SharedTexts {
        SharedTexts::new(kinds, Streams::new(1), "test", TextNames::of_client(3))
    }

    #[test]
    fn a_text_keeps_its_length_and_ranks_their_shares() {
        let kinds = [
            kind(r#"{"tokens": {"constant": 100}}"#),
            kind(r#"{"tokens": {"uniform": {"min": 1, "max": 1000}}, "texts": 50, "zipf": 1}"#),
        ];
        let (texts, mut chance) = (texts(&kinds), Streams::new(1).stream("chance"));
        let mut seen: BTreeMap<TextId, (u32, u32)> = BTreeMap::new();
        for _ in 0..50_000 {
            let drawn = texts.draw(&mut chance);
            assert_eq!((drawn.len(), drawn[0].tokens), (2, 100));
            let (tokens, uses) = seen.entry(drawn[1].text).or_insert((drawn[1].tokens, 0));
            assert_eq!(*tokens, drawn[1].tokens);
            *uses += 1;
        }
        assert_eq!(seen.len(), 50);
        // The sum of 1/k up to 50 is 4.4992.
        let uses: Vec<_> = seen.values().map(|&(_, uses)| f64::from(uses)).collect();
        for rank in [1, 2, 5] {
            let expected = 50_000.0 / 4.4992 / rank as f64;
            let found = uses[rank - 1];
            assert!((found - expected).abs() < 0.06 * expected, "{rank}: {found} {expected}");
        }
    }

    #[test]
    fn a_prompt_has_no_text_twice() {
        let kinds = [kind(r#"{"tokens": {"constant": 1}, "texts": 4, "perPrompt": 4, "zipf": 3}"#)];
        let mut drawn = texts(&kinds).draw(&mut Streams::new(1).stream("chance"));
        drawn.sort_by_key(|segment| segment.text);
        drawn.dedup();
        assert_eq!(drawn.len(), 4);
    }

    #[test]
    fn every_problem_of_shared_texts_is_found() {
        let mut problems = Vec::new();
        kind(r#"{"tokens": {"constant": 0}, "texts": 0, "perPrompt": 2, "zipf": -1}"#)
            .validate("shared[0]", &mut problems);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        shared[0].tokens.constant: expected at least 1 token
        shared[0].texts: expected at least 1
        shared[0].perPrompt: expected a number from 1 to 1000 that is not above texts
        shared[0].zipf: expected a number that is not negative
        ");
    }
}
