//! What the tokens analyzer saw and concluded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::VariantId;
use crate::units::{QueueLength, ReplicaLoad, TokenRate, Tokens};

/// A link of the tokens analyzer's trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum TokensReason {
    /// A signal that it cannot do without is missing.
    SignalMissing {
        /// Which, by its name in the observation.
        signal: String,
    },
    /// Requests wait, and nothing tells how long they are, so no replica count may be lowered.
    LengthsUnknown {
        /// How many wait.
        waiting: QueueLength,
    },
    /// Nothing tells what a replica of a variant can hold.
    CapacityUnknown {
        /// The variant.
        variant: VariantId,
    },
    /// What one engine of a variant can hold, and how that is known.
    Capacity {
        /// The variant.
        variant: VariantId,
        /// Tokens in its KV cache.
        tokens: Tokens,
        /// How that is known.
        basis: CapacityBasis,
    },
    /// What one engine of a variant gets through, and how that is known.
    Rate {
        /// The variant.
        variant: VariantId,
        /// Computed prompt tokens and generated tokens, as far as its role has to do with them.
        rate: TokenRate,
        /// How that is known.
        basis: RateBasis,
    },
    /// The load of a role in replicas of one variant, at what they can carry.
    Load {
        /// The variant.
        variant: VariantId,
        /// By the tokens that caches have to hold; `None` where that is not known.
        stock: Option<ReplicaLoad>,
        /// By the tokens per second that steps have to get through; `None` where that is not known.
        rate: Option<ReplicaLoad>,
    },
}

/// How it is known what an engine can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityBasis {
    /// A share of its KV cache.
    Memory,
    /// It holds that much while requests wait for it.
    Observed,
    /// Others of its kind held that much while requests waited.
    History,
    /// The batch that its limits allow for requests of the mean length.
    Derived,
    /// It has no replicas, and could hold that much when it had some.
    Recorded,
    /// It has no replicas, and a variant of the same kind can hold that much.
    Compatible,
    /// The token budget of a step stands in for what is not known.
    Budget,
}

/// How it is known what an engine gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateBasis {
    /// It got through that much while requests waited.
    Learned,
    /// A variant of the same kind got through that much.
    Compatible,
    /// The profile of its step time and the limits of its batch give it.
    Profile,
}

impl TokensReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignalMissing { .. } => "tokens-signal-missing",
            Self::LengthsUnknown { .. } => "tokens-lengths-unknown",
            Self::CapacityUnknown { .. } => "tokens-capacity-unknown",
            Self::Capacity { .. } => "tokens-capacity",
            Self::Rate { .. } => "tokens-rate",
            Self::Load { .. } => "tokens-load",
        }
    }
}

impl fmt::Display for TokensReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignalMissing { signal } => write!(f, "tokens: nothing reports {signal}"),
            Self::LengthsUnknown { waiting } => {
                write!(f, "tokens: {waiting} requests of unknown length wait, so none is removed")
            }
            Self::CapacityUnknown { variant } => {
                write!(f, "tokens: nothing tells what a replica of {variant} can hold")
            }
            Self::Capacity { variant, tokens, basis } => {
                write!(f, "tokens: an engine of {variant} can hold {tokens} tokens ({basis})")
            }
            Self::Rate { variant, rate, basis } => {
                write!(f, "tokens: an engine of {variant} gets through {rate} ({basis})")
            }
            Self::Load { variant, stock: Some(stock), rate: Some(rate) } => {
                let bound = if rate > stock { "the rate" } else { "the stock" };
                write!(
                    f,
                    "tokens: {stock} of {variant} for the stock, {rate} for the rate: {bound} binds"
                )
            }
            Self::Load { variant, stock: Some(stock), rate: None } => {
                write!(f, "tokens: {stock} of {variant} for the stock, and the rate is not known")
            }
            Self::Load { variant, stock: None, rate: Some(rate) } => {
                write!(f, "tokens: {rate} of {variant} for the rate, and the stock is not known")
            }
            Self::Load { variant, stock: None, rate: None } => {
                write!(f, "tokens: the load in replicas of {variant} is not known")
            }
        }
    }
}

impl fmt::Display for CapacityBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "a share of its cache",
            Self::Observed => "what it holds while requests wait",
            Self::History => "what full replicas held",
            Self::Derived => "from the limits of its batch",
            Self::Recorded => "when it last had replicas",
            Self::Compatible => "as a variant of the same kind",
            Self::Budget => "its token budget, for want of better",
        })
    }
}

impl fmt::Display for RateBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Learned => "while requests waited",
            Self::Compatible => "as a variant of the same kind",
            Self::Profile => "from its profile",
        })
    }
}
