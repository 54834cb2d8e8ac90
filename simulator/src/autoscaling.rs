//! What stands between a metric and a pod in a cluster, as the controllers of Kubernetes and KEDA
//! compute it.
//!
//! ```text
//! metrics ──▶ Hpa::step, every 15 s ─────────────────┐
//!    │                                               ▼
//!    └──▶ ScaledObject::poll, every 30 s ──▶ spec.replicas ──▶ Deployment::reconcile ──▶ pods
//!             └── ScaledObject::sync: an HPA of its own       └── pods_to_delete
//! ```
//!
//! A wish for more replicas passes all of it, and each part takes something away: tolerance, windows,
//! policies, cooldowns, the limits of a rollout. An autoscaler that is only simulated without them
//! looks better than it can be.
//!
//! Everything here is a deterministic state machine or a function: time is an argument, what the
//! controllers would watch is an observation, and nobody sleeps. The rules are those of Kubernetes
//! 1.34 and KEDA 2.20; each module names the source of its own.

mod quantity;
mod pod;
pub mod hpa;
mod keda;
mod actuator;
mod deployment;
mod replica_set;

pub use actuator::{Actuation, Actuator};
pub use deployment::{Deployment, IntOrPercent, Progress, RollingUpdate, SetStatus};
pub use hpa::Hpa;
pub use keda::{
    Fallback, FallbackBehavior, ScaleTarget, ScaledObject, ScaledObjectError, ScaledObjectSpec,
    Trigger,
};
pub use pod::{Phase, Pod, Readiness};
pub use quantity::MilliQuantity;
pub use replica_set::pods_to_delete;
