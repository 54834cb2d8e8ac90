//! A calibration as a catalog file.

use std::fmt;

use optimizer::id::AcceleratorId;
use optimizer::units::HourlyCost;

use super::fit::{Calibration, Confusion, Estimate, Range, Status};
use super::parameter::Parameter;
use super::source::{Measurements, SourceFile};
use crate::catalog::Precision;
use crate::engine::EngineArgs;

/// A catalog file with one profile, which a scenario names in its field `catalog`.
///
/// The catalog's format has no place for where numbers come from, so that is in comments.
#[derive(Debug)]
pub struct CalibratedProfile<'a> {
    /// The model, by the name that profiles use.
    pub model: String,
    /// The kind of GPU.
    pub gpu: AcceleratorId,
    /// GPUs of one replica.
    pub tensor_parallel: u32,
    /// The number format of the weights.
    pub precision: Precision,
    /// The arguments of the server that was measured. Of these the profile has the KV blocks, and
    /// the others stand in for what the catalog does not know.
    pub engine: EngineArgs,
    /// The longest context of the model, if the catalog does not know the model.
    pub unknown_model: Option<u32>,
    /// The price of one GPU, if the catalog does not know the GPU.
    pub unknown_gpu: Option<HourlyCost>,
    /// What the prior is called, if there is one.
    pub prior: Option<String>,
    /// Whence the numbers are.
    pub measurements: &'a Measurements,
    /// The numbers.
    pub calibration: &'a Calibration,
}

impl fmt::Display for CalibratedProfile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.comments(f)?;
        if let Some(price) = self.unknown_gpu {
            let EngineArgs { max_num_batched_tokens, max_num_seqs, .. } = self.engine;
            writeln!(f, "\ngpus:\n  {}:", quoted(self.gpu.as_str()))?;
            writeln!(f, "    pricePerHour: {}", price.value())?;
            writeln!(f, "    maxNumBatchedTokens: {max_num_batched_tokens}")?;
            writeln!(f, "    maxNumSeqs: {max_num_seqs}")?;
        }
        if let Some(max_model_len) = self.unknown_model {
            writeln!(f, "\nmodels:\n  {}:", quoted(&self.model))?;
            writeln!(f, "    maxModelLen: {max_model_len}")?;
        }
        writeln!(f, "\nprofiles:\n  - model: {}", quoted(&self.model))?;
        writeln!(f, "    gpu: {}", quoted(self.gpu.as_str()))?;
        writeln!(f, "    tensorParallel: {}", self.tensor_parallel)?;
        writeln!(f, "    precision: {}", self.precision)?;
        writeln!(f, "    stepTime:\n      linear:")?;
        for estimate in &self.calibration.estimates {
            writeln!(f, "        {}: {}", estimate.parameter, duration(estimate.value))?;
        }
        writeln!(f, "    numGpuBlocks: {}", self.engine.num_gpu_blocks)?;
        writeln!(f, "    evidence: A")
    }
}

impl CalibratedProfile<'_> {
    fn comments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, gpu, tensor_parallel, precision, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "# {model} on {gpu}, tensor parallelism {tensor_parallel}, {precision}.")?;
        writeln!(f, "# Written by plimsoll calibrate {version}.\n#\n# Measurements:")?;
        for file in &self.measurements.files {
            writeln!(f, "#   {}", source_line(file))?;
        }
        for note in &self.measurements.notes {
            writeln!(f, "#   note: {note}")?;
        }
        writeln!(
            f,
            "#\n# Parameters, with standard errors that take measurements for independent:"
        )?;
        for estimate in &self.calibration.estimates {
            writeln!(f, "#   {}", self.estimate_line(estimate))?;
        }
        for confusion in &self.calibration.confused {
            writeln!(f, "#   {}", confusion_line(confusion))?;
        }
        writeln!(
            f,
            "#\n# Error of the simulator with this profile on these measurements, to which it is fitted:"
        )?;
        for error in &self.calibration.errors {
            let (latency, count) = (error.latency, error.count);
            let (median, p90) = (error.median_pct, error.p90_pct);
            writeln!(f, "#   {latency:<4}  median {median:.1} %, p90 {p90:.1} %, of {count}")?;
        }
        let ranges = &self.calibration.ranges;
        writeln!(f, "#\n# Seen, and beyond it not to be trusted:")?;
        writeln!(f, "#   requests per second   {}", shown(ranges.rate, 2))?;
        writeln!(f, "#   decoding sequences    {}", shown(ranges.batch, 1))?;
        writeln!(f, "#   prompt tokens         {}", shown(ranges.prompt_tokens, 0))?;
        writeln!(f, "#   prompt and output     {}", shown(ranges.context_tokens, 0))
    }

    fn estimate_line(&self, estimate: &Estimate) -> String {
        let Estimate { parameter, value: seconds, standard_error, status } = estimate;
        let value = duration(*seconds);
        let rest = match status {
            Status::Fitted => standard_error.map_or_else(
                || "no standard error: as many parameters as measurements".to_owned(),
                |error| {
                    // With two standard errors, zero is as likely as the value.
                    let doubt = if error > *seconds / 2.0 { ", not identified" } else { "" };
                    format!("± {}{doubt}", duration(error))
                },
            ),
            Status::AtZero => "not identified: the data would have it below zero".to_owned(),
            Status::Prior => {
                let prior = self.prior.as_deref().unwrap_or("the prior");
                format!("not identified: held at that of {prior}")
            }
            Status::LeftOut => "not identified: left out, for want of a prior".to_owned(),
        };
        format!("{parameter:<17}  {value:<9}  {rest}")
    }
}

fn source_line(file: &SourceFile) -> String {
    let SourceFile { path, bytes, used, left_out, period } = file;
    let period = period.as_ref().map(|(from, to)| format!(", {from} to {to}")).unwrap_or_default();
    format!("{path}: {bytes} bytes, {used} used, {left_out} left out{period}")
}

fn confusion_line(confusion: &Confusion) -> String {
    let names: Vec<String> = confusion.parameters.iter().map(Parameter::to_string).collect();
    let degree = if confusion.gave_up { "do not" } else { "hardly" };
    match names.as_slice() {
        [one] => format!("the measurements say nothing of {one}"),
        [rest @ .., last] => {
            format!("the measurements {degree} tell apart {} and {last}", rest.join(", "))
        }
        [] => String::new(),
    }
}

fn shown(range: Range, digits: usize) -> String {
    let Range { least, greatest } = range;
    format!("{least:.digits$} to {greatest:.digits$}")
}

/// Four digits of a span, in the largest unit in which it is at least one.
fn duration(seconds: f64) -> String {
    let units = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];
    let (suffix, unit) = units.into_iter().find(|(_, unit)| seconds >= *unit).unwrap_or(units[3]);
    let number = seconds / unit;
    let digits = (number.max(1e-3).log10().floor() + 1.0).clamp(0.0, 4.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 4")]
    let decimals = 4 - digits as usize;
    let text = format!("{number:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

/// A YAML string in double quotes, for names that come from files.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::fit::{FitError, ValidRanges};
    use crate::calibration::{Latency, PerParameter};

    #[test]
    fn a_span_has_four_digits() {
        let check = |seconds: f64, expected: &str| assert_eq!(duration(seconds), expected);
        check(0.0, "0ns");
        check(0.006_982_84, "6.983ms");
        check(24.7e-6, "24.7us");
        check(44.063e-9, "44.06ns");
        check(0.5e-9, "0.5ns");
        check(12.0, "12s");
        check(0.123_456, "123.5ms");
    }

    fn calibration() -> Calibration {
        let values = [7e-3, 25e-6, 28e-6, 44e-9];
        let errors = [Some(10e-6), None, Some(20e-6), None];
        let statuses = [Status::Fitted, Status::AtZero, Status::Fitted, Status::Prior];
        let estimate = |parameter: Parameter| Estimate {
            parameter,
            value: values[parameter as usize],
            standard_error: errors[parameter as usize],
            status: statuses[parameter as usize],
        };
        let range = |least: f64, greatest: f64| Range { least, greatest };
        let [_, _, sequence, context] = Parameter::ALL;
        Calibration {
            plant: PerParameter(values).into(),
            estimates: Parameter::ALL.map(estimate).to_vec(),
            confused: vec![
                Confusion { parameters: vec![sequence, context], gave_up: true },
                Confusion { parameters: vec![context], gave_up: true },
            ],
            errors: Latency::ALL
                .map(|latency| FitError { latency, count: 9, median_pct: 1.25, p90_pct: 30.0 })
                .to_vec(),
            ranges: ValidRanges {
                rate: range(2.0, 9.5),
                batch: range(1.6, 9.0),
                prompt_tokens: range(500.0, 510.2),
                context_tokens: range(600.0, 700.0),
            },
        }
    }

    #[test]
    fn a_profile_says_whence_it_is_and_how_far_it_holds() {
        let file = SourceFile {
            path: "runs/one".to_owned(),
            bytes: 913,
            used: 3,
            left_out: 1,
            period: Some(("2026-01-01".to_owned(), "2026-01-02".to_owned())),
        };
        let measurements = Measurements {
            files: vec![
                file.clone(),
                SourceFile { path: "two.json".to_owned(), period: None, ..file },
            ],
            notes: vec!["one: left out".to_owned()],
            ..Measurements::default()
        };
        let profile = CalibratedProfile {
            model: "my/model".to_owned(),
            gpu: "GPU1".parse().unwrap(),
            tensor_parallel: 2,
            precision: Precision::Fp8,
            engine: EngineArgs {
                max_num_batched_tokens: 2048,
                max_num_seqs: 128,
                max_model_len: 8192,
                block_size: 16,
                num_gpu_blocks: 20_000,
                async_scheduling: true,
                ..EngineArgs::DEFAULT
            },
            unknown_model: Some(8192),
            unknown_gpu: Some(HourlyCost::new(1.5)),
            prior: Some("llama-3.1-8b,H100,1".to_owned()),
            measurements: &measurements,
            calibration: &calibration(),
        };
        let text = profile.to_string().replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(text, @r#"
        # my/model on GPU1, tensor parallelism 2, fp8.
        # Written by plimsoll calibrate VERSION.
        #
        # Measurements:
        #   runs/one: 913 bytes, 3 used, 1 left out, 2026-01-01 to 2026-01-02
        #   two.json: 913 bytes, 3 used, 1 left out
        #   note: one: left out
        #
        # Parameters, with standard errors that take measurements for independent:
        #   base               7ms        ± 10us
        #   perPrefillToken    25us       not identified: the data would have it below zero
        #   perDecodeSequence  28us       ± 20us, not identified
        #   perContextToken    44ns       not identified: held at that of llama-3.1-8b,H100,1
        #   the measurements do not tell apart perDecodeSequence and perContextToken
        #   the measurements say nothing of perContextToken
        #
        # Error of the simulator with this profile on these measurements, to which it is fitted:
        #   TTFT  median 1.2 %, p90 30.0 %, of 9
        #   TPOT  median 1.2 %, p90 30.0 %, of 9
        #   E2E   median 1.2 %, p90 30.0 %, of 9
        #
        # Seen, and beyond it not to be trusted:
        #   requests per second   2.00 to 9.50
        #   decoding sequences    1.6 to 9.0
        #   prompt tokens         500 to 510
        #   prompt and output     600 to 700

        gpus:
          "GPU1":
            pricePerHour: 1.5
            maxNumBatchedTokens: 2048
            maxNumSeqs: 128

        models:
          "my/model":
            maxModelLen: 8192

        profiles:
          - model: "my/model"
            gpu: "GPU1"
            tensorParallel: 2
            precision: fp8
            stepTime:
              linear:
                base: 7ms
                perPrefillToken: 25us
                perDecodeSequence: 28us
                perContextToken: 44ns
            numGpuBlocks: 20000
            evidence: A
        "#);
    }
}
