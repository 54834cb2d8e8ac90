//! Names of things, each its own type, so that a variant is never looked up as a model.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// A name that is not empty and has no white space at its ends.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                if text.is_empty() || text.trim() != text {
                    return Err(IdError { kind: stringify!($name), text });
                }
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::try_from(text).map_err(serde::de::Error::custom)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "minLength": 1 })
            }
        }
    };
}

id! {
    /// A model as its servers name it, such as `meta-llama/Llama-3.1-8B-Instruct`.
    ModelId
}

id! {
    /// A Kubernetes namespace.
    Namespace
}

id! {
    /// One way of serving a model (an accelerator, a degree of parallelism), scaled as a unit.
    /// Unique within its namespace.
    VariantId
}

id! {
    /// A kind of GPU by its short name, such as `H100`.
    AcceleratorId
}

id! {
    /// One replica, such as a pod's name.
    ReplicaId
}

impl ReplicaId {
    /// The name of a variant's replica with a number, as pods are named.
    #[must_use]
    pub fn numbered(variant: &VariantId, number: u32) -> Self {
        Self(format!("{variant}-{number}"))
    }
}

/// The text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a {kind} that is not empty and has no white space at its ends, not {text:?}")]
pub struct IdError {
    kind: &'static str,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_names_are_refused() {
        for text in ["", " ", "a ", "\tb"] {
            assert!(text.parse::<ModelId>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<ModelId>(text.into()).is_err(), "{text:?}");
        }
        let model: ModelId = "meta-llama/Llama-3.1-8B".parse().unwrap();
        assert_eq!(serde_json::to_value(&model).unwrap(), "meta-llama/Llama-3.1-8B");
    }
}
