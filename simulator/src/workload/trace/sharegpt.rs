//! ShareGPT: conversations as texts, without times.
//!
//! ```text
//! [{"id": "a", "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}]
//! ```
//!
//! A conversation becomes one request: its first message is the prompt and its second the output,
//! as vLLM's benchmarks take it. A conversation with fewer messages is a failed request.
//!
//! Two things are made up. Times are those of a Poisson process at a given rate. Lengths are a
//! message's `tokens` (or `num_tokens`) where the file has them, and otherwise its characters over a
//! number of characters per token, rounded up: an estimate, for which the reader's summary has a
//! count.

use std::cell::Cell;
use std::io::{self, BufRead};
use std::rc::Rc;

use optimizer::units::RequestRate;
use rand::RngExt;
use serde::Deserialize;

use super::elements::{Element, Elements};
use super::fault::{Faults, TraceFault};
use super::record::{Row, Rows};
use crate::engine::Content;
use crate::kernel::{Stream, Streams};

const OBJECT: &str = "an object with conversations, a list of messages with from and value";

/// The conversations of a file, each as a request.
#[derive(Debug)]
pub(super) struct Conversations<R> {
    elements: Elements<R>,
    rate: RequestRate,
    chars_per_token: f64,
    chance: Stream,
    /// When the last request arrived, in seconds.
    now: f64,
    estimated: Rc<Cell<u64>>,
}

#[derive(Debug, Deserialize)]
struct Conversation {
    #[serde(alias = "conversation", alias = "messages")]
    conversations: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(alias = "content", default)]
    value: String,
    #[serde(alias = "num_tokens")]
    tokens: Option<u32>,
}

impl<R: BufRead> Conversations<R> {
    /// The conversations arrive at this rate. `estimated` counts the requests whose lengths were
    /// made from characters.
    pub(super) fn new(
        source: R,
        rate: RequestRate,
        (chars_per_token, seed): (f64, u64),
        estimated: Rc<Cell<u64>>,
    ) -> Self {
        let chance = Streams::new(seed).stream("sharegpt/arrivals");
        let elements = Elements::new(source);
        Self { elements, rate, chars_per_token, chance, now: 0.0, estimated }
    }

    fn row(&mut self, line: u64, conversation: &Conversation) -> Row {
        let mut messages = conversation.conversations.iter();
        let tokens = |message: Option<&Message>| {
            message.map_or(0, |message| message.tokens.unwrap_or_else(|| self.estimate(message)))
        };
        let given = messages.clone().take(2).all(|message| message.tokens.is_some());
        let (prompt, output) = (tokens(messages.next()), tokens(messages.next()));
        let failed = prompt == 0 || output == 0;
        if !failed {
            self.estimated.set(self.estimated.get() + u64::from(!given));
            // The inverse of the exponential distribution.
            self.now -= (1.0 - self.chance.random::<f64>()).ln() / self.rate.value();
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let nanos = (self.now * 1e9) as i64;
        let content = Content::default();
        Row { line, nanos, exact: true, prompt, output, failed, model: None, content }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    fn estimate(&self, message: &Message) -> u32 {
        (message.value.chars().count() as f64 / self.chars_per_token).ceil() as u32
    }
}

impl<R: BufRead + std::fmt::Debug> Rows for Conversations<R> {
    fn next_row(&mut self, faults: &mut Faults) -> io::Result<Option<Row>> {
        loop {
            let (line, parsed) = match self.elements.next()? {
                None => return Ok(None),
                Some(Element::Broken(line, what)) => {
                    let message = what.to_owned();
                    faults.add(TraceFault::Json { line, message, expected: OBJECT });
                    return Ok(None);
                }
                Some(Element::Object(line, text)) => {
                    (line, serde_json::from_slice::<Conversation>(text))
                }
            };
            match parsed {
                Ok(conversation) => return Ok(Some(self.row(line, &conversation))),
                Err(error) => {
                    let message = error.to_string();
                    faults.add(TraceFault::Json { line, message, expected: OBJECT });
                }
            }
        }
    }
}
