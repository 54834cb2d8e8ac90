//! The scheduler's rules, one small story each, and what must hold on any workload.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::step_time::Linear;
use super::*;

/// Remembers what it is told.
#[derive(Debug, Default)]
struct Log {
    scheduled: Vec<u32>,
    preempted: Vec<u32>,
    first: BTreeMap<u32, Timestamp>,
    finished: BTreeMap<u32, (Timestamp, u32)>,
    gaps: Vec<(f64, u64)>,
}

impl Observer for Log {
    fn scheduled(&mut self, id: RequestId, _: Timestamp) {
        self.scheduled.push(id.0);
    }

    fn preempted(&mut self, id: RequestId) {
        self.preempted.push(id.0);
    }

    fn first_token(&mut self, id: RequestId, at: Timestamp) {
        assert!(self.first.insert(id.0, at).is_none(), "{id:?} has two first tokens");
    }

    fn token_gaps(&mut self, gap: Seconds, count: u64) {
        self.gaps.push((gap.value(), count));
    }

    fn finished(&mut self, id: RequestId, at: Timestamp, output_tokens: u32) {
        assert!(self.finished.insert(id.0, (at, output_tokens)).is_none(), "{id:?} ends twice");
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
};

fn engine(config: EngineArgs, requests: &[(u32, u32)]) -> Engine<Linear> {
    let mut engine = Engine::new(config.try_into().unwrap(), PLANT);
    for (id, &(prompt_tokens, output_tokens)) in requests.iter().enumerate() {
        let id = RequestId(u32::try_from(id).unwrap());
        engine.submit(Request { id, prompt_tokens, output_tokens }).unwrap();
    }
    engine
}

/// Steps until idle and returns the log and the step times.
fn run(engine: &mut Engine<Linear>) -> (Log, Vec<f64>) {
    let (mut log, mut steps, mut now) = (Log::default(), Vec::new(), Timestamp::ZERO);
    while let Some(step) = engine.begin_step(now, &mut log) {
        now += step;
        engine.end_step(now, &mut log);
        steps.push(step.value());
        assert!(steps.len() < 100_000, "no end in sight");
    }
    (log, steps)
}

#[test]
fn a_request_takes_one_step_for_its_prompt_and_one_for_each_further_token() {
    let mut engine = engine(ROOMY, &[(50, 3)]);
    let (log, steps) = run(&mut engine);
    assert_eq!(steps, [1.05, 1.0, 1.0]);
    assert_eq!(log.first[&0], Timestamp::from_seconds(1.05));
    assert_eq!(log.finished[&0], (Timestamp::from_seconds(3.05), 3));
    assert_eq!(log.gaps, [(1.0, 1), (1.0, 1)]);
}

#[test]
fn a_prompt_beyond_the_budget_is_cut_into_chunks() {
    let mut engine = engine(ROOMY, &[(250, 1)]);
    let (log, steps) = run(&mut engine);
    assert_eq!(steps, [1.1, 1.1, 1.05]);
    assert_eq!(log.finished[&0].1, 1);
    assert!(log.gaps.is_empty());
}

#[test]
fn running_sequences_come_first_and_the_rest_of_the_budget_goes_to_prompts() {
    // Step 1: all 90 of request 0 and 10 of request 1. Step 2: one token of request 0, then 99 of
    // request 1. Step 3: the last 41 of request 1.
    let mut engine = engine(ROOMY, &[(90, 3), (150, 1)]);
    let (log, steps) = run(&mut engine);
    assert_eq!(steps, [1.1, 1.099, 1.041]);
    assert_eq!(log.first[&0], Timestamp::from_seconds(1.1));
    assert_eq!(log.first[&1], Timestamp::from_seconds(3.24));
}

#[test]
fn at_most_max_num_seqs_run_at_once() {
    let config = EngineArgs { max_num_seqs: 2, ..ROOMY };
    let mut engine = engine(config, &[(10, 2), (10, 2), (10, 2)]);
    let (_, steps) = run(&mut engine);
    assert_eq!(steps, [1.02, 1.0, 1.01, 1.0]);
}

#[test]
fn the_head_of_the_queue_blocks_those_behind_it() {
    // Ten usable blocks: request 0 takes 5, request 1 would need 6, request 2 would fit but waits.
    let config = EngineArgs { num_gpu_blocks: 11, max_model_len: 160, ..ROOMY };
    let mut engine = engine(config, &[(70, 3), (90, 1), (10, 1)]);
    let mut log = Log::default();
    engine.begin_step(Timestamp::ZERO, &mut log).unwrap();
    assert_eq!((engine.num_running(), engine.num_waiting()), (1, 2));
    assert_eq!(engine.kv_usage(), Fraction::new(0.5));
    engine.end_step(Timestamp::from_seconds(1.0), &mut log);
    run(&mut engine);
    assert_eq!(engine.kv_usage(), Fraction::ZERO);
}

#[test]
fn preemption_evicts_the_youngest_keeps_its_output_and_lets_nobody_enter() {
    // Four usable blocks. Requests 0 and 1 hold two each and fill them after two output tokens.
    // The third evicts request 1, which comes back when request 0 has left.
    let config = EngineArgs { num_gpu_blocks: 5, max_model_len: 64, ..ROOMY };
    let mut engine = engine(config, &[(31, 4), (31, 4), (1, 1)]);
    let (log, steps) = run(&mut engine);
    assert_eq!(log.preempted, [1]);
    assert_eq!(log.scheduled, [0, 1, 2]);
    // 62 prompt tokens; a decode; request 0 alone, twice (the step that preempted admits nobody,
    // and after it only one block is free); then request 1 computes its 33 tokens again, and
    // request 2 enters beside it.
    assert_eq!(steps[..4], [1.062, 1.0, 1.0, 1.0]);
    assert!((steps[4] - 1.034).abs() < 1e-12, "{steps:?}");
    assert_eq!(log.finished[&0].1, 4);
    assert_eq!(log.finished[&1].1, 4);
    // Its first token is not observed again: the stall is one long gap.
    assert!(log.gaps.iter().any(|&(gap, count)| (gap - 3.034).abs() < 1e-9 && count == 1));
}

#[test]
fn output_is_cut_to_the_context_and_a_prompt_that_fills_it_is_refused() {
    let config = EngineArgs { max_model_len: 20, ..ROOMY };
    let mut engine = engine(config, &[(15, 100)]);
    let id = RequestId(1);
    assert_eq!(
        engine.submit(Request { id, prompt_tokens: 20, output_tokens: 1 }),
        Err(Rejection::PromptTooLong { prompt: 20, context: 20 })
    );
    let (log, _) = run(&mut engine);
    assert_eq!(log.finished[&0].1, 5);
}

#[test]
fn arguments_with_which_no_engine_starts_are_refused() {
    for (config, message) in [
        (EngineArgs { block_size: 0, ..ROOMY }, "blockSize must be at least 1"),
        (EngineArgs { max_num_seqs: 101, ..ROOMY }, "must not be below maxNumSeqs (101)"),
        (EngineArgs { max_model_len: 1601, ..ROOMY }, "the 1600 tokens that the KV cache holds"),
    ] {
        let error = EngineConfig::try_from(config).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_dead_engine_names_what_it_lost() {
    let config = EngineArgs { max_num_seqs: 1, ..ROOMY };
    let mut engine = engine(config, &[(10, 2), (10, 2)]);
    engine.begin_step(Timestamp::ZERO, &mut Log::default());
    assert_eq!(engine.abort_all(), [RequestId(0), RequestId(1)]);
    assert!(engine.is_idle());
    assert_eq!(engine.kv_usage(), Fraction::ZERO);
}

proptest! {
    /// Whatever comes: every request ends once with all its tokens, the batch keeps its limits, no
    /// block is lost, and every token after a first is one gap.
    #[test]
    fn nothing_is_lost_on_any_workload(
        requests in prop::collection::vec((1..150_u32, 1..60_u32), 1..40),
        budget in 8..200_u32,
        max_num_seqs in 1..8_u32,
        blocks in 16..64_u32,
    ) {
        let config = EngineArgs {
            max_num_batched_tokens: budget,
            max_num_seqs,
            max_model_len: 240,
            block_size: 16,
            num_gpu_blocks: blocks,
        };
        let mut engine = engine(config, &requests);
        let (mut log, mut now) = (Log::default(), Timestamp::ZERO);
        while let Some(step) = engine.begin_step(now, &mut log) {
            let scheduled: u32 =
                engine.running.iter().map(|&h| engine.sequences[h].scheduled).sum();
            prop_assert!(scheduled > 0 && scheduled <= budget);
            prop_assert!(engine.running.len() <= max_num_seqs as usize);
            let held: u32 = engine.running.iter().map(|&h| engine.sequences[h].blocks).sum();
            prop_assert_eq!(held + engine.blocks.num_free(), blocks - 1);
            for &handle in &engine.running {
                let sequence = &engine.sequences[handle];
                prop_assert_eq!(sequence.blocks, sequence.computed.div_ceil(16));
            }
            now += step;
            engine.end_step(now, &mut log);
        }
        prop_assert_eq!(engine.blocks.num_free(), blocks - 1);
        prop_assert_eq!(log.finished.len(), requests.len());
        prop_assert_eq!(log.scheduled.len(), requests.len());
        let mut gaps = 0;
        for (id, &(prompt, output)) in requests.iter().enumerate() {
            let (_, generated) = log.finished[&u32::try_from(id).unwrap()];
            prop_assert_eq!(generated, output.min(240 - prompt));
            gaps += u64::from(generated - 1);
        }
        prop_assert_eq!(log.gaps.iter().map(|&(_, count)| count).sum::<u64>(), gaps);
    }
}
