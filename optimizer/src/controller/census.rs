//! The models of an observation, each once and in a fixed order.

use std::collections::BTreeMap;

use crate::id::{ModelId, Namespace};
use crate::observation::{Demand, FleetObservation, VariantObservation};
use crate::slo::Slo;

/// One model in one namespace.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) name: &'a ModelId,
    pub(super) slo: Option<Slo>,
    pub(super) demand: &'a Demand,
    /// Sorted by name.
    pub(super) variants: Vec<&'a VariantObservation>,
}

/// The models of an observation, sorted by namespace and name.
///
/// A variant that is listed twice in its namespace counts once: under the first of its models by
/// name, and there the cheapest of its entries, of those the smallest. Of two entries for one model
/// the one with the higher demand counts, and the tighter targets.
pub(super) fn models(observation: &FleetObservation) -> Vec<Model<'_>> {
    let mut models = BTreeMap::<_, Model<'_>>::new();
    for entry in &observation.models {
        let key = (&entry.namespace, &entry.model);
        let model = models.entry(key).or_insert_with(|| Model {
            namespace: &entry.namespace,
            name: &entry.model,
            slo: entry.slo,
            demand: &entry.demand,
            variants: Vec::new(),
        });
        model.slo = tighter(model.slo, entry.slo);
        if !std::ptr::eq(model.demand, &raw const entry.demand) {
            model.demand = higher(model.demand, &entry.demand);
        }
        model.variants.extend(&entry.variants);
    }
    let mut seen = Vec::new();
    for model in models.values_mut() {
        model.variants.sort_by(|one, other| {
            let rank = |variant: &VariantObservation| {
                let VariantObservation { cost, current, ready, bounds, .. } = *variant;
                (cost, current, ready, bounds.min, bounds.max, variant.replicas.len())
            };
            let by_name = one.variant.cmp(&other.variant);
            // Entries that contradict each other in nothing but the rest are told apart by all.
            by_name
                .then_with(|| rank(one).cmp(&rank(other)))
                .then_with(|| format!("{one:?}").cmp(&format!("{other:?}")))
        });
        model.variants.dedup_by_key(|variant| &variant.variant);
        seen.extend(model.variants.iter().map(|variant| (model.namespace, &variant.variant)));
    }
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        keep_first_mention(&mut models);
    }
    models.into_values().filter(|model| !model.variants.is_empty()).collect()
}

/// Leaves a variant that several models of a namespace list to the first of them.
fn keep_first_mention(models: &mut BTreeMap<(&Namespace, &ModelId), Model<'_>>) {
    let mut mentioned = std::collections::BTreeSet::new();
    for model in models.values_mut() {
        let namespace = model.namespace;
        model.variants.retain(|variant| mentioned.insert((namespace, &variant.variant)));
    }
}

fn tighter(a: Option<Slo>, b: Option<Slo>) -> Option<Slo> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Slo { ttft: a.ttft.min(b.ttft), tpot: a.tpot.min(b.tpot) }),
        (a, b) => a.or(b),
    }
}

/// The demand with the higher arrival rate. Two different ones at the same rate are told apart by
/// all that they say, so that their order does not matter.
fn higher<'a>(a: &'a Demand, b: &'a Demand) -> &'a Demand {
    let rank = |demand: &Demand| (demand.arrival_rate.last(), format!("{demand:?}"));
    if rank(a) < rank(b) { b } else { a }
}
