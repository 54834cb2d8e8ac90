//! What is asked of an engine.

use std::sync::Arc;

/// Names a request to the engine's owner. It may be used again once the request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// A request as an engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// Prompt tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output tokens after which it ends, at least 1.
    pub output_tokens: u32,
    /// With the policy [`Priority`](super::SchedulingPolicy::Priority): lower is served first.
    pub priority: i32,
    /// What its text has in common with the text of others.
    pub content: Content,
}

impl Request {
    /// A request of ordinary priority, whose text is its own.
    #[must_use]
    pub fn new(id: RequestId, prompt_tokens: u32, output_tokens: u32) -> Self {
        Self { id, prompt_tokens, output_tokens, priority: 0, content: Content::default() }
    }

    /// The same request with other content.
    #[must_use]
    pub fn with_content(self, content: Content) -> Self {
        Self { content, ..self }
    }
}

/// Names a piece of text. Where two prompts have the same pieces from their beginning on, they
/// have the same tokens, and need them computed only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(pub u64);

/// The first `tokens` tokens of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The text.
    pub text: TextId,
    /// How many of its tokens.
    pub tokens: u32,
}

/// What a request's text has in common with the text of others. Most have nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content(Option<Arc<Shared>>);

#[derive(Debug, PartialEq, Eq)]
struct Shared {
    segments: Vec<Segment>,
    output: Option<TextId>,
}

impl Content {
    /// A prompt that begins with these pieces. What of it lies behind them is its own.
    ///
    /// `output` names the output, where the prompt of a later request contains it. That request
    /// must arrive after this one has ended.
    #[must_use]
    pub fn new(segments: impl IntoIterator<Item = Segment>, output: Option<TextId>) -> Self {
        let segments: Vec<_> = segments.into_iter().collect();
        // An output behind text that nobody else has is not found by its name.
        Self((!segments.is_empty()).then(|| Arc::new(Shared { segments, output })))
    }

    /// The pieces with which the prompt begins.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.0.as_ref().map_or(&[], |shared| &shared.segments)
    }

    /// The name of the output.
    #[must_use]
    pub fn output(&self) -> Option<TextId> {
        self.0.as_ref()?.output
    }
}
