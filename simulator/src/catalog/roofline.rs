//! From a model's architecture and a GPU's data sheet to a roofline.
//!
//! Every part of a step does some arithmetic and moves some bytes. A data sheet says how fast either
//! could go at best; servers reach a share of that, an *efficiency*. With P the arithmetic and W the
//! memory bandwidth of the data sheet, each GPU of a replica of p GPUs takes for
//!
//! | part | arithmetic | bytes |
//! |---|---|---|
//! | the matrices of all layers | 2 · parameters / p, for each token | the parameters / p, once |
//! | experts | the same of those that a token is sent to | of those that any token is sent to |
//! | the head | 2 · vocabulary · hidden / p, for each sequence | the head / p, once |
//! | attention of prompts | 2 · products / p, for each pair | the KV cache, for each token seen |
//! | attention of decodes | 2 · products / p, for each token seen | the same |
//! | all else | none | what goes in and out of norms and activations, for each token |
//!
//! and waits for the launch of kernels, for the host, and after each half of a layer for an
//! all-reduce among the p GPUs: a latency, and 2(p − 1)/p of the layer's output over the link
//! (source: R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of collective communication
//! operations in MPICH", 2005, section 4.5).
//!
//! The efficiencies below are the same for all models and GPUs. They were fitted to the step times
//! of the catalog's profiles (those of evidence D left out) by least absolute error in the logarithm,
//! and a test holds how far the two are still apart: 8 % in the median, 24 % or more for one in ten.
//! The profiles are of dense models and Mixtral, on H100, A100 and L40S. For latent attention,
//! windows, 4-bit experts and other GPUs, nothing was compared.
//!
//! What it leaves out: expert parallelism, shapes that do not suit the hardware, kernels that get
//! better from one GPU to the next (H100 decodes faster than estimated here, A100 slower), and experts
//! that some tokens like better than others.

use optimizer::units::Seconds;

use super::{Deployment, Link, LinkKind, Precision};
use crate::engine::Ticks;
use crate::engine::step_time::{Attention, Experts, Matrices, Roofline};

/// The share of a data sheet's arithmetic that multiplying matrices reaches. Kernels alone reach
/// more; servers were measured to need a third more for prompts than their kernels.
const MATRIX_ARITHMETIC: f64 = 0.55;

/// The same of attention. Not fitted: the profiles' linear form has no term for it.
const ATTENTION_ARITHMETIC: f64 = 0.4;

/// The share of a data sheet's memory bandwidth that is reached.
const BANDWIDTH: f64 = 0.755;

/// What the host adds to each step.
const PER_STEP: f64 = 1.4e-3;

/// What the host adds for each sequence of a step.
const PER_SEQUENCE: f64 = 20e-6;

/// What the kernels of a layer add to each step, as one part waits for the slowest of the part before.
const PER_LAYER: f64 = 14e-6;

/// What a layer adds to a step with a prompt in it, whose kernels are launched one by one. Steps that
/// only decode are launched as a whole, as CUDA graphs.
const PER_LAYER_WITH_PREFILL: f64 = 104e-6;

/// Bytes of a number between two kernels.
const ACTIVATION_BYTES: f64 = 2.0;

impl Link {
    /// The time of an all-reduce without any bytes.
    const fn latency(&self) -> f64 {
        match self.kind {
            LinkKind::Direct => 14e-6,
            LinkKind::Pcie => 5e-6,
        }
    }

    /// Bytes per second that each of so many GPUs sends in an all-reduce. Through the host, all of
    /// them share what is enough for two.
    fn bandwidth(&self, gpus: f64) -> f64 {
        let share = match self.kind {
            LinkKind::Direct => 0.49,
            LinkKind::Pcie => 0.27 * 2.0 / gpus,
        };
        self.gb_per_s * 1e9 * share
    }
}

impl Deployment<'_> {
    /// The roofline of the model on the GPUs of one replica.
    #[must_use]
    pub fn roofline(&self) -> Roofline {
        let model = self.architecture;
        let reductions = self.reductions();
        let layers = f64::from(model.layers);
        let (precision, embedding) = (self.precision, model.embedding_parameters());
        let dense = model.dense_parameters();
        let expert = model.parameters_of_an_expert();
        Roofline {
            base: ticks(PER_STEP + layers * PER_LAYER + reductions * self.gpu.link.latency()),
            prefill_base: ticks(layers * PER_LAYER_WITH_PREFILL),
            per_sequence: ticks(PER_SEQUENCE),
            per_token: ticks(self.activations() + reductions * self.reduction_of_a_token()),
            dense: Matrices {
                read: self.read(dense, precision.bytes_per_parameter()),
                compute: self.compute(dense, precision),
            },
            experts: model.experts.map(|experts| Experts {
                count: experts.count,
                active: experts.active,
                read: self.read(expert, precision.bytes_per_expert_parameter()),
                compute: self.compute(expert, precision),
            }),
            head: Matrices {
                read: self.read(embedding, Precision::Bf16.bytes_per_parameter()),
                compute: self.compute(embedding, Precision::Bf16),
            },
            attention: self.attention(),
        }
    }

    /// The groups of layers that see equally far.
    fn attention(&self) -> Vec<Attention> {
        let windowed = self.architecture.window;
        let groups = [
            (None, self.architecture.full_layers()),
            (windowed.map(|window| window.tokens), windowed.map_or(0, |window| window.layers)),
        ];
        let some = groups.into_iter().filter(|&(_, layers)| layers > 0);
        some.map(|(window, layers)| self.attention_of(window, layers)).collect()
    }

    fn attention_of(&self, window: Option<u32>, layers: u32) -> Attention {
        let shape = &self.architecture.attention;
        let kept = shape.kv_elements(self.tensor_parallel) * u64::from(layers);
        let bytes = kept as f64 * self.kv_cache_dtype.bytes() as f64;
        let read = bytes / self.memory();
        let multiply = |products: u64| {
            let operations = 2.0 * products as f64 * f64::from(layers) / self.shares();
            operations / (self.arithmetic(Precision::Bf16) * ATTENTION_ARITHMETIC)
        };
        Attention {
            window,
            per_prefill_pair: ticks(multiply(shape.prefill_products())),
            per_prefill_context_token: ticks(read),
            per_context_token: ticks(read.max(multiply(shape.decode_products()))),
        }
    }

    /// Reading so many parameters, divided among the GPUs.
    fn read(&self, parameters: u128, bytes: f64) -> Ticks {
        ticks(parameters as f64 * bytes / self.shares() / self.memory())
    }

    /// Multiplying a token with so many parameters, divided among the GPUs.
    fn compute(&self, parameters: u128, precision: Precision) -> Ticks {
        let operations = 2.0 * parameters as f64 / self.shares();
        ticks(operations / (self.arithmetic(precision) * MATRIX_ARITHMETIC))
    }

    /// What goes in and out of norms and activations, for one token: a layer reads and writes its
    /// input about four times, and the inner numbers of its feed-forward part three times.
    fn activations(&self) -> f64 {
        let model = self.architecture;
        let plain = model.layers - model.experts.map_or(0, |experts| experts.layers);
        let inner = model.experts.map_or(0, |experts| {
            let routed = u64::from(experts.active) * u64::from(experts.intermediate);
            u64::from(experts.layers) * (u64::from(experts.shared_intermediate) + routed)
        });
        let inner = inner + u64::from(plain) * u64::from(model.intermediate);
        let outer = 8.0 * f64::from(model.layers) * f64::from(model.hidden);
        let bytes = ACTIVATION_BYTES * (outer + 3.0 * inner as f64 / self.shares());
        bytes / self.memory()
    }

    /// All-reduces of a step: after attention, after the feed-forward part, and the embedding's.
    fn reductions(&self) -> f64 {
        if self.tensor_parallel == 1 {
            0.0
        } else {
            2.0 * f64::from(self.architecture.layers) + 1.0
        }
    }

    /// What one all-reduce takes for each token.
    fn reduction_of_a_token(&self) -> f64 {
        let moved = 2.0 * (self.shares() - 1.0) / self.shares();
        let bytes = moved * ACTIVATION_BYTES * f64::from(self.architecture.hidden);
        bytes / self.gpu.link.bandwidth(self.shares())
    }

    /// Bytes per second of the memory.
    fn memory(&self) -> f64 {
        self.gpu.memory_gb_per_s * 1e9 * BANDWIDTH
    }

    /// Operations per second of the data sheet. Weights in a format that the GPU does not compute
    /// with are unpacked to 16 bits on the way.
    fn arithmetic(&self, precision: Precision) -> f64 {
        let tflops = match precision {
            Precision::Fp8 => self.gpu.fp8_tflops.unwrap_or(self.gpu.bf16_tflops),
            Precision::Bf16 | Precision::Mxfp4 => self.gpu.bf16_tflops,
        };
        tflops * 1e12
    }
}

/// To the nearest tick; what an absurd data sheet makes endless is cut to a year.
fn ticks(seconds: f64) -> Ticks {
    Ticks::from_seconds(Seconds::new(seconds.min(3.2e7)))
}

#[cfg(test)]
mod tests;
