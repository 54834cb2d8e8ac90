//! The simulator's tests from outside: one crate, so it links once.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod layering;
mod theory;
