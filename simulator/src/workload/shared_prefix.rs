//! The `shared_prefix` workload of inference-perf, the load generator of the Kubernetes serving
//! working group.
//!
//! There are `groups` system prompts, and for each of them `prompts_per_group` questions, all of
//! random tokens and drawn once. Request i asks prompt i mod n of the n prompts, in an order that
//! is shuffled once; each stage begins again with the first. So a server with a prefix cache
//! computes every prompt once, and afterwards only what is left of its last block.
//!
//! In a conversation (`multi_turn`), each of the n is a user: his prompt is all that was said
//! before, and his question again. A turn waits until the user's last one is answered, and a turn
//! that the server refuses leaves the conversation as it was.
//!
//! Arrivals of load `constant` are not evenly spaced: ⌊rate · duration⌋ gaps are drawn from an
//! exponential distribution and scaled so that they fill the stage. `poisson` draws how many come
//! in each second, and places those in the same way.
//!
//! Source: inference-perf 0.2.0 and 0.4.0, `datagen/shared_prefix_datagen.py`,
//! `apis/user_session.py` and `loadgen/load_timer.py`.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Exp1, Poisson};

use crate::engine::{Content, Segment, TextId};
use crate::kernel::{Stream, Streams};

/// Who asks what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPrefix {
    /// System prompts.
    pub groups: u32,
    /// Questions for each system prompt, or users.
    pub prompts_per_group: u32,
    /// Tokens of a system prompt.
    pub system_prompt_tokens: u32,
    /// Tokens of a question. Random tokens that are written out and read again are a few more or
    /// fewer, so questions differ in length; each is drawn evenly from this range.
    pub question_tokens: RangeInclusive<u32>,
    /// Tokens of every answer.
    pub output_tokens: u32,
    /// Whether each prompt contains the conversation so far.
    pub multi_turn: bool,
}

impl SharedPrefix {
    /// The number of prompts, or users.
    #[must_use]
    pub const fn prompts(&self) -> u32 {
        self.groups.saturating_mul(self.prompts_per_group)
    }
}

/// For how long how many requests arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Requests per second.
    pub rate: f64,
    /// Seconds.
    pub duration: f64,
}

/// How requests arrive within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// A fixed number, at random times.
    Constant,
    /// A random number in each second.
    Poisson,
}

impl Load {
    /// The times at which the requests of `stage` are sent, in seconds after its beginning, in
    /// order.
    ///
    /// # Panics
    ///
    /// When rate or duration is not above zero or not finite.
    #[must_use]
    pub fn times(self, stage: Stage, chance: &mut Stream) -> Vec<f64> {
        let Stage { rate, duration } = stage;
        assert!(rate > 0.0 && duration > 0.0 && (rate * duration).is_finite(), "{stage:?}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let requests = (rate * duration) as usize;
        match self {
            Self::Constant => fill(requests, duration, 0.0, chance),
            Self::Poisson => {
                let a_second = Poisson::new(rate).expect("the rate is above zero");
                let mut times = Vec::with_capacity(requests);
                let mut second = 0.0;
                while times.len() < requests {
                    let draw: f64 = a_second.sample(chance);
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a count"
                    )]
                    times.extend(fill(draw as usize, 1.0, second, chance));
                    second += 1.0;
                }
                times.truncate(requests);
                times
            }
        }
    }
}

/// So many exponential gaps, scaled to fill `duration`.
fn fill(requests: usize, duration: f64, begin: f64, chance: &mut Stream) -> Vec<f64> {
    let gaps: Vec<f64> = (0..requests).map(|_| Exp1.sample(chance)).collect();
    let scale = duration / gaps.iter().sum::<f64>();
    let mut now = begin;
    let time = |gap: f64| {
        now += gap * scale;
        now
    };
    gaps.into_iter().map(time).collect()
}

/// The prompts of one run, with their lengths.
#[derive(Debug, Clone)]
pub struct Prompts {
    workload: SharedPrefix,
    /// Which prompt request i asks, for i below the number of prompts.
    order: Vec<u32>,
    /// Tokens of each question.
    questions: Vec<u32>,
    /// What was said so far; empty without conversations.
    conversations: Vec<Vec<Segment>>,
    /// Names that were given out.
    texts: u64,
}

/// A prompt as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub tokens: u32,
    /// What it has in common with others.
    pub content: Content,
}

impl Prompts {
    /// Draws the prompts of a run.
    #[must_use]
    pub fn draw(workload: &SharedPrefix, streams: Streams) -> Self {
        let mut order: Vec<u32> = (0..workload.prompts()).collect();
        order.shuffle(&mut streams.stream("shared_prefix/order"));
        let mut chance = streams.stream("shared_prefix/questions");
        let questions = order.iter();
        let questions =
            questions.map(|_| chance.random_range(workload.question_tokens.clone())).collect();
        let conversations =
            if workload.multi_turn { vec![Vec::new(); order.len()] } else { Vec::new() };
        let texts = u64::from(workload.groups) + u64::from(workload.prompts());
        Self { workload: workload.clone(), order, questions, conversations, texts }
    }

    /// Which prompt, or user, request `i` of a stage belongs to.
    #[must_use]
    pub fn asked_by(&self, i: usize) -> usize {
        self.order[i % self.order.len()] as usize
    }

    /// The next prompt of this number. In a conversation, all turns before it must have ended.
    pub fn prompt(&mut self, number: usize) -> Prompt {
        let (system, question) = self.texts_of(number);
        if !self.workload.multi_turn {
            let tokens = system.tokens + question.tokens;
            return Prompt { tokens, content: Content::new([system, question], None) };
        }
        let said = &self.conversations[number];
        let before = if said.is_empty() { &[system][..] } else { said };
        let segments: Vec<_> = before.iter().copied().chain([question]).collect();
        self.texts += 1;
        Prompt {
            tokens: segments.iter().map(|segment| segment.tokens).sum(),
            content: Content::new(segments, Some(TextId(self.texts))),
        }
    }

    /// Notes that a prompt of this number was answered, so that the next one contains both.
    pub fn answered(&mut self, number: usize, prompt: &Content, output_tokens: u32) {
        if let Some(text) = prompt.output() {
            let answer = Segment { text, tokens: output_tokens };
            self.conversations[number] = [prompt.segments(), &[answer]].concat();
        }
    }

    /// The system prompt and the question of a number.
    fn texts_of(&self, number: usize) -> (Segment, Segment) {
        let group = number as u64 / u64::from(self.workload.prompts_per_group);
        let system = Segment { text: TextId(group), tokens: self.workload.system_prompt_tokens };
        let text = TextId(u64::from(self.workload.groups) + number as u64);
        (system, Segment { text, tokens: self.questions[number] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(multi_turn: bool) -> SharedPrefix {
        SharedPrefix {
            groups: 3,
            prompts_per_group: 2,
            system_prompt_tokens: 100,
            question_tokens: 40..=60,
            output_tokens: 10,
            multi_turn,
        }
    }

    #[test]
    fn prompts_come_round_and_share_what_their_group_shares() {
        let mut prompts = Prompts::draw(&workload(false), Streams::new(1));
        let asked: Vec<_> = (0..12).map(|i| prompts.asked_by(i)).collect();
        assert_eq!(asked[..6], asked[6..]);
        let mut sorted = asked[..6].to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        let [one, other, stranger] = [2, 3, 4].map(|number| prompts.prompt(number));
        assert_eq!(one.content.segments()[0], other.content.segments()[0]);
        assert_ne!(one.content.segments()[1].text, other.content.segments()[1].text);
        assert_ne!(one.content.segments()[0].text, stranger.content.segments()[0].text);
        assert!((140..=160).contains(&one.tokens));
        assert_eq!(prompts.prompt(2), one);
    }

    #[test]
    fn a_turn_contains_those_before_it_that_were_answered() {
        let mut prompts = Prompts::draw(&workload(true), Streams::new(1));
        let first = prompts.prompt(2);
        // It was refused, so nothing was said.
        assert_eq!(prompts.prompt(2).tokens, first.tokens);
        prompts.answered(2, &first.content, 10);
        let second = prompts.prompt(2);
        let question = first.tokens - 100;
        assert_eq!(second.tokens, first.tokens + 10 + question);
        let segments = second.content.segments();
        assert_eq!(segments[..2], *first.content.segments());
        assert_eq!(Some(segments[2].text), first.content.output());
        assert_eq!(segments[3], segments[1]);
        assert_ne!(second.content.output(), first.content.output());
    }

    #[test]
    fn a_stage_is_filled() {
        let stage = Stage { rate: 10.0, duration: 60.0 };
        for load in [Load::Constant, Load::Poisson] {
            let times = load.times(stage, &mut Streams::new(3).stream("times"));
            assert_eq!(times.len(), 600);
            assert!(times.is_sorted() && times[0] > 0.0, "{load:?}");
            let gap = (times[599] - times[0]) / 599.0;
            assert!((gap * 10.0 - 1.0).abs() < 0.15, "{load:?}: {gap}");
            // Exponential gaps vary as much as they are long.
            let squares: f64 = times.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
            let variation = (squares / 599.0 / gap.powi(2) - 1.0).sqrt();
            assert!((variation - 1.0).abs() < 0.15, "{load:?}: {variation}");
        }
        let last = *Load::Constant.times(stage, &mut Streams::new(3).stream("t")).last().unwrap();
        assert!((last - 60.0).abs() < 1e-9);
    }
}
