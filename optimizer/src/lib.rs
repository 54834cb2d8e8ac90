//! The part of Plimsoll that decides.
//!
//! [`Controller::step`] takes a time and a [`FleetObservation`] and returns a [`Decision`]: how many
//! replicas each variant of each model should have, and why. It is a state machine. It performs no
//! I/O, reads no clock, starts no thread and draws no random number, so the operator that runs it
//! in a cluster and the simulator that runs it in virtual time get the same answer from the same
//! observations, and a decision that production made can be replayed later.
//!
//! The modules stand in reading order, and each uses only those above it:
//!
//! 1. [`units`], [`id`] and [`gpu`]: seconds, tokens, rates; models, variants; kinds of GPU.
//! 2. [`slo`] and [`policy`]: what users are promised, and the thresholds that one may tune.
//! 3. [`step_time`] and [`queueing`]: what one replica can do, as far as a formula tells.
//! 4. [`observation`]: what is known, with the age of each signal.
//! 5. [`reason`] and [`forecast`]: why, and what will be asked for.
//! 6. [`assessment`] and [`decision`]: what an analyzer says, in replicas; what the controller
//!    decides, a replica count for each variant with its trail.
//! 7. [`analyzers`] and [`vote`]: how much a model needs, by each of them and by all together.
//! 8. [`limits`]: the GPUs that there are, what quotas leave of them, and the rules at zero.
//! 9. [`solver`]: the cheapest replica counts that cover the needs, within those limits.
//! 10. [`controller`]: bounds, windows, cooldown and step limits around all that.
//! 11. [`journal`]: every step as a record, from which it can be done again.
//! 12. [`explain`]: why a count is what it is, and what would have changed it.

pub mod units;
pub mod id;
pub mod gpu;
pub mod slo;
pub mod policy;
pub mod step_time;
pub mod queueing;
pub mod observation;
pub mod reason;
pub mod forecast;
pub mod assessment;
pub mod decision;
pub mod analyzers;
pub mod vote;
pub mod limits;
pub mod solver;
pub mod controller;
pub mod journal;
pub mod explain;

pub use controller::Controller;
pub use decision::{Action, Decision, Reason, VariantDecision};
pub use observation::FleetObservation;
pub use policy::Policy;
