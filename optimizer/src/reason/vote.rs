//! What the analyzers' votes came to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::AnalyzerName;
use crate::units::{Fraction, HourlyCost, Replicas, Seconds};

/// A link of the trail between the analyzers and a variant's target.
///
/// A *coverage* is the share of an analyzer's need that replicas cover: 1 is just enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum VoteReason {
    /// An analyzer has nothing to say.
    Abstains {
        /// Which.
        analyzer: AnalyzerName,
        /// Why.
        why: Abstention,
    },
    /// None of the analyzers of the policy has anything to say, so thresholds decide.
    SaturationDecides,
    /// What there is covers what an analyzer asks for.
    Covered {
        /// Of all, the one whose need is covered least.
        analyzer: AnalyzerName,
        /// How well; `None` where it asks for nothing.
        coverage: Option<f64>,
    },
    /// What there is covers less than an analyzer asks for.
    Uncovered {
        /// Of all, the one whose need is covered least.
        analyzer: AnalyzerName,
        /// How well.
        coverage: f64,
    },
    /// The variant grows, as the cheapest way to cover what is asked for.
    CheapestCover {
        /// By how many replicas.
        added: Replicas,
        /// The cost of each.
        cost: HourlyCost,
    },
    /// Without so many replicas, all that has to be kept would still be covered.
    Releasable {
        /// How many.
        removed: Replicas,
        /// The analyzer whose kept need would be covered least.
        analyzer: AnalyzerName,
        /// How well; `None` where nothing has to be kept.
        coverage: Option<f64>,
    },
    /// Without one replica, less than what has to be kept would be covered.
    Kept {
        /// The analyzer that keeps it.
        analyzer: AnalyzerName,
        /// How well its kept need would be covered.
        coverage: f64,
    },
    /// No replica may go.
    Vetoed(Veto),
    /// Of the replicas that are not ready, so many have not become ready in time and count for
    /// nothing.
    StuckPending {
        /// How many.
        replicas: Replicas,
    },
    /// No variant that may grow can cover the rest of what is asked for.
    CannotCover {
        /// How well it is covered.
        coverage: f64,
    },
    /// A model decided, within what saturation allows.
    Arbitrated {
        /// The target by thresholds.
        saturation: Replicas,
        /// The target by the model.
        model: Replicas,
        /// Whether saturation stopped the model.
        safety_override: bool,
    },
}

/// Why an analyzer says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abstention {
    /// It has not seen enough yet.
    NotReady,
    /// Signals that it cannot do without are missing.
    SignalsMissing,
    /// Nobody told it what it needs to know, such as a latency target.
    NotConfigured,
    /// It saw enough, and its model does not fit.
    Unreliable,
}

/// Why no replica may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "veto", rename_all = "kebab-case")]
pub enum Veto {
    /// No analyzer has anything to say.
    NobodySpeaks,
    /// An analyzer is not sure enough.
    Unsure {
        /// Which.
        analyzer: AnalyzerName,
        /// How sure it is.
        confidence: Fraction,
    },
    /// An analyzer's signals are stale.
    Stale {
        /// Which.
        analyzer: AnalyzerName,
        /// How old they are.
        age: Seconds,
    },
    /// An analyzer does not know what any variant of the role can do.
    CapacityUnknown {
        /// Which.
        analyzer: AnalyzerName,
    },
}

impl VoteReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Abstains { .. } => "abstains",
            Self::SaturationDecides => "saturation-decides",
            Self::Covered { .. } => "covered",
            Self::Uncovered { .. } => "uncovered",
            Self::CheapestCover { .. } => "cheapest-cover",
            Self::Releasable { .. } => "releasable",
            Self::Kept { .. } => "kept",
            Self::Vetoed(_) => "vetoed",
            Self::StuckPending { .. } => "stuck-pending",
            Self::CannotCover { .. } => "cannot-cover",
            Self::Arbitrated { .. } => "arbitrated",
        }
    }
}

impl fmt::Display for VoteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstains { analyzer, why } => write!(f, "{analyzer} abstains: {why}"),
            Self::SaturationDecides => {
                f.write_str("no analyzer has anything to say, so saturation decides")
            }
            Self::Covered { analyzer, coverage: None } => {
                write!(f, "{analyzer} asks for nothing")
            }
            Self::Covered { analyzer, coverage: Some(coverage) } => {
                write!(f, "{} what {analyzer} asks for is there", Share(*coverage))
            }
            Self::Uncovered { analyzer, coverage } => {
                write!(f, "only {} what {analyzer} asks for is there", Share(*coverage))
            }
            Self::CheapestCover { added, cost } => {
                write!(f, "the cheapest way to cover it takes {added} more ({cost})")
            }
            Self::Releasable { removed, analyzer, coverage: None } => {
                write!(f, "{removed} fewer leave what {analyzer} keeps, which is nothing")
            }
            Self::Releasable { removed, analyzer, coverage: Some(coverage) } => {
                write!(f, "{removed} fewer leave {} what {analyzer} keeps", Share(*coverage))
            }
            Self::Kept { analyzer, coverage } => {
                write!(f, "one fewer would leave {} what {analyzer} keeps", Share(*coverage))
            }
            Self::Vetoed(veto) => write!(f, "none may go: {veto}"),
            Self::StuckPending { replicas } => {
                write!(f, "{replicas} do not become ready and count for nothing")
            }
            Self::CannotCover { coverage } => {
                write!(f, "nothing that may grow covers more than {} it", Share(*coverage))
            }
            Self::Arbitrated { saturation, model, safety_override } => {
                write!(f, "saturation wants {saturation}, the model {model}")?;
                if *safety_override { f.write_str(", and saturation stops it") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Abstention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "it has not seen enough",
            Self::SignalsMissing => "signals are missing",
            Self::NotConfigured => "nobody set what it needs to know",
            Self::Unreliable => "its model does not fit what is seen",
        })
    }
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodySpeaks => f.write_str("no analyzer has anything to say"),
            Self::Unsure { analyzer, confidence } => {
                write!(f, "{analyzer} is not sure enough ({confidence:.2})")
            }
            Self::Stale { analyzer, age } => {
                write!(f, "{analyzer} has signals that are {:.0}s old", age.value())
            }
            Self::CapacityUnknown { analyzer } => {
                write!(f, "{analyzer} does not know what a replica can do")
            }
        }
    }
}

/// A share of something in percent, rounded down, so that less than all never reads as all; ten times and more
/// as a multiple.
struct Share(f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 10.0 {
            return write!(f, "{:.0} times", self.0);
        }
        write!(f, "{:.0} % of", (self.0 * 100.0 + 1e-6).floor())
    }
}
