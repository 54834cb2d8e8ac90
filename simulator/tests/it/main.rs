//! The simulator's tests from outside: one crate, so it links once.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod workdir;

mod cli;
mod conservation;
mod determinism;
mod layering;
mod readme;
mod scenarios;
mod theory;
mod trace;
mod validate;
