//! The GPUs that there are, and what the controller is told beforehand.

use optimizer::observation::{GpuPool, QuotaScope};
use optimizer::units::Tokens;

use super::*;

#[test]
fn an_inventory_is_taken_as_it_stands() {
    let text = format!(
        "{SOUND}inventory:
  gpus: {{H100: {{total: 16, used: 4}}, L40S: {{total: 0}}}}
  quotas:
    - {{name: chat, scope: {{namespace: chat}}, limits: {{H100: 8, L40S: null}}}}
    - {{name: all, scope: {{cluster: {{except: [kube-system]}}}}, limits: {{}}}}
"
    );
    let setup = load(&text, &Overrides::default()).unwrap().setup;
    let inventory = setup.inventory.unwrap();
    let h100 = GpuPool { total: Gpus::new(16), used: Gpus::new(4) };
    let pools: Vec<_> =
        inventory.gpus.iter().flatten().map(|(name, pool)| (name.as_str(), *pool)).collect();
    assert_eq!(pools, [("H100", h100), ("L40S", GpuPool::default())]);
    let limits: Vec<_> = inventory.quotas[0].limits.values().copied().collect();
    assert_eq!(limits, [Some(Gpus::new(8)), None]);
    assert_eq!(inventory.quotas[0].scope, QuotaScope::Namespace("chat".parse().unwrap()));
    assert!(
        matches!(&inventory.quotas[1].scope, QuotaScope::Cluster { except } if except.len() == 1)
    );
    assert_eq!(load(SOUND, &Overrides::default()).unwrap().setup.inventory, None);
}

#[test]
fn an_inventory_holds_what_the_run_begins_with() {
    check(
        "name: sound\n",
        "name: sound\ninventory: {gpus: {H100: {total: 6, used: 3}}}\n",
        &["x.yaml:2:34: inventory.gpus.H100.total: 6 — expected at least 7: 4 for the initial \
             replicas, and 3 that others use"],
    );
    check(
        "name: sound\n",
        "name: sound\ninventory: {gpus: {}}\n",
        &[
            "x.yaml:2:19: inventory.gpus: a map — expected H100 as well, which a variant uses (a total of \
            0 says that there are none)",
        ],
    );
    check(
        "name: sound\n",
        "name: sound\ninventory: {gpus: {H100: {total: 8, free: 8}}}\n",
        &["x.yaml:2:37: inventory.gpus.H100.free: no such field: expected total or used"],
    );
}

#[test]
fn the_controller_knows_the_catalogs_profile_unless_it_should_not() {
    let known = |set: &[&str]| load(SOUND, &self::set(set)).unwrap().setup.variants.remove(0).known;
    let told = known(&[]);
    let profile = told.profile.unwrap();
    // The catalog's numbers, and not those of the plant, which serves as vLLM does today.
    assert!(profile.overhead > Seconds::from_millis(1.0) && !profile.per_sequence.is_zero());
    assert_eq!((told.engine.tensor_parallel.get(), told.engine.num_blocks), (4, None));
    let capacity = told.engine.kv_capacity.unwrap();
    assert!(capacity > Tokens::new(100_000), "{capacity}");

    let blind = known(&["models[0].variants[0].knowsProfile=false"]);
    assert_eq!((blind.profile, blind.engine.kv_capacity), (None, None));
    assert_eq!(blind.engine.max_sequences, told.engine.max_sequences);

    // Nobody has measured what the scenario makes up, or what is estimated.
    for step_time in [
        "roofline",
        "{linear: {base: 9ms, perPrefillToken: 1us, \
                      perDecodeSequence: 1us, perContextToken: 1ns}}",
    ] {
        let step_time = format!("models[0].variants[0].stepTime={step_time}");
        assert_eq!(known(&[&step_time]).profile, None, "{step_time}");
    }
}
