//! A journal is replayed to the last bit, and whatever was changed in it is found.

use optimizer::journal::{
    CHECKPOINT_EVERY, Difference, Digest, Journal, Mismatch, PolicyEntry, Record, RecordError,
    ReplayError, Replayer, VERSION, replay,
};
use optimizer::observation::Signal;
use optimizer::units::{
    Fraction, MeanTokens, QueueLength, Replicas, RequestRate, Seconds, Timestamp, TokenRate,
};
use optimizer::{Controller, Policy};
use proptest::prelude::*;

use crate::arbitrary::{policy, prompt, steps};
use crate::fleet::{fleet, variant};

/// So many steps of 30 s, in which a model grows and shrinks again.
fn day(steps: u64) -> Vec<Record> {
    let mut controller = Controller::new(prompt()).unwrap();
    let mut journal = Journal::default();
    let mut current = 2;
    let mut records = Vec::new();
    for step in 0..steps {
        let now = Timestamp::from_seconds(30.0 * step as f64);
        let kv = if step % 8 < 4 { 0.75 } else { 0.1 };
        let observed = fleet(vec![variant("v", 1.0, now, &vec![(kv, 0.0); current])]);
        let record = journal.step(&mut controller, now, observed);
        current = record.decision.variants[0].desired.get() as usize;
        records.push(record);
    }
    records
}

fn read_back(records: &[Record]) -> Vec<Record> {
    records.iter().map(|record| Record::parse(&record.to_line()).unwrap()).collect()
}

proptest! {
    #[test]
    fn whatever_happened_is_replayed_from_its_lines(
        first in policy(), second in policy(), steps in steps()
    ) {
        let mut controller = Controller::new(first).unwrap();
        let mut journal = Journal::default();
        let mut records = Vec::new();
        for (idx, (now, observation)) in steps.into_iter().enumerate() {
            if idx == 2 {
                controller.set_policy(second.clone()).unwrap();
            }
            records.push(journal.step(&mut controller, now, observation));
        }
        let read = read_back(&records);
        prop_assert_eq!(&read, &records);
        prop_assert_eq!(replay(&read).unwrap(), []);
    }

    /// The units, each with its own way to be written, keep every bit of their numbers.
    #[test]
    fn numbers_survive_their_text(
        value in any::<f64>().prop_filter("a quantity", |value| value.is_finite() && *value >= 0.0),
        share in 0.0..=1.0_f64,
        nanos in any::<u64>(),
    ) {
        let at = Timestamp::from_nanos(nanos);
        let mut observed = fleet(vec![variant("v", 1.0, at, &[(share, 0.0)])]);
        let model = &mut observed.models[0];
        model.demand.arrival_rate = Signal::seen(RequestRate::new(value), at);
        model.demand.input.mean = Signal::seen(MeanTokens::new(value), at);
        let replica = &mut model.variants[0].replicas[0];
        replica.kv_usage = Signal::seen(Fraction::new(share), at);
        replica.waiting = Signal::seen(QueueLength::new(value), at);
        replica.ttft = Signal::seen(Seconds::new(value), at);
        replica.generation_rate = Signal::seen(TokenRate::new(value), at);
        let mut controller = Controller::new(Policy::default()).unwrap();
        let record = Journal::default().step(&mut controller, at, observed);
        let read = Record::parse(&record.to_line()).unwrap();
        prop_assert_eq!(Digest::of(&read), Digest::of(&record));
        let seen = |signal: Signal<QueueLength>| match signal {
            Signal::Seen { value, .. } => value.value().to_bits(),
            Signal::Missing => panic!("it was seen"),
        };
        let waiting = seen(read.observation.models[0].variants[0].replicas[0].waiting);
        // A quantity has no negative zero.
        prop_assert_eq!(waiting, (value + 0.0).to_bits());
    }
}

#[test]
fn policy_and_memory_are_written_out_in_checkpoints_only() {
    let records = day(CHECKPOINT_EVERY + 2);
    let whole = |record: &Record| matches!(record.policy, PolicyEntry::Whole(_));
    let checkpoints: Vec<u64> =
        records.iter().filter(|r| r.checkpoint.is_some()).map(|record| record.step).collect();
    assert_eq!(checkpoints, [0, CHECKPOINT_EVERY]);
    assert!(records.iter().all(|record| whole(record) == record.checkpoint.is_some()));
}

#[test]
fn a_rotated_file_is_replayed_from_its_first_checkpoint() {
    let records = read_back(&day(CHECKPOINT_EVERY + 5));
    let mut replayer = Replayer::default();
    for record in &records[7..] {
        assert_eq!(replayer.check(record).unwrap(), None);
    }
    assert_eq!(replayer.finish(), Ok(5));
    assert_eq!(replay(&records[1..50]), Err(ReplayError::NoCheckpoint));
}

#[test]
fn a_new_file_begins_with_a_checkpoint_and_can_be_replayed_alone() {
    let mut controller = Controller::new(prompt()).unwrap();
    let mut journal = Journal::default();
    let mut step = |journal: &mut Journal, seconds: f64| {
        let now = Timestamp::from_seconds(seconds);
        let observed = fleet(vec![variant("v", 1.0, now, &[(0.75, 0.0)])]);
        journal.step(&mut controller, now, observed)
    };
    let first = [step(&mut journal, 0.0), step(&mut journal, 30.0)];
    journal.begin_file();
    let second = [step(&mut journal, 60.0), step(&mut journal, 90.0)];
    assert!(second[0].checkpoint.is_some() && second[1].checkpoint.is_none());
    assert_eq!((replay(&second), replay(first.iter().chain(&second))), (Ok(vec![]), Ok(vec![])));
}

#[test]
fn a_driver_that_starts_anew_begins_with_a_checkpoint() {
    let records = [day(5), day(7)].concat();
    assert_eq!(replay(&read_back(&records)).unwrap(), []);
}

#[test]
fn what_was_changed_is_found() {
    let changed = |step: usize, change: fn(&mut Record)| {
        let mut records = day(12);
        change(&mut records[step]);
        replay(&records).unwrap()
    };
    let steps = |found: &[Mismatch]| -> Vec<_> { found.iter().map(|m| m.step).collect() };

    let found = changed(3, |record| record.decision.variants[0].desired = Replicas::new(77));
    assert_eq!(steps(&found), [3]);
    let Difference { recorded, replayed } = &found[0].variants[0];
    assert_eq!(recorded.as_ref().unwrap().desired, Replicas::new(77));
    assert_eq!(replayed.as_ref().unwrap().desired, Replicas::new(6));

    let found = changed(3, |record| record.decision.variants.clear());
    assert_eq!((steps(&found), found[0].variants[0].recorded.is_none()), (vec![3], true));

    // A reason that is off by the last bit.
    let found = changed(3, |record| {
        for reason in &mut record.decision.variants[0].trail {
            if let optimizer::Reason::KvSpareLow { spare, .. } = reason {
                *spare = spare.next_up();
            }
        }
    });
    assert_eq!(steps(&found), [3]);

    // Another observation leads to another decision, and to another memory from then on.
    let found = changed(3, |record| record.observation.models.clear());
    assert_eq!(found[0].step, 3);
    assert!(found.len() > 1 && found[1..].iter().all(|mismatch| mismatch.memory_differs));
}

#[test]
fn what_was_lost_is_said() {
    let mut records = day(12);
    records.remove(5);
    assert_eq!(replay(&records), Err(ReplayError::Gap { expected: 5, found: 6 }));

    let mut records = day(12);
    let digest = Digest::of(&"another policy");
    records[4].policy = PolicyEntry::Same(digest);
    assert_eq!(replay(&records), Err(ReplayError::PolicyUnknown { step: 4, digest }));
}

#[test]
fn another_policy_decides_on_what_was_seen() {
    let mut calm = prompt();
    calm.scaling.up.max_step = Some(Replicas::ZERO);
    let mut replayer = Replayer::with_policy(calm);
    let found: Vec<_> = day(12).iter().filter_map(|r| replayer.check(r).unwrap()).collect();
    let desired = |difference: &Difference| {
        let count = |decided: &Option<optimizer::VariantDecision>| {
            decided.as_ref().map(|decided| decided.desired.get())
        };
        (count(&difference.recorded), count(&difference.replayed))
    };
    assert_eq!(found[0].step, 0);
    assert_eq!(desired(&found[0].variants[0]), (Some(3), Some(2)));
    assert!(found.iter().all(|mismatch| !mismatch.memory_differs));
}

#[test]
fn a_line_of_another_version_or_none_at_all_is_refused() {
    let line = day(1)[0].to_line();
    let next = line.replacen(r#""version":1"#, r#""version":2,"news":true"#, 1);
    let error = Record::parse(&next).unwrap_err();
    assert!(matches!(error, RecordError::Version { found: 2 }), "{error}");
    assert_eq!(VERSION, 1);
    for text in ["", "{}", "[1]", &line[1..], &line.replace("observation", "observed")] {
        let error = Record::parse(text).unwrap_err();
        assert!(matches!(error, RecordError::Malformed(_)), "{text}: {error}");
    }
}

/// What other programs read of a record.
#[test]
fn a_record_is_one_line_of_json() {
    let records = day(2);
    assert!(records.iter().all(|record| !record.to_line().contains('\n')));
    let mut value: serde_json::Value = serde_json::from_str(&records[1].to_line()).unwrap();
    value["observation"] = "as it was given".into();
    insta::assert_json_snapshot!(value);
}
