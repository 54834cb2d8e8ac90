//! A server under a steady load.

use rand::RngExt;
use serde::Serialize;

use super::CalibrationError;
use super::equation::Equation;
use super::experiment::{Experiment, Means};
use super::parameter::PerParameter;
use crate::engine::EngineArgs;
use crate::kernel::Streams;
use crate::validation::RecordedRequest;

/// The means of one server over a time in which its load did not change.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadStage {
    /// Where it is from: the file, and the stage in it.
    pub name: String,
    /// Requests per second that arrived.
    pub rate: f64,
    /// How they were spread.
    pub arrivals: Arrivals,
    /// Tokens of a prompt, cached ones included.
    pub prompt_tokens: f64,
    /// The share of prompt tokens that the prefix cache held, from 0 to below 1.
    pub cached_fraction: f64,
    /// Output tokens of a request, more than 1.
    pub output_tokens: f64,
    /// From the arrival to the first token, in seconds.
    pub ttft: Option<f64>,
    /// Between two tokens of a request, in seconds.
    pub tpot: f64,
    /// From the arrival to the last token, in seconds.
    pub e2e: Option<f64>,
}

/// How arrivals are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One after the other, equally far apart.
    Constant,
    /// Each independent of the others.
    Poisson,
}

/// Requests that are counted in a simulated stage.
const COUNTED: usize = 400;

/// Requests that a simulated stage may have at most before the counted ones and after them.
const MOST_MARGIN: usize = 1200;

/// A simulated stage runs this many times as long as a request takes before it counts.
const WARM_UP: f64 = 3.0;

impl LoadStage {
    /// Sequences that decode at once: by Little's law, how many begin to in a second, times how
    /// long each does.
    #[must_use]
    pub fn decode_batch(&self) -> f64 {
        self.rate * (self.output_tokens - 1.0) * self.tpot
    }

    /// Tokens of a sequence in the middle of its output.
    #[must_use]
    pub fn mean_context(&self) -> f64 {
        self.prompt_tokens + self.output_tokens / 2.0
    }

    /// What the steady state says of the coefficients.
    ///
    /// A step of the decode batch lasts one time per output token, t. Meanwhile λ·t requests arrive,
    /// with their uncached prompt tokens. The first token of a request takes a step with its own
    /// prompt on top; before that, on a busy server, it waits for half a step that is under way, and
    /// with asynchronous scheduling for one more. The wait is of steps whose time is known, so it
    /// goes to the side of what is known.
    pub(super) fn equations(&self, args: &EngineArgs) -> Vec<Equation> {
        let prompt = self.prompt_tokens * (1.0 - self.cached_fraction);
        let batch = self.decode_batch();
        let step =
            PerParameter([1.0, self.rate * prompt * self.tpot, batch, batch * self.mean_context()]);
        let mut equations = vec![Equation { terms: step, seconds: self.tpot }];
        if let Some(ttft) = self.ttft {
            let steps = (prompt / f64::from(args.max_num_batched_tokens)).ceil().max(1.0);
            let busy = batch.min(1.0);
            let waited = if args.async_scheduling { 1.5 } else { 0.5 } * busy * self.tpot;
            let mut terms = PerParameter(step.0.map(|term| term * steps));
            terms.0[1] += prompt;
            // What waiting explains almost alone says little of the rest.
            if ttft - waited > ttft / 4.0 {
                equations.push(Equation { terms, seconds: ttft - waited });
            }
        }
        equations
    }

    /// The stage with requests of its mean size, to be simulated.
    pub(super) fn experiment(&self, args: EngineArgs) -> Result<Experiment, CalibrationError> {
        let duration = self.e2e.unwrap_or(self.output_tokens * self.tpot);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "capped")]
        let margin = ((WARM_UP * self.rate * duration).ceil() as usize).clamp(8, MOST_MARGIN);
        let requests = self.requests(2 * margin + COUNTED);
        Ok(Experiment {
            config: args.try_into()?,
            requests,
            counted: margin..margin + COUNTED,
            computed_share: 1.0 - self.cached_fraction,
            means: Some(Means { ttft: self.ttft, tpot: self.tpot, e2e: self.e2e }),
        })
    }

    fn requests(&self, count: usize) -> Vec<RecordedRequest> {
        let mut stream = Streams::new(1).stream("calibration");
        let mut arrival = 0.0;
        let requests = (0..count).map(|idx| {
            let chance: f64 = stream.random();
            arrival = match self.arrivals {
                // Off the beat by up to a fifth: a server's steps and a client's clock are not in
                // step, as they would be here.
                Arrivals::Constant => (0.2_f64.mul_add(chance, idx as f64)) / self.rate,
                Arrivals::Poisson => arrival - (1.0 - chance).ln() / self.rate,
            };
            RecordedRequest {
                prompt_tokens: part_of(self.prompt_tokens, idx),
                output_tokens: part_of(self.output_tokens, idx),
                arrival,
                queued: arrival,
                first_token: arrival,
                last_token: arrival,
            }
        });
        requests.collect()
    }
}

/// Whole numbers, of which any `n` in a row have the mean `mean`, to one in n.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of tokens")]
fn part_of(mean: f64, idx: usize) -> u32 {
    let until = |n: usize| (n as f64 * mean).floor();
    (until(idx + 1) - until(idx)).max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_the_mean() {
        let sum = |mean: f64| (0..1000).map(|idx| part_of(mean, idx)).sum::<u32>();
        assert_eq!((sum(2.0), sum(575.45), sum(1.5)), (2000, 575_450, 1500));
    }

    #[test]
    fn a_stage_says_what_a_step_holds() {
        let stage = LoadStage {
            name: "one".to_owned(),
            rate: 10.0,
            arrivals: Arrivals::Constant,
            prompt_tokens: 500.0,
            cached_fraction: 0.2,
            output_tokens: 101.0,
            ttft: Some(0.05),
            tpot: 0.02,
            e2e: None,
        };
        let args = EngineArgs {
            max_num_batched_tokens: 256,
            max_num_seqs: 64,
            max_model_len: 4096,
            block_size: 16,
            num_gpu_blocks: 4096,
            async_scheduling: false,
            ..EngineArgs::DEFAULT
        };
        let equations = stage.equations(&args);
        // 10/s · 400 tokens · 20 ms; 10/s · 100 · 20 ms sequences of 550.5 tokens.
        let step = PerParameter([1.0, 80.0, 20.0, 11_010.0]);
        assert_eq!(equations[0], Equation { terms: step, seconds: 0.02 });
        // Two chunks, and half a step until the first.
        assert_eq!(equations[1].terms, PerParameter([2.0, 560.0, 40.0, 22_020.0]));
        assert!((equations[1].seconds - 0.04).abs() < 1e-12);
    }
}
