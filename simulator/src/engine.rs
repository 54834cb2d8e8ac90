//! One vLLM replica.
//!
//! An engine is vLLM v1's scheduler and KV-cache bookkeeping around a model that is reduced to one
//! question: how long does a batch take? ([`StepTime`]). Each step:
//!
//! 1. **Running sequences first**, in the order of their admission. Each needs its tokens that are
//!    not computed yet: one when it decodes, the rest of its prompt when it is in mid-prefill. A
//!    step computes at most `max_num_batched_tokens`, and of one sequence no more than
//!    `long_prefill_token_threshold`, so a long prompt is cut into chunks. A sequence that finds no
//!    free block evicts another, possibly itself: the youngest, or with the priority policy the
//!    least urgent. The victim loses its blocks and its computed tokens, keeps its output, and goes
//!    back to the queue, to its head if that is first come, first served.
//! 2. **Waiting sequences** then, first come, first served, or by priority, and only in a step that
//!    preempted nothing. The head of the queue enters when its *whole* prompt fits into the free
//!    blocks (above the watermark, while others run), although only its first chunk is allocated;
//!    when it does not fit, nobody behind it enters.
//! 3. The batch runs for the plant's time. Every sequence whose tokens are all computed then has
//!    one more output token; those with all their output leave.
//!
//! **Prefixes.** A full block is known by all tokens up to its end, from the moment when it is
//! scheduled. Who enters looks for its first blocks, one after the other, and shares those that it
//! finds, used or free; at least its last token is computed. A sequence frees its blocks from the
//! last to the first. They go to the end of the queue of free blocks and can be found until they
//! are taken from its head; a block that is not full goes to the front. So a preempted sequence
//! finds again what nobody has taken since.
//!
//! **Asynchronous scheduling**, vLLM's default: a step is decided when the one before it begins,
//! not when it ends. A sequence whose last token is on its way is left out, but keeps its place and
//! its blocks until that token has come. So whoever arrives, or waits for a place, enters one step
//! later, and the GPU never waits for the scheduler.
//!
//! **At the door** a prompt is refused that leaves no room for an output token, and everything
//! while the queue is full. An aborted request frees its blocks at once. [`DataParallel`] puts
//! several engines behind one door.
//!
//! Source of the rules: the scheduler of vLLM 0.33. Not modeled: stop tokens (a request's length is
//! known, so no step is computed in vain), speculative decoding, adapters, pipeline parallelism,
//! and the lockstep of ranks that share experts. One rule is mended: where a priority preemption
//! takes away a sequence that had nothing to compute in this step, vLLM passes over the one after
//! the current.
//!
//! There are two engines, and they do the same. [`Stepwise`] computes every step, one sequence
//! after the other, block by block, and reads like the rules above. [`Engine`] jumps.
//!
//! # Why a jump is exact
//!
//! Say that n sequences decode and nobody prefills. Until something happens, each step computes one
//! token of each, so after k steps every sequence has grown by k tokens. Five things can end that:
//! a sequence finishes; blocks run out; a waiting sequence enters; a request arrives; the plant's
//! law changes. For each the number of steps until then is known in advance:
//!
//! - *Finish.* Count decode steps on a clock of their own. A sequence that begins to decode at
//!   step s with r tokens to go finishes at s + r, whatever happens to others, because every
//!   decoding sequence gets a token in every step: `max_num_seqs` may not exceed the token budget,
//!   and running sequences come first. So a heap of finish steps never needs an update.
//! - *Blocks.* A sequence takes a block when its length passes a multiple of the block size b. That
//!   is when the clock, shifted by the sequence's own constant phase, is a multiple of b. So a
//!   histogram of phases, b numbers, tells how many blocks the next k steps take: n for every b
//!   steps, and the rest from k mod b of its entries.
//! - *Admission.* Between two finishes nothing is freed and no prompt's block becomes known, so a
//!   head of queue that did not fit does not fit until the next finish.
//! - *Arrival.* It waits for the first step that is not decided yet, and cuts the run there.
//! - *Law.* The plant says for how many steps its law holds ([`DecodeLaw`]). Step i of a run takes
//!   first + i · growth, an arithmetic series in integers ([`Ticks`]), so its sum has no rounding.
//!
//! That every decoding sequence gets its token holds in steps with prompts, too. Whoever enters
//! does so with tokens that those before it leave over, and those before it never need more later:
//! a chunk of a prompt is followed by one no larger than the same limit allowed, or by decoding.
//!
//! Steps with a prompt in them are computed one by one, but all decoding sequences advance in one
//! addition. So a request costs a few events and a heap operation, whatever its number of tokens.
//! Only a step that preempts walks the running list.
//!
//! Blocks are kept by the run, too. Prompts that begin alike are paths through a tree of texts, and
//! what one sequence wrote of one text is one strand of blocks, which splits only where its blocks
//! come to differ in who uses them or when they were freed. Which *free* blocks a run of steps
//! takes does not depend on who takes them, so they are taken by the number. The blocks that a
//! sequence fills while it decodes get their name when it leaves; until then nobody can look for
//! them, because a prompt that contains an output arrives after it.
//!
//! A property test holds the two engines equal, event for event, tick for tick and block for block:
//! random prompts that share their beginnings, conversations, priorities, clients that leave, full
//! queues, every plant, and caches so small that nearly every step preempts.

mod args;
mod counters;
mod data_parallel;
mod frontend;
mod jumping;
mod queue;
mod request;
mod sequence;
pub mod step_time;
mod stepwise;
mod ticks;

use optimizer::units::{Fraction, Timestamp};

pub use args::{EngineArgs, EngineConfig, EngineConfigError, Rejection, SchedulingPolicy};
pub use counters::{Counters, TimeSum};
pub use data_parallel::DataParallel;
pub use frontend::{FrontEnd, FrontEndQueue};
pub use jumping::Engine;
pub use request::{Content, Request, RequestId, Segment, TextId};
pub use step_time::{DecodeLaw, StepTime};
pub use stepwise::Stepwise;
pub use ticks::{Moment, Ticks};

/// A request that was dropped with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub id: RequestId,
    /// Output tokens that it had got.
    pub output_tokens: u32,
}

/// What the owner of an engine is told while it serves.
pub trait Observer {
    /// A request entered the batch for the first time; of its prompt's tokens, `cached_tokens` were
    /// found in the prefix cache.
    fn scheduled(&mut self, id: RequestId, at: Timestamp, cached_tokens: u32);
    /// A request lost its blocks and went back to the queue.
    fn preempted(&mut self, id: RequestId);
    /// A request has its first output token.
    fn first_token(&mut self, id: RequestId, at: Timestamp);
    /// Output tokens came after the tokens before them.
    fn token_gaps(&mut self, gaps: TokenGaps);
    /// A request has all its output tokens and left.
    fn finished(&mut self, id: RequestId, at: Timestamp, output_tokens: u32);
}

/// For an owner that does not want to know.
impl Observer for () {
    fn scheduled(&mut self, _: RequestId, _: Timestamp, _: u32) {}
    fn preempted(&mut self, _: RequestId) {}
    fn first_token(&mut self, _: RequestId, _: Timestamp) {}
    fn token_gaps(&mut self, _: TokenGaps) {}
    fn finished(&mut self, _: RequestId, _: Timestamp, _: u32) {}
}

/// Times between successive output tokens: in each of `steps` steps one token of each of
/// `sequences` sequences, in step i, counted from 0, after `first + i · growth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenGaps {
    /// The gap of the first step.
    pub first: Ticks,
    /// What each step takes more than the one before it.
    pub growth: Ticks,
    /// Steps.
    pub steps: u64,
    /// Tokens in each step.
    pub sequences: u64,
}

/// A model server in simulated time.
///
/// Its owner first brings it to the present with [`advance`](Self::advance), then submits what
/// arrives, and comes back at [`next_event`](Self::next_event) at the latest.
pub trait ModelServer {
    /// Lets everything happen that happens up to and including `now`.
    fn advance(&mut self, now: Timestamp, observer: &mut impl Observer);

    /// Queues a request that arrives at `now`. Output that would exceed the context is cut,
    /// silently, as vLLM does.
    ///
    /// # Errors
    ///
    /// When the prompt does not fit the context, or the queue is full.
    fn submit(
        &mut self,
        request: Request,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection>;

    /// When something happens next that its owner has to know, if nothing arrives before.
    fn next_event(&self) -> Option<Timestamp>;

    /// Drops a request of which the client has gone, at the time of the last
    /// [`advance`](Self::advance). Its blocks are free at once; a step that computes it runs to its
    /// end. `None` when it is not in flight.
    fn abort(&mut self, id: RequestId) -> Option<Lost>;

    /// Drops everything, as when the process dies, and returns the requests that were lost: those
    /// in the batch, then those in the queue.
    fn abort_all(&mut self) -> Vec<Lost>;

    /// Sequences in the running list, those in mid-prefill included.
    fn num_running(&self) -> usize;

    /// Sequences that wait, preempted ones included.
    fn num_waiting(&self) -> usize;

    /// The share of usable KV blocks that are in use, as `vllm:kv_cache_usage_perc` reports it.
    fn kv_usage(&self) -> Fraction;

    /// All that was counted up to the last [`advance`](Self::advance).
    fn counters(&self) -> Counters;

    /// Requests in flight.
    fn load(&self) -> usize {
        self.num_running() + self.num_waiting()
    }

    /// Whether there is no request in flight.
    fn is_idle(&self) -> bool {
        self.load() == 0
    }
}

#[cfg(test)]
mod tests;
