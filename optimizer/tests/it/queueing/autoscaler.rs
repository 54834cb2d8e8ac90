//! Vectors of the workload-variant-autoscaler: group D of 0.9 (law V1, QM-01 to QM-12) and group K
//! of 0.5 (law V0), as far as they are about a replica. Numbers are of 32-bit floats.

use std::num::NonZeroU32;

use optimizer::queueing::{Replica, SizingError, THROUGHPUT_HEADROOM, Targets};
use optimizer::units::{RequestRate, Seconds};

use super::{model, near, shape};

/// α 1, β 0.01, γ 0.001 ms, L 100, m 10, N 8, Q 16.
fn small() -> Replica {
    let v1 = model("V1", &[1.0, 0.01, 0.001], None);
    Replica::new(v1, shape(100, 10), NonZeroU32::new(8).unwrap(), 16).unwrap()
}

fn targets(ttft: f64, itl: f64) -> Targets {
    let target = |millis: f64| (millis > 0.0).then(|| Seconds::from_millis(millis));
    Targets { ttft: target(ttft), itl: target(itl), ..Targets::default() }
}

/// The largest rate within the targets, in milliseconds; 0 is no target.
fn rate(replica: &Replica, ttft: f64, itl: f64) -> f64 {
    replica.size(&targets(ttft, itl)).unwrap().arrival().value()
}

/// QM-01 and QM-02.
#[test]
fn prefill_and_decode_are_those_of_group_d() {
    let check = |params: &[f64], (input, output), batch, decodes: bool, expected| {
        let (law, shape) = (model("V1", params, None), shape(input, output));
        let time = if decodes { law.decode_step(shape, batch) } else { law.prefill(shape, batch) };
        near(&format!("{params:?} {batch}"), time.as_millis(), expected, 1e-6, 0.0);
    };
    let prefill = [10.0, 0.01, 0.001];
    check(&prefill, (0, 0), 4.0, false, 0.0);
    check(&prefill, (1000, 0), 1.0, false, 32.0);
    check(&prefill, (2000, 0), 8.0, false, 208.0);
    check(&prefill, (500, 0), 2.5, false, 29.25);
    for (batch, expected) in [(1.0, 1.23), (4.0, 1.575), (8.0, 2.035), (2.5, 1.4025)] {
        check(&[1.0, 0.1, 0.01], (1, 1), batch, true, expected);
    }
}

/// QM-03 and QM-04. There, the smallest rate is a thousandth of µ(1); here it is none.
#[test]
fn service_rates_are_those_of_group_d() {
    let v1 = model("V1", &[1.0, 0.01, 0.001], None);
    let expected = [64.4953, 112.6126, 149.8876, 179.6138, 203.8736, 224.0478, 241.0883, 255.6728];
    for (batch, expected) in (1..).filter_map(NonZeroU32::new).zip(expected) {
        let rate = v1.service_rate(shape(100, 10), batch).unwrap().value();
        near(&format!("µ({batch})"), rate, expected, 1e-6, 0.0);
    }
    near("maximum", small().max_rate().value(), 255.417_079, 1e-6, 0.0);
}

/// QM-05 and QM-06.
#[test]
fn performance_is_that_of_group_d() {
    let (qm5, qm6) = (RequestRate::new(127.708_539), RequestRate::new(229.875_371));
    let (light, heavy) = (small().performance(qm5), small().performance(qm6));
    for (what, actual, expected) in [
        ("QM-05 throughput", light.steady.throughput.value(), 127.70852),
        ("QM-05 response", light.steady.response().as_millis(), 21.89142),
        ("QM-05 wait", light.steady.wait.as_millis(), 0.19383),
        ("QM-05 service", light.steady.service.as_millis(), 21.69759),
        ("QM-05 in service", light.steady.in_service, 2.77097),
        ("QM-05 prefill", light.prefill.as_millis(), 2.66805),
        ("QM-05 ITL", light.itl.as_millis(), 1.90295),
        ("QM-05 TTFT", light.ttft.as_millis(), 4.76484),
        ("QM-05 utilization", light.steady.utilization.value(), 0.34637),
        ("QM-06 throughput", heavy.steady.throughput.value(), 226.95077),
        ("QM-06 response", heavy.steady.response().as_millis(), 43.23392),
        ("QM-06 wait", heavy.steady.wait.as_millis(), 14.20499),
        ("QM-06 ITL", heavy.itl.as_millis(), 2.55784),
        ("QM-06 TTFT", heavy.ttft.as_millis(), 20.21339),
        ("QM-06 utilization", heavy.steady.utilization.value(), 0.82352),
    ] {
        near(what, actual, expected, 2e-5, 6e-6);
    }
}

/// QM-07, and J6 of 0.5. The original refuses no load and any above the maximum rate. Here no load
/// is the limit of light ones, and an overload is served as far as it goes, and says so. A negative
/// rate cannot be written.
#[test]
fn no_load_and_overload_have_an_answer() {
    let replica = small();
    let (idle, light) =
        (replica.performance(RequestRate::ZERO), replica.performance(RequestRate::new(1e-9)));
    near("TTFT", idle.ttft.value(), light.ttft.value(), 1e-9, 0.0);
    near("ITL", idle.itl.value(), light.itl.value(), 1e-9, 0.0);
    let over = replica.max_rate() * 1.1;
    let steady = replica.performance(over).steady;
    assert!(steady.throughput < replica.chain().full_rate() && steady.blocked.value() > 0.05);
}

/// QM-08 to QM-11.
#[test]
fn sizes_are_those_of_group_d() {
    let replica = small();
    near("QM-08 TTFT", rate(&replica, 8.0, 0.0), 183.1093, 1e-5, 0.0);
    near("QM-08 ITL", rate(&replica, 0.0, 3.0), 255.417, 1e-5, 0.0);
    let both = replica.size(&targets(8.0, 3.0)).unwrap();
    near("QM-08", both.performance.steady.throughput.value(), 183.0596, 1e-5, 0.0);

    near("QM-09 TTFT", rate(&replica, 6.0, 0.0), 160.3906, 1e-5, 0.0);
    near("QM-09 ITL", rate(&replica, 0.0, 2.0), 143.7385, 1e-5, 0.0);
    let both = replica.size(&targets(6.0, 2.0)).unwrap().performance;
    near("QM-09, TTFT at both", both.ttft.as_millis(), 5.22526, 1e-5, 0.0);
    near("QM-09, ITL at both", both.itl.as_millis(), 2.0, 1e-5, 0.0);

    let throughput = Targets { headroom: THROUGHPUT_HEADROOM, ..Targets::default() };
    let sizing = replica.size(&throughput).unwrap();
    near("QM-10", sizing.arrival().value(), 229.8754, 1e-5, 0.0);

    let error = replica.size(&targets(0.0, 1.0)).unwrap_err();
    assert!(matches!(error, SizingError::Itl { .. }), "{error}");
}

/// QM-12.
#[test]
fn a_large_replica_is_sized_as_in_group_d() {
    let v1 = model("V1", &[5.0, 0.05, 5e-5], None);
    let replica = Replica::new(v1, shape(1024, 256), NonZeroU32::new(256).unwrap(), 100).unwrap();
    near("maximum", replica.max_rate().value(), 11.8744, 1e-5, 0.0);
    near("TTFT", rate(&replica, 500.0, 0.0), 11.5991, 1e-5, 0.0);
    near("ITL", rate(&replica, 0.0, 50.0), 11.2712, 1e-5, 0.0);
    let both = replica.size(&targets(500.0, 50.0)).unwrap().performance;
    near("in service", both.steady.in_service, 145.408, 1e-5, 0.0);
    near("TTFT at both", both.ttft.as_millis(), 158.616, 1e-5, 0.0);
}

/// K3 and K4: without load, ITL is one decode step and TTFT the prefill of one token. The maximum
/// rate that the original tells there (K8) knows no token counts, and has no counterpart.
#[test]
fn without_load_latencies_are_those_of_group_k() {
    for (params, itl, ttft) in
        [([5.0, 2.0, 10.0, 1.5], 7.0, 11.5), ([3.0, 1.0, 8.0, 2.0], 4.0, 10.0)]
    {
        let v0 = model("V0", &params, None);
        near("ITL", v0.decode_step(shape(1, 1), 1.0).as_millis(), itl, 1e-12, 0.0);
        near("TTFT", v0.prefill(shape(1, 1), 1.0).as_millis(), ttft, 1e-12, 0.0);
    }
}

/// K5 to K7 and K9 to K12. The latencies are those of a replica with its share of the load; a
/// latency of 0 is not told.
#[test]
fn allocations_are_those_of_group_k() {
    struct Row {
        id: &'static str,
        params: [f64; 4],
        max_batch: u32,
        shape: (u64, u64),
        targets: (f64, f64),
        total: f64,
        rate: f64,
        replicas: u32,
        latencies: (f64, f64),
    }
    let test_gpu = [5.0, 2.0, 10.0, 1.5];
    let row = |id, params, max_batch, shape, targets| Row {
        id,
        params,
        max_batch,
        shape,
        targets,
        total: 0.0,
        rate: 0.0,
        replicas: 0,
        latencies: (0.0, 0.0),
    };
    let k5 = Row {
        total: 2.0,
        rate: 1.384_98,
        replicas: 2,
        latencies: (677.8, 13.863),
        ..row("K5", test_gpu, 16, (100, 200), (2000.0, 500.0))
    };
    let k7 = Row {
        total: 1.0,
        rate: 1.323_25,
        replicas: 1,
        latencies: (695.0, 13.809),
        ..row("K7", test_gpu, 12, (100, 200), (2000.0, 500.0))
    };
    let k9 = Row {
        total: 20.0,
        rate: 0.465_952,
        replicas: 43,
        ..row("K9", [20.28, 0.72, 0.0, 0.0], 4, (20, 200), (500.0, 24.0))
    };
    let h100 = [7.47, 0.044, 15.415, 0.000_337];
    let k10 = Row {
        total: 100.0,
        rate: 43.870,
        replicas: 3,
        latencies: (17.175, 9.2649),
        ..row("K10", h100, 512, (128, 128), (1000.0, 10.0))
    };
    let l40s = [22.619, 0.181, 226.19, 0.018];
    let k11 = Row {
        total: 10.0,
        rate: 9.6314,
        replicas: 2,
        latencies: (269.69, 26.037),
        ..row("K11", l40s, 512, (128, 128), (1000.0, 30.0))
    };
    let a100 = [20.58, 0.41, 5.2, 0.1];
    let k12 = Row {
        total: 1.0,
        rate: 0.815_596,
        replicas: 2,
        latencies: (104.27, 21.532),
        ..row("K12", a100, 4, (128, 128), (500.0, 24.0))
    };
    let replica = |row: &Row| {
        let max_batch = NonZeroU32::new(row.max_batch).unwrap();
        let (input, output) = row.shape;
        let v0 = model("V0", &row.params, None);
        Replica::new(v0, shape(input, output), max_batch, 10 * row.max_batch).unwrap()
    };
    near("K10 TTFT", rate(&replica(&k10), 1000.0, 0.0), 132.329, 1e-5, 0.0);
    for row in [k5, k7, k9, k10, k11, k12] {
        let (id, replica) = (row.id, replica(&row));
        let sizing = replica.size(&targets(row.targets.0, row.targets.1)).unwrap();
        near(id, sizing.performance.steady.throughput.value(), row.rate, 2e-5, 0.0);
        let replicas = sizing.replicas_for(RequestRate::new(row.total)).unwrap();
        assert_eq!(replicas.get(), row.replicas, "{id}");
        if row.latencies.0 > 0.0 {
            let share = RequestRate::new(row.total / replicas.as_f64());
            let performance = replica.performance(share);
            near(id, performance.ttft.as_millis(), row.latencies.0, 1e-4, 0.0);
            near(id, performance.itl.as_millis(), row.latencies.1, 1e-4, 0.0);
        }
    }
    let k6 = row("K6", test_gpu, 16, (100, 200), (1.0, 0.1));
    assert!(replica(&k6).size(&targets(1.0, 0.1)).is_err());
}
