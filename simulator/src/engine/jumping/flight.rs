//! Steps that are decided together.

use super::super::sequence::Handle;
use super::super::step_time::DecodeLaw;

/// One step with prompts in it, or a run of steps in which everything decodes.
#[derive(Debug)]
pub(super) struct Flight {
    /// The times of the remaining steps.
    pub(super) law: DecodeLaw,
    /// Steps that have not ended.
    pub(super) remaining: u64,
    /// Of those, the ones that are booked.
    pub(super) booked: u64,
    /// Sequences that decode: each step brings each of them a token.
    pub(super) sequences: u32,
    /// Sequences that get the token with which their prefill ends.
    pub(super) prefilled: Vec<Handle>,
    /// Sequences of which the last step brings the last token, in the order of their admission.
    pub(super) complete: Vec<Handle>,
    /// Whether it is decided what follows, be it nothing.
    pub(super) followed: bool,
}

impl Flight {
    /// Drops the steps that are not booked yet.
    pub(super) fn cut(&mut self) {
        self.remaining = self.booked;
    }
}
