//! The scheduler's rules, one small story each, and what must hold on any workload.
//!
//! Some of them tell what another public simulator of vLLM, inference-sim, does differently from
//! vLLM as of August 2026:
//!
//! | there | here |
//! |---|---|
//! | a preempted request loses its output, and its first token comes twice | `preemption_evicts_the_youngest_keeps_its_output_and_lets_nobody_enter` |
//! | a prompt that is cached as a whole takes no time and no blocks | `prefixes::at_least_the_last_token_is_computed_and_with_it_its_block` |
//! | what a step frees is free when it begins | `rules::what_a_step_frees_is_free_when_it_ends_and_not_when_it_begins` |
//! | no step is decided ahead | `with_asynchronous_scheduling_…`, here and in `prefixes` |
//! | the front end is a constant delay | `frontend::tests::the_queue_grows_as_theory_says` |
//! | a head is hidden / heads wide, whatever the model says | `catalog::architecture::tests::the_kv_cache_keeps_what_attention_needs`, for Mistral Nemo and others |
//! | the head of the queue is looked up anew in every step | `jumping::tests::a_head_that_does_not_fit_is_not_looked_up_again_until_something_is_freed` |

mod alike;
mod prefixes;
mod rules;

use std::collections::BTreeMap;

use optimizer::units::Seconds;

use super::step_time::Linear;
use super::*;

/// Remembers what it is told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Log {
    scheduled: Vec<(u32, Timestamp, u32)>,
    preempted: Vec<u32>,
    first: BTreeMap<u32, Timestamp>,
    finished: Vec<(u32, Timestamp, u32)>,
    /// How many gaps of each length there were.
    gaps: BTreeMap<Ticks, u64>,
}

impl Observer for Log {
    fn scheduled(&mut self, id: RequestId, at: Timestamp, cached_tokens: u32) {
        self.scheduled.push((id.0, at, cached_tokens));
    }

    fn preempted(&mut self, id: RequestId) {
        self.preempted.push(id.0);
    }

    fn first_token(&mut self, id: RequestId, at: Timestamp) {
        assert!(self.first.insert(id.0, at).is_none(), "{id:?} has two first tokens");
    }

    fn token_gaps(&mut self, gaps: TokenGaps) {
        for step in 0..gaps.steps {
            let gap = gaps.first + gaps.growth.times(step);
            *self.gaps.entry(gap).or_default() += gaps.sequences;
        }
    }

    fn finished(&mut self, id: RequestId, at: Timestamp, output_tokens: u32) {
        self.finished.push((id.0, at, output_tokens));
    }
}

impl Log {
    fn end(&self, id: u32) -> (f64, u32) {
        let mut ends = self.finished.iter().filter(|(finished, ..)| *finished == id);
        let &(_, at, tokens) = ends.next().unwrap();
        assert!(ends.next().is_none(), "{id} ends twice");
        (at.as_seconds(), tokens)
    }

    fn gaps(&self) -> Vec<(f64, u64)> {
        self.gaps.iter().map(|(gap, &count)| (gap.as_seconds().value(), count)).collect()
    }
}

/// A step of one second, whatever is in it, plus a millisecond for each prompt token.
const PLANT: Linear = Linear {
    base: Seconds::new(1.0),
    per_prefill_token: Seconds::new(0.001),
    per_decode_sequence: Seconds::ZERO,
    per_context_token: Seconds::ZERO,
};

const ROOMY: EngineArgs = EngineArgs {
    max_num_batched_tokens: 100,
    max_num_seqs: 10,
    max_model_len: 1000,
    block_size: 16,
    num_gpu_blocks: 101,
    async_scheduling: false,
    ..EngineArgs::DEFAULT
};

fn config(args: EngineArgs) -> EngineConfig {
    args.try_into().unwrap()
}

/// An arrival: when, prompt tokens, output tokens.
type Arrival = (Timestamp, u32, u32);

/// Serves `arrivals`, looking at the server at each of `glances` as well, and returns what it told
/// and what was seen: running, waiting, KV use.
fn serve(
    server: &mut impl ModelServer,
    arrivals: &[Arrival],
    glances: &[Timestamp],
) -> (Log, Vec<(usize, usize, Fraction)>) {
    let (mut log, mut seen) = (Log::default(), Vec::new());
    let mut arrivals = (0..).zip(arrivals).peekable();
    let mut glances = glances.iter().peekable();
    loop {
        let event = server.next_event();
        let arrival = arrivals.peek().map(|&(_, &(at, ..))| at);
        let glance = glances.peek().map(|&&at| at);
        let Some(now) = [event, arrival, glance].into_iter().flatten().min() else { break };
        server.advance(now, &mut log);
        while let Some(&(id, &(at, prompt_tokens, output_tokens))) = arrivals.peek() {
            if at > now {
                break;
            }
            arrivals.next();
            let request = Request::new(RequestId(id), prompt_tokens, output_tokens);
            server.advance(now, &mut log);
            server.submit(request, now, &mut log).unwrap();
        }
        if glance == Some(now) {
            glances.next();
            seen.push((server.num_running(), server.num_waiting(), server.kv_usage()));
        }
    }
    assert!(server.is_idle());
    assert_eq!(server.kv_usage(), Fraction::ZERO);
    (log, seen)
}

/// Serves requests that are all there at the start.
fn run(args: EngineArgs, requests: &[(u32, u32)]) -> Log {
    let arrivals: Vec<_> = requests.iter().map(|&(prompt, output)| (0.0, prompt, output)).collect();
    run_arrivals(args, &arrivals)
}

/// Serves requests that arrive at a number of seconds, with both engines, which must agree.
fn run_arrivals(args: EngineArgs, requests: &[(f64, u32, u32)]) -> Log {
    let at = |&(at, prompt, output)| (Timestamp::from_seconds(at), prompt, output);
    let arrivals: Vec<Arrival> = requests.iter().map(at).collect();
    let (log, _) = serve(&mut Engine::new(config(args), PLANT), &arrivals, &[]);
    let (reference, _) = serve(&mut Stepwise::new(config(args), PLANT), &arrivals, &[]);
    assert_eq!(log, reference);
    log
}

/// The first request of a batch begins before the others have arrived. So stories in which several
/// begin together open with one that is over after its first step, of 1.001 s.
const OPENER: (u32, u32) = (1, 1);
const OPEN: f64 = 1.001;

#[test]
fn a_request_takes_one_step_for_its_prompt_and_one_for_each_further_token() {
    let log = run(ROOMY, &[(50, 3)]);
    assert_eq!(log.first[&0], Timestamp::from_seconds(1.05));
    assert_eq!(log.end(0), (3.05, 3));
    assert_eq!(log.gaps(), [(1.0, 2)]);
}

#[test]
fn a_prompt_beyond_the_budget_is_cut_into_chunks() {
    // Steps of 100, 100 and 50 tokens.
    let log = run(ROOMY, &[(250, 1)]);
    assert_eq!(log.end(0), (3.25, 1));
    assert!(log.gaps.is_empty());
}

#[test]
fn running_sequences_come_first_and_the_rest_of_the_budget_goes_to_prompts() {
    // All 90 tokens of request 1 and 10 of request 2; then one of 1 and 99 of 2; then one of 1 and
    // the last 41 of 2.
    let log = run(ROOMY, &[OPENER, (90, 3), (150, 1)]);
    let after = |seconds: f64| Timestamp::from_seconds(OPEN + seconds);
    assert_eq!(log.first[&1], after(1.1));
    assert_eq!(log.first[&2], after(1.1 + 1.099 + 1.041));
    assert!((log.end(1).0 - log.end(2).0).abs() < 1e-12);
}

#[test]
fn at_most_max_num_seqs_run_at_once() {
    let args = EngineArgs { max_num_seqs: 2, ..ROOMY };
    let log = run(args, &[OPENER, (10, 2), (10, 2), (10, 2)]);
    let scheduled: Vec<_> = log.scheduled.iter().map(|(_, at, _)| at.as_seconds()).collect();
    assert_eq!(scheduled, [0.0, OPEN, OPEN, OPEN + 1.02 + 1.0]);
}

#[test]
fn the_head_of_the_queue_blocks_those_behind_it() {
    // Ten usable blocks: request 1 takes 5, request 2 would need 6, request 3 would fit but waits.
    let args = EngineArgs { num_gpu_blocks: 11, max_model_len: 160, ..ROOMY };
    let log = run(args, &[OPENER, (70, 3), (90, 1), (10, 1)]);
    let scheduled: Vec<_> =
        log.scheduled.iter().map(|&(id, at, _)| (id, at.as_seconds())).collect();
    let free = OPEN + 1.07 + 1.0 + 1.0;
    assert_eq!(scheduled, [(0, 0.0), (1, OPEN), (2, free), (3, free)]);
}

#[test]
fn preemption_evicts_the_youngest_keeps_its_output_and_lets_nobody_enter() {
    // Four usable blocks. Requests 1 and 2 hold two each and fill them after two output tokens.
    // The third evicts request 2, which comes back when request 1 has left.
    let args = EngineArgs { num_gpu_blocks: 5, max_model_len: 64, ..ROOMY };
    let log = run(args, &[OPENER, (31, 4), (31, 4), (1, 1)]);
    assert_eq!(log.preempted, [2]);
    let scheduled: Vec<_> = log.scheduled.iter().map(|(id, ..)| *id).collect();
    assert_eq!(scheduled, [0, 1, 2, 3]);
    // 62 prompt tokens; a decode; request 1 alone, twice (the step that preempted admits nobody,
    // and after it only one block is free); then request 2 finds the first of its blocks again,
    // computes the other 17 of its 33 tokens, and request 3 enters beside it.
    let back = OPEN + 1.062 + 1.0 + 1.0 + 1.0;
    let (end, tokens) = log.end(1);
    assert!((end - back).abs() < 1e-9 && tokens == 4, "{end}");
    assert!((log.first[&3].as_seconds() - (back + 1.018)).abs() < 1e-9);
    let (end, tokens) = log.end(2);
    assert!((end - (back + 1.018 + 1.0)).abs() < 1e-9 && tokens == 4, "{end}");
    // Its first token is not observed again: the stall is one long gap.
    let (longest, count) = *log.gaps().last().unwrap();
    assert!((longest - 3.018).abs() < 1e-9 && count == 1, "{longest}");
}

#[test]
fn output_is_cut_to_the_context_and_a_prompt_that_fills_it_is_refused() {
    let args = EngineArgs { max_model_len: 20, ..ROOMY };
    assert_eq!(run(args, &[(15, 100)]).end(0).1, 5);

    let request = Request::new(RequestId(1), 20, 1);
    let mut log = Log::default();
    let refused = Err(Rejection::PromptTooLong { prompt: 20, context: 20 });
    let mut engine = Engine::new(config(args), PLANT);
    assert_eq!(engine.submit(request.clone(), Timestamp::ZERO, &mut log), refused);
    let mut reference = Stepwise::new(config(args), PLANT);
    assert_eq!(reference.submit(request, Timestamp::ZERO, &mut log), refused);
}

#[test]
fn arguments_with_which_no_engine_starts_are_refused() {
    for (args, message) in [
        (EngineArgs { block_size: 0, ..ROOMY }, "blockSize must be at least 1"),
        (EngineArgs { max_num_seqs: 101, ..ROOMY }, "must not be below maxNumSeqs (101)"),
        (EngineArgs { max_model_len: 1601, ..ROOMY }, "the 1600 tokens that the KV cache holds"),
    ] {
        let error = EngineConfig::try_from(args).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_dead_engine_names_what_it_lost() {
    fn check(server: &mut impl ModelServer) {
        let mut log = Log::default();
        for id in 0..3 {
            let request = Request::new(RequestId(id), 10, 2);
            server.submit(request, Timestamp::ZERO, &mut log).unwrap();
        }
        server.advance(Timestamp::from_seconds(1.5), &mut log);
        let lost = |id, output_tokens| Lost { id: RequestId(id), output_tokens };
        assert_eq!(server.abort_all(), [lost(0, 1), lost(1, 0), lost(2, 0)]);
        assert!(server.is_idle());
        assert_eq!(server.kv_usage(), Fraction::ZERO);
        assert_eq!(server.next_event(), None);
    }
    for async_scheduling in [false, true] {
        let args = EngineArgs { max_num_seqs: 2, async_scheduling, ..ROOMY };
        check(&mut Engine::new(config(args), PLANT));
        check(&mut Stepwise::new(config(args), PLANT));
    }
}

#[test]
fn with_asynchronous_scheduling_an_arrival_waits_for_the_step_that_is_decided_already() {
    // Request 0 is in its first step, of 1.01 s, and its second is decided when request 1 arrives.
    // That one is let in when the first ends, and computed when the second has ended.
    let args = EngineArgs { async_scheduling: true, ..ROOMY };
    let log = run_arrivals(args, &[(0.0, 10, 5), (0.5, 20, 2)]);
    assert_eq!(log.scheduled[1], (1, Timestamp::from_seconds(1.01), 0));
    assert_eq!(log.first[&1], Timestamp::from_seconds(1.01 + 1.0 + 1.02));
}

#[test]
fn with_asynchronous_scheduling_a_seat_is_taken_a_step_later() {
    // One seat. When request 0 has ended its only step nothing else is decided, so request 1 enters
    // at once. With a second seat that keeps the GPU busy, one step lies between.
    let args = EngineArgs { async_scheduling: true, max_num_seqs: 1, ..ROOMY };
    let log = run_arrivals(args, &[(0.0, 10, 1), (0.5, 10, 1)]);
    assert_eq!(log.first[&1], Timestamp::from_seconds(1.01 + 1.01));

    let args = EngineArgs { max_num_seqs: 2, ..args };
    let log = run_arrivals(args, &[(0.0, 10, 9), (0.0, 10, 2), (0.5, 10, 1)]);
    // Request 1 is computed in the steps that end at 3.02 and 4.02; request 2, let in at 4.02, in
    // the one after the next.
    assert!((log.end(1).0 - 4.02).abs() < 1e-12);
    assert_eq!(log.scheduled[2], (2, Timestamp::from_seconds(4.02), 0));
    assert_eq!(log.first[&2], Timestamp::from_seconds(4.02 + 1.0 + 1.01));
}
