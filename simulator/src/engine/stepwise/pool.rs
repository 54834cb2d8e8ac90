//! KV blocks as vLLM keeps them: each has a number, a place in the queue of free blocks, and a hash
//! of what it holds.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use optimizer::units::Fraction;

use super::super::TextId;
use super::super::sequence::Sequence;

/// The blocks of one replica.
#[derive(Debug)]
pub(super) struct BlockPool {
    block_size: u32,
    blocks: Vec<Block>,
    /// Free blocks in the order in which they will be taken.
    queue: BTreeMap<i64, BlockId>,
    /// Blocks that hold the same, the oldest first.
    index: BTreeMap<BlockHash, Vec<BlockId>>,
    front: i64,
    back: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockId(usize);

/// The hash of all tokens up to the end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockHash(u64);

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    users: u32,
    hash: Option<BlockHash>,
    /// Its place in the queue, while nobody uses it.
    place: i64,
}

impl BlockPool {
    /// vLLM sets block 0 aside as the null block, so one of `num_gpu_blocks` is never usable.
    pub(super) fn new(num_gpu_blocks: u32, block_size: u32) -> Self {
        let mut pool = Self {
            block_size,
            blocks: Vec::new(),
            queue: BTreeMap::new(),
            index: BTreeMap::new(),
            front: 0,
            back: 0,
        };
        for number in 0..num_gpu_blocks as usize - 1 {
            pool.blocks.push(Block::default());
            pool.enqueue(BlockId(number));
        }
        pool
    }

    /// Blocks that `tokens` tokens occupy.
    pub(super) fn blocks_for(&self, tokens: u32) -> usize {
        tokens.div_ceil(self.block_size) as usize
    }

    pub(super) const fn block_size(&self) -> u32 {
        self.block_size
    }

    pub(super) fn num_free(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn usage(&self) -> Fraction {
        let usable = self.blocks.len();
        Fraction::new((usable - self.num_free()) as f64 / usable.max(1) as f64)
    }

    /// The blocks that hold what these hashes stand for, up to the first that none holds.
    pub(super) fn find(&self, hashes: &[BlockHash]) -> Vec<BlockId> {
        hashes.iter().map_while(|hash| self.index.get(hash).map(|same| same[0])).collect()
    }

    /// Whether somebody uses a block.
    pub(super) fn is_used(&self, BlockId(number): BlockId) -> bool {
        self.blocks[number].users > 0
    }

    /// Adds a user to a block that was found.
    pub(super) fn share(&mut self, BlockId(number): BlockId) {
        let block = &mut self.blocks[number];
        if block.users == 0 {
            self.queue.remove(&block.place);
        }
        block.users += 1;
    }

    /// Takes `count` blocks from the head of the queue, all or none. What they held is lost.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<BlockId>> {
        if count > self.queue.len() {
            return None;
        }
        let taken = (0..count).filter_map(|_| self.queue.pop_first());
        let taken: Vec<_> = taken.map(|(_, id)| id).collect();
        for &BlockId(number) in &taken {
            let block = &mut self.blocks[number];
            block.users = 1;
            if let Some(hash) = block.hash.take() {
                let same = self.index.entry(hash).or_default();
                same.retain(|&id| id != BlockId(number));
                if same.is_empty() {
                    self.index.remove(&hash);
                }
            }
        }
        Some(taken)
    }

    /// Lets a full block be found.
    pub(super) fn register(&mut self, BlockId(number): BlockId, hash: BlockHash) {
        self.blocks[number].hash = Some(hash);
        self.index.entry(hash).or_default().push(BlockId(number));
    }

    /// Ends the use of a sequence's blocks, its last one first.
    pub(super) fn release(&mut self, blocks: Vec<BlockId>) {
        for BlockId(number) in blocks.into_iter().rev() {
            self.blocks[number].users -= 1;
            if self.blocks[number].users == 0 {
                self.enqueue(BlockId(number));
            }
        }
    }

    /// A block that holds something goes to the end of the queue, one that holds nothing to the
    /// front.
    fn enqueue(&mut self, BlockId(number): BlockId) {
        let block = &mut self.blocks[number];
        block.place = if block.hash.is_some() { self.back } else { self.front - 1 };
        self.back = self.back.max(block.place + 1);
        self.front = self.front.min(block.place);
        self.queue.insert(block.place, BlockId(number));
    }
}

impl BlockHash {
    /// The hash of a sequence's block, given that of the block before it.
    pub(super) fn of(sequence: &Sequence, block: u32, size: u32, before: Option<Self>) -> Self {
        let mut hasher = DefaultHasher::new();
        before.map(|Self(hash)| hash).hash(&mut hasher);
        let mut position = block * size;
        while position < (block + 1) * size {
            let (origin, start, end) = origin(sequence, position);
            let end = end.min((block + 1) * size);
            (origin, position - start, end - start).hash(&mut hasher);
            position = end;
        }
        Self(hasher.finish())
    }
}

/// Where tokens come from. Two tokens at one place of one origin, after the same tokens, are the
/// same.
#[derive(Hash)]
enum Origin {
    Shared(TextId),
    Own(u64),
}

/// The origin of a token, the first token of that origin, and the one behind the last.
fn origin(sequence: &Sequence, position: u32) -> (Origin, u32, u32) {
    let request = &sequence.request;
    let mut start = 0_u32;
    for segment in request.content.segments() {
        let end = start.saturating_add(segment.tokens).min(request.prompt_tokens);
        if (start..end).contains(&position) {
            return (Origin::Shared(segment.text), start, end);
        }
        start = end;
    }
    match request.content.output() {
        Some(text) if position >= request.prompt_tokens => {
            (Origin::Shared(text), request.prompt_tokens, u32::MAX)
        }
        Some(_) => (Origin::Own(sequence.rank.serial), 0, request.prompt_tokens),
        None => (Origin::Own(sequence.rank.serial), 0, u32::MAX),
    }
}
