//! Sessions against a server that answers after a second.

use super::super::Turns;
use super::*;
use crate::workload::{ArrivalProcess, Workload};
use crate::workload::{Client, Length, Lengths, Pace, Pattern, RateProfile, SharedText, ThinkTime};
use optimizer::units::RequestRate;

fn tokens(count: u64) -> Length {
    Length::Constant(Tokens::new(count))
}

/// Sessions of three turns, of 10 new tokens and 20 answered, after 100 that all have in common.
fn pattern(pace: Pace) -> Pattern {
    Pattern {
        pace,
        lengths: Lengths { prompt: tokens(10), output: tokens(20) }.into(),
        shared: vec![SharedText { tokens: tokens(100), texts: 1, per_prompt: 1, zipf: 0.0 }],
        session: Some(SessionShape {
            turns: Turns::Constant(3),
            think: ThinkTime::Constant(Seconds::new(5.0)),
            first_prompt: Some(tokens(40)),
            history: true,
        }),
        fit_context: true,
    }
}

fn open(rate: f64) -> Pace {
    let process = ArrivalProcess::Poisson { rate: RequestRate::new(rate) };
    Pace::Open { process, profile: RateProfile::default() }
}

fn closed(count: u32) -> Pace {
    let pause = ThinkTime::Constant(Seconds::new(2.0));
    Pace::Closed(Users { count, pause, ramp_up: Seconds::new(10.0) })
}

fn workload(pattern: &Pattern, seconds: f64) -> Workload {
    let mut workload = Workload::default();
    let until = Timestamp::from_seconds(seconds);
    workload.add_generated(Client::default(), pattern, until, Streams::new(1), "test");
    workload
}

/// What is sent, and by which session, when every answer takes a second and `refuses` says who gets
/// none.
fn run(mut workload: Workload, refuses: impl Fn(u64) -> bool) -> Vec<(u64, Arrival)> {
    let mut answers = BTreeSet::new();
    let mut sent = Vec::new();
    loop {
        let next = workload.next_at();
        let answered = answers.first().is_some_and(|&(at, _)| next.is_none_or(|next| at <= next));
        if answered {
            let (at, origin) = answers.pop_first().unwrap();
            workload.ended(origin, at, true);
        } else if let Some((arrival, origin)) = workload.pop() {
            let session = origin.session.unwrap();
            if refuses(session) {
                workload.ended(origin, arrival.at, false);
            } else {
                answers.insert((arrival.at + Seconds::new(1.0), origin));
            }
            sent.push((session, arrival));
        } else {
            return sent;
        }
    }
}

fn of(sent: &[(u64, Arrival)], session: u64) -> Vec<&Arrival> {
    sent.iter().filter(|(number, _)| *number == session).map(|(_, arrival)| arrival).collect()
}

#[test]
fn a_prompt_is_the_last_one_its_answer_and_new_text() {
    let sent = run(workload(&pattern(open(0.1)), 1000.0), |_| false);
    let turns = of(&sent, 0);
    let prompts: Vec<_> = turns.iter().map(|turn| turn.prompt.get()).collect();
    assert_eq!(prompts, [140, 140 + 20 + 10, 140 + 2 * 30]);
    for pair in turns.windows(2) {
        assert_eq!(pair[1].at, pair[0].at + Seconds::new(6.0));
        let (before, after) = (pair[0].content.segments(), pair[1].content.segments());
        assert_eq!(before, &after[..before.len()]);
        assert_eq!(Some(after[before.len()].text), pair[0].content.output());
    }
    // Nobody will read the last answer again.
    assert_eq!(turns[2].content.output(), None);
    // Another session shares what all share, and nothing else.
    let other = of(&sent, 1)[0].content.segments();
    assert_eq!(other[0], turns[0].content.segments()[0]);
    assert_ne!(other[1].text, turns[0].content.segments()[1].text);
}

#[test]
fn sessions_begin_at_their_rate_and_end_in_time() {
    let sent = run(workload(&pattern(open(2.0)), 1000.0), |_| false);
    assert!(sent.is_sorted_by_key(|(_, arrival)| arrival.at));
    assert!(sent.last().unwrap().1.at < Timestamp::from_seconds(1000.0));
    // Three turns each, less those that the end cuts off.
    assert!((5700..6250).contains(&sent.len()), "{}", sent.len());
}

#[test]
fn a_slow_server_does_not_change_what_is_said() {
    let mut pattern = pattern(open(0.5));
    let spread = |min, max| Length::Uniform { min: Tokens::new(min), max: Tokens::new(max) };
    pattern.lengths = Lengths { prompt: spread(1, 100), output: spread(1, 100) }.into();
    let said = |refuses: fn(u64) -> bool| {
        let sent = run(workload(&pattern, 400.0), refuses);
        of(&sent, 7).iter().map(|turn| (turn.prompt, turn.output)).collect::<Vec<_>>()
    };
    // That others are refused changes the order of events.
    assert_eq!(said(|_| false), said(|number| number % 2 == 0));
}

#[test]
fn whoever_is_refused_goes_away() {
    let sent = run(workload(&pattern(open(0.5)), 400.0), |number| number == 3);
    assert_eq!((of(&sent, 3).len(), of(&sent, 4).len()), (1, 3));
}

#[test]
fn users_wait_for_their_answers() {
    let sent = run(workload(&pattern(closed(5)), 1000.0), |_| false);
    // They come one after the other, two seconds apart.
    let first: Vec<_> = sent.iter().take(3).map(|(_, arrival)| arrival.at.as_seconds()).collect();
    assert_eq!(first, [0.0, 2.0, 4.0]);
    // A session takes 1 + 5 + 1 + 5 + 1 seconds, and two until the next.
    let expected = 5 * 3 * 1000 / 15;
    assert!(sent.len().abs_diff(expected) < 20, "{} is not {expected}", sent.len());
    // Never more than five at once.
    for window in sent.windows(6) {
        assert!(window[5].1.at.since(window[0].1.at) >= Seconds::new(1.0));
    }
}

/// Without the least retreat, this would not end.
#[test]
fn users_who_are_refused_come_back_later() {
    let mut pattern = pattern(closed(2));
    pattern.pace =
        Pace::Closed(Users { count: 2, pause: ThinkTime::default(), ramp_up: Seconds::ZERO });
    let sent = run(workload(&pattern, 100.0), |_| true);
    assert_eq!(sent.len(), 200);
}

#[test]
fn a_session_ends_before_it_outgrows_the_context() {
    let mut pattern = pattern(open(0.1));
    pattern.session.as_mut().unwrap().turns = Turns::Constant(1000);
    let mut workload = workload(&pattern, 10_000.0);
    workload.limit_context(Tokens::new(300));
    let sent = run(workload, |_| false);
    // 140 + 20, and 30 for every further turn, come to 280 with the fifth.
    assert_eq!(of(&sent, 0).len(), 5);
    assert!(sent.iter().all(|(_, turn)| turn.prompt + turn.output <= Tokens::new(300)));
}

#[test]
fn without_history_only_what_is_shared_comes_back() {
    let mut pattern = pattern(open(0.1));
    pattern.session.as_mut().unwrap().history = false;
    let sent = run(workload(&pattern, 1000.0), |_| false);
    let prompts: Vec<_> = of(&sent, 0).iter().map(|turn| turn.prompt.get()).collect();
    assert_eq!(prompts, [140, 110, 110]);
    assert!(of(&sent, 0).iter().all(|turn| turn.content.output().is_none()));
}

#[test]
fn what_does_not_fit_is_cut() {
    for (prompt, output, room, expected) in [
        (10, 20, 100, (10, 20)),
        (10, 95, 100, (10, 90)),
        (100, 20, 100, (99, 1)),
        (500, 20, 100, (99, 1)),
        (5, 5, 0, (1, 1)),
    ] {
        assert_eq!(cut(prompt, output, room), expected, "{prompt} {output} {room}");
    }
}
