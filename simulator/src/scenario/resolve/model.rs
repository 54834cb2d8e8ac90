//! A model, its users and its servers.

use optimizer::slo::Slo;
use optimizer::units::{Replicas, Seconds, Tokens};

use super::Resolver;
use super::variant::Surroundings;
use crate::catalog::{Architecture, Catalog};
use crate::document::FieldPath;
use crate::scenario::file::{ModelFile, ScenarioFile};
use crate::setup::{ModelSetup, Setup};

impl Resolver<'_> {
    /// Adds model `idx` of the file and its variants to the setup, and returns when its last
    /// request arrives, if that is known.
    pub(super) fn model(
        &mut self,
        idx: usize,
        file: &ScenarioFile,
        catalog: Option<&Catalog>,
        setup: &mut Setup,
    ) -> Option<Seconds> {
        let at = FieldPath::root().key("models").index(idx);
        let model = &file.models[idx];
        let same = |other: &ModelFile| {
            (&other.model, &other.namespace) == (&model.model, &model.namespace)
        };
        if file.models[..idx].iter().any(same) {
            let message = format!("expected each model once in namespace {}", model.namespace);
            self.note(&at.key("model"), message);
        }
        self.check_slo(&at.key("slo"), &model.slo);
        let facts = self.facts(&at.key("model"), model, catalog);
        let source = format!("{}/{}", model.namespace, model.model);
        let traffic = self.traffic(&at, model, &source);

        self.check_variants(&at.key("variants"), model);
        for (number, variant) in model.variants.iter().enumerate() {
            let surroundings = Surroundings {
                model: idx,
                namespace: &model.namespace,
                catalog,
                facts,
                shortest_prompts: traffic.as_ref().map_or(&[], |traffic| &traffic.shortest_prompts),
            };
            let at = at.key("variants").index(number);
            setup.variants.extend(self.variant(&at, variant, &surroundings));
        }

        let mut traffic = traffic?;
        // Whoever generates requests knows how long they may be, wherever they are served.
        let served = setup.variants.iter().filter(|variant| variant.model == setup.models.len());
        if let Some(context) = served.map(|variant| variant.engine.max_model_len()).min() {
            traffic.workload.limit_context(Tokens::new(context.into()));
        }
        setup.models.push(ModelSetup {
            model: model.model.clone(),
            namespace: model.namespace.clone(),
            slo: model.slo,
            workload: traffic.workload,
        });
        Some(traffic.last_arrival)
    }

    /// What the catalog knows of a model.
    fn facts<'c>(
        &mut self,
        at: &FieldPath,
        file: &ModelFile,
        catalog: Option<&'c Catalog>,
    ) -> Option<Facts<'c>> {
        let catalog = catalog?;
        if let Some((name, model)) = catalog.model(file.model.as_str()) {
            let architecture = model.architecture.as_ref();
            return Some(Facts { catalog, name, max_model_len: model.max_model_len, architecture });
        }
        let known: Vec<_> = catalog.model_names().map(str::to_owned).collect();
        let mut problem = self.document.unknown_name(at, &known);
        // The names with all their aliases would fill a screen.
        "expected a model of the catalog".clone_into(&mut problem.message);
        problem.help.get_or_insert_with(|| {
            let names: Vec<_> = catalog.canonical_model_names().collect();
            format!(
                "its models are {}; for another one, name its config.json with modelConfig",
                names.join(", ")
            )
        });
        self.note_problem(problem);
        None
    }

    pub(super) fn check_slo(&mut self, at: &FieldPath, slo: &Slo) {
        for (name, target) in [("ttft", slo.ttft), ("tpot", slo.tpot)] {
            if target.is_zero() {
                self.note(&at.key(name), "expected a duration above zero");
            }
        }
    }

    fn check_variants(&mut self, at: &FieldPath, model: &ModelFile) {
        if model.variants.is_empty() {
            self.note(at, "expected at least one variant");
        } else if model.variants.iter().all(|variant| variant.replicas.initial() == Replicas::ZERO)
        {
            // Replicas are added when those that run are saturated.
            let message =
                "expected a variant that begins with a replica: from zero, nothing scales";
            self.note(at, message);
        }
    }
}

/// What is known of a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'c> {
    pub(super) catalog: &'c Catalog,
    /// The name that profiles use.
    pub(super) name: &'c str,
    /// The context that the model was made for.
    pub(super) max_model_len: u32,
    /// What the model is made of.
    pub(super) architecture: Option<&'c Architecture>,
}
