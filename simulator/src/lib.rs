//! x

pub mod document;
