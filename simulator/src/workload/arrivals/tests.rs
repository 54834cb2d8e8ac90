//! The statistics of every process, and what is wrong with one.

use super::*;

const RATE: RequestRate = RequestRate::new(10.0);

fn times(process: &ArrivalProcess, until: f64) -> Vec<f64> {
    let until = Timestamp::from_seconds(until);
    ArrivalTimes::new(process, until, Streams::new(1), "test").map(Timestamp::as_seconds).collect()
}

fn gamma(shape: f64) -> ArrivalProcess {
    ArrivalProcess::Gamma { rate: RATE, shape: Some(shape), cv: None }
}

fn mean_and_cv(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt() / mean)
}

fn close(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
}

/// With 100,000 gaps, the standard error of a mean is below 0.7 % for each of these.
#[test]
fn gaps_have_the_mean_and_the_variation_of_their_process() {
    for (process, cv) in [
        (ArrivalProcess::Poisson { rate: RATE }, 1.0),
        (gamma(0.25), 2.0),
        (gamma(1.0), 1.0),
        (gamma(25.0), 0.2),
        (ArrivalProcess::Gamma { rate: RATE, shape: None, cv: Some(2.0) }, 2.0),
        (ArrivalProcess::Weibull { rate: RATE, cv: 0.5 }, 0.5),
        (ArrivalProcess::Weibull { rate: RATE, cv: 2.0 }, 2.0),
        (ArrivalProcess::Constant { rate: RATE }, 0.0),
    ] {
        let times = times(&process, 10_000.0);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (mean, found) = mean_and_cv(&gaps);
        close(mean, 0.1, 0.002);
        close(found, cv, 0.02 * cv + 1e-6);
    }
}

/// Nearly regular gaps show the rate itself.
#[test]
fn a_wandering_rate_keeps_its_mean_and_varies_as_asked() {
    let process = ArrivalProcess::ModulatedGamma {
        rate: RATE,
        shape: 1e6,
        cv: 0.3,
        correlation_time: Seconds::from_minutes(10.0),
    };
    let times = times(&process, 36_000.0);
    close(times.len() as f64, 360_000.0, 10.0);
    let mut per_minute = vec![0.0; 600];
    for at in times {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let minute = (at / 60.0) as usize;
        per_minute[minute] += 1.0;
    }
    close(mean_and_cv(&per_minute).1, 0.3, 0.03);
}

#[test]
fn where_no_request_is_due_none_arrives() {
    let none = RequestRate::ZERO;
    assert_eq!(times(&ArrivalProcess::Poisson { rate: none }, 1e6), [0.0; 0]);
    assert_eq!(times(&ArrivalProcess::Poisson { rate: RATE }, 0.0), [0.0; 0]);
    let correlation_time = Seconds::new(1.0);
    let process =
        ArrivalProcess::ModulatedGamma { rate: RATE, shape: 1.0, cv: 1.0, correlation_time };
    assert_eq!(times(&process, 0.0), [0.0; 0]);
}

#[test]
fn a_process_is_written_as_its_name_and_parameters() {
    let check = |text: &str, expected: &ArrivalProcess| {
        assert_eq!(serde_json::from_str::<ArrivalProcess>(text).unwrap(), *expected);
    };
    check(r#"{"poisson": {"rate": "10/s"}}"#, &ArrivalProcess::Poisson { rate: RATE });
    check(
        r#"{"modulatedGamma": {"rate": "10/s", "shape": 0.9, "cv": 0.2, "correlationTime": "3m"}}"#,
        &ArrivalProcess::ModulatedGamma {
            rate: RATE,
            shape: 0.9,
            cv: 0.2,
            correlation_time: Seconds::from_minutes(3.0),
        },
    );
    let unknown = r#"{"gamma": {"rate": "10/s", "shape": 1, "burstiness": 2}}"#;
    assert!(serde_json::from_str::<ArrivalProcess>(unknown).is_err());
}

#[test]
fn every_problem_of_a_process_is_found() {
    let check = |process: ArrivalProcess, expected: &[&str]| {
        let mut problems = Vec::new();
        process.validate("arrivals", &mut problems);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    };
    check(ArrivalProcess::Poisson { rate: RequestRate::ZERO }, &[]);
    check(gamma(0.0), &["arrivals.gamma.shape: expected a number above zero"]);
    check(
        ArrivalProcess::ModulatedGamma {
            rate: RATE,
            shape: f64::NAN,
            cv: -1.0,
            correlation_time: Seconds::ZERO,
        },
        &[
            "arrivals.modulatedGamma.shape: expected a number above zero",
            "arrivals.modulatedGamma.cv: expected a number that is not negative",
            "arrivals.modulatedGamma.correlationTime: expected a duration above zero",
        ],
    );
    check(
        ArrivalProcess::Gamma { rate: RATE, shape: Some(1.0), cv: Some(1.0) },
        &["arrivals.gamma.cv: expected a shape or a cv, not both"],
    );
    check(
        ArrivalProcess::Gamma { rate: RATE, shape: None, cv: None },
        &["arrivals.gamma: expected a shape or a cv"],
    );
    check(
        ArrivalProcess::Weibull { rate: RATE, cv: 0.0 },
        &["arrivals.weibull.cv: expected a number from 0.02 to 50"],
    );
    check(
        ArrivalProcess::Mmpp { states: vec![state(1.0, 0.0)] },
        &[
            "arrivals.mmpp.states: expected two states or more",
            "arrivals.mmpp.states[0].meanDuration: expected at least 1ms",
        ],
    );
    check(
        ArrivalProcess::OnOff { burst_rate: RATE, on: Seconds::ZERO, off: Seconds::ZERO },
        &["arrivals.onOff.on: expected at least 1ms", "arrivals.onOff.off: expected at least 1ms"],
    );
}

/// Arrivals in each window of `width` seconds.
fn counts(times: &[f64], width: f64, until: f64) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let window = |time: f64| (time / width) as usize;
    let mut counts = vec![0.0; window(until)];
    times.iter().filter_map(|&at| counts.get_mut(window(at)).map(|count| *count += 1.0)).count();
    counts
}

/// The variance of counts over their mean.
fn dispersion(counts: &[f64]) -> f64 {
    let (mean, cv) = mean_and_cv(counts);
    cv * cv * mean
}

fn state(rate: f64, seconds: f64) -> RateState {
    RateState { rate: RequestRate::new(rate), mean_duration: Seconds::new(seconds) }
}

/// In windows of length t, a process that is modulated by two states with rates r and s, which
/// end at rates a and b, has an index of dispersion of
/// 1 + 2 a b (r - s)² / ((a + b)² (r b + s a)) · (1 - (1 - exp(-(a + b) t)) / ((a + b) t)):
/// Fischer and Meier-Hellstern, "The Markov-modulated Poisson process (MMPP) cookbook", 1993.
#[test]
fn bursts_disperse_the_counts() {
    let check = |process: &ArrivalProcess, [r, s]: [f64; 2], [on, off]: [f64; 2]| {
        let (a, b) = (1.0 / on, 1.0 / off);
        let times = times(process, 150_000.0);
        close(times.len() as f64 / 150_000.0 / process.rate().value(), 1.0, 0.05);
        for width in [1.0, 10.0, 100.0] {
            let span = (a + b) * width;
            let expected = 1.0
                + 2.0 * a * b * (r - s).powi(2) / ((a + b).powi(2) * (r * b + s * a))
                    * (1.0 - (1.0 - (-span).exp()) / span);
            let found = dispersion(&counts(&times, width, 150_000.0));
            close(found, expected, 0.12 * expected);
        }
    };
    let states = vec![state(2.0, 20.0), state(12.0, 5.0)];
    check(&ArrivalProcess::Mmpp { states }, [2.0, 12.0], [20.0, 5.0]);
    let (on, off) = (Seconds::new(4.0), Seconds::new(12.0));
    let burst_rate = RequestRate::new(16.0);
    check(&ArrivalProcess::OnOff { burst_rate, on, off }, [16.0, 0.0], [4.0, 12.0]);
}

/// Poisson arrivals under a varying rate, moved back through its integral, are Poisson arrivals of
/// rate one: their gaps must be exponential. By the test of Kolmogorov and Smirnov, at a level of
/// one in a thousand.
#[test]
fn a_varying_rate_is_followed_exactly() {
    let period = Seconds::new(600.0);
    let diurnal = RateFactor::Diurnal { period, peak_at: Seconds::ZERO, peak_to_trough: 9.0 };
    let profile = RateProfile(vec![diurnal]);
    let until = Timestamp::from_seconds(6000.0);
    let process = ArrivalProcess::Poisson { rate: RATE };
    let times: Vec<_> =
        ArrivalTimes::shaped(&process, &profile, until, Streams::new(1), "test").collect();
    // 10 (t + 0.8 sin(2π t / 600) 600 / 2π), from the closed form.
    let expected = |at: Timestamp| {
        let (time, omega) = (at.as_seconds(), std::f64::consts::TAU / 600.0);
        10.0 * (time + 0.8 * (omega * time).sin() / omega)
    };
    let mut gaps: Vec<_> =
        times.windows(2).map(|pair| expected(pair[1]) - expected(pair[0])).collect();
    gaps.sort_by(f64::total_cmp);
    let count = gaps.len() as f64;
    close(count, 60_000.0, 800.0);
    let distance = gaps.iter().enumerate().map(|(idx, gap)| {
        let share = -(-gap).exp_m1();
        (share - idx as f64 / count).abs().max((share - (idx + 1) as f64 / count).abs())
    });
    assert!(distance.fold(0.0, f64::max) < 1.95 / count.sqrt());
    // The counts of a quarter around peak and trough are far apart.
    let near = |centre: f64| {
        let near = |at: &&Timestamp| {
            let phase = (at.as_seconds() - centre).rem_euclid(600.0);
            !(75.0..525.0).contains(&phase)
        };
        times.iter().filter(near).count() as f64
    };
    let quarter = 15_000.0;
    let swing = 0.8 * 4.0 / std::f64::consts::TAU * std::f64::consts::SQRT_2;
    close(near(0.0), quarter * (1.0 + swing), 500.0);
    close(near(300.0), quarter * (1.0 - swing), 300.0);
}

#[test]
fn another_rate_changes_all_rates_alike() {
    let check = |process: ArrivalProcess| {
        let before = process.rate().value();
        let after = process.with_rate(RequestRate::new(3.0 * before));
        close(after.rate().value(), 3.0 * before, 1e-9);
        after
    };
    check(gamma(2.0));
    let on_off = check(ArrivalProcess::OnOff {
        burst_rate: RATE,
        on: Seconds::new(1.0),
        off: Seconds::new(3.0),
    });
    let ArrivalProcess::OnOff { burst_rate, .. } = on_off else { panic!("{on_off:?}") };
    close(burst_rate.value(), 30.0, 1e-9);
    let mmpp = check(ArrivalProcess::Mmpp { states: vec![state(0.0, 1.0), state(4.0, 1.0)] });
    let ArrivalProcess::Mmpp { states } = mmpp else { panic!("{mmpp:?}") };
    close(states[1].rate.value(), 12.0, 1e-9);
}

#[test]
fn evenly_spaced_requests_begin_within_one_gap() {
    let times = times(&ArrivalProcess::Constant { rate: RATE }, 100.0);
    assert_eq!(times.len(), 1000);
    assert!(times[0] < 0.1);
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.1).abs() < 1e-8));
}
