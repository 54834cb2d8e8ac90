use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const DENSE: [(&str, f64); 9] = [
    ("embedding", 3.0),
    ("layernorm", 2.0),
    ("qkv_proj", 50.0),
    ("rotary_emb", 2.0),
    ("o_proj", 40.0),
    ("gate_up_proj", 200.0),
    ("act_fn", 3.0),
    ("down_proj", 100.0),
    ("final_layernorm", 2.0),
];

/// A folder of a made-up GPU: 0.1 µs for each token of a dense layer, 0.01 µs for each token of
/// context of each block.
fn write(folder: &Path) {
    let mut dense = "layer,tokens,time_us\n".to_owned();
    for (layer, time) in DENSE {
        for tokens in [1, 8, 16, 64, 512] {
            writeln!(dense, "{layer},{tokens},{}", time + 0.1 * f64::from(tokens)).unwrap();
        }
    }
    let mut per_sequence = "layer,sequences,time_us\n".to_owned();
    for sequences in [1, 8, 64] {
        writeln!(per_sequence, "lm_head,{sequences},600").unwrap();
        writeln!(per_sequence, "sampler,{sequences},{}", 20 + sequences).unwrap();
    }
    let mut attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n".to_owned();
    for sequences in [1, 8, 64] {
        for tokens in [16, 64, 1024] {
            let time = 5.0 + 0.01 * f64::from(sequences * tokens);
            writeln!(attention, "0,0,{sequences},{tokens},{time}").unwrap();
            for chunk in [16, 256] {
                let time = time + 10.0 + 0.1 * f64::from(chunk);
                writeln!(attention, "{chunk},0,{sequences},{tokens},{time}").unwrap();
                writeln!(attention, "{chunk},1024,{sequences},{tokens},{}", time + 9.0).unwrap();
            }
        }
    }
    for chunk in [16, 256] {
        let time = 5.0 + 0.1 * f64::from(chunk);
        writeln!(attention, "{chunk},0,0,0,{time}\n{chunk},1024,0,0,{}", time + 9.0).unwrap();
    }
    fs::write(folder.join("dense.csv"), dense).unwrap();
    fs::write(folder.join("per_sequence.csv"), per_sequence).unwrap();
    fs::write(folder.join("attention.csv"), attention).unwrap();
}

fn read(path: &Path) -> Result<(Table, Vec<String>), TableError> {
    Table::read(&TableFolder { path: path.to_owned(), num_layers: 10, experts: None })
}

fn table() -> Table {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    read(folder.path()).unwrap().0
}

fn batch(prompts: &[u32], decodes: &[u32]) -> Batch {
    let mut batch = Batch::default();
    for &chunk in prompts {
        batch.add_prefill(chunk, 0);
    }
    for &tokens in decodes {
        batch.add_decode(tokens);
    }
    batch
}

#[track_caller]
fn check(table: &Table, batch: &Batch, expected_micros: f64) {
    let micros = table.step_time(batch).as_seconds().value() * 1e6;
    assert!((micros - expected_micros).abs() < 1e-3, "{micros} is not {expected_micros}");
}

/// The layers of a step of so many tokens, by hand: 5 once, 399 for each block, and 0.1 a token for
/// 2 + 8 · 10 of them, as `layernorm` runs twice.
fn dense_micros(tokens: f64) -> f64 {
    5.0 + 10.0 * 399.0 + 82.0 * 0.1 * tokens
}

#[test]
fn a_step_is_the_sum_of_its_layers() {
    let table = table();
    let head = |sequences: f64| 620.0 + sequences;
    let decode = dense_micros(2.0) + head(2.0) + 10.0 * (5.0 + 0.01 * 600.0);
    check(&table, &batch(&[], &[200, 400]), decode);
    let prompt = dense_micros(100.0) + head(1.0) + 10.0 * (5.0 + 10.0);
    check(&table, &batch(&[100], &[]), prompt);
    let both = dense_micros(102.0) + head(3.0) + 10.0 * (5.0 + 6.0 + 10.0 + 10.0);
    check(&table, &batch(&[100], &[200, 400]), both);
}

/// 10 of 100 experts a token: one token activates 10, two activate 100 · (1 - 0.9²) = 19.
#[test]
fn experts_take_the_time_of_those_that_are_activated() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let moe = "tokens,activated_experts,time_us\n1,10,100\n2,10,100\n2,20,200\n";
    fs::write(folder.path().join("moe.csv"), moe).unwrap();
    let sparse =
        TableFolder { path: folder.path().to_owned(), num_layers: 10, experts: Some((100, 10)) };
    let (sparse, _) = Table::read(&sparse).unwrap();
    let dense = table();
    for (batch, micros) in [(batch(&[], &[100]), 100.0), (batch(&[], &[100; 2]), 190.0)] {
        let [sparse, dense] =
            [sparse.step_time(&batch), dense.step_time(&batch)].map(Ticks::as_seconds);
        let added = (sparse.value() - dense.value()) * 1e6;
        assert!((added - 10.0 * micros).abs() < 1e-3, "{added}");
    }
}

#[test]
fn a_graph_computes_the_next_larger_batch() {
    let table = table().with_capture_sizes(capture_sizes(16));
    let attention = 10.0 * (5.0 + 0.01 * 900.0);
    check(&table, &batch(&[], &[100; 9]), dense_micros(16.0) + 629.0 + attention);
    // Beyond the largest graph nothing is padded.
    let attention = 10.0 * (5.0 + 0.01 * 3300.0);
    check(&table, &batch(&[], &[100; 33]), dense_micros(33.0) + 653.0 + attention);
}

#[test]
fn the_host_is_waited_for() {
    let host = HostTime {
        per_step: Seconds::from_millis(1.0),
        per_prefill_step: Seconds::from_millis(2.0),
    };
    let (plain, table) = (table(), table().with_host_time(host));
    for (batch, millis) in [(batch(&[], &[100]), 1.0), (batch(&[100], &[100]), 3.0)] {
        let [plain, table] =
            [plain.step_time(&batch), table.step_time(&batch)].map(Ticks::as_seconds);
        assert!((table.as_millis() - plain.as_millis() - millis).abs() < 1e-9);
    }
}

#[test]
fn captured_sizes_are_those_of_vllm() {
    assert_eq!(capture_sizes(8), [1, 2, 4, 8, 16]);
    let sizes = capture_sizes(1024);
    assert_eq!((sizes.len(), sizes.last()), (51, Some(&512)));
    assert!(sizes.contains(&248) && sizes.contains(&272) && !sizes.contains(&264));
}

proptest! {
    #[test]
    fn the_law_of_decode_steps_is_what_each_of_them_takes(
        tokens in proptest::collection::vec(1..1500_u32, 1..80),
        graphs in any::<bool>(),
    ) {
        let sizes = if graphs { capture_sizes(64) } else { Vec::new() };
        let table = table().with_capture_sizes(sizes);
        let mut batch = batch(&[], &tokens);
        let law = table.decode_law(&batch);
        for step in 0..law.valid_for.min(100) {
            prop_assert_eq!(table.step_time(&batch), law.after(step).first, "step {}", step);
            batch.context_tokens += tokens.len() as u64;
        }
    }
}

/// Checks that a folder with `part` of a file replaced is refused.
#[track_caller]
fn check_refused(file: &str, part: &str, instead: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(part), "{part:?}");
    fs::write(&path, text.replace(part, instead)).unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    let error = error.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(error.replace(&folder.path().display().to_string(), "."), expected);
}

#[test]
fn a_faulty_folder_is_refused() {
    check_refused(
        "dense.csv",
        "time_us",
        "time_ms",
        "dense.csv:1: header: \"layer,tokens,time_ms\" — expected \"layer,tokens,time_us\", with \
         times in microseconds",
    );
    check_refused(
        "dense.csv",
        "embedding,1,3.1",
        "embedding,1,-3",
        "dense.csv:2: time_us: \"-3\" — expected a time above zero",
    );
    check_refused(
        "dense.csv",
        "embedding,1,3.1",
        "embedding,one,3.1",
        "dense.csv:2: tokens: \"one\" — expected a whole number",
    );
    check_refused(
        "dense.csv",
        "qkv_proj,8,50.8\n",
        "",
        "dense.csv: layer qkv_proj has no row at size 8, but other layers have — expected no gaps",
    );
    check_refused(
        "dense.csv",
        "o_proj,8,40.8",
        "o_proj,1,40.8",
        "dense.csv:23: this size was given before — expected one row for each",
    );
    check_refused(
        "dense.csv",
        "final_layernorm",
        "layernorm_f",
        "dense.csv: layer \"layernorm_f\" — expected one of embedding, layernorm, qkv_proj, \
         qk_norm, rotary_emb, o_proj, gate_up_proj, act_fn, down_proj, final_layernorm",
    );
    check_refused(
        "per_sequence.csv",
        "lm_head,8,600\n",
        "lm_head,8,6\n",
        "per_sequence.csv: 8 sequences take 95 % less than fewer — expected times to rise with \
         size",
    );
    check_refused(
        "attention.csv",
        "0,0,",
        "16,0,",
        "attention.csv:3: this size was given before — expected one row for each",
    );
}

/// Multiplies the times of a file, which may have been written in another unit.
fn scale(folder: &Path, file: &str, factor: f64) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    let scaled = |line: &str| match line.rsplit_once(',') {
        Some((sizes, time)) if time != "time_us" => {
            format!("{sizes},{}\n", time.parse::<f64>().unwrap() * factor)
        }
        _ => format!("{line}\n"),
    };
    fs::write(&path, text.lines().map(scaled).collect::<String>()).unwrap();
}

#[test]
fn times_in_another_unit_are_noticed() {
    for file in ["dense.csv", "per_sequence.csv", "attention.csv"] {
        for factor in [1e-6, 1e-3, 1e3, 1e6] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path());
            scale(folder.path(), file, factor);
            let error = read(folder.path()).unwrap_err();
            assert!(matches!(error.fault(), TableFault::Unit { .. }), "{file}: {error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}

#[test]
fn a_table_that_is_odd_is_used_with_a_note() {
    let check = |file: &str, part: &str, instead: &str, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(part), "{part:?}");
        fs::write(&path, text.replace(part, instead)).unwrap();
        let (_, notes) = read(folder.path()).unwrap();
        let notes = notes.join("; ").replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(notes, expected);
    };
    check("dense.csv", "time_us", "time_us", "");
    check(
        "per_sequence.csv",
        "lm_head,8,600\n",
        "lm_head,8,500\n",
        "per_sequence.csv: 8 sequences take 15 % less than fewer — expected times to rise with \
         size",
    );
    check(
        "attention.csv",
        "0,0,8,1024,86.92",
        "0,0,8,1024,5",
        "attention.csv: 1 decode-only batches took much less time than those of fewer tokens, and \
         are taken to need as much",
    );
    check(
        "attention.csv",
        "256,1024,64,1024,",
        "255,1024,64,1024,",
        "attention.csv: 12 of 49 rows lie outside a complete grid and are not used",
    );
}

const SKEW_FIT: &str = "pc,n_label,skew_rate_label,kv_big_label,kp_label,alpha,n_samples\n\
                        0,n<=8,sr<=70%,kvB<=1k,kp=0,0.25,4\n";

/// Two sequences of 200 and 400 tokens: a quarter of the way from two of 300 to two of 400.
#[test]
fn unequal_lengths_cost_what_was_fitted_to_them() {
    let equal = dense_micros(2.0) + 622.0 + 10.0 * (5.0 + 0.01 * 600.0);
    let unequal = equal + 0.25 * 10.0 * 0.01 * 200.0;
    let check_with = |meta: Option<&str>, expected: f64, noted: usize| {
        let folder = tempfile::tempdir().unwrap();
        let layers = folder.path().join("tp1");
        fs::create_dir(&layers).unwrap();
        write(&layers);
        fs::write(layers.join("skew_fit.csv"), SKEW_FIT).unwrap();
        if let Some(meta) = meta {
            fs::write(folder.path().join("meta.yaml"), meta).unwrap();
        }
        let (table, notes) = read(&layers).unwrap();
        assert_eq!(notes.len(), noted, "{notes:?}");
        let batch = batch(&[], &[200, 400]);
        check(&table, &batch, expected);
        let law = table.decode_law(&batch);
        assert_eq!(law.first, table.step_time(&batch));
    };
    check_with(None, unequal, 0);
    check_with(Some("skew_fit:\n  enabled: true\n"), unequal, 0);
    check_with(Some("gpu: GPU 1\nskew_fit:\n  enabled: false\n"), equal, 1);
}

#[test]
fn equal_lengths_and_batches_with_a_prompt_have_no_skew() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    fs::write(folder.path().join("skew_fit.csv"), SKEW_FIT).unwrap();
    let (with, _) = read(folder.path()).unwrap();
    for batch in [batch(&[], &[300; 2]), batch(&[100], &[200, 400])] {
        assert_eq!(with.step_time(&batch), table().step_time(&batch), "{batch:?}");
    }
}
