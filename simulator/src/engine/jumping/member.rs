//! What the jumping engine keeps of a sequence beside its state.

use super::super::sequence::{Handle, Sequence, Slots};
use super::cache::Holding;

/// A sequence and its place in the engine.
///
/// While it decodes, its `state` is as of the beginning of that; `finish_step` tells the rest.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) state: Sequence,
    pub(super) holding: Holding,
    /// Which admission brought it into the running list; `None` outside.
    pub(super) admission: Option<u64>,
    /// The step that brings its last token; `None` when it does not decode.
    pub(super) finish_step: Option<u64>,
    /// The steps that brought, or will bring, its latest tokens without a break.
    pub(super) produced: Option<Produced>,
}

/// A sequence that decodes gets a token in every step, from its first on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Produced {
    pub(super) first: u64,
    /// `None` as long as it decodes.
    pub(super) last: Option<u64>,
}

impl Member {
    pub(super) fn new(state: Sequence) -> Self {
        Self {
            state,
            holding: Holding::default(),
            admission: None,
            finish_step: None,
            produced: None,
        }
    }

    /// The output tokens that it has got when `booked` steps are booked and `ended` have ended.
    pub(super) fn delivered(&self, booked: u64, ended: u64) -> u32 {
        let under_way = self.produced.map_or(0, |Produced { first, last }| {
            last.unwrap_or(booked).saturating_sub(ended.max(first - 1))
        });
        self.state.generated - u32::try_from(under_way).unwrap_or(u32::MAX)
    }

    /// The tokens that were both computed and known when a step was last decided for this sequence,
    /// which does not decode any more. `in_flight` steps at most were under way then.
    pub(super) fn known(&self, in_flight: u64) -> u32 {
        self.produced.map_or(self.state.computed, |Produced { first, last }| {
            let unknown = last.map_or(0, |last| in_flight.min(last + 1 - first));
            self.state.tokens() - u32::try_from(unknown).unwrap_or(u32::MAX)
        })
    }

    /// Whether the steps after `ended`, up to and including `until`, bring a token of its decoding.
    pub(super) fn decodes_within(&self, ended: u64, until: u64) -> bool {
        self.produced.is_some_and(|Produced { first, last }| {
            first < until && last.is_none_or(|last| last > ended)
        })
    }
}

pub(super) type Members = Slots<Member>;

/// The running sequences in the order of their admission.
///
/// Those that leave from the middle leave their entry behind. It is dropped when it surfaces, or
/// with all others of its kind when they are the majority.
#[derive(Debug, Default)]
pub(super) struct Running {
    entries: Vec<(u64, Handle)>,
    admissions: u64,
    count: usize,
}

impl Running {
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, handle: Handle, members: &mut Members) {
        if self.entries.len() > 2 * self.count + 64 {
            self.entries.retain(|&(admission, h)| members[h].admission == Some(admission));
        }
        self.admissions += 1;
        self.count += 1;
        members[handle].admission = Some(self.admissions);
        self.entries.push((self.admissions, handle));
    }

    /// Notes that a sequence has left.
    pub(super) fn remove(&mut self, handle: Handle, members: &mut Members) {
        members[handle].admission = None;
        self.count -= 1;
    }

    /// The sequence that was admitted last; its entry stays until it is removed.
    pub(super) fn youngest(&mut self, members: &Members) -> Option<Handle> {
        while let Some(&(admission, handle)) = self.entries.last() {
            if members[handle].admission == Some(admission) {
                return Some(handle);
            }
            self.entries.pop();
        }
        None
    }

    /// The first sequence at or after place `at`, and the place behind it.
    pub(super) fn next(&self, at: usize, members: &Members) -> Option<(Handle, usize)> {
        let rest = self.entries.iter().enumerate().skip(at);
        let mut live = rest.filter(|(_, (admission, h))| members[*h].admission == Some(*admission));
        live.next().map(|(place, &(_, handle))| (handle, place + 1))
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self, members: &Members) -> impl Iterator<Item = Handle> {
        let live = self.entries.iter().filter(|&&(a, h)| members[h].admission == Some(a));
        live.map(|&(_, handle)| handle)
    }
}
