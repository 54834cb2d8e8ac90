//! The KV block pool.
//!
//! Blocks have no identity here, so the pool is two numbers. vLLM keeps free blocks in a queue: it
//! takes from the head and gives back at the tail, and until a block is taken its contents stay. So
//! a preempted sequence that comes back finds again those of its blocks that are still in the queue
//! ([`Left`]), and to know how many it suffices to know how many blocks were taken since.

use optimizer::units::Fraction;

/// Free and usable blocks of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPool {
    usable: u32,
    /// Blocks in the queue.
    free: u32,
    block_size: u32,
    /// Blocks that were ever taken from the head of the queue, which numbers its places.
    taken: u64,
}

/// What a preempted sequence left in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Blocks that are full of its tokens. Only full blocks can be found again.
    full: u32,
    /// The place behind its first block. The first block is given back last, so that the queue
    /// loses the end of the sequence before its beginning.
    end: u64,
}

impl Left {
    /// Closes the gap that `count` blocks leave which were taken back from the middle of the queue.
    pub(super) fn close_gap(&mut self, taken_back: Self, count: u32) {
        if self.end > taken_back.end {
            self.end -= u64::from(count);
        }
    }
}

impl BlockPool {
    /// vLLM sets block 0 aside as the null block, so one of `num_gpu_blocks` is never usable.
    pub(super) fn new(num_gpu_blocks: u32, block_size: u32) -> Self {
        let usable = num_gpu_blocks - 1;
        Self { usable, free: usable, block_size, taken: 0 }
    }

    /// Blocks that `tokens` tokens occupy.
    pub(super) fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }

    /// Takes `count` blocks, all or none.
    pub(super) fn allocate(&mut self, count: u32) -> bool {
        let fits = count <= self.free;
        if fits {
            self.free -= count;
            self.taken += u64::from(count);
        }
        fits
    }

    /// Gives `count` blocks back.
    pub(super) fn free(&mut self, count: u32) {
        self.free += count;
        debug_assert!(self.free <= self.usable, "more blocks were freed than allocated");
    }

    /// Gives back the `count` blocks of a sequence with `computed` tokens, to be found again.
    pub(super) fn leave(&mut self, count: u32, computed: u32) -> Left {
        self.free(count);
        Left { full: computed / self.block_size, end: self.taken + u64::from(self.free) }
    }

    /// Takes those blocks of `left` out of the queue that are still there, up to `most`, and
    /// returns how many.
    pub(super) fn take_back(&mut self, left: Left, most: u32) -> u32 {
        let still_there = left.end.saturating_sub(self.taken).min(u64::from(left.full.min(most)));
        let count = u32::try_from(still_there).unwrap_or(u32::MAX);
        self.free -= count;
        count
    }

    pub(super) fn block_size(&self) -> u32 {
        self.block_size
    }

    pub(super) fn num_free(&self) -> u32 {
        self.free
    }

    pub(super) fn usage(&self) -> Fraction {
        let used = f64::from(self.usable - self.free) / f64::from(self.usable.max(1));
        Fraction::new(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with names, as vLLM has it, beside the counting one.
    #[test]
    fn counting_finds_what_a_queue_of_names_holds() {
        let mut pool = BlockPool::new(11, 16);
        assert!(pool.allocate(10));
        // Two sequences of 3 and 5 blocks, the last block of each not full.
        let one = pool.leave(3, 40);
        let mut other = pool.leave(5, 70);
        // Queue: 1.2 1.1 1.0 2.4 2.3 2.2 2.1 2.0. Two are taken, so 1.0 stays of the first.
        assert!(pool.allocate(2));
        assert_eq!(pool.take_back(one, 9), 1);
        other.close_gap(one, 1);
        // Now 2.4 and 2.3 go, and 2.2 2.1 2.0 stay.
        assert!(pool.allocate(2));
        assert_eq!({ pool }.take_back(other, 2), 2);
        assert_eq!(pool.take_back(other, 9), 3);
        assert_eq!(pool.num_free(), 0);
    }
}
