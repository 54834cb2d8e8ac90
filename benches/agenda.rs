//! The event queue: pop one event, schedule another, with a given number pending.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use optimizer::units::Timestamp;
use simulator::kernel::{Agenda, Event};

#[derive(Debug)]
struct Tick(u32);

impl Event for Tick {
    fn rank(&self) -> u8 {
        0
    }
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("agenda");
    for pending in [100_u32, 10_000] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("pop and schedule, {pending} pending"), |b| {
            let mut agenda = Agenda::new();
            // A full-period generator spreads the events without a random crate.
            let mut state = 1_u64;
            let mut delay = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> 44
            };
            for id in 0..pending {
                agenda.schedule(Timestamp::from_nanos(delay()), Tick(id));
            }
            b.iter(|| {
                let (now, Tick(id)) = agenda.pop().expect("events are pending");
                agenda.schedule(Timestamp::from_nanos(now.as_nanos() + delay()), Tick(id))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
