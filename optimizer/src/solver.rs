//! From needs to replica counts: the cheapest allocation that covers them.
//!
//! A [`Problem`] is pure numbers: groups that each need a coverage, options that provide it at a
//! cost, and pools from which options draw. Who builds it knows what they stand for.

mod problem;

pub use problem::{Allocation, Budget, Group, GroupOption, PoolIdx, Problem};
mod moves;
pub use moves::{grow, shrink};
