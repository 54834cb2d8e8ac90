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
//!
//! # What it is held against
//!
//! The tests reproduce numeric cases of systems that somebody else wrote. Where the original is
//! wrong, a test states the better answer instead; it counts as better below.
//!
//! | origin | group | cases | hold | better | why not all |
//! |---|---|---|---|---|---|
//! | workload-variant-autoscaler 0.5 | A saturation | 12 | 11 | 1 | |
//! | | B saturation targets | 13 | 10 | 2 | B3' is the rule of an older version |
//! | | C arbitration | 9 | 9 | | |
//! | | D tokens, with the arguments of vLLM | 29 | 29 | | |
//! | | E cost-aware moves | 12 | 12 | | |
//! | | F zero, with durations | 21 | 21 | | |
//! | | G inventory | 14 | 12 | 2 | |
//! | | H configuration | 17 | 15 | | an analyzer without a name does not exist here |
//! | | I ratios | 4 | 4 | | |
//! | | J queue | 14 | 11 | 1 | J13, J14 test a search of their own |
//! | | K allocation | 12 | 11 | | K8: a fixed allocation has no saturation here |
//! | workload-variant-autoscaler 0.9 | A tokens | 22 | 22 | | |
//! | | B thresholds | 7 | 6 | 1 | |
//! | | C throughput | 18 | 18 | | |
//! | | D queue model | 16 | 14 | 1 | QM-16 tests a search of its own |
//! | | E cost-aware moves | 18 | 17 | 1 | |
//! | | F sharing of GPUs | 18 | 17 | 1 | |
//! | | G rescaling | 13 | 13 | | |
//! | | H limits and quotas | 12 | 12 | | |
//! | | I zero | 6 | 6 | | |
//! | | J known defects | 2 | | 2 | |
//! | llm-inferno | queue, sizing and waits | 40 | 40 | | |
//! | | primitives, chunks, README | 18 | 18 | | |
//! | | largest concurrency, curves | 72 | 66 | 6 | |
//! | | largest concurrency, searches | 36 | 19 | 17 | upstream stops after six probes |
//! | | Kalman filter | 2 | 2 | | |
//! | | greedy and best effort | 32 | 32 | | |
//! | | sample data, four solvers each | 24 | 22 | 2 | |
//!
//! The better answers: full replicas weigh in when most are full (A11, B11 and its lock); a partial
//! grant takes no GPU that no replica gets (G3), and a GPU of an unknown name keeps it (G13); a
//! threshold of zero is refused (TH-06); rates beyond the maximum are answered (J6, QM-07); growth
//! takes the cheapest mix, not the cheapest variant first (CA-05, 5/h less); an unlimited namespace
//! may grow (GS-18); analyzers of different units and idle roles stop nobody (DV-01, DV-02); a batch
//! of one has an answer (curves); and the exact solver proves 37,929 where a tolerance had left a
//! server short at 37,924.5, and 23,410.5 where a gap had left 23,412.5.

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
