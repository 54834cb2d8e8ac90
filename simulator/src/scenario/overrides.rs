//! What the command line changes in a scenario.

use serde_json::Value;

use crate::document::{Document, FieldPath, Problem};

/// The flags that change a scenario. Each stands for an assignment to a field of the file, so a
/// problem with what it sets is placed in the flag.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Fields to set, as `path=value`, in this order and before the other flags.
    pub set: Vec<String>,
    /// The trace of the one model that is driven by a trace.
    pub trace: Option<String>,
    /// The `config.json` of the one model.
    pub model_config: Option<String>,
    /// The policy file, in place of whatever policy the scenario has.
    pub policy: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
}

impl Overrides {
    /// The text of a scenario with these flags as comments at its end.
    pub(super) fn annotate(&self, mut text: String) -> String {
        let set = self.set.iter().map(|assignment| format!("--set {assignment}"));
        let seed = self.seed.iter().map(|seed| format!("--seed {seed}"));
        let policy = self.policy.iter().map(|policy| format!("--policy {policy}"));
        let trace = self.trace.iter().map(|trace| format!("--trace {trace}"));
        let config = self.model_config.iter().map(|file| format!("--model-config {file}"));
        for flag in set.chain(seed).chain(policy).chain(trace).chain(config) {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str("# ");
            // An assignment may have several lines.
            text.push_str(&flag.replace('\n', "\n# "));
            text.push('\n');
        }
        text
    }

    /// Sets every field. Returns a problem for each that cannot be set, and for a trace for which
    /// there is not exactly one place.
    pub(super) fn apply(&self, document: &mut Document) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut without_place = Vec::new();
        let mut set = |document: &mut Document, flag: &str, assignment: &str| {
            if let Err(found) = document.set_by(flag, assignment) {
                problems.extend(found.iter().cloned());
            }
        };
        for assignment in &self.set {
            set(document, "--set", assignment);
        }
        if let Some(seed) = self.seed {
            set(document, "--seed", &format!("seed={seed}"));
        }
        if let Some(policy) = &self.policy {
            set(document, "--policy", "policy=null");
            set(document, "--policy", &format!("policyFile={}", quoted(policy)));
        }
        if let Some(file) = &self.model_config {
            match document.tree()["models"].as_array().map_or(0, Vec::len) {
                1 => {
                    let assignment = format!("models[0].modelConfig={}", quoted(file));
                    set(document, "--model-config", &assignment);
                }
                count => without_place.push(no_place_for_model_config(document, count)),
            }
        }
        if let Some(trace) = &self.trace {
            match trace_fields(document.tree()).as_slice() {
                [field] => set(document, "--trace", &format!("{field}={}", quoted(trace))),
                fields => without_place.push(no_place_for_trace(document, fields)),
            }
        }
        problems.extend(without_place);
        problems
    }
}

/// Where the scenario names a trace.
fn trace_fields(tree: &Value) -> Vec<FieldPath> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let models = FieldPath::root().key("models");
    let mut fields = Vec::new();
    for (idx, model) in list(&tree["models"]).iter().enumerate() {
        let traffic = models.index(idx).key("traffic");
        if model["traffic"]["trace"].is_object() {
            fields.push(traffic.key("trace").key("file"));
        }
        for (idx, client) in list(&model["traffic"]["clients"]).iter().enumerate() {
            if client["trace"].is_object() {
                fields.push(traffic.key("clients").index(idx).key("trace").key("file"));
            }
        }
    }
    fields
}

fn no_place_for_trace(document: &Document, fields: &[FieldPath]) -> Problem {
    let models = FieldPath::root().key("models");
    let Some(first) = fields.first() else {
        let message = "expected a model that is driven by a trace, for --trace to replace it";
        return document.problem(&models, message);
    };
    let count = fields.len();
    let message = format!("expected one model that is driven by a trace for --trace, not {count}");
    document.problem(&models, message).with_help(format!("name it: --set {first}=FILE"))
}

fn no_place_for_model_config(document: &Document, count: usize) -> Problem {
    let models = FieldPath::root().key("models");
    let message = format!("expected one model for --model-config, not {count}");
    let help = format!("name it: --set {}=FILE", models.index(0).key("modelConfig"));
    document.problem(&models, message).with_help(help)
}

/// A text as YAML, which takes the strings of JSON.
fn quoted(text: &str) -> Value {
    Value::from(text)
}
