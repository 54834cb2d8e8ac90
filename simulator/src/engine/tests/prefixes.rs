//! What requests find of each other in the cache.

use super::*;

/// A request of nothing but these pieces of text.
fn made_of(id: u32, pieces: &[(u64, u32)], output_tokens: u32, output: Option<u64>) -> Request {
    let segment = |&(text, tokens)| Segment { text: TextId(text), tokens };
    let content = Content::new(pieces.iter().map(segment), output.map(TextId));
    let prompt_tokens = pieces.iter().map(|(_, tokens)| tokens).sum();
    Request::new(RequestId(id), prompt_tokens, output_tokens).with_content(content)
}

/// Serves requests one after the other, each when the one before has ended, with both engines, and
/// returns what was found of each.
fn found(args: EngineArgs, requests: &[Request]) -> Vec<u32> {
    fn serve_in_turn(server: &mut impl ModelServer, requests: &[Request]) -> Vec<u32> {
        let mut log = Log::default();
        for request in requests {
            let now = server.next_event().unwrap_or(Timestamp::from_seconds(1.0));
            server.submit(request.clone(), now, &mut log).unwrap();
            while let Some(next) = server.next_event() {
                server.advance(next, &mut log);
            }
        }
        log.scheduled.iter().map(|&(.., cached_tokens)| cached_tokens).collect()
    }
    let found = serve_in_turn(&mut Engine::new(config(args), PLANT), requests);
    assert_eq!(found, serve_in_turn(&mut Stepwise::new(config(args), PLANT), requests));
    found
}

#[test]
fn what_two_prompts_have_in_common_is_computed_once_in_whole_blocks() {
    let requests = [
        made_of(0, &[(1, 40), (2, 30)], 3, None),
        // 40 common tokens are two blocks and a half.
        made_of(1, &[(1, 40), (3, 30)], 3, None),
        // Now all of the first prompt: four blocks and six tokens.
        made_of(2, &[(1, 40), (2, 30), (4, 5)], 3, None),
        // The same text in another place is another text.
        made_of(3, &[(2, 30), (1, 40)], 3, None),
        Request::new(RequestId(4), 70, 3),
    ];
    assert_eq!(found(ROOMY, &requests), [0, 32, 64, 0, 0]);
    let without = EngineArgs { enable_prefix_caching: false, ..ROOMY };
    assert_eq!(found(without, &requests), [0; 5]);
}

#[test]
fn at_least_the_last_token_is_computed_and_with_it_its_block() {
    // Were the hit of a whole prompt free, its request would take no time and hold no blocks.
    let prompt = [(1, 64)];
    let requests = [made_of(0, &prompt, 1, None), made_of(1, &prompt, 1, None)];
    assert_eq!(found(ROOMY, &requests), [0, 48]);

    let mut engine = Engine::new(config(ROOMY), PLANT);
    let mut log = Log::default();
    engine.submit(made_of(0, &prompt, 1, None), Timestamp::ZERO, &mut log).unwrap();
    engine.advance(Timestamp::from_seconds(10.0), &mut log);
    let later = Timestamp::from_seconds(10.0);
    engine.submit(made_of(1, &prompt, 1, None), later, &mut log).unwrap();
    assert_eq!(engine.kv_usage(), Fraction::new(4.0 / 100.0));
    engine.advance(Timestamp::from_seconds(20.0), &mut log);
    assert_eq!(log.end(1), (10.0 + 1.016, 1));
}

#[test]
fn a_prompt_finds_the_output_of_the_turn_before_but_for_its_last_token() {
    let first = made_of(0, &[(1, 30)], 35, Some(10));
    // 65 tokens, of which the last one came out but was never put in.
    let second = made_of(1, &[(1, 30), (10, 35), (2, 20)], 1, None);
    assert_eq!(found(ROOMY, &[first.clone(), second.clone()]), [0, 64]);
    // With 34 output tokens 63 are computed, which fill three blocks.
    let first = Request { output_tokens: 34, ..first };
    let second = made_of(1, &[(1, 30), (10, 34), (2, 20)], 1, None);
    assert_eq!(found(ROOMY, &[first, second]), [0, 48]);
}

#[test]
fn with_asynchronous_scheduling_the_newest_token_is_not_known_when_its_block_fills() {
    // The last step puts in token 64, but when it is decided that token is still on its way.
    let args = EngineArgs { async_scheduling: true, ..ROOMY };
    let first = made_of(0, &[(1, 30)], 35, Some(10));
    let second = made_of(1, &[(1, 30), (10, 35), (2, 20)], 1, None);
    assert_eq!(found(args, &[first, second]), [0, 48]);
}

#[test]
fn prompts_of_one_step_share_already() {
    // The opener is alone in its step, then both enter the next, the second with what the first
    // will have computed.
    let mut engine = Engine::new(config(ROOMY), PLANT);
    let mut log = Log::default();
    engine.submit(Request::new(RequestId(9), 1, 1), Timestamp::ZERO, &mut log).unwrap();
    for id in 0..2 {
        let request = made_of(id, &[(1, 48), (2 + u64::from(id), 10)], 1, None);
        engine.submit(request, Timestamp::ZERO, &mut log).unwrap();
    }
    engine.advance(Timestamp::from_seconds(1.5), &mut log);
    let cached: Vec<_> = log.scheduled.iter().map(|&(id, _, cached)| (id, cached)).collect();
    assert_eq!(cached, [(9, 0), (0, 0), (1, 48)]);
    // Three blocks in common, and one more each.
    assert_eq!(engine.kv_usage(), Fraction::new(5.0 / 100.0));
}

#[test]
fn what_was_used_least_recently_is_lost_first_and_its_end_before_its_beginning() {
    // Ten usable blocks. Texts 1 and 2 leave four each; a third prompt of 80 tokens takes the two
    // that are blank and three of text 1, and leaves five.
    let args = EngineArgs { num_gpu_blocks: 11, max_model_len: 160, ..ROOMY };
    let requests = [
        made_of(0, &[(1, 64)], 1, None),
        made_of(1, &[(2, 64)], 1, None),
        made_of(2, &[(3, 80)], 1, None),
        made_of(3, &[(2, 64), (4, 1)], 1, None),
        // Of text 1 the first block is left, though it was freed before all of text 2: but the
        // request before this one took its second, blank or not.
        made_of(4, &[(1, 64), (5, 1)], 1, None),
    ];
    assert_eq!(found(args, &requests), [0, 0, 0, 64, 0]);
    let without_it = [0, 1, 2, 4].map(|idx: usize| requests[idx].clone());
    assert_eq!(found(args, &without_it), [0, 0, 0, 16]);
}

#[test]
fn blocks_that_another_request_uses_are_no_burden_to_the_one_that_finds_them() {
    // Ten usable blocks, of which request 1 has six. Request 2 needs six as well, but shares five.
    let args = EngineArgs { num_gpu_blocks: 11, max_model_len: 160, ..ROOMY };
    let mut engine = Engine::new(config(args), PLANT);
    let mut log = Log::default();
    engine.submit(made_of(1, &[(1, 90)], 50, None), Timestamp::ZERO, &mut log).unwrap();
    engine.submit(made_of(2, &[(1, 85), (2, 5)], 9, None), Timestamp::ZERO, &mut log).unwrap();
    engine.advance(Timestamp::from_seconds(2.0), &mut log);
    assert_eq!((engine.num_running(), engine.num_waiting()), (2, 0));
    assert_eq!(engine.kv_usage(), Fraction::new(7.0 / 10.0));
}
