//! One replica, step by step: the price of a request when every step is computed.

use std::hint::black_box;

use benches::{CHAT_LENGTHS, Counter, LLAMA_8B_H100, llama_8b_h100_config};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use optimizer::units::Timestamp;
use simulator::engine::{Engine, Request, RequestId};

/// Keeps `concurrency` requests in flight until `requests` have finished.
fn serve(requests: u32, concurrency: u32) -> u64 {
    let config = llama_8b_h100_config().expect("the arguments are valid");
    let mut engine = Engine::new(config, LLAMA_8B_H100);
    let (mut counter, mut now, mut submitted) = (Counter::default(), Timestamp::ZERO, 0);
    while counter.finished < u64::from(requests) {
        while submitted < requests && engine.load() < concurrency as usize {
            let (prompt_tokens, output_tokens) =
                CHAT_LENGTHS[submitted as usize % CHAT_LENGTHS.len()];
            let request = Request { id: RequestId(submitted), prompt_tokens, output_tokens };
            engine.submit(request).expect("the prompt fits the context");
            submitted += 1;
        }
        let step = engine.begin_step(now, &mut counter).expect("requests are in flight");
        now += step;
        engine.end_step(now, &mut counter);
    }
    counter.gaps
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for concurrency in [1, 32, 128] {
        let requests = 2_000;
        group.throughput(Throughput::Elements(u64::from(requests)));
        group.bench_function(format!("chat requests, {concurrency} in flight"), |b| {
            b.iter(|| serve(black_box(requests), concurrency));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
