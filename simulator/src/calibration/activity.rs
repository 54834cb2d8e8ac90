//! What a server did at each instant, from the times of its requests.

use super::parameter::PerParameter;
use crate::validation::RecordedRequest;

/// The sums over time of what one run's batches held, so that the sums over any interval are a
/// difference.
///
/// Between its first and its last token a request decodes one token a step at an even pace, as far
/// as its record tells. A prompt is computed in the step that brings the first token.
#[derive(Debug)]
pub(super) struct Activity {
    /// Where the number of decoding requests changes.
    edges: Vec<Edge>,
    /// The first tokens, ascending, each with the prompt tokens of all requests up to it.
    prompts: Vec<(f64, f64)>,
}

/// From its time to that of the next edge.
#[derive(Debug, Clone, Copy, Default)]
struct Edge {
    at: f64,
    rates: Rates,
    /// All until here.
    sums: Sums,
}

/// What happens in a second.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    /// Requests that decode.
    decoding: f64,
    /// Tokens that they decode.
    tokens: f64,
    /// Context tokens that they read, at the time of the edge.
    context: f64,
    /// By how much that grows.
    context_growth: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    steps: f64,
    tokens: f64,
    context: f64,
}

impl Rates {
    /// Of one request at its first token; `None` when it decodes nothing.
    fn of(request: &RecordedRequest) -> Option<Self> {
        let span = request.last_token - request.first_token;
        let tokens = f64::from(request.output_tokens.saturating_sub(1)) / span;
        let decodes = span > 0.0 && tokens > 0.0;
        decodes.then(|| Self {
            decoding: 1.0,
            tokens,
            context: tokens * f64::from(request.prompt_tokens + 1),
            context_growth: tokens * tokens,
        })
    }

    fn add(&mut self, other: &Self, sign: f64) {
        self.decoding += sign * other.decoding;
        self.tokens += sign * other.tokens;
        self.context += sign * other.context;
        self.context_growth += sign * other.context_growth;
    }

    /// What comes of them in `span` seconds. Requests that decode share their steps, so the steps
    /// are the mean of what each has.
    fn over(&self, span: f64) -> Sums {
        if self.decoding < 0.5 {
            return Sums::default();
        }
        Sums {
            steps: self.tokens / self.decoding * span,
            tokens: self.tokens * span,
            context: self.context.mul_add(span, self.context_growth * span * span / 2.0),
        }
    }
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            tokens: self.tokens + other.tokens,
            context: self.context + other.context,
        }
    }
}

impl Activity {
    /// Of the requests of one run.
    pub(super) fn of(requests: &[RecordedRequest]) -> Self {
        let mut prompts: Vec<(f64, f64)> =
            requests.iter().map(|r| (r.first_token, f64::from(r.prompt_tokens))).collect();
        prompts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut sum = 0.0;
        for (_, tokens) in &mut prompts {
            sum += *tokens;
            *tokens = sum;
        }
        Self { edges: edges(requests), prompts }
    }

    /// What the steps between two instants held in all: steps with a decode in them, prompt tokens
    /// of first tokens after `from` up to `to`, decoded tokens, and context tokens read.
    pub(super) fn between(&self, from: f64, to: f64) -> PerParameter<f64> {
        let (before, after) = (self.until(from), self.until(to));
        PerParameter([
            after.steps - before.steps,
            self.prompt_tokens_until(to) - self.prompt_tokens_until(from),
            after.tokens - before.tokens,
            after.context - before.context,
        ])
    }

    fn until(&self, t: f64) -> Sums {
        let idx = self.edges.partition_point(|edge| edge.at <= t);
        let Some(edge) = idx.checked_sub(1).map(|idx| self.edges[idx]) else {
            return Sums::default();
        };
        edge.sums.plus(edge.rates.over(t - edge.at))
    }

    fn prompt_tokens_until(&self, t: f64) -> f64 {
        let idx = self.prompts.partition_point(|&(at, _)| at <= t);
        idx.checked_sub(1).map_or(0.0, |idx| self.prompts[idx].1)
    }
}

fn edges(requests: &[RecordedRequest]) -> Vec<Edge> {
    let mut changes: Vec<(f64, Rates, f64)> = Vec::with_capacity(2 * requests.len());
    for request in requests {
        let Some(rates) = Rates::of(request) else { continue };
        let span = request.last_token - request.first_token;
        let grown = Rates { context: rates.context_growth.mul_add(span, rates.context), ..rates };
        changes.push((request.first_token, rates, 1.0));
        changes.push((request.last_token, grown, -1.0));
    }
    changes.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut edge = Edge::default();
    let mut edges = Vec::with_capacity(changes.len());
    for (at, change, sign) in changes {
        let span = at - edge.at;
        edge.sums = edge.sums.plus(edge.rates.over(span));
        edge.rates.context = edge.rates.context_growth.mul_add(span, edge.rates.context);
        edge.rates.add(&change, sign);
        edge.at = at;
        edges.push(edge);
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt: u32, output: u32, first_token: f64, last_token: f64) -> RecordedRequest {
        RecordedRequest {
            prompt_tokens: prompt,
            output_tokens: output,
            arrival: 0.0,
            queued: 0.0,
            first_token,
            last_token,
        }
    }

    #[test]
    fn an_interval_holds_what_overlaps_with_it() {
        // Both decode ten tokens a second: the first from 1 s to 3 s, the second from 2 s to 4 s.
        let requests = [request(100, 21, 1.0, 3.0), request(50, 21, 2.0, 4.0)];
        let activity = Activity::of(&requests);
        let check = |from: f64, to: f64, expected: [f64; 4]| {
            let found = activity.between(from, to).0;
            let close = found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-6);
            assert!(close, "{from} to {to}: {found:?}");
        };
        check(0.0, 0.5, [0.0; 4]);
        // Its own prompt came before, the other's within. Context: 10/s · (101 + 10·t).
        check(1.0, 2.0, [10.0, 50.0, 10.0, 1060.0]);
        // First: 10 · (111 + 5), second: 10 · (51 + 5).
        check(2.0, 3.0, [10.0, 0.0, 20.0, 1160.0 + 560.0]);
        check(0.0, 9.0, [30.0, 150.0, 40.0, 1060.0 + 1720.0 + 10.0 * (61.0 + 5.0)]);
    }

    #[test]
    fn a_request_of_one_token_decodes_nothing() {
        let activity = Activity::of(&[request(7, 1, 1.0, 1.0)]);
        assert_eq!(activity.between(0.0, 2.0).0, [0.0, 7.0, 0.0, 0.0]);
    }
}
