//! One replica on one core: the price of a chat request, in the engine that jumps from event to
//! event and in the one that computes every step.

use benches::{LLAMA_8B_H100, chat, llama_8b_h100_config, mooncake, serve};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use optimizer::units::RequestRate;
use simulator::engine::{Engine, Stepwise};

fn bench(c: &mut Criterion) {
    let config = llama_8b_h100_config();
    let mut group = c.benchmark_group("engine");
    group.sample_size(20);
    for (count, rate, output_factor, name) in [
        (100_000, 12.0, 1, "12 chat requests/s"),
        // The same tokens per second, in a tenth of the requests.
        (100_000, 1.2, 10, "1.2 requests/s, ten times the output"),
        (100_000, 40.0, 1, "overload, 40 chat requests/s"),
    ] {
        let arrivals = chat(count, RequestRate::new(rate), output_factor);
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(format!("jumping, {name}"), |b| {
            b.iter(|| serve(&mut Engine::new(config, LLAMA_8B_H100), &arrivals));
        });
    }
    match mooncake(4, 0.5) {
        Some(arrivals) => {
            group.throughput(Throughput::Elements(arrivals.len() as u64));
            group.bench_function("jumping, Mooncake conversation with prefixes", |b| {
                b.iter(|| serve(&mut Engine::new(config, LLAMA_8B_H100), &arrivals));
            });
        }
        None => eprintln!("no Mooncake trace: PLIMSOLL_DATA names no folder that has it"),
    }
    let arrivals = chat(5_000, RequestRate::new(12.0), 1);
    group.throughput(Throughput::Elements(5_000));
    group.bench_function("stepwise, 12 chat requests/s", |b| {
        b.iter(|| serve(&mut Stepwise::new(config, LLAMA_8B_H100), &arrivals));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
