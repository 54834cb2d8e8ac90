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
//! 1. [`units`] and [`id`]: seconds, tokens, rates; models, variants, replicas.
//! 2. [`slo`] and [`policy`]: what users are promised, and the thresholds that one may tune.
//! 3. [`step_time`] and [`queueing`]: what one replica can do, as far as a formula tells.
//! 4. [`observation`]: what is known, with the age of each signal.
//! 5. [`decision`]: a replica count for each variant, with its trail of reasons.
//! 6. [`forecast`]: what will be asked for.
//! 7. [`assessment`] and [`analyzers`]: how much a model needs, in replicas.
//! 8. [`solver`]: the cheapest replica counts that cover the needs, within the GPUs that there are.
//! 9. [`controller`]: bounds, windows, cooldown and step limits around the analyzers' wishes.
//! 10. [`journal`]: every step as a record, from which it can be done again.

pub mod units;
pub mod id;
pub mod slo;
pub mod policy;
pub mod step_time;
pub mod queueing;
pub mod observation;
pub mod decision;
pub mod forecast;
pub mod assessment;
pub mod analyzers;
pub mod solver;
pub mod controller;
pub mod journal;

pub use controller::Controller;
pub use decision::{Action, Decision, Reason, VariantDecision};
pub use observation::FleetObservation;
pub use policy::Policy;
