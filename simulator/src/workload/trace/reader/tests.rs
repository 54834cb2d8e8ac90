use super::*;
use crate::engine::Segment;

/// The requests of a text, and what was found out.
fn read(text: &str, options: &ReadOptions) -> Result<(Vec<Record>, ReadSummary), String> {
    let reader = Reader::of_text("t", text.as_bytes(), options);
    let mut reader = reader.map_err(|error| error.to_string())?;
    let records = reader.by_ref().collect();
    Ok((records, reader.finish().map_err(|error| error.to_string())?))
}

/// Checks the requests of a text, as (seconds, prompt, output).
#[track_caller]
fn check(text: &str, options: &ReadOptions, expected: &[(f64, u64, u64)]) -> ReadSummary {
    let (records, summary) = read(text, options).unwrap();
    let requests: Vec<_> = records
        .iter()
        .map(|record| (record.at.as_seconds(), record.prompt.get(), record.output.get()))
        .collect();
    assert_eq!(requests, expected, "{text}");
    summary
}

#[track_caller]
fn check_refused(text: &str, options: &ReadOptions, expected: &str) {
    assert_eq!(read(text, options).unwrap_err(), expected, "{text}");
}

fn options() -> ReadOptions {
    ReadOptions::default()
}

const BURST: &str = "\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,0,1087,API log
118,GPT-4,417,276,693,API log
";

#[test]
fn burstgpt_has_two_layouts_and_failures() {
    let summary = check(BURST, &options(), &[(0.0, 472, 18), (113.0, 417, 276)]);
    assert_eq!((summary.format, summary.failed), (Some(Format::BurstGpt), 1));
    assert_eq!(summary.ignored_columns, ["Total tokens", "Log Type"]);
    let newer = "\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log
19440161.5,d5983bf9,2,ChatGPT,36,29,65,Conversation log
";
    check(newer, &options(), &[(0.0, 906, 446), (51.5, 36, 29)]);

    let kept = ReadOptions { failed: Some(FailedRows::Keep), ..options() };
    let summary = check(BURST, &kept, &[(0.0, 472, 18), (40.0, 1087, 1), (113.0, 417, 276)]);
    assert_eq!((summary.requests, summary.failed, summary.failed_kept), (3, 1, true));
    let refused = ReadOptions { failed: Some(FailedRows::Refuse), ..options() };
    check_refused(
        BURST,
        &refused,
        "t:3: Response tokens: \"0\" — expected a whole number of tokens from 1 to 4294967295",
    );
    let models: Vec<_> = read(BURST, &kept).unwrap().0.into_iter().map(|row| row.model).collect();
    let names: Vec<_> = models.iter().map(|model| model.as_deref().unwrap()).collect();
    assert_eq!(names, ["ChatGPT", "GPT-4", "GPT-4"]);
}

#[test]
fn a_clock_that_knows_the_hour_keeps_it() {
    let mut reader = Reader::of_text("t", BURST.as_bytes(), &options()).unwrap();
    assert_eq!(reader.time_of_day(), None);
    reader.next().unwrap();
    assert_eq!(reader.time_of_day(), Some(Seconds::new(5.0)));
}

#[test]
fn trace_v2_is_sorted_and_shares_prefixes() {
    let text = "\
request_id,prefix_group,prefix_length,input_tokens,output_tokens,model,arrival_time_us,status
1,a,50,100,10,m,3000000,ok
0,a,50,80,20,m,1000000,ok
2,,0,70,30,m,2000000,timeout
3,b,500,60,40,m,2500000,
";
    let (records, summary) = read(text, &options()).unwrap();
    let at: Vec<_> = records.iter().map(|record| record.at.as_seconds()).collect();
    assert_eq!((at, summary.failed, summary.out_of_order), (vec![0.0, 1.5, 2.0], 1, 2));
    let text = |idx: usize| records[idx].content.segments()[0];
    assert_eq!(text(0), text(2));
    // No more of a prefix is shared than the prompt is long.
    assert_eq!(text(1), Segment { text: text(1).text, tokens: 60 });
    assert_ne!(text(0).text, text(1).text);
}

#[test]
fn any_columns_can_be_mapped() {
    let map = "arrival=when:ms,input=in,output=out".parse().ok();
    let mapped = ReadOptions { map, ..options() };
    let text = "in,when,out,x\n10,1500,3,a\n20,1750.5,4,b\n";
    let summary = check(text, &mapped, &[(0.0, 10, 3), (0.2505, 20, 4)]);
    assert_eq!((summary.format, summary.ignored_columns), (Some(Format::Mapped), vec!["x".into()]));
    check_refused(
        "in,out\n1,2\n",
        &mapped,
        "t:1: header: \"in,out\" — expected when,in,out, in any order, among any others",
    );
    let unordered = "in,when,out\n1,9,1\n2,8,1\n";
    check_refused(unordered, &mapped, "t:3: when: \"8\" — expected no time before that of line 2");
    let sorted = ReadOptions { sort: true, ..mapped };
    assert_eq!(check(unordered, &sorted, &[(0.0, 2, 1), (0.001, 1, 1)]).out_of_order, 1);
}

#[test]
fn conversations_need_a_rate_and_their_lengths_are_estimated() {
    let text = r#"[
  {"id": "a", "conversations": [
    {"from": "human", "value": "αβγδ?"}, {"from": "gpt", "value": "12345678"}]},
  {"id": "b", "conversations": [{"from": "human", "value": "no answer"}]},
  {"id": "c", "conversations": [
    {"from": "human", "value": "x", "tokens": 7}, {"from": "gpt", "value": "y", "tokens": 9}]}
]"#;
    check_refused(
        text,
        &options(),
        "t: has lengths and no times — expected a rate at which they arrive, as with --rate 5/s",
    );
    let at_rate = ReadOptions { rate: Some(RequestRate::new(100.0)), ..options() };
    let (records, summary) = read(text, &at_rate).unwrap();
    let lengths: Vec<_> = records.iter().map(|r| (r.prompt.get(), r.output.get())).collect();
    assert_eq!(lengths, [(2, 2), (7, 9)]);
    assert_eq!((summary.failed, summary.estimated), (1, 1));
    assert!(records.is_sorted_by_key(|record| record.at) && records[1].at.as_seconds() < 1.0);
    let longer = ReadOptions { chars_per_token: 2.0, ..at_rate };
    assert_eq!(read(text, &longer).unwrap().0[0].prompt, Tokens::new(3));
    check_refused(
        "[\n{\"conversations\": 3}]",
        &longer,
        "t:2: invalid type: integer `3`, expected a sequence at line 1 column 19 — expected an \
         object with conversations, a list of messages with from and value",
    );
}

#[test]
fn request_logs_of_inference_perf_come_in_two_layouts() {
    let text = r#"[
  {"start_time": 21.5, "end_time": 22, "info": {"input_tokens": 9, "output_tokens": 3}, "error": null},
  {"start_time": 21.0, "info": {"request_metrics": {"text": {"input_tokens": 8}},
                                "response_metrics": {"output_tokens": 2}}, "error": null},
  {"start_time": 21.2, "info": {"input_tokens": 9, "output_tokens": 0}, "error": {"error_type": "x"}},
  {"start_time": 21.3, "info": null, "error": null}
]"#;
    let summary = check(text, &options(), &[(0.0, 8, 2), (0.5, 9, 3)]);
    assert_eq!((summary.failed, summary.out_of_order), (2, 1));
    check_refused(
        "[{\"start_time\": -1, \"info\": null}]",
        &options(),
        "t:1: start_time: \"-1\" — expected a number of seconds, finite and not negative",
    );
}

#[test]
fn hashes_have_the_block_of_their_form() {
    let row = |time: &str, tokens: u32, hashes: &[u64]| {
        format!(
            "{{\"timestamp\": {time}, \"input_length\": {tokens}, \"output_length\": 7, \
             \"hash_ids\": {hashes:?}}}\n"
        )
    };
    let block = |text: &str| {
        let (records, summary) = read(text, &options()).unwrap();
        (summary.format, records[0].content.segments()[0].tokens, records[1].at.as_seconds())
    };
    let mooncake = row("0", 600, &[1, 2]) + &row("3000", 600, &[1, 3]);
    assert_eq!(block(&mooncake), (Some(Format::Mooncake), 512, 3.0));
    let timed = row("0.5", 33, &[1, 2, 3]) + &row("3", 33, &[1, 2, 4]);
    assert_eq!(block(&timed), (Some(Format::TimedTrace), 16, 3.0));

    // Batches are spread, but for times with a decimal point.
    let batches = row("0", 600, &[1, 2]) + &row("0", 512, &[1]) + "\n" + &row("1000", 1, &[3]);
    check(&batches, &options(), &[(0.0, 600, 7), (0.5, 512, 7), (1.0, 1, 7)]);
    let exact = batches.replace("\": 0,", "\": 0.000,");
    check(&exact, &options(), &[(0.0, 600, 7), (0.0, 512, 7), (1.0, 1, 7)]);
    let kept = ReadOptions { spread: Some(Seconds::ZERO), ..options() };
    check(&batches, &kept, &[(0.0, 600, 7), (0.0, 512, 7), (1.0, 1, 7)]);

    let faulty =
        row("5", 600, &[1, 2]) + &row("5", 600, &[1]) + &row("4", 1, &[1]) + "{\"timestamp\": 9}";
    check_refused(
        &faulty,
        &options(),
        "t:2: hash_ids: \"1 hashes for 600 tokens\" — expected one hash for each 512 tokens of the \
         prompt\n\
         t:3: timestamp: \"4\" — expected no time before that of line 1\n\
         t:4: missing field `input_length` at column 16 — expected an object with timestamp, \
         input_length, output_length and hash_ids",
    );
    check_refused(
        &row("0", 0, &[]),
        &options(),
        "t:1: input_length: \"0\" — expected a whole number of tokens, at least 1",
    );
}

#[test]
fn a_written_request_is_read_back() {
    let text = "{\"timestamp\": 1500.250, \"input_length\": 600, \"output_length\": 7, \"hash_ids\": [4, 5]}\n";
    let (records, _) = read(text, &options()).unwrap();
    let mut written = Vec::new();
    super::super::hashes::write(&records[0], &[4, 5], &mut written).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), text);
}

#[test]
fn a_form_can_be_forced() {
    let text = "{\"timestamp\": 1.5, \"input_length\": 9, \"output_length\": 7}\n";
    check(text, &options(), &[(0.0015, 9, 7)]);
    let timed = ReadOptions { format: Some(Format::TimedTrace), ..options() };
    check(text, &timed, &[(1.5, 9, 7)]);
    let azure = ReadOptions { format: Some(Format::Azure), ..options() };
    check_refused(
        BURST,
        &azure,
        "t:1: header: \"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\" — \
         expected TIMESTAMP,ContextTokens,GeneratedTokens, in any order, among any others",
    );
}
