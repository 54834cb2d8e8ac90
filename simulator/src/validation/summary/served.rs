//! A plant of the catalog as vLLM 0.15 drives it.
//!
//! The catalog's step times were calibrated with servers of vLLM 0.11 and 0.12, most of them of
//! models with large vocabularies. Three things differ in the runs here, for all models and GPUs
//! alike:
//!
//! - *Asynchronous scheduling* is the default since vLLM 0.14 (its pull request 27614): the host prepares a step while the
//!   one before it runs. The calibration found 0.70 ms of host time in every step, of which
//!   [`HIDDEN`] no longer shows.
//! - *Sampling.* The calibration also found 18.4 µs for every sequence of a step. A sampler that
//!   sorts its candidates works in proportion to the vocabulary, so a model with fewer tokens to
//!   choose from takes less of it.
//! - *Launches.* A step that only decodes is launched as one CUDA graph. One with a prompt in it
//!   is launched in pieces, since attention is outside of the graph: [`LAUNCH`] for each layer. The
//!   roofline's own estimate of this is for long prompts, and replaced.
//!
//! `HIDDEN` and `LAUNCH`, and the time of the front end, were chosen together on the 13 training
//! runs beside sim-to-real-accuracy-validation, all on H100: on a grid of 0.1 ms, 5 µs and 0.5 ms,
//! where the medians of the seven metrics' errors over these runs have the least sum. No
//! number was chosen on any other run; which differences there are was judged with all in sight.

use optimizer::units::Seconds;

use crate::engine::step_time::{Batch, DecodeLaw, Linear, Plant, Roofline};
use crate::engine::{StepTime, Ticks};

/// Host time of a step that asynchronous scheduling hides.
const HIDDEN: Seconds = Seconds::new(0.6e-3);

/// What the calibration of the catalog's profiles found for each sequence.
const SAMPLING: Seconds = Seconds::new(18.4e-6);

/// The mean vocabulary of the servers that they were calibrated with: 85 points of Qwen3-32B
/// (151,936) and 41 of Llama 3.1 (128,256).
const SAMPLED_VOCABULARY: f64 = 144_200.0;

/// Launching one layer of a step with a prompt in it.
const LAUNCH: Seconds = Seconds::new(45e-6);

/// The step times of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    plant: Plant,
    /// What a step with a prompt takes more.
    launches: Ticks,
}

impl Served {
    /// A plant of the catalog, for a model of so many layers and tokens to choose from.
    pub(super) fn new(plant: Plant, layers: u32, vocabulary: u32) -> Self {
        let smaller = (1.0 - f64::from(vocabulary) / SAMPLED_VOCABULARY).max(0.0);
        let plant = faster(plant, HIDDEN, SAMPLING * smaller);
        Self { plant, launches: Ticks::from_seconds(LAUNCH * f64::from(layers)) }
    }
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
    }
}

impl StepTime for Served {
    fn step_time(&self, batch: &Batch) -> Ticks {
        let launches = if batch.prefill_tokens > 0 { self.launches } else { Ticks::ZERO };
        self.plant.step_time(batch) + launches
    }

    /// Steps that only decode have no launches.
    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        self.plant.decode_law(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Linear = Linear {
        base: Seconds::new(0.010),
        per_prefill_token: Seconds::ZERO,
        per_decode_sequence: Seconds::new(50e-6),
        per_context_token: Seconds::ZERO,
    };

    #[test]
    fn small_vocabularies_are_sampled_faster() {
        let mut batch = Batch::default();
        (0..10).for_each(|_| batch.add_decode(100));
        let check = |vocabulary, microseconds: f64| {
            let served = Served::new(Plant::Linear(LINEAR), 32, vocabulary);
            let found = served.step_time(&batch).as_seconds().value() * 1e6;
            assert!((found - microseconds).abs() < 0.1, "{vocabulary}: {found}");
            assert_eq!(served.decode_law(&batch).first, served.step_time(&batch));
        };
        check(0, 10_000.0 - 600.0 + 10.0 * (50.0 - 18.4));
        check(72_100, 10_000.0 - 600.0 + 10.0 * (50.0 - 9.2));
        check(200_000, 10_000.0 - 600.0 + 10.0 * 50.0);
    }

    #[test]
    fn a_prompt_costs_launches() {
        let served = Served::new(Plant::Linear(LINEAR), 32, 200_000);
        let mut batch = Batch::default();
        batch.add_prefill(9, 560);
        let found = served.step_time(&batch).as_seconds().value() * 1e6;
        assert!((found - 9_400.0 - 32.0 * 45.0).abs() < 0.1, "{found}");
    }
}
