//! `plimsoll calibrate`: a profile from measurements.

mod deployment;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueHint};
use optimizer::id::AcceleratorId;
use optimizer::units::HourlyCost;

use self::deployment::{Prior, precision};
use super::print;
use crate::calibration::{
    CalibratedProfile, Measurements, QueryRange, ReadOptions, calibrate, fetch,
};
use crate::catalog::{Catalog, Precision};

/// Fit a linear step time to measurements of a real server, and write it as a catalog file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  From the records of single requests (requests.jsonl and meta.json):
    plimsoll calibrate runs/rtx4090-llama-3.1-8b --gpu RTX4090 --price-per-hour 0.5 \\
      --out rtx4090.yaml
  From two runs of inference-perf, with what they leave open from the catalog:
    plimsoll calibrate runs/general runs/codegen --gpu H100 --prior llama-2-7b,H100,1
  From results of vllm bench serve or guidellm:
    plimsoll calibrate bench-*.json --gpu H100 --model llama-3.1-8b
  From the counters of a server in use, or a saved answer of /api/v1/query_range:
    plimsoll calibrate --prometheus http://localhost:9090 --gpu H100 --model llama-3.1-8b \\
      --query-range 2026-03-01T10:00:00Z,2026-03-01T12:00:00Z,60s

A scenario uses the file as its catalog:
  catalog: rtx4090.yaml

Prefix caching: prompts that the cache holds are not computed, so they cost nothing but their
context. The cached share of the prompts is that of --cached-fraction, or else the system prompts of
inference-perf's shared_prefix, the server's own counters in Prometheus, and none elsewhere.")]
pub(super) struct CalibrateArgs {
    /// Folders with requests.jsonl or with stages of inference-perf, and JSON files of vllm bench
    /// serve, guidellm or Prometheus, all of one model on one kind of GPU
    #[arg(value_hint = ValueHint::AnyPath, required_unless_present = "prometheus")]
    paths: Vec<PathBuf>,
    /// The address of a Prometheus that scrapes vLLM, over http
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, requires = "query_range")]
    prometheus: Option<String>,
    /// Which counters: from, to (RFC 3339 or seconds since 1970) and step (such as 60s)
    #[arg(long, value_name = "FROM,TO,STEP", value_parser = query_range, requires = "prometheus")]
    query_range: Option<QueryRange>,
    /// The model, by its name in the catalog or on the server [default: what the files say]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The kind of GPU, by its name in the catalog, or a new one
    #[arg(long, value_name = "NAME")]
    gpu: AcceleratorId,
    /// GPUs of one replica [default: what the files say, or 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    tensor_parallel: Option<u32>,
    /// The number format of the weights: bf16, fp8 or mxfp4
    #[arg(long, value_name = "FORMAT", default_value = "bf16", value_parser = precision)]
    precision: Precision,
    /// KV blocks of 16 tokens [default: what the files say, the catalog's profile, or an estimate]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(2..))]
    num_gpu_blocks: Option<u32>,
    /// Tokens that a step computes at most, for load stages [default: what the files say, or
    /// vLLM's for the GPU]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_num_batched_tokens: Option<u32>,
    /// Sequences that run at once at most, for load stages [default: as before]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_num_seqs: Option<u32>,
    /// The server decided each step when the one before had ended, for load stages
    #[arg(long)]
    no_async_scheduling: bool,
    /// The share of prompt tokens that the prefix cache held, for load stages
    #[arg(long, value_name = "SHARE", value_parser = share)]
    cached_fraction: Option<f64>,
    /// A profile of the catalog whose parameters hold where the measurements say nothing of theirs
    #[arg(long, value_name = "MODEL,GPU,TP")]
    prior: Option<Prior>,
    /// The price of a GPU that the catalog does not know
    #[arg(long, value_name = "PRICE")]
    price_per_hour: Option<f64>,
    /// Write the profile to this file, and print only what is known of it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
}

impl CalibrateArgs {
    /// Does what was asked.
    ///
    /// # Errors
    ///
    /// When measurements cannot be read or say nothing, or a fact of the server is not known.
    pub(super) fn run(self) -> Result<()> {
        let options =
            ReadOptions { cached_fraction: self.cached_fraction, model: self.model.clone() };
        let mut measurements = Measurements::read(&self.paths, &options)?;
        if let (Some(url), Some(range)) = (&self.prometheus, &self.query_range) {
            measurements.add(fetch(url, range, &options)?);
        }
        for note in &measurements.notes {
            eprintln!("note: {note}");
        }
        let catalog = Catalog::builtin();
        let deployment = self.deployment(&catalog, &measurements.server)?;
        let prior = self.prior.as_ref().map(|prior| prior.find(&catalog, self.precision));
        let prior = prior.transpose()?;
        let calibration = calibrate(&measurements, deployment.engine, prior.as_ref())?;
        let profile = CalibratedProfile {
            model: deployment.model,
            gpu: self.gpu.clone(),
            tensor_parallel: deployment.tensor_parallel,
            precision: self.precision,
            engine: deployment.engine,
            unknown_model: deployment.unknown_model,
            unknown_gpu: self.unknown_price(&catalog)?,
            prior: self.prior.as_ref().map(Prior::to_string),
            measurements: &measurements,
            calibration: &calibration,
        };
        let text = profile.to_string();
        let Some(out) = &self.out else { return print(&text) };
        fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
        let known = text.lines().map_while(|line| line.strip_prefix('#'));
        let plain = known.flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"]);
        print(&plain.collect::<String>())
    }

    /// The price to write down, for a GPU that the catalog lacks.
    fn unknown_price(&self, catalog: &Catalog) -> Result<Option<HourlyCost>> {
        if catalog.gpu(&self.gpu).is_some() {
            return Ok(None);
        }
        let Some(price) = self.price_per_hour else {
            bail!(
                "--gpu {}: the catalog knows {} — take one of them, or give --price-per-hour",
                self.gpu,
                catalog.gpu_names().collect::<Vec<_>>().join(", ")
            );
        };
        let cost = HourlyCost::checked(price);
        ensure!(cost.is_some(), "--price-per-hour {price}: expected a number that is not negative");
        Ok(cost)
    }
}

fn query_range(text: &str) -> Result<QueryRange, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts.as_slice() {
        [from, to, step] if !parts.contains(&"") => Ok(QueryRange {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            step: (*step).to_owned(),
        }),
        _ => Err("expected a first time, a last time and a step, with commas between".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to below 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        calibrate: CalibrateArgs,
    }

    fn parse(args: &[&str]) -> Result<CalibrateArgs, String> {
        let command = Command::try_parse_from([&["calibrate"], args].concat());
        command.map(|command| command.calibrate).map_err(|error| error.to_string())
    }

    /// 300 requests, one after the other, of a server on which a step takes 10 ms.
    fn write_run(folder: &std::path::Path) {
        let line = |idx: u32| {
            let (arrival, output) = (f64::from(idx), 10 + idx % 7);
            let (first, last) = (arrival + 0.01, arrival + 0.01 * f64::from(output));
            format!(
                "{{\"input_toks\": {}, \"output_toks\": {output}, \"arrival_time\": {arrival}, \
                 \"queued_ts\": {arrival}, \"first_token_ts\": {first}, \"last_token_ts\": {last}}}\n",
                100 + idx % 11
            )
        };
        fs::write(folder.join("requests.jsonl"), (0..300).map(line).collect::<String>()).unwrap();
        let meta = "{\"model\": \"meta-llama/Llama-3.1-8B\", \"engine_kwargs\": {\"max_num_seqs\": 8, \
                    \"max_num_batched_tokens\": 512, \"max_model_len\": 512}}";
        fs::write(folder.join("meta.json"), meta).unwrap();
    }

    #[test]
    fn a_run_becomes_a_profile() {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path());
        let out = folder.path().join("out.yaml");
        let [run, file] = [folder.path(), &out].map(|path| path.to_str().unwrap());
        parse(&[run, "--gpu", "H100", "--out", file]).unwrap().run().unwrap();
        let text = fs::read_to_string(&out).unwrap();
        // The catalog's name of the model and its count of blocks, and all time in the base.
        for part in ["model: \"llama-3.1-8b\"", "numGpuBlocks: 28167", "        base: 10ms\n"] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path());
        let run = folder.path().to_str().unwrap();
        let check = |args: &[&str], expected: &str| {
            let error = parse(&[&[run], args].concat()).unwrap().run().unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        };
        check(
            &["--gpu", "X"],
            "KV blocks llama-3.1-8b has on X is not known: give --num-gpu-blocks",
        );
        check(
            &["--gpu", "X", "--num-gpu-blocks", "99"],
            "take one of them, or give --price-per-hour",
        );
        check(
            &["--gpu", "H100", "--prior", "llama-3.1-8b,H100,3"],
            "no such profile in bf16\n  llama",
        );
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        let check = |args: &[&str], expected: &str| {
            let error = parse(args).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&["--gpu", "H100"], "<PATHS>");
        check(&["a", "--gpu", "H100", "--cached-fraction", "1"], "a number from 0 to below 1");
        check(&["a", "--gpu", "H100", "--prior", "a,b"], "expected a model, a GPU and a number");
        check(&["a", "--gpu", "H100", "--precision", "int4"], "unknown variant `int4`");
        check(&["--prometheus", "http://x", "--gpu", "H100"], "--query-range");
        let range = ["--prometheus", "http://x", "--gpu", "H100", "--query-range", "1,2"];
        check(&range, "a first time, a last time and a step");
    }
}
