//! Requests of a fitted traffic.

use std::collections::VecDeque;
use std::sync::Arc;

use optimizer::units::{Seconds, Timestamp, Tokens};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, Gamma};

use super::bands::JointTable;
use super::fitted::{CommonPrefix, FittedArrivals, FittedPrefixes, FittedTraffic, Switching};
use crate::engine::{Content, Segment, TextId};
use crate::kernel::{Stream, Streams};
use crate::workload::trace::{Record, hashes};

/// Requests that are drawn from a fitted traffic, in the order of their arrival. All times are whole
/// microseconds, which a file holds exactly. Arrivals, lengths and prefixes take their chance from a
/// stream each.
#[derive(Debug, Clone)]
pub struct Drawn {
    times: DrawnTimes,
    lengths: JointTable,
    chance: Stream,
    prefixes: Option<Continuations>,
}

impl Drawn {
    /// The requests before `duration` is over.
    #[must_use]
    pub fn new(traffic: &FittedTraffic, duration: Seconds, streams: Streams) -> Self {
        let prefixes = traffic.prefixes.clone();
        Self {
            times: DrawnTimes::new(&traffic.arrivals, duration, streams),
            lengths: traffic.lengths.clone(),
            chance: streams.stream("fitted/lengths"),
            prefixes: prefixes.map(|prefixes| Continuations::new(prefixes, streams)),
        }
    }
}

impl Iterator for Drawn {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let at = self.times.next()?;
        let (prompt, output) = self.lengths.draw(&mut self.chance);
        let (prompt, output) = (Tokens::new(prompt.max(1)), Tokens::new(output.max(1)));
        let content = self.prefixes.as_mut().map(|prefixes| prefixes.content(at, prompt));
        Some(Record { at, prompt, output, model: None, content: content.unwrap_or_default() })
    }
}

/// The times of fitted arrivals: a renewal process whose clock runs as fast as the rate says.
#[derive(Debug, Clone)]
pub(super) struct DrawnTimes {
    window: f64,
    rates: Vec<f64>,
    gap: Gap,
    switching: Option<Switching>,
    /// Whether the rate is the higher of the two.
    high: bool,
    /// When it switches, in seconds.
    switches_at: f64,
    now: f64,
    until: f64,
    chance: Stream,
    switch_chance: Stream,
}

/// The distribution of gaps with mean one.
#[derive(Debug, Clone, Copy)]
enum Gap {
    Constant,
    Exponential,
    Gamma(Gamma<f64>),
}

impl Gap {
    fn of(cv: f64) -> Self {
        // Below this, a Gamma gap differs from its mean by less than a thousandth.
        if cv < 1e-3 {
            return Self::Constant;
        }
        let shape = (cv * cv).recip();
        match Gamma::new(shape, shape.recip()) {
            Ok(gamma) if (cv - 1.0).abs() > 1e-9 => Self::Gamma(gamma),
            _ => Self::Exponential,
        }
    }

    fn draw(self, chance: &mut Stream) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => Exp1.sample(chance),
            Self::Gamma(gamma) => gamma.sample(chance),
        }
    }
}

impl DrawnTimes {
    pub(super) fn new(arrivals: &FittedArrivals, duration: Seconds, streams: Streams) -> Self {
        let mut times = Self {
            window: arrivals.window.value(),
            rates: arrivals.rates_per_second.clone(),
            gap: Gap::of(arrivals.gap_cv),
            switching: arrivals.switching,
            high: false,
            switches_at: f64::INFINITY,
            now: 0.0,
            until: duration.value(),
            chance: streams.stream("fitted/arrivals"),
            switch_chance: streams.stream("fitted/switching"),
        };
        if let Some(Switching { stay, .. }) = times.switching {
            times.high = times.switch_chance.random();
            times.switches_at = stay.value() * times.draw_stay();
        }
        times
    }

    fn draw_stay(&mut self) -> f64 {
        Exp1.sample(&mut self.switch_chance)
    }

    /// The rate from now on, and when it changes.
    fn piece(&self) -> (f64, f64) {
        let idx = (self.now / self.window).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let rate = self.rates[(idx as usize) % self.rates.len()];
        let depth = self.switching.map_or(0.0, |switching| switching.depth);
        let factor = if self.high { 1.0 + depth } else { 1.0 - depth };
        // A window's end may round to where it is now; then the next window begins.
        let mut end = (idx + 1.0) * self.window;
        if end <= self.now {
            end = (idx + 2.0) * self.window;
        }
        (rate * factor, end.min(self.switches_at).min(self.until))
    }
}

impl Iterator for DrawnTimes {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let mut need = self.gap.draw(&mut self.chance);
        while self.now < self.until {
            let (rate, end) = self.piece();
            let room = rate * (end - self.now);
            if need < room {
                self.now += need / rate;
                let at = Timestamp::from_seconds(self.now).as_nanos() / 1000 * 1000;
                return Some(Timestamp::from_nanos(at));
            }
            need -= room;
            self.now = end;
            if let Some(Switching { stay, .. }) = self.switching
                && self.now >= self.switches_at
            {
                self.high = !self.high;
                self.switches_at += stay.value() * self.draw_stay();
            }
        }
        None
    }
}

/// Prompts that begin as earlier ones did.
#[derive(Debug, Clone)]
struct Continuations {
    prefixes: FittedPrefixes,
    chance: Stream,
    /// Earlier prompts, as the names of their blocks, in the order of their arrival.
    earlier: VecDeque<(Timestamp, Arc<[u64]>)>,
    /// The next name; those of the common text come first.
    fresh: u64,
}

/// Prompts that are remembered. Older ones are not continued.
const REMEMBERED: usize = 1 << 16;

/// Prompts on either side of the one with the drawn age that are looked at for one that is long
/// enough.
const NEIGHBORS: usize = 64;

/// Tokens of a block of text. Whole blocks are shared.
const BLOCK: u64 = hashes::MOONCAKE_BLOCK as u64;

impl Continuations {
    fn new(prefixes: FittedPrefixes, streams: Streams) -> Self {
        let chance = streams.stream("fitted/prefixes");
        let fresh = nearest_blocks(prefixes.common.tokens.get());
        Self { prefixes, chance, earlier: VecDeque::new(), fresh }
    }

    fn content(&mut self, at: Timestamp, prompt: Tokens) -> Content {
        let CommonPrefix { share, tokens } = self.prefixes.common;
        let begins_so = self.chance.random::<f64>() < share;
        let (reused, age) = self.prefixes.reuse.draw(&mut self.chance);
        let blocks = prompt.get().div_ceil(BLOCK);
        let common = if begins_so { nearest_blocks(tokens.get()).min(blocks) } else { 0 };
        let rest = prompt.get().saturating_sub(common * BLOCK);
        let reused = nearest_blocks(reused * rest / 1000).min(blocks - common);
        let mut names: Vec<u64> = (0..common).collect();
        if reused > 0 {
            let then = Timestamp::from_nanos(at.as_nanos().saturating_sub(age * 1_000_000));
            let wanted = usize::try_from(common + reused).unwrap_or(usize::MAX);
            if let Some(parent) = self.parent(then, wanted) {
                names = parent.iter().take(wanted).copied().collect();
            }
        }
        while (names.len() as u64) < blocks {
            names.push(self.fresh);
            self.fresh += 1;
        }
        let segment = |&name| Segment { text: TextId(name), tokens: hashes::MOONCAKE_BLOCK };
        let content = Content::new(names.iter().map(segment), None);
        if self.earlier.len() == REMEMBERED {
            self.earlier.pop_front();
        }
        self.earlier.push_back((at, names.into()));
        content
    }

    /// The prompt that arrived next to this time and has enough blocks, or the longest one near it.
    fn parent(&self, then: Timestamp, blocks: usize) -> Option<Arc<[u64]>> {
        let middle = self.earlier.partition_point(|&(at, _)| at < then);
        let nearest = (0..=NEIGHBORS).flat_map(|distance| {
            let after = middle.checked_add(distance);
            let before = middle.checked_sub(distance + 1);
            [before, after].into_iter().flatten()
        });
        let mut longest: Option<&Arc<[u64]>> = None;
        for (_, names) in nearest.filter_map(|idx| self.earlier.get(idx)) {
            if names.len() >= blocks {
                return Some(Arc::clone(names));
            }
            if longest.is_none_or(|longest| longest.len() < names.len()) {
                longest = Some(names);
            }
        }
        longest.cloned()
    }
}

/// The blocks of so many tokens, to the nearest.
const fn nearest_blocks(tokens: u64) -> u64 {
    (tokens + BLOCK / 2) / BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::inspection::Inspector;

    fn traffic(arrivals: &str, rest: &str) -> FittedTraffic {
        let text = format!(
            "arrivals: {arrivals}\nlengths: [{{share: 1, first: [4096, 4096], second: [5, 9]}}]\n{rest}"
        );
        FittedTraffic::parse("t.yaml", &text).unwrap()
    }

    fn drawn(traffic: &FittedTraffic, seconds: f64, seed: u64) -> Vec<Record> {
        Drawn::new(traffic, Seconds::new(seconds), Streams::new(seed)).collect()
    }

    /// The variation of the gaps, and the dispersion in windows of 1, 10, 60 and 600 s.
    fn shape(arrivals: &str) -> (f64, Vec<f64>) {
        let mut inspector = Inspector::default();
        for record in drawn(&traffic(arrivals, ""), 40_000.0, 1) {
            inspector.add(&record, None);
        }
        let found = inspector.finish().unwrap();
        assert!((found.rate_rps.unwrap() / 5.0 - 1.0).abs() < 0.05, "{:?}", found.rate_rps);
        let dispersion = found.windows.iter().map(|window| window.dispersion.unwrap());
        (found.gap.unwrap().cv.unwrap(), dispersion.collect())
    }

    #[test]
    fn gaps_and_dispersion_are_those_of_the_process() {
        let (cv, dispersion) = shape("{window: 1h, ratesPerSecond: [5], gapCv: 1}");
        assert!(
            (cv - 1.0).abs() < 0.02 && (dispersion[1] - 1.0).abs() < 0.1,
            "{cv} {dispersion:?}"
        );

        // In long windows a renewal process has the squared variation of its gaps.
        let (cv, dispersion) = shape("{window: 1h, ratesPerSecond: [5], gapCv: 2}");
        assert!(
            (cv - 2.0).abs() < 0.05 && (dispersion[2] - 4.0).abs() < 0.8,
            "{cv} {dispersion:?}"
        );
        let (cv, _) = shape("{window: 1h, ratesPerSecond: [5], gapCv: 0}");
        assert!(cv < 1e-3, "{cv}");

        // 1 + rate · depth² · stay · (1 − (1 − e^(−rT))/(rT)) with r = 2/stay (Fischer and
        // Meier-Hellstern 1993), here 1 + 12.5 · 0.9 for T = 100 s.
        let switching = "switching: {depth: 0.5, stay: 10s}";
        let (_, dispersion) =
            shape(&format!("{{window: 1h, ratesPerSecond: [5], gapCv: 1, {switching}}}"));
        let expected = |t: f64| {
            let x = t * 2.0 / 10.0;
            1.0 + 5.0 * 0.25 * 10.0 * (1.0 - (1.0 - (-x).exp()) / x)
        };
        for (found, t) in dispersion.iter().zip([1.0, 10.0, 60.0]) {
            assert!((found / expected(t) - 1.0).abs() < 0.15, "{t}: {found} {}", expected(t));
        }
    }

    #[test]
    fn rates_follow_each_other_and_begin_again() {
        let fitted = traffic("{window: 10s, ratesPerSecond: [0, 100], gapCv: 1}", "");
        let times: Vec<_> = drawn(&fitted, 40.0, 1).iter().map(|r| r.at.as_seconds()).collect();
        assert!((1800..2200).contains(&times.len()), "{}", times.len());
        assert!(times.iter().all(|time| time % 20.0 >= 10.0 && *time < 40.0));
        assert!(times.is_sorted());
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let fitted = traffic("{window: 1m, ratesPerSecond: [2], gapCv: 1.5}", "");
        assert_eq!(drawn(&fitted, 500.0, 3), drawn(&fitted, 500.0, 3));
        assert_ne!(drawn(&fitted, 500.0, 3), drawn(&fitted, 500.0, 4));
    }

    #[test]
    fn prompts_begin_as_earlier_ones_did() {
        let prefixes = "prefixes:\n  common: {share: 1, tokens: 1000}\n  reuse: [{share: 1, first: \
                        [500, 500], second: [5000, 5000]}]\n";
        let fitted = traffic("{window: 1m, ratesPerSecond: [2], gapCv: 0}", prefixes);
        let records = drawn(&fitted, 100.0, 1);
        // Two blocks are common to all. Two requests arrive in a second, so the parent stands ten
        // places before; half of the other six blocks is its.
        for (idx, pair) in records.windows(11).enumerate() {
            let [earlier, later] = [&pair[0], &pair[10]].map(|record| record.content.segments());
            assert_eq!((earlier.len(), &earlier[..5]), (8, &later[..5]), "{idx}");
            assert_ne!(earlier[5], later[5]);
            assert_eq!(later[..2], records[0].content.segments()[..2]);
        }
    }
}
