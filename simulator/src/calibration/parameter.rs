//! The four numbers that are looked for.

use std::fmt;
use std::ops::{Index, IndexMut};

use optimizer::units::Seconds;

use crate::engine::step_time::Linear;

/// A coefficient of the linear plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// c0, the time of an empty step.
    Base,
    /// c1, for each prompt token that a step computes.
    PerPrefillToken,
    /// c2, for each sequence that decodes.
    PerDecodeSequence,
    /// c3, for each token of context of the decoding sequences.
    PerContextToken,
}

impl Parameter {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::Base, Self::PerPrefillToken, Self::PerDecodeSequence, Self::PerContextToken];
}

impl fmt::Display for Parameter {
    /// The name of the field in a profile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Base => "base",
            Self::PerPrefillToken => "perPrefillToken",
            Self::PerDecodeSequence => "perDecodeSequence",
            Self::PerContextToken => "perContextToken",
        })
    }
}

/// A value for each parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerParameter<T>(pub [T; 4]);

impl<T> PerParameter<T> {
    /// The value of each parameter, by its name.
    pub(super) fn from_fn(value: impl FnMut(Parameter) -> T) -> Self {
        Self(Parameter::ALL.map(value))
    }
}

impl<T> Index<Parameter> for PerParameter<T> {
    type Output = T;

    fn index(&self, parameter: Parameter) -> &T {
        &self.0[parameter as usize]
    }
}

impl<T> IndexMut<Parameter> for PerParameter<T> {
    fn index_mut(&mut self, parameter: Parameter) -> &mut T {
        &mut self.0[parameter as usize]
    }
}

/// Values in seconds, none below zero.
pub(super) type Coefficients = PerParameter<f64>;

impl From<&Linear> for Coefficients {
    fn from(linear: &Linear) -> Self {
        let Linear { base, per_prefill_token, per_decode_sequence, per_context_token } = linear;
        Self(
            [base, per_prefill_token, per_decode_sequence, per_context_token]
                .map(|span| span.value()),
        )
    }
}

impl From<Coefficients> for Linear {
    fn from(coefficients: Coefficients) -> Self {
        let [base, per_prefill_token, per_decode_sequence, per_context_token] =
            coefficients.0.map(Seconds::new);
        Self { base, per_prefill_token, per_decode_sequence, per_context_token }
    }
}
