use super::*;
use crate::engine::{Segment, TextId};
use crate::traces::{Drawn, Goodness};

/// What is fitted to records, and how good it is.
fn fit(records: &[Record]) -> (FittedTraffic, Option<Goodness>) {
    let mut inspector = Inspector::default();
    for record in records {
        inspector.add(record, None);
    }
    let inspection = inspector.finish().unwrap();
    let mut fitter = Fitter::new(&inspection, None);
    for record in records {
        fitter.add(record);
    }
    let traffic = fitter.finish("a test", &inspection).unwrap();
    let goodness = Goodness::of(&traffic, &inspection);
    (traffic, goodness)
}

fn record(seconds: f64, prompt: u64, output: u64) -> Record {
    Record {
        at: Timestamp::from_seconds(seconds),
        prompt: Tokens::new(prompt),
        output: Tokens::new(output),
        model: None,
        content: Content::default(),
    }
}

/// What is fitted to so many records that something was drawn to compare with.
fn fit_many(records: &[Record]) -> (FittedTraffic, Goodness) {
    let (traffic, goodness) = fit(records);
    (traffic, goodness.unwrap())
}

/// Records of a process, with lengths that depend on each other.
fn drawn(arrivals: &str, seconds: f64) -> Vec<Record> {
    let text = format!(
        "arrivals: {arrivals}\nlengths:\n  - {{share: 0.5, first: [10, 50], second: [400, 500]}}\n  \
         - {{share: 0.5, first: [900, 1000], second: [5, 25]}}\n"
    );
    let traffic = FittedTraffic::parse("t", &text).unwrap();
    Drawn::new(&traffic, Seconds::new(seconds), Streams::new(3)).collect()
}

fn ratio(goodness: &Goodness, name: &str) -> f64 {
    let pair = goodness.pairs.iter().find(|pair| pair.name == name).unwrap();
    pair.drawn.unwrap() / pair.recorded.unwrap()
}

#[test]
fn a_constant_rate_has_one_rate_and_no_switching() {
    let (traffic, goodness) =
        fit_many(&drawn("{window: 1h, ratesPerSecond: [5], gapCv: 1}", 3600.0));
    assert_eq!(traffic.arrivals.rates_per_second.len(), 1, "{:?}", traffic.arrivals);
    assert!((traffic.arrivals.rates_per_second[0] / 5.0 - 1.0).abs() < 0.02);
    assert!((traffic.arrivals.gap_cv - 1.0).abs() < 0.05, "{:?}", traffic.arrivals);
    let Goodness { gap_ks, prompt_ks, output_ks, .. } = goodness;
    assert!(gap_ks < 0.02 && prompt_ks < 0.02 && output_ks < 0.02, "{goodness:?}");
    assert!((ratio(&goodness, "correlation") - 1.0).abs() < 0.03, "{goodness:?}");
}

#[test]
fn gaps_that_vary_more_are_gamma() {
    let (traffic, goodness) =
        fit_many(&drawn("{window: 1h, ratesPerSecond: [8], gapCv: 2}", 3600.0));
    assert!((traffic.arrivals.gap_cv / 2.0 - 1.0).abs() < 0.1, "{:?}", traffic.arrivals);
    assert_eq!(traffic.arrivals.switching, None);
    assert!(goodness.gap_ks < 0.03, "{goodness:?}");
}

#[test]
fn a_rate_that_switches_within_windows_is_found() {
    let process = "{window: 1h, ratesPerSecond: [20], gapCv: 1, switching: {depth: 0.7, stay: 8s}}";
    let (traffic, goodness) = fit_many(&drawn(process, 3600.0));
    let Switching { depth, stay } = traffic.arrivals.switching.unwrap();
    assert!((0.4..=1.0).contains(&depth) && (3.0..40.0).contains(&stay.value()), "{depth} {stay}");
    for window in [1, 10, 60] {
        let ratio = ratio(&goodness, &format!("dispersion in {window} s"));
        assert!((0.6..1.6).contains(&ratio), "{window}: {ratio}");
    }
}

#[test]
fn a_rate_that_changes_slowly_becomes_a_profile() {
    let rates: Vec<_> = (0..60).map(|minute| if minute < 30 { 2 } else { 20 }).collect();
    let (traffic, _) =
        fit(&drawn(&format!("{{window: 1m, ratesPerSecond: {rates:?}, gapCv: 1}}"), 3600.0));
    let profile = &traffic.arrivals.rates_per_second;
    assert!((59..=60).contains(&profile.len()), "{}", profile.len());
    assert!(profile[..29].iter().all(|&rate| rate < 4.0), "{profile:?}");
    assert!(profile[31..].iter().all(|&rate| (14.0..26.0).contains(&rate)), "{profile:?}");
}

#[test]
fn prefixes_come_out_as_they_went_in() {
    // All begin with the same block. Every fourth goes on where the one 10 s before it was.
    let records: Vec<_> = (0..4000_u64)
        .map(|idx| {
            let names = |idx: u64| (1..8).map(move |block| 1 + idx * 100 + block);
            let own: Vec<_> = match idx % 4 {
                3 if idx >= 10 => names(idx - 10).take(5).chain(names(idx).take(2)).collect(),
                _ => names(idx).collect(),
            };
            let own = std::iter::once(0).chain(own);
            let segment = |text| Segment { text: TextId(text), tokens: 512 };
            let content = Content::new(own.map(segment), None);
            Record { content, ..record(idx as f64, 4096, 9) }
        })
        .collect();
    let (traffic, goodness) = fit_many(&records);
    let common = traffic.prefixes.unwrap().common;
    assert!(common.share > 0.99 && common.tokens == Tokens::new(512), "{common:?}");
    let ratio = ratio(&goodness, "prefix reuse, infinite cache");
    assert!((ratio - 1.0).abs() < 0.15, "{ratio}");
}

#[test]
fn short_traces_can_be_fitted() {
    let (traffic, _) = fit(&[record(5.0, 3, 4), record(6.0, 7, 8), record(9.0, 3, 4)]);
    assert!(FittedTraffic::parse("t", &traffic.to_string()).is_ok(), "{traffic}");
    let mut inspector = Inspector::default();
    inspector.add(&record(0.0, 3, 4), None);
    let inspection = inspector.finish().unwrap();
    let mut fitter = Fitter::new(&inspection, None);
    fitter.add(&record(0.0, 3, 4));
    let traffic = fitter.finish("one", &inspection).unwrap();
    assert!(FittedTraffic::parse("t", &traffic.to_string()).is_ok(), "{traffic}");
}

#[test]
fn the_same_trace_gives_the_same_fit() {
    let records = drawn("{window: 1m, ratesPerSecond: [3, 9], gapCv: 1.5}", 600.0);
    assert_eq!(fit(&records).0.to_string(), fit(&records).0.to_string());
}
