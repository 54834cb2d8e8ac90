//! The slo analyzer.

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::assessment::{Abstention, Assessment};
use crate::policy::AnalyzerName;

pub mod replica;

/// What the analyzer has learned of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {}

impl State {
    /// What the analyzer says about a model now; it learns from what it sees.
    pub fn assess(&mut self, _subject: &Subject<'_>) -> Assessment {
        Assessment::abstain(AnalyzerName::Slo, Abstention::NotReady)
    }
}
