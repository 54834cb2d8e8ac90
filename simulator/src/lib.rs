//! The part of Plimsoll that tries things out: a fleet of vLLM replicas in virtual time, with the
//! production optimizer inside.

pub mod kernel;
pub mod engine;
pub mod document;
pub mod catalog;
pub mod records;
