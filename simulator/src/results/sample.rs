//! Recordings for the tests of this module: made up, plausible, and the same on every machine.

use hdrhistogram::Histogram;
use optimizer::decision::{Action, Direction, Reason};
use optimizer::slo::Slo;
use optimizer::units::{Fraction, Gpus, HourlyCost, Replicas, Seconds, Timestamp};

use crate::records::{
    ClientRecord, ModelRecord, Outcome, Recording, RequestRecord, Sample, ScalingRecord, Tally,
    VariantRecord,
};
use crate::workload::{Client, Origin, ServiceClass};

/// The size of a made-up run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) models: usize,
    pub(super) variants: usize,
    pub(super) requests: usize,
    pub(super) duration: Seconds,
    pub(super) samples: usize,
}

impl Shape {
    /// One model on two GPUs for half an hour.
    pub(super) const HALF_HOUR: Self = Self {
        models: 1,
        variants: 2,
        requests: 4000,
        duration: Seconds::new(1800.0),
        samples: 180,
    };
}

/// A run in which traffic rises and falls once, replicas follow it a little late, and some
/// requests are rejected, fail or are still in flight at the end.
pub(super) fn recording(shape: Shape) -> Recording {
    let mut dice = Dice(7);
    let mut recording = empty(shape);
    for idx in 0..shape.requests {
        let request = request(&mut dice, shape, idx);
        if let (Some(tpot), true) = (request.tpot(), request.generated_tokens > 1) {
            let itl = &mut recording.models[request.model].itl;
            for _ in 1..request.generated_tokens {
                itl.record(nanos(tpot * dice.spread(0.35))).unwrap();
            }
        }
        recording.add(request);
    }
    if shape.variants > 0 {
        fleet(&mut dice, shape, &mut recording);
    }
    recording
}

/// A run of one model with three clients: two tenants, two classes, one of which is patient.
pub(super) fn recording_of_clients() -> Recording {
    let shape = Shape::HALF_HOUR;
    let mut recording = empty(shape);
    let slo = Slo { ttft: Seconds::new(60.0), tpot: Seconds::new(1.0) };
    let class = |name: &str, slo| ServiceClass { name: name.to_owned(), priority: 0, slo };
    for (name, class, tenant) in [
        ("web", class("interactive", None), None),
        ("desk", class("interactive", None), Some("acme")),
        ("nightly", class("batch", Some(slo)), Some("acme")),
    ] {
        let client = Client { name: name.to_owned(), class, tenant: tenant.map(str::to_owned) };
        recording.models[0].clients.push(ClientRecord { client, tally: Tally::default() });
    }
    let mut dice = Dice(7);
    for idx in 0..shape.requests {
        let client = dice.below(3);
        let session = (client == 1).then_some(idx as u64 / 9);
        let origin = Origin { client, session };
        recording.add(RequestRecord { origin, ..request(&mut dice, shape, idx) });
    }
    recording
}

/// The same run before anything happened.
pub(super) fn empty(shape: Shape) -> Recording {
    let models = (0..shape.models).map(|idx| ModelRecord {
        model: format!("example/{}", ["llama-8b", "qwen-32b", "mixtral-8x7b", "phi-4"][idx % 4])
            .parse()
            .unwrap(),
        namespace: ["chat", "batch"][idx / 4 % 2].parse().unwrap(),
        slo: Slo {
            ttft: Seconds::new(1.0 + idx as f64),
            tpot: Seconds::from_millis(45.0 + 10.0 * idx as f64),
        },
        itl: Histogram::new(3).unwrap(),
        tally: Tally::default(),
        clients: Vec::new(),
    });
    let variants = (0..shape.variants).map(|idx| {
        let (gpu, price) = [("H100", 8.0), ("A100", 3.5), ("L40S", 1.25)][idx % 3];
        let name = ["llama-8b", "qwen-32b", "mixtral-8x7b", "phi-4"][idx % shape.models % 4];
        VariantRecord {
            variant: format!("{name}-{}-{}", gpu.to_lowercase(), idx / 3).parse().unwrap(),
            model: idx % shape.models,
            accelerator: gpu.parse().unwrap(),
            gpus_per_replica: Gpus::new(1 + u32::from(idx == 1)),
            cost: HourlyCost::new(price),
            replica_time: Seconds::ZERO,
            most_replicas: Replicas::ZERO,
            served: 0,
        }
    });
    Recording {
        scenario: "diurnal <chat> & batch".to_owned(),
        seed: 42,
        models: models.collect(),
        variants: variants.collect(),
        requests: Vec::new(),
        samples: Vec::new(),
        scalings: Vec::new(),
        most_replicas: Replicas::ZERO,
        end: Timestamp::ZERO + shape.duration,
    }
}

/// How busy the run is at a share of its length: 0 at the ends, 1 in the middle.
fn load(progress: f64) -> f64 {
    (progress * std::f64::consts::PI).sin().powi(2)
}

fn request(dice: &mut Dice, shape: Shape, idx: usize) -> RequestRecord {
    let progress = idx as f64 / shape.requests as f64;
    let arrival = Timestamp::ZERO + shape.duration * progress;
    let prompt_tokens = 64 + dice.below(2000);
    let output_tokens = 1 + dice.below(300);
    let base = RequestRecord {
        model: idx % shape.models,
        origin: Origin::default(),
        variant: None,
        replica: None,
        arrival,
        prompt_tokens,
        cached_tokens: 0,
        output_tokens,
        generated_tokens: 0,
        scheduled: None,
        first_token: None,
        end: Some(arrival),
        preemptions: 0,
        outcome: Outcome::Rejected,
    };
    if dice.below(200) == 0 {
        return base;
    }
    let queue = Seconds::new(0.004) * dice.spread(2.0) * (1.0 + 40.0 * load(progress).powi(4));
    let scheduled = arrival + queue;
    let first_token = scheduled + Seconds::new(f64::from(prompt_tokens) * 9e-5) * dice.spread(0.3);
    let tpot = Seconds::new(0.018 + 0.02 * load(progress)) * dice.spread(0.15);
    let end = first_token + tpot * f64::from(output_tokens - 1);
    let served = RequestRecord {
        variant: Some(idx % shape.variants.max(1)).filter(|_| shape.variants > 0),
        replica: Some(dice.below(3)),
        scheduled: Some(scheduled),
        first_token: Some(first_token),
        preemptions: u32::from(dice.below(50) == 0),
        ..base
    };
    if end > Timestamp::ZERO + shape.duration {
        return RequestRecord {
            end: None,
            generated_tokens: 1,
            outcome: Outcome::InFlight,
            ..served
        };
    }
    let outcome = if dice.below(300) == 0 { Outcome::Failed } else { Outcome::Completed };
    RequestRecord { end: Some(end), generated_tokens: output_tokens, outcome, ..served }
}

/// Samples, decisions and the time that replicas existed.
fn fleet(dice: &mut Dice, shape: Shape, recording: &mut Recording) {
    let step = shape.duration * (1.0 / shape.samples as f64);
    let mut desired = vec![1_u32; shape.variants];
    let mut ready = vec![1_u32; shape.variants];
    for idx in 0..=shape.samples {
        let progress = idx as f64 / shape.samples as f64;
        let at = Timestamp::ZERO + shape.duration * progress;
        let mut all = Replicas::ZERO;
        for variant in 0..shape.variants {
            let wanted = whole(load(progress) * (3.0 + (variant % 3) as f64) + 0.5);
            let wanted = if variant % 4 == 3 { wanted } else { wanted.max(1) };
            if idx % 6 == 0 && wanted != desired[variant] {
                recording.scalings.push(scaling(at, variant, desired[variant], wanted, progress));
                desired[variant] = wanted;
            } else if idx % 6 == 4 || desired[variant] < ready[variant] {
                ready[variant] = desired[variant];
            }
            let kv = if ready[variant] == 0 {
                0.0
            } else {
                (0.15 + 0.6 * load(progress) * dice.spread(0.08)).min(0.98)
            };
            let starting = desired[variant].saturating_sub(ready[variant]);
            let busy = load(progress);
            recording.samples.push(Sample {
                at,
                variant,
                ready: Replicas::new(ready[variant]),
                starting: Replicas::new(starting),
                draining: Replicas::ZERO,
                desired: Replicas::new(desired[variant]),
                running: whole(kv * 60.0),
                waiting: if starting > 0 { dice.below(12) } else { 0 },
                gateway_queue: if busy > 0.9 { dice.below(8) } else { 0 },
                kv_usage: kv,
                kv_usage_max: (kv * (1.1 + 0.1 * dice.unit())).min(1.0),
                arrival_rate: (2.0 + 9.0 * busy) * dice.spread(0.15),
            });
            let existing = Replicas::new(ready[variant] + starting);
            recording.variants[variant].replica_time += step * existing.as_f64();
            let most = &mut recording.variants[variant].most_replicas;
            *most = existing.max(*most);
            all += existing;
        }
        recording.most_replicas = recording.most_replicas.max(all);
    }
}

fn scaling(
    at: Timestamp,
    variant: usize,
    current: u32,
    desired: u32,
    progress: f64,
) -> ScalingRecord {
    let (current, desired) = (Replicas::new(current), Replicas::new(desired));
    let action = Action::between(current, desired);
    let seen =
        Reason::Observed { reporting: 3, saturated: usize::from(progress < 0.5), unknown: 0 };
    let trail = if action == Action::ScaleUp {
        vec![
            seen,
            Reason::KvSpareLow { spare: 0.062, trigger: Fraction::new(0.1) },
            Reason::CheapestToGrow { cost: HourlyCost::new(3.5) },
            Reason::StepLimited {
                direction: Direction::Up,
                wanted: desired + Replicas::new(1),
                max_step: Replicas::new(1),
            },
        ]
    } else {
        vec![
            seen,
            Reason::RemovalSafe { kv_spare: 0.31, queue_spare: 4.25 },
            Reason::DearestToShrink { cost: HourlyCost::new(8.0) },
        ]
    };
    ScalingRecord { at, variant, current, previous: current, desired, action, trail }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn nanos(span: Seconds) -> u64 {
    (span.value() * 1e9).round() as u64
}

/// A linear congruential generator modulo 2^64; the multiplier is from L'Ecuyer's tables (1999).
struct Dice(u64);

impl Dice {
    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..bound.
    fn below(&mut self, bound: u32) -> u32 {
        whole(self.unit() * f64::from(bound) - 0.5).min(bound - 1)
    }

    /// A factor around 1 with a long tail to the right.
    fn spread(&mut self, width: f64) -> f64 {
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        (width.min(1.2) * normal).exp()
    }
}
