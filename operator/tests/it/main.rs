//! The operator's tests from outside: one crate, so it links once.

mod crd;
