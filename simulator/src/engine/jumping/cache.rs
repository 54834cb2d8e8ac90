//! The KV cache: which blocks are free, and what they hold.
//!
//! vLLM keeps free blocks in a queue. It takes from the head and gives back at the tail, the last
//! block of a sequence first, and until a block is taken it can be found by what it holds. A block
//! that holds nothing to be found goes to the front. So the queue is a number of blank blocks, then
//! runs of blocks in the order in which they were freed ([`Freed`]).
//!
//! Most text is one sequence's alone. Once that has ended nobody will look for it, so the blocks
//! keep their place in the queue but lose their name.

use std::collections::VecDeque;

use optimizer::units::Fraction;

use super::super::sequence::Sequence;
use super::super::{Content, EngineArgs, TextId};
use super::texts::{Hold, NodeId, Piece, Place, StrandId, Texts};

/// The KV cache of one replica.
#[derive(Debug)]
pub(super) struct Cache {
    block_size: u32,
    usable: u32,
    prefix_caching: bool,
    /// Free blocks that hold nothing.
    blank: u32,
    /// Free blocks that hold something.
    filled: u32,
    /// The latter, in the order in which they will be taken. What was taken out of the middle left
    /// its entry behind.
    queue: VecDeque<Freed>,
    texts: Texts,
    /// Counts what happens to strands.
    events: u64,
    /// Changes when a sequence that did not fit may fit.
    version: u64,
    found: Vec<Hold>,
    /// How often somebody looked for what is computed of a sequence.
    #[cfg(test)]
    lookups: u64,
}

/// A run of free blocks.
#[derive(Debug, Clone, Copy)]
enum Freed {
    Nameless(u32),
    Named(StrandId, u64),
}

/// What a sequence has of the cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    /// All its blocks.
    pub(super) blocks: u32,
    /// Those that have a name, from its first block on. The blocks behind them are its alone. Most
    /// sequences have none.
    named: Option<Box<Named>>,
}

/// Blocks that others can find, or that were found.
#[derive(Debug, Clone, Default)]
struct Named {
    /// The texts of the prompt, and the block before which each ends.
    path: Vec<(NodeId, u32)>,
    /// The blocks.
    holds: Vec<Hold>,
    /// The text that the sequence alone has, once it has lost blocks with it.
    own: Option<NodeId>,
}

impl Holding {
    /// How many of its blocks have a name.
    fn num_named(&self) -> u32 {
        let holds = self.named.as_ref().and_then(|named| named.holds.last());
        holds.map_or(0, |last| last.to)
    }

    fn own(&self) -> Option<NodeId> {
        self.named.as_ref()?.own
    }
}

/// What was found of a waiting sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Blocks from its first one on.
    pub(super) blocks: u32,
    /// Those of them that another sequence uses.
    pub(super) used: u32,
}

impl Cache {
    /// vLLM sets block 0 aside as the null block, so one of `num_gpu_blocks` is never usable.
    pub(super) fn new(args: &EngineArgs) -> Self {
        let usable = args.num_gpu_blocks - 1;
        Self {
            block_size: args.block_size,
            usable,
            prefix_caching: args.enable_prefix_caching,
            blank: usable,
            filled: 0,
            queue: VecDeque::new(),
            texts: Texts::new(),
            events: 0,
            version: 0,
            found: Vec::new(),
            #[cfg(test)]
            lookups: 0,
        }
    }

    /// Blocks that `tokens` tokens occupy.
    pub(super) const fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }

    pub(super) const fn block_size(&self) -> u32 {
        self.block_size
    }

    pub(super) const fn num_free(&self) -> u32 {
        self.blank + self.filled
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    #[cfg(test)]
    pub(super) const fn lookups(&self) -> u64 {
        self.lookups
    }

    pub(super) fn usage(&self) -> Fraction {
        let used = f64::from(self.usable - self.num_free()) / f64::from(self.usable.max(1));
        Fraction::new(used)
    }

    /// Takes `count` blocks from the head of the queue, all or none. What they held is lost.
    pub(super) fn allocate(&mut self, count: u32) -> bool {
        if count > self.num_free() {
            return false;
        }
        let blank = count.min(self.blank);
        self.blank -= blank;
        let mut rest = count - blank;
        self.filled -= rest;
        while rest > 0 {
            rest -= match self.queue.front_mut() {
                Some(Freed::Nameless(blocks)) if *blocks > rest => {
                    *blocks -= rest;
                    rest
                }
                Some(&mut Freed::Nameless(blocks)) => {
                    self.queue.pop_front();
                    blocks
                }
                Some(&mut Freed::Named(strand, freed)) => {
                    self.texts.forget(strand, freed, rest).unwrap_or_else(|| {
                        self.queue.pop_front();
                        0
                    })
                }
                None => unreachable!("the queue has as many blocks as were counted"),
            };
        }
        true
    }

    /// Looks for what is computed already of a waiting sequence, in its first `most` blocks.
    /// [`Self::enter`] takes it.
    pub(super) fn find(&mut self, text: Text<'_>, own: &Holding, most: u32) -> Found {
        #[cfg(test)]
        {
            self.lookups += 1;
        }
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let result = self.find_in(text, own, most, &mut found);
        self.found = found;
        result
    }

    fn find_in(&self, text: Text<'_>, own: &Holding, most: u32, found: &mut Vec<Hold>) -> Found {
        let mut result = Found::default();
        if !self.prefix_caching {
            return result;
        }
        // A text in which no block ends may have no node, for it has nothing to keep.
        let mut node = Some(Texts::ROOT);
        let at = |node: Option<NodeId>, start, text| {
            node.and_then(|after| self.texts.at(&Place { after, start, text }))
        };
        for (start, end, text) in text.pieces() {
            node = at(node, start, text);
            let until = (end / self.block_size).min(most);
            if let Some(node) = node {
                let (blocks, used) = self.texts.find(node, result.blocks, until, found);
                result = Found { blocks, used: result.used + used };
            }
            if result.blocks < until || result.blocks == most {
                return result;
            }
        }
        let rest = match text.tail() {
            Some((start, text)) => at(node, start, text),
            None => own.own(),
        };
        if let Some(rest) = rest {
            let (blocks, used) = self.texts.find(rest, result.blocks, most, found);
            result = Found { blocks, used: result.used + used };
        }
        result
    }

    /// Lets a sequence in, with what was found of it last.
    pub(super) fn enter(&mut self, text: Text<'_>, holding: &mut Holding) {
        if !self.prefix_caching {
            return;
        }
        if self.found.is_empty() && text.content.segments().is_empty() {
            return;
        }
        let Named { path, holds, .. } = &mut **holding.named.get_or_insert_default();
        holds.extend_from_slice(&self.found);
        for hold in &*holds {
            for piece in self.texts.pieces(hold) {
                if piece.users == 0 {
                    self.filled -= piece.len();
                    piece.freed = 0;
                }
                piece.users += 1;
            }
        }
        let mut after = Texts::ROOT;
        for (start, end, text) in text.pieces() {
            after = self.texts.make(Place { after, start, text });
            path.push((after, end / self.block_size));
        }
        if let Some(&(last, _)) = path.last() {
            self.texts.hold(last);
        }
        holding.blocks = holding.num_named();
    }

    /// Lets others find the blocks of a sequence's prompt, as far as it is computed.
    pub(super) fn publish(&mut self, holding: &mut Holding, computed: u32) {
        let full = computed / self.block_size;
        let mut from = holding.num_named();
        let Some(named) = &mut holding.named else { return };
        for &(node, end) in &named.path {
            let to = end.min(full);
            if to <= from {
                continue;
            }
            self.events += 1;
            self.version += 1;
            match named.holds.last_mut() {
                Some(last)
                    if last.wrote
                        && last.to == from
                        && self.texts.strand(last.strand).is_some_and(|s| s.node == node) =>
                {
                    self.texts.write_on(last, to, self.events);
                }
                _ => {
                    let piece = Piece { from, to, users: 1, written: self.events, freed: 0 };
                    let strand = self.texts.write(node, piece);
                    named.holds.push(Hold { strand, from, to, wrote: true });
                }
            }
            from = to;
        }
    }

    /// Takes all blocks of a sequence back. Of its tokens the first `known` are computed and known,
    /// so that the blocks that they fill can be found: by others, as far as its text has names, and
    /// by itself, if it `returns`.
    pub(super) fn release(
        &mut self,
        holding: &mut Holding,
        text: Text<'_>,
        known: u32,
        returns: bool,
    ) {
        self.version += 1;
        let full = if self.prefix_caching { known / self.block_size } else { 0 };
        let num_named = holding.num_named();
        self.blank += holding.blocks - full;
        self.filled += full - num_named;
        holding.blocks = 0;
        if full > num_named {
            self.free_tail(holding, text, num_named, full, returns);
        }
        self.tidy();
        let Some(named) = &mut holding.named else { return };
        for hold in named.holds.drain(..).rev() {
            for piece in self.texts.pieces(&hold).iter_mut().rev() {
                piece.users -= 1;
                if piece.users == 0 {
                    self.events += 1;
                    self.filled += piece.len();
                    piece.freed = self.events;
                    self.queue.push_back(Freed::Named(hold.strand, self.events));
                }
            }
        }
        if let Some((last, _)) = named.path.pop() {
            self.texts.let_go(last);
            named.path.clear();
        }
        if !returns {
            self.forget(holding);
        }
    }

    /// Notes that a sequence without blocks will not come back.
    pub(super) fn forget(&mut self, holding: &mut Holding) {
        self.version += 1;
        if let Some(own) = holding.named.take().and_then(|named| named.own) {
            self.texts.let_go(own);
        }
    }

    /// Frees the blocks `from..to` that a sequence wrote behind its prompt's named text.
    fn free_tail(
        &mut self,
        holding: &mut Holding,
        text: Text<'_>,
        from: u32,
        to: u32,
        returns: bool,
    ) {
        let node = match text.tail() {
            Some((start, text)) => {
                let path = holding.named.as_ref().and_then(|named| named.path.last());
                let after = path.map_or(Texts::ROOT, |&(node, _)| node);
                Some(self.texts.make(Place { after, start, text }))
            }
            None if returns => {
                Some(*holding.named.get_or_insert_default().own.get_or_insert_with(|| {
                    let own = self.texts.make_own();
                    self.texts.hold(own);
                    own
                }))
            }
            None => None,
        };
        let Some(node) = node else {
            match self.queue.back_mut() {
                Some(Freed::Nameless(blocks)) => *blocks += to - from,
                _ => self.queue.push_back(Freed::Nameless(to - from)),
            }
            return;
        };
        self.events += 1;
        let piece = Piece { from, to, users: 0, written: self.events, freed: self.events };
        let strand = self.texts.write(node, piece);
        self.queue.push_back(Freed::Named(strand, self.events));
    }

    /// Drops the entries that were left behind, when they are the majority.
    fn tidy(&mut self) {
        if self.queue.len() > 2 * self.filled as usize + 64 {
            let texts = &self.texts;
            self.queue.retain(|entry| match *entry {
                Freed::Nameless(_) => true,
                Freed::Named(strand, freed) => texts
                    .strand(strand)
                    .is_some_and(|strand| strand.pieces.iter().any(|piece| piece.freed == freed)),
            });
        }
    }
}

/// What a sequence's text has in common with others'.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    content: &'a Content,
    prompt_tokens: u32,
}

impl<'a> Text<'a> {
    pub(super) fn of(sequence: &'a Sequence) -> Self {
        let request = &sequence.request;
        Self { content: &request.content, prompt_tokens: request.prompt_tokens }
    }

    /// The pieces of the prompt: the first token, the token behind the last, the name.
    fn pieces(self) -> impl Iterator<Item = (u32, u32, TextId)> + use<'a> {
        let mut start = 0_u32;
        self.content.segments().iter().filter_map(move |segment| {
            let from = start;
            start = start.saturating_add(segment.tokens).min(self.prompt_tokens);
            (from < start).then_some((from, start, segment.text))
        })
    }

    /// Where the output begins, and its name, if others can have the same text up to there.
    fn tail(self) -> Option<(u32, TextId)> {
        let text = self.content.output()?;
        let named = self.pieces().last().map_or(0, |(_, end, _)| end);
        (named == self.prompt_tokens).then_some((named, text))
    }
}
