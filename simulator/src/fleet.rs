//! The replicas of every variant, and who gets a request.
//!
//! A replica starts, takes requests, drains and goes:
//!
//! ```text
//!         GPUs free          cold start          removed            idle, or drain timeout
//! Pending ─────────▶ Starting ─────────▶ Ready ─────────▶ Draining ─────────────────────▶ Gone
//!     └──────────────────┴───────────────────── removed ───────────────────────────────────▲
//! ```
//!
//! It holds its GPUs, and costs money, from the moment it gets them until it is gone. Where the
//! scenario has an inventory, a replica waits for free GPUs of its kind; the one that was created
//! first is asked first, and one that needs too many holds up nobody. Quotas are for the controller
//! to keep. Not modeled yet: nodes, so GPUs of one kind are one pool.

mod replica;
mod router;

use optimizer::observation::Inventory;
use optimizer::units::{Replicas, Seconds, Timestamp};

use crate::engine::{Lost, ModelServer};
use crate::setup::VariantSetup;

pub use replica::{Replica, State};

/// Names a replica: its place in the order of creation over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaIdx(pub u32);

/// All replicas of a run.
#[derive(Debug)]
pub struct Fleet {
    variants: Vec<Members>,
    replicas: Vec<Replica>,
    /// Those without GPUs, in the order of their creation.
    pending: Vec<ReplicaIdx>,
    /// What is used includes what the replicas hold.
    inventory: Option<Inventory>,
}

/// The replicas of one variant that are not gone, oldest first.
#[derive(Debug)]
struct Members {
    setup: VariantSetup,
    desired: Replicas,
    replicas: Vec<ReplicaIdx>,
    /// Replica time of those that are gone.
    released: Seconds,
    /// Cold starts that were seen, and their time together.
    cold_starts: u32,
    starting_time: Seconds,
}

/// The replica counts of one variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for GPUs.
    pub pending: Replicas,
    /// Not ready yet, but with their GPUs.
    pub starting: Replicas,
    /// Taking requests.
    pub ready: Replicas,
    /// Finishing their requests.
    pub draining: Replicas,
}

impl Counts {
    /// Replicas that count towards the desired number: draining ones are on their way out.
    #[must_use]
    pub fn current(self) -> Replicas {
        self.pending + self.starting + self.ready
    }

    /// Replicas that hold GPUs.
    #[must_use]
    pub fn existing(self) -> Replicas {
        self.starting + self.ready + self.draining
    }
}

/// What changing a replica count set in motion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScaleEffect {
    /// Replicas that got their GPUs, new ones and others that waited for them, also of other
    /// variants. They will be ready after their cold start.
    pub started: Vec<ReplicaIdx>,
    /// Replicas that drain and will be cut off after their timeout.
    pub draining: Vec<ReplicaIdx>,
    /// Replicas that went at once.
    pub gone: Vec<ReplicaIdx>,
}

impl Fleet {
    /// The initial replicas of every variant, ready at time zero. `inventory` says which GPUs there
    /// are and how many of them others use; `None` is no limit.
    #[must_use]
    pub fn new(variants: &[VariantSetup], inventory: Option<Inventory>) -> Self {
        let mut fleet =
            Self { variants: Vec::new(), replicas: Vec::new(), pending: Vec::new(), inventory };
        for (idx, setup) in variants.iter().enumerate() {
            fleet.variants.push(Members {
                setup: setup.clone(),
                desired: setup.initial,
                replicas: Vec::new(),
                released: Seconds::ZERO,
                cold_starts: 0,
                starting_time: Seconds::ZERO,
            });
            for _ in 0..setup.initial.get() {
                fleet.create(idx);
            }
        }
        for idx in fleet.place(Timestamp::ZERO) {
            fleet.replica_mut(idx).state = State::Ready;
        }
        fleet
    }

    /// The number of variants.
    #[must_use]
    pub fn num_variants(&self) -> usize {
        self.variants.len()
    }

    /// The GPUs that there are, and how many of them are in use, the replicas' included.
    #[must_use]
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// The setup of a variant.
    #[must_use]
    pub fn setup(&self, variant: usize) -> &VariantSetup {
        &self.variants[variant].setup
    }

    /// The replica count that was last asked for.
    #[must_use]
    pub fn desired(&self, variant: usize) -> Replicas {
        self.variants[variant].desired
    }

    /// A replica, also after it has gone.
    #[must_use]
    pub fn replica(&self, idx: ReplicaIdx) -> &Replica {
        &self.replicas[idx.0 as usize]
    }

    /// A replica, to change it.
    pub fn replica_mut(&mut self, idx: ReplicaIdx) -> &mut Replica {
        &mut self.replicas[idx.0 as usize]
    }

    /// The replicas of a variant that are not gone, oldest first.
    pub fn members(&self, variant: usize) -> impl Iterator<Item = (ReplicaIdx, &Replica)> {
        self.variants[variant].replicas.iter().map(|&idx| (idx, self.replica(idx)))
    }

    /// The number of [`Self::members`].
    #[must_use]
    pub fn num_members(&self, variant: usize) -> usize {
        self.variants[variant].replicas.len()
    }

    /// One of [`Self::members`], by its place.
    #[must_use]
    pub fn member(&self, variant: usize, place: usize) -> ReplicaIdx {
        self.variants[variant].replicas[place]
    }

    /// The ready replicas of a variant, oldest first.
    pub fn ready(&self, variant: usize) -> impl Iterator<Item = (ReplicaIdx, &Replica)> {
        self.members(variant).filter(|(_, replica)| replica.state == State::Ready)
    }

    /// The replica counts of a variant.
    #[must_use]
    pub fn counts(&self, variant: usize) -> Counts {
        let mut counts = Counts::default();
        for (_, replica) in self.members(variant) {
            match replica.state {
                State::Pending => counts.pending += Replicas::new(1),
                State::Starting => counts.starting += Replicas::new(1),
                State::Ready => counts.ready += Replicas::new(1),
                State::Draining => counts.draining += Replicas::new(1),
                State::Gone => {}
            }
        }
        counts
    }

    /// Replicas times the time that they have held their GPUs, up to `now`.
    #[must_use]
    pub fn replica_time(&self, variant: usize, now: Timestamp) -> Seconds {
        let held = self.members(variant).map(|(_, replica)| replica.held(now)).sum();
        self.variants[variant].released + held
    }

    /// The mean time from GPUs to readiness, over the replicas that became ready during the run;
    /// `None` before the first.
    #[must_use]
    pub fn mean_cold_start(&self, variant: usize) -> Option<Seconds> {
        let Members { cold_starts, starting_time, .. } = self.variants[variant];
        Seconds::checked(starting_time.value() / f64::from(cold_starts))
    }

    /// Lets a replica take requests, whose cold start is over.
    pub fn start(&mut self, idx: ReplicaIdx, now: Timestamp) {
        let replica = self.replica_mut(idx);
        replica.state = State::Ready;
        replica.deadline = None;
        let (variant, took) = (replica.variant, replica.held(now));
        let members = &mut self.variants[variant];
        members.cold_starts += 1;
        members.starting_time += took;
    }

    /// Moves a variant to `desired` replicas. Those without GPUs are removed first, then those that
    /// have not started yet, then the youngest: the order in which Kubernetes picks pods of a
    /// `ReplicaSet` to delete.
    pub fn scale(&mut self, variant: usize, desired: Replicas, now: Timestamp) -> ScaleEffect {
        self.variants[variant].desired = desired;
        let mut effect = ScaleEffect::default();
        let current = self.counts(variant).current();
        for _ in current.get()..desired.get() {
            self.create(variant);
        }
        for _ in desired.get()..current.get() {
            let Some(idx) = self.next_to_remove(variant) else { break };
            let replica = self.replica_mut(idx);
            let has_served = matches!(replica.state, State::Ready | State::Draining);
            if !has_served || replica.engine.is_idle() {
                self.release(idx, now);
                effect.gone.push(idx);
            } else {
                replica.state = State::Draining;
                effect.draining.push(idx);
            }
        }
        effect.started = self.place(now);
        effect
    }

    /// Gives free GPUs to replicas that wait for them, and returns those that got some.
    pub fn place(&mut self, now: Timestamp) -> Vec<ReplicaIdx> {
        let mut placed = Vec::new();
        for idx in std::mem::take(&mut self.pending) {
            let variant = self.replica(idx).variant;
            if self.take_gpus(variant) {
                let replica = self.replica_mut(idx);
                replica.state = State::Starting;
                replica.placed = Some(now);
                placed.push(idx);
            } else {
                self.pending.push(idx);
            }
        }
        placed
    }

    /// Lets a replica go and returns the requests that were lost with it. Its GPUs are free for those
    /// that are [placed](Self::place) next.
    pub fn release(&mut self, idx: ReplicaIdx, now: Timestamp) -> Vec<Lost> {
        let replica = self.replica_mut(idx);
        replica.state = State::Gone;
        let lost = replica.engine.abort_all();
        let (variant, held, has_gpus) =
            (replica.variant, replica.held(now), replica.placed.is_some());
        if has_gpus {
            self.give_gpus_back(variant);
        } else {
            self.pending.retain(|&pending| pending != idx);
        }
        let members = &mut self.variants[variant];
        members.replicas.retain(|&member| member != idx);
        members.released += held;
        lost
    }

    fn create(&mut self, variant: usize) {
        let idx = u32::try_from(self.replicas.len()).expect("fewer than 2^32 replicas in a run");
        let idx = ReplicaIdx(idx);
        let members = &mut self.variants[variant];
        self.replicas.push(Replica::new(variant, &members.setup));
        members.replicas.push(idx);
        self.pending.push(idx);
    }

    /// Takes the GPUs of one replica, if so many are free.
    fn take_gpus(&mut self, variant: usize) -> bool {
        let VariantSetup { accelerator, gpus_per_replica, .. } = &self.variants[variant].setup;
        let pools = self.inventory.as_mut().and_then(|inventory| inventory.gpus.as_mut());
        let Some(pools) = pools else { return true };
        let Some(pool) = pools.get_mut(accelerator) else { return false };
        let fits = *gpus_per_replica <= pool.total - pool.used;
        if fits {
            pool.used += *gpus_per_replica;
        }
        fits
    }

    fn give_gpus_back(&mut self, variant: usize) {
        let VariantSetup { accelerator, gpus_per_replica, .. } = &self.variants[variant].setup;
        let pools = self.inventory.as_mut().and_then(|inventory| inventory.gpus.as_mut());
        if let Some(pool) = pools.and_then(|pools| pools.get_mut(accelerator)) {
            pool.used = pool.used - *gpus_per_replica;
        }
    }

    fn next_to_remove(&self, variant: usize) -> Option<ReplicaIdx> {
        let in_state = |state: State| {
            self.members(variant).filter(move |(_, r)| r.state == state).map(|(idx, _)| idx).last()
        };
        let states = [State::Pending, State::Starting, State::Ready];
        states.into_iter().find_map(in_state)
    }
}

#[cfg(test)]
mod tests;
