//! The KV block pool.
//!
//! Without a prefix cache blocks have no identity, so the pool is two numbers.

use optimizer::units::Fraction;

/// Free and usable blocks of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPool {
    usable: u32,
    free: u32,
    block_size: u32,
}

impl BlockPool {
    /// vLLM sets block 0 aside as the null block, so one of `num_gpu_blocks` is never usable.
    pub(super) fn new(num_gpu_blocks: u32, block_size: u32) -> Self {
        let usable = num_gpu_blocks - 1;
        Self { usable, free: usable, block_size }
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
        }
        fits
    }

    /// Gives `count` blocks back.
    pub(super) fn free(&mut self, count: u32) {
        self.free += count;
        debug_assert!(self.free <= self.usable, "more blocks were freed than allocated");
    }

    pub(super) fn num_free(&self) -> u32 {
        self.free
    }

    pub(super) fn usage(&self) -> Fraction {
        let used = f64::from(self.usable - self.free) / f64::from(self.usable.max(1));
        Fraction::new(used)
    }
}
