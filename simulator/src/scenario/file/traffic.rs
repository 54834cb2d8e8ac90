//! Where requests come from.

use optimizer::slo::Slo;
use optimizer::units::RequestRate;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::workload::trace::Speed;
use crate::workload::{
    ArrivalProcess, Length, LengthCell, RateProfile, SessionShape, SharedText, Users,
};

/// Where requests come from: from one source, or from several clients.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::scenario) enum TrafficFile {
    /// Requests that were recorded.
    Trace(TraceFile),
    /// Requests that are drawn from distributions. They arrive for as long as `duration` says.
    Generated(Box<GeneratedFile>),
    /// Several sources, each with its own class of service and its own chance. Results tell them
    /// apart by class and by tenant.
    Clients(Vec<ClientFile>),
}

/// A source of requests among several: either a `trace` or `generated`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::scenario) struct ClientFile {
    /// Its name, unique within the model. Its chance follows from it.
    pub(in crate::scenario) name: String,
    /// The class of its requests, one of `classes`. Default: priority 0 and the model's targets.
    #[serde(default)]
    pub(in crate::scenario) class: Option<String>,
    /// On whose behalf it sends them.
    #[serde(default)]
    pub(in crate::scenario) tenant: Option<String>,
    /// Requests that were recorded.
    #[serde(default)]
    pub(in crate::scenario) trace: Option<TraceFile>,
    /// Requests that are drawn from distributions.
    #[serde(default)]
    pub(in crate::scenario) generated: Option<Box<GeneratedFile>>,
}

/// A class of service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::scenario) struct ClassFile {
    /// Its name, unique within the model.
    pub(in crate::scenario) name: String,
    /// With `schedulingPolicy: priority`: lower is served first. Default: 0.
    #[serde(default)]
    pub(in crate::scenario) priority: i32,
    /// The latency targets of its requests. Default: those of the model.
    #[serde(default)]
    pub(in crate::scenario) slo: Option<Slo>,
}

/// Recorded requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::scenario) struct TraceFile {
    /// A CSV file in a form of the Azure LLM inference traces of 2023, or Mooncake's objects, one a
    /// line, which say what prompts have in common. Its path is relative to the scenario.
    pub(in crate::scenario) file: String,
    /// How many times faster than recorded the requests arrive. Default: 1.
    #[serde(default)]
    pub(in crate::scenario) speed: Speed,
}

/// Requests that are drawn. What is left out is taken from the preset.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::scenario) struct GeneratedFile {
    /// A kind of traffic whose numbers were published; see scenarios/README.md. It needs a `rate`,
    /// `arrivals` or `users` beside it.
    pub(in crate::scenario) preset: Option<PresetName>,
    /// The mean rate of requests, or of sessions where there are any. The arrivals of the preset,
    /// or those below, are brought to it; without either, they are Poisson.
    pub(in crate::scenario) rate: Option<RequestRate>,
    /// When requests, or sessions, begin.
    pub(in crate::scenario) arrivals: Option<ArrivalProcess>,
    /// How the rate rises and falls over the run: factors, all of which hold at once.
    pub(in crate::scenario) profile: Option<RateProfile>,
    /// A fixed number of users who wait for their answers, in place of `rate` and `arrivals`.
    pub(in crate::scenario) users: Option<Users>,
    /// Prompt tokens of a request, beside what is `shared`; in a session, the new ones of a turn.
    pub(in crate::scenario) prompt: Option<Length>,
    /// Output tokens of a request.
    pub(in crate::scenario) output: Option<Length>,
    /// How the two depend on each other: the correlation of the normal variables from which both
    /// are drawn (a Gaussian copula). Default: 0.
    #[schemars(range(min = -1, max = 1))]
    pub(in crate::scenario) correlation: Option<f64>,
    /// In place of `prompt`, `output` and `correlation`: pairs of both, such as the rows or cells
    /// of a table, each with a weight.
    #[schemars(length(min = 1))]
    pub(in crate::scenario) mixture: Option<Vec<LengthCell>>,
    /// Text with which prompts, or sessions, begin, and which they have in common.
    pub(in crate::scenario) shared: Option<Vec<SharedText>>,
    /// Sessions of several turns. The prompt of a turn is the last one, its answer, and new text.
    pub(in crate::scenario) session: Option<SessionShape>,
    /// Whether prompt and output are cut to what the context of the model's replicas holds. If not,
    /// a prompt that does not fit is rejected, and an output is cut by the server. Sessions always
    /// end before they outgrow the context. Default: true with a preset, otherwise false.
    pub(in crate::scenario) fit_context: Option<bool>,
}

/// Kinds of traffic whose numbers were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::scenario) enum PresetName {
    /// Conversations with an assistant: the Azure trace of 2023.
    Chat,
    /// Completion of code: the Azure trace of 2023.
    Code,
    /// Summaries of papers: arXiv articles and their abstracts.
    Summarization,
    /// Answers from documents: a university's question service.
    Rag,
    /// A model that thinks before it answers: DeepSeek-R1 in production.
    Reasoning,
    /// Coding agents that call tools: sessions of Claude Code and Codex.
    Agents,
}
