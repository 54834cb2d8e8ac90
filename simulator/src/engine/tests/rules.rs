//! Priorities, thresholds, limits, aborts, and engines in parallel.

use super::*;

/// What both engines tell of requests that are all there at the start.
fn both(args: EngineArgs, requests: &[Request]) -> Log {
    fn serve_all(server: &mut impl ModelServer, requests: &[Request]) -> Log {
        let mut log = Log::default();
        for request in requests {
            server.submit(request.clone(), Timestamp::ZERO, &mut log).unwrap();
        }
        server.advance(Timestamp::MAX, &mut log);
        log
    }
    let log = serve_all(&mut Engine::new(config(args), PLANT), requests);
    assert_eq!(log, serve_all(&mut Stepwise::new(config(args), PLANT), requests));
    log
}

fn request(id: u32, prompt_tokens: u32, output_tokens: u32, priority: i32) -> Request {
    Request { priority, ..Request::new(RequestId(id), prompt_tokens, output_tokens) }
}

fn admitted(log: &Log) -> Vec<u32> {
    log.scheduled.iter().map(|&(id, ..)| id).collect()
}

#[test]
fn with_the_priority_policy_the_lowest_number_enters_first() {
    let requests = [request(0, 10, 2, 0), request(1, 10, 1, 5), request(2, 10, 1, -5)];
    let args = EngineArgs { max_num_seqs: 1, ..ROOMY };
    assert_eq!(admitted(&both(args, &requests)), [0, 1, 2]);
    let ranked = EngineArgs { scheduling_policy: SchedulingPolicy::Priority, ..args };
    assert_eq!(admitted(&both(ranked, &requests)), [0, 2, 1]);
}

#[test]
fn with_the_priority_policy_the_least_urgent_makes_room_wherever_it_stands() {
    // Four usable blocks, two sequences that fill two each. The first one is the less urgent.
    let args = EngineArgs { num_gpu_blocks: 5, max_model_len: 64, ..ROOMY };
    let requests = [request(9, 1, 1, 0), request(1, 31, 4, 7), request(2, 31, 4, 0)];
    assert_eq!(both(args, &requests).preempted, [2]);
    let ranked = EngineArgs { scheduling_policy: SchedulingPolicy::Priority, ..args };
    assert_eq!(both(ranked, &requests).preempted, [1]);
}

#[test]
fn what_a_victim_was_given_in_the_same_step_goes_to_those_after_it() {
    // The first prompt begins alone, then three get 40, 40 and 20 tokens a step. In the fifth step
    // the first takes 3 of the last 4 blocks; the second needs 2, so the first, the least urgent,
    // has to go. Its 40 tokens are free again, so the third gets 40 and ends its prompt, too.
    let args = EngineArgs {
        num_gpu_blocks: 31,
        max_model_len: 300,
        long_prefill_token_threshold: 40,
        scheduling_policy: SchedulingPolicy::Priority,
        ..ROOMY
    };
    let requests = [request(1, 260, 1, 5), request(2, 160, 1, 0), request(3, 100, 1, 0)];
    let log = both(args, &requests);
    assert_eq!(log.preempted, [1]);
    let fifth = Timestamp::from_seconds(4.0 * 1.1 + 1.08);
    assert_eq!((log.first[&2], log.first[&3]), (fifth, fifth));
}

#[test]
fn a_long_prompt_gives_way_to_others_once_there_are_others() {
    // 100 tokens a step. Alone, request 0 takes them all; beside request 1 each takes 40 at most,
    // and alone again it takes what it can.
    let args = EngineArgs { long_prefill_token_threshold: 40, ..ROOMY };
    let requests = [request(0, 300, 1, 0), request(1, 50, 1, 0)];
    let log = both(args, &requests);
    assert_eq!(log.first[&1], Timestamp::from_seconds(1.1 + 1.08 + 1.05));
    assert_eq!(log.first[&0], Timestamp::from_seconds(1.1 + 1.08 + 1.05 + 1.1 + 1.02));
    let log = both(ROOMY, &requests);
    assert_eq!(log.first[&0], Timestamp::from_seconds(3.3));
}

#[test]
fn a_watermark_keeps_blocks_for_those_that_run() {
    // Ten usable blocks of eleven. Request 1 takes 5, request 2 would take the other 5.
    let args = EngineArgs { num_gpu_blocks: 11, max_model_len: 160, ..ROOMY };
    let requests = [request(9, 1, 1, 0), request(1, 70, 3, 0), request(2, 20, 1, 0)];
    let log = both(EngineArgs { watermark: Fraction::new(0.2), ..args }, &requests);
    assert_eq!(log.scheduled[2].1, log.scheduled[1].1);
    // A watermark of 0.4 leaves 4 of 5 free blocks alone, so that two do not fit.
    let log = both(EngineArgs { watermark: Fraction::new(0.4), ..args }, &requests);
    assert_eq!(log.scheduled[2].1, log.finished[1].1);
}

#[test]
fn a_full_queue_refuses() {
    fn check(server: &mut impl ModelServer, refused: Rejection) {
        let mut log = Log::default();
        for id in 0..2 {
            server.submit(request(id, 10, 2, 0), Timestamp::ZERO, &mut log).unwrap();
        }
        let third = request(2, 10, 2, 0);
        assert_eq!(server.submit(third.clone(), Timestamp::ZERO, &mut log), Err(refused));
        server.advance(Timestamp::from_seconds(9.0), &mut log);
        assert_eq!(server.submit(third, Timestamp::from_seconds(9.0), &mut log), Ok(()));
    }
    let by_requests = EngineArgs { max_num_queued_reqs: Some(2), ..ROOMY };
    let by_tokens = EngineArgs { max_num_queued_tokens: Some(20), ..ROOMY };
    for (args, refused) in [
        (by_requests, Rejection::TooManyRequests { limit: 2 }),
        (by_tokens, Rejection::TooManyTokens { limit: 20 }),
    ] {
        check(&mut Engine::new(config(args), PLANT), refused);
        check(&mut Stepwise::new(config(args), PLANT), refused);
    }
}

#[test]
fn what_a_step_frees_is_free_when_it_ends_and_not_when_it_begins() {
    fn check(server: &mut impl ModelServer) {
        let mut log = Log::default();
        server.submit(request(0, 10, 1, 0), Timestamp::ZERO, &mut log).unwrap();
        server.advance(Timestamp::from_seconds(1.009), &mut log);
        assert_eq!((server.num_running(), log.finished.len()), (1, 0));
        assert_eq!(server.kv_usage(), Fraction::new(0.01));
        server.advance(Timestamp::from_seconds(1.01), &mut log);
        assert_eq!((server.num_running(), log.finished.len()), (0, 1));
        assert_eq!(server.kv_usage(), Fraction::ZERO);
    }
    check(&mut Engine::new(config(ROOMY), PLANT));
    check(&mut Stepwise::new(config(ROOMY), PLANT));
}

#[test]
fn an_abort_frees_blocks_at_once_and_lets_the_step_run() {
    fn check(server: &mut impl ModelServer) {
        let mut log = Log::default();
        server.submit(request(0, 70, 50, 0), Timestamp::ZERO, &mut log).unwrap();
        server.submit(request(1, 90, 1, 0), Timestamp::ZERO, &mut log).unwrap();
        server.advance(Timestamp::from_seconds(2.0), &mut log);
        // Request 1 does not fit beside request 0, in its second step, which ends at 2.07.
        assert_eq!((server.num_running(), server.num_waiting()), (1, 1));
        let lost = Lost { id: RequestId(0), output_tokens: 1 };
        assert_eq!(server.abort(RequestId(0)), Some(lost));
        assert_eq!(server.abort(RequestId(0)), None);
        assert_eq!(server.kv_usage(), Fraction::ZERO);
        server.advance(Timestamp::MAX, &mut log);
        assert_eq!(log.finished, [(1, Timestamp::from_seconds(2.07 + 1.09), 1)]);
        assert!(log.gaps.is_empty());
    }
    let args = EngineArgs { num_gpu_blocks: 11, max_model_len: 160, ..ROOMY };
    check(&mut Engine::new(config(args), PLANT));
    check(&mut Stepwise::new(config(args), PLANT));
}

#[test]
fn a_coordinator_gives_to_the_rank_with_the_least_to_do() {
    let engine = || Engine::new(config(EngineArgs { max_num_seqs: 2, ..ROOMY }), PLANT);
    let mut server = DataParallel::new(vec![engine(), engine()]);
    let mut log = Log::default();
    // One runs on each; then one waits on each, for nobody enters in the middle of a step.
    for id in 0..4 {
        server.submit(request(id, 10, 2, 0), Timestamp::ZERO, &mut log).unwrap();
    }
    let loads: Vec<_> = server.ranks().iter().map(|r| (r.num_running(), r.num_waiting())).collect();
    assert_eq!(loads, [(1, 1), (1, 1)]);
    assert_eq!(server.next_event(), Some(Timestamp::from_seconds(1.01)));
    assert_eq!(server.abort(RequestId(3)), Some(Lost { id: RequestId(3), output_tokens: 0 }));
    server.advance(Timestamp::MAX, &mut log);
    let ends: Vec<_> = log.finished.iter().map(|&(id, at, _)| (id, at.as_seconds())).collect();
    // The first rank computes the prompt of request 2 in the step of request 0's second token.
    assert_eq!(ends, [(1, 2.01), (0, 2.02), (2, 3.02)]);
}
