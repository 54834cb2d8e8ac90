//! Learning the costs of a law: against computed filters, and against a law whose costs are known.

use std::num::NonZeroU32;

use optimizer::queueing::tuning::{
    Belief, Drift, KalmanFilter, KalmanSettings, Latencies, Observed, WindowSettings, fit, guess,
};
use optimizer::queueing::{
    DEFAULT_TOKEN_BUDGET, IterationCosts, Replica, RequestShape, ServiceModel,
};
use optimizer::units::{Fraction, RequestRate, Seconds, Tokens};

/// A load: requests per minute, L and m. N is 64 and Q is 640 throughout.
type Load = (f64, u64, u64);

const CHAT: Load = (120.0, 1024, 256);
/// Loads that together show all three costs.
const MIXED: [Load; 4] =
    [(60.0, 1024, 256), (600.0, 128, 512), (900.0, 256, 128), (90.0, 4096, 64)];

/// The settings of the analyzer's defaults.
const SETTINGS: KalmanSettings = KalmanSettings {
    drift: Fraction::new(0.05),
    drifts: Drift::Seen,
    noise: Fraction::new(0.1),
    expected: None,
    gate: 7.378,
    reach: 100.0,
};

/// One step of a computed filter, in milliseconds.
struct Step {
    load: Load,
    observed: [f64; 2],
    predicted: [f64; 2],
    innovation: [f64; 2],
    jacobian: [[f64; 3]; 2],
    covariance: [[f64; 2]; 2],
    surprise: f64,
    costs: [f64; 3],
    belief: [[f64; 3]; 3],
}

/// The filter ekf01 of the vectors, in 40 digits: law V2, with the noise of the tuner's defaults.
#[test]
fn a_filter_moves_as_computed() {
    let settings = KalmanSettings {
        drift: Fraction::new(0.15),
        drifts: Drift::All,
        noise: Fraction::new(0.5 / 1.96),
        expected: Some(latencies([200.0, 40.0])),
        ..SETTINGS
    };
    let prior = Belief::prior(costs([5.0, 0.05, 5e-5]), settings.drift);
    let mut filter = KalmanFilter::new(prior);
    for (step, expected) in ekf01().iter().enumerate() {
        let what = |name: &str| format!("step {step}, {name}");
        let observed = latencies(expected.observed).into();
        let found = filter.update(|it| predict(it, expected.load), observed, &settings).unwrap();
        assert!(found.accepted);
        check_vector(&what("predicted"), millis(found.predicted), expected.predicted);
        check_vector(&what("innovation"), found.innovation.map(|it| it * 1e3), expected.innovation);
        for i in 0..2 {
            // A latency over a cost has no unit.
            check_vector(&what("H"), found.jacobian[i], expected.jacobian[i]);
            check_vector(
                &what("S"),
                found.covariance[i].map(|it| it * 1e6),
                expected.covariance[i],
            );
        }
        check_vector(&what("NIS"), [found.surprise], [expected.surprise]);
        check_vector(&what("x"), in_millis(filter.belief().costs), expected.costs);
        for (row, expected) in filter.belief().covariance().into_iter().zip(expected.belief) {
            check_vector(&what("P"), row.map(|it| it * 1e6), expected);
        }
    }
}

/// The filter ekf02: law V1, a time to first token without the first decode step, and an
/// observation that is too far off. It leaves no trace.
#[test]
fn an_observation_that_is_too_far_off_changes_nothing() {
    let settings = KalmanSettings {
        drift: Fraction::new(0.05),
        drifts: Drift::All,
        noise: Fraction::new(0.05 / 1.96),
        ..SETTINGS
    };
    let v1 = |costs| {
        let replica = replica(ServiceModel::V1(costs), (60.0, 1024, 256));
        let performance = replica.performance(RequestRate::new(1.0));
        let ttft = performance.steady.wait + performance.prefill;
        Some(Latencies { ttft, itl: performance.itl })
    };
    let prior = Belief::prior(costs([7.0, 0.04, 3e-5]), settings.drift);
    let mut filter = KalmanFilter::new(prior);
    let before = filter.clone();
    let observed = latencies([39.127_489_53, 8.613_179_528]).into();
    let step = filter.update(v1, observed, &settings).unwrap();
    assert!(!step.accepted);
    assert_eq!(filter, before);
    check_vector("predicted", millis(step.predicted), [48.468_064_43, 7.786_599_43]);
    check_vector("innovation", step.innovation.map(|it| it * 1e3), [-9.340_574_9, 0.826_580_098_3]);
    check_vector("H", step.jacobian[0], [1.063_922_507, 1_035.456_265, 3_673.800_802]);
    check_vector("H", step.jacobian[1], [1.063_922_507, 17.456_264_87, 4_958.300_802]);
    check_vector("S", step.covariance[0].map(|it| it * 1e6), [9.851_045_175, 0.422_006_681_4]);
    check_vector("S", step.covariance[1].map(|it| it * 1e6), [0.422_006_681_4, 0.328_150_142_4]);
    check_vector("NIS", [step.surprise], [13.709_750_97]);

    // What the observation would have done, had the gate let it in.
    let open = KalmanSettings { gate: f64::INFINITY, ..settings };
    assert!(filter.update(v1, observed, &open).unwrap().accepted);
    let moved = in_millis(filter.belief().costs);
    check_vector("x", moved, [7.739_906_756, 0.031_294_171_97, 3.006_979_573e-5]);
}

/// QM-14 of the workload-variant-autoscaler 0.9.
#[test]
fn a_first_guess_explains_one_observation() {
    let shape =
        |input, output| RequestShape { input: Tokens::new(input), output: Tokens::new(output) };
    let found = guess(latencies([80.0, 12.0]), shape(1000, 200)).unwrap();
    let [alpha, beta, gamma] = in_millis(found);
    assert!((alpha - 10.8).abs() < 1e-9 && (beta - 0.068_171_533).abs() < 1e-9, "{found:?}");
    assert!((gamma - 0.001_028_467).abs() < 1e-9, "{found:?}");
    // A first token that comes before the overhead is over has no explanation; nor has a prompt of
    // no tokens.
    assert_eq!(guess(latencies([10.0, 12.0]), shape(1000, 200)), None);
    assert_eq!(guess(latencies([80.0, 12.0]), shape(0, 200)), None);
    assert_eq!(guess(latencies([80.0, 0.0]), shape(1000, 1)), None);
}

#[test]
fn a_filter_finds_the_costs_when_loads_differ() {
    let truth = costs([6.0, 0.03, 8e-5]);
    let mut filter = KalmanFilter::new(Belief::prior(costs([5.0, 0.05, 5e-5]), Fraction::new(0.5)));
    let settings = KalmanSettings { noise: Fraction::new(0.02), gate: f64::INFINITY, ..SETTINGS };
    for round in 0..100 {
        let load = MIXED[round % MIXED.len()];
        let observed = v2(truth, load).into();
        filter.update(|it| predict(it, load), observed, &settings).unwrap();
    }
    check_close(filter.belief().costs, truth, 0.06);
    assert!(filter.belief().seen(Fraction::new(0.5)) > 2.9);
}

/// With one load, two numbers are all that is ever seen. They are explained, the third direction
/// stays where it was, and it does not become less certain either.
#[test]
fn what_one_load_does_not_show_does_not_move() {
    let truth = costs([6.0, 0.045, 6e-5]);
    let start = costs([5.0, 0.05, 5e-5]);
    let prior_error = Fraction::new(0.15);
    let settings = KalmanSettings { gate: f64::INFINITY, ..SETTINGS };
    let observed: Observed = v2(truth, CHAT).into();
    let run = |drifts| {
        let mut filter = KalmanFilter::new(Belief::prior(start, prior_error));
        for _ in 0..2000 {
            let settings = KalmanSettings { drifts, ..settings };
            filter.update(|it| predict(it, CHAT), observed, &settings).unwrap();
        }
        *filter.belief()
    };
    let guarded = run(Drift::Seen);
    let explained = v2(guarded.costs, CHAT);
    let seen = v2(truth, CHAT);
    assert!((explained.ttft / seen.ttft - 1.0).abs() < 1e-3, "{explained:?}, not {seen:?}");
    assert!((explained.itl / seen.itl - 1.0).abs() < 1e-3, "{explained:?}, not {seen:?}");
    let directions = guarded.seen(prior_error);
    assert!((1.0..2.1).contains(&directions), "{directions}");
    // The direction that the load does not show: the null space of H, scaled by the prior.
    let hidden = |belief: &Belief| hidden_variance(belief, start);
    let prior = hidden(&Belief::prior(start, prior_error));
    assert!(hidden(&guarded) <= 1.2 * prior, "{} {prior}", hidden(&guarded));
    assert!(hidden(&run(Drift::All)) > 50.0 * prior, "without the guard it grows without end");
}

/// A cost that nothing shows, because the replica reports one latency only.
#[test]
fn a_latency_that_is_not_observed_pulls_at_nothing() {
    let start = costs([5.0, 0.05, 5e-5]);
    let mut filter = KalmanFilter::new(Belief::prior(start, Fraction::new(0.15)));
    let predicted = v2(start, CHAT);
    let observed = Observed { ttft: None, itl: Some(predicted.itl * 1.1) };
    let step = filter.update(|it| predict(it, CHAT), observed, &SETTINGS).unwrap();
    assert!(step.accepted && step.innovation[0].abs() <= 0.0);
    assert!(filter.belief().seen(Fraction::new(0.15)) < 1.0);
    assert!(v2(filter.belief().costs, CHAT).itl > predicted.itl);
    let before = filter.clone();
    filter.update(|it| predict(it, CHAT), Observed::default(), &SETTINGS).unwrap();
    assert_eq!(filter.belief().costs, before.belief().costs);
}

#[test]
fn a_window_finds_the_costs_when_loads_differ() {
    let truth = costs([6.0, 0.03, 8e-5]);
    let observed = MIXED.map(|load| Observed::from(v2(truth, load)));
    let settings = WindowSettings { prior_error: Fraction::new(0.5), noise: Fraction::new(0.01) };
    let predict = |idx: usize, it| predict(it, MIXED[idx]);
    let belief = fit(costs([5.0, 0.05, 5e-5]), &observed, predict, &settings).unwrap();
    check_close(belief.costs, truth, 0.01);
    assert!(belief.seen(settings.prior_error) > 2.9);
}

#[test]
fn a_window_of_one_load_explains_it_and_leaves_the_rest_to_the_prior() {
    let (truth, start) = (costs([6.0, 0.045, 6e-5]), costs([5.0, 0.05, 5e-5]));
    let observed = [Observed::from(v2(truth, CHAT)); 10];
    let settings = WindowSettings { prior_error: Fraction::new(0.15), noise: Fraction::new(0.02) };
    let belief = fit(start, &observed, |_, it| predict(it, CHAT), &settings).unwrap();
    let (explained, seen) = (v2(belief.costs, CHAT), v2(truth, CHAT));
    assert!((explained.ttft / seen.ttft - 1.0).abs() < 5e-3, "{explained:?}, not {seen:?}");
    assert!((explained.itl / seen.itl - 1.0).abs() < 5e-3, "{explained:?}, not {seen:?}");
    let directions = belief.seen(settings.prior_error);
    assert!((1.0..2.1).contains(&directions), "{directions}");
    check_close(belief.costs, start, 0.5);
}

/// One observation of ten is three times what it should be.
#[test]
fn an_outlier_pulls_a_window_little() {
    let truth = costs([5.0, 0.05, 5e-5]);
    let loads: Vec<Load> = (0..10).map(|idx| MIXED[idx % MIXED.len()]).collect();
    let mut observed: Vec<Observed> = loads.iter().map(|load| v2(truth, *load).into()).collect();
    observed[4].itl = observed[4].itl.map(|itl| itl * 3.0);
    let settings = WindowSettings { prior_error: Fraction::new(0.5), noise: Fraction::new(0.02) };
    let predict = |idx: usize, it| predict(it, loads[idx]);
    let belief = fit(truth, &observed, predict, &settings).unwrap();
    check_close(belief.costs, truth, 0.06);
}

#[test]
fn nothing_that_is_observed_breaks_a_tuner() {
    let start = costs([5.0, 0.05, 5e-5]);
    let extremes = [0.0, 1e-300, 1e-3, 1.0, 1e9, f64::MAX].map(Seconds::new);
    for ttft in extremes {
        for itl in extremes {
            let observed = Observed { ttft: Some(ttft), itl: Some(itl) };
            let settings = KalmanSettings { gate: f64::INFINITY, ..SETTINGS };
            let mut filter = KalmanFilter::new(Belief::prior(start, Fraction::new(0.15)));
            for _ in 0..3 {
                let _ = filter.update(|it| predict(it, CHAT), observed, &settings);
            }
            let settings =
                WindowSettings { prior_error: Fraction::new(0.15), noise: Fraction::new(0.1) };
            let _ = fit(start, &[observed], |_, it| predict(it, CHAT), &settings);
        }
    }
}

/// The variance along the combination of costs that [`CHAT`] does not show, relative to `scale`.
fn hidden_variance(belief: &Belief, scale: IterationCosts) -> f64 {
    let mut filter = KalmanFilter::new(Belief::prior(scale, Fraction::new(0.15)));
    let observed = v2(scale, CHAT).into();
    let step = filter.update(|it| predict(it, CHAT), observed, &SETTINGS).unwrap();
    let size = [scale.overhead, scale.compute_per_token, scale.read_per_token].map(Seconds::value);
    let [a, b] = step.jacobian.map(|row| std::array::from_fn::<f64, 3, _>(|i| row[i] * size[i]));
    let normal = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let length = normal.iter().map(|it| it * it).sum::<f64>();
    let mut variance = 0.0;
    for i in 0..3 {
        for j in 0..3 {
            variance += normal[i] * normal[j] * belief.covariance()[i][j] / (size[i] * size[j]);
        }
    }
    variance / length
}

/// As a tuner asks for it.
#[expect(clippy::unnecessary_wraps, reason = "a prediction may be impossible, though none here is")]
fn predict(costs: IterationCosts, load: Load) -> Option<Latencies> {
    Some(v2(costs, load))
}

fn v2(costs: IterationCosts, load: Load) -> Latencies {
    let replica = replica(ServiceModel::V2 { costs, token_budget: DEFAULT_TOKEN_BUDGET }, load);
    let performance = replica.performance(RequestRate::new(load.0 / 60.0));
    Latencies { ttft: performance.ttft, itl: performance.itl }
}

fn replica(model: ServiceModel, (_, input, output): Load) -> Replica {
    let shape = RequestShape { input: Tokens::new(input), output: Tokens::new(output) };
    Replica::new(model, shape, NonZeroU32::new(64).unwrap(), 640).unwrap()
}

/// From α, β and γ in milliseconds.
fn costs(millis: [f64; 3]) -> IterationCosts {
    let [overhead, compute_per_token, read_per_token] = millis.map(Seconds::from_millis);
    IterationCosts { overhead, compute_per_token, read_per_token }
}

fn latencies([ttft, itl]: [f64; 2]) -> Latencies {
    Latencies { ttft: Seconds::from_millis(ttft), itl: Seconds::from_millis(itl) }
}

fn millis(latencies: Latencies) -> [f64; 2] {
    [latencies.ttft.as_millis(), latencies.itl.as_millis()]
}

fn in_millis(costs: IterationCosts) -> [f64; 3] {
    [costs.overhead, costs.compute_per_token, costs.read_per_token].map(Seconds::as_millis)
}

/// The vectors have ten digits, of the entries and of what they are differences of.
#[track_caller]
fn check_vector<const N: usize>(what: &str, actual: [f64; N], expected: [f64; N]) {
    let largest = expected.iter().fold(0.0, |largest: f64, entry| largest.max(entry.abs()));
    for (found, wanted) in actual.into_iter().zip(expected) {
        let error = (found - wanted).abs();
        let close = error <= 1e-7 * wanted.abs() || error <= 1e-12 * largest;
        assert!(close, "{what}: {actual:?}, not {expected:?}");
    }
}

#[track_caller]
fn check_close(actual: IterationCosts, expected: IterationCosts, relative: f64) {
    for (found, wanted) in in_millis(actual).into_iter().zip(in_millis(expected)) {
        assert!((found / wanted - 1.0).abs() <= relative, "{actual:?}, not {expected:?}");
    }
}

fn ekf01() -> [Step; 3] {
    [
        Step {
            load: (60.0, 1024, 256),
            observed: [47.379_771_36, 8.432_735_681],
            predicted: [61.961_299_69, 5.562_774_847],
            innovation: [-14.581_528_33, 2.869_960_834],
            jacobian: [
                [2.171_088_74, 1_036.899_652, 4_928.886_575],
                [1.085_544_37, 9.449_825_787, 3_106.943_287],
            ],
            covariance: [[2_729.343_212, 3.755_471_223], [3.755_471_223, 105.460_121_5]],
            surprise: 0.157_103_862_2,
            costs: [5.020_327_34, 0.049_401_526_35, 5.000_659_568e-5],
            belief: [
                [1.108_749_246, -0.000_114_814_461_6, -4.524_067_504e-9],
                [-0.000_114_814_461_6, 0.000_107_506_641_1, -2.668_426_829e-11],
                [-4.524_067_504e-9, -2.668_426_829e-11, 1.124_987_339e-10],
            ],
        },
        Step {
            load: (120.0, 1024, 256),
            observed: [48.211_524_1, 8.848_612_051],
            predicted: [62.452_866_7, 6.113_185_676],
            innovation: [-14.241_342_6, 2.735_426_375],
            jacobian: [
                [2.369_887_862, 1_060.155_111, 10_307.852_65],
                [1.184_943_931, 21.077_555_64, 5_796.426_326],
            ],
            covariance: [[2_795.959_41, 8.212_223_737], [8.212_223_737, 106.542_486_8]],
            surprise: 0.144_950_355_6,
            costs: [5.052_049_299, 0.048_591_804_49, 5.002_315_288e-5],
            belief: [
                [1.629_669_367, -0.000_404_618_101, -2.471_629_761e-8],
                [-0.000_404_618_101, 0.000_152_936_828_2, -1.575_837_843e-10],
                [-2.471_629_761e-8, -1.575_837_843e-10, 1.687_389_17e-10],
            ],
        },
        Step {
            load: (180.0, 512, 512),
            observed: [33.455_656_14, 9.103_088_07],
            predicted: [37.691_931_19, 6.505_013_227],
            innovation: [-4.236_275_046, 2.598_074_843],
            jacobian: [
                [2.526_525_323, 562.920_989_1, 20_487.536_07],
                [1.263_262_661, 26.960_494_56, 10_756.768_04],
            ],
            covariance: [[2_682.299_84, 9.903_359_578], [9.903_359_578, 107.771_377_3]],
            surprise: 0.070_100_955_16,
            costs: [5.110_100_397, 0.048_521_374_52, 5.007_356_623e-5],
            belief: [
                [2.112_046_383, -0.000_755_081_684_7, -9.374_034_773e-8],
                [-0.000_755_081_684_7, 0.000_203_902_197_5, -4.548_302_412e-10],
                [-9.374_034_773e-8, -4.548_302_412e-10, 2.249_294_486e-10],
            ],
        },
    ]
}
