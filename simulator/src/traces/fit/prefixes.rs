//! Fits what prompts have in common.

use optimizer::units::{Timestamp, Tokens};
use rustc_hash::FxHashMap;

use super::{Reservoir, rounded};
use crate::engine::Segment;
use crate::traces::fitted::{CommonPrefix, FittedPrefixes};
use crate::traces::reuse::ReuseCounts;
use crate::workload::trace::Record;

/// What prompts have in common with earlier ones.
#[derive(Debug, Clone)]
pub(super) struct Prefixes {
    reuse: ReuseCounts,
    /// When each text was used last.
    used: FxHashMap<u64, Timestamp>,
    /// For each place in a prompt, the text that most prompts have there, and by how many votes it
    /// leads (Boyer and Moore 1991, "MJRTY: a fast majority vote algorithm").
    leaders: Vec<(u64, u64)>,
    /// Prompts that begin with the leader, the tokens of leaders they begin with, and all prompts.
    common: (u64, u64, u64),
    /// Thousandths of the prompt behind the common text, and milliseconds.
    pairs: Reservoir,
}

/// Places at which prompts may have a text in common.
const LEADERS: usize = 64;

impl Default for Prefixes {
    fn default() -> Self {
        Self {
            reuse: ReuseCounts::default(),
            used: FxHashMap::default(),
            leaders: Vec::new(),
            common: (0, 0, 0),
            pairs: Reservoir::new("fit/prefixes"),
        }
    }
}

impl Prefixes {
    /// Takes the prompt of the next request.
    pub(super) fn add(&mut self, record: &Record) {
        let segments = record.content.segments();
        let prompt = record.prompt.get();
        let (places, common) = self.vote(segments, prompt);
        let known = segments.iter().map_while(|segment| self.used.get(&segment.text.0));
        let deepest = known.skip(places).last().copied();
        let found = self.reuse.add(record).get().saturating_sub(common);
        let age = deepest.map_or(0, |at| (record.at.as_nanos() - at.as_nanos()) / 1_000_000);
        // The age of what nobody used means nothing.
        let share = found * 1000 / (prompt - common).max(1);
        self.pairs.add((share, if share > 0 { age } else { 0 }));
        for segment in segments {
            self.used.insert(segment.text.0, record.at);
        }
    }

    /// Lets a prompt vote for what all begin with. Returns with how many texts and tokens of that it
    /// begins itself.
    fn vote(&mut self, segments: &[Segment], prompt: u64) -> (usize, u64) {
        let (mut places, mut common) = (0, 0);
        for (place, segment) in segments.iter().take(LEADERS).enumerate() {
            if place == self.leaders.len() {
                self.leaders.push((segment.text.0, 0));
            }
            let (leader, votes) = &mut self.leaders[place];
            if *leader == segment.text.0 {
                *votes += 1;
                if place == places && *votes > 1 {
                    places += 1;
                    common = (common + u64::from(segment.tokens)).min(prompt);
                }
            } else if *votes > 0 {
                *votes -= 1;
            } else {
                (*leader, *votes) = (segment.text.0, 1);
            }
        }
        self.common.0 += u64::from(places > 0);
        self.common.1 += common;
        self.common.2 += 1;
        (places, common)
    }

    /// What they have in common; `None` when they have nothing.
    pub(super) fn fitted(&mut self) -> Option<FittedPrefixes> {
        self.reuse.reuse()?;
        let (prompts, tokens, all) = self.common;
        let common = CommonPrefix {
            share: rounded(prompts as f64 / all as f64),
            tokens: Tokens::new(tokens / prompts.max(1)),
        };
        Some(FittedPrefixes { common, reuse: self.pairs.table()? })
    }
}
