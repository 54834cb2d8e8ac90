//! The replicas of every variant, and who gets a request.
//!
//! A replica starts, takes requests, drains and goes:
//!
//! ```text
//!            cold start              removed                 idle, or drain timeout
//! Starting ───────────────▶ Ready ─────────────▶ Draining ──────────────────────────▶ Gone
//!     └──────────────────────────── removed ────────────────────────────────────────────▲
//! ```
//!
//! It holds its GPUs, and costs money, from the moment it is created until it is gone. Not modeled
//! yet: nodes and placement, so a new replica always finds its GPUs.

mod replica;
mod router;

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
}

/// The replicas of one variant that are not gone, oldest first.
#[derive(Debug)]
struct Members {
    setup: VariantSetup,
    desired: Replicas,
    replicas: Vec<ReplicaIdx>,
    /// Replica time of those that are gone.
    released: Seconds,
}

/// The replica counts of one variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not ready yet.
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
        self.starting + self.ready
    }

    /// Replicas that hold GPUs.
    #[must_use]
    pub fn existing(self) -> Replicas {
        self.current() + self.draining
    }
}

/// What changing a replica count set in motion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScaleEffect {
    /// New replicas, which will be ready after their cold start.
    pub started: Vec<ReplicaIdx>,
    /// Replicas that drain and will be cut off after their timeout.
    pub draining: Vec<ReplicaIdx>,
    /// Replicas that went at once.
    pub gone: Vec<ReplicaIdx>,
}

impl Fleet {
    /// The initial replicas of every variant, ready at time zero.
    #[must_use]
    pub fn new(variants: &[VariantSetup]) -> Self {
        let mut fleet = Self { variants: Vec::new(), replicas: Vec::new() };
        for (idx, setup) in variants.iter().enumerate() {
            fleet.variants.push(Members {
                setup: setup.clone(),
                desired: setup.initial,
                replicas: Vec::new(),
                released: Seconds::ZERO,
            });
            for _ in 0..setup.initial.get() {
                let replica = fleet.create(idx, Timestamp::ZERO);
                fleet.replicas[replica.0 as usize].state = State::Ready;
            }
        }
        fleet
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
        let held = self.members(variant).map(|(_, replica)| now.since(replica.created)).sum();
        self.variants[variant].released + held
    }

    /// Moves a variant to `desired` replicas. Those that have not started yet are removed first,
    /// then the youngest: the order in which Kubernetes picks pods of a `ReplicaSet` to delete.
    pub fn scale(&mut self, variant: usize, desired: Replicas, now: Timestamp) -> ScaleEffect {
        self.variants[variant].desired = desired;
        let mut effect = ScaleEffect::default();
        let current = self.counts(variant).current();
        for _ in current.get()..desired.get() {
            effect.started.push(self.create(variant, now));
        }
        for _ in desired.get()..current.get() {
            let Some(idx) = self.next_to_remove(variant) else { break };
            let replica = self.replica_mut(idx);
            if replica.state == State::Starting || replica.engine.is_idle() {
                self.release(idx, now);
                effect.gone.push(idx);
            } else {
                replica.state = State::Draining;
                effect.draining.push(idx);
            }
        }
        effect
    }

    /// Lets a replica go and returns the requests that were lost with it.
    pub fn release(&mut self, idx: ReplicaIdx, now: Timestamp) -> Vec<Lost> {
        let replica = self.replica_mut(idx);
        replica.state = State::Gone;
        let lost = replica.engine.abort_all();
        let (variant, held) = (replica.variant, now.since(replica.created));
        let members = &mut self.variants[variant];
        members.replicas.retain(|&member| member != idx);
        members.released += held;
        lost
    }

    fn create(&mut self, variant: usize, now: Timestamp) -> ReplicaIdx {
        let idx = u32::try_from(self.replicas.len()).expect("fewer than 2^32 replicas in a run");
        let idx = ReplicaIdx(idx);
        let members = &mut self.variants[variant];
        self.replicas.push(Replica::new(variant, &members.setup, now));
        members.replicas.push(idx);
        idx
    }

    fn next_to_remove(&self, variant: usize) -> Option<ReplicaIdx> {
        let in_state = |state: State| {
            self.members(variant).filter(move |(_, r)| r.state == state).map(|(idx, _)| idx).last()
        };
        in_state(State::Starting).or_else(|| in_state(State::Ready))
    }
}

#[cfg(test)]
mod tests;
