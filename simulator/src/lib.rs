//! The part of Plimsoll that tries things out: a fleet of vLLM replicas in virtual time, with the
//! production optimizer inside.
//!
//! A run is a loop over events. A request arrives at the gateway; the router gives it to a replica;
//! the replica's engine forms batches as vLLM's scheduler does and asks a plant how long each takes;
//! meanwhile replicas are scraped, [`optimizer::Controller::step`] decides on the samples, and the
//! fleet follows with its delays. What happens is counted as it happens, and each request is handed
//! on once it has ended, so a run remembers no more than what is in flight.
//!
//! The modules stand in reading order, and each uses only those above it:
//!
//! 1. [`kernel`]: the event loop, the agenda, and chance in named streams.
//! 2. [`engine`]: one vLLM replica, and the plants that say how long a step takes.
//! 3. [`document`]: YAML whose every value knows its place.
//! 4. [`catalog`]: GPUs, models, and how fast one runs on the other.
//! 5. [`workload`]: who asks, when, and for how many tokens.
//! 6. [`prometheus`]: series of samples, and PromQL's functions over them.
//! 7. [`autoscaling`]: what stands between metrics and pods in a cluster: HPA, KEDA, rollouts.
//! 8. [`setup`] and [`scenario`]: one run, with everything resolved, and what a person wrote.
//! 9. [`records`]: what a run leaves behind.
//! 10. [`fleet`]: replicas that start, serve, drain and go; the router.
//! 11. [`control`]: from the world to an observation, through a scraper.
//! 12. [`event`] and [`world`]: everything that can happen, and what follows from it.
//! 13. [`results`]: what is said about a run.
//! 14. [`validation`]: the simulator against recorded runs of real servers.
//! 15. [`calibration`]: a plant, from measurements of a real server.
//! 16. [`traces`]: traces described, converted, and imitated.
//! 17. [`cli`]: the commands of `plimsoll`.

pub mod kernel;
pub mod engine;
pub mod document;
pub mod catalog;
pub mod workload;
pub mod prometheus;
pub mod autoscaling;
pub mod setup;
pub mod scenario;
pub mod records;
pub mod fleet;
pub mod control;
pub mod event;
pub mod world;
#[cfg(feature = "cli")]
pub mod results;
#[cfg(feature = "cli")]
pub mod validation;
#[cfg(feature = "cli")]
pub mod calibration;
#[cfg(feature = "cli")]
pub mod traces;
#[cfg(feature = "cli")]
pub mod cli;
