//! Units as types.
//!
//! A bare `f64` never crosses a public boundary of this crate. A quantity is parsed once, at the
//! border ("150ms", "5.5/s"), and from there on the compiler keeps seconds out of tokens.
//!
//! | type | holds | written as |
//! |---|---|---|
//! | [`Timestamp`] | nanoseconds since an epoch that the driver chooses | integer |
//! | [`Seconds`] | a span of time | `"150ms"`, `"2s"`, `"5m"`, `"1h"` |
//! | [`RequestRate`] | requests per second | `"5.5/s"`, `"330/min"` |
//! | [`HourlyCost`] | currency units per hour | number |
//! | [`Fraction`] | a share in 0..=1 | number |
//! | [`QueueLength`] | waiting requests, possibly a mean | number |
//! | [`MeanTokens`], [`TokenRate`], [`StepRate`] | a mean length; tokens, steps per second | number |
//! | [`RequestCount`], [`ReplicaLoad`] | requests, a load in replicas; not whole | number |
//! | [`Variation`], [`Factor`] | deviation over mean, or a ratio of variances; a multiple | number |
//! | [`Weight`] | what something counts among others | number |
//! | [`Tokens`], [`Blocks`], [`Bytes`], [`Replicas`], [`Gpus`] | counts | integer |
//!
//! The products that exist: rate × time = count, time ÷ time = ratio, cost × time (in hours) = money.

mod count;
mod fraction;
mod load;
mod money;
mod queue;
mod rate;
mod time;
mod token;

pub use count::{Blocks, Bytes, Gpus, Replicas, Tokens};
pub use fraction::{Fraction, FractionError};
pub use load::{Factor, ReplicaLoad, RequestCount, Variation, Weight};
pub use money::HourlyCost;
pub use queue::QueueLength;
pub use rate::{ParseRateError, RequestRate};
pub use time::{ParseSecondsError, Seconds, Timestamp};
pub use token::{MeanTokens, StepRate, TokenRate};

/// A physical quantity over a finite, non-negative `f64`.
///
/// Subtraction stops at zero: no quantity of this crate can be negative, and a difference that
/// could be has to be asked for by name. Sums and products stop at the largest finite number.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name(f64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0.0);

            #[doc = concat!("From a number of ", $unit, ".")]
            ///
            /// # Panics
            ///
            /// When `value` is negative or not finite. Use [`Self::checked`] for input from outside.
            #[must_use]
            pub const fn new(value: f64) -> Self {
                assert!(
                    value >= 0.0 && value.is_finite(),
                    concat!(stringify!($name), " must be finite and not negative")
                );
                // The sum turns -0 into 0, which would differ from it in the order and in its text.
                Self(value + 0.0)
            }

            #[doc = concat!("From a number of ", $unit, "; `None` when it is negative or not finite.")]
            #[must_use]
            pub const fn checked(value: f64) -> Option<Self> {
                if value >= 0.0 && value.is_finite() { Some(Self(value + 0.0)) } else { None }
            }

            #[doc = concat!("The number of ", $unit, ".")]
            #[must_use]
            pub const fn value(self) -> f64 {
                self.0
            }

            /// Whether there is none of it.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 <= 0.0
            }
        }

        // Values are never NaN, so the total order is the numeric one.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.total_cmp(&other.0).is_eq()
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl std::ops::Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self((self.0 + other.0).min(f64::MAX))
            }
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl std::ops::Sub for $name {
            type Output = Self;

            fn sub(self, other: Self) -> Self {
                Self((self.0 - other.0).max(0.0))
            }
        }

        impl std::ops::Mul<f64> for $name {
            type Output = Self;

            fn mul(self, factor: f64) -> Self {
                Self::new((self.0 * factor).min(f64::MAX))
            }
        }

        impl std::ops::Div for $name {
            type Output = f64;

            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, |sum, item| sum + item)
            }
        }
    };
}

use quantity;

/// Serde and JSON Schema for a unit that is written as text: `Display` and `FromStr` are the format.
macro_rules! written_as_text {
    ($name:ident, $pattern:literal, $description:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($description)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": $description,
                })
            }
        }
    };
}

use written_as_text;

/// Serde and JSON Schema for a unit that is written as a plain number.
macro_rules! written_as_number {
    ($name:ident, $description:literal, $maximum:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_f64(self.value())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Number;

                impl serde::de::Visitor<'_> for Number {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($description)
                    }

                    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<$name, E> {
                        let unexpected = serde::de::Unexpected::Float(value);
                        $name::checked(value).ok_or_else(|| E::invalid_value(unexpected, &self))
                    }

                    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<$name, E> {
                        self.visit_f64(value as f64)
                    }

                    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<$name, E> {
                        self.visit_f64(value as f64)
                    }
                }

                deserializer.deserialize_f64(Number)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut schema = schemars::json_schema!({
                    "type": "number",
                    "minimum": 0,
                    "description": $description,
                });
                let maximum: Option<f64> = $maximum;
                if let Some(maximum) = maximum {
                    schema.insert("maximum".to_owned(), maximum.into());
                }
                schema
            }
        }
    };
}

use written_as_number;
