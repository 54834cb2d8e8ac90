use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::*;

/// Two requests on a server that is described in full.
const META: &str = r#"{
  "model": "meta-llama/Llama-3.1-8B",
  "engine_kwargs": {"max_num_seqs": 4, "max_num_batched_tokens": 512, "max_model_len": 512},
  "kv_cache": {"num_gpu_blocks": 100, "block_size": 16},
  "hardware": {"device_name": "GPU 1"}
}"#;

const REQUESTS: &str = r#"{"input_toks": 100, "output_toks": 5, "arrival_time": 1000.0, "queued_ts": 10.5, "first_token_ts": 10.6, "last_token_ts": 10.8}
{"input_toks": 50, "output_toks": 3, "arrival_time": 1000.1, "queued_ts": 10.62, "first_token_ts": 10.7, "last_token_ts": 10.9}
"#;

/// A run with the layer timings of a made-up GPU, in which every layer takes 10 µs.
fn write(folder: &Path, meta: &str, requests: &str) {
    let layers = folder.join("layers");
    fs::create_dir_all(&layers).unwrap();
    fs::write(folder.join("meta.json"), meta).unwrap();
    fs::write(folder.join("requests.jsonl"), requests).unwrap();
    fs::write(folder.join("timeseries.csv"), "t,running,waiting\n0.05,1,0\n0.15,2,0\n").unwrap();
    let mut dense = "layer,tokens,time_us\n".to_owned();
    for layer in ["embedding", "layernorm", "qkv_proj", "rotary_emb", "o_proj", "final_layernorm"] {
        writeln!(dense, "{layer},1,10\n{layer},512,10").unwrap();
    }
    fs::write(layers.join("dense.csv"), dense).unwrap();
    let per_sequence = "layer,sequences,time_us\nlm_head,1,10\nsampler,1,10\n";
    fs::write(layers.join("per_sequence.csv"), per_sequence).unwrap();
    let attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n\
                     0,0,1,16,10\n0,0,1,512,10\n16,0,0,0,10\n512,0,0,0,10\n";
    fs::write(layers.join("attention.csv"), attention).unwrap();
}

fn read(meta: &str, requests: &str) -> Result<Run, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), meta, requests);
    Run::read(folder.path())
        .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_run_is_on_one_clock() {
    let run = read(META, REQUESTS).unwrap();
    assert_eq!((run.gpu.as_str(), run.engine.num_gpu_blocks), ("GPU 1", 100));
    assert_eq!(run.notes.len(), 1, "{:?}", run.notes);
    assert!(run.notes[0].starts_with("without prompts.jsonl "), "{:?}", run.notes);
    assert_eq!(run.prompts, None);
    let without =
        META.replace("\"block_size\"", "\"enable_prefix_caching\": false, \"block_size\"");
    assert_eq!(read(&without, REQUESTS).unwrap().notes, [""; 0]);
    let expected = [(0.0, 0.0, 0.1, 0.3), (0.1, 0.12, 0.2, 0.4)];
    for (request, (arrival, queued, first_token, last_token)) in run.requests.iter().zip(expected) {
        for (found, expected) in [
            (request.arrival, arrival),
            (request.queued, queued),
            (request.first_token, first_token),
            (request.last_token, last_token),
        ] {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }
}

#[test]
fn prompts_that_begin_alike_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), META, REQUESTS);
    let prompt =
        |tokens: u32| format!("{{\"input_tok_ids\": {:?}}}\n", (0..tokens).collect::<Vec<_>>());
    fs::write(folder.path().join("prompts.jsonl"), prompt(100) + &prompt(50)).unwrap();
    let run = Run::read(folder.path()).unwrap();
    // 48 of 150.
    let expected = "32.0 % of the prompt tokens are beginnings of earlier prompts, which may be in \
                    the cache";
    assert_eq!(run.notes, [expected]);
    assert_eq!(run.prompts.unwrap().blocks.len(), 2);
}

#[test]
fn what_a_run_lacks_is_noted() {
    let check = |meta: &str, requests: &str, expected: &str| {
        let notes = read(meta, requests).unwrap().notes.join("; ");
        assert!(notes.contains(expected), "no {expected:?} in {notes:?}");
    };
    let unknown = META.replace("num_gpu_blocks", "other");
    check(&unknown, REQUESTS, "no count of KV blocks: the cache is taken to hold every sequence");
    // 4 sequences of 11,000 tokens do not fit into the 0.9 of 20 GiB beside 15 GiB.
    let memory = r#""device_total_memory_bytes": 21474836480, "device_name""#;
    let small = unknown.replace("\"device_name\"", memory);
    check(&small, &REQUESTS.replace("100,", "11000,"), "that fit beside the weights");
    check(META, &REQUESTS.replacen("\"output_toks\": 5, ", "", 1), "1 of 2 requests lack tokens");
    check(META, &REQUESTS.replace("10.8}", "10.5}"), "1 of 2 requests end before they begin");
    check(META, &REQUESTS.replace("10.6,", "10.4,"), "1 of 2 requests end before they begin");
    check(META, &REQUESTS.replace(", \"last_token_ts\": 10.8", ""), "1 of 2 requests lack tokens");
    check(META, &REQUESTS.replace("1000.1", "900.0"), "clocks of arrivals and engine drift apart");
}

#[test]
fn a_broken_run_is_refused() {
    let check = |meta: &str, requests: &str, expected: &str| {
        assert_eq!(read(meta, requests).unwrap_err(), expected);
    };
    check(META, "", "requests.jsonl: no request has all its tokens and times");
    let backwards = REQUESTS.replace("10.8}", "9.0}").replace("10.9}", "9.0}");
    check(META, &backwards, "requests.jsonl: no request has all its tokens and times");
    check(
        META,
        &REQUESTS.replace("50", "\"x\""),
        "requests.jsonl:2: invalid type: string \"x\", expected u32 at line 1 column 18",
    );
    check(&META.replace("max_num_seqs", "x"), REQUESTS, "meta.json: max_num_seqs is missing");
    check(
        &META.replace("\"max_num_seqs\"", "\"data_parallel_size\": 2, \"max_num_seqs\""),
        REQUESTS,
        "not read yet: runs with data parallelism",
    );
}

#[test]
fn samples_that_go_back_in_time_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), META, REQUESTS);
    let samples = "t,running,waiting\n0.05,1,0\n0.15,2,0\n0.1,2,0\n";
    fs::write(folder.path().join("timeseries.csv"), samples).unwrap();
    let error = Run::read(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("timeseries.csv:4: t: 0.1 follows 0.15 — expected times to ascend"),
        "{error}"
    );
}

/// Each step of one token or more takes 22 layers once or 32 times and the host: the arithmetic is
/// in the test.
#[test]
fn real_and_simulated_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), META, REQUESTS);
    let peer = "TTFT Mean  90.0  99.0  +10.0%\n";
    fs::write(folder.path().join("peer-simulator-errors.txt"), peer).unwrap();
    let Comparison { rows, replay, .. } = Run::read(folder.path()).and_then(compare).unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.metric.to_string()).collect();
    assert_eq!(
        (names.len(), names[0].as_str(), names[16].as_str()),
        (17, "ttft_mean", "waiting_mean")
    );

    // Dense: embedding and final norm once, five others (the norm twice) in 32 blocks; attention in
    // 32 blocks; head and sampler.
    let layers = 0.02 + 32.0 * 0.05 + 32.0 * 0.01 + 0.02;
    let step = layers + HOST_TIME.per_step.as_millis();
    let prompt = step + HOST_TIME.per_prefill_step.as_millis();
    let ttft = &rows[0];
    assert!((ttft.real - 90.0).abs() < 1e-6 && (ttft.simulated - prompt).abs() < 1e-3, "{ttft:?}");
    assert_eq!(ttft.peer_error_pct, Some(10.0));
    let tpot = rows.iter().find(|row| row.metric == Metric::Tpot(Statistic::Mean)).unwrap();
    assert!((tpot.simulated - step).abs() < 1e-3 && tpot.peer_error_pct.is_none(), "{tpot:?}");
    let running = rows.iter().find(|row| row.metric == Metric::Running).unwrap();
    assert!((running.real - 1.5).abs() < 1e-9, "{running:?}");
    assert_eq!(replay.preemptions, 0);
}

#[test]
fn medians_are_of_sizes_and_by_gpu() {
    let row = |gpu: &str, error_pct| Row {
        stage: None,
        run: String::new(),
        gpu: gpu.to_owned(),
        model: String::new(),
        metric: Metric::Running,
        unit: "sequences",
        real: 1.0,
        simulated: 1.0,
        error_pct,
        peer_error_pct: None,
    };
    let rows = [row("b", Some(-4.0)), row("a", Some(1.0)), row("b", Some(2.0)), row("b", None)];
    let found = medians(&rows);
    let found: Vec<_> = found.iter().map(|m| (m.gpu.as_str(), m.runs, m.error_pct)).collect();
    assert_eq!(found, [("a", 1, 1.0), ("b", 2, 3.0)]);
}
