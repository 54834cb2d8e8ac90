//! What is known of GPUs, models, and how fast one runs on the other.
//!
//! A [`Catalog`] holds facts that a scenario would otherwise have to repeat: what a GPU costs, how
//! long a context a model has, and the *profile* of a model on a GPU, which is the plant's step
//! time and the number of KV blocks that fit beside the weights. The built-in one says at the head
//! of its files where its numbers come from; each profile says how far they can be trusted
//! ([`Evidence`]).
//!
//! For a pair without a profile, both can be estimated from the model's [`Architecture`] and the
//! GPU's [`DataSheet`]: the step time by [`Deployment::roofline`], the blocks by
//! [`Deployment::num_gpu_blocks`].
//!
//! A scenario may bring a catalog of its own, in the same format. Its entries are added to the
//! built-in ones, or take their place.

mod architecture;
mod capacity;
mod deployment;
mod gpu;
mod roofline;
mod served;

use std::collections::BTreeMap;
use std::fmt;

use optimizer::id::AcceleratorId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{Document, FieldPath, Problem, Problems};
use crate::engine::step_time::Plant;

pub use architecture::{
    Architecture, AttentionShape, ExpertShape, GroupedAttention, LatentAttention, Window,
};
pub use capacity::CapacityError;
#[cfg(feature = "cli")]
pub(crate) use capacity::blocks_that_fit;
pub use deployment::{Deployment, KvCacheDtype};
pub use gpu::{DataSheet, Gpu, Link, LinkKind};
pub use served::served;

/// GPUs, models and profiles.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Catalog {
    /// The kinds of GPU, by their short name.
    gpus: BTreeMap<AcceleratorId, Gpu>,
    /// The models, by the name that profiles use.
    models: BTreeMap<String, Model>,
    /// How fast models run.
    profiles: Vec<Profile>,
}

impl Catalog {
    /// The catalog that comes with Plimsoll.
    #[must_use]
    pub fn builtin() -> Self {
        let mut catalog = Self::default();
        for (name, text) in [
            ("gpus.yaml", include_str!("catalog/gpus.yaml")),
            ("models.yaml", include_str!("catalog/models.yaml")),
            ("profiles.yaml", include_str!("catalog/profiles.yaml")),
        ] {
            let part = Document::parse(name, text).and_then(|document| Self::read(&document));
            catalog.extend(part.expect("the built-in catalog is sound, which a test holds"));
        }
        catalog.profiles.iter_mut().for_each(|profile| profile.built_in = true);
        catalog
    }

    /// Reads a catalog.
    ///
    /// # Errors
    /// Every value that does not fit, every count of zero, and every second profile of one thing.
    pub fn read(document: &Document) -> Result<Self, Problems> {
        let catalog: Self = document.read()?;
        Problems::reject(catalog.check(document))?;
        Ok(catalog)
    }

    /// Adds the entries of `other`; where both have one, that of `other` stays.
    pub fn extend(&mut self, other: Self) {
        self.gpus.extend(other.gpus);
        self.models.extend(other.models);
        for profile in other.profiles {
            self.profiles.retain(|existing| existing.key() != profile.key());
            self.profiles.push(profile);
        }
    }

    /// Adds a model; it takes the place of one with the same name.
    pub fn insert_model(&mut self, name: String, model: Model) {
        self.models.insert(name, model);
    }

    /// The GPU with this name.
    #[must_use]
    pub fn gpu(&self, name: &AcceleratorId) -> Option<&Gpu> {
        self.gpus.get(name)
    }

    /// The names of all GPUs.
    pub fn gpu_names(&self) -> impl Iterator<Item = &str> {
        self.gpus.keys().map(AcceleratorId::as_str)
    }

    /// The model with this name or alias, and the name that profiles use.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<(&str, &Model)> {
        let has_alias =
            |(_, model): &(&String, &Model)| model.aliases.iter().any(|alias| alias == name);
        let named = self.models.get_key_value(name);
        let found = named.or_else(|| self.models.iter().find(has_alias));
        found.map(|(canonical, model)| (canonical.as_str(), model))
    }

    /// The names of all models, as profiles use them.
    pub fn canonical_model_names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// The names of all models, aliases included.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().flat_map(|(name, model)| {
            std::iter::once(name.as_str()).chain(model.aliases.iter().map(String::as_str))
        })
    }

    /// The profile of a model (by the name that profiles use) on a GPU.
    #[must_use]
    pub fn profile(
        &self,
        model: &str,
        gpu: &AcceleratorId,
        tensor_parallel: u32,
        precision: Precision,
    ) -> Option<&Profile> {
        let key = (model, gpu, tensor_parallel, precision);
        self.profiles.iter().find(|profile| profile.key() == key)
    }

    /// All profiles of a model (by the name that profiles use).
    pub fn profiles_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a Profile> {
        self.profiles.iter().filter(move |profile| profile.model == model)
    }

    /// Every number that cannot be, and every profile that another one stands before.
    fn check(&self, document: &Document) -> Vec<Problem> {
        let mut problems = self.check_hardware(document);
        let mut at_least_1 = |path: FieldPath, count: u32| {
            if count == 0 {
                problems.push(document.problem(&path, "expected at least 1"));
            }
        };
        let root = FieldPath::root();
        for (name, gpu) in &self.gpus {
            let at = root.key("gpus").key(name.as_str());
            at_least_1(at.key("maxNumBatchedTokens"), gpu.max_num_batched_tokens);
            at_least_1(at.key("maxNumSeqs"), gpu.max_num_seqs);
        }
        for (name, model) in &self.models {
            at_least_1(root.key("models").key(name).key("maxModelLen"), model.max_model_len);
        }
        let place = |idx: usize| root.key("profiles").index(idx);
        for (idx, profile) in self.profiles.iter().enumerate() {
            at_least_1(place(idx).key("tensorParallel"), profile.tensor_parallel);
            at_least_1(place(idx).key("numGpuBlocks"), profile.num_gpu_blocks);
        }
        for (idx, profile) in self.profiles.iter().enumerate() {
            if self.profiles[..idx].iter().any(|earlier| earlier.key() == profile.key()) {
                let message = format!("expected one profile for {profile}");
                problems.push(document.problem(&place(idx), message));
            }
        }
        problems
    }

    /// Every number of a data sheet or an architecture that cannot be.
    fn check_hardware(&self, document: &Document) -> Vec<Problem> {
        let root = FieldPath::root();
        let mut misfits = Vec::new();
        for (name, gpu) in &self.gpus {
            let misfit = gpu.data_sheet.as_ref().and_then(DataSheet::misfit);
            let at = root.key("gpus").key(name.as_str()).key("dataSheet");
            misfits.extend(misfit.map(|name| (at, name, "expected more than 0".to_owned())));
        }
        for (name, model) in &self.models {
            let misfit = model.architecture.as_ref().and_then(Architecture::misfit);
            let at = root.key("models").key(name).key("architecture");
            misfits.extend(misfit.map(|(name, message)| (at, name, message)));
        }
        let problem = |(at, name, message): (FieldPath, &str, String)| {
            let path = name.split('.').fold(at, |path, key| path.key(key));
            document.problem(&path, message)
        };
        misfits.into_iter().map(problem).collect()
    }
}

/// What is known of a model.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Model {
    /// Prompt and output tokens of one request at most.
    pub max_model_len: u32,
    /// Other names, such as that of its repository.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is made of.
    #[serde(default)]
    pub architecture: Option<Architecture>,
}

/// How fast a model runs on a GPU, and how much KV cache fits beside it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Profile {
    /// The model, by its name in `models`.
    pub model: String,
    /// The kind of GPU.
    pub gpu: AcceleratorId,
    /// GPUs of one replica.
    pub tensor_parallel: u32,
    /// The number format of weights and activations.
    pub precision: Precision,
    /// The time of a step.
    pub step_time: Plant,
    /// KV blocks of 16 tokens.
    pub num_gpu_blocks: u32,
    /// Where the numbers come from.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// The mean error of the step time's form against what it was fitted to, in percent.
    #[serde(default)]
    pub fit_error_pct: Option<f64>,
    /// Whether it came with Plimsoll.
    #[serde(skip)]
    built_in: bool,
}

impl Profile {
    /// The step times of a server that schedules asynchronously or not. What was measured on one's
    /// own servers is taken as it is; for what the built-in profiles lack, see [`served`].
    #[must_use]
    pub fn served(&self, architecture: Option<&Architecture>, async_scheduling: bool) -> Plant {
        match architecture {
            Some(architecture) if self.built_in => {
                served(self.step_time.clone(), architecture, async_scheduling)
            }
            _ => self.step_time.clone(),
        }
    }

    fn key(&self) -> (&str, &AcceleratorId, u32, Precision) {
        (&self.model, &self.gpu, self.tensor_parallel, self.precision)
    }
}

impl fmt::Display for Profile {
    /// All that tells it from other profiles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, gpu, tensor_parallel, precision, .. } = self;
        write!(f, "{model} on {gpu} with tensor parallelism {tensor_parallel} in {precision}")
    }
}

/// The tokens of a KV block that profiles count in.
pub const PROFILE_BLOCK_SIZE: u32 = 16;

/// The number format of a model's weights and activations.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 16 bits, with the range of 32.
    #[default]
    Bf16,
    /// 8 bits, floating point.
    Fp8,
    /// Experts in 4 bits with a scale of 8 bits for every 32, all else as `bf16`.
    Mxfp4,
}

impl Precision {
    /// Bytes of a parameter that every token meets.
    #[must_use]
    pub const fn bytes_per_parameter(self) -> f64 {
        match self {
            Self::Bf16 | Self::Mxfp4 => 2.0,
            Self::Fp8 => 1.0,
        }
    }

    /// Bytes of a parameter of an expert.
    #[must_use]
    pub const fn bytes_per_expert_parameter(self) -> f64 {
        match self {
            Self::Bf16 => 2.0,
            Self::Fp8 => 1.0,
            // Source: OCP Microscaling Formats specification 1.0, section 5.3.
            Self::Mxfp4 => (4.0 + 8.0 / 32.0) / 8.0,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Mxfp4 => "mxfp4",
        })
    }
}

/// How far a profile can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
pub enum Evidence {
    /// Measured end to end on this GPU for this model.
    A,
    /// Composed from kernel timings, and checked end to end for this model on this GPU.
    B,
    /// Composed from kernel timings; the calibration is carried over from another GPU.
    C,
    /// As C, with a known weak point: an order of magnitude.
    D,
}

#[cfg(test)]
mod tests {
    use optimizer::units::{HourlyCost, Seconds};

    use super::*;
    use crate::engine::step_time::Linear;

    fn gpu(name: &str) -> AcceleratorId {
        name.parse().unwrap()
    }

    fn linear(profile: &Profile) -> &Linear {
        match &profile.step_time {
            Plant::Linear(linear) => linear,
            other => panic!("{profile} is {other:?}"),
        }
    }

    const GPUS: usize = 12;
    const MODELS: usize = 37;
    const PROFILES: usize = 58;

    #[test]
    fn the_numbers_of_the_built_in_catalog_are_read_as_written() {
        let catalog = Catalog::builtin();
        assert_eq!((catalog.gpus.len(), catalog.models.len()), (GPUS, MODELS));
        assert_eq!(catalog.profiles.len(), PROFILES);

        let h100 = catalog.gpu(&gpu("H100")).unwrap();
        assert_eq!(h100.price_per_hour, HourlyCost::new(3.9));
        assert_eq!((h100.max_num_batched_tokens, h100.max_num_seqs), (8192, 1024));

        let small = catalog.profile("llama-3.1-8b", &gpu("H100"), 1, Precision::Bf16).unwrap();
        let linear = linear(small);
        assert_eq!(linear.base, Seconds::from_millis(6.9828));
        assert_eq!(linear.per_context_token, Seconds::new(44.063e-9));
        assert_eq!(small.num_gpu_blocks, 28_167);
        assert_eq!(small.evidence, Some(Evidence::B));

        let large = catalog.profile("llama-3.1-70b", &gpu("H100"), 2, Precision::Fp8).unwrap();
        assert_eq!((large.num_gpu_blocks, large.evidence), (14_802, Some(Evidence::A)));
    }

    #[test]
    fn every_profile_is_of_a_known_model_on_a_known_gpu() {
        let catalog = Catalog::builtin();
        for profile in &catalog.profiles {
            assert!(catalog.gpu(&profile.gpu).is_some(), "{profile}");
            assert!(catalog.models.contains_key(&profile.model), "{profile}");
            let linear = linear(profile);
            assert!(linear.base > Seconds::from_millis(1.0), "{profile}");
            assert!(linear.per_prefill_token > linear.per_context_token, "{profile}");
            // A dozen chats; with less, the profile is of no use.
            assert!(profile.num_gpu_blocks * PROFILE_BLOCK_SIZE > 16_000, "{profile}");
        }
    }

    #[test]
    fn a_model_is_found_by_its_aliases() {
        let catalog = Catalog::builtin();
        for name in ["llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"] {
            let (canonical, model) = catalog.model(name).unwrap();
            assert_eq!((canonical, model.max_model_len), ("llama-3.1-8b", 131_072));
        }
        assert_eq!(catalog.model("llama-3.1-8B"), None);
    }

    #[test]
    fn another_catalog_adds_and_replaces() {
        let text = "
gpus: {H100: {pricePerHour: 2, maxNumBatchedTokens: 8192, maxNumSeqs: 1024}}
models: {tiny: {maxModelLen: 2048}}
profiles:
  - model: llama-3.1-8b
    gpu: H100
    tensorParallel: 1
    precision: bf16
    stepTime: {linear: {base: 1ms, perPrefillToken: 1us, perDecodeSequence: 1us, perContextToken: 1ns}}
    numGpuBlocks: 99
";
        let own = Catalog::read(&Document::parse("own.yaml", text).unwrap()).unwrap();
        let mut catalog = Catalog::builtin();
        catalog.extend(own);
        let price = catalog.gpu(&gpu("H100")).unwrap().price_per_hour;
        assert_eq!(price, HourlyCost::new(2.0));
        assert!(catalog.model("tiny").is_some() && catalog.model("llama-3.1-70b").is_some());
        let profile = catalog.profile("llama-3.1-8b", &gpu("H100"), 1, Precision::Bf16).unwrap();
        assert_eq!(profile.num_gpu_blocks, 99);
        assert_eq!(catalog.profiles.len(), PROFILES);
    }

    #[test]
    fn the_problems_of_a_catalog_have_their_places() {
        let text = "
gpus:
  H100:
    pricePerHour: 2
    maxNumBatchedTokens: 0
    maxNumSeqs: 1024
    dataSheet:
      {memoryGib: 80, memoryGbPerS: 0, bf16Tflops: 989, link: {kind: direct, gbPerS: 450}}
models:
  m:
    maxModelLen: 2048
    architecture:
      layers: 2
      hidden: 8
      vocabulary: 100
      attention: {grouped: {heads: 2, kvHeads: 2, headDim: 4}}
      experts: {layers: 2, count: 4, active: 5, intermediate: 8}
profiles:
  - &p
    model: m
    gpu: H100
    tensorParallel: 0
    precision: bf16
    stepTime: {linear: {base: 1ms, perPrefillToken: 1us, perDecodeSequence: 1us, perContextToken: 1ns}}
    numGpuBlocks: 99
  - *p
";
        let read = Catalog::read(&Document::parse("own.yaml", text).unwrap());
        insta::assert_snapshot!(read.unwrap_err(), @r"
        own.yaml:5:26: gpus.H100.maxNumBatchedTokens: 0 — expected at least 1
        own.yaml:8:37: gpus.H100.dataSheet.memoryGbPerS: 0 — expected more than 0
        own.yaml:17:46: models.m.architecture.experts.active: 5 — expected at most 4
        own.yaml:22:21: profiles[0].tensorParallel: 0 — expected at least 1
        own.yaml:26:5: profiles[1].tensorParallel: 0 — expected at least 1
        own.yaml:26:5: profiles[1]: a map — expected one profile for m on H100 with tensor parallelism 0 in bf16
        ");
    }
}
