//! What the GPUs that there are did to a decision.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::AcceleratorId;
use crate::units::Replicas;

/// A link of the trail that tells of limits on GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum LimitsReason {
    /// There are not enough free GPUs for what is wanted.
    GpusLimited {
        /// What is wanted, inside the variant's bounds.
        wanted: Replicas,
        /// What it gets.
        granted: Replicas,
        /// The quota that binds; `None` where the GPUs of the cluster do.
        quota: Option<String>,
        /// Whose GPUs are short: a kind, as the cluster or the quota names it.
        accelerator: String,
    },
    /// No GPU of the cluster is of the kind that the variant asks for.
    NoSuchAccelerator {
        /// As the variant names it.
        accelerator: AcceleratorId,
    },
    /// GPUs of more than one kind are what the variant asks for, so that nobody can tell which it
    /// would get.
    AmbiguousAccelerator {
        /// As the variant names it.
        accelerator: AcceleratorId,
        /// The kinds, by their full names.
        kinds: Vec<String>,
    },
    /// A quota that binds the namespace does not list the kind.
    NotInQuota {
        /// As the variant names it.
        accelerator: AcceleratorId,
        /// The quota.
        quota: String,
    },
}

impl LimitsReason {
    /// The stable name, as in files.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::GpusLimited { .. } => "gpus-limited",
            Self::NoSuchAccelerator { .. } => "no-such-accelerator",
            Self::AmbiguousAccelerator { .. } => "ambiguous-accelerator",
            Self::NotInQuota { .. } => "not-in-quota",
        }
    }

    /// The quota that it names.
    #[must_use]
    pub fn quota(&self) -> Option<&str> {
        match self {
            Self::GpusLimited { quota, .. } => quota.as_deref(),
            Self::NotInQuota { quota, .. } => Some(quota),
            Self::NoSuchAccelerator { .. } | Self::AmbiguousAccelerator { .. } => None,
        }
    }
}

impl fmt::Display for LimitsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GpusLimited { wanted, granted, quota, accelerator } => {
                write!(f, "{granted} instead of {wanted}: ")?;
                match quota {
                    Some(quota) => write!(f, "quota {quota} leaves too few {accelerator}"),
                    None => write!(f, "the cluster has too few {accelerator} free"),
                }
            }
            Self::NoSuchAccelerator { accelerator } => {
                write!(f, "the cluster has no {accelerator}, so none is added")
            }
            Self::AmbiguousAccelerator { accelerator, kinds } => {
                write!(f, "{accelerator} may be {}, so none is added", kinds.join(" or "))
            }
            Self::NotInQuota { accelerator, quota } => {
                write!(f, "quota {quota} does not list {accelerator}, so none is added")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn each_finding_is_a_sentence_and_survives_its_file() {
        let accelerator: AcceleratorId = "A100".parse().unwrap();
        let limited = |quota: Option<&str>| LimitsReason::GpusLimited {
            wanted: Replicas::new(5),
            granted: Replicas::new(3),
            quota: quota.map(str::to_owned),
            accelerator: "A100-SXM-80GB".to_owned(),
        };
        let all = [
            limited(None),
            limited(Some("team")),
            LimitsReason::NoSuchAccelerator { accelerator: accelerator.clone() },
            LimitsReason::AmbiguousAccelerator {
                accelerator: accelerator.clone(),
                kinds: vec!["A100-SXM-40GB".to_owned(), "A100-SXM-80GB".to_owned()],
            },
            LimitsReason::NotInQuota { accelerator, quota: "team".to_owned() },
        ];
        for reason in &all {
            let reason = Reason::Limits(reason.clone());
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), reason);
        }
        let lines: Vec<_> = all.iter().map(|r| format!("{}: {r}", r.as_str())).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        gpus-limited: 3 instead of 5: the cluster has too few A100-SXM-80GB free
        gpus-limited: 3 instead of 5: quota team leaves too few A100-SXM-80GB
        no-such-accelerator: the cluster has no A100, so none is added
        ambiguous-accelerator: A100 may be A100-SXM-40GB or A100-SXM-80GB, so none is added
        not-in-quota: quota team does not list A100, so none is added
        ");
    }
}
