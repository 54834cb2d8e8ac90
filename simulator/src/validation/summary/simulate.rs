//! The load of a run, sent through a front end and an engine in simulated time.

use std::collections::VecDeque;

use optimizer::units::{Seconds, Timestamp};

use super::plant::SummaryPlant;
use super::{SummaryError, SummaryRun};
use crate::engine::step_time::Plant;
use crate::engine::{
    Engine, FrontEnd, FrontEndQueue, ModelServer, Observer, Rejection, Request, RequestId,
    TokenGaps,
};
use crate::kernel::Streams;
use crate::workload::shared_prefix::{Prompt, Prompts};

/// The front end of vLLM 0.15, the same for every model and GPU.
///
/// Estimated from the training runs together with the constants of [`served`](crate::catalog::served). Lightly loaded, only
/// the sum of the three shows, 4.7 ms for a prompt of 600 tokens; how it is divided between the way
/// in and the way out is a guess. So is the time of a token, half a million tokens a second, to
/// which these prompts are not sensitive.
pub const FRONT_END: FrontEnd = FrontEnd {
    per_request: Seconds::new(1.5e-3),
    per_prompt_token: Seconds::new(2e-6),
    delivery: Seconds::new(2e-3),
};

/// A client of inference-perf gives up after so many seconds: the total timeout of aiohttp 3.
const CLIENT_TIMEOUT: f64 = 300.0;

/// Between the last answer of a stage and the first possible request of the next, in seconds: the
/// pause that inference-perf makes, and the second that it gives itself to prepare.
const PAUSE: f64 = 2.0;

/// What a client saw in one stage, in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StageTimes {
    /// From a request to its first token.
    pub(super) ttft: Vec<f64>,
    /// From a request to its last token.
    pub(super) e2e: Vec<f64>,
    /// Requests that were refused, or answered when the client had given up.
    pub(super) failed: usize,
}

/// Simulates `run` on `plant`, with prompts and arrivals of one seed.
pub(super) fn simulate(
    run: &SummaryRun,
    plant: &SummaryPlant,
    front_end: FrontEnd,
    seed: u64,
) -> Result<Vec<StageTimes>, SummaryError> {
    let streams = Streams::new(seed);
    let mut client = Client {
        server: Engine::new(plant.engine, plant.step_time.clone()),
        front_end,
        way_in: FrontEndQueue::new(front_end),
        prompts: Prompts::draw(&run.workload, streams),
        multi_turn: run.workload.multi_turn,
        output_tokens: run.workload.output_tokens,
        handed: VecDeque::new(),
        released: VecDeque::new(),
        turns: vec![Turns::default(); run.workload.prompts() as usize],
        log: Log::default(),
    };
    let mut stages = Vec::with_capacity(run.stages.len());
    let mut begin = 0.0;
    for (idx, &stage) in run.stages.iter().enumerate() {
        let mut chance = streams.stream(&format!("shared_prefix/stage {idx}"));
        let times = run.load.times(stage, &mut chance);
        let first = client.log.sent.len();
        let end = client.run(times.iter().map(|time| begin + time))?;
        stages.push(client.times_since(first));
        begin = end + PAUSE;
    }
    Ok(stages)
}

struct Client {
    server: Engine<Plant>,
    front_end: FrontEnd,
    way_in: FrontEndQueue,
    prompts: Prompts,
    multi_turn: bool,
    output_tokens: u32,
    /// Requests in the front end, and when they leave it.
    handed: VecDeque<(Timestamp, Request)>,
    /// Turns that waited for the one before them, and when that was answered.
    released: VecDeque<(Timestamp, usize)>,
    turns: Vec<Turns>,
    log: Log,
}

/// The turns of one user, in a conversation.
#[derive(Debug, Clone, Default)]
struct Turns {
    in_flight: bool,
    waiting: usize,
}

#[derive(Debug, Clone)]
struct Sent {
    at: f64,
    number: usize,
    prompt: Prompt,
    first_token: f64,
    last_token: f64,
}

impl Client {
    /// Sends requests at these times, in seconds and ascending, and waits for all answers. Returns
    /// when the last one came.
    fn run(&mut self, times: impl Iterator<Item = f64>) -> Result<f64, Rejection> {
        let mut times = times.map(Timestamp::from_seconds).enumerate().peekable();
        let mut now = Timestamp::ZERO;
        loop {
            let due = [
                times.peek().map(|&(_, at)| at),
                self.handed.front().map(|&(at, _)| at),
                self.released.front().map(|&(at, _)| at),
            ];
            let due = due.into_iter().flatten().min();
            // Answers matter only where a turn may wait for one.
            let answer = self.server.next_event().filter(|_| self.multi_turn || due.is_none());
            let Some(next) = due.into_iter().chain(answer).min() else { break };
            now = next;
            self.server.advance(now, &mut self.log);
            self.settle();
            if let Some((_, request)) = self.handed.pop_front_if(|&mut (at, _)| at <= now) {
                self.submit(request, now)?;
            } else if let Some((_, number)) = self.released.pop_front_if(|&mut (at, _)| at <= now) {
                self.send(number, now);
            } else if let Some((i, _)) = times.next_if(|&(_, at)| at <= now) {
                let number = self.prompts.asked_by(i);
                if self.turns[number].in_flight {
                    self.turns[number].waiting += 1;
                } else {
                    self.send(number, now);
                }
            }
        }
        Ok(now.as_seconds())
    }

    fn send(&mut self, number: usize, now: Timestamp) {
        self.turns[number].in_flight = self.multi_turn;
        let prompt = self.prompts.prompt(number);
        let id = RequestId(u32::try_from(self.log.sent.len()).expect("fewer than 2^32 requests"));
        let request = Request::new(id, prompt.tokens, self.output_tokens);
        let at = self.way_in.take(now, prompt.tokens);
        self.handed.push_back((at, request.with_content(prompt.content.clone())));
        let sent = Sent {
            at: now.as_seconds(),
            number,
            prompt,
            first_token: f64::INFINITY,
            last_token: f64::INFINITY,
        };
        self.log.sent.push(sent);
    }

    /// A conversation that has become too long for the server is refused, and stays as it was.
    fn submit(&mut self, request: Request, now: Timestamp) -> Result<(), Rejection> {
        let id = request.id;
        match self.server.submit(request, now, &mut self.log) {
            Err(_) if self.multi_turn => {
                self.end_turn(self.log.sent[id.0 as usize].number, now);
                Ok(())
            }
            done => done,
        }
    }

    /// Takes notice of what was answered.
    fn settle(&mut self) {
        for (id, at) in std::mem::take(&mut self.log.answered) {
            if self.multi_turn {
                let Sent { number, prompt, .. } = &self.log.sent[id];
                let number = *number;
                self.prompts.answered(number, &prompt.content, self.output_tokens);
                self.end_turn(number, at + self.front_end.delivery);
            }
        }
    }

    /// Lets the next turn of a user go.
    fn end_turn(&mut self, number: usize, at: Timestamp) {
        let turns = &mut self.turns[number];
        turns.in_flight = turns.waiting > 0;
        if turns.in_flight {
            turns.waiting -= 1;
            self.released.push_back((at, number));
        }
    }

    fn times_since(&self, first: usize) -> StageTimes {
        let mut times = StageTimes::default();
        let delivery = self.front_end.delivery.value();
        for sent in &self.log.sent[first..] {
            let e2e = sent.last_token - sent.at + delivery;
            if e2e <= CLIENT_TIMEOUT {
                times.e2e.push(e2e);
                times.ttft.push(sent.first_token - sent.at + delivery);
            } else {
                times.failed += 1;
            }
        }
        times
    }
}

#[derive(Debug, Default)]
struct Log {
    sent: Vec<Sent>,
    answered: Vec<(usize, Timestamp)>,
}

impl Observer for Log {
    fn scheduled(&mut self, _: RequestId, _: Timestamp, _: u32) {}

    fn preempted(&mut self, _: RequestId) {}

    fn first_token(&mut self, id: RequestId, at: Timestamp) {
        self.sent[id.0 as usize].first_token = at.as_seconds();
    }

    fn token_gaps(&mut self, _: TokenGaps) {}

    fn finished(&mut self, id: RequestId, at: Timestamp, _: u32) {
        self.sent[id.0 as usize].last_token = at.as_seconds();
        self.answered.push((id.0 as usize, at));
    }
}
