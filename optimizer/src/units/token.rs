//! Means and rates of tokens, and rates of the steps that make them.

use std::fmt;
use std::ops::Mul;

use super::{RequestRate, Seconds, quantity, written_as_number};

quantity! {
    /// A mean number of tokens, as of the prompts in a window of time.
    MeanTokens, "tokens"
}

written_as_number!(MeanTokens, "a mean number of tokens, which is not negative", None);

quantity! {
    /// Tokens per second.
    TokenRate, "tokens per second"
}

written_as_number!(TokenRate, "tokens per second, which are not negative", None);

quantity! {
    /// Steps of an engine per second.
    StepRate, "steps per second"
}

written_as_number!(StepRate, "steps per second, which are not negative", None);

/// The tokens per second of requests with a mean length.
impl Mul<MeanTokens> for RequestRate {
    type Output = TokenRate;

    fn mul(self, length: MeanTokens) -> TokenRate {
        TokenRate::checked(self.value() * length.value()).unwrap_or(TokenRate::new(f64::MAX))
    }
}

/// The number of tokens that are expected in a span.
impl Mul<Seconds> for TokenRate {
    type Output = f64;

    fn mul(self, span: Seconds) -> f64 {
        self.value() * span.value()
    }
}

impl fmt::Display for MeanTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TokenRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} tokens/s", self.0)
    }
}

impl fmt::Display for StepRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} steps/s", self.0)
    }
}
