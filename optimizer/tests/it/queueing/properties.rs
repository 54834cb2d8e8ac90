//! What holds for every replica, whatever its numbers.

use std::num::NonZeroU32;

use optimizer::queueing::{
    Chain, IterationCosts, PhaseCosts, Replica, ServiceModel, TailTarget, Targets,
};
use optimizer::units::{Fraction, RequestRate, Seconds, Tokens};
use proptest::prelude::*;

use super::{near, shape};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn probabilities_sum_to_one_and_flows_balance(
        (rates, max_queue) in chains(),
        arrival in magnitude(-6, 6),
    ) {
        let chain = Chain::new(&rates, max_queue).unwrap();
        let probabilities = chain.probabilities(arrival);
        let sum: f64 = probabilities.iter().map(|p| p.value()).sum();
        near("sum", sum, 1.0, 1e-12, 0.0);
        // Between two neighbors, as many requests go up as come down.
        let mut completed = 0.0;
        for (n, pair) in probabilities.windows(2).enumerate() {
            let up = arrival.value() * pair[0].value();
            let down = rates[n.min(rates.len() - 1)].value() * pair[1].value();
            near(&format!("flow at {n}"), up, down, 1e-9, 1e-290);
            completed += down;
        }
        let steady = chain.steady_state(arrival);
        near("throughput", steady.throughput.value(), completed, 1e-9, 0.0);
        prop_assert!(steady.throughput <= arrival);
    }

    /// The mean wait by Little's law, from the mean queue, is that of the waiting time's own
    /// distribution.
    #[test]
    fn littles_law_agrees_with_the_waiting_time(
        (rates, max_queue) in chains(),
        arrival in magnitude(-3, 3),
    ) {
        let chain = Chain::new(&rates, max_queue).unwrap();
        let by_little = chain.steady_state(arrival).wait;
        near("wait", chain.wait(arrival).mean().value(), by_little.value(), 1e-9, 1e-290);
    }

    /// The closed form of M/M/1/K, p(n) = (1 − r) rⁿ / (1 − r^(K + 1)) with r = λ/µ.
    #[test]
    fn a_single_server_has_the_closed_form(service in magnitude(-3, 3), r in 0.05..0.95_f64, queue in 0_u32..40) {
        let probabilities = Chain::new(&[service], queue).unwrap().probabilities(service * r);
        for (n, p) in (0_i32..).zip(&probabilities) {
            let last = i32::try_from(probabilities.len()).unwrap();
            let expected = (1.0 - r) * r.powi(n) / (1.0 - r.powi(last));
            near(&format!("p({n})"), p.value(), expected, 1e-11, 0.0);
        }
    }

    #[test]
    fn more_load_never_shortens_the_wait(
        replica in replicas(),
        load in 0.01..3.0,
        more in 1.0..2.0,
    ) {
        let arrival = replica.max_rate() * load;
        let (before, after) = (replica.performance(arrival), replica.performance(arrival * more));
        let slack = 1.0 + 1e-9;
        prop_assert!(before.steady.wait <= after.steady.wait * slack);
        prop_assert!(before.ttft <= after.ttft * slack);
        let (before, after) = (replica.wait(arrival), replica.wait(arrival * more));
        for share in [0.5, 0.95, 0.99] {
            let percentile = Fraction::new(share);
            prop_assert!(before.percentile(percentile) <= after.percentile(percentile).map(|wait| wait * slack));
        }
    }

    #[test]
    fn a_percentile_is_the_shortest_wait_that_covers_its_share(
        replica in replicas(),
        load in 0.1..2.0,
        share in 0.01..0.999,
    ) {
        let wait = replica.wait(replica.max_rate() * load);
        let percentile = wait.percentile(Fraction::new(share)).unwrap();
        prop_assert!(wait.longer_than(percentile).value() <= 1.0 - share + 1e-9);
        if !percentile.is_zero() {
            prop_assert!(wait.longer_than(percentile * 0.999).value() > 1.0 - share);
        }
    }

    /// A tighter target is never met by more load, and one that no load meets has no looser twin
    /// that is out of reach.
    #[test]
    fn a_tighter_target_never_allows_more(
        replica in replicas(),
        slack in 0.5..4.0,
        tighter in 0.5..1.0,
        share in 0.5..0.99,
        which in 0..4_u8,
    ) {
        let idle = replica.performance(RequestRate::ZERO);
        let size = |factor: f64, share: f64| {
            let (share, none) = (Fraction::new(share), Targets::default());
            let ttft = idle.ttft * (slack * factor);
            let targets = match which {
                0 => Targets { ttft: Some(ttft), ..none },
                1 => Targets { itl: Some(idle.itl * (slack * factor)), ..none },
                2 => Targets { ttft_tail: Some(TailTarget { share, within: ttft }), ..none },
                _ => Targets { wait: Some(TailTarget { share, within: ttft }), ..none },
            };
            replica.size(&targets).map(|sizing| sizing.arrival().value())
        };
        let check = |loose: Result<f64, _>, tight: Result<f64, _>| match (loose, tight) {
            (Ok(loose), Ok(tight)) => tight <= loose * (1.0 + 1e-9),
            (_, Err(_)) => true,
            (Err(_), Ok(_)) => false,
        };
        prop_assert!(check(size(1.0, share), size(tighter, share)));
        prop_assert!(check(size(1.0, share), size(1.0, f64::midpoint(share, 1.0))));
    }

    /// A wait's percentile and the size for it are two ways to the same point.
    #[test]
    fn the_size_for_a_percentile_has_that_percentile(
        replica in replicas(),
        slack in 1.5..20.0,
        share in 0.5..0.99,
    ) {
        let within = replica.performance(RequestRate::ZERO).ttft * slack;
        let share = Fraction::new(share);
        let tail = TailTarget { share, within };
        let sizing = replica.size(&Targets { ttft_tail: Some(tail), ..Targets::default() });
        let arrival = sizing.unwrap().arrival();
        let ttft = |arrival| {
            let wait = replica.wait(arrival).percentile(share).unwrap();
            replica.performance(arrival).first_token + wait
        };
        prop_assert!(ttft(arrival) <= within * (1.0 + 1e-9));
        prop_assert!(arrival == replica.max_rate() || ttft(arrival * (1.0 + 1e-6)) > within);
    }

    /// The targets are met at the answer, and a little more load breaks one of them.
    #[test]
    fn sizing_is_tight(
        replica in replicas(),
        slack in (1.0..4.0, 1.0..4.0),
        within in 0.0..5.0,
    ) {
        let idle = replica.performance(RequestRate::ZERO);
        let wait = TailTarget { share: Fraction::new(0.95), within: Seconds::new(within) };
        let targets = Targets {
            ttft: Some(idle.ttft * slack.0),
            itl: Some(idle.itl * slack.1),
            wait: Some(wait),
            ttft_tail: None,
            headroom: Fraction::ZERO,
        };
        let met = |arrival: RequestRate| {
            let performance = replica.performance(arrival);
            Some(performance.ttft) <= targets.ttft
                && Some(performance.itl) <= targets.itl
                && replica.wait(arrival).longer_than(wait.within).value() <= 1.0 - wait.share.value()
        };
        let arrival = replica.size(&targets).unwrap().arrival();
        prop_assert!(met(arrival));
        prop_assert!(arrival == replica.max_rate() || !met(arrival * (1.0 + 1e-6)));
    }
}

/// Rates so far apart that their products would overflow, in a system as large as any.
#[test]
fn no_rate_overflows() {
    for (slow, fast) in [(1e-300, 1e300), (1.0, 1e308), (1e-308, 1.0)] {
        let chain = |rate: f64| Chain::new(&[RequestRate::new(rate); 256], 2560).unwrap();
        let flooded = chain(slow).steady_state(RequestRate::new(fast));
        near("throughput", flooded.throughput.value(), slow, 1e-12, 0.0);
        near("in queue", flooded.in_queue.value(), 2560.0, 1e-12, 0.0);
        let idle = chain(fast).steady_state(RequestRate::new(slow));
        near("throughput", idle.throughput.value(), slow, 1e-12, 0.0);
        assert_eq!(idle.wait, Seconds::ZERO);
        let wait = chain(slow).wait(RequestRate::new(fast)).percentile(Fraction::new(0.5));
        assert!(wait > Some(Seconds::ZERO));
    }
}

#[test]
fn without_load_nothing_waits_and_service_is_that_of_one() {
    let rates = [2.0, 3.0].map(RequestRate::new);
    let chain = Chain::new(&rates, 5).unwrap();
    let steady = chain.steady_state(RequestRate::ZERO);
    assert_eq!((steady.wait, steady.service), (Seconds::ZERO, Seconds::new(0.5)));
    assert_eq!((steady.empty, steady.blocked), (Fraction::ONE, Fraction::ZERO));
    assert_eq!(chain.wait(RequestRate::ZERO).percentile(Fraction::ONE), Some(Seconds::ZERO));
    assert_eq!(chain.wait(RequestRate::new(1.0)).percentile(Fraction::ONE), None);
}

fn chains() -> impl Strategy<Value = (Vec<RequestRate>, u32)> {
    (prop::collection::vec(magnitude(-3, 3), 1..64), 0_u32..200)
}

/// A rate of any order of magnitude between two powers of ten.
fn magnitude(low: i32, high: i32) -> impl Strategy<Value = RequestRate> {
    (f64::from(low)..f64::from(high)).prop_map(|power| RequestRate::new(10_f64.powf(power)))
}

/// Replicas of every law, with costs of the order of real GPUs' and prompts that fit the default
/// token budget, so that S(n) does not jump.
fn replicas() -> impl Strategy<Value = Replica> {
    let costs = (1.0..30.0, 0.01..1.0, 0.000_01..0.001);
    (0..4_u8, costs, (1_u64..1024, 16_u64..1024), (1_u32..48, 0_u32..200)).prop_map(
        |(law, (alpha, beta, gamma), (input, output), (max_batch, max_queue))| {
            let [overhead, compute_per_token, read_per_token] =
                [alpha, beta, gamma].map(Seconds::from_millis);
            let costs = IterationCosts { overhead, compute_per_token, read_per_token };
            let model = match law {
                0 => ServiceModel::V0(PhaseCosts {
                    decode_base: overhead,
                    decode_per_request: compute_per_token,
                    prefill_base: overhead,
                    prefill_per_token: read_per_token,
                }),
                1 => ServiceModel::V1(costs),
                2 => ServiceModel::V1b(costs),
                _ => ServiceModel::V2 { costs, token_budget: Tokens::new(1 << 20) },
            };
            let max_batch = NonZeroU32::new(max_batch).unwrap();
            Replica::new(model, shape(input, output), max_batch, max_queue).unwrap()
        },
    )
}
