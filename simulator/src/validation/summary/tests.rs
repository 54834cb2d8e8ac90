use optimizer::units::Seconds;

use super::simulate::{StageTimes, simulate};
use super::*;
use crate::catalog::Catalog;
use crate::engine::step_time::Batch;
use crate::engine::{FrontEnd, StepTime};

/// One user, or one prompt, of Llama-3.1-8B on an H100.
fn run(multi_turn: bool) -> SummaryRun {
    SummaryRun {
        name: "one".to_owned(),
        gpu: "H100".to_owned(),
        model: "meta-llama/Llama-3.1-8B-Instruct".to_owned(),
        server: ServerArgs::USUAL,
        workload: SharedPrefix {
            groups: 1,
            prompts_per_group: 1,
            system_prompt_tokens: 100,
            question_tokens: 400..=400,
            output_tokens: 200,
            multi_turn,
        },
        load: Load::Constant,
        stages: vec![Stage { rate: 10.0, duration: 2.0 }],
        measured: vec![Measured::new()],
        whole: Measured::new(),
        overload: None,
        peer: PeerErrors::default(),
        notes: Vec::new(),
    }
}

fn planned(run: &SummaryRun) -> Result<SummaryPlant, String> {
    plant(run, &Catalog::builtin()).map_err(|error| error.to_string())
}

fn simulated(run: &SummaryRun, front_end: FrontEnd) -> Vec<StageTimes> {
    simulate(run, &planned(run).unwrap(), front_end, 1).unwrap()
}

#[test]
fn turns_of_a_conversation_do_not_overlap_and_end_where_the_context_does() {
    let stages = simulated(&run(true), FrontEnd::NONE);
    let [stage] = &stages[..] else { panic!("{stages:?}") };
    // 500 tokens and 600 more with each turn: the seventh has 4,100, and no place in 4,096.
    assert_eq!((stage.e2e.len(), stage.failed), (6, 14));
    // Alone in the batch, every turn takes 200 steps and computes what is new in its prompt.
    for e2e in &stage.e2e {
        assert!((1.2..1.5).contains(e2e), "{e2e}");
    }
    let open = &simulated(&run(false), FrontEnd::NONE)[0];
    assert_eq!((open.e2e.len(), open.failed), (20, 0));
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    assert!(mean(&open.e2e) > mean(&stage.e2e), "requests that do not wait share the server");
}

#[test]
fn a_prompt_that_was_asked_before_is_in_the_cache() {
    let stage = &simulated(&run(false), FrontEnd::NONE)[0];
    let rest = stage.ttft[1..].iter().copied().fold(0.0, f64::max);
    // A step and a half of waiting, and a step; the first computes 500 tokens besides.
    assert!(rest < 0.030, "{rest}");
}

#[test]
fn the_front_end_delays_both_ways() {
    let front_end = FrontEnd { per_prompt_token: Seconds::ZERO, ..FRONT_END };
    let alone = SummaryRun { stages: vec![Stage { rate: 0.1, duration: 100.0 }], ..run(false) };
    let [with, without] = [front_end, FrontEnd::NONE].map(|front_end| simulated(&alone, front_end));
    for (with, without) in with[0].ttft.iter().zip(&without[0].ttft) {
        assert!((with - without - 0.0035).abs() < 1e-6, "{with}, {without}");
    }
}

#[test]
fn a_server_that_is_too_slow_for_its_client_fails_requests() {
    let slow = SummaryRun {
        server: ServerArgs { max_num_seqs: 1, ..ServerArgs::USUAL },
        stages: vec![Stage { rate: 2.0, duration: 300.0 }],
        ..run(false)
    };
    let stage = &simulated(&slow, FRONT_END)[0];
    assert!(stage.failed > 100 && stage.e2e.iter().all(|&e2e| e2e <= 300.0), "{}", stage.failed);
}

#[test]
fn the_plant_is_a_profile_or_an_estimate_that_says_so() {
    let check = |model: &str, gpu: &str, tensor_parallel, precision, expected: &str| {
        let server = ServerArgs { tensor_parallel, precision, ..ServerArgs::USUAL };
        let run = SummaryRun { model: model.to_owned(), gpu: gpu.to_owned(), server, ..run(false) };
        let found = planned(&run)
            .map(|plant| format!("{} on {}: {}", plant.model, plant.gpu, plant.source));
        assert_eq!(found.unwrap_or_else(|error| error), expected);
    };
    let (bf16, fp8) = (Precision::Bf16, Precision::Fp8);
    check(
        "meta-llama/Llama-3.1-8B-Instruct",
        "A100-80GB",
        1,
        bf16,
        "llama-3.1-8b on A100: profile, evidence C",
    );
    let like = "roofline: no profile to trust; corrected as";
    check(
        "meta-llama/Llama-2-70b-hf",
        "H100",
        4,
        bf16,
        &format!("llama-2-70b on H100: {like} llama-3.1-70b's is"),
    );
    check(
        "mistralai/Mixtral-8x7B-v0.1",
        "H100",
        2,
        bf16,
        &format!("mixtral-8x7b on H100: {like} qwen3-32b's is"),
    );
    check(
        "RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic",
        "H100",
        2,
        fp8,
        &format!("llama-4-scout on H100: {like} llama-3.1-70b's is"),
    );
    check("qwen/Qwen2.5-7B", "MI300X", 1, bf16, "qwen2.5-7b on MI300X: roofline: no profile");
    check("acme/Own-1B", "H100", 1, bf16, "the model acme/Own-1B is not in the catalog");
    check("qwen/Qwen2.5-7B", "GPU 1", 1, bf16, "the GPU GPU 1 is not in the catalog");
}

/// The model in between takes what lies in between.
#[test]
fn an_estimate_is_of_the_size_of_its_likeness() {
    let step = |model: &str| {
        let run = SummaryRun { model: model.to_owned(), ..run(false) };
        let mut batch = Batch::default();
        (0..16).for_each(|_| batch.add_decode(1000));
        planned(&run).unwrap().step_time.step_time(&batch)
    };
    let [small, middle, large] = ["qwen3-8b", "mistral-nemo-12b", "qwen3-14b"].map(step);
    assert!(small < middle && middle < large, "{small:?}, {middle:?}, {large:?}");
}

#[test]
fn a_larger_share_of_the_memory_is_more_blocks() {
    let blocks = |gpu_memory_utilization, num_gpu_blocks| {
        let server = ServerArgs { gpu_memory_utilization, num_gpu_blocks, ..ServerArgs::USUAL };
        planned(&SummaryRun { server, ..run(false) }).unwrap().engine
    };
    let given = blocks(0.9, Some(1_000));
    assert_ne!(blocks(0.95, None), blocks(0.9, None));
    assert_eq!(blocks(0.95, Some(1_000)), given);
}

#[test]
fn overload_is_told_by_the_measurements() {
    let stages = [Stage { rate: 8.0, duration: 600.0 }, Stage { rate: 20.0, duration: 600.0 }];
    let check = |e2e: [f64; 2], failed, expected: Option<&str>| {
        let measured = e2e.map(|e2e| Measured::from([(Metric::E2E_MEAN, e2e * 1e3)]));
        assert_eq!(overload(&stages, &measured, failed, 128).as_deref(), expected);
    };
    check([4.0, 6.0], 0, None);
    check([4.0, 6.0], 3, Some("3 requests failed"));
    let full = "140 requests were in flight, of which 128 run at once at most";
    check([4.0, 7.0], 0, Some(full));
}

/// A client that counts half of the tokens reports twice the time between them.
#[test]
fn the_time_between_tokens_is_by_the_tokens_that_the_client_counted() {
    let measured = |itl| {
        let ttft = (Metric::Ttft(crate::validation::Statistic::Mean), 20.0);
        Measured::from([(Metric::E2E_MEAN, 1_413.0), ttft, (Metric::Itl, itl)])
    };
    let itl = |itl| {
        let run = SummaryRun { whole: measured(itl), ..run(false) };
        let scored = score(run, &Catalog::builtin(), 1).unwrap();
        let row = scored.rows.iter().find(|row| row.metric == Metric::Itl).unwrap();
        let noted = scored.notes.iter().any(|note| note.contains("tokens in an answer of 200"));
        (row.simulated, noted)
    };
    let [(plain, quiet), (twice, noted)] = [itl(7.0), itl(14.0)];
    assert!((twice / plain - 2.0).abs() < 1e-9, "{plain}, {twice}");
    assert_eq!((quiet, noted), (false, true));
}
