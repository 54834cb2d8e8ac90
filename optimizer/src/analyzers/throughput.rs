//! The throughput analyzer: can the replicas generate the tokens that are asked of them?
//!
//! While an engine decodes, the time between tokens grows with its KV usage, along a
//! [line](Line). The line, the size of the cache and the tokens that a request has in it give what
//! an engine generates when it is full. Against that stand the requests that arrive, times their
//! mean output, and those that wait. It is the analyzer of the workload-variant-autoscaler 0.9,
//! whose numbers it reproduces, with these differences:
//!
//! - Where nobody counts arrivals it abstains. The original takes that for no arrivals, and votes to
//!   let replicas go.
//! - A line that engines do not follow for several steps is given up, and until one is found that
//!   they do follow, the analyzer abstains instead of voting with it.
//! - The intercept that the original pins for want of points was measured on an H100. Here it is
//!   used on an H100 only; elsewhere a profile's overhead takes its place, or there is no line.
//! - It knows nothing of prefill, so it has no opinion on that role, which is not a need of zero.
//!   The roles that decode share the demand by their ready replicas, not evenly.
//! - Requests that wait in engines count like those that wait at the gateway.
//! - A ready variant without a usable line silences the analyzer for its role, since what the others
//!   would have to carry is not known then.

mod learned;
mod line;
mod shape;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use line::Line;

use self::learned::{Learned, Seen};
use super::Subject;
use super::balance::{Balance, RoleShares};
use super::reading::{Reader, total};
use crate::assessment::{Abstention, Assessment, Judgment, Load, RoleNeed, VariantNeed, Verdict};
use crate::decision::{LineBasis, Reason, ThroughputReason};
use crate::id::VariantId;
use crate::observation::Role;
use crate::policy::{AnalyzerName, ThroughputPolicy};
use crate::units::{Fraction, MeanTokens, QueueLength, RequestRate, Seconds, TokenRate};

/// What the analyzer has learned of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    variants: BTreeMap<VariantId, Learned>,
}

/// The flow of tokens that a model generates: the inner numbers of the analyzer, in the unit of the
/// workload-variant-autoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// Of the roles that decode, in their order, in tokens per second.
    pub roles: Vec<(Role, Balance)>,
    /// Of their variants, sorted by name.
    pub variants: Vec<VariantFlow>,
}

/// The flow of tokens that one variant generates.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantFlow {
    /// The variant.
    pub variant: VariantId,
    /// The time between tokens over KV usage, where it is known now.
    pub line: Option<Line>,
    /// What one engine generates when it is full; `None` where it is not known.
    pub capacity: Option<TokenRate>,
    /// Engines of the replicas that are ready.
    pub engines: u64,
    /// Engines of the replicas that are not ready yet.
    pub pending: u64,
    /// Whether engines do not follow the line.
    pub is_unreliable: bool,
}

impl State {
    /// What the analyzer says about a model now; it learns from what it sees.
    pub fn assess(&mut self, subject: &Subject<'_>) -> Assessment {
        let policy = &subject.policy.throughput;
        let mut reader = Reader::new(subject.now, &subject.policy.signals);
        let seen = self.observe(subject, &mut reader);
        let demand = match Demand::read(subject, &seen, &mut reader) {
            Ok(demand) => demand,
            Err(signal) => {
                let signal = ThroughputReason::SignalMissing { signal: signal.to_owned() };
                let reasons = vec![Reason::Throughput(signal)];
                let why = Abstention::SignalsMissing;
                return Assessment {
                    reasons,
                    ..Assessment::abstain(AnalyzerName::Throughput, why)
                };
            }
        };
        let shares = RoleShares::of(subject.variants);
        let mut opinion = Opinion::new(&demand, policy);
        for role in shares.roles() {
            opinion.form(role, shares.share(role), &seen);
        }
        opinion.speak(reader.oldest())
    }

    /// The flow alone, in tokens per second; it learns from what it sees, as [`Self::assess`] does.
    /// `None` where nothing tells how many tokens are asked for.
    pub fn flow(&mut self, subject: &Subject<'_>) -> Option<Flow> {
        let mut reader = Reader::new(subject.now, &subject.policy.signals);
        let seen = self.observe(subject, &mut reader);
        let demand = Demand::read(subject, &seen, &mut reader).ok()?;
        let shares = RoleShares::of(subject.variants);
        let itl = seen.iter().filter_map(|seen| seen.capacity).map(|(known, _)| known.itl).min();
        let roles = shares.roles().filter(|role| *role != Role::Prefill).map(|role| {
            let demand = demand.of(shares.share(role), itl, &subject.policy.throughput);
            let mut balance = Balance { demand, ..Balance::default() };
            for seen in seen.iter().filter(|seen| seen.role() == role) {
                let capacity = seen.capacity.map_or(0.0, |(known, _)| known.rate.value());
                balance.supply += capacity * seen.engines() as f64;
                balance.anticipated += capacity * (seen.engines() + seen.pending()) as f64;
            }
            (role, balance)
        });
        let roles = roles.collect();
        Some(Flow { roles, variants: seen.iter().map(VariantFlow::of).collect() })
    }

    /// Learns from the variants that decode.
    fn observe<'a>(&mut self, subject: &Subject<'a>, reader: &mut Reader<'_>) -> Vec<Seen<'a>> {
        let (now, policy) = (subject.now, &subject.policy.throughput);
        for learned in self.variants.values_mut() {
            learned.evict(now, policy);
        }
        let decode = subject.variants.iter().filter(|variant| variant.role != Role::Prefill);
        let names: Vec<_> = decode.clone().map(|variant| &variant.variant).collect();
        self.variants.retain(|name, learned| names.contains(&name) || !learned.is_empty());
        let mut seen = Vec::with_capacity(names.len());
        for observed in decode {
            let fresh = || Learned::new(observed);
            let learned = self.variants.entry(observed.variant.clone()).or_insert_with(fresh);
            if !learned.is_of(observed) {
                *learned = fresh();
            }
            seen.push(learned.learn(observed, now, reader, policy));
        }
        seen
    }
}

impl Flow {
    /// The balance of a role that the model has; [`Role::Prefill`] has none.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<Balance> {
        self.roles.iter().find(|(name, _)| *name == role).map(|(_, balance)| *balance)
    }
}

impl VariantFlow {
    fn of(seen: &Seen<'_>) -> Self {
        Self {
            variant: seen.observed.variant.clone(),
            line: seen.line,
            capacity: seen.capacity.map(|(known, _)| known.rate),
            engines: seen.engines(),
            pending: seen.pending(),
            is_unreliable: seen.is_unreliable,
        }
    }
}

/// What users ask of a model.
struct Demand {
    arrivals: RequestRate,
    /// Mean output of a request.
    output: f64,
    /// Requests that wait, at the gateway or in an engine.
    waiting: f64,
    /// Requests that complete.
    completions: f64,
}

impl Demand {
    /// The name of the signal that is missing, where one is.
    fn read(
        subject: &Subject<'_>,
        seen: &[Seen<'_>],
        reader: &mut Reader<'_>,
    ) -> Result<Self, &'static str> {
        let arrivals = reader.read(&subject.demand.arrival_rate).ok_or("arrivalRate")?;
        let output = reader.read(&subject.demand.output.mean).map(MeanTokens::value);
        let output = output.filter(|mean| *mean > 0.0).or_else(|| mean_output(seen));
        let output = match output {
            Some(output) => output,
            // Of nothing, or of variants that do not decode, any output is right.
            None if arrivals.is_zero() || seen.is_empty() => 0.0,
            None => return Err("outputTokens"),
        };
        let at_gateway = reader.read(&subject.demand.gateway_queue).map(QueueLength::value);
        let waiting = total(seen.iter().map(|seen| seen.waiting).chain(at_gateway));
        let completions = total(seen.iter().map(|seen| seen.completions));
        Ok(Self { arrivals, output, waiting, completions })
    }

    /// The tokens per second that are asked for, of a share of the requests, where a full engine
    /// has a time of `itl` between tokens: those of the requests that arrive, and for each that
    /// waits one token in `queueGaps` such times.
    fn of(&self, share: f64, itl: Option<Seconds>, policy: &ThroughputPolicy) -> f64 {
        let arriving = self.arrivals.value() * self.output;
        let gap = itl.map_or(0.0, |itl| itl.value() * f64::from(policy.queue_gaps));
        let waiting = if gap > 0.0 { self.waiting / gap } else { 0.0 };
        total([arriving * share, waiting * share])
    }
}

/// The mean output, where each engine counts once.
fn mean_output(seen: &[Seen<'_>]) -> Option<f64> {
    let known = || seen.iter().filter_map(|seen| Some((seen.output?, seen.reporting as f64)));
    let engines: f64 = known().map(|(_, engines)| engines).sum();
    let sum = total(known().map(|(output, engines)| output * engines));
    if engines > 0.0 {
        return Some(sum / engines);
    }
    // Of variants without engines there is at most what was seen when they had some.
    super::reading::mean(known().map(|(output, _)| output))
}

/// What the analyzer will say, while it goes through the roles.
struct Opinion<'a> {
    demand: &'a Demand,
    policy: &'a ThroughputPolicy,
    roles: Vec<RoleNeed>,
    confidence: Fraction,
    silence: Abstention,
    reasons: Vec<Reason>,
}

impl<'a> Opinion<'a> {
    /// How sure it is of a line of which one parameter is assumed, or which lies in the past.
    const HALF: Fraction = Fraction::new(0.5);

    fn new(demand: &'a Demand, policy: &'a ThroughputPolicy) -> Self {
        let mut opinion = Self {
            demand,
            policy,
            roles: Vec::new(),
            confidence: Fraction::ONE,
            silence: Abstention::NotReady,
            reasons: Vec::new(),
        };
        // The gateway's counter may not know this model, since it goes by the name that requests
        // are rewritten to.
        if demand.arrivals.is_zero() && demand.completions > 0.0 {
            let completions = RequestRate::checked(demand.completions).unwrap_or_default();
            opinion.doubt(ThroughputReason::ArrivalsContradicted { completions });
        }
        opinion
    }

    fn form(&mut self, role: Role, share: f64, seen: &[Seen<'_>]) {
        if role == Role::Prefill {
            self.note(ThroughputReason::NoModel { role });
            return;
        }
        let variants = || seen.iter().filter(|seen| seen.role() == role);
        for seen in variants() {
            self.explain(seen);
        }
        let is_missing = |seen: &Seen<'_>| seen.is_live() && seen.capacity.is_none();
        if variants().any(is_missing) || variants().all(|seen| seen.capacity.is_none()) {
            if variants().any(|seen| seen.is_unreliable) {
                self.silence = Abstention::Unreliable;
            }
            return;
        }
        let itl = variants().filter_map(|seen| seen.capacity).map(|(known, _)| known.itl).min();
        let demand = self.demand.of(share, itl, self.policy);
        if let Some(rate) = TokenRate::checked(demand) {
            self.note(ThroughputReason::Demand { role, rate });
        }
        let (up, down) = (self.policy.scale_up_threshold, self.policy.scale_down_boundary);
        let load = |seen: &Seen<'_>| {
            let (known, _) = seen.capacity?;
            let demand = self.demand.of(share, Some(known.itl), self.policy);
            let capacity = known.rate.value() * seen.per_replica as f64;
            Load::over(demand, capacity, up.value(), down.value())
        };
        let needs = variants()
            .map(|seen| VariantNeed { variant: seen.observed.variant.clone(), load: load(seen) });
        self.roles.push(RoleNeed { role, variants: needs.collect() });
    }

    /// Says what is known of a variant, and how sure it is.
    fn explain(&mut self, seen: &Seen<'_>) {
        let variant = || seen.observed.variant.clone();
        if let Some((predicted, observed, misses)) = seen.miss {
            let variant = variant();
            self.doubt(ThroughputReason::LineMissed { variant, predicted, observed, misses });
        }
        match seen.capacity {
            Some((known, basis)) => {
                if basis != LineBasis::Fitted && seen.is_live() {
                    self.confidence = self.confidence.min(Self::HALF);
                }
                let (rate, itl) = (known.rate, known.itl);
                self.note(ThroughputReason::Capacity { variant: variant(), rate, itl, basis });
            }
            None if seen.is_live() => {
                let (points, spread) = (seen.points, seen.spread);
                self.note(ThroughputReason::NotReady { variant: variant(), points, spread });
            }
            None => {}
        }
    }

    fn speak(self, age: Seconds) -> Assessment {
        let Self { roles, confidence, silence, reasons, .. } = self;
        let verdict = if roles.is_empty() {
            Verdict::Abstains(silence)
        } else {
            Verdict::Speaks(Judgment { roles, confidence, age })
        };
        Assessment { analyzer: AnalyzerName::Throughput, verdict, reasons }
    }

    fn note(&mut self, reason: ThroughputReason) {
        self.reasons.push(Reason::Throughput(reason));
    }

    fn doubt(&mut self, reason: ThroughputReason) {
        self.confidence = Fraction::ZERO;
        self.note(reason);
    }
}
