//! What was measured, as far as flags, files and the catalog say.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use optimizer::id::AcceleratorId;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use super::CalibrateArgs;
use crate::calibration::ServerFacts;
use crate::catalog::{Catalog, Deployment, KvCacheDtype, Model, PROFILE_BLOCK_SIZE, Precision};
use crate::engine::EngineArgs;
use crate::engine::step_time::{Linear, Plant};

/// The server that was measured.
#[derive(Debug)]
pub(super) struct Deployed {
    /// The model, by the name that profiles use.
    pub(super) model: String,
    /// Its longest context, if the catalog does not know it.
    pub(super) unknown_model: Option<u32>,
    pub(super) tensor_parallel: u32,
    pub(super) engine: EngineArgs,
}

impl CalibrateArgs {
    /// A flag holds over what files say, and these over the catalog.
    pub(super) fn deployment(&self, catalog: &Catalog, facts: &ServerFacts) -> Result<Deployed> {
        let name = self.model.as_ref().or(facts.model.as_ref());
        let name = name.context("the measurements do not name the model: give --model")?;
        let known = catalog.model(name);
        let model = known.map_or(name.as_str(), |(canonical, _)| canonical).to_owned();
        let known = known.map(|(_, model)| model);
        let tensor_parallel = self.tensor_parallel.or(facts.tensor_parallel).unwrap_or(1);
        let gpu = catalog.gpu(&self.gpu);
        let num_gpu_blocks = self
            .num_gpu_blocks
            .or(facts.num_gpu_blocks)
            .or_else(|| {
                let profile =
                    catalog.profile(&model, &self.gpu, tensor_parallel, self.precision)?;
                Some(profile.num_gpu_blocks)
            })
            .or_else(|| self.estimated_blocks(catalog, known?, tensor_parallel));
        let num_gpu_blocks = num_gpu_blocks.with_context(|| {
            format!(
                "how many KV blocks {model} has on {} is not known: give --num-gpu-blocks",
                self.gpu
            )
        })?;
        let max_num_batched_tokens = self
            .max_num_batched_tokens
            .or(facts.max_num_batched_tokens)
            .or_else(|| Some(gpu?.max_num_batched_tokens))
            .context("the token budget of a step is not known: give --max-num-batched-tokens")?;
        let max_num_seqs = self
            .max_num_seqs
            .or(facts.max_num_seqs)
            .or_else(|| Some(gpu?.max_num_seqs))
            .context("how many sequences run at once is not known: give --max-num-seqs")?;
        let mut engine = EngineArgs {
            max_num_batched_tokens,
            max_num_seqs: max_num_seqs.min(max_num_batched_tokens),
            max_model_len: u32::MAX,
            block_size: PROFILE_BLOCK_SIZE,
            num_gpu_blocks,
            async_scheduling: !self.no_async_scheduling,
            ..EngineArgs::DEFAULT
        };
        let held = u32::try_from(engine.kv_capacity_tokens()).unwrap_or(u32::MAX);
        let context = facts.max_model_len.or(known.map(|model| model.max_model_len));
        engine.max_model_len = context.unwrap_or(held).min(held);
        let unknown_model = known.is_none().then_some(engine.max_model_len);
        Ok(Deployed { model, unknown_model, tensor_parallel, engine })
    }

    fn estimated_blocks(
        &self,
        catalog: &Catalog,
        model: &Model,
        tensor_parallel: u32,
    ) -> Option<u32> {
        let architecture = model.architecture.as_ref()?;
        architecture.check_division(tensor_parallel).ok()?;
        let deployment = Deployment {
            architecture,
            gpu: catalog.gpu(&self.gpu)?.data_sheet.as_ref()?,
            tensor_parallel,
            precision: self.precision,
            kv_cache_dtype: KvCacheDtype::Auto,
        };
        deployment.num_gpu_blocks(PROFILE_BLOCK_SIZE).ok()
    }
}

/// A profile of the catalog, in the precision of what was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prior {
    model: String,
    gpu: AcceleratorId,
    tensor_parallel: u32,
}

impl FromStr for Prior {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a model, a GPU and a number of GPUs, with commas between";
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [model, gpu, tensor_parallel] = parts.as_slice() else {
            return Err(expected().to_owned());
        };
        Ok(Self {
            model: (*model).to_owned(),
            gpu: gpu.parse().map_err(|_| expected().to_owned())?,
            tensor_parallel: tensor_parallel.parse().map_err(|_| expected().to_owned())?,
        })
    }
}

impl fmt::Display for Prior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.model, self.gpu, self.tensor_parallel)
    }
}

impl Prior {
    pub(super) fn find(&self, catalog: &Catalog, precision: Precision) -> Result<Linear> {
        let name = catalog.model(&self.model).map_or(self.model.as_str(), |(name, _)| name);
        let Some(profile) = catalog.profile(name, &self.gpu, self.tensor_parallel, precision)
        else {
            let known: Vec<String> =
                catalog.profiles_of(name).map(|profile| format!("\n  {profile}")).collect();
            bail!(
                "--prior {self}: the catalog has no such profile in {precision}{}",
                known.concat()
            );
        };
        match &profile.step_time {
            Plant::Linear(linear) => Ok(*linear),
            _ => bail!("--prior {self}: expected a profile with a linear step time"),
        }
    }
}

/// Reads a precision by its name in catalogs.
pub(super) fn precision(text: &str) -> Result<Precision, String> {
    let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
    Precision::deserialize(deserializer).map_err(|error| error.to_string())
}
