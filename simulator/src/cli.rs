//! The commands of `plimsoll`.

pub mod trace;
