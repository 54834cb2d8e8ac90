//! Drives the optimizer in Kubernetes.
//!
//! A person describes one way of serving a model, a *variant*, in a [`VariantAutoscaling`] object:
//! which model, which workload serves it, what a replica costs. The operator's part of this crate
//! that exists today is the border where such an object comes in:
//!
//! 1. [`crd::v1alpha1`] holds the wire types, which say what the API server stores, and no more;
//! 2. [`crd::convert`] turns an object into a [`Variant`], the typed form that the rest of the
//!    operator trusts, or refuses it and names the field at fault;
//! 3. [`crd::condition`] says back on the object's status what became of it;
//! 4. [`cli`] prints the definition that the chart ships.
//!
//! There is no Kubernetes client here yet, and no clock: a time that goes into a status comes in
//! as an argument.
//!
//! [`VariantAutoscaling`]: crd::v1alpha1::VariantAutoscaling
//! [`Variant`]: crd::convert::Variant

pub mod crd;

pub mod cli;
