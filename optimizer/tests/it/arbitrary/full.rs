//! Everything that can be reported.

use std::iter::Cycle;
use std::slice::Iter;

use optimizer::observation::{
    Demand, FleetObservation, GpuPool, Inventory, Lengths, ReplicaObservation, Role, Signal,
    VariantObservation,
};
use optimizer::slo::Slo;
use optimizer::step_time::StepTime;
use optimizer::units::{
    Bytes, Fraction, Gpus, MeanTokens, RequestCount, RequestRate, Seconds, StepRate, Timestamp,
    TokenRate, Tokens, Variation,
};

/// A source of numbers that may be missing.
struct Numbers<'a> {
    now: Timestamp,
    numbers: Cycle<Iter<'a, Option<f64>>>,
}

impl Numbers<'_> {
    fn next(&mut self) -> Option<f64> {
        *self.numbers.next().unwrap()
    }

    fn signal<T>(&mut self, of: impl Fn(f64) -> Option<T>) -> Signal<T>
    where
        T: Copy,
    {
        let value = self.next().and_then(of);
        value.map_or(Signal::Missing, |value| Signal::seen(value, self.now))
    }

    fn count(&mut self) -> u64 {
        // Saturates for the absurd ones.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as intended")]
        let count = self.next().unwrap_or(0.0) as u64;
        count
    }
}

/// Fills every signal of `fleet` that [`super::fleet`] leaves out.
pub(crate) fn fill(fleet: &mut FleetObservation, now: Timestamp, numbers: &[Option<f64>]) {
    let mut numbers = Numbers { now, numbers: numbers.iter().cycle() };
    for model in &mut fleet.models {
        model.demand = demand(&mut numbers);
        model.slo = numbers.next().and_then(|ttft| {
            let tpot = Seconds::checked(ttft / 20.0)?;
            Some(Slo { ttft: Seconds::checked(ttft)?, tpot })
        });
        for variant in &mut model.variants {
            fill_variant(variant, &mut numbers);
        }
    }
    if let Some(gpus) = numbers.next() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let total = Gpus::new(gpus as u32);
        let pool = GpuPool { total, used: Gpus::new(1) };
        fleet.inventory = Some(Inventory {
            gpus: Some([(super::id("H100"), pool)].into()),
            ..Inventory::default()
        });
    }
}

fn demand(numbers: &mut Numbers<'_>) -> Demand {
    let mut lengths = || Lengths {
        mean: numbers.signal(MeanTokens::checked),
        variation: numbers.signal(Variation::checked),
    };
    let (input, output) = (lengths(), lengths());
    Demand {
        arrival_rate: numbers.signal(RequestRate::checked),
        gateway_queue: numbers.signal(optimizer::units::QueueLength::checked),
        gateway_bytes: {
            let bytes = Bytes::new(numbers.count());
            numbers.signal(|_| Some(bytes))
        },
        recent_requests: numbers.signal(RequestCount::checked),
        burstiness: numbers.signal(Variation::checked),
        input,
        output,
    }
}

fn fill_variant(variant: &mut VariantObservation, numbers: &mut Numbers<'_>) {
    variant.role = match numbers.count() % 5 {
        0 => Role::Prefill,
        1 => Role::Decode,
        _ => Role::Both,
    };
    variant.cold_start = numbers.next().and_then(Seconds::checked);
    variant.engine.kv_capacity = numbers.next().map(|_| Tokens::new(numbers.count()));
    let coefficient = |numbers: &mut Numbers<'_>| {
        Seconds::checked(numbers.next().unwrap_or(0.0) / 1e6).unwrap_or(Seconds::ZERO)
    };
    variant.profile = numbers.next().map(|_| StepTime {
        overhead: coefficient(numbers),
        per_prompt_token: coefficient(numbers),
        per_sequence: coefficient(numbers),
        per_context_token: coefficient(numbers),
    });
    for replica in &mut variant.replicas {
        let capacity = Tokens::new(numbers.count());
        *replica = ReplicaObservation {
            kv_usage: replica.kv_usage,
            waiting: replica.waiting,
            replica: replica.replica.clone(),
            running: numbers.signal(optimizer::units::QueueLength::checked),
            kv_capacity: numbers.signal(|_| Some(capacity)),
            input_tokens: numbers.signal(MeanTokens::checked),
            output_tokens: numbers.signal(MeanTokens::checked),
            prefix_hits: numbers.signal(Fraction::checked),
            completions: numbers.signal(RequestRate::checked),
            prompt_rate: numbers.signal(TokenRate::checked),
            generation_rate: numbers.signal(TokenRate::checked),
            step_rate: numbers.signal(StepRate::checked),
            ttft: numbers.signal(Seconds::checked),
            itl: numbers.signal(Seconds::checked),
            queue_time: numbers.signal(Seconds::checked),
            prefill_time: numbers.signal(Seconds::checked),
            preemptions: numbers.signal(RequestRate::checked),
        };
    }
}
