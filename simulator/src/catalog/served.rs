//! Step times of the catalog as a server of today takes them.
//!
//! The catalog's step times were calibrated with servers of vLLM 0.11 and 0.12, most of them of
//! models with large vocabularies. Three things differ since vLLM 0.14, for all models and GPUs
//! alike:
//!
//! - *Asynchronous scheduling* is the default (pull request 27614 of vLLM): the host prepares a step
//!   while the one before it runs. The calibration found 0.70 ms of host time in every step, of
//!   which [`HIDDEN`] no longer shows.
//! - *Sampling.* The calibration also found 18.4 µs for every sequence of a step. A sampler that
//!   sorts its candidates works in proportion to the vocabulary, so a model with fewer tokens to
//!   choose from takes less of it.
//! - *Launches.* A step that only decodes is launched as one CUDA graph. One with a prompt in it
//!   is launched in pieces, since attention is outside of the graph: [`LAUNCH`] for each layer. The
//!   roofline's own estimate of this is for long prompts, and replaced.
//!
//! `HIDDEN` and `LAUNCH`, and the time of the front end that `plimsoll validate` supposes, were
//! chosen together on 13 runs of vLLM 0.15 on H100, with which inference-sim's step times were
//! trained: on a grid of 0.1 ms, 5 µs and 0.5 ms, where the medians of seven metrics' errors over
//! these runs have the least sum. No number was chosen on any other run; which differences there
//! are was judged with all in sight.

use optimizer::units::Seconds;

use super::Architecture;
use crate::engine::Ticks;
use crate::engine::step_time::{Linear, Plant, Roofline, Served};

/// Host time of a step that asynchronous scheduling hides.
const HIDDEN: Seconds = Seconds::new(0.6e-3);

/// What the calibration of the catalog's profiles found for each sequence.
const SAMPLING: Seconds = Seconds::new(18.4e-6);

/// The mean vocabulary of the servers that they were calibrated with: 85 points of Qwen3-32B
/// (151,936) and 41 of Llama 3.1 (128,256).
const SAMPLED_VOCABULARY: f64 = 144_200.0;

/// Launching one layer of a step with a prompt in it.
const LAUNCH: Seconds = Seconds::new(45e-6);

/// A plant of the catalog as a server drives it that schedules asynchronously or not.
#[must_use]
pub fn served(plant: Plant, architecture: &Architecture, async_scheduling: bool) -> Plant {
    let Architecture { layers, vocabulary, .. } = *architecture;
    let hidden = if async_scheduling { HIDDEN } else { Seconds::ZERO };
    let smaller = (1.0 - f64::from(vocabulary) / SAMPLED_VOCABULARY).max(0.0);
    let plant = faster(plant, hidden, SAMPLING * smaller);
    let launches = Ticks::from_seconds(LAUNCH * f64::from(layers));
    Plant::Served(Box::new(Served { plant, launches }))
}

/// The plant with so much less for a step and a sequence; no part falls below zero.
fn faster(plant: Plant, step: Seconds, sequence: Seconds) -> Plant {
    let less = |time: Seconds, by: Seconds| Seconds::new((time.value() - by.value()).max(0.0));
    let fewer = |ticks: Ticks, by: Seconds| {
        Ticks::new(ticks.get().saturating_sub(Ticks::from_seconds(by).get()))
    };
    match plant {
        Plant::Linear(linear) => Plant::Linear(Linear {
            base: less(linear.base, step),
            per_decode_sequence: less(linear.per_decode_sequence, sequence),
            ..linear
        }),
        Plant::Hinge(mut hinge) => {
            hinge.base = less(hinge.base, step);
            hinge.per_decode_sequence = less(hinge.per_decode_sequence, sequence);
            Plant::Hinge(hinge)
        }
        Plant::Roofline(roofline) => Plant::Roofline(Roofline {
            base: fewer(roofline.base, step),
            per_sequence: fewer(roofline.per_sequence, sequence),
            prefill_base: Ticks::ZERO,
            ..roofline
        }),
        Plant::Served(served) => Plant::Served(served),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::engine::StepTime;
    use crate::engine::step_time::Batch;

    const LINEAR: Linear = Linear {
        base: Seconds::new(0.010),
        per_prefill_token: Seconds::ZERO,
        per_decode_sequence: Seconds::new(50e-6),
        per_context_token: Seconds::ZERO,
    };

    /// The time of a step in microseconds, for a model of 32 layers and so many tokens.
    fn micros(vocabulary: u32, async_scheduling: bool, batch: &Batch) -> f64 {
        let catalog = Catalog::builtin();
        let (_, model) = catalog.model("llama-3.1-8b").unwrap();
        let known = model.architecture.as_ref().unwrap();
        assert_eq!(known.layers, 32);
        let architecture = Architecture { vocabulary, ..*known };
        let plant = served(Plant::Linear(LINEAR), &architecture, async_scheduling);
        if batch.prefill_tokens == 0 {
            assert_eq!(plant.decode_law(batch).first, plant.step_time(batch));
        }
        plant.step_time(batch).as_seconds().value() * 1e6
    }

    #[track_caller]
    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.1, "{found} is not {expected}");
    }

    #[test]
    fn small_vocabularies_are_sampled_faster() {
        let mut batch = Batch::default();
        (0..10).for_each(|_| batch.add_decode(100));
        check(micros(0, true, &batch), 10_000.0 - 600.0 + 10.0 * (50.0 - 18.4));
        check(micros(72_100, true, &batch), 10_000.0 - 600.0 + 10.0 * (50.0 - 9.2));
        check(micros(200_000, true, &batch), 10_000.0 - 600.0 + 10.0 * 50.0);
        check(micros(200_000, false, &batch), 10_000.0 + 10.0 * 50.0);
    }

    #[test]
    fn a_prompt_costs_launches() {
        let mut batch = Batch::default();
        batch.add_prefill(9, 560);
        check(micros(200_000, true, &batch), 9_400.0 + 32.0 * 45.0);
    }
}
