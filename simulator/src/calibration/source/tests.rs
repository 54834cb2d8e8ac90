use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::calibration::load::Arrivals;
use crate::calibration::source::prometheus::{QueryRange, fetch};

/// Reads a folder with these files, or the file if there is but one without a folder.
fn read(files: &[(&str, &str)], options: &ReadOptions) -> Result<Measurements, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let path = match files {
        [(name, _)] if !name.starts_with("stage") => folder.path().join(name),
        _ => folder.path().to_owned(),
    };
    let short = |text: &str| {
        let text = text.replace(&format!("{}/", folder.path().display()), "");
        let path = folder.path();
        text.replace(&path.display().to_string(), "DIR").replace(&super::short(path), "DIR")
    };
    Measurements::read(&[path], options)
        .map(|mut read| {
            for stage in &mut read.stages {
                stage.name = short(&stage.name);
            }
            read.notes = read.notes.iter().map(|note| short(note)).collect();
            read
        })
        .map_err(|error| short(&error.to_string()))
}

const STAGE: &str = r#"{
  "load_summary": {"count": 4800, "requested_rate": 8.0, "achieved_rate": 8.0},
  "successes": {
    "count": 4800,
    "latency": {"request_latency": {"mean": 2.5}, "time_to_first_token": {"mean": 0.03}},
    "throughput": {"requests_per_sec": 7.98},
    "prompt_len": {"mean": 600.0}, "output_len": {"mean": 209.0}
  },
  "failures": {"count": 0}
}"#;

const PROFILE: &str = "
load: {type: constant, stages: [{rate: 8, duration: 600}]}
data:
  type: shared_prefix
  shared_prefix: {system_prompt_len: 100, question_len: 480, output_len: 248}
server: {model_name: my/model, ignore_eos: true}
";

#[test]
fn a_stage_of_inference_perf_is_read_with_its_description() {
    let files = [
        ("stage_0_lifecycle_metrics.json", STAGE),
        ("profile.yaml", PROFILE),
        ("exp-config.yaml", "{model: other, tensor_parallelism: 2, max_num_seqs: 128}"),
    ];
    let found = read(&files, &ReadOptions::default()).unwrap();
    let expected = LoadStage {
        name: "DIR/stage_0_lifecycle_metrics.json".to_owned(),
        rate: 8.0,
        arrivals: Arrivals::Constant,
        prompt_tokens: 600.0,
        // Six whole blocks of 16 tokens.
        cached_fraction: 0.16,
        output_tokens: 248.0,
        ttft: Some(0.03),
        tpot: 2.47 / 247.0,
        e2e: Some(2.5),
    };
    assert_eq!(found.stages, [expected]);
    assert_eq!(found.server.model.as_deref(), Some("other"));
    assert_eq!((found.server.tensor_parallel, found.server.max_num_seqs), (Some(2), Some(128)));

    let options = ReadOptions { cached_fraction: Some(0.5), ..ReadOptions::default() };
    let bare = read(&[files[0]], &options).unwrap();
    assert_eq!((bare.stages[0].cached_fraction, bare.stages[0].output_tokens), (0.5, 209.0));
}

#[test]
fn a_stage_that_is_not_steady_is_left_out_and_counted() {
    let check = |part: &str, instead: &str, expected: &str| {
        assert_eq!(STAGE.matches(part).count(), 1, "{part}");
        let stage = STAGE.replace(part, instead);
        let files = [("stage_0_lifecycle_metrics.json", &*stage)];
        let found = read(&files, &ReadOptions::default()).unwrap();
        assert_eq!((found.files[0].used, found.files[0].left_out), (0, 1));
        assert_eq!(
            found.notes,
            [format!("DIR/stage_0_lifecycle_metrics.json: left out: {expected}")]
        );
    };
    check("7.98", "4.0", "overloaded: 50 % answered in time, and the first token takes 0.03 s");
    check(
        r#""failures": {"count": 0}"#,
        r#""failures": {"count": 4800}"#,
        "overloaded: 50 % answered in time, and the first token takes 0.03 s",
    );
    check(
        r#""mean": 0.03"#,
        r#""mean": 2.0"#,
        "overloaded: 100 % answered in time, and the first token takes 2.00 s",
    );
    check("209.0", "1.0", "output tokens 1, not above 1");
}

#[test]
fn broken_files_are_named_with_line_and_field() {
    let check = |name: &str, content: &str, expected: &str| {
        let error = read(&[(name, content)], &ReadOptions::default()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    };
    let stage = STAGE.replace("\"mean\": 2.5", "\"mean\": \"fast\"");
    check(
        "stage_0_lifecycle_metrics.json",
        &stage,
        "stage_0_lifecycle_metrics.json:5: successes.latency.request_latency.mean: invalid type: \
         string \"fast\", expected f64",
    );
    check(
        "a.json",
        "{\"benchmarks\": [{\"metrics\": {}}]}",
        "a.json:1: benchmarks[0].metrics: missing field",
    );
    check("a.json", "{\"mean_ttft_ms\": 1}", "a.json:1: missing field `request_rate`");
    check(
        "a.json",
        "{\"other\": 1}",
        "a.json: expected a folder with requests.jsonl and meta.json, a",
    );
    check("a.json", "no JSON", "a.json: expected a folder");
    check(
        "a.json",
        "{\"status\": \"error\", \"error\": \"too many points\", \"data\": null}",
        "a.json: status: too many points — expected success",
    );
    check(
        "a.json",
        "{\"status\": \"success\", \"data\": {\"resultType\": \"vector\", \"result\": []}}",
        "a.json: data.resultType: vector — expected matrix, of a range query",
    );
    let absent = Measurements::read(&["/absent".into()], &ReadOptions::default()).unwrap_err();
    assert!(absent.to_string().starts_with("/absent: cannot be read: "), "{absent}");
    let empty = tempfile::tempdir().unwrap();
    let error = Measurements::read(&[empty.path().to_owned()], &ReadOptions::default());
    assert!(matches!(error, Err(CalibrationError::Unrecognized(_))), "{error:?}");
}

#[test]
fn a_benchmark_of_guidellm_is_a_stage() {
    let metric =
        |name: &str, mean: f64| format!("\"{name}\": {{\"successful\": {{\"mean\": {mean}}}}}");
    let metrics = [
        metric("requests_per_second", 4.0),
        metric("request_latency", 2.0),
        metric("prompt_token_count", 256.0),
        metric("output_token_count", 128.0),
        metric("time_to_first_token_ms", 40.0),
        metric("inter_token_latency_ms", 15.0),
    ];
    let report = |place: &str, kind: &str, rate: f64| {
        format!(
            "{{\"benchmarks\": [{{\"{place}\": {{\"strategy\": {{\"type_\": \"{kind}\", \
             \"rate\": {rate}}}}}, \"metrics\": {{{}}}}}]}}",
            metrics.join(", ")
        )
    };
    let stages = |place: &str, kind: &str, rate: f64| {
        read(&[("g.json", &report(place, kind, rate))], &ReadOptions::default()).unwrap().stages
    };
    let expected = LoadStage {
        name: "g.json benchmark 0".to_owned(),
        rate: 4.0,
        arrivals: Arrivals::Poisson,
        prompt_tokens: 256.0,
        cached_fraction: 0.0,
        output_tokens: 128.0,
        ttft: Some(0.04),
        tpot: 0.015,
        e2e: Some(2.0),
    };
    let constant = LoadStage { arrivals: Arrivals::Constant, ..expected.clone() };
    assert_eq!(stages("args", "poisson", 4.0), [expected]);
    assert_eq!(stages("config", "constant", 4.0), [constant]);
    assert_eq!(stages("config", "constant", 8.0), []);
    assert_eq!(stages("config", "throughput", 4.0), []);
}

#[test]
fn a_benchmark_of_vllm_at_no_rate_is_no_stage() {
    let result = |rate: &str, more: &str| {
        format!(
            "{{\"request_rate\": {rate}, \"completed\": 100, \"total_input_tokens\": 25600, \
             \"total_output_tokens\": 12800, \"request_throughput\": 3.0, \"mean_ttft_ms\": 40, \
             \"mean_tpot_ms\": 15{more}}}"
        )
    };
    let rates = |content: &str| -> Vec<f64> {
        let found = read(&[("b.json", content)], &ReadOptions::default()).unwrap();
        found.stages.iter().map(|stage| stage.rate).collect()
    };
    assert_eq!(rates(&result("4.0", "")), [4.0]);
    assert_eq!(rates(&result("\"inf\"", "")), [0.0; 0]);
    assert_eq!(rates(&result("\"inf\"", ", \"max_concurrency\": 8")), [3.0]);
    assert_eq!(rates(&result("4.0", ", \"failed\": 50")), [0.0; 0]);
    let two = format!("{}\n{}", result("4.0", ""), result("5.0", ""));
    assert_eq!(rates(&two), [4.0, 5.0]);
}

/// Two replicas, one of which starts anew, at three times a minute apart. In the first minute there
/// are 120 + 60 requests, each with 500 prompt tokens and 100 output tokens.
fn answer(between_tokens: &str) -> String {
    let series = |name: &str, replica: &str, values: [f64; 3]| {
        let [a, b, c] = values;
        format!(
            "{{\"metric\": {{\"__name__\": \"vllm:{name}\", \"model_name\": \"m\", \
             \"instance\": \"{replica}\"}}, \
             \"values\": [[1767225600, \"{a}\"], [1767225660, \"{b}\"], [1767225720, \"{c}\"]]}}"
        )
    };
    let counters = |replica: &str, requests: [f64; 3]| {
        let times = |factor: f64| requests.map(|requests| requests * factor);
        [
            series("time_to_first_token_seconds_count", replica, requests),
            series("time_to_first_token_seconds_sum", replica, times(0.05)),
            series(&format!("{between_tokens}_seconds_count"), replica, times(99.0)),
            series(&format!("{between_tokens}_seconds_sum"), replica, times(99.0 * 0.02)),
            series("prompt_tokens_total", replica, times(500.0)),
            series("generation_tokens_total", replica, times(100.0)),
            series("prefix_cache_queries_total", replica, times(500.0)),
            series("prefix_cache_hits_total", replica, times(125.0)),
            series("num_requests_running", replica, [3.0; 3]),
        ]
        .join(", ")
    };
    let all = [counters("a", [0.0, 120.0, 240.0]), counters("b", [100.0, 160.0, 30.0])];
    format!(
        "{{\"status\": \"success\", \"data\": {{\"resultType\": \"matrix\", \"result\": [{}]}}}}",
        all.join(", ")
    )
}

#[track_caller]
fn check_stages(found: &Measurements) {
    let rates: Vec<f64> = found.stages.iter().map(|stage| stage.rate).collect();
    // The second replica had 30 since it was reset.
    assert_eq!(rates, [180.0 / 60.0 / 2.0, 150.0 / 60.0 / 2.0]);
    let stage = &found.stages[0];
    assert_eq!((stage.prompt_tokens, stage.output_tokens), (500.0, 100.0));
    assert_eq!((stage.cached_fraction, stage.e2e), (0.25, None));
    assert!((stage.ttft.unwrap() - 0.05).abs() < 1e-12 && (stage.tpot - 0.02).abs() < 1e-12);
    let period = ("2026-01-01T00:00:00Z".to_owned(), "2026-01-01T00:02:00Z".to_owned());
    assert_eq!(found.files[0].period, Some(period));
    assert_eq!(found.server.model.as_deref(), Some("m"));
}

#[test]
fn counters_are_stages_by_their_increase() {
    for name in ["inter_token_latency", "time_per_output_token"] {
        let found = read(&[("p.json", &answer(name))], &ReadOptions::default()).unwrap();
        check_stages(&found);
    }
    let empty = r#"{"status": "success", "data": {"resultType": "matrix", "result": []}}"#;
    let error = read(&[("p.json", empty)], &ReadOptions::default()).unwrap_err();
    let expected = "p.json: data.result: 0 times — expected at least two times of vLLM's counters";
    assert_eq!(error, expected);
}

#[test]
fn counters_of_several_models_are_not_mixed() {
    let two = answer("inter_token_latency").replacen("\"m\"", "\"n\"", 9);
    let read = |model: Option<&str>| {
        let options = ReadOptions { model: model.map(str::to_owned), ..ReadOptions::default() };
        read(&[("p.json", &two)], &options)
    };
    let expected = "p.json: data.result[].metric.model_name: m, n — expected one model, or --model \
                    with one of them";
    assert_eq!(read(None).unwrap_err(), expected);
    assert_eq!(read(Some("other")).unwrap_err(), expected);
    let found = read(Some("n")).unwrap();
    assert_eq!(found.server.model.as_deref(), Some("n"));
    // The first replica alone.
    assert_eq!(found.stages[0].rate.to_bits(), 2.0_f64.to_bits());
}

/// A server that gives one answer, and the first line of what it was asked.
fn serve(status: &'static str, body: String) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .unwrap();
        head[0].clone()
    });
    (url, server)
}

fn range() -> QueryRange {
    let [from, to, step] = ["2026-01-01T00:00:00Z", "1767225720", "60s"].map(str::to_owned);
    QueryRange { from, to, step }
}

#[test]
fn prometheus_is_asked_for_the_counters_of_a_model() {
    let (url, server) = serve("200 OK", answer("inter_token_latency"));
    let options = ReadOptions { model: Some("m".to_owned()), ..ReadOptions::default() };
    check_stages(&fetch(&url, &range(), &options).unwrap());
    let asked = server.join().unwrap();
    assert!(asked.starts_with("GET /api/v1/query_range?query=%7B__name__"), "{asked}");
    assert!(asked.contains("model_name") && asked.contains("&step=60s"), "{asked}");
    assert!(asked.contains("end=1767225720"), "{asked}");
}

#[test]
fn the_reason_of_a_refusal_is_told() {
    let refusal =
        "{\"status\": \"error\", \"errorType\": \"bad_data\", \"error\": \"invalid step\"}";
    let (url, server) = serve("400 Bad Request", refusal.to_owned());
    let error = fetch(&url, &range(), &ReadOptions::default()).unwrap_err().to_string();
    server.join().unwrap();
    assert!(error.ends_with("/api/v1/query_range: 400 Bad Request: invalid step"), "{error}");
    // Nobody listens there any more.
    let error = fetch(&url, &range(), &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, CalibrationError::Http { .. }), "{error}");
}
