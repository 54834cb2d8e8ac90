//! Clients that wait for their answers, and clients of several classes.

use super::*;
use crate::engine::SchedulingPolicy;
use crate::kernel::Streams;
use crate::workload::{
    Client, Length, Lengths, Pace, Pattern, ServiceClass, SessionShape, ThinkTime, Turns, Users,
};

/// So many users from time zero on, who pause for six seconds.
fn users(count: u32, prompt: u64, output: u64, session: Option<SessionShape>) -> Pattern {
    let tokens = |count| Length::Constant(Tokens::new(count));
    let pause = ThinkTime::Constant(Seconds::new(6.0));
    Pattern {
        pace: Pace::Closed(Users { count, pause, ramp_up: Seconds::ZERO }),
        lengths: Lengths { prompt: tokens(prompt), output: tokens(output) }.into(),
        shared: Vec::new(),
        session,
        fit_context: false,
    }
}

/// One replica that serves a pattern for so many seconds.
fn run(pattern: &Pattern, seconds: f64) -> Recording {
    let mut setup = setup(1, bounds(1, 1), &[]);
    let mut workload = Workload::default();
    let until = Timestamp::from_seconds(seconds);
    workload.add_generated(Client::default(), pattern, until, Streams::new(1), "test");
    setup.models[0].workload = workload;
    setup.duration = Some(Seconds::new(seconds));
    run_to_end(setup)
}

#[test]
fn users_ask_again_when_they_have_their_answer_and_a_pause() {
    let recording = run(&users(1, 100, 4, None), 100.0);
    // Four seconds for an answer, and six of pause.
    let arrivals: Vec<_> = recording.requests.iter().map(|request| request.arrival).collect();
    let expected = (0..10).map(|idx| Timestamp::from_seconds(f64::from(idx * 10)));
    assert_eq!(arrivals, expected.collect::<Vec<_>>());
    assert_eq!(outcomes(&recording), [Outcome::Completed; 10]);
    assert_eq!(recording.end, Timestamp::from_seconds(100.0));
}

#[test]
fn a_conversation_finds_in_the_cache_what_was_said() {
    let shape = SessionShape {
        turns: Turns::Constant(3),
        think: ThinkTime::Constant(Seconds::new(2.0)),
        first_prompt: None,
        history: true,
    };
    let recording = run(&users(1, 80, 16, Some(shape)), 55.0);
    let turns: Vec<_> =
        recording.requests.iter().map(|turn| (turn.prompt_tokens, turn.cached_tokens)).collect();
    // The last token of an answer was never computed, so its block is not full.
    assert_eq!(turns, [(80, 0), (176, 80), (272, 176)]);
    let arrivals: Vec<_> =
        recording.requests.iter().map(|turn| turn.arrival.as_seconds()).collect();
    assert_eq!(arrivals, [0.0, 18.0, 36.0]);
    assert!(recording.requests.iter().all(|turn| turn.origin.session == Some(0)));
}

#[test]
fn who_is_refused_comes_back_after_the_pause() {
    // No prompt fits the context.
    let recording = run(&users(2, 2000, 1, None), 60.0);
    assert_eq!(outcomes(&recording), [Outcome::Rejected; 20]);
}

/// Three patient requests of two seconds each, and one in a hurry half a second later, on a replica
/// that serves one at a time.
fn two_classes(policy: SchedulingPolicy) -> Recording {
    let args = EngineArgs {
        max_num_batched_tokens: 1000,
        max_num_seqs: 1,
        max_model_len: 1000,
        num_gpu_blocks: 101,
        async_scheduling: false,
        scheduling_policy: policy,
        ..EngineArgs::DEFAULT
    };
    let mut setup = setup(1, bounds(1, 1), &[]);
    setup.variants[0].engine = EngineConfig::try_from(args).unwrap();
    let arrival = |at| Arrival {
        at: Timestamp::from_seconds(at),
        prompt: Tokens::new(10),
        output: Tokens::new(2),
        content: Content::default(),
    };
    let mut workload = Workload::default();
    let slo = Slo { ttft: Seconds::new(100.0), tpot: Seconds::new(100.0) };
    for (name, priority, slo, at) in
        [("batch", 7, Some(slo), vec![0.0; 3]), ("web", 0, None, vec![0.5])]
    {
        let class = ServiceClass { name: name.to_owned(), priority, slo };
        let client = Client { name: name.to_owned(), class, tenant: None };
        let trace = Trace::new(name, at.into_iter().map(arrival).collect());
        workload.add_trace(client, trace, Speed::default());
    }
    setup.models[0].workload = workload;
    run_to_end(setup)
}

#[test]
fn the_urgent_class_is_served_first() {
    let scheduled = |recording: &Recording| -> Vec<_> {
        recording.requests.iter().map(|request| request.scheduled.unwrap().as_seconds()).collect()
    };
    // The request in a hurry arrived last.
    assert_eq!(scheduled(&two_classes(SchedulingPolicy::Fcfs)), [0.0, 2.0, 4.0, 6.0]);
    assert_eq!(scheduled(&two_classes(SchedulingPolicy::Priority)), [0.0, 4.0, 6.0, 2.0]);
}

#[test]
fn a_class_is_held_to_its_own_targets() {
    let recording = two_classes(SchedulingPolicy::Fcfs);
    let model = &recording.models[0];
    let [batch, web] = &model.clients[..] else { panic!("{:?}", model.clients) };
    // The model allows 5 s until the first token, which the web client has after 6.5 s.
    assert_eq!((batch.tally.met, batch.tally.counts.arrived), (3, 3));
    assert_eq!((web.tally.met, web.tally.counts.arrived), (0, 1));
    assert_eq!((model.tally.met, model.tally.counts.arrived), (3, 4));
}
