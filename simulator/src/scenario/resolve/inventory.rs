//! The GPUs that there are.

use std::collections::BTreeMap;

use optimizer::observation::{GpuPool, Inventory};
use optimizer::units::Gpus;

use super::Resolver;
use crate::document::FieldPath;
use crate::scenario::file::ScenarioFile;
use crate::setup::VariantSetup;

impl Resolver<'_> {
    /// The inventory, if there is one. Each kind of GPU that a variant uses has to be in it, with
    /// enough of them for the replicas that are there at first.
    pub(super) fn inventory(
        &mut self,
        file: &ScenarioFile,
        variants: &[VariantSetup],
    ) -> Option<Inventory> {
        let file = file.inventory.as_ref()?;
        let at = FieldPath::root().key("inventory").key("gpus");
        let mut needed = BTreeMap::new();
        for variant in variants {
            let replicas = variant.initial.get();
            let gpus = Gpus::new(variant.gpus_per_replica.get().saturating_mul(replicas));
            *needed.entry(&variant.accelerator).or_insert(Gpus::ZERO) += gpus;
        }
        for (accelerator, needed) in needed {
            let Some(pool) = file.gpus.get(accelerator) else {
                let message = format!("expected {accelerator} as well, which a variant uses");
                let problem = self.document.problem(&at, message);
                self.note_problem(problem.with_help("a total of 0 says that there are none"));
                continue;
            };
            if pool.total < needed + pool.used {
                let least = needed + pool.used;
                let message = format!(
                    "expected at least {least}: {needed} for the initial replicas, and {} that others \
                     use",
                    pool.used
                );
                self.note(&at.key(accelerator.as_str()).key("total"), message);
            }
        }
        let pools = file.gpus.iter().map(|(accelerator, pool)| {
            (accelerator.clone(), GpuPool { total: pool.total, used: pool.used })
        });
        Some(Inventory { gpus: Some(pools.collect()), quotas: file.quotas.clone() })
    }
}
