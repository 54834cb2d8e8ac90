//! The requests that a run remembers.

use std::collections::{BTreeMap, VecDeque};

use optimizer::units::Timestamp;

use crate::engine::RequestId;
use crate::records::{Outcome, RequestRecord};

/// The requests in flight, and those that ended and wait for older ones, so that requests leave in
/// the order of their arrival.
///
/// Only so many may wait. When more do, the oldest in flight makes way: it stays known until it
/// ends, and leaves then. So however long a request takes, no more are remembered than are in flight
/// and may wait.
///
/// A request is named by its number in the whole run. The names wrap around, long after the request
/// that had one before has gone.
#[derive(Debug)]
pub(super) struct Window {
    /// The number of the first.
    first: u64,
    requests: VecDeque<RequestRecord>,
    /// How many of them have ended.
    waiting: usize,
    /// The most that may.
    limit: usize,
    /// Those in flight that made way, by name.
    overtaken: BTreeMap<u32, RequestRecord>,
    /// Those of them that ended, in this order.
    late: VecDeque<RequestRecord>,
}

/// Some 15 MB, and more than arrive while an ordinary request is in flight.
const LIMIT: usize = 1 << 17;

impl Default for Window {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Window {
    const fn with_limit(limit: usize) -> Self {
        Self {
            first: 0,
            requests: VecDeque::new(),
            waiting: 0,
            limit,
            overtaken: BTreeMap::new(),
            late: VecDeque::new(),
        }
    }

    /// Requests that ever were in it.
    pub(super) fn num_arrived(&self) -> u64 {
        self.first + self.requests.len() as u64
    }

    /// # Panics
    ///
    /// When 2^32 requests arrived since one that is still in flight.
    pub(super) fn push(&mut self, request: RequestRecord) -> RequestId {
        let name = wrapped(self.num_arrived());
        assert!(!self.overtaken.contains_key(&name), "2^32 arrived while one was in flight");
        self.requests.push_back(request);
        RequestId(name)
    }

    /// A request in flight.
    pub(super) fn get_mut(&mut self, RequestId(name): RequestId) -> &mut RequestRecord {
        let place = name.wrapping_sub(wrapped(self.first)) as usize;
        match self.requests.get_mut(place) {
            Some(request) => request,
            None => self.overtaken.get_mut(&name).expect("requests in flight are remembered"),
        }
    }

    /// Notes that a request in flight has ended.
    pub(super) fn end(&mut self, id: RequestId, outcome: Outcome, at: Timestamp) {
        let request = self.get_mut(id);
        request.outcome = outcome;
        request.end = Some(at);
        match self.overtaken.remove(&id.0) {
            Some(late) => self.late.push_back(late),
            None => self.waiting += 1,
        }
    }

    /// Takes out the next that has ended and waits for none before it.
    pub(super) fn pop_ended(&mut self) -> Option<RequestRecord> {
        if let Some(late) = self.late.pop_front() {
            return Some(late);
        }
        let too_many = self.waiting > self.limit;
        let leaves = |first: &mut RequestRecord| too_many || first.outcome != Outcome::InFlight;
        while let Some(first) = self.requests.pop_front_if(leaves) {
            let name = wrapped(self.first);
            self.first += 1;
            if first.outcome != Outcome::InFlight {
                self.waiting -= 1;
                return Some(first);
            }
            self.overtaken.insert(name, first);
        }
        None
    }

    /// All that are left, ended or not: first those that made way.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestRecord> {
        self.late.into_iter().chain(self.overtaken.into_values()).chain(self.requests)
    }
}

/// The low bits of a number.
#[expect(clippy::cast_possible_truncation, reason = "that is the purpose")]
const fn wrapped(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Origin;

    fn request(number: u32) -> RequestRecord {
        RequestRecord {
            model: 0,
            origin: Origin::default(),
            variant: None,
            replica: None,
            arrival: Timestamp::ZERO,
            prompt_tokens: number,
            cached_tokens: 0,
            output_tokens: 1,
            generated_tokens: 0,
            scheduled: None,
            first_token: None,
            end: None,
            preemptions: 0,
            outcome: Outcome::InFlight,
        }
    }

    fn complete(window: &mut Window, id: RequestId) {
        window.end(id, Outcome::Completed, Timestamp::ZERO);
    }

    fn pop_all(window: &mut Window) -> Vec<u32> {
        std::iter::from_fn(|| window.pop_ended()).map(|request| request.prompt_tokens).collect()
    }

    #[test]
    fn requests_leave_in_the_order_of_arrival_and_names_wrap_around() {
        let mut window = Window { first: u64::from(u32::MAX) - 1, ..Window::default() };
        let ids: Vec<_> = (0..4).map(|number| window.push(request(number))).collect();
        assert_eq!(ids.iter().map(|id| id.0).collect::<Vec<_>>(), [u32::MAX - 1, u32::MAX, 0, 1]);
        complete(&mut window, ids[2]);
        complete(&mut window, ids[0]);
        assert_eq!(pop_all(&mut window), [0]);
        complete(&mut window, ids[1]);
        assert_eq!(pop_all(&mut window), [1, 2]);
        assert_eq!(window.get_mut(ids[3]).prompt_tokens, 3);
    }

    #[test]
    fn one_that_takes_forever_makes_way_and_is_not_forgotten() {
        let mut window = Window::with_limit(10);
        let slow = [window.push(request(0)), window.push(request(1))];
        let mut left = Vec::new();
        for number in 2..200_000 {
            let id = window.push(request(number));
            complete(&mut window, id);
            left.extend(pop_all(&mut window));
            assert!(window.requests.len() <= 12 && window.overtaken.len() <= 2);
        }
        assert!(window.requests.capacity() < 100, "{}", window.requests.capacity());
        assert_eq!(left, (2..200_000).collect::<Vec<_>>());
        window.get_mut(slow[1]).preemptions = 7;
        complete(&mut window, slow[1]);
        let ended = window.pop_ended().unwrap();
        assert_eq!((ended.prompt_tokens, ended.preemptions), (1, 7));
        assert_eq!(window.num_arrived(), 200_000);
        let rest: Vec<_> = window.into_requests().map(|request| request.prompt_tokens).collect();
        assert_eq!(rest, [0]);
    }
}
