//! What the engine does with the requests of a recorded run.

use optimizer::units::Timestamp;

use super::prompts::Prompts;
use super::recording::{RecordedRequest, Sample};
use crate::engine::{Content, ModelServer, Observer, Rejection, Request, RequestId, TokenGaps};

/// What became of the requests of a run, in their order, and how full the server was.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// One for each request.
    pub requests: Vec<ReplayedRequest>,
    /// At the times that were asked for.
    pub samples: Vec<Sample>,
    /// How often a request lost its blocks.
    pub preemptions: usize,
}

/// What the engine did with one request, in seconds after the first arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReplayedRequest {
    /// When the scheduler first knew of it: at the end of the step in which it arrived.
    pub queued: f64,
    /// When its first token came.
    pub first_token: f64,
    /// When its last token came.
    pub last_token: f64,
    /// Output tokens.
    pub output_tokens: u32,
}

/// Sends `requests`, in the order of their arrival, through `server`, and looks at it at the times
/// `sample_at`, in seconds and ascending. `prompts`, if they are known, say what the requests have
/// in common.
///
/// # Errors
///
/// When the server refuses a request.
pub fn replay(
    server: &mut impl ModelServer,
    requests: &[RecordedRequest],
    prompts: Option<&Prompts>,
    sample_at: &[f64],
) -> Result<Replay, Rejection> {
    let mut log =
        Log { requests: vec![ReplayedRequest::default(); requests.len()], preemptions: 0 };
    let mut samples = Vec::with_capacity(sample_at.len());
    let mut sample_until = |server: &mut _, log: &mut Log, until: f64| {
        for &t in sample_at[samples.len()..].iter().take_while(|&&t| t <= until) {
            samples.push(look(server, log, t));
        }
    };
    for (id, request) in (0..).zip(requests) {
        sample_until(server, &mut log, request.arrival);
        let now = Timestamp::from_seconds(request.arrival);
        server.advance(now, &mut log);
        // Until a step has ended, the scheduler does not look at what arrives.
        let queued = server.next_event().map_or(request.arrival, Timestamp::as_seconds);
        log.requests[id as usize].queued = queued;
        let RecordedRequest { prompt_tokens, output_tokens, .. } = *request;
        let content = prompts.map_or_else(Content::default, |prompts| prompts.content(id as usize));
        let request = Request::new(RequestId(id), prompt_tokens, output_tokens);
        server.submit(request.with_content(content), now, &mut log)?;
    }
    sample_until(server, &mut log, f64::INFINITY);
    while let Some(next) = server.next_event() {
        server.advance(next, &mut log);
    }
    let Log { requests, preemptions } = log;
    Ok(Replay { requests, samples, preemptions })
}

fn look(server: &mut impl ModelServer, log: &mut Log, t: f64) -> Sample {
    server.advance(Timestamp::from_seconds(t), log);
    Sample { t, running: server.num_running() as f64, waiting: server.num_waiting() as f64 }
}

struct Log {
    requests: Vec<ReplayedRequest>,
    preemptions: usize,
}

impl Observer for Log {
    fn scheduled(&mut self, _: RequestId, _: Timestamp, _: u32) {}

    fn preempted(&mut self, _: RequestId) {
        self.preemptions += 1;
    }

    fn first_token(&mut self, id: RequestId, at: Timestamp) {
        self.requests[id.0 as usize].first_token = at.as_seconds();
    }

    fn token_gaps(&mut self, _: TokenGaps) {}

    fn finished(&mut self, id: RequestId, at: Timestamp, output_tokens: u32) {
        let request = &mut self.requests[id.0 as usize];
        request.last_token = at.as_seconds();
        request.output_tokens = output_tokens;
    }
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::*;
    use crate::engine::step_time::Linear;
    use crate::engine::{EngineArgs, Stepwise};

    /// A step of 1 s, whatever is in it.
    const PLANT: Linear = Linear {
        base: Seconds::new(1.0),
        per_prefill_token: Seconds::ZERO,
        per_decode_sequence: Seconds::ZERO,
        per_context_token: Seconds::ZERO,
    };

    fn server() -> Stepwise<Linear> {
        let args = EngineArgs {
            max_num_batched_tokens: 100,
            max_num_seqs: 1,
            max_model_len: 100,
            block_size: 16,
            num_gpu_blocks: 100,
            async_scheduling: false,
            ..EngineArgs::DEFAULT
        };
        Stepwise::new(args.try_into().unwrap(), PLANT)
    }

    fn request(arrival: f64, prompt_tokens: u32) -> RecordedRequest {
        let (queued, first_token, last_token) = (0.0, 0.0, 0.0);
        RecordedRequest {
            prompt_tokens,
            output_tokens: 3,
            arrival,
            queued,
            first_token,
            last_token,
        }
    }

    #[test]
    fn requests_and_samples_take_their_turns() {
        let requests = [request(0.0, 10), request(0.5, 10)];
        let replayed = replay(&mut server(), &requests, None, &[0.25, 1.5, 3.5, 9.0]).unwrap();
        let expected = [(0.0, 1.0, 3.0), (1.0, 4.0, 6.0)];
        for (request, expected) in replayed.requests.iter().zip(expected) {
            assert_eq!((request.queued, request.first_token, request.last_token), expected);
            assert_eq!(request.output_tokens, 3);
        }
        let loads: Vec<_> = replayed.samples.iter().map(|s| (s.running, s.waiting)).collect();
        assert_eq!(loads, [(1.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)]);
        assert_eq!(replayed.preemptions, 0);
    }

    #[test]
    fn what_prompts_have_in_common_is_computed_once() {
        let prompts = Prompts::of(&[(0..40).collect(), (0..80).collect()], 16);
        let requests = [request(0.0, 40), request(9.0, 80)];
        let args = EngineArgs {
            max_num_batched_tokens: 48,
            max_num_seqs: 1,
            max_model_len: 100,
            num_gpu_blocks: 100,
            async_scheduling: false,
            ..EngineArgs::DEFAULT
        };
        let first_token = |prompts| {
            let mut server = Stepwise::new(args.try_into().unwrap(), PLANT);
            replay(&mut server, &requests, prompts, &[]).unwrap().requests[1].first_token
        };
        // 80 tokens take two steps, and without the first two blocks one.
        assert_eq!((first_token(None), first_token(Some(&prompts))), (11.0, 10.0));
    }

    #[test]
    fn a_request_that_no_server_takes_ends_the_replay() {
        let refused = replay(&mut server(), &[request(0.0, 100)], None, &[]).unwrap_err();
        assert_eq!(refused, Rejection::PromptTooLong { prompt: 100, context: 100 });
    }
}
