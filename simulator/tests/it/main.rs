//! The simulator's tests from outside: one crate, so it links once.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod workdir;

mod cli;
mod conservation;
mod determinism;
mod journal;
mod layering;
mod readme;
mod scenarios;
mod slo_capacity;
mod theory;
mod trace;
mod validate;
