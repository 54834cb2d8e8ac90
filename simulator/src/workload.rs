//! The requests that arrive: drawn from distributions, or replayed from a recording.
//!
//! A [`Workload`] is what the clients of one model send, in the order of time. A client replays a
//! recording, or follows a [`Pattern`]: single requests at random times, sessions of several turns,
//! or users who wait for their answers. The last two have to be told of every request that
//! [ended](Workload::ended).
//!
//! Every client has its own chance, named after it, so that a client more or less leaves the others
//! as they are. Within one, arrival times, a varying rate, prompt lengths and output lengths come
//! from a stream each, so a scenario that changes one of the four keeps the other three. A session
//! has streams of its own.
//!
//! Requests are made one by one as time proceeds; what is remembered is in flight, or a session
//! between two turns.

mod arrivals;
mod client;
mod length;
mod normal;
mod problem;
mod session;
pub mod shared_prefix;
mod shared_text;
pub mod stats;
pub mod synthesis;
mod think_time;
pub mod trace;

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use optimizer::units::{RequestRate, Timestamp, Tokens};

pub use arrivals::{ArrivalProcess, ArrivalTimes, RateFactor, RateProfile, RateState, RateStep};
pub use client::{Client, Origin, Pace, Pattern, ServiceClass};
pub use length::{
    JointLengths, Length, LengthCell, Lengths, ParsePercentileError, Percentile, QuantileTable,
};
pub use problem::WorkloadProblem;
pub use session::{SessionShape, Turns, Users};
pub use shared_text::SharedText;
pub use think_time::{ThinkTime, ThinkTimePart};

use crate::engine::{Content, Segment};
use crate::kernel::{Stream, Streams};
use length::{LengthChance, LengthDraw};
use session::Sessions;
use shared_text::{SharedTexts, TextNames, tokens_u32};
use trace::{Replay, Speed, Trace};

/// A request as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrives.
    pub at: Timestamp,
    /// The length of its prompt, at least one token.
    pub prompt: Tokens,
    /// The number of tokens that it will generate, at least one. No server knows this in advance.
    pub output: Tokens,
    /// What its text has in common with the text of others.
    pub content: Content,
}

/// The requests of one model, in the order of their arrival.
///
/// As an iterator it yields what arrives while no request ends: sessions do not get beyond their
/// first turn.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    clients: Vec<Client>,
    sources: Vec<Source>,
    /// When each client sends its next request, as far as is known.
    due: BTreeSet<(Timestamp, u32)>,
}

impl Workload {
    /// Requests of an arrival process, with these lengths, before `until`, from a single client.
    ///
    /// `name` sets this source's streams apart from those of other sources, as in `"chat/llama"`.
    ///
    /// # Panics
    ///
    /// When the process is not valid, as [`ArrivalProcess::validate`] says. The lengths must be
    /// valid as well, or drawing them may panic.
    #[must_use]
    pub fn drawn(
        process: &ArrivalProcess,
        lengths: impl Into<JointLengths>,
        until: Timestamp,
        streams: Streams,
        name: &str,
    ) -> Self {
        let pace = Pace::Open { process: process.clone(), profile: RateProfile::default() };
        let pattern = Pattern {
            pace,
            lengths: lengths.into(),
            shared: Vec::new(),
            session: None,
            fit_context: false,
        };
        let mut workload = Self::default();
        workload.add_generated(Client::default(), &pattern, until, streams, name);
        workload
    }

    /// [`Self::drawn`] with Poisson arrivals, which are always valid.
    #[must_use]
    pub fn poisson(
        rate: RequestRate,
        lengths: impl Into<JointLengths>,
        until: Timestamp,
        streams: Streams,
        name: &str,
    ) -> Self {
        Self::drawn(&ArrivalProcess::Poisson { rate }, lengths, until, streams, name)
    }

    /// The requests of a recording, `speed` times as fast as they were recorded, from a single
    /// client.
    #[must_use]
    pub fn trace(trace: impl Into<Arc<Trace>>, speed: Speed) -> Self {
        let mut workload = Self::default();
        workload.add_trace(Client::default(), trace, speed);
        workload
    }

    /// Adds a client that follows a pattern until a time. `name` begins the names of its streams
    /// and must be its own.
    ///
    /// # Panics
    ///
    /// When a part of the pattern is not valid.
    pub fn add_generated(
        &mut self,
        client: Client,
        pattern: &Pattern,
        until: Timestamp,
        streams: Streams,
        name: &str,
    ) {
        let names = TextNames::of_client(self.clients.len());
        let shared = SharedTexts::new(&pattern.shared, streams, name, names);
        let lengths = LengthDraw::new(pattern.lengths.clone());
        let times = |process, profile| {
            ArrivalTimes::shaped(process, profile, until, streams, name).peekable()
        };
        let sessions = |source| {
            let shape = pattern.session.clone().unwrap_or(SessionShape::SINGLE);
            let sessions = Sessions::new(
                shape,
                lengths.clone(),
                (shared.clone(), names),
                source,
                until,
                (streams, name),
            );
            Source::Sessions(Box::new(sessions))
        };
        let source = match (&pattern.pace, &pattern.session) {
            (Pace::Closed(users), _) => sessions(session::Source::Closed(users.clone())),
            (Pace::Open { process, profile }, Some(_)) => {
                let starts = Box::new(times(process, profile));
                sessions(session::Source::Open { starts, name: name.to_owned() })
            }
            (Pace::Open { process, profile }, None) => Source::Single(Box::new(Single {
                times: times(process, profile),
                lengths,
                chance: LengthChance::new(streams, name),
                shared_chance: streams.stream(&format!("{name}/shared")),
                shared,
                fits: pattern.fit_context,
                context: u32::MAX,
            })),
        };
        self.add(client, source);
    }

    /// Adds a client that replays a recording.
    pub fn add_trace(&mut self, client: Client, trace: impl Into<Arc<Trace>>, speed: Speed) {
        let names = TextNames::of_client(self.clients.len());
        let replay = Replay::new(trace.into(), speed).peekable();
        self.add(client, Source::Replayed { replay, names });
    }

    fn add(&mut self, client: Client, mut source: Source) {
        let idx = u32::try_from(self.clients.len()).expect("fewer than 2^32 clients");
        self.due.extend(source.next_at().map(|at| (at, idx)));
        self.clients.push(client);
        self.sources.push(source);
    }

    /// Those who send requests.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Prompt and output of what is generated from now on have no more tokens together: those of
    /// clients that [fit the context](Pattern::fit_context) are cut, the output last, and sessions
    /// end before. Other requests stay as they are, and servers refuse what does not fit.
    pub fn limit_context(&mut self, context: Tokens) {
        for source in &mut self.sources {
            match source {
                Source::Single(single) if single.fits => single.context = tokens_u32(context),
                Source::Sessions(sessions) => sessions.limit_context(context),
                Source::Single(_) | Source::Replayed { .. } => {}
            }
        }
    }

    /// When the next request arrives, as far as is known now: one that ends may bring about an
    /// earlier one.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes the next request.
    pub fn pop(&mut self) -> Option<(Arrival, Origin)> {
        let (_, client) = self.due.pop_first()?;
        let source = &mut self.sources[client as usize];
        let (arrival, session) = source.pop()?;
        self.due.extend(source.next_at().map(|at| (at, client)));
        Some((arrival, Origin { client, session }))
    }

    /// Notes that a request ended: that it has its answer, or that it will never have one. Those
    /// without a session may be left out.
    pub fn ended(&mut self, origin: Origin, at: Timestamp, completed: bool) {
        let Origin { client, session: Some(session) } = origin else { return };
        let Source::Sessions(sessions) = &mut self.sources[client as usize] else { return };
        let before = sessions.next_at();
        sessions.ended(session, at, completed);
        let after = sessions.next_at();
        if after != before {
            before.map(|at| self.due.remove(&(at, client)));
            self.due.extend(after.map(|at| (at, client)));
        }
    }
}

impl Iterator for Workload {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.pop().map(|(arrival, _)| arrival)
    }
}

/// What a client does. Boxed, because chance takes much room.
#[derive(Debug, Clone)]
enum Source {
    Single(Box<Single>),
    Sessions(Box<Sessions>),
    Replayed { replay: Peekable<Replay>, names: TextNames },
}

impl Source {
    fn next_at(&mut self) -> Option<Timestamp> {
        match self {
            Self::Single(single) => single.times.peek().copied(),
            Self::Sessions(sessions) => sessions.next_at(),
            Self::Replayed { replay, .. } => replay.peek().map(|arrival| arrival.at),
        }
    }

    /// The next request, and its session.
    fn pop(&mut self) -> Option<(Arrival, Option<u64>)> {
        match self {
            Self::Single(single) => single.pop().map(|arrival| (arrival, None)),
            Self::Sessions(sessions) => {
                sessions.pop().map(|(arrival, session)| (arrival, Some(session)))
            }
            Self::Replayed { replay, names } => {
                let arrival = replay.next()?;
                let content = renamed(arrival.content, *names);
                Some((Arrival { content, ..arrival }, None))
            }
        }
    }
}

/// Requests that have nothing to do with each other, except for what they begin with.
#[derive(Debug, Clone)]
struct Single {
    times: Peekable<ArrivalTimes>,
    lengths: LengthDraw,
    chance: LengthChance,
    shared: SharedTexts,
    shared_chance: Stream,
    /// Whether requests keep to the context.
    fits: bool,
    context: u32,
}

impl Single {
    fn pop(&mut self) -> Option<Arrival> {
        let at = self.times.next()?;
        let (prompt, output) = self.lengths.draw(&mut self.chance);
        let shared = self.shared.draw(&mut self.shared_chance);
        let before = shared.iter().fold(0, |sum: u32, text| sum.saturating_add(text.tokens));
        let room = self.context.saturating_sub(before);
        let (prompt, output) = session::cut(tokens_u32(prompt), tokens_u32(output), room);
        Some(Arrival {
            at,
            prompt: Tokens::new(before.saturating_add(prompt).into()),
            output: Tokens::new(output.into()),
            content: Content::new(shared, None),
        })
    }
}

/// The same content under the names of a client. Those of the first are the recorded ones.
fn renamed(content: Content, names: TextNames) -> Content {
    if names == TextNames::of_client(0) || content.segments().is_empty() {
        return content;
    }
    let rename = |segment: &Segment| Segment { text: names.recorded(segment.text), ..*segment };
    let output = content.output().map(|output| names.recorded(output));
    Content::new(content.segments().iter().map(rename).collect::<Vec<_>>(), output)
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::*;

    const HUNDRED: Length = Length::Constant(Tokens::new(100));

    fn requests(prompt: Length, output: Length, seed: u64, name: &str) -> Vec<Arrival> {
        let rate = RequestRate::new(10.0);
        let until = Timestamp::ZERO + Seconds::new(100.0);
        let lengths = Lengths { prompt, output };
        Workload::poisson(rate, lengths, until, Streams::new(seed), name).collect()
    }

    #[test]
    fn arrivals_come_in_order_and_end_in_time() {
        let requests = requests(HUNDRED, HUNDRED, 1, "chat");
        assert!(requests.is_sorted_by_key(|request| request.at));
        assert!(requests.last().is_some_and(|last| last.at < Timestamp::from_seconds(100.0)));
        assert!((900..1100).contains(&requests.len()), "{}", requests.len());
    }

    #[test]
    fn a_workload_is_a_function_of_seed_and_name() {
        let of = |seed, name| requests(HUNDRED, HUNDRED, seed, name);
        assert_eq!(of(1, "chat"), of(1, "chat"));
        assert_ne!(of(1, "chat"), of(2, "chat"));
        assert_ne!(of(1, "chat"), of(1, "code"));
    }

    #[test]
    fn other_prompts_leave_times_and_outputs_alone() {
        let geometric = || Length::Geometric { mean: Tokens::new(200) };
        let rest = |requests: Vec<Arrival>| -> Vec<_> {
            requests.into_iter().map(|request| (request.at, request.output)).collect()
        };
        let constant_prompts = requests(HUNDRED, geometric(), 1, "chat");
        let drawn_prompts = requests(geometric(), geometric(), 1, "chat");
        assert_ne!(constant_prompts, drawn_prompts);
        assert_eq!(rest(constant_prompts), rest(drawn_prompts));
    }

    fn pattern(rate: f64) -> Pattern {
        let process = ArrivalProcess::Poisson { rate: RequestRate::new(rate) };
        Pattern {
            pace: Pace::Open { process, profile: RateProfile::default() },
            lengths: Lengths { prompt: HUNDRED, output: HUNDRED }.into(),
            shared: Vec::new(),
            session: None,
            fit_context: true,
        }
    }

    /// Requests of clients with these names and rates, by the position of their client.
    fn of_clients(clients: &[(&str, f64)]) -> Vec<(u32, Arrival)> {
        let mut workload = Workload::default();
        let until = Timestamp::from_seconds(100.0);
        for &(name, rate) in clients {
            let client = Client { name: name.to_owned(), ..Client::default() };
            workload.add_generated(client, &pattern(rate), until, Streams::new(1), name);
        }
        std::iter::from_fn(|| workload.pop().map(|(arrival, origin)| (origin.client, arrival)))
            .collect()
    }

    #[test]
    fn clients_take_turns_and_leave_each_other_alone() {
        let both = of_clients(&[("chat", 3.0), ("batch", 7.0)]);
        assert!(both.is_sorted_by_key(|(_, arrival)| arrival.at));
        let only = |idx| -> Vec<_> {
            both.iter().filter(|(client, _)| *client == idx).map(|(_, arrival)| arrival).collect()
        };
        assert!((230..370).contains(&only(0).len()) && (600..800).contains(&only(1).len()));
        let alone = of_clients(&[("batch", 7.0)]);
        assert!(alone.iter().map(|(_, arrival)| arrival).eq(only(1)));
    }

    #[test]
    fn recordings_of_two_clients_have_nothing_in_common() {
        let segment = Segment { text: crate::engine::TextId(7), tokens: 64 };
        let arrival = Arrival {
            at: Timestamp::ZERO,
            prompt: Tokens::new(100),
            output: Tokens::new(1),
            content: Content::new([segment], None),
        };
        let mut workload = Workload::default();
        let trace = Arc::new(Trace::new("recorded", vec![arrival.clone()]));
        workload.add_trace(Client::default(), Arc::clone(&trace), Speed::default());
        workload.add_trace(Client::default(), trace, Speed::default());
        let contents: Vec<_> = workload.map(|arrival| arrival.content).collect();
        assert_eq!(contents[0], arrival.content);
        assert_ne!(contents[1].segments()[0].text, segment.text);
        assert_eq!(contents[1].segments()[0].tokens, 64);
    }

    #[test]
    fn what_is_shared_comes_first_and_the_context_bounds_it_all() {
        let mut pattern = pattern(10.0);
        let tokens = Length::Uniform { min: Tokens::new(50), max: Tokens::new(60) };
        pattern.shared = vec![SharedText { tokens, texts: 9, per_prompt: 2, zipf: 0.5 }];
        let mut workload = Workload::default();
        let until = Timestamp::from_seconds(100.0);
        workload.add_generated(Client::default(), &pattern, until, Streams::new(1), "rag");
        workload.limit_context(Tokens::new(250));
        for Arrival { prompt, output, content, .. } in workload {
            let shared: u32 = content.segments().iter().map(|text| text.tokens).sum();
            assert_eq!(prompt.get(), u64::from(shared) + 100);
            assert_eq!((prompt + output).get(), 250.min(u64::from(shared) + 200));
        }
    }
}
