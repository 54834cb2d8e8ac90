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
        writeln!(f, "#\n# Error of the simulator with this profile against the measurements:")?;
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
        let Estimate { parameter, value, standard_error, status } = estimate;
        let value = duration(*value);
        let rest = match status {
            Status::Fitted => standard_error.map_or_else(
                || "no standard error: as many parameters as measurements".to_owned(),
                |error| format!("± {}", duration(error)),
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
}
