//! What one model needs, before anybody else is considered.

use std::collections::{BTreeMap, BTreeSet};

use super::census::Model;
use super::memory::{Memory, ModelMemory};
use crate::analyzers::Subject;
use crate::analyzers::saturation::{Analysis, Candidate, Target, Verdict, analyze, targets};
use crate::assessment::{Assessment, Judgment, Load, RoleNeed, VariantNeed, Verdict as Says};
use crate::decision::Appraisal;
use crate::forecast::Outlook;
use crate::id::VariantId;
use crate::observation::{Reading, Role};
use crate::policy::{AnalyzerName, HybridMode, Policy};
use crate::reason::{Abstention, Reason, VoteReason};
use crate::units::{Fraction, ReplicaLoad, Replicas, Seconds, Timestamp, Weight};
use crate::vote::{Ballot, count};

/// A model on its way to replica counts.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) of: Model<'a>,
    /// What it weighs when GPUs are short.
    pub(super) priority: Weight,
    /// One for each variant, in their order.
    pub(super) candidates: Vec<Candidate<'a>>,
    /// What became of the last decision for each, where the candidate does not show it.
    pub(super) recalls: Vec<Option<Reason>>,
    /// What the analyzers said, unless saturation alone was asked.
    pub(super) appraisal: Option<Appraisal>,
    pub(super) way: Way,
}

/// How a model's targets are found.
#[derive(Debug)]
pub(super) enum Way {
    /// By thresholds, one replica at a time.
    Thresholds(Thresholds),
    /// By covering what the analyzers ask for, role by role.
    Votes(Vec<Ballot>),
    /// By covering what a model asks for, within what thresholds allow.
    Arbitration(Vec<Ballot>, Thresholds),
}

/// What the saturation analyzer wants.
#[derive(Debug)]
pub(super) struct Thresholds {
    /// One target for each variant.
    pub(super) targets: Vec<Target>,
    /// For each role what was seen, what follows from it, and whether one replica fewer is safe.
    pub(super) roles: BTreeMap<Role, Analysis>,
}

impl<'a> Draft<'a> {
    /// Asks the analyzers of `policy` about a model, and learns from what it shows.
    pub(super) fn new(
        now: Timestamp,
        model: Model<'a>,
        policy: &Policy,
        memory: &mut Memory,
    ) -> Self {
        let timeout = policy.scaling.transition_timeout;
        let priority = policy.priority(model.name, model.namespace);
        let (candidates, recalls): (Vec<_>, Vec<_>) = model
            .variants
            .iter()
            .map(|variant| {
                memory.of(model.namespace, variant, now).candidate(now, variant, timeout)
            })
            .unzip();
        let enabled = policy.enabled();
        let thresholds = || Thresholds::new(now, &model, &candidates, policy);
        if enabled == [AnalyzerName::Saturation] {
            let way = Way::Thresholds(thresholds());
            return Self { of: model, priority, candidates, recalls, appraisal: None, way };
        }
        let memory = memory.model(model.namespace, model.name, now);
        let appraisal = appraise(now, &model, &candidates, &enabled, policy, memory);
        let is_spot = |name: &VariantId| {
            model.variants.iter().any(|variant| variant.spot && variant.variant == *name)
        };
        let ballots = |asked: &[Assessment]| {
            let mut ballots = count(asked, &roles(&model), policy.voting, &policy.signals);
            for ballot in &mut ballots {
                ballot.limit_spot(policy.spot.max_share, is_spot);
            }
            ballots
        };
        let someone_speaks =
            appraisal.assessments.iter().any(|assessment| assessment.judgment().is_some());
        let way = if policy.experimental_hybrid_optimization == Some(HybridMode::On) {
            let of_model = |a: &&Assessment| a.analyzer != AnalyzerName::Saturation;
            let asked: Vec<_> = appraisal.assessments.iter().filter(of_model).cloned().collect();
            if asked.iter().any(|assessment| assessment.judgment().is_some()) {
                Way::Arbitration(ballots(&asked), thresholds())
            } else {
                Way::Thresholds(thresholds())
            }
        } else if someone_speaks {
            Way::Votes(ballots(&appraisal.assessments))
        } else {
            Way::Thresholds(thresholds())
        };
        Self { of: model, priority, candidates, recalls, appraisal: Some(appraisal), way }
    }

    /// How well a role does without more, by thresholds; without any it is not known.
    pub(super) fn slack(&self, role: Role) -> f64 {
        match &self.way {
            Way::Thresholds(thresholds) => {
                thresholds.roles.get(&role).map_or(f64::INFINITY, |analysis| analysis.spare.kv)
            }
            Way::Votes(_) | Way::Arbitration(..) => f64::INFINITY,
        }
    }

    /// What is said of every variant of a role, before its own trail.
    pub(super) fn preamble(&self, role: Role) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for assessment in self.appraisal.iter().flat_map(|appraisal| &appraisal.assessments) {
            let analyzer = assessment.analyzer;
            reasons.extend(assessment.reasons.iter().cloned());
            if let Says::Abstains(why) = assessment.verdict {
                reasons.push(Reason::Vote(VoteReason::Abstains { analyzer, why }));
            }
        }
        if let Way::Thresholds(thresholds) = &self.way {
            if self.appraisal.is_some() {
                reasons.push(Reason::Vote(VoteReason::SaturationDecides));
            }
            let analysis = thresholds.roles.get(&role);
            reasons.extend(analysis.iter().flat_map(|analysis| analysis.reasons.iter().cloned()));
        }
        reasons
    }
}

impl Thresholds {
    /// Each role on its own: replicas of one role cannot take over work of another.
    fn new(
        now: Timestamp,
        model: &Model<'_>,
        candidates: &[Candidate<'_>],
        policy: &Policy,
    ) -> Self {
        let roles = analyses(now, model, policy);
        let mut wanted = BTreeMap::new();
        for (&role, analysis) in &roles {
            let of_role: Vec<Candidate<'_>> =
                candidates.iter().filter(|c| c.observed.role == role).copied().collect();
            let names = of_role.iter().map(|candidate| &candidate.observed.variant);
            wanted.extend(names.zip(targets(analysis, &of_role)));
        }
        let targets =
            candidates.iter().filter_map(|c| wanted.remove(&c.observed.variant)).collect();
        Self { targets, roles }
    }

    /// Whether one replica fewer of a role is safe; `None` when nobody reports.
    pub(super) fn shrinking_is_safe(&self, role: Role) -> Option<bool> {
        let analysis = self.roles.get(&role)?;
        let is_known = analysis.reporting > analysis.unknown;
        is_known.then_some(analysis.verdict == Verdict::Shrink)
    }
}

/// What the replicas of each role say.
fn analyses(now: Timestamp, model: &Model<'_>, policy: &Policy) -> BTreeMap<Role, Analysis> {
    let thresholds = policy.saturation.thresholds(model.name, model.namespace);
    let analysis = |role| {
        let of_role = model.variants.iter().copied().filter(|variant| variant.role == role);
        (role, analyze(now, of_role, &thresholds, &policy.signals))
    };
    model
        .variants
        .iter()
        .map(|variant| variant.role)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(analysis)
        .collect()
}

/// The variants of each role.
fn roles(model: &Model<'_>) -> BTreeMap<Role, Vec<VariantId>> {
    let mut roles = BTreeMap::<_, Vec<_>>::new();
    for variant in &model.variants {
        roles.entry(variant.role).or_default().push(variant.variant.clone());
    }
    roles
}

/// What the `enabled` analyzers say about a model.
fn appraise(
    now: Timestamp,
    model: &Model<'_>,
    candidates: &[Candidate<'_>],
    enabled: &[AnalyzerName],
    policy: &Policy,
    memory: &mut ModelMemory,
) -> Appraisal {
    let arrivals = model.demand.arrival_rate.read(now, &policy.signals);
    if let Reading::Fresh(rate) = arrivals {
        memory.forecaster.observe(now, rate, &policy.forecast);
    }
    // Without a signal of today, yesterday's forecast is no knowledge.
    let outlook = match arrivals {
        Reading::Missing => Outlook::default(),
        Reading::Fresh(_) | Reading::Stale { .. } => memory.forecaster.outlook(&policy.forecast),
    };
    let subject = Subject {
        now,
        namespace: model.namespace,
        model: model.name,
        slo: model.slo,
        demand: model.demand,
        outlook: &outlook,
        variants: &model.variants,
        policy,
    };
    let ask = |analyzer: &AnalyzerName| match analyzer {
        AnalyzerName::Saturation => saturation(now, model, candidates, policy),
        AnalyzerName::Tokens => memory.tokens.assess(&subject),
        AnalyzerName::Throughput => memory.throughput.assess(&subject),
        AnalyzerName::Queueing => memory.queueing.assess(&subject),
        AnalyzerName::Slo => memory.slo.assess(&subject),
    };
    let assessments = enabled.iter().map(ask).collect();
    Appraisal {
        namespace: model.namespace.clone(),
        model: model.name.clone(),
        outlook,
        assessments,
    }
}

/// The saturation analyzer as one voter among others. It tells the direction and not the distance,
/// so it asks for one replica more than there are, keeps them, or lets one go; all replicas of a
/// role count alike. It has no say on a role of which nobody reports.
fn saturation(
    now: Timestamp,
    model: &Model<'_>,
    candidates: &[Candidate<'_>],
    policy: &Policy,
) -> Assessment {
    let analyzer = AnalyzerName::Saturation;
    let (mut roles, mut reasons) = (Vec::new(), Vec::new());
    for (role, analysis) in analyses(now, model, policy) {
        reasons.extend(analysis.reasons);
        if analysis.reporting == analysis.unknown {
            continue;
        }
        let of_role = || candidates.iter().filter(|candidate| candidate.observed.role == role);
        let present: Replicas = of_role().map(Candidate::start).sum();
        let one = Replicas::new(1);
        let wanted = match analysis.verdict {
            Verdict::Grow => present + one,
            Verdict::Keep => present,
            Verdict::Shrink => present - one,
        };
        let load = ReplicaLoad::new(wanted.as_f64());
        let need = |candidate: &Candidate<'_>| VariantNeed {
            variant: candidate.observed.variant.clone(),
            load: Some(Load { required: load, kept: load }),
        };
        roles.push(RoleNeed { role, variants: of_role().map(need).collect() });
    }
    let verdict = if roles.is_empty() {
        Says::Abstains(Abstention::SignalsMissing)
    } else {
        Says::Speaks(Judgment { roles, confidence: Fraction::ONE, age: Seconds::ZERO })
    };
    Assessment { analyzer, verdict, reasons }
}
