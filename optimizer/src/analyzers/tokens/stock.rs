//! What a model's KV caches have to hold, against what they can, in tokens.

use super::State;
use super::capacity;
use super::census::{Census, Engine, Ranks, floor};
use crate::analyzers::balance::Balance;
use crate::analyzers::reading::total;
use crate::decision::CapacityBasis;
use crate::id::VariantId;
use crate::observation::Role;
use crate::units::{Seconds, Tokens};

/// The stock of KV tokens of a model: the inner numbers of the analyzer, in the unit and with the
/// roundings of the workload-variant-autoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct Stock {
    /// Of the whole model.
    pub total: Balance,
    /// Of the roles that there are, in their order. What waits at the gateway is asked of each role
    /// that has to do with it, so they may add up to more than the whole.
    pub roles: Vec<(Role, Balance)>,
    /// Of the variants, sorted by name.
    pub variants: Vec<VariantStock>,
}

/// The stock of KV tokens of one variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantStock {
    /// The variant.
    pub variant: VariantId,
    /// Its role.
    pub role: Role,
    /// What one engine can hold.
    pub capacity: Tokens,
    /// How that is known.
    pub basis: CapacityBasis,
    /// Engines of one replica: more than one with data parallelism.
    pub per_replica: u64,
    /// Engines of the replicas that are ready.
    pub engines: u64,
    /// Engines of the replicas that are not ready yet.
    pub pending: u64,
    /// What those that report hold, and what the requests that wait for them will.
    pub demand: Tokens,
}

impl Stock {
    /// The balance of a role that the model has.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<Balance> {
        self.roles.iter().find(|(name, _)| *name == role).map(|(_, balance)| *balance)
    }

    pub(super) fn of(
        census: &Census<'_>,
        at_limits: &[Vec<bool>],
        state: &mut State,
        half_life: Seconds,
    ) -> Self {
        let mut variants: Vec<_> = census.variants.iter().zip(at_limits).collect();
        // What those with engines can hold is what those without are measured by.
        variants.sort_by_key(|(ranks, _)| ranks.engines.is_empty());
        let mut stocks = Vec::with_capacity(variants.len());
        for (ranks, at_limit) in variants {
            let capacity = capacity::of_variant(census, ranks, at_limit, state, half_life);
            let Some((capacity, basis)) = capacity else { continue };
            if !ranks.engines.is_empty() && basis != CapacityBasis::Budget {
                state.record(ranks, capacity, census.now);
            }
            stocks.push(VariantStock::of(ranks, capacity, basis, census, state));
        }
        stocks.sort_by(|a, b| a.variant.cmp(&b.variant));

        let gateway = Gateway::of(census);
        let role = |role| {
            let stocks = stocks.iter().filter(|stock| stock.role == role);
            (role, balance(stocks, gateway.demand(role)))
        };
        Self {
            total: balance(stocks.iter(), gateway.input + gateway.output),
            roles: census.shares.roles().map(role).collect(),
            variants: stocks,
        }
    }
}

impl VariantStock {
    fn of(
        ranks: &Ranks<'_>,
        capacity: Tokens,
        basis: CapacityBasis,
        census: &Census<'_>,
        state: &State,
    ) -> Self {
        let (observed, per_replica) = (ranks.observed, ranks.per_replica());
        let demand = |engine| engine_demand(engine, ranks, capacity, census, state);
        Self {
            variant: observed.variant.clone(),
            role: observed.role,
            capacity,
            basis,
            per_replica,
            engines: ranks.ready_engines(),
            pending: u64::from(observed.pending().get()).saturating_mul(per_replica),
            demand: ranks.engines.iter().map(demand).sum(),
        }
    }

    /// What one replica can hold.
    #[must_use]
    pub fn per_replica(&self) -> f64 {
        self.capacity.as_f64() * self.per_replica as f64
    }
}

/// What waits at the gateway: the tokens of its prompts that a prefix cache does not have, four
/// bytes each where that is more than their mean length says, and of the outputs.
struct Gateway {
    input: f64,
    output: f64,
}

impl Gateway {
    fn of(census: &Census<'_>) -> Self {
        let requests = census.gateway_queue.unwrap_or_default();
        let lengths = census.lengths;
        let by_bytes = census.gateway_bytes.unwrap_or_default() / 4.0;
        let by_count = requests * lengths.input.unwrap_or_default();
        let input = by_bytes.max(by_count) * (1.0 - lengths.hits.unwrap_or_default());
        Self { input, output: requests * lengths.output.unwrap_or_default() }
    }

    fn demand(&self, role: Role) -> f64 {
        match role {
            Role::Prefill => self.input,
            Role::Both | Role::Decode => self.input + self.output,
        }
    }
}

/// The tokens that an engine holds, and those that its waiting requests will need. Where the size of
/// its cache is not known, the share in use is one of what it can hold.
fn engine_demand(
    engine: &Engine<'_>,
    ranks: &Ranks<'_>,
    capacity: Tokens,
    census: &Census<'_>,
    state: &State,
) -> Tokens {
    let in_use = state.of(ranks).and_then(|learned| match learned.cache_of(engine) {
        Some(_) => learned.in_use(engine),
        None => Some(floor(engine.kv_usage? * capacity.as_f64())),
    });
    let per_request = engine.lengths.or(census.lengths).held(ranks.observed.role);
    let waiting = engine.waiting.unwrap_or_default() * per_request.unwrap_or_default();
    in_use.unwrap_or_default() + floor(waiting)
}

fn balance<'a>(stocks: impl Iterator<Item = &'a VariantStock>, at_gateway: f64) -> Balance {
    let mut balance = Balance::default();
    let mut demand = Tokens::ZERO;
    for VariantStock { capacity, engines, pending, demand: held, .. } in stocks {
        demand += *held;
        balance.supply += capacity.as_f64() * *engines as f64;
        balance.anticipated += capacity.as_f64() * engines.saturating_add(*pending) as f64;
    }
    Balance { demand: total([demand.as_f64(), at_gateway]), ..balance }
}
