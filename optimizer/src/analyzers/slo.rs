#![doc = include_str!("slo/slo.md")]

mod belief;
pub mod replica;
mod traffic;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::assessment::{Abstention, Assessment, Judgment, Load, RoleNeed, VariantNeed, Verdict};
use crate::decision::{Reason, SloReason};
use crate::id::VariantId;
use crate::observation::{Role, VariantObservation};
use crate::policy::{AnalyzerName, SloSettings};
use crate::slo::Slo;
use crate::units::{Fraction, QueueLength, RequestRate, Seconds, Timestamp};
use belief::Belief;
use replica::{Capacity, Replica, RequestMix};
use traffic::{Reader, Traffic};

/// A backlog is given at least this long.
const LEAST_DRAIN_TIME: Seconds = Seconds::new(10.0);
/// A step time that is known no better than this is not known.
const UNKNOWN: f64 = 0.5;
/// Replicas that take so many times as long as expected contradict the belief.
const CONTRADICTION: f64 = 1.5;

/// What the analyzer has learned of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of each variant, how long its steps take.
    variants: BTreeMap<VariantId, Belief>,
    /// The requests, as they were last known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mix: Option<RequestMix>,
    /// When it was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assessed_at: Option<Timestamp>,
}

impl State {
    /// What the analyzer says about a model now; it learns from what it sees.
    pub fn assess(&mut self, subject: &Subject<'_>) -> Assessment {
        let settings = subject.policy.slo.settings(subject.model, subject.namespace);
        let since_last = self.assessed_at.map_or(Seconds::ZERO, |at| subject.now.since(at));
        self.assessed_at = Some(subject.now);
        let mut trail = Trail::default();
        let mut reader = Reader::new(subject);

        let traffic = Traffic::read(&mut reader, self.mix, &mut trail.reasons);
        self.mix = traffic.mix.or(self.mix);
        let slower = self.learn(subject, traffic.mix);
        let Some(slo) = subject.slo.or(settings.targets) else {
            trail.say(SloReason::NoTargets);
            return trail.abstain(Abstention::NotConfigured);
        };
        let Some(rate) = subject.outlook.peak(Seconds::ZERO).or(traffic.rate) else {
            trail.missing("arrivalRate");
            return trail.abstain(Abstention::SignalsMissing);
        };
        let Some(mix) = self.mix else {
            if rate.is_zero() && traffic.waits_nowhere() {
                let idle = by_role(subject, |_| Some(Load::default()));
                return trail.speak(idle, reader.age());
            }
            trail.missing("inputTokens or outputTokens");
            return trail.abstain(Abstention::SignalsMissing);
        };

        let case = Case { subject, settings, slo, mix, since_last, traffic: &traffic };
        case.tell_demand(&mut trail);
        let roles = by_role(subject, |variant| self.load(&case, variant, &mut trail));
        if roles.iter().flat_map(|role| &role.variants).all(|variant| variant.load.is_none()) {
            return trail.abstain(Abstention::NotReady);
        }
        for (variant, observed, expected) in slower {
            trail.doubt(expected / observed);
            trail.say(SloReason::Slower { variant, observed, expected });
        }
        self.compare_ttft(&case, &mut trail);
        trail.speak(roles, reader.age())
    }

    /// Learns from the replicas, and returns where they contradict what was believed: the variant,
    /// the mean time of a step, and what was expected.
    fn learn(
        &mut self,
        subject: &Subject<'_>,
        mix: Option<RequestMix>,
    ) -> Vec<(VariantId, Seconds, Seconds)> {
        let present = |id: &VariantId| subject.variants.iter().any(|other| other.variant == *id);
        self.variants.retain(|id, _| present(id));
        let mix = mix.or(self.mix);
        let mut slower = Vec::new();
        for variant in subject.variants {
            let id = &variant.variant;
            if self.variants.get(id).is_none_or(|belief| !belief.is_of(variant)) {
                self.variants.insert(id.clone(), Belief::new(variant));
            }
            let Some(belief) = self.variants.get_mut(id) else { continue };
            let memory = subject.policy.slo.memory;
            let contradiction =
                belief.learn(variant, mix, subject.now, &subject.policy.signals, memory);
            if let Some((observed, expected)) = contradiction
                && observed / expected > CONTRADICTION
            {
                slower.push((id.clone(), observed, expected));
            }
        }
        slower
    }

    fn load(
        &self,
        case: &Case<'_>,
        variant: &VariantObservation,
        trail: &mut Trail,
    ) -> Option<Load> {
        let belief = self.variants.get(&variant.variant)?;
        let deviation = belief.deviation(&case.mix);
        let name = || variant.variant.clone();
        if deviation > UNKNOWN {
            trail.say(SloReason::Uncertain { variant: name(), deviation });
            return None;
        }
        let capacity =
            belief.replica(variant).capacity(&case.mix, case.slo, case.settings.percentile);
        let Some(Capacity { rate, limit, reachable }) = capacity else {
            trail.say(SloReason::ServesNothing { variant: name() });
            return None;
        };
        if let Some(reachable) = reachable {
            trail.say(SloReason::OutOfReach { variant: name(), reachable });
        }
        trail.say(SloReason::Sustains { variant: name(), rate, limit: limit.to_string() });
        trail.doubt(1.0 - deviation);
        let kept = 1.0 - case.settings.margin.value();
        Load::over(case.demand(variant).value(), rate.value(), 1.0, kept)
    }

    /// Holds the reported times to first token against those that the model expects at the reported
    /// rate. A queue explains long ones, so then there is nothing to compare.
    fn compare_ttft(&self, case: &Case<'_>, trail: &mut Trail) {
        for variant in case.subject.variants {
            let reported = traffic::mean_ttft(case.subject, variant);
            let (Some((observed, rate)), Some(belief)) =
                (reported, self.variants.get(&variant.variant))
            else {
                continue;
            };
            let replica = belief.replica(variant);
            let expected = replica.mean_latency(&case.mix, rate).map(|latency| latency.ttft);
            if let Some(expected) = expected
                && observed > case.slo.ttft
                && observed / expected > 2.0 * CONTRADICTION
                && case.excess(variant.role).is_zero()
            {
                trail.doubt(expected / observed);
                let variant = variant.variant.clone();
                trail.say(SloReason::Slower { variant, observed, expected });
            }
        }
    }
}

/// One model at one moment, with all that its variants have in common.
struct Case<'a> {
    subject: &'a Subject<'a>,
    settings: SloSettings,
    slo: Slo,
    mix: RequestMix,
    since_last: Seconds,
    traffic: &'a Traffic,
}

impl Case<'_> {
    /// What a variant has to be ready for: what comes until a replica that is asked for now serves,
    /// and a backlog.
    fn demand(&self, variant: &VariantObservation) -> RequestRate {
        let arrivals = self.arrivals(self.lead(variant));
        let drained = RequestRate::over(self.excess(variant.role).value(), self.within(variant));
        arrivals + drained.unwrap_or(RequestRate::ZERO)
    }

    fn arrivals(&self, lead: Seconds) -> RequestRate {
        self.subject.outlook.peak(lead).or(self.traffic.rate).unwrap_or(RequestRate::ZERO)
    }

    /// A decision is carried out after a cold start, and what is not decided now is decided in the
    /// next step at the earliest.
    fn lead(&self, variant: &VariantObservation) -> Seconds {
        let cold_start = self.cold_start(variant);
        cold_start + self.since_last.min(cold_start)
    }

    fn cold_start(&self, variant: &VariantObservation) -> Seconds {
        variant.cold_start.unwrap_or(self.subject.policy.slo.cold_start)
    }

    fn within(&self, variant: &VariantObservation) -> Seconds {
        let usual = self.slo.ttft.max(self.cold_start(variant)).max(LEAST_DRAIN_TIME);
        self.subject.policy.slo.drain_time.unwrap_or(usual)
    }

    /// Requests that wait beyond those that would be served within the TTFT target anyway: by
    /// Little's law a queue of rate × target means a wait of the target.
    fn excess(&self, role: Role) -> QueueLength {
        let usual = self.arrivals(Seconds::ZERO) * self.slo.ttft;
        let usual = QueueLength::checked(usual).unwrap_or(QueueLength::ZERO);
        self.traffic.waiting(role) - usual
    }

    fn tell_demand(&self, trail: &mut Trail) {
        let leads = self.subject.variants.iter().map(|variant| self.lead(variant));
        let lead = leads.max().unwrap_or(Seconds::ZERO);
        trail.say(SloReason::Demand { rate: self.arrivals(lead), lead });
        let longest = self.subject.variants.iter().max_by_key(|variant| self.excess(variant.role));
        if let Some(variant) = longest {
            let excess = self.excess(variant.role);
            if !excess.is_zero() {
                trail.say(SloReason::Backlog { excess, within: self.within(variant) });
            }
        }
    }
}

/// What is said, and how sure.
#[derive(Debug)]
struct Trail {
    reasons: Vec<Reason>,
    confidence: Fraction,
}

impl Default for Trail {
    fn default() -> Self {
        Self { reasons: Vec::new(), confidence: Fraction::ONE }
    }
}

impl Trail {
    fn say(&mut self, reason: SloReason) {
        self.reasons.push(Reason::Slo(reason));
    }

    fn missing(&mut self, signal: &str) {
        self.say(SloReason::SignalMissing { signal: signal.to_owned() });
    }

    /// No more sure than this.
    fn doubt(&mut self, confidence: f64) {
        let confidence = Fraction::checked(confidence.clamp(0.0, 1.0)).unwrap_or(Fraction::ZERO);
        self.confidence = self.confidence.min(confidence);
    }

    fn abstain(self, why: Abstention) -> Assessment {
        Assessment { reasons: self.reasons, ..Assessment::abstain(AnalyzerName::Slo, why) }
    }

    fn speak(mut self, roles: Vec<RoleNeed>, age: Seconds) -> Assessment {
        let confidence = self.confidence;
        self.say(SloReason::Confidence { confidence });
        let verdict = Verdict::Speaks(Judgment { roles, confidence, age });
        Assessment { analyzer: AnalyzerName::Slo, verdict, reasons: self.reasons }
    }
}

/// The needs of all roles that there are, with the load of each variant.
fn by_role(
    subject: &Subject<'_>,
    mut load: impl FnMut(&VariantObservation) -> Option<Load>,
) -> Vec<RoleNeed> {
    let mut roles = Vec::new();
    for role in [Role::Both, Role::Prefill, Role::Decode] {
        let of_role = subject.variants.iter().filter(|variant| variant.role == role);
        let need = |variant: &&VariantObservation| VariantNeed {
            variant: variant.variant.clone(),
            load: load(variant),
        };
        let variants: Vec<_> = of_role.map(need).collect();
        if !variants.is_empty() {
            roles.push(RoleNeed { role, variants });
        }
    }
    roles
}

impl Belief {
    /// A replica of the variant, as it is believed to be.
    fn replica(&self, variant: &VariantObservation) -> Replica {
        Replica {
            step_time: self.step_time(),
            kv_capacity: self.kv_capacity(variant),
            block_size: variant.engine.block_size,
            max_sequences: variant.engine.max_sequences,
            max_batched_tokens: variant.engine.max_batched_tokens,
            role: variant.role,
        }
    }
}
