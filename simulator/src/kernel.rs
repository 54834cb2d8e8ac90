//! The event loop. It knows nothing of language models.
//!
//! A [`Process`] owns all state and handles one event at a time; an [`Agenda`] holds the events to
//! come. Time jumps from event to event. The order of events is total: by time, then by the rank
//! that the event's type gives it, then by the order in which they were scheduled. So a run is a
//! function of its inputs, and two events at the same nanosecond never depend on a heap's whims.

mod agenda;
mod random;

pub use agenda::{Agenda, Event, EventKey};
pub use random::{Stream, Streams};

use optimizer::units::Timestamp;

/// Something that changes when events happen.
pub trait Process {
    /// What can happen: a closed enum, so that one exhaustive match handles it.
    type Event: Event;

    /// Lets `event` happen at `now`, and schedules what follows from it.
    fn handle(&mut self, now: Timestamp, event: Self::Event, agenda: &mut Agenda<Self::Event>);

    /// Whether the process has ended, so that no further event matters.
    fn is_over(&self) -> bool {
        false
    }
}

/// Why [`run`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// No event is left.
    Drained,
    /// The process is over.
    Over,
    /// The next event lies after the horizon.
    Horizon,
}

/// Handles every event up to and including `horizon`.
///
/// Callers that show progress run in slices: the events and their order do not depend on how the
/// time is cut.
pub fn run<P: Process>(
    process: &mut P,
    agenda: &mut Agenda<P::Event>,
    horizon: Timestamp,
) -> Pause {
    while !process.is_over() {
        match agenda.next_time() {
            Some(next) if next > horizon => return Pause::Horizon,
            _ => match agenda.pop() {
                Some((now, event)) => process.handle(now, event, agenda),
                None => return Pause::Drained,
            },
        }
    }
    Pause::Over
}
