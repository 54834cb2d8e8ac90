//! The events to come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use optimizer::units::Timestamp;

/// Something that can happen.
pub trait Event {
    /// The place of this event among those of the same instant; the lowest goes first.
    fn rank(&self) -> u8;
}

/// Names a scheduled event, so that it can be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKey {
    slot: u32,
    sequence: u64,
}

/// A priority queue of events, ordered by time, rank and sequence.
///
/// The heap holds small keys; the events lie in slots that are used again. Cancelling empties the
/// slot and leaves the key in the heap, to be skipped when its time comes.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Slot<E>>,
    vacant: Vec<u32>,
    sequence: u64,
    now: Timestamp,
}

/// Compared field by field, in this order. `sequence` is unique, so `slot` never decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Timestamp,
    rank: u8,
    sequence: u64,
    slot: u32,
}

#[derive(Debug)]
struct Slot<E> {
    sequence: u64,
    event: Option<E>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            sequence: 0,
            now: Timestamp::ZERO,
        }
    }
}

impl<E: Event> Agenda<E> {
    /// An empty agenda at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the event that was popped last.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets `event` happen at `at`.
    ///
    /// # Panics
    ///
    /// When `at` lies in the past: cause comes before effect.
    pub fn schedule(&mut self, at: Timestamp, event: E) -> EventKey {
        assert!(at >= self.now, "an event at {at} was scheduled at {}", self.now);
        let rank = event.rank();
        let sequence = self.sequence;
        self.sequence += 1;
        let filled = Slot { sequence, event: Some(event) };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = filled;
            slot
        } else {
            self.slots.push(filled);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 events wait at once")
        };
        self.heap.push(Reverse(Key { at, rank, sequence, slot }));
        EventKey { slot, sequence }
    }

    /// Takes back an event. `None` when it has happened or was cancelled before.
    pub fn cancel(&mut self, key: EventKey) -> Option<E> {
        let slot = &mut self.slots[key.slot as usize];
        if slot.sequence == key.sequence { slot.event.take() } else { None }
    }

    /// The time of the next event.
    pub fn next_time(&mut self) -> Option<Timestamp> {
        loop {
            let Reverse(key) = self.heap.peek()?;
            if self.slots[key.slot as usize].event.is_some() {
                return Some(key.at);
            }
            // Cancelled: only now is its slot free, because the heap no longer points at it.
            self.vacant.push(key.slot);
            self.heap.pop();
        }
    }

    /// Removes the next event and moves the clock to it.
    pub fn pop(&mut self) -> Option<(Timestamp, E)> {
        let at = self.next_time()?;
        let Reverse(key) = self.heap.pop()?;
        self.vacant.push(key.slot);
        self.now = at;
        self.slots[key.slot as usize].event.take().map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Named {
        rank: u8,
        name: usize,
    }

    impl Event for Named {
        fn rank(&self) -> u8 {
            self.rank
        }
    }

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn drain(agenda: &mut Agenda<Named>) -> Vec<usize> {
        std::iter::from_fn(|| agenda.pop().map(|(_, event)| event.name)).collect()
    }

    #[test]
    fn ties_go_by_rank_and_then_by_sequence() {
        let mut agenda = Agenda::new();
        for (name, (time, rank)) in [(5, 1), (5, 0), (3, 9), (5, 1), (5, 0)].into_iter().enumerate()
        {
            agenda.schedule(at(time), Named { rank, name });
        }
        assert_eq!(drain(&mut agenda), [2, 1, 4, 0, 3]);
        assert_eq!(agenda.now(), at(5));
    }

    #[test]
    fn a_cancelled_event_does_not_happen_and_its_key_goes_stale() {
        let mut agenda = Agenda::new();
        let first = agenda.schedule(at(1), Named { rank: 0, name: 1 });
        let second = agenda.schedule(at(2), Named { rank: 0, name: 2 });
        assert_eq!(agenda.cancel(first).map(|event| event.name), Some(1));
        assert_eq!(agenda.cancel(first), None);
        assert_eq!(agenda.next_time(), Some(at(2)));
        // The slot of the first is used again; its old key must not reach the new event.
        agenda.schedule(at(3), Named { rank: 0, name: 3 });
        assert_eq!(agenda.cancel(first), None);
        assert_eq!(drain(&mut agenda), [2, 3]);
        assert_eq!(agenda.cancel(second), None);
    }

    #[test]
    #[should_panic(expected = "was scheduled at")]
    fn nothing_happens_in_the_past() {
        let mut agenda = Agenda::new();
        agenda.schedule(at(5), Named { rank: 0, name: 0 });
        agenda.pop();
        agenda.schedule(at(4), Named { rank: 0, name: 1 });
    }

    proptest! {
        /// Against a sorted list, with events cancelled at will.
        #[test]
        fn the_order_is_that_of_a_sorted_list(
            plan in prop::collection::vec((0..20_u64, 0..3_u8, any::<bool>()), 0..60),
        ) {
            let mut agenda = Agenda::new();
            let mut expected = Vec::new();
            let mut cancelled = Vec::new();
            for (name, (time, rank, cancel)) in plan.into_iter().enumerate() {
                let key = agenda.schedule(at(time), Named { rank, name });
                if cancel { cancelled.push(key) } else { expected.push((time, rank, name)) }
            }
            for key in cancelled {
                prop_assert!(agenda.cancel(key).is_some());
            }
            expected.sort_unstable();
            let expected: Vec<_> = expected.into_iter().map(|(_, _, name)| name).collect();
            prop_assert_eq!(drain(&mut agenda), expected);
        }
    }
}
