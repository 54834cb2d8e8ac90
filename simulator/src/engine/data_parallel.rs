//! Several engines behind one door.

use optimizer::units::{Fraction, Timestamp};

use super::{Counters, Lost, ModelServer, Observer, Rejection, Request, RequestId};

/// Data parallelism: engines with a scheduler and a KV cache each, and a coordinator that gives a
/// request to the least loaded of them.
///
/// A request that waits counts four times as much as one that runs; of equals the first engine is
/// taken. (Source: the coordinator of vLLM's internal load balancing.) The ranks keep their own
/// time here, as those of a dense model do. Where experts are spread over the ranks, they keep
/// step with the slowest, which is not modeled.
#[derive(Debug)]
pub struct DataParallel<S> {
    ranks: Vec<S>,
}

impl<S: ModelServer> DataParallel<S> {
    /// One engine for each rank; at least one.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn new(ranks: Vec<S>) -> Self {
        assert!(!ranks.is_empty(), "data parallelism needs a rank");
        Self { ranks }
    }

    /// The engines, by rank.
    #[must_use]
    pub fn ranks(&self) -> &[S] {
        &self.ranks
    }
}

impl<S: ModelServer> ModelServer for DataParallel<S> {
    fn advance(&mut self, now: Timestamp, observer: &mut impl Observer) {
        if let [only] = self.ranks.as_mut_slice() {
            return only.advance(now, observer);
        }
        // In the order of time, as the owner of one engine would hear of it.
        while let Some((_, rank)) = self.next().filter(|&(at, _)| at <= now) {
            let at = self.ranks[rank].next_event().unwrap_or(now);
            self.ranks[rank].advance(at, observer);
        }
        for rank in &mut self.ranks {
            rank.advance(now, observer);
        }
    }

    fn submit(
        &mut self,
        request: Request,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Result<(), Rejection> {
        let least =
            self.ranks.iter_mut().min_by_key(|rank| 4 * rank.num_waiting() + rank.num_running());
        least.expect("there is a rank").submit(request, now, observer)
    }

    fn next_event(&self) -> Option<Timestamp> {
        self.next().map(|(at, _)| at)
    }

    fn abort(&mut self, id: RequestId) -> Option<Lost> {
        self.ranks.iter_mut().find_map(|rank| rank.abort(id))
    }

    fn abort_all(&mut self) -> Vec<Lost> {
        self.ranks.iter_mut().flat_map(S::abort_all).collect()
    }

    fn num_running(&self) -> usize {
        self.ranks.iter().map(S::num_running).sum()
    }

    fn num_waiting(&self) -> usize {
        self.ranks.iter().map(S::num_waiting).sum()
    }

    /// The mean over the ranks.
    fn kv_usage(&self) -> Fraction {
        let sum: f64 = self.ranks.iter().map(|rank| rank.kv_usage().value()).sum();
        Fraction::new((sum / self.ranks.len() as f64).min(1.0))
    }

    /// The sum over the ranks.
    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.ranks.iter().for_each(|rank| sum += rank.counters());
        sum
    }
}

impl<S: ModelServer> DataParallel<S> {
    /// The next event and the rank where it happens.
    fn next(&self) -> Option<(Timestamp, usize)> {
        let events =
            (0..).zip(&self.ranks).filter_map(|(idx, rank)| Some((rank.next_event()?, idx)));
        events.min()
    }
}
