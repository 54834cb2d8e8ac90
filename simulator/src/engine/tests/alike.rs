//! The engine that jumps and the one that walks do the same at the same time, whatever the workload.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::step_time::tests::plants;
use super::*;

/// The greatest length of a sequence in these tests.
const CONTEXT: u32 = 200;

/// Engine arguments from roomy to so tight that nearly every step preempts.
fn args() -> impl Strategy<Value = EngineArgs> {
    let sizes = (8..300_u32, 1..24_u32, 1..40_u32, 0..120_u32);
    let switches = (any::<bool>(), prop::bool::weighted(0.8), any::<bool>());
    let threshold = prop_oneof![2 => Just(0), 1 => 1..100_u32];
    let watermark = prop_oneof![2 => Just(0.0), 1 => 0.0..0.3];
    let limits = (
        prop_oneof![4 => Just(None), 1 => (1..30_u32).prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => (1..2_000_u64).prop_map(Some)],
    );
    (sizes, switches, threshold, watermark, limits).prop_map(
        |(
            (budget, seqs, block_size, spare),
            (async_, caching, ranked),
            threshold,
            mark,
            limits,
        )| {
            EngineArgs {
                max_num_batched_tokens: budget,
                max_num_seqs: seqs.min(budget),
                max_model_len: CONTEXT,
                block_size,
                num_gpu_blocks: 1 + CONTEXT.div_ceil(block_size) + spare,
                async_scheduling: async_,
                enable_prefix_caching: caching,
                scheduling_policy: if ranked {
                    SchedulingPolicy::Priority
                } else {
                    SchedulingPolicy::Fcfs
                },
                long_prefill_token_threshold: threshold,
                watermark: Fraction::new(mark),
                max_num_queued_reqs: limits.0,
                max_num_queued_tokens: limits.1,
            }
        },
    )
}

/// A request to come.
#[derive(Debug, Clone)]
struct Job {
    /// Nanoseconds after the arrival before it, or after the end of the request that it follows.
    gap: u64,
    /// The request whose conversation it goes on with.
    follows: Option<usize>,
    segments: Vec<Segment>,
    prompt_tokens: u32,
    output_tokens: u32,
    output: Option<TextId>,
    priority: i32,
    /// Nanoseconds after which the client goes away.
    patience: Option<u64>,
}

impl Job {
    fn request(&self, id: usize) -> Request {
        let id = RequestId(u32::try_from(id).unwrap());
        let content = Content::new(self.segments.iter().copied(), self.output);
        Request { id, priority: self.priority, content, ..self.plain(id) }
    }

    fn plain(&self, id: RequestId) -> Request {
        Request::new(id, self.prompt_tokens, self.output_tokens)
    }
}

/// Requests of which many begin alike, and some go on where others ended.
fn jobs(most: usize) -> impl Strategy<Value = Vec<Job>> {
    let texts = prop::collection::vec((0..5_u64, 1..60_u32), 0..4);
    let lengths = (0..80_u32, 1..120_u32);
    let follows = prop::option::weighted(0.3, any::<prop::sample::Index>());
    let others = (any::<bool>(), -1..2_i32, prop::option::weighted(0.15, 0..3_000_000_000_u64));
    let job = (0..400_000_u64, texts, lengths, follows, others);
    prop::collection::vec(job, 1..most).prop_map(|drafts| {
        let mut jobs: Vec<Job> = Vec::new();
        for (idx, (gap, texts, (own, output_tokens), follows, others)) in
            drafts.into_iter().enumerate()
        {
            let (named, priority, patience) = others;
            let follows = follows.filter(|_| idx > 0).map(|place| place.index(idx));
            let mut segments = Vec::new();
            if let Some(before) = follows.map(|place| &jobs[place]) {
                let length = before.prompt_tokens + before.output_tokens;
                if let Some(text) = before.output.filter(|_| length < CONTEXT - 20) {
                    segments.clone_from(&before.segments);
                    segments.push(Segment { text, tokens: before.output_tokens });
                }
            }
            for (text, tokens) in texts {
                segments.push(Segment { text: TextId(text), tokens });
            }
            let shared: u32 = segments.iter().map(|segment| segment.tokens).sum();
            // Every third prompt is named to its end, so that its output can be named, too.
            let own = if own % 3 == 0 { 0 } else { own };
            let prompt_tokens = (shared + own).clamp(1, CONTEXT - 10);
            jobs.push(Job {
                // Every third one comes together with the one before.
                gap: if gap % 3 == 0 { 0 } else { gap * 1_000 },
                follows,
                segments,
                prompt_tokens,
                output_tokens: output_tokens.min(CONTEXT - prompt_tokens),
                output: named.then(|| TextId(1000 + idx as u64)),
                priority,
                patience,
            });
        }
        jobs
    })
}

/// What happens at one time happens in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Leave(usize),
    Arrive(usize),
    Look,
}

/// What a server told, and what was seen of it.
#[derive(Debug, Default, PartialEq)]
struct Story {
    log: Log,
    refused: Vec<(usize, Rejection)>,
    counters: Counters,
    aborted: Vec<(usize, Option<Lost>)>,
    seen: Vec<(usize, usize, Fraction, Counters)>,
}

/// Serves `jobs`, looking at the server at each of `glances` as well.
fn tell(server: &mut impl ModelServer, jobs: &[Job], glances: &[u64]) -> Story {
    let mut story = Story::default();
    let mut acts: BTreeSet<(Timestamp, Act)> = BTreeSet::new();
    let mut now = 0;
    for (idx, job) in jobs.iter().enumerate().filter(|(_, job)| job.follows.is_none()) {
        now += job.gap;
        acts.insert((Timestamp::from_nanos(now), Act::Arrive(idx)));
    }
    for &glance in glances {
        acts.insert((Timestamp::from_nanos(glance), Act::Look));
    }
    let mut heard = 0;
    loop {
        let act = acts.first().copied();
        let event = server.next_event();
        let Some(now) = event.into_iter().chain(act.map(|(at, _)| at)).min() else { break };
        server.advance(now, &mut story.log);
        let mut ended: Vec<usize> = Vec::new();
        ended.extend(story.log.finished[heard..].iter().map(|&(id, ..)| id as usize));
        heard = story.log.finished.len();
        if let Some((at, act)) = act.filter(|&(at, _)| at <= now) {
            acts.remove(&(at, act));
            match act {
                Act::Arrive(idx) => {
                    match server.submit(jobs[idx].request(idx), now, &mut story.log) {
                        Ok(()) => {
                            if let Some(patience) = jobs[idx].patience {
                                let leaves = Timestamp::from_nanos(now.as_nanos() + patience);
                                acts.insert((leaves, Act::Leave(idx)));
                            }
                        }
                        Err(rejection) => {
                            story.refused.push((idx, rejection));
                            ended.push(idx);
                        }
                    }
                }
                Act::Leave(idx) => {
                    let lost = server.abort(RequestId(u32::try_from(idx).unwrap()));
                    ended.extend(lost.map(|_| idx));
                    story.aborted.push((idx, lost));
                }
                Act::Look => {
                    let (running, waiting) = (server.num_running(), server.num_waiting());
                    story.seen.push((running, waiting, server.kv_usage(), server.counters()));
                }
            }
        }
        for before in ended {
            for (idx, job) in jobs.iter().enumerate() {
                if job.follows == Some(before) {
                    let at = Timestamp::from_nanos(now.as_nanos() + job.gap);
                    acts.insert((at, Act::Arrive(idx)));
                }
            }
        }
    }
    assert!(server.is_idle());
    assert_eq!(server.kv_usage(), Fraction::ZERO);
    story.counters = server.counters();
    story
}

/// Checks that an engine counted what it told.
#[track_caller]
fn check_counters(counters: &Counters, log: &Log, jobs: &[Job], caches: bool) {
    let prompt = |id: u32| u64::from(jobs[id as usize].prompt_tokens);
    let gaps: u64 = log.gaps.values().sum();
    let outputs = log.finished.iter().map(|&(.., tokens)| u64::from(tokens));
    let ended = log.finished.iter().map(|&(id, ..)| prompt(id));
    assert_eq!(counters.completed, log.finished.len() as u64);
    assert_eq!(counters.completed_prompt_tokens, ended.sum::<u64>());
    assert_eq!(counters.completed_output_tokens, outputs.sum::<u64>());
    assert_eq!(counters.prompt_tokens, log.first.keys().map(|&id| prompt(id)).sum::<u64>());
    assert_eq!(counters.generation_tokens, log.first.len() as u64 + gaps);
    assert_eq!(counters.preemptions, log.preempted.len() as u64);
    let (queries, hits) = log.scheduled.iter().fold((0, 0), |(queries, hits), &(id, _, cached)| {
        (queries + prompt(id), hits + u64::from(cached))
    });
    let expected = if caches { (queries, hits) } else { (0, 0) };
    assert_eq!((counters.prefix_queries, counters.prefix_hits), expected);
    let timed = [counters.ttft, counters.itl, counters.queue_time, counters.prefill_time];
    let expected = [log.first.len() as u64, gaps, counters.completed, counters.completed];
    assert_eq!(timed.map(|sum| sum.count()), expected);
    assert!(counters.steps <= counters.generation_tokens);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn jumping_is_walking(
        args in args(),
        plant in plants(),
        jobs in jobs(60),
        glances in prop::collection::vec(0..20_000_000_000_u64, 0..20),
    ) {
        let jumped = tell(&mut Engine::new(config(args), plant.clone()), &jobs, &glances);
        let walked = tell(&mut Stepwise::new(config(args), plant), &jobs, &glances);
        prop_assert_eq!(&jumped, &walked);

        // Nothing is lost: every request is refused, given up, or ends once with its tokens, and
        // for each token after the first there is one gap.
        let Story { log, refused, aborted, counters, .. } = jumped;
        let mut ended: Vec<_> = refused.iter().map(|&(idx, _)| (idx, 0)).collect();
        let lost = aborted.iter().filter_map(|&(idx, lost)| Some((idx, lost?.output_tokens)));
        ended.extend(lost.clone());
        ended.extend(log.finished.iter().map(|&(id, _, tokens)| (id as usize, tokens)));
        ended.sort_unstable();
        let names: Vec<_> = ended.iter().map(|&(idx, _)| idx).collect();
        prop_assert_eq!(names, (0..jobs.len()).collect::<Vec<_>>());
        for &(id, _, tokens) in &log.finished {
            prop_assert_eq!(tokens, jobs[id as usize].output_tokens);
        }
        let gaps: u64 = log.gaps.values().sum();
        let expected = ended.iter().map(|&(_, tokens)| u64::from(tokens.saturating_sub(1)));
        prop_assert_eq!(gaps, expected.sum::<u64>());
        check_counters(&counters, &log, &jobs, args.enable_prefix_caching);
    }

    /// At whatever time they die, both engines lose the same requests, with the same tokens, and have
    /// counted the same.
    #[test]
    fn both_die_alike(
        args in args(),
        plant in plants(),
        jobs in jobs(40),
        death in 0..3_000_000_u64,
    ) {
        fn die(
            server: &mut impl ModelServer,
            jobs: &[Job],
            death: u64,
        ) -> (Vec<Lost>, Counters) {
            let mut log = Log::default();
            for (idx, job) in jobs.iter().enumerate().filter(|(_, job)| job.follows.is_none()) {
                server.advance(Timestamp::ZERO, &mut log);
                // Some of them may find the queue full.
                let _ = server.submit(job.request(idx), Timestamp::ZERO, &mut log);
            }
            server.advance(Timestamp::from_nanos(death * 1_000), &mut log);
            let lost = server.abort_all();
            (lost, server.counters())
        }
        prop_assert_eq!(
            die(&mut Engine::new(config(args), plant.clone()), &jobs, death),
            die(&mut Stepwise::new(config(args), plant), &jobs, death)
        );
    }
}
