//! What the analyzer has learned of one variant.

use serde::{Deserialize, Serialize};

use super::line::{Line, Point, Window};
use super::shape::Shape;
use crate::analyzers::memory::{Dated, Kind};
use crate::analyzers::reading::{Reader, engines_per_replica, mean, reporting, total};
use crate::decision::LineBasis;
use crate::observation::{ReplicaObservation, Role, VariantObservation};
use crate::policy::ThroughputPolicy;
use crate::units::{Fraction, RequestRate, Seconds, Timestamp, TokenRate, Tokens};

/// The ITL at an empty cache that the workload-variant-autoscaler takes for every GPU. It was
/// measured on an H100.
const H100_INTERCEPT: f64 = 0.006;

/// What is known of a variant from the past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Learned {
    kind: Kind,
    /// What requests were like when the window began. A slow drift adds up against it.
    shape: Option<Shape>,
    window: Window,
    /// The intercept of the last line with two parameters.
    intercept: Option<f64>,
    /// Steps in a row in which engines did not do what the line says.
    misses: u32,
    /// What an engine could do, when that was last known.
    pub(super) capacity: Option<Dated<Capacity>>,
}

/// What an engine does when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Capacity {
    /// The tokens that it generates.
    pub(super) rate: TokenRate,
    /// The time between two of them.
    pub(super) itl: Seconds,
}

/// A variant as it is now.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    pub(super) observed: &'a VariantObservation,
    /// Engines that report.
    pub(super) reporting: usize,
    /// Engines of one replica.
    pub(super) per_replica: u64,
    pub(super) output: Option<f64>,
    pub(super) completions: f64,
    pub(super) waiting: f64,
    pub(super) points: usize,
    pub(super) spread: Fraction,
    pub(super) line: Option<Line>,
    pub(super) capacity: Option<(Capacity, LineBasis)>,
    /// What the line says of the engines, what they do, and for how long they differ.
    pub(super) miss: Option<(TokenRate, TokenRate, u32)>,
    /// Whether the line was given up, because it differs for too long.
    pub(super) is_unreliable: bool,
}

impl Learned {
    pub(super) fn new(observed: &VariantObservation) -> Self {
        Self {
            kind: Kind::of(observed),
            shape: None,
            window: Window::default(),
            intercept: None,
            misses: 0,
            capacity: None,
        }
    }

    pub(super) fn is_of(&self, observed: &VariantObservation) -> bool {
        self.kind.is_of(observed)
    }

    /// Forgets what is too old. What is left may be nothing.
    pub(super) fn evict(&mut self, now: Timestamp, policy: &ThroughputPolicy) {
        self.window.rewind(now);
        self.window.extend(now, [], policy);
        if let Some(capacity) = &mut self.capacity {
            capacity.at = capacity.at.min(now);
        }
        self.capacity = self.capacity.filter(|known| now.since(known.at) <= policy.remember_for);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.capacity.is_none()
    }

    /// Takes in what the engines of a variant show, and says what follows.
    pub(super) fn learn<'a>(
        &mut self,
        observed: &'a VariantObservation,
        now: Timestamp,
        reader: &mut Reader<'_>,
        policy: &ThroughputPolicy,
    ) -> Seen<'a> {
        let engines = reporting(observed, reader);
        let shape = shape_of(&engines, reader);
        if let Some(shape) = shape {
            let tolerance = policy.shape_tolerance.value();
            if self.shape.is_none_or(|before| shape.has_moved(&before, tolerance)) {
                self.shape = Some(shape);
                self.window.clear();
            }
        }
        let points: Vec<_> = engines.iter().filter_map(|engine| point(engine, reader)).collect();
        self.window.extend(now, points, policy);

        let fit = self.line(observed, policy);
        let shape = shape.or(self.shape);
        let caches = engines.iter().filter_map(|engine| reader.read(&engine.kv_capacity));
        let cache = mean(caches.map(Tokens::as_f64));
        let miss = fit
            .zip(shape)
            .and_then(|((line, _), shape)| self.judge(&engines, line, shape, reader, policy));
        let is_unreliable = self.misses >= policy.fit_misses;
        let fitted = fit.zip(shape).zip(cache).and_then(|(((line, basis), shape), cache)| {
            let full = policy.full_kv_usage.value();
            let rate = TokenRate::checked(line.generation(full, cache, shape.per_request()))?;
            let capacity = Capacity { rate, itl: Seconds::checked(line.itl(full))? };
            (!is_unreliable && !rate.is_zero()).then_some((capacity, basis))
        });
        if let Some((value, _)) = fitted {
            self.capacity = Some(Dated { value, at: now });
        }
        let remembered = self.capacity.map(|known| (known.value, LineBasis::Remembered));
        Seen {
            observed,
            reporting: engines.len(),
            per_replica: engines_per_replica(observed, engines.len()),
            output: shape.map(|shape| shape.output),
            completions: sum(&engines, |engine| Some(reader.read(&engine.completions)?.value())),
            waiting: sum(&engines, |engine| Some(reader.read(&engine.waiting)?.value())),
            points: self.window.points().len(),
            spread: self.window.spread(),
            line: fit.map(|(line, _)| line),
            capacity: fitted.or(remembered).filter(|_| !is_unreliable),
            miss,
            is_unreliable,
        }
    }

    /// The line through the window: with two parameters if there are enough points, else with an
    /// intercept that is known from elsewhere.
    fn line(
        &mut self,
        observed: &VariantObservation,
        policy: &ThroughputPolicy,
    ) -> Option<(Line, LineBasis)> {
        let (points, full) = (self.window.points(), policy.full_kv_usage);
        let fitted = self.window.is_ready(policy).then(|| Line::fit(points, full)).flatten();
        if let Some(line) = fitted {
            self.intercept = Some(line.intercept());
            return Some((line, LineBasis::Fitted));
        }
        let profiled = || observed.profile.map(|profile| profile.overhead.value());
        let is_h100 = observed.accelerator.as_str() == "H100";
        let intercept = self.intercept.or_else(profiled).or(is_h100.then_some(H100_INTERCEPT))?;
        Some((Line::pinned(points, intercept, full)?, LineBasis::Pinned))
    }

    /// Holds what engines generate against the line. After too many misses in a row all that it
    /// rests on is dropped.
    fn judge(
        &mut self,
        engines: &[&ReplicaObservation],
        line: Line,
        shape: Shape,
        reader: &Reader<'_>,
        policy: &ThroughputPolicy,
    ) -> Option<(TokenRate, TokenRate, u32)> {
        let compared = engines.iter().filter_map(|engine| {
            let kv_usage = reader.fresh(&engine.kv_usage)?.0;
            let cache = reader.fresh(&engine.kv_capacity)?.0;
            let observed = reader.fresh(&engine.generation_rate)?.0.value();
            let predicted = line.generation(kv_usage.value(), cache.as_f64(), shape.per_request());
            (kv_usage >= policy.fit_kv_usage && observed > 0.0).then_some((predicted, observed))
        });
        let (predicted, observed): (Vec<_>, Vec<_>) = compared.unzip();
        if observed.is_empty() {
            return None;
        }
        let (predicted, observed) = (total(predicted), total(observed));
        if (predicted - observed).abs() <= policy.fit_tolerance.value() * observed {
            self.misses = 0;
            return None;
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses >= policy.fit_misses {
            self.window.clear();
            self.intercept = None;
            self.capacity = None;
        }
        Some((TokenRate::checked(predicted)?, TokenRate::checked(observed)?, self.misses))
    }
}

impl Seen<'_> {
    pub(super) const fn role(&self) -> Role {
        self.observed.role
    }

    /// Engines of the replicas that are ready.
    pub(super) fn engines(&self) -> u64 {
        u64::from(self.observed.ready.get()).saturating_mul(self.per_replica)
    }

    /// Engines of the replicas that are not ready yet.
    pub(super) fn pending(&self) -> u64 {
        u64::from(self.observed.pending().get()).saturating_mul(self.per_replica)
    }

    /// Whether it serves requests that its capacity has to be known for.
    pub(super) fn is_live(&self) -> bool {
        self.engines() > 0 || self.reporting > 0
    }
}

/// What the requests are like that engines complete. An engine without a prefix cache has no hits.
fn shape_of(engines: &[&ReplicaObservation], reader: &mut Reader<'_>) -> Option<Shape> {
    let shapes = engines.iter().filter_map(|engine| {
        let input = reader.read(&engine.input_tokens)?.value();
        let output = reader.read(&engine.output_tokens)?.value();
        let hits = reader.read(&engine.prefix_hits).map_or(0.0, Fraction::value);
        let rate = reader.read(&engine.completions).map_or(0.0, RequestRate::value);
        (output > 0.0).then_some((rate, Shape { input, output, hits }))
    });
    Shape::mean(&shapes.collect::<Vec<_>>())
}

fn point(engine: &ReplicaObservation, reader: &Reader<'_>) -> Option<Point> {
    let (kv_usage, at) = reader.fresh(&engine.kv_usage)?;
    let (itl, _) = reader.fresh(&engine.itl)?;
    Some(Point { at, kv_usage, itl })
}

fn sum(
    engines: &[&ReplicaObservation],
    of: impl FnMut(&&ReplicaObservation) -> Option<f64>,
) -> f64 {
    total(engines.iter().filter_map(of))
}
