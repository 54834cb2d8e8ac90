//! A plant as vLLM 0.15 drives it.

use optimizer::units::Seconds;

use crate::engine::step_time::{Batch, DecodeLaw, Linear, Plant, Roofline};
use crate::engine::{StepTime, Ticks};

fn env(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The step times of the catalog were calibrated with servers that prepared a step only when the
/// one before it had ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    plant: Plant,
    /// What a step with a prompt takes more.
    launches: Ticks,
}

impl Served {
    /// A plant of the catalog, for a model of so many layers.
    pub(super) fn new(plant: &Plant, layers: u32, vocabulary: u32) -> Self {
        let less = |time: Seconds, hidden: f64| Seconds::new((time.value() - hidden).max(0.0));
        let (h0, h1) = (env("H0", 0.0), env("H1", 18.4e-6) * (1.0 - env("VF", 1.0) * f64::from(vocabulary) / 144e3).max(0.0));
        let fewer = |ticks: Ticks, hidden: f64| {
            Ticks::new(ticks.get().saturating_sub(Ticks::from_seconds(Seconds::new(hidden)).get()))
        };
        let plant = match plant {
            Plant::Linear(linear) => Plant::Linear(Linear {
                base: less(linear.base, h0),
                per_decode_sequence: less(linear.per_decode_sequence, h1),
                ..*linear
            }),
            Plant::Roofline(roofline) => Plant::Roofline(Roofline {
                base: fewer(roofline.base, h0),
                per_sequence: fewer(roofline.per_sequence, h1),
                prefill_base: Ticks::new(0),
                ..roofline.clone()
            }),
            other @ Plant::Hinge(_) => other.clone(),
        };
        let launches = Ticks::from_seconds(Seconds::new(env("LAUNCH", 40e-6) * f64::from(layers)));
        Self { plant, launches }
    }
}

impl StepTime for Served {
    fn step_time(&self, batch: &Batch) -> Ticks {
        let launches = if batch.prefill_tokens > 0 { self.launches } else { Ticks::ZERO };
        self.plant.step_time(batch) + launches
    }

    fn decode_law(&self, batch: &Batch) -> DecodeLaw {
        self.plant.decode_law(batch)
    }
}
