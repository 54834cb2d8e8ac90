//! Signals, read at one moment.

use crate::observation::{ReplicaObservation, Signal, VariantObservation};
use crate::policy::Freshness;
use crate::units::{Seconds, Timestamp, Tokens};

/// Reads signals, and keeps the age of the oldest that it could use.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    now: Timestamp,
    freshness: &'a Freshness,
    oldest: Seconds,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(now: Timestamp, freshness: &'a Freshness) -> Self {
        Self { now, freshness, oldest: Seconds::ZERO }
    }

    /// The value, be it fresh or stale.
    pub(super) fn read<T: Copy>(&mut self, signal: &Signal<T>) -> Option<T> {
        let value = signal.read(self.now, self.freshness).value()?;
        if let Some((_, at)) = sample(signal) {
            self.oldest = self.oldest.max(self.now.since(at));
        }
        Some(value)
    }

    /// The value if it is fresh, and when it was sampled.
    pub(super) fn fresh<T: Copy>(&self, signal: &Signal<T>) -> Option<(T, Timestamp)> {
        let is_fresh = signal.read(self.now, self.freshness).is_fresh();
        sample(signal).filter(|_| is_fresh)
    }

    /// The age of the oldest signal that was used.
    pub(super) const fn oldest(&self) -> Seconds {
        self.oldest
    }
}

/// The engines of a variant that report, sorted. One whose cache has no room is still starting.
pub(super) fn reporting<'a>(
    variant: &'a VariantObservation,
    reader: &mut Reader<'_>,
) -> Vec<&'a ReplicaObservation> {
    let replicas = variant.replicas.iter();
    let is_up = |replica: &&_| {
        let ReplicaObservation { kv_capacity, .. } = replica;
        reader.read(kv_capacity) != Some(Tokens::ZERO)
    };
    let mut replicas: Vec<_> = replicas.filter(is_up).collect();
    replicas.sort_unstable();
    replicas
}

/// What was sampled and when, whatever its age.
fn sample<T: Copy>(signal: &Signal<T>) -> Option<(T, Timestamp)> {
    match *signal {
        Signal::Missing => None,
        Signal::Seen { value, at } => Some((value, at)),
    }
}

/// Engines of one replica: what its configuration says, or else what reports.
pub(super) fn engines_per_replica(variant: &VariantObservation, reporting: usize) -> u64 {
    let configured = variant.engine.data_parallel.map(|ranks| u64::from(ranks.get()));
    let ready = u64::from(variant.ready.get());
    configured.unwrap_or_else(|| (reporting as u64).checked_div(ready).unwrap_or(1).max(1))
}

/// The mean, the same for every order of the values; `None` without values.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    let count = values.len() as f64;
    (!values.is_empty()).then(|| total(values) / count)
}

/// The sum, the same for every order of the values and never infinite.
pub(super) fn total(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.into_iter().sum::<f64>().min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_the_order() {
        for values in [[1e16, 1.0, 1.0], [1.0, 1e16, 1.0], [1.0, 1.0, 1e16]] {
            assert_eq!(total(values).to_bits(), (1e16_f64 + 2.0).to_bits(), "{values:?}");
            assert_eq!(mean(values).map(f64::to_bits), Some(((1e16_f64 + 2.0) / 3.0).to_bits()));
        }
        assert_eq!(total([f64::MAX; 3]).to_bits(), f64::MAX.to_bits());
        assert_eq!(mean([]), None);
    }
}
