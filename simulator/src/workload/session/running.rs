//! Sessions that are under way.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use optimizer::units::{Seconds, Timestamp, Tokens};

use super::{SessionShape, Users};
use crate::engine::{Content, Segment, TextId};
use crate::kernel::{Stream, Streams};
use crate::workload::length::{LengthChance, LengthDraw};
use crate::workload::shared_text::{SharedTexts, TextNames, tokens_u32};
use crate::workload::{Arrival, ArrivalTimes};

/// How long whoever was refused stays away at least. Without it, users who do not think would be
/// refused again and again at the same instant.
const LEAST_RETREAT: Seconds = Seconds::new(1.0);

/// The sessions of one client. Only those that are under way are remembered.
#[derive(Debug, Clone)]
pub(in crate::workload) struct Sessions {
    shape: SessionShape,
    lengths: LengthDraw,
    shared: SharedTexts,
    names: TextNames,
    source: Source,
    streams: Streams,
    until: Timestamp,
    /// Tokens that prompt and output may have together.
    context: u32,
    live: BTreeMap<u64, Session>,
    /// The sessions whose next turn waits for its time.
    waiting: BTreeSet<(Timestamp, u64)>,
    /// Sessions that ever began, or will begin at a known time.
    begun: u64,
    /// Names that were given out.
    texts: u64,
}

/// Who begins sessions.
#[derive(Debug, Clone)]
pub(in crate::workload) enum Source {
    /// Sessions begin at these times.
    Open { starts: Box<Peekable<ArrivalTimes>>, name: String },
    /// Each of the users begins one when the last is over.
    Closed(Users),
}

/// One session.
#[derive(Debug, Clone)]
struct Session {
    chance: Chance,
    /// What every prompt begins with.
    shared: Vec<Segment>,
    /// What was said.
    said: Vec<Segment>,
    /// The turn that is sent or waits; none before the first.
    turn: Option<Turn>,
}

/// The chance of one session, or of all sessions of one user.
#[derive(Debug, Clone)]
struct Chance {
    lengths: LengthChance,
    turns: Stream,
    times: Stream,
    shared: Stream,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    /// New tokens of the prompt.
    prompt: u32,
    output: u32,
    /// Turns that follow.
    left: u32,
    /// The names of both, once it is sent.
    texts: Option<(TextId, TextId)>,
}

impl Sessions {
    /// Sessions that begin before `until`; `name` begins the names of their streams.
    pub(in crate::workload) fn new(
        shape: SessionShape,
        lengths: LengthDraw,
        (shared, names): (SharedTexts, TextNames),
        source: Source,
        until: Timestamp,
        (streams, name): (Streams, &str),
    ) -> Self {
        let mut sessions = Self {
            shape,
            lengths,
            shared,
            names,
            source,
            streams,
            until,
            context: u32::MAX,
            live: BTreeMap::new(),
            waiting: BTreeSet::new(),
            begun: 0,
            texts: 0,
        };
        if let Source::Closed(Users { count, ramp_up, .. }) = sessions.source {
            for user in 0..count {
                let begin = ramp_up * (f64::from(user) / f64::from(count));
                let chance = Chance::new(streams, &format!("{name}/user/{user}"));
                sessions.begin_later(chance, Timestamp::ZERO + begin);
            }
        }
        sessions
    }

    /// No prompt and output may have more tokens together.
    pub(in crate::workload) fn limit_context(&mut self, context: Tokens) {
        self.context = tokens_u32(context);
    }

    /// When the next turn is sent, as far as is known now.
    pub(in crate::workload) fn next_at(&mut self) -> Option<Timestamp> {
        let waiting = self.waiting.first().map(|&(at, _)| at);
        [waiting, self.next_start()].into_iter().flatten().min()
    }

    /// Sends the next turn, and names its session.
    pub(in crate::workload) fn pop(&mut self) -> Option<(Arrival, u64)> {
        let start = self.next_start();
        let waits =
            self.waiting.first().is_some_and(|&(at, _)| start.is_none_or(|start| at <= start));
        let (at, number) = if waits { self.waiting.pop_first()? } else { self.start()? };
        Some((self.send(at, number)?, number))
    }

    /// Notes that the turn of a session has its answer, or that it will never have one.
    pub(in crate::workload) fn ended(&mut self, number: u64, at: Timestamp, completed: bool) {
        let Some(session) = self.live.get_mut(&number) else { return };
        let follows = completed && session.turn.is_some_and(|turn| turn.left > 0);
        if follows && session.go_on(&self.shape, &self.lengths, self.context) {
            let due = at + self.shape.think.sample(&mut session.chance.times);
            if due < self.until {
                self.waiting.insert((due, number));
                return;
            }
        }
        let Some(mut session) = self.live.remove(&number) else { return };
        if let Source::Closed(users) = &self.source {
            let pause = users.pause.sample(&mut session.chance.times);
            let pause = if completed { pause } else { pause.max(LEAST_RETREAT) };
            self.begin_later(session.chance, at + pause);
        }
    }

    fn next_start(&mut self) -> Option<Timestamp> {
        match &mut self.source {
            Source::Open { starts, .. } => starts.peek().copied(),
            Source::Closed(_) => None,
        }
    }

    /// Begins a session that nothing has brought about.
    fn start(&mut self) -> Option<(Timestamp, u64)> {
        let Source::Open { starts, name } = &mut self.source else { return None };
        let at = starts.next()?;
        let number = self.begun;
        self.begun += 1;
        let chance = Chance::new(self.streams, &format!("{name}/session/{number}"));
        self.live.insert(number, Session::new(chance));
        Some((at, number))
    }

    /// Has a session begin at a time, unless that is too late.
    fn begin_later(&mut self, chance: Chance, at: Timestamp) {
        if at < self.until {
            self.live.insert(self.begun, Session::new(chance));
            self.waiting.insert((at, self.begun));
            self.begun += 1;
        }
    }

    fn send(&mut self, at: Timestamp, number: u64) -> Option<Arrival> {
        let session = self.live.get_mut(&number)?;
        let turn = match session.turn {
            Some(turn) => turn,
            None => session.first_turn(&self.shape, &self.lengths, &self.shared, self.context),
        };
        let (text, output) = (self.names.own(self.texts), self.names.own(self.texts + 1));
        self.texts += 2;
        session.turn = Some(Turn { texts: Some((text, output)), ..turn });
        let prompt = Segment { text, tokens: turn.prompt };
        let known = session.shared.iter().chain(&session.said).copied();
        let segments: Vec<_> = known.chain([prompt]).collect();
        let continues = turn.left > 0 && self.shape.history;
        Some(Arrival {
            at,
            prompt: Tokens::new(total(&segments).into()),
            output: Tokens::new(turn.output.into()),
            content: Content::new(segments, continues.then_some(output)),
        })
    }
}

impl Session {
    fn new(chance: Chance) -> Self {
        Self { chance, shared: Vec::new(), said: Vec::new(), turn: None }
    }

    /// Draws the first turn. One that does not fit is cut, as far as it can be.
    fn first_turn(
        &mut self,
        shape: &SessionShape,
        lengths: &LengthDraw,
        shared: &SharedTexts,
        context: u32,
    ) -> Turn {
        self.shared = shared.draw(&mut self.chance.shared);
        let (prompt, output) = lengths.draw(&mut self.chance.lengths);
        let first = shape.first_prompt.as_ref();
        let prompt = first.map_or(prompt, |first| first.sample(&mut self.chance.lengths.prompt));
        let room = context.saturating_sub(total(&self.shared));
        let (prompt, output) = cut(tokens_u32(prompt), tokens_u32(output), room);
        let left = shape.turns.sample(&mut self.chance.turns).saturating_sub(1);
        Turn { prompt, output, left, texts: None }
    }

    /// Draws the turn after one that was answered; false when it does not fit.
    fn go_on(&mut self, shape: &SessionShape, lengths: &LengthDraw, context: u32) -> bool {
        let Some(Turn { prompt, output, left, texts: Some((text, answer)) }) = self.turn else {
            return false;
        };
        if shape.history {
            let turn = [Segment { text, tokens: prompt }, Segment { text: answer, tokens: output }];
            self.said.extend(turn);
        }
        let (prompt, output) = lengths.draw(&mut self.chance.lengths);
        let (prompt, output) = (tokens_u32(prompt), tokens_u32(output));
        self.turn = Some(Turn { prompt, output, left: left - 1, texts: None });
        let known = total(&self.shared).saturating_add(total(&self.said));
        known.saturating_add(prompt).saturating_add(output) <= context
    }
}

impl Chance {
    fn new(streams: Streams, name: &str) -> Self {
        let stream = |purpose: &str| streams.stream(&format!("{name}/{purpose}"));
        Self {
            lengths: LengthChance::new(streams, name),
            turns: stream("turns"),
            times: stream("times"),
            shared: stream("shared"),
        }
    }
}

/// Prompt and output, cut to fit into `room` tokens: first the prompt, which keeps room for one
/// token of output, then the output. Neither gets shorter than one token.
pub(in crate::workload) fn cut(prompt: u32, output: u32, room: u32) -> (u32, u32) {
    let prompt = prompt.min(room.saturating_sub(1)).max(1);
    (prompt, output.min(room.saturating_sub(prompt)).max(1))
}

fn total(segments: &[Segment]) -> u32 {
    segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.tokens))
}

#[cfg(test)]
mod tests;
