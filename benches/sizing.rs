//! Sizing: the largest load of one replica within its targets, with a batch of 256 and a queue of
//! 2,560.

use std::num::NonZeroU32;

use criterion::{Criterion, criterion_group, criterion_main};
use optimizer::queueing::{
    Concurrency, DEFAULT_TOKEN_BUDGET, IterationCosts, Replica, RequestShape, ServiceModel,
    TailTarget, Targets,
};
use optimizer::units::{Fraction, Seconds, Tokens};

const MAX_BATCH: NonZeroU32 = NonZeroU32::new(256).unwrap();
const MAX_QUEUE: u32 = 2560;

/// Llama-3.1-8B on one H100, with the latency targets of a chat.
fn bench(c: &mut Criterion) {
    let costs = IterationCosts {
        overhead: Seconds::from_millis(6.711_34),
        compute_per_token: Seconds::from_millis(0.024_17),
        read_per_token: Seconds::from_millis(4.538e-5),
    };
    let model = ServiceModel::V2 { costs, token_budget: DEFAULT_TOKEN_BUDGET };
    let shape = RequestShape { input: Tokens::new(1024), output: Tokens::new(256) };
    let build =
        || Replica::new(model, shape, MAX_BATCH, MAX_QUEUE).expect("there is such a replica");
    let targets = |ttft, itl| Targets {
        ttft: Some(Seconds::from_millis(ttft)),
        itl: Some(Seconds::from_millis(itl)),
        ..Targets::default()
    };
    let tail = Targets {
        ttft: None,
        ttft_tail: Some(TailTarget {
            share: Fraction::new(0.95),
            within: Seconds::from_millis(200.0),
        }),
        ..targets(0.0, 50.0)
    };
    let mut group = c.benchmark_group("sizing");
    group.bench_function("build", |b| b.iter(build));
    for (name, targets) in [
        ("build and size, ITL binds", targets(200.0, 15.0)),
        ("build and size, TTFT binds", targets(200.0, 50.0)),
        ("build and size, 95% of TTFT bind", tail),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| build().size(&targets).expect("the targets are within reach"));
        });
    }
    group.bench_function("optimal concurrency", |b| {
        let targets = targets(200.0, 15.0);
        b.iter(|| Concurrency::optimal(model, shape, MAX_BATCH, MAX_QUEUE, &targets));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
