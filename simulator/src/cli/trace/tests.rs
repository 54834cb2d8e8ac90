use std::fs;
use std::path::Path;

use clap::Parser;
use optimizer::units::Seconds;
use tempfile::TempDir;

use super::*;
use crate::kernel::Streams;
use crate::workload::synthesis;
use crate::workload::trace::Trace;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    trace: TraceArgs,
}

/// A folder to work in.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn run(args: &[&str]) -> Result<()> {
    Command::try_parse_from([&["trace"], args].concat())?.trace.run()
}

#[track_caller]
fn check_refused(args: &[&str], expected: &str) {
    let error = format!("{:#}", run(args).unwrap_err());
    assert!(error.contains(expected), "{error}");
}

const BURST: &str = "\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,0,1087,API log
118,GPT-4,417,276,693,API log
130,ChatGPT,20,30,50,API log
";

#[test]
fn a_preset_holds_what_is_simulated() {
    let folder = Folder::new();
    let out = folder.write("chat.csv", "something else");
    run(&["synthesize", "--preset=azure-chat", "--duration=10m", "--seed=7", "--out", &out])
        .unwrap();
    let simulated = synthesis::azure_chat(Seconds::from_minutes(10.0), Streams::new(7));
    assert_eq!(Trace::read(Path::new(&out)).unwrap().arrivals(), simulated);
}

#[test]
fn what_cannot_be_made_is_refused() {
    let folder = Folder::new();
    let absent = folder.path("absent/chat.csv");
    let out = ["synthesize", "--out", &absent];
    let with = |more: &[&'static str]| [&out[..], more].concat();
    check_refused(&with(&["--preset=azure-chat"]), "cannot write ");
    check_refused(&with(&["--preset=azure-chat", "--duration=0s"]), "no request arrives within 0s");
    check_refused(&with(&["--preset=chat"]), "possible values: azure-chat");
    check_refused(&with(&[]), "GENERATOR");
    check_refused(&with(&["no.yaml"]), "cannot read no.yaml");
    check_refused(&["synthesize", "--preset=azure-chat"], "--out <FILE>");
}

#[test]
fn a_trace_is_converted_filtered_and_converted_back() {
    let folder = Folder::new();
    let burst = folder.write("burst.csv", BURST);
    let check = |more: &[&str], out: &str, expected: &str| {
        run(&[&["convert", &burst, &folder.path(out)], more].concat()).unwrap();
        assert_eq!(folder.read(out), expected, "{more:?}");
    };
    let head = "arrived_at,num_prefill_tokens,num_decode_tokens\n";
    check(
        &[],
        "all.csv",
        &format!("{head}0.000000,472,18\n113.000000,417,276\n125.000000,20,30\n"),
    );
    check(
        &["--from=20s", "--until=120s", "--failed=keep", "--model=GPT-4", "--scale-rate=2"],
        "some.csv",
        &format!("{head}10.000000,1087,1\n46.500000,417,276\n"),
    );
    check(
        &["--from=114s"],
        "last.jsonl",
        "{\"timestamp\": 11000.000, \"input_length\": 20, \"output_length\": 30, \
         \"hash_ids\": [281474976710656]}\n",
    );
    let (parquet, back) = (folder.path("all.parquet"), folder.path("back.csv"));
    run(&["convert", &burst, &parquet]).unwrap();
    run(&["convert", &parquet, &back, "--model=ChatGPT"]).unwrap();
    assert_eq!(folder.read("back.csv"), format!("{head}0.000000,472,18\n125.000000,20,30\n"));
    check_refused(&["convert", &burst, &folder.path("x.txt")], "a name that ends with .csv");
    check_refused(&["convert", &burst, &folder.path("x.csv"), "--model=x"], "no request is left");
    check_refused(&["convert", &burst, &folder.path("x.csv"), "--failed=refuse"], "burst.csv:3: ");
    assert!(!Path::new(&folder.path("x.csv")).exists());
}

#[test]
fn what_was_fitted_is_drawn_the_same_each_time() {
    let folder = Folder::new();
    let (chat, yaml) = (folder.path("chat.csv"), folder.path("chat.yaml"));
    run(&["synthesize", "--preset=azure-chat", "--duration=20m", "--out", &chat]).unwrap();
    run(&["fit", &chat, "-o", &yaml]).unwrap();
    let draw = |out: &str, seed: &str| {
        run(&["synthesize", &yaml, "-o", &folder.path(out), "--duration=5m", "--seed", seed])
            .unwrap();
        folder.read(out)
    };
    let first = draw("a.csv", "1");
    assert_eq!(first, draw("b.csv", "1"));
    assert_ne!(first, draw("c.csv", "2"));
    assert!((1000..2500).contains(&first.lines().count()), "{}", first.lines().count());
    folder.write("chat.yaml", "lengths: 3\n");
    check_refused(&["synthesize", &yaml, "-o", &chat], "chat.yaml:1:10: lengths");
}

#[test]
fn figures_are_drawn_for_each_file() {
    let folder = Folder::new();
    let chat = folder.path("chat.csv");
    run(&["synthesize", "--preset=azure-chat", "--duration=5m", "--out", &chat]).unwrap();
    run(&["inspect", &chat, "--out", &folder.path("figures")]).unwrap();
    for kind in ["rate", "lengths", "cdf", "gaps"] {
        let svg = folder.read(&format!("figures/chat.csv.{kind}.svg"));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{kind}");
        assert!(svg.contains("<polyline") && !svg.contains("NaN"), "{kind}");
        assert!(svg.len() < 200_000, "{kind}: {} bytes", svg.len());
    }
}

#[test]
fn the_flags_of_reading_are_checked() {
    let folder = Folder::new();
    let file = folder.write("t.csv", "when,in,out\n1,2,3\n");
    check_refused(&["inspect", &file], "t.csv:1: header: \"when,in,out\"");
    check_refused(&["inspect", &file, "--map", "arrival=when,input=in"], "a column for output");
    check_refused(&["inspect", &file, "--format", "mapped"], "columns of one's own are given with");
    check_refused(&["inspect", &file, "--chars-per-token", "0"], "a number above zero");
    run(&["inspect", &file, "--map", "arrival=when,input=in,output=out"]).unwrap();
}
