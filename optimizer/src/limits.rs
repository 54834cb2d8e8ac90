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
        let mut draws = vec![Draw::default(); variants.len()];
        let mut pools = Vec::new();
        if let Some(inventory) = inventory {
            let stock = inventory.gpus.as_ref().map(stock);
            let models: Vec<_> = variants
                .iter()
                .map(|placed| resolve(&placed.variant.accelerator, stock.as_ref()))
                .collect();
            for (kind, pool) in stock.iter().flatten() {
                let members = (0..variants.len()).filter(|&idx| models[idx].as_ref() == Ok(kind));
                let source = PoolSource::Cluster(kind.clone());
                let pool = Pool { source, limit: pool.total, used: pool.used, held: Gpus::ZERO };
                join(pool, members, &variants, &mut pools, &mut draws);
            }
            for (draw, model) in draws.iter_mut().zip(&models) {
                draw.denied = model.as_ref().err().cloned();
            }
            let mut quotas: Vec<_> = inventory.quotas.iter().collect();
            quotas.sort();
            for quota in quotas {
                bind(quota, &models, &variants, &mut pools, &mut draws);
            }
        }
        Self { variants, pools, draws }
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
fn resolve(
    accelerator: &AcceleratorId,
    stock: Option<&BTreeMap<GpuModel, GpuPool>>,
) -> Result<GpuModel, LimitsReason> {
    let named = GpuModel::from(accelerator);
    let Some(stock) = stock.filter(|stock| !stock.contains_key(&named)) else {
        return Ok(named);
    };
    let matching: Vec<_> = stock.keys().filter(|kind| kind.matches(&named)).collect();
    match matching[..] {
        [kind] => Ok(kind.clone()),
        [] => match stock.keys().next() {
            Some(only) if stock.len() == 1 && tells_nothing(&named, only) => Ok(only.clone()),
            _ => Err(LimitsReason::NoSuchAccelerator { accelerator: accelerator.clone() }),
        },
        _ => Err(LimitsReason::AmbiguousAccelerator {
            accelerator: accelerator.clone(),
            kinds: matching.iter().map(|kind| format!("{kind:#}")).collect(),
        }),
    }
}

/// Whether a name may be a private one for `kind`: of no family that is known, and no other slice.
fn tells_nothing(named: &GpuModel, kind: &GpuModel) -> bool {
    !named.is_known() && named.partition() == kind.partition()
}

/// Makes the entries of a quota pools of the variants that it binds.
fn bind(
    quota: &Quota,
    models: &[Result<GpuModel, LimitsReason>],
    variants: &[Placed<'_>],
    pools: &mut Vec<Pool>,
    draws: &mut [Draw],
) {
    // What a name stands for in the cluster is what counts, so a quota on A100-SXM-80GB covers a
    // variant on "A100" where that is the only A100.
    let kinds: Vec<GpuModel> = models
        .iter()
        .zip(variants)
        .map(|(model, placed)| match model {
            Ok(kind) => kind.clone(),
            Err(_) => GpuModel::from(&placed.variant.accelerator),
        })
        .collect();
    let bound = |idx: &usize| quota.scope.binds(variants[*idx].namespace);
    let listed: Vec<GpuModel> = quota.limits.keys().map(GpuModel::from).collect();
    for idx in (0..variants.len()).filter(bound) {
        if !listed.iter().any(|entry| entry.matches(&kinds[idx])) {
            draws[idx].denied.get_or_insert_with(|| LimitsReason::NotInQuota {
                accelerator: variants[idx].variant.accelerator.clone(),
                quota: quota.name.clone(),
            });
        }
    }
    for ((accelerator, limit), entry) in quota.limits.iter().zip(&listed) {
        let Some(limit) = *limit else { continue };
        let members = (0..variants.len()).filter(bound).filter(|&idx| entry.matches(&kinds[idx]));
        let (name, accelerator) = (quota.name.clone(), accelerator.clone());
        let used = quota.used.get(&accelerator).copied().unwrap_or_default();
        let source = PoolSource::Quota { name, accelerator };
        join(Pool { source, limit, used, held: Gpus::ZERO }, members, variants, pools, draws);
    }
}

/// Adds a pool and makes some variants its members.
fn join(
    mut pool: Pool,
    members: impl Iterator<Item = usize>,
    variants: &[Placed<'_>],
    pools: &mut Vec<Pool>,
    draws: &mut [Draw],
) {
    for member in members {
        draws[member].pools.push(pools.len());
        pool.held += grant::gpus(variants[member].variant, variants[member].variant.current);
    }
    pools.push(pool);
}

#[cfg(test)]
mod tests;
