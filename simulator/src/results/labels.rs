//! What models and variants are called.
//!
//! Files use keys, which are exact: `namespace/model` and `namespace/variant`. Figures and tables
//! use names, which are short: the last part of the model's id, and the variant's id, each with its
//! namespace or the rest of the id only where two would be equal.

use std::collections::BTreeMap;

use crate::records::{ModelRecord, Recording, VariantRecord};

/// `namespace/model`.
pub(super) fn model_key(model: &ModelRecord) -> String {
    format!("{}/{}", model.namespace, model.model)
}

/// `namespace/variant`.
pub(super) fn variant_key(recording: &Recording, variant: &VariantRecord) -> String {
    format!("{}/{}", recording.models[variant.model].namespace, variant.variant)
}

/// A short name for each model, in the order of the recording.
pub(super) fn model_names(recording: &Recording) -> Vec<String> {
    let candidates = recording.models.iter().map(|model| {
        let id = model.model.as_str();
        let last = id.rsplit('/').next().unwrap_or(id);
        let within = format!("{}/{last}", model.namespace);
        [last.to_owned(), within, id.to_owned(), model_key(model)]
    });
    shortest_unique(&candidates.collect::<Vec<_>>())
}

/// A short name for each variant, in the order of the recording.
pub(super) fn variant_names(recording: &Recording) -> Vec<String> {
    let candidates = recording
        .variants
        .iter()
        .map(|variant| [variant.variant.to_string(), variant_key(recording, variant)]);
    shortest_unique(&candidates.collect::<Vec<_>>())
}

/// For each item the first of its candidates that no other item has as its own at the same place.
fn shortest_unique<const N: usize>(candidates: &[[String; N]]) -> Vec<String> {
    let mut uses: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for (place, name) in candidates.iter().flat_map(|names| names.iter().enumerate()) {
        *uses.entry((place, name)).or_default() += 1;
    }
    let unique = |names: &[String; N]| {
        let found =
            names.iter().enumerate().find(|(place, name)| uses[&(*place, name.as_str())] == 1);
        found.map_or_else(|| names[N - 1].clone(), |(_, name)| name.clone())
    };
    candidates.iter().map(unique).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_much_of_a_name_as_tells_it_apart() {
        let id = |last: &str, id: &str, key: &str| [last, id, key].map(str::to_owned);
        let names = shortest_unique(&[
            id("llama", "meta/llama", "a/meta/llama"),
            id("llama", "other/llama", "a/other/llama"),
            id("qwen", "qwen", "a/qwen"),
            id("gpt", "gpt", "a/gpt"),
            id("gpt", "gpt", "b/gpt"),
        ]);
        assert_eq!(names, ["meta/llama", "other/llama", "qwen", "a/gpt", "b/gpt"]);
    }
}
