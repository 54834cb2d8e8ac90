//! What traffic a scenario describes, and what is wrong with it.

use proptest::prelude::*;

use super::*;
use crate::workload::{Arrival, Workload};

/// The sound scenario with another description of traffic, in the place of a line.
fn with_traffic(traffic: &str) -> String {
    let generated = SOUND.lines().find(|line| line.contains("generated")).unwrap();
    SOUND.replace(generated, traffic)
}

#[track_caller]
fn workload(traffic: &str) -> Workload {
    let text = with_traffic(traffic);
    let scenario = load(&text, &Overrides::default());
    scenario.unwrap_or_else(|problems| panic!("{problems}\n{text}")).setup.models.remove(0).workload
}

fn problems(traffic: &str) -> String {
    load(&with_traffic(traffic), &Overrides::default()).map(drop).unwrap_err().to_string()
}

#[test]
fn every_form_of_traffic_is_understood() {
    for (traffic, requests) in [
        ("      generated: {preset: chat, rate: 5/s}", 2800..3200),
        ("      generated: {preset: code, rate: 5/s, prompt: {constant: 100}}", 500..6000),
        ("      generated: {preset: summarization, rate: 60/min}", 500..700),
        ("      generated: {preset: rag, arrivals: {constant: {rate: 1/s}}}", 600..601),
        ("      generated: {preset: reasoning, rate: 1/s}", 400..800),
        ("      generated: {preset: agents, users: {count: 7}}", 7..8),
        (
            "      generated: {rate: 2/s, prompt: {normal: {mean: 500, deviation: 100, max: 900}}, \
             output: {geometric: {mean: 200}}, correlation: 0.4, profile: [{ramp: {start: 0s, end: \
             10m, from: 0, to: 2}}, {flashCrowd: {at: 5m, peak: 3, rise: 10s, decay: 1m}}]}",
            1200..1700,
        ),
        (
            "      generated: {arrivals: {mmpp: {states: [{rate: 1/s, meanDuration: 1m}, {rate: 9/s, \
             meanDuration: 20s}]}}, rate: 3/s, mixture: [{prompt: {constant: 10}, output: \
             {constant: 5}}, {weight: 2, prompt: {constant: 20}, output: {constant: 1}}], shared: \
             [{tokens: {constant: 100}}]}",
            900..2700,
        ),
        (
            "      generated: {users: {count: 3, rampUp: 1m, pause: {exponential: {mean: 5s}}}, \
             prompt: {constant: 10}, output: {constant: 5}, session: {turns: {geometric: {mean: 4}}, \
             think: {constant: 5s}}}",
            3..4,
        ),
    ] {
        let found = workload(traffic).count();
        assert!(requests.contains(&found), "{found} requests of{traffic}");
    }
}

/// Lengths keep to what the smallest replica can hold.
#[test]
fn the_context_bounds_what_is_generated() {
    let text = with_traffic("      generated: {preset: reasoning, rate: 1/s}");
    let engine = set(&["models[0].variants[0].engine={maxModelLen: 3000}"]);
    let workload = load(&text, &engine).unwrap().setup.models.remove(0).workload;
    let longest = workload.map(|arrival| (arrival.prompt + arrival.output).get()).max();
    assert_eq!(longest, Some(3000));
    let as_drawn = set(&[
        "models[0].variants[0].engine={maxModelLen: 3000}",
        "models[0].traffic.generated.fitContext=false",
    ]);
    let workload = load(&text, &as_drawn).unwrap().setup.models.remove(0).workload;
    assert!(workload.map(|arrival| arrival.prompt.get()).max() > Some(10_000));
}

const CLIENTS: &str = "      clients:
        - name: web
          class: interactive
          generated: {preset: chat, rate: 2/s}
        - name: nightly
          class: batch
          tenant: acme
          generated: {preset: summarization, rate: 1/s}
    classes:
      - {name: interactive}
      - {name: batch, priority: 10, slo: {ttft: 1m, tpot: 1s}}";

#[test]
fn clients_have_their_classes() {
    let workload = workload(CLIENTS);
    let [web, nightly] = workload.clients() else { panic!("{:?}", workload.clients()) };
    assert_eq!((web.name.as_str(), web.class.priority, web.class.slo), ("web", 0, None));
    assert_eq!((nightly.class.name.as_str(), nightly.class.priority), ("batch", 10));
    assert_eq!(nightly.class.slo.map(|slo| slo.ttft), Some(Seconds::from_minutes(1.0)));
    assert_eq!(nightly.tenant.as_deref(), Some("acme"));
}

#[test]
fn one_more_client_leaves_the_others_alone() {
    let of = |name: &str, traffic: &str| -> Vec<Arrival> {
        let mut workload = workload(traffic);
        let client = workload.clients().iter().position(|client| client.name == name).unwrap();
        let sent = std::iter::from_fn(|| workload.pop());
        let own = sent.filter(|(_, origin)| origin.client as usize == client);
        own.map(|(arrival, _)| arrival).collect()
    };
    let before =
        "        - {name: other, generated: {preset: code, rate: 1/s}}\n        - name: web";
    let more = CLIENTS.replace("        - name: web", before);
    assert_eq!(of("web", CLIENTS), of("web", &more));
    assert_eq!(of("nightly", CLIENTS), of("nightly", &more));
}

#[test]
fn every_problem_of_generated_traffic_is_shown() {
    let all = [
        "{preset: chat}",
        "{preset: poetry, rate: 1/s}",
        "{rate: 0/s, prompt: {constant: 1}, output: {constant: 1}}",
        "{rate: 1/s, prompt: {constant: 1}}",
        "{preset: chat, rate: 1/s, users: {count: 0}}",
        "{preset: chat, rate: 1/s, correlation: 2}",
        "{preset: chat, arrivals: {onOff: {burstRate: 0/s, on: 0s, off: 1s}}}",
        "{preset: chat, arrivals: {gamma: {rate: 1/s}}}",
        "{preset: chat, rate: 1/s, profile: [{diurnal: {peakAt: 1h, peakToTrough: 0.5}}]}",
        "{preset: chat, rate: 1/s, mixture: [], prompt: {constant: 1}}",
        "{preset: chat, rate: 1/s, shared: [{tokens: {constant: 0}, perPrompt: 2}]}",
        "{preset: chat, rate: 1/s, shared: [{tokens: {constant: 200000}}]}",
        "{preset: chat, rate: 1/s, session: {turns: {constant: 0}, think: {lognormal: {median: 0s, p90: 1s, max: 1s}}}}",
        "{preset: chat, rate: 1/s, session: {think: {constant: 1s}}}",
    ];
    let shown: Vec<_> =
        all.iter().map(|generated| problems(&format!("      generated: {generated}"))).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn every_problem_of_clients_is_shown() {
    let all = [
        "      clients: []",
        "      clients: [{name: a}]",
        "      clients: [{name: a, generated: {preset: chat, rate: 1/s}, trace: {file: t.csv}}]",
        "      clients: [{name: a, class: gold, generated: {preset: chat, rate: 1/s}}]",
        "      clients:
        - {name: a, class: god, generated: {preset: chat, rate: 1/s}}
        - {name: a, generated: {preset: chat, rate: 1/s}}
    classes: [{name: gold, slo: {ttft: 0s, tpot: 1s}}, {name: gold}]",
    ];
    let shown: Vec<_> = all.iter().map(|traffic| problems(traffic)).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

/// Numbers that may be nonsense.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..5.0_f64, Just(1e-9), Just(1e9)]
}

fn generated() -> impl Strategy<Value = String> {
    let process = prop_oneof![
        (number(), number()).prop_map(|(r, cv)| format!("gamma: {{rate: {r}/h, cv: {cv}}}")),
        (number(), number()).prop_map(|(r, cv)| format!("weibull: {{rate: {r}/s, cv: {cv}}}")),
        (number(), number(), number())
            .prop_map(|(r, on, off)| format!("onOff: {{burstRate: {r}/s, on: {on}s, off: {off}s}}")),
        (number(), number(), number()).prop_map(|(r, a, b)| format!(
            "mmpp: {{states: [{{rate: {r}/min, meanDuration: {a}s}}, {{rate: 1/s, meanDuration: {b}s}}]}}"
        )),
    ];
    let factor = prop_oneof![
        (number(), number())
            .prop_map(|(p, r)| format!("diurnal: {{period: {p}s, peakAt: 1s, peakToTrough: {r}}}")),
        (number(), number(), number())
            .prop_map(|(s, e, t)| format!("ramp: {{start: {s}s, end: {e}s, to: {t}}}")),
        (number(), number(), number()).prop_map(|(a, p, d)| format!(
            "flashCrowd: {{at: {a}s, peak: {p}, rise: {d}s, decay: {d}s}}"
        )),
        (number(), number()).prop_map(|(p, f)| format!(
            "steps: {{period: {p}s, steps: [{{from: 0s, factor: {f}}}]}}"
        )),
    ];
    let length = prop_oneof![
        (0..3000_u32).prop_map(|c| format!("constant: {c}")),
        (0..300_u32, 0..300_u32).prop_map(|(a, b)| format!("uniform: {{min: {a}, max: {b}}}")),
        (0..300_u32, 0..300_u32, 0..300_u32)
            .prop_map(|(m, d, x)| format!("normal: {{mean: {m}, deviation: {d}, max: {x}}}")),
        (0..300_u32, 0..300_u32)
            .prop_map(|(a, b)| format!("quantiles: {{min: {a}, p50: {b}, max: 300}}")),
    ];
    let zipf = (0..5_u32, 0..4_u32, number())
        .prop_map(|(n, k, z)| format!("texts: {n}, perPrompt: {k}, zipf: {z}"));
    let session = (0..4_u32, number()).prop_map(|(n, t)| {
        format!("turns: {{constant: {n}}}, think: {{exponential: {{mean: {t}s}}}}")
    });
    (process, prop::collection::vec(factor, 0..3), length.clone(), length, number(), zipf, session)
        .prop_map(|(process, factors, prompt, output, correlation, zipf, session)| {
            let factors: Vec<_> = factors.iter().map(|factor| format!("{{{factor}}}")).collect();
            format!(
                "      generated: {{arrivals: {{{process}}}, profile: [{}], prompt: {{{prompt}}}, \
                 output: {{{output}}}, correlation: {correlation}, shared: [{{tokens: {{{prompt}}}, \
                 {zipf}}}], session: {{{session}}}}}",
                factors.join(", ")
            )
        })
}

proptest! {
    // Each case reads the catalog.
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Traffic is refused with its problems, or it runs; it never panics or stands still.
    #[test]
    fn traffic_is_refused_or_runs(traffic in generated()) {
        let duration = set(&["duration=20s"]);
        if let Ok(scenario) = load(&with_traffic(&traffic), &duration) {
            let mut workload = scenario.setup.models.into_iter().next().unwrap().workload;
            let mut last = optimizer::units::Timestamp::ZERO;
            for _ in 0..200 {
                let Some((arrival, origin)) = workload.pop() else { break };
                prop_assert!(arrival.at >= last && arrival.at.as_seconds() < 20.0);
                last = arrival.at;
                workload.ended(origin, last, arrival.prompt.get() % 7 > 0);
            }
        }
    }
}
