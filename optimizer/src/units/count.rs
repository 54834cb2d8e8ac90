//! Counts.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A number of things of one kind. Subtraction stops at zero.
macro_rules! count {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct $name($repr);

        impl $name {
            /// None.
            pub const ZERO: Self = Self(0);

            /// From a number.
            #[must_use]
            pub const fn new(count: $repr) -> Self {
                Self(count)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $repr {
                self.0
            }

            /// The number, for arithmetic.
            #[must_use]
            pub const fn as_f64(self) -> f64 {
                self.0 as f64
            }
        }

        impl Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;

            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

count! {
    /// Tokens, as the model's tokenizer counts them.
    Tokens, u64
}

count! {
    /// KV-cache blocks.
    Blocks, u32
}

count! {
    /// Replicas: servers that hold one whole copy of a model, on one or more GPUs.
    Replicas, u32
}

count! {
    /// GPUs.
    Gpus, u32
}

count! {
    /// Bytes.
    Bytes, u64
}
