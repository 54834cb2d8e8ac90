use super::*;

fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<EngineConfig, EngineArgsError> {
    EngineConfig::from_args(args.iter().copied(), env.iter().copied())
}

const V0: &[(&str, &str)] = &[("VLLM_USE_V1", "0")];

/// The argument parsing under vectors D of the workload-variant-autoscaler 0.5.
#[test]
fn d_token_budgets() {
    for (args, env, expected) in [
        (&[][..], &[][..], 8192),
        (&["--max-num-batched-tokens=4096"], &[], 4096),
        (&["--enable-chunked-prefill"], V0, 2048),
        (&["--max-model-len=8192"], V0, 8192),
        (&["--max-model-len=1024"], V0, 2048),
        (&["--max-model-len=1024", "--max-num-batched-tokens", "512"], V0, 512),
        (&["--max-model-len=131072"], &[("VLLM_USE_V1", "1")], 8192),
    ] {
        let config = parse(args, env).unwrap();
        assert_eq!(config.max_batched_tokens, Tokens::new(expected), "{args:?} {env:?}");
    }
}

/// The same vectors; a deployment without arguments has the defaults.
#[test]
fn d_arguments() {
    let plain = parse(&[], &[]).unwrap();
    let one = NonZeroU32::MIN;
    assert_eq!(plain, EngineConfig { data_parallel: Some(one), ..EngineConfig::default() });
    assert_eq!(plain.gpu_memory_utilization, Fraction::new(0.9));
    assert_eq!(plain.block_size, Tokens::new(16));
    assert_eq!(plain.kv_cache_dtype, "auto");
    assert_eq!((plain.tensor_parallel, plain.max_sequences.get()), (one, 256));

    let script = "vllm serve m --gpu-memory-utilization=0.85 --max-num-seqs=128";
    let config = parse(&["/bin/sh", "-c", script], &[]).unwrap();
    assert_eq!(config.gpu_memory_utilization, Fraction::new(0.85));
    assert_eq!(config.max_sequences.get(), 128);

    let config = parse(&["--gpu_memory_utilization", "0.85"], &[]).unwrap();
    assert_eq!(config.gpu_memory_utilization, Fraction::new(0.85));

    let config = parse(&["--enforce-eager", "--gpu-memory-utilization=0.85"], &[]).unwrap();
    assert!(config.enforce_eager);
    assert_eq!(config.gpu_memory_utilization, Fraction::new(0.85));
}

#[test]
fn a_script_is_split_as_a_shell_does() {
    let script = "export VLLM_USE_V1=0 && exec vllm serve 'my model' \\\n  \
                  --max-model-len \"16k\" --served-model-name a\\ b --kv-cache-dtype='fp8'; x";
    let config = parse(&["/usr/bin/bash", "-ec", script], &[]).unwrap();
    assert_eq!(config.max_model_len, Some(Tokens::new(16_000)));
    assert_eq!(config.max_batched_tokens, Tokens::new(16_000));
    assert_eq!(config.kv_cache_dtype, "fp8");
    assert_eq!(shell_words("a 'b c'd \"\" e\\"), ["a", "b cd", "", "e"]);
}

#[test]
fn what_does_not_matter_is_skipped() {
    let args = ["vllm", "serve", "m", "--port", "8000", "--frobnicate", "-O3", "--x=y", "-", "--"];
    assert_eq!(parse(&args, &[("HOME", "/")]).unwrap(), parse(&[], &[]).unwrap());
    let args = ["--max-num-seqs", "8", "--trust-remote-code", "--max-num-seqs", "9"];
    assert_eq!(parse(&args, &[]).unwrap().max_sequences.get(), 9);
}

#[test]
fn blocks_set_by_hand_give_the_size_of_the_cache() {
    let args = ["--num-gpu-blocks-override=1000", "--block-size", "32", "-tp", "4"];
    let config = parse(&args, &[]).unwrap();
    assert_eq!(config.kv_capacity, Some(Tokens::new(32_000)));
    assert_eq!(config.tensor_parallel.get(), 4);
}

#[test]
fn a_rank_with_its_own_server_is_a_replica() {
    let ranks = |args: &[&str]| parse(args, &[]).unwrap().data_parallel.map(NonZeroU32::get);
    assert_eq!(ranks(&["-dp", "8"]), Some(8));
    assert_eq!(ranks(&["--data-parallel-size=8", "--data-parallel-rank", "3"]), Some(1));
    assert_eq!(ranks(&["--data-parallel-size=8", "--data-parallel-external-lb"]), Some(1));
}

#[test]
fn numbers_of_tokens_have_suffixes() {
    for (text, expected) in [
        ("512", Some(512)),
        ("16K", Some(16_384)),
        ("25.6k", Some(25_600)),
        ("1m", Some(1_000_000)),
        ("0", None),
        ("-5", None),
        ("1.5K", None),
        ("K", None),
        ("NaNk", None),
        ("99999999999999999999G", None),
    ] {
        assert_eq!(tokens(text).map(Tokens::get), expected, "{text}");
    }
    let auto = parse(&["--max-model-len", "-1", "--enforce-eager", "False"], &[]).unwrap();
    assert_eq!((auto.max_model_len, auto.enforce_eager), (None, false));
}

#[test]
fn an_error_names_the_option() {
    for (args, expected) in [
        (
            &["--gpu-memory-utilization=85"][..],
            "--gpu-memory-utilization: expected a share between 0 and 1, not \"85\"",
        ),
        (
            &["--max_num_seqs", "many"],
            "--max-num-seqs: expected a number of sequences above 0, not \"many\"",
        ),
        (&["--block-size"], "--block-size: expected a number of tokens above 0, not \"\""),
        (&["-tp", "0"], "-tp: expected a number of GPUs above 0, not \"0\""),
    ] {
        assert_eq!(parse(args, &[]).unwrap_err().to_string(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn no_command_line_is_too_strange(
        args in proptest::collection::vec("(sh|-c|--?(max|block)[-_](num-seqs|size|model-len)=?)?\\PC{0,9}", 0..6),
    ) {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let script = args.join(" ");
        let _ = parse(&args, &[]);
        let _ = parse(&["sh", "-c", &script], &[]);
    }
}
