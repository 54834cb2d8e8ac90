//! llm-inferno's greedy solver, with its ways to go on when the pools are too small.
//!
//! It is here to be compared with: on llm-inferno's own sample data it costs up to 11 % more than
//! the cheapest allocation, and once it strands a server that could have been placed. Each server
//! takes one candidate whole. Those of the highest priority choose first, and among them those that
//! would regret it most to get their next best instead.
//!
//! The original (2025-09) lets a server that takes turns go on as long as the pool does. Here it
//! stops at the replicas that it wants, so no reasoning about pools is needed to see that it does.

use crate::units::{Fraction, Gpus, HourlyCost, Replicas};

use super::problem::{Budget, PoolIdx};

/// A server: one model in one service class.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// 1 is the highest.
    pub priority: u32,
    /// Ways to serve all of its load, in any order. Of equally good ones the first is preferred.
    pub candidates: Vec<Candidate>,
}

/// One accelerator for a server, with the replicas that its load takes there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Replicas.
    pub replicas: Replicas,
    /// What is minimized; see [`transition_value`].
    pub value: f64,
    /// GPUs of one replica.
    pub gpus: Gpus,
    /// Where they are drawn from. A pool that does not exist is empty.
    pub pool: PoolIdx,
}

/// What a server gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// An index into [`Server::candidates`].
    pub candidate: usize,
    /// Replicas: all that the candidate has, or fewer where best effort gave them.
    pub replicas: Replicas,
}

/// What servers get for which no candidate fits whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BestEffort {
    /// How it is shared.
    pub policy: SaturationPolicy,
    /// Whether all priorities choose before any server is helped; else those of one priority are
    /// helped before the next chooses.
    pub delayed: bool,
}

/// How replicas are shared among servers for which no candidate fits whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SaturationPolicy {
    /// Not at all.
    #[default]
    None,
    /// One server after the other takes as many as there are, the highest priority first.
    PriorityExhaustive,
    /// In turns, those of the highest priority first.
    PriorityRoundRobin,
    /// In turns.
    RoundRobin,
}

/// What it is worth to avoid a move from one allocation, an accelerator with what it costs per hour,
/// to another: the difference of the costs, and a share of both when the accelerator changes.
/// llm-inferno takes a share of 0.1.
#[must_use]
pub fn transition_value(
    current: Option<(usize, HourlyCost)>,
    next: (usize, HourlyCost),
    share: Fraction,
) -> f64 {
    let (old, new) = (current.map_or(0.0, |(_, cost)| cost.value()), next.1.value());
    let switches = current.is_none_or(|(accelerator, _)| accelerator != next.0);
    new - old + if switches { share.value() * (old + new) } else { 0.0 }
}

/// Shares out the pools. `None` for a server that gets nothing.
#[must_use]
pub fn allocate(
    servers: &[Server],
    pools: &[Budget],
    best_effort: BestEffort,
) -> Vec<Option<Choice>> {
    let mut round = Round {
        servers,
        room: pools.iter().map(|pool| pool.0.get()).collect(),
        choices: vec![None; servers.len()],
    };
    let mut entries: Vec<Entry> = (0..servers.len())
        .filter(|&server| !servers[server].candidates.is_empty())
        .map(|server| Entry::new(servers, server))
        .collect();
    entries.sort_by(Entry::order);
    if best_effort.delayed {
        let stranded = round.choose(entries);
        round.help(&stranded, best_effort.policy);
    } else {
        for same in entries.chunk_by(|a, b| a.priority == b.priority) {
            let stranded = round.choose(same.to_vec());
            round.help(&stranded, best_effort.policy);
        }
    }
    round.choices
}

/// A server that has not chosen yet.
#[derive(Debug, Clone)]
struct Entry {
    server: usize,
    priority: u32,
    /// Its candidates, the best first.
    ranking: Vec<usize>,
    /// How many of these did not fit.
    tried: usize,
    /// What the next candidate would cost more, and what this one costs.
    regret: f64,
    value: f64,
}

impl Entry {
    fn new(servers: &[Server], server: usize) -> Self {
        let Server { priority, candidates } = &servers[server];
        let mut ranking: Vec<usize> = (0..candidates.len()).collect();
        ranking.sort_by(|&a, &b| candidates[a].value.total_cmp(&candidates[b].value));
        let (regret, value) = (0.0, 0.0);
        let mut entry = Self { server, priority: *priority, ranking, tried: 0, regret, value };
        entry.evaluate(candidates);
        entry
    }

    fn evaluate(&mut self, candidates: &[Candidate]) {
        let value = |place: usize| self.ranking.get(place).map(|&idx| candidates[idx].value);
        self.value = value(self.tried).unwrap_or(0.0);
        self.regret = value(self.tried + 1).map_or(f64::INFINITY, |next| next - self.value);
    }

    /// The highest priority first, then the largest regret, then the largest value.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.priority
            .cmp(&other.priority)
            .then(other.regret.total_cmp(&self.regret))
            .then(other.value.total_cmp(&self.value))
    }
}

struct Round<'a> {
    servers: &'a [Server],
    room: Vec<u32>,
    choices: Vec<Option<Choice>>,
}

impl Round<'_> {
    /// Lets servers take whole candidates. Returns those for which none fits, as they failed.
    fn choose(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut stranded = Vec::new();
        // The head is the last, so it is cheap to take.
        let mut queue = entries;
        queue.reverse();
        while let Some(mut entry) = queue.pop() {
            let candidates = &self.servers[entry.server].candidates;
            let Some(&best) = entry.ranking.get(entry.tried) else {
                stranded.push(entry);
                continue;
            };
            let wanted = candidates[best].replicas;
            if self.fitting(&candidates[best]) >= wanted {
                self.take(entry.server, best, wanted);
                continue;
            }
            entry.tried += 1;
            if entry.tried == entry.ranking.len() {
                stranded.push(entry);
                continue;
            }
            entry.evaluate(candidates);
            // Before all that do not come before it.
            let place = queue.partition_point(|other| other.order(&entry).is_ge());
            queue.insert(place, entry);
        }
        stranded
    }

    fn help(&mut self, stranded: &[Entry], policy: SaturationPolicy) {
        match policy {
            SaturationPolicy::None => {}
            SaturationPolicy::PriorityExhaustive => {
                for entry in stranded {
                    self.exhaust(entry);
                }
            }
            SaturationPolicy::PriorityRoundRobin => {
                for same in stranded.chunk_by(|a, b| a.priority == b.priority) {
                    self.take_turns(same);
                }
            }
            SaturationPolicy::RoundRobin => self.take_turns(stranded),
        }
    }

    /// Gives a server all that fits of the first candidate of which any does.
    fn exhaust(&mut self, entry: &Entry) {
        let candidates = &self.servers[entry.server].candidates;
        let fitting = |&idx: &usize| {
            let replicas = self.fitting(&candidates[idx]).min(candidates[idx].replicas);
            (replicas > Replicas::ZERO).then_some((idx, replicas))
        };
        if let Some((idx, replicas)) = entry.ranking.iter().find_map(fitting) {
            self.take(entry.server, idx, replicas);
        }
    }

    /// Gives servers one replica after the other, each of its first candidate that fits.
    fn take_turns(&mut self, entries: &[Entry]) {
        let mut waiting: Vec<&Entry> = entries.iter().collect();
        while !waiting.is_empty() {
            waiting.retain(|entry| {
                let candidates = &self.servers[entry.server].candidates;
                let fits = |idx: &usize| self.fitting(&candidates[*idx]) > Replicas::ZERO;
                let choice = self.choices[entry.server].map(|choice| choice.candidate);
                let Some(idx) = choice.or_else(|| entry.ranking.iter().copied().find(fits)) else {
                    return false;
                };
                let has =
                    self.choices[entry.server].map_or(Replicas::ZERO, |choice| choice.replicas);
                let more = fits(&idx) && has < candidates[idx].replicas;
                if more {
                    self.take(entry.server, idx, Replicas::new(1));
                }
                more
            });
        }
    }

    fn fitting(&self, candidate: &Candidate) -> Replicas {
        let room = self.room.get(candidate.pool.0).copied().unwrap_or(0);
        Replicas::new(room.checked_div(candidate.gpus.get()).unwrap_or(u32::MAX))
    }

    fn take(&mut self, server: usize, candidate: usize, replicas: Replicas) {
        let Candidate { gpus, pool, .. } = self.servers[server].candidates[candidate];
        if let Some(room) = self.room.get_mut(pool.0) {
            *room = room.saturating_sub(gpus.get().saturating_mul(replicas.get()));
        }
        let choice = &mut self.choices[server];
        let had = choice.map_or(Replicas::ZERO, |choice| choice.replicas);
        *choice = Some(Choice { candidate, replicas: had + replicas });
    }
}
