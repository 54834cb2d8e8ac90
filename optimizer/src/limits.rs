//! What GPUs there are for whom, and who gets them when they are too few.
//!
//! [`Limits`] joins an inventory and the observed variants into pools: one for the GPUs of each
//! kind, and one for each entry of a quota. A variant draws every GPU of a new replica from each of
//! its pools, so it gets the smallest of what the cluster has and what the quotas leave. A solver
//! takes the pools as its budgets; [`Limits::grant`] hands out what is free to counts that were
//! wanted by whatever means; [`share`] divides a budget by weight; and [`zero`] holds the rules for
//! models without replicas.
//!
//! Whatever pods hold counts as used, whoever owns them. A GPU that a replica gives back is free
//! when its pod is gone, so not in the step that decides on it.

mod grant;
mod pool;
pub mod share;
pub mod zero;

use std::collections::BTreeMap;

pub use grant::{Ask, Grant, Grants};
pub use pool::{Pool, PoolSource};

use crate::decision::LimitsReason;
use crate::gpu::GpuModel;
use crate::id::{AcceleratorId, Namespace};
use crate::observation::{GpuPool, Inventory, Quota, VariantObservation};
use crate::units::Gpus;

/// A variant and where it runs.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The namespace.
    pub namespace: &'a Namespace,
    /// The variant.
    pub variant: &'a VariantObservation,
}

/// The pools of GPUs that bind some variants.
#[derive(Debug, Clone)]
pub struct Limits<'a> {
    variants: Vec<Placed<'a>>,
    pools: Vec<Pool>,
    draws: Vec<Draw>,
}

/// Where a variant's GPUs come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draw {
    /// The indices of its pools, ascending: each of its GPUs comes from each of these.
    pub pools: Vec<usize>,
    /// Why it may not grow at all, whatever is free.
    pub denied: Option<LimitsReason>,
}

impl<'a> Limits<'a> {
    /// The limits on `variants`, each of which stands there once. Without an inventory nothing is
    /// limited.
    ///
    /// The order of the variants is that of [`Self::draws`], and means nothing else. A variant that
    /// needs no GPU, as far as is known, counts as one of one GPU.
    #[must_use]
    pub fn new(inventory: Option<&Inventory>, variants: Vec<Placed<'a>>) -> Self {
        let draws = vec![Draw::default(); variants.len()];
        let mut limits = Self { variants, pools: Vec::new(), draws };
        if let Some(inventory) = inventory {
            limits.bind(inventory);
        }
        limits
    }

    /// The pools: first the cluster's kinds, then the entries of quotas, each in the order of their
    /// names.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Where each variant draws from, in the order in which they were given.
    pub fn draws(&self) -> &[Draw] {
        &self.draws
    }

    /// How many GPUs a variant may take now, if no other takes any; `None` where nothing limits it,
    /// or there is no such variant.
    #[must_use]
    pub fn free(&self, variant: usize) -> Option<Gpus> {
        let draw = self.draws.get(variant)?;
        if draw.denied.is_some() {
            return Some(Gpus::ZERO);
        }
        draw.pools.iter().map(|&idx| self.pools[idx].free()).min()
    }
}

/// What an accelerator's name stands for.
struct Resolved {
    /// The kind; where there is none, or more than one, what the name says.
    kind: GpuModel,
    problem: Option<LimitsReason>,
}

impl Limits<'_> {
    fn bind(&mut self, inventory: &Inventory) {
        let stock = inventory.gpus.as_ref().map(stock);
        // Many variants share a few names.
        let mut names = BTreeMap::new();
        for Placed { variant: VariantObservation { accelerator, .. }, .. } in &self.variants {
            names.entry(accelerator).or_insert_with(|| resolve(accelerator, stock.as_ref()));
        }
        let resolved: Vec<&Resolved> =
            self.variants.iter().map(|placed| &names[&placed.variant.accelerator]).collect();

        for (draw, resolved) in self.draws.iter_mut().zip(&resolved) {
            draw.denied.clone_from(&resolved.problem);
        }
        for (kind, pool) in stock.iter().flatten() {
            let source = PoolSource::Cluster(kind.clone());
            let members = (0..resolved.len())
                .filter(|&idx| resolved[idx].problem.is_none() && resolved[idx].kind == *kind);
            self.add_pool(source, pool.total, pool.used, members);
        }
        let mut quotas: Vec<_> = inventory.quotas.iter().collect();
        quotas.sort();
        for quota in quotas {
            self.bind_quota(quota, &resolved);
        }
    }

    /// Makes the entries of a quota pools of the variants that it binds.
    ///
    /// What a name stands for in the cluster is what counts, so a quota on A100-SXM-80GB covers a
    /// variant on "A100" where that is the only A100.
    fn bind_quota(&mut self, quota: &Quota, resolved: &[&Resolved]) {
        let entries: Vec<GpuModel> = quota.limits.keys().map(GpuModel::from).collect();
        let bound: Vec<usize> = (0..resolved.len())
            .filter(|&idx| quota.scope.binds(self.variants[idx].namespace))
            .collect();
        for &idx in &bound {
            if !entries.iter().any(|entry| entry.matches(&resolved[idx].kind)) {
                let accelerator = &self.variants[idx].variant.accelerator;
                self.draws[idx].denied.get_or_insert_with(|| LimitsReason::NotInQuota {
                    accelerator: accelerator.clone(),
                    quota: quota.name.clone(),
                });
            }
        }
        for ((accelerator, limit), entry) in quota.limits.iter().zip(&entries) {
            let Some(limit) = *limit else { continue };
            let used = quota.used.get(accelerator).copied().unwrap_or_default();
            let source =
                PoolSource::Quota { name: quota.name.clone(), accelerator: accelerator.clone() };
            let covered = bound.iter().copied().filter(|&idx| entry.matches(&resolved[idx].kind));
            self.add_pool(source, limit, used, covered);
        }
    }

    fn add_pool(
        &mut self,
        source: PoolSource,
        limit: Gpus,
        used: Gpus,
        members: impl Iterator<Item = usize>,
    ) {
        let mut held = Gpus::ZERO;
        for member in members {
            let variant = self.variants[member].variant;
            held += grant::gpus(variant, variant.current);
            self.draws[member].pools.push(self.pools.len());
        }
        self.pools.push(Pool { source, limit, used, held });
    }
}

/// The GPUs of each kind, whatever it is called.
fn stock(gpus: &BTreeMap<AcceleratorId, GpuPool>) -> BTreeMap<GpuModel, GpuPool> {
    let mut stock = BTreeMap::<_, GpuPool>::new();
    for (name, pool) in gpus {
        let sum = stock.entry(GpuModel::from(name)).or_default();
        sum.total += pool.total;
        sum.used += pool.used;
    }
    stock
}

/// The kind that an accelerator's name stands for among those that exist.
///
/// That is the kind of this very name, or else the only one that matches. A name that tells nothing
/// stands for the only kind that there is, if there is only one.
fn resolve(accelerator: &AcceleratorId, stock: Option<&BTreeMap<GpuModel, GpuPool>>) -> Resolved {
    let named = GpuModel::from(accelerator);
    let Some(stock) = stock.filter(|stock| !stock.contains_key(&named)) else {
        return Resolved { kind: named, problem: None };
    };
    let mut candidates: Vec<_> = stock.keys().filter(|kind| kind.matches(&named)).collect();
    if candidates.is_empty() && stock.len() == 1 {
        candidates.extend(stock.keys().filter(|only| tells_nothing(&named, only)));
    }
    let problem = match candidates[..] {
        [kind] => return Resolved { kind: kind.clone(), problem: None },
        [] => LimitsReason::NoSuchAccelerator { accelerator: accelerator.clone() },
        _ => LimitsReason::AmbiguousAccelerator {
            accelerator: accelerator.clone(),
            kinds: candidates.iter().map(|kind| format!("{kind:#}")).collect(),
        },
    };
    Resolved { kind: named, problem: Some(problem) }
}

/// Whether a name may be a private one for `kind`: of no family that is known, and no other slice.
fn tells_nothing(named: &GpuModel, kind: &GpuModel) -> bool {
    !named.is_known() && named.partition() == kind.partition()
}

#[cfg(test)]
mod tests;
