use super::*;
use crate::assessment::{Abstention, Judgment, VariantNeed, Verdict};
use crate::reason::Reason;
use crate::units::Seconds;

fn names(names: &[&str]) -> Vec<VariantId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// An analyzer that says how many replicas of variants `a` and `b` alone would be needed.
fn says(
    analyzer: AnalyzerName,
    loads: [Option<(f64, f64)>; 2],
    confidence: f64,
    age: f64,
) -> Assessment {
    let need = |(name, load): (&str, Option<(f64, f64)>)| VariantNeed {
        variant: name.parse().unwrap(),
        load: load.map(|(required, kept)| Load {
            required: ReplicaLoad::new(required),
            kept: ReplicaLoad::new(kept),
        }),
    };
    let variants = ["a", "b"].into_iter().zip(loads).map(need).collect();
    Assessment {
        analyzer,
        verdict: Verdict::Speaks(Judgment {
            roles: vec![RoleNeed { role: Role::Both, variants }],
            confidence: Fraction::new(confidence),
            age: Seconds::new(age),
        }),
        reasons: vec![Reason::NothingReported],
    }
}

fn ballot(assessments: &[Assessment]) -> Ballot {
    let variants = BTreeMap::from([(Role::Both, names(&["a", "b"]))]);
    count(assessments, &variants, VotingPolicy::default(), &Freshness::default()).remove(0)
}

#[test]
fn each_analyzer_has_its_own_need() {
    let tokens = says(AnalyzerName::Tokens, [Some((4.0, 5.0)), Some((2.0, 2.5))], 1.0, 0.0);
    let slo = says(AnalyzerName::Slo, [Some((8.0, 10.0)), None], 1.0, 0.0);
    let ballot = ballot(&[tokens, slo]);
    assert_eq!(ballot.veto, None);
    let shares: Vec<_> =
        ballot.needs.iter().map(|need| (&need.required[..], &need.kept[..])).collect();
    assert_eq!(shares, [(&[0.25, 0.5][..], &[0.2, 0.4][..]), (&[0.125, 0.0], &[0.1, 0.0])]);
}

#[test]
fn who_abstains_has_no_vote_and_who_is_unsure_keeps_what_there_is() {
    let loads = [Some((1.0, 2.0)), Some((1.0, 2.0))];
    let silent = Assessment::abstain(AnalyzerName::Throughput, Abstention::NotReady);
    let sure = says(AnalyzerName::Tokens, loads, 1.0, 0.0);
    assert_eq!(ballot(&[silent.clone(), sure.clone()]).veto, None);
    assert_eq!(ballot(&[silent]).veto, Some(Veto::NobodySpeaks));

    let (analyzer, confidence) = (AnalyzerName::Slo, Fraction::new(0.4));
    let unsure = ballot(&[sure.clone(), says(analyzer, loads, 0.4, 0.0)]);
    assert_eq!(unsure.veto, Some(Veto::Unsure { analyzer, confidence }));
    assert_eq!(unsure.needs.len(), 2, "it may still ask for more");

    let age = Seconds::new(90.0);
    let stale = ballot(&[sure.clone(), says(analyzer, loads, 1.0, 90.0)]);
    assert_eq!(stale.veto, Some(Veto::Stale { analyzer, age }));

    let lost = ballot(&[sure, says(analyzer, [None, None], 1.0, 0.0)]);
    assert_eq!(lost.veto, Some(Veto::CapacityUnknown { analyzer }));
    assert_eq!(lost.needs.len(), 1, "a need that nothing can cover asks for nothing");
}

#[test]
fn no_load_is_covered_by_anything() {
    let ballot = ballot(&[says(AnalyzerName::Tokens, [Some((0.0, 0.0)), None], 1.0, 0.0)]);
    assert_eq!(ballot.needs[0].required, [f64::INFINITY, 0.0]);
}

#[test]
fn on_demand_replicas_have_to_cover_what_spot_ones_may_not() {
    let loads = [Some((4.0, 5.0)), Some((2.0, 2.5))];
    let mut limited = ballot(&[says(AnalyzerName::Slo, loads, 1.0, 0.0)]);
    let free = limited.clone();
    limited.limit_spot(Fraction::new(0.75), |variant| variant.as_str() == "b");
    // A quarter of four replicas of `a` alone is one.
    assert_eq!(limited.needs.len(), 2);
    assert_eq!(limited.needs[1].required, [1.0, 0.0]);
    let mut unlimited = free.clone();
    unlimited.limit_spot(Fraction::ONE, |_| true);
    unlimited.limit_spot(Fraction::ZERO, |_| true);
    assert_eq!(unlimited, free, "without a limit, or without others");
}

/// Vectors C of the workload-variant-autoscaler 0.5 (its version 0.4.2), all with three replicas.
#[test]
fn c_arbitration() {
    for (row, saturation, model, safe, target, action, safety_override, model_based) in [
        ("C1", 4, 2, Some(false), 3, Action::NoChange, true, false),
        ("C2", 3, 2, Some(false), 3, Action::NoChange, true, false),
        ("C3", 3, 5, Some(true), 5, Action::ScaleUp, false, true),
        ("C4", 4, 3, Some(false), 4, Action::ScaleUp, false, false),
        ("C5", 5, 5, Some(false), 5, Action::ScaleUp, false, true),
        ("C6", 3, 4, None, 4, Action::ScaleUp, false, true),
        ("C7", 5, 4, Some(false), 4, Action::ScaleUp, false, true),
        ("C8", 2, 3, Some(true), 3, Action::NoChange, false, false),
        ("C9", 2, 2, Some(true), 2, Action::ScaleDown, false, true),
    ] {
        let of = Replicas::new;
        let outcome = arbitrate(of(saturation), of(model), of(3), safe);
        let found = (outcome.target, outcome.action, outcome.safety_override, outcome.model_based);
        assert_eq!(found, (of(target), action, safety_override, model_based), "{row}");
        assert_eq!(outcome.saturation_based, row == "C4" || safety_override, "{row}");
    }
}
