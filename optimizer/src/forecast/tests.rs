use proptest::prelude::*;

use super::*;

const STEP: f64 = 15.0;

/// A number between -1 and 1 that depends on the time alone, and looks as if it did not: splitmix64.
fn noise(seconds: f64) -> f64 {
    let mut mixed = seconds.to_bits().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    let mixed = mixed ^ (mixed >> 31);
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Feeds a rate to a forecaster from the epoch on, and gives it the outlook before each sample.
fn run(hours: f64, rate: impl Fn(f64) -> f64, mut see: impl FnMut(f64, &Outlook)) -> Forecaster {
    let policy = ForecastPolicy::default();
    let mut forecaster = Forecaster::default();
    let mut seconds = 0.0;
    while seconds < hours * 3600.0 {
        see(seconds, &forecaster.outlook(&policy));
        let at = Timestamp::from_seconds(seconds);
        forecaster.observe(at, RequestRate::new(rate(seconds)), &policy);
        seconds += STEP;
    }
    forecaster
}

fn at(outlook: &Outlook, lead: f64) -> Expectation {
    *outlook.points().iter().find(|point| point.lead.value() >= lead).unwrap()
}

#[test]
fn nothing_seen_is_nothing_known() {
    let outlook = Forecaster::default().outlook(&ForecastPolicy::default());
    assert_eq!(outlook.peak(Seconds::new(60.0)), None);
}

#[test]
fn a_steady_rate_goes_on_with_little_on_top() {
    let forecaster = run(1.0, |_| 10.0, |_, _| ());
    let outlook = forecaster.outlook(&ForecastPolicy::default());
    for point in outlook.points() {
        assert!((point.expected.value() - 10.0).abs() < 1e-9, "{point:?}");
        assert!(point.upper.value() < 10.1, "{point:?}");
    }
}

#[test]
fn before_anything_was_judged_the_bound_is_wide() {
    let mut forecaster = Forecaster::default();
    let policy = ForecastPolicy::default();
    forecaster.observe(Timestamp::ZERO, RequestRate::new(10.0), &policy);
    let point = at(&forecaster.outlook(&policy), 60.0);
    assert!(point.upper.value() > 11.0 && point.upper.value() < 15.0, "{point:?}");
    // At a low rate noise is larger.
    let mut quiet = Forecaster::default();
    quiet.observe(Timestamp::ZERO, RequestRate::new(0.1), &policy);
    let point = at(&quiet.outlook(&policy), 60.0);
    assert!(point.upper.value() > 0.15, "{point:?}");
}

#[test]
fn a_ramp_is_extrapolated() {
    let ramp = |seconds: f64| 1.0 + seconds / 60.0;
    let forecaster = run(1.0, ramp, |_, _| ());
    let outlook = forecaster.outlook(&ForecastPolicy::default());
    let point = at(&outlook, 120.0);
    assert_eq!(point.method, Method::Trend);
    let truth = ramp(3600.0 - STEP + 120.0);
    assert!((point.expected.value() / truth - 1.0).abs() < 0.02, "{point:?}, not {truth}");
    assert!(point.upper.value() >= 0.999 * truth, "{point:?}, not {truth}");
    let peak = outlook.peak(Seconds::new(120.0)).unwrap();
    assert_eq!(peak, point.upper, "on a rise the end of the lead is the peak");
    let between = outlook.peak(Seconds::new(90.0)).unwrap();
    assert!(between < peak && between > at(&outlook, 60.0).upper, "{between}");
}

/// The second day's morning is known from the first.
#[test]
fn a_day_repeats_itself() {
    let day = |seconds: f64| {
        let hour = seconds / 3600.0 % 24.0;
        // A step up at eight, within ten minutes: no trend tells of it before.
        if (8.0..20.0).contains(&hour) { 20.0 } else { 5.0 }
    };
    let mut before = None;
    let see = |seconds: f64, outlook: &Outlook| {
        if (seconds - (24.0 + 7.0) * 3600.0 - 3300.0).abs() < 1.0 {
            before = Some(at(outlook, 600.0));
        }
    };
    run(32.0, day, see);
    let before = before.unwrap();
    assert!(before.upper.value() > 9.0, "five minutes before the step: {before:?}");
}

/// Whatever the traffic, the bound is exceeded about as often as the policy allows.
#[test]
fn the_upper_bound_is_honest() {
    let check = |name: &str, rate: &dyn Fn(f64) -> f64| {
        for lead in [60.0, 300.0] {
            let mut promised: VecDeque<(f64, f64)> = VecDeque::new();
            let (mut judged, mut exceeded) = (0_u32, 0_u32);
            let see = |seconds: f64, outlook: &Outlook| {
                while promised.front().is_some_and(|(due, _)| *due <= seconds) {
                    let (_, upper) = promised.pop_front().unwrap();
                    judged += 1;
                    exceeded += u32::from(rate(seconds) > upper);
                }
                // The outlook is from the sample before.
                if seconds > 3600.0 {
                    promised.push_back((seconds - STEP + lead, at(outlook, lead).upper.value()));
                }
            };
            run(30.0, rate, see);
            let share = f64::from(exceeded) / f64::from(judged);
            assert!(share < 0.25, "{name}, {lead} s ahead: exceeded {share}");
        }
    };
    check("noise", &|seconds| 10.0 + 3.0 * noise(seconds));
    check("day", &|seconds| {
        let phase = seconds / 86_400.0 * std::f64::consts::TAU;
        (10.0 - 8.0 * phase.cos()) * (1.0 + 0.1 * noise(seconds))
    });
    check("bursts", &|seconds| if seconds % 1200.0 < 180.0 { 30.0 } else { 10.0 + noise(seconds) });
}

#[test]
fn a_gap_or_a_clock_that_was_set_back_breaks_nothing() {
    let policy = ForecastPolicy::default();
    let mut forecaster = run(1.0, |_| 10.0, |_, _| ());
    let before = forecaster.clone();
    forecaster.observe(Timestamp::from_seconds(60.0), RequestRate::new(99.0), &policy);
    assert_eq!(forecaster, before);
    forecaster.rewind(Timestamp::from_seconds(60.0));
    forecaster.observe(Timestamp::from_seconds(90.0), RequestRate::new(20.0), &policy);
    let point = at(&forecaster.outlook(&policy), 60.0);
    assert!(point.expected.value() > 10.0, "{point:?}");
}

proptest! {
    #[test]
    fn any_rates_at_any_times_give_an_outlook(
        samples in proptest::collection::vec((0_u64..u64::MAX, 0.0..f64::MAX), 0..100),
        season in 0.0..1e6,
    ) {
        let policy = ForecastPolicy { season: Seconds::new(season), ..ForecastPolicy::default() };
        let mut forecaster = Forecaster::default();
        for (nanos, rate) in samples {
            forecaster.observe(Timestamp::from_nanos(nanos), RequestRate::new(rate), &policy);
            let outlook = forecaster.outlook(&policy);
            prop_assert!(outlook.points().iter().all(|point| point.upper >= point.expected));
        }
        let text = serde_json::to_string(&forecaster).unwrap();
        let back: Forecaster = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.outlook(&policy).points().len(), forecaster.outlook(&policy).points().len());
    }
}
