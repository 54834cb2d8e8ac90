//! What a server did at each instant, from the times of its requests.

use super::parameter::{Coefficients, Parameter, PerParameter};
use crate::validation::RecordedRequest;

/// The steps of a server and what they held, summed from the beginning of a run, so that any
/// interval is a difference.
///
/// A request decodes from its first token to its last, one token a step, so its context grows by one
/// token a step. A prompt is computed in the step that brings the first token. How many steps there
/// were between two events is not recorded, and not even: steps with a prompt last longer. So it is
/// estimated, from the mean pace of those that decode, or better from coefficients; only the mean
/// of what a step held rests on it.
#[derive(Debug)]
pub(super) struct Activity {
    /// At each first and last token, ascending.
    events: Vec<Event>,
    /// The first tokens, ascending, each with the prompt tokens of all requests up to it.
    prompts: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Event {
    at: f64,
    /// All until here.
    sums: Sums,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    steps: f64,
    sequences: f64,
    context_tokens: f64,
}

/// The sequences that decode between two events.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    sequences: f64,
    context_tokens: f64,
    /// The sum of the sequences' own mean steps per second.
    pace: f64,
}

impl Batch {
    /// Steps in `span` seconds, in which `prompt_tokens` are computed as well.
    fn steps(&self, span: f64, prompt_tokens: f64, coefficients: Option<&Coefficients>) -> f64 {
        if self.sequences < 0.5 || span <= 0.0 {
            return 0.0;
        }
        let even = self.pace / self.sequences * span;
        let Some(c) = coefficients else { return even };
        let step = c[Parameter::Base]
            + c[Parameter::PerDecodeSequence] * self.sequences
            + c[Parameter::PerContextToken] * self.context_tokens;
        let decoding = c[Parameter::PerPrefillToken].mul_add(-prompt_tokens, span);
        // Coefficients that are wrong yet shall not make a clock stand still, or leap.
        if step > 0.0 { (decoding / step).clamp(even / 4.0, even * 4.0) } else { even }
    }
}

impl Activity {
    /// Of the requests of one run. `coefficients` are what is known of them so far.
    pub(super) fn of(requests: &[RecordedRequest], coefficients: Option<&Coefficients>) -> Self {
        let mut prompts: Vec<(f64, f64)> =
            requests.iter().map(|r| (r.first_token, f64::from(r.prompt_tokens))).collect();
        prompts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut sum = 0.0;
        for (_, tokens) in &mut prompts {
            sum += *tokens;
            *tokens = sum;
        }
        let mut activity = Self { events: Vec::with_capacity(2 * requests.len()), prompts };
        activity.follow(requests, coefficients);
        activity
    }

    /// What `steps` steps between two instants held in all: prompt tokens of first tokens after
    /// `from` up to `to`, and the mean decoding sequences and context tokens for each step.
    pub(super) fn between(&self, from: f64, to: f64, steps: f64) -> PerParameter<f64> {
        let (before, after) = (self.until(from), self.until(to));
        let counted = after.steps - before.steps;
        let share = if counted > 0.0 { steps / counted } else { 0.0 };
        PerParameter([
            steps,
            self.prompt_tokens_until(to) - self.prompt_tokens_until(from),
            (after.sequences - before.sequences) * share,
            (after.context_tokens - before.context_tokens) * share,
        ])
    }

    #[cfg(test)]
    fn steps(&self, from: f64, to: f64) -> f64 {
        self.until(to).steps - self.until(from).steps
    }

    /// Fills in the events.
    fn follow(&mut self, requests: &[RecordedRequest], coefficients: Option<&Coefficients>) {
        let decoding = requests.iter().enumerate().filter(|(_, request)| pace(request).is_some());
        let mut changes: Vec<(f64, usize)> = decoding
            .flat_map(|(idx, request)| [(request.first_token, idx), (request.last_token, idx)])
            .collect();
        // The first token of a request stands before its last, and the sort is stable.
        changes.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut entered: Vec<Option<f64>> = vec![None; requests.len()];
        let mut batch = Batch::default();
        let mut event = Event::default();
        for (at, idx) in changes {
            let prompt_tokens = self.prompt_tokens_until(at) - self.prompt_tokens_until(event.at);
            let steps = batch.steps(at - event.at, prompt_tokens, coefficients);
            let grown = batch.sequences * steps;
            event.sums.steps += steps;
            event.sums.sequences += grown;
            event.sums.context_tokens += (batch.context_tokens + grown / 2.0) * steps;
            event.at = at;
            batch.context_tokens += grown;
            let own = f64::from(requests[idx].prompt_tokens + 1);
            let (sign, context_tokens) = match entered[idx] {
                None => (1.0, own),
                Some(steps_then) => (-1.0, own + event.sums.steps - steps_then),
            };
            entered[idx] = Some(event.sums.steps);
            batch.sequences += sign;
            batch.context_tokens += sign * context_tokens;
            batch.pace += sign * pace(&requests[idx]).unwrap_or_default();
            self.events.push(event);
        }
    }

    fn until(&self, t: f64) -> Sums {
        let idx = self.events.partition_point(|event| event.at <= t);
        let Some(before) = idx.checked_sub(1).map(|idx| self.events[idx]) else {
            return Sums::default();
        };
        let Some(after) = self.events.get(idx) else { return before.sums };
        let share = (t - before.at) / (after.at - before.at);
        let at = |sum: fn(&Sums) -> f64| {
            (sum(&after.sums) - sum(&before.sums)).mul_add(share, sum(&before.sums))
        };
        Sums {
            steps: at(|sums| sums.steps),
            sequences: at(|sums| sums.sequences),
            context_tokens: at(|sums| sums.context_tokens),
        }
    }

    fn prompt_tokens_until(&self, t: f64) -> f64 {
        let idx = self.prompts.partition_point(|&(at, _)| at <= t);
        idx.checked_sub(1).map_or(0.0, |idx| self.prompts[idx].1)
    }
}

/// Steps per second of a request that decodes.
fn pace(request: &RecordedRequest) -> Option<f64> {
    let span = request.last_token - request.first_token;
    let steps = f64::from(request.output_tokens.saturating_sub(1));
    (span > 0.0 && steps > 0.0).then(|| steps / span)
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
        let activity = Activity::of(&requests, None);
        let check = |from: f64, to: f64, steps: f64, expected: [f64; 4]| {
            let found = activity.between(from, to, steps).0;
            let close = found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-6);
            assert!(close, "{from} to {to}: {found:?}");
        };
        check(0.0, 0.5, 1.0, [1.0, 0.0, 0.0, 0.0]);
        // Its own prompt came before, the other's within. Context: 101 tokens, and five on the way.
        check(1.0, 2.0, 10.0, [10.0, 50.0, 10.0, 1060.0]);
        check(2.0, 3.0, 10.0, [10.0, 0.0, 20.0, 1160.0 + 560.0]);
        let contexts = 1060.0 + 1720.0 + 660.0;
        check(0.0, 4.0, 30.0, [30.0, 150.0, 40.0, contexts]);
    }

    #[test]
    fn coefficients_tell_how_many_steps_there_were() {
        // One request after the other, of one step a second in the mean. With the first token of the
        // second, 9 prompt tokens were computed.
        let requests = [request(10, 3, 0.0, 2.0), request(9, 3, 2.0, 4.0)];
        let halves = |known: Option<&Coefficients>| {
            let activity = Activity::of(&requests, known);
            [(0.0, 2.0), (2.0, 4.0)].map(|(from, to)| activity.steps(from, to))
        };
        let even = halves(None);
        assert!((even[0] - 2.0).abs() < 1e-9 && (even[1] - 2.0).abs() < 1e-9, "{even:?}");
        // A step takes 0.5 s, and the prompt one second.
        let found = halves(Some(&PerParameter([0.5, 1.0 / 9.0, 0.0, 0.0])));
        assert!((found[0] - 2.0).abs() < 1e-9 && (found[1] - 4.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_request_of_one_token_decodes_nothing() {
        let activity = Activity::of(&[request(7, 1, 1.0, 1.0)], None);
        assert_eq!(activity.between(0.0, 2.0, 1.0), PerParameter([1.0, 7.0, 0.0, 0.0]));
    }
}
