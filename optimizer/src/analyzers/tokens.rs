//! The tokens analyzer: can the replicas hold what is asked of them, and get through it?
//!
//! Two bounds, each in tokens:
//!
//! - The [stock](Stock): tokens that KV caches hold and that waiting requests will need, against
//!   what caches may be filled with and full engines were seen to hold. It is the analyzer of the
//!   workload-variant-autoscaler 0.9, whose numbers it reproduces.
//! - The rate: tokens per second that arrive, and those that wait and should be worked off, against
//!   what engines were seen to get through while requests waited, or what a profile of their steps
//!   says. With prompts of 1000 tokens and outputs of 250 an engine's steps are full at a KV usage
//!   of 16 %: the stock says idle while the queue grows.
//!
//! The load is the larger of the two, in replicas of each variant.
//!
//! Differences to the original, besides the rate:
//!
//! - Missing is not zero. When an engine lacks its KV usage or its queue, when ready replicas do not
//!   report, or when nothing tells how long waiting requests are, the answer has no confidence: what
//!   is known may ask for more, and nothing is let go.
//! - Of a full engine the tokens in use are taken for its limit only when its queue did not shrink
//!   and its cache did not fill up further since the last look. So neither a ramp nor a burst of
//!   prompts passes for a limit. What an engine holds without being full is a lower bound of what
//!   it can hold. Samples lose weight with time.
//! - What is learned is kept by variant in [`State`], is dropped when the variant's role, hardware
//!   or configuration changes, and is really forgotten when it is too old.
//!
//! A missing gateway queue counts as none: most clusters have no gateway that queues.

mod capacity;
mod census;
mod learned;
mod rate;
mod stock;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use stock::{Stock, VariantStock};

use self::census::{Census, Engine, Ranks};
use self::learned::Learned;
use super::Subject;
use super::memory::Dated;
use super::reading::total;
use crate::assessment::{Abstention, Assessment, Judgment, Load, RoleNeed, VariantNeed, Verdict};
use crate::decision::{Reason, TokensReason};
use crate::id::VariantId;
use crate::observation::Role;
use crate::policy::{AnalyzerName, Policy};
use crate::units::{Fraction, QueueLength, Replicas, Timestamp, Tokens};

/// What the analyzer has learned of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    variants: BTreeMap<VariantId, Learned>,
}

impl State {
    /// What the analyzer says about a model now; it learns from what it sees.
    pub fn assess(&mut self, subject: &Subject<'_>) -> Assessment {
        let census = Census::take(subject);
        let stock = self.observe(&census, subject.policy);
        let mut reasons = doubts(&census);
        let loads = Loads { census: &census, stock: &stock, state: self, policy: subject.policy };
        let (roles, findings) = loads.take();
        reasons.extend(loads.doubts());

        let confidence = if reasons.is_empty() { Fraction::ONE } else { Fraction::ZERO };
        reasons.extend(findings);
        let judgment = Judgment { roles, confidence, age: census.oldest };
        let verdict = if is_blind(&census, &judgment) {
            let is_silent = census.engines().next().is_none();
            let reason = if is_silent { Reason::NothingReported } else { Reason::SignalsMissing };
            reasons.insert(0, reason);
            Verdict::Abstains(Abstention::SignalsMissing)
        } else {
            Verdict::Speaks(judgment)
        };
        Assessment { analyzer: AnalyzerName::Tokens, verdict, reasons }
    }

    /// The stock alone, in KV tokens; it learns from what it sees, as [`Self::assess`] does.
    pub fn stock(&mut self, subject: &Subject<'_>) -> Stock {
        self.observe(&Census::take(subject), subject.policy)
    }

    fn observe(&mut self, census: &Census<'_>, policy: &Policy) -> Stock {
        for learned in self.variants.values_mut() {
            learned.rewind(census.now);
            learned.evict(census.now, policy);
        }
        self.variants.retain(|_, learned| !learned.is_empty());
        let mut at_limits = Vec::with_capacity(census.variants.len());
        for ranks in &census.variants {
            let fresh = || Learned::new(ranks.observed);
            let learned = self.variants.entry(ranks.observed.variant.clone()).or_insert_with(fresh);
            if !learned.is_of(ranks.observed) {
                *learned = fresh();
            }
            at_limits.push(learned.learn(ranks, census, policy));
        }
        Stock::of(census, &at_limits, self, policy.tokens.stale_after)
    }

    /// What was learned of a variant.
    fn of(&self, ranks: &Ranks<'_>) -> Option<&Learned> {
        self.variants.get(&ranks.observed.variant)
    }

    fn record(&mut self, ranks: &Ranks<'_>, value: Tokens, at: Timestamp) {
        if let Some(learned) = self.variants.get_mut(&ranks.observed.variant) {
            learned.capacity = Some(Dated { value, at });
        }
    }
}

/// The two bounds of a model, on their way to one answer.
struct Loads<'a> {
    census: &'a Census<'a>,
    stock: &'a Stock,
    state: &'a State,
    policy: &'a Policy,
}

impl Loads<'_> {
    /// The needs of each role, and how they come about.
    fn take(&self) -> (Vec<RoleNeed>, Vec<Reason>) {
        let mut reasons = Vec::new();
        let needs = self.stock.roles.iter().map(|&(role, balance)| {
            let rate = rate::demand(self.census, role, self.policy.tokens.drain_time);
            let ranks = self.census.of_role(role);
            let variants = ranks.map(|ranks| self.need(ranks, balance.demand, rate, &mut reasons));
            RoleNeed { role, variants: variants.collect() }
        });
        (needs.collect(), reasons)
    }

    fn need(
        &self,
        ranks: &Ranks<'_>,
        held: f64,
        rate: Option<f64>,
        reasons: &mut Vec<Reason>,
    ) -> VariantNeed {
        let variant = ranks.observed.variant.clone();
        let stock = self.stock.variants.iter().find(|stock| stock.variant == variant);
        let stock = stock.and_then(|stock| {
            let (variant, tokens, basis) = (variant.clone(), stock.capacity, stock.basis);
            reasons.push(Reason::Tokens(TokensReason::Capacity { variant, tokens, basis }));
            self.over(held, stock.per_replica())
        });
        let rate = rate.and_then(|demanded| {
            if demanded <= 0.0 {
                return Some(Load::default());
            }
            let (rate, basis) = rate::capacity(self.census, ranks, self.state)?;
            let variant = variant.clone();
            reasons.push(Reason::Tokens(TokensReason::Rate { variant, rate, basis }));
            self.over(demanded, rate.value() * ranks.per_replica() as f64)
        });
        reasons.push(Reason::Tokens(TokensReason::Load {
            variant: variant.clone(),
            stock: stock.map(|load| load.required),
            rate: rate.map(|load| load.required),
        }));
        let load = match (stock, rate) {
            (Some(a), Some(b)) => {
                Some(Load { required: a.required.max(b.required), kept: a.kept.max(b.kept) })
            }
            (one, other) => one.or(other),
        };
        VariantNeed { variant, load }
    }

    fn over(&self, demand: f64, capacity: f64) -> Option<Load> {
        let policy = &self.policy.tokens;
        let (up, down) = (policy.scale_up_threshold, policy.scale_down_boundary);
        Load::over(demand, capacity, up.value(), down.value())
    }

    /// Why no replica may go although what is seen would allow it: it is known what engines get
    /// through, and not what is asked for.
    fn doubts(&self) -> Option<Reason> {
        let unknown = |role| {
            let knows = |ranks: &Ranks<'_>| {
                let learned = self.state.of(ranks).is_some_and(Learned::knows_rates);
                learned || ranks.observed.profile.is_some()
            };
            rate::demand(self.census, role, self.policy.tokens.drain_time).is_none()
                && self.census.of_role(role).any(knows)
        };
        let is_unknown = self.census.shares.roles().any(unknown);
        let signal = "arrivalRate, promptRate or generationRate".to_owned();
        is_unknown.then_some(Reason::Tokens(TokensReason::SignalMissing { signal }))
    }
}

/// Why what is seen is not all that is asked for.
fn doubts(census: &Census<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let silent = census.variants.iter().filter(|ranks| ranks.is_silent());
    let (ready, reporting) = silent.fold((0_u64, 0_u64), |(ready, reporting), ranks| {
        (ready.saturating_add(ranks.ready_engines()), reporting + ranks.engines.len() as u64)
    });
    if ready > 0 {
        let count = |engines| Replicas::new(u32::try_from(engines).unwrap_or(u32::MAX));
        let (ready, reporting) = (count(ready), count(reporting));
        reasons.push(Reason::SilentReplicas { ready, reporting });
    }
    let replicas = census.engines().filter(|engine| engine.is_incomplete()).count();
    if replicas > 0 {
        reasons.push(Reason::SignalsIncomplete { replicas });
    }
    let in_engines = census.variants.iter().flat_map(|ranks| {
        let role = ranks.observed.role;
        let is_unmeasured =
            move |engine: &&Engine<'_>| !engine.lengths.or(census.lengths).tell_held(role);
        ranks.engines.iter().filter(is_unmeasured).filter_map(|engine| engine.waiting)
    });
    let at_gateway = census.gateway_queue.filter(|_| !census.lengths.tell_held(Role::Both));
    let waiting = total(in_engines.chain(at_gateway));
    if let Some(waiting) = QueueLength::checked(waiting).filter(|waiting| !waiting.is_zero()) {
        reasons.push(Reason::Tokens(TokensReason::LengthsUnknown { waiting }));
    }
    reasons
}

/// Whether nothing is known of what is asked for: no engine says what it holds or has waiting,
/// nobody says what waits at the gateway, and no rate could be compared.
fn is_blind(census: &Census<'_>, judgment: &Judgment) -> bool {
    let knows = |engine: &Engine<'_>| engine.kv_usage.is_some() || engine.waiting.is_some();
    let is_seen = census.gateway_queue.is_some() || census.engines().any(knows);
    let needs = &mut judgment.roles.iter().flat_map(|role| &role.variants);
    let is_compared = match census.arrivals {
        None => false,
        Some(arrivals) if arrivals <= 0.0 => true,
        Some(_) => needs.any(|need| need.load.is_some_and(|load| !load.required.is_zero())),
    };
    !is_seen && !is_compared
}
