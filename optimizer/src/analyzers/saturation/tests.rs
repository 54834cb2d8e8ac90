use super::*;
use crate::observation::{Bounds, Signal};
use crate::policy::Policy;
use crate::units::{HourlyCost, Replicas};

const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

/// A signal that is fresh, stale (two minutes old) or missing.
#[derive(Clone, Copy)]
enum S {
    Now(f64),
    Old(f64),
    None,
}

use S::{None as Gone, Now, Old};

impl S {
    fn signal<T: Copy>(self, of: impl Fn(f64) -> T) -> Signal<T> {
        match self {
            Now(value) => Signal::seen(of(value), NOW),
            Old(value) => Signal::seen(of(value), Timestamp::from_seconds(880.0)),
            Gone => Signal::Missing,
        }
    }
}

fn analysis(replicas: &[(S, S)]) -> Analysis {
    let replica = |&(kv, queue): &(S, S)| ReplicaObservation {
        kv_usage: kv.signal(Fraction::new),
        waiting: queue.signal(QueueLength::new),
        ..ReplicaObservation::silent("replica".parse().unwrap())
    };
    let count = Replicas::new(u32::try_from(replicas.len()).unwrap());
    let variant = VariantObservation {
        cost: HourlyCost::new(1.0),
        bounds: Bounds { min: Replicas::ZERO, max: None },
        current: count,
        ready: count,
        replicas: replicas.iter().map(replica).collect(),
        ..VariantObservation::new("variant".parse().unwrap(), "H100".parse().unwrap())
    };
    let policy = Policy::default();
    let (model, namespace) = ("m".parse().unwrap(), "n".parse().unwrap());
    let thresholds = policy.saturation.thresholds(&model, &namespace);
    analyze(NOW, [&variant], &thresholds, &policy.signals)
}

#[track_caller]
fn check(replicas: &[(S, S)], verdict: Verdict, reasons: &[&str]) {
    let analysis = analysis(replicas);
    let names: Vec<_> = analysis.reasons.iter().map(Reason::as_str).collect();
    assert_eq!((analysis.verdict, &names[..]), (verdict, reasons), "{:?}", analysis.reasons);
}

#[test]
fn missing_is_not_zero() {
    let idle = (Now(0.1), Now(0.0));
    check(&[], Verdict::Keep, &["nothing-reported"]);
    check(&[(Gone, Gone), (Now(0.1), Gone)], Verdict::Keep, &["observed", "signals-missing"]);
    check(
        &[idle, idle, idle, (Gone, Now(0.0))],
        Verdict::Keep,
        &["observed", "removal-safe", "signals-incomplete"],
    );
    // One signal is enough to know that a replica is full.
    check(&[(Gone, Now(5.0))], Verdict::Grow, &["observed", "all-saturated", "mean-saturated"]);
    check(&[(Now(0.8), Gone)], Verdict::Grow, &["observed", "all-saturated", "mean-saturated"]);
    let seen = analysis(&[idle, (Gone, Now(5.0)), (Gone, Gone), (Now(0.7), Gone)]);
    assert_eq!((seen.reporting, seen.saturated, seen.unknown), (4, 1, 2));
    assert_eq!(seen.spare, Spare { kv: 0.8 - 0.1, queue: 5.0 });
}

#[test]
fn stale_signals_may_raise_a_count_but_not_lower_it() {
    let idle = (Now(0.1), Now(0.0));
    check(&[(Old(0.79), Old(0.0))], Verdict::Grow, &["observed", "kv-spare-low"]);
    check(&[idle, idle, idle], Verdict::Shrink, &["observed", "removal-safe"]);
    let stale = [idle, idle, (Now(0.1), Old(0.0))];
    check(&stale, Verdict::Keep, &["observed", "removal-safe", "signals-stale"]);
    let age = Seconds::new(120.0);
    assert_eq!(analysis(&stale).reasons.last(), Some(&Reason::SignalsStale { age }));
}

/// The idle replicas have 0.80 to spare. With 12 full ones among 15 the mean over all is at the
/// threshold, with 11 it is not, but there is no room for a removal either.
#[test]
fn idle_replicas_do_not_hide_full_ones() {
    let idle = (Now(0.0), Now(0.0));
    let mut replicas = vec![(Now(1.0), Now(0.0)); 12];
    replicas.extend([idle; 3]);
    check(&replicas, Verdict::Grow, &["observed", "mean-saturated"]);
    replicas[0] = idle;
    check(&replicas, Verdict::Keep, &["observed", "removal-unsafe"]);
}

/// The full cache has no queue, but it cannot take over the queues of the others: 5 + 3 · 1.9,
/// over 3, leaves 1.43. The unsaturated ones alone would leave 2.15 and the plain sum 3.1.
#[test]
fn a_saturated_replica_counts_as_full_on_both_signals() {
    let replicas = [(Now(0.8), Now(0.0)), (Now(0.0), Now(1.9)), (Now(0.0), Now(1.9))];
    let after = analysis(&[&replicas[..], &replicas[1..2]].concat()).spare_after_removal;
    let queue = after.unwrap().queue;
    assert!((queue - (5.0 - 10.7 / 3.0)).abs() < 1e-12, "{queue}");
}

#[test]
fn a_spare_that_differs_from_its_trigger_by_rounding_only_is_enough() {
    // The mean of three times 0.7 is 0.6999999999999998, and 0.8 - 0.7 is 0.10000000000000009.
    for count in 1..50 {
        let verdict = analysis(&vec![(Now(0.7), Now(2.0)); count]).verdict;
        assert_eq!(verdict, Verdict::Keep, "{count} replicas");
    }
}
