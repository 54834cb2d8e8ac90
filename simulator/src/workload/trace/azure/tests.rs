use std::collections::BTreeSet;

use optimizer::units::Seconds;

use super::*;
use crate::engine::Content;
use crate::workload::trace::{ReadOptions, Reader, TraceError, TraceFault};

const HEADER: &str = "arrived_at,num_prefill_tokens,num_decode_tokens\n";

/// The requests of a text, as (nanoseconds, prompt, output), or its error.
fn parse(text: impl AsRef<[u8]>) -> Result<Vec<(u64, u64, u64)>, String> {
    let arrivals = read(text.as_ref()).map_err(|error| error.to_string())?;
    let row =
        |arrival: Arrival| (arrival.at.as_nanos(), arrival.prompt.get(), arrival.output.get());
    Ok(arrivals.into_iter().map(row).collect())
}

fn read(text: &[u8]) -> Result<Vec<Arrival>, TraceError> {
    let mut reader = Reader::of_text("t.csv", text, &ReadOptions::default())?;
    let arrivals = reader.by_ref().map(Arrival::from).collect();
    reader.finish()?;
    Ok(arrivals)
}

/// The error of a text.
fn fault(text: impl AsRef<[u8]>) -> String {
    parse(text).unwrap_err()
}

/// The error of rows below the header of the reduced form; the first row is line 2.
fn row_fault(rows: &str) -> String {
    fault(format!("{HEADER}{rows}"))
}

#[test]
fn both_forms_give_the_same_requests() {
    let expected = Ok(vec![(0, 374, 44), (4_314_579_000, 396, 109)]);
    for text in [
        "TIMESTAMP,ContextTokens,GeneratedTokens\n\
         2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.314579,396,109\n",
        // Columns in another order, a column more, spaces, and a break of each kind.
        "num_decode_tokens , user,arrived_at,num_prefill_tokens\r\n\
         44,a,0.0, 374\r\n\r\n\n109,\"b\",4.314579,396",
        // A byte order mark.
        "\u{feff}arrived_at,num_prefill_tokens,num_decode_tokens\n0,374,44\n4.314579,396,109",
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn dates_are_read_in_every_usual_form() {
    let header = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 00:00:00,1,1\n";
    let check = |time: &str, seconds: f64| {
        let requests = parse(format!("{header}{time},1,1\n")).unwrap();
        assert_eq!(requests[1].0, Timestamp::from_seconds(seconds).as_nanos(), "{time}");
    };
    check("2023-11-16 00:00:01", 1.0);
    check("2023-11-16T00:00:01.25", 1.25);
    check("2023-11-16T00:00:01Z", 1.0);
    check("2023-11-16 00:00:01.5+00:00", 1.5);
    check("2023-11-16 01:00:00-01:30", 9000.0);
    check("2023-11-17 00:00:00", 86_400.0);
}

#[test]
fn seconds_are_kept_as_they_are() {
    let requests = parse(format!("{HEADER}12.5,1,1\n1e2,2,2\n604799.999999,3,3\n"));
    assert_eq!(
        requests,
        Ok(vec![(12_500_000_000, 1, 1), (100_000_000_000, 2, 2), (604_799_999_999_000, 3, 3)]),
    );
}

#[test]
fn what_is_written_is_read_back_exactly() {
    let micros = [0, 1, 999_999, 1_000_000, 3_599_123_457, 604_799_999_999];
    let arrivals: Vec<_> = micros
        .iter()
        .map(|micros| Arrival {
            at: Timestamp::from_nanos(micros * 1000),
            prompt: Tokens::new(micros % 100 + 1),
            output: Tokens::new(7),
            content: Content::default(),
        })
        .collect();
    let mut text = Vec::new();
    write(&arrivals, &mut text).unwrap();
    assert_eq!(read(&text).unwrap(), arrivals);
}

#[test]
fn times_are_written_to_the_nearest_microsecond() {
    let at = Timestamp::ZERO + Seconds::new(1.000_001_5);
    let mut text = Vec::new();
    let (prompt, output, content) = (Tokens::new(1), Tokens::new(2), Content::default());
    write(&[Arrival { at, prompt, output, content }], &mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), format!("{HEADER}1.000002,1,2\n"));
}

#[test]
fn a_file_without_requests_is_refused() {
    insta::assert_snapshot!(fault(""), @"t.csv: is empty — expected a header: TIMESTAMP,ContextTokens,GeneratedTokens or arrived_at,num_prefill_tokens,num_decode_tokens or Timestamp,Request tokens,Response tokens or arrival_time_us,input_tokens,output_tokens");
    insta::assert_snapshot!(fault("\n\r\n"), @"t.csv: is empty — expected a header: TIMESTAMP,ContextTokens,GeneratedTokens or arrived_at,num_prefill_tokens,num_decode_tokens or Timestamp,Request tokens,Response tokens or arrival_time_us,input_tokens,output_tokens");
    insta::assert_snapshot!(fault(HEADER), @"t.csv: has no requests — expected at least one");
    insta::assert_snapshot!(fault("\ntime,prompt,output\n1,2,3\n"), @r#"t.csv:2: header: "time,prompt,output" — expected TIMESTAMP,ContextTokens,GeneratedTokens or arrived_at,num_prefill_tokens,num_decode_tokens or Timestamp,Request tokens,Response tokens or arrival_time_us,input_tokens,output_tokens, in any order, among any others"#);
    insta::assert_snapshot!(fault("arrived_at,ContextTokens,GeneratedTokens\n1,2,3\n"), @r#"t.csv:1: header: "arrived_at,ContextTokens,GeneratedTokens" — expected TIMESTAMP,ContextTokens,GeneratedTokens or arrived_at,num_prefill_tokens,num_decode_tokens or Timestamp,Request tokens,Response tokens or arrival_time_us,input_tokens,output_tokens, in any order, among any others"#);
}

#[test]
fn a_value_that_is_no_time_is_refused() {
    insta::assert_snapshot!(row_fault("0,1,1\n-0.5,1,1\n"), @r#"t.csv:3: arrived_at: "-0.5" — expected a number of seconds, finite and not negative"#);
    insta::assert_snapshot!(row_fault("NaN,1,1\n"), @r#"t.csv:2: arrived_at: "NaN" — expected a number of seconds, finite and not negative"#);
    insta::assert_snapshot!(row_fault("inf,1,1\n"), @r#"t.csv:2: arrived_at: "inf" — expected a number of seconds, finite and not negative"#);
    insta::assert_snapshot!(row_fault("2023-11-16 18:15:46,1,1\n"), @r#"t.csv:2: arrived_at: "2023-11-16 18:15:46" — expected a number of seconds, finite and not negative"#);
    insta::assert_snapshot!(fault("TIMESTAMP,ContextTokens,GeneratedTokens\n4.3,1,1\n2023-02-30 00:00:00,1,1\n2023-02-20,1,1\n"), @r#"
    t.csv:2: TIMESTAMP: "4.3" — expected a date and time, such as 2023-11-16 18:15:46.6805900
    t.csv:3: TIMESTAMP: "2023-02-30 00:00:00" — expected a date and time, such as 2023-11-16 18:15:46.6805900
    t.csv:4: TIMESTAMP: "2023-02-20" — expected a date and time, such as 2023-11-16 18:15:46.6805900
    "#);
}

#[test]
fn a_value_that_is_no_count_is_refused() {
    for value in ["0", "-3", "1.5", "12.0", "NaN", "", "4294967296", "many"] {
        let expected = "expected a whole number of tokens from 1 to 4294967295";
        assert_eq!(
            row_fault(&format!("0,{value},1\n")),
            format!("t.csv:2: num_prefill_tokens: {value:?} — {expected}"),
        );
        assert_eq!(
            row_fault(&format!("0,1,1\n1,1,{value}\n")),
            format!("t.csv:3: num_decode_tokens: {value:?} — {expected}"),
        );
    }
}

#[test]
fn a_row_of_another_length_is_refused() {
    insta::assert_snapshot!(row_fault("0,1,1\n1,2"), @"t.csv:3: 2 fields, none for num_decode_tokens — expected 3, as in the header");
    insta::assert_snapshot!(row_fault("0,1,1,1\n"), @"t.csv:2: 4 fields — expected 3, as in the header");
}

#[test]
fn times_that_run_backward_name_both_lines() {
    // Blank lines count as lines. A row is compared with the one above it alone, so one late row
    // is one fault.
    insta::assert_snapshot!(row_fault("0,1,1\n\n\n5.5,1,1\n5.25,1,1\r\n\r\n5.3,1,1\n5.3,1,1\n"), @r#"t.csv:6: arrived_at: "5.25" — expected no time before that of line 5"#);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    insta::assert_snapshot!(fault([HEADER.as_bytes(), b"0,1,1\n1,\xff7,1\n"].concat()), @r#"t.csv:3: num_prefill_tokens: "�7" — expected text in UTF-8"#);
    insta::assert_snapshot!(fault(b"\xff\xfea\0r\0r\0i\0v\0e\0d\0\n\0"), @r#"t.csv:1: header: "��a\0r\0r\0i\0v\0e\0d\0" — expected text in UTF-8"#);
    // Columns that are not used may hold anything.
    let text = b"x,arrived_at,num_prefill_tokens,num_decode_tokens\n\xff,1,2,3\n";
    assert_eq!(parse(text), Ok(vec![(1_000_000_000, 2, 3)]));
}

#[test]
fn all_faults_are_reported_up_to_a_limit() {
    insta::assert_snapshot!(row_fault("x,0,-1\n1,1\n0,1,1\n"), @r#"
    t.csv:2: arrived_at: "x" — expected a number of seconds, finite and not negative
    t.csv:2: num_prefill_tokens: "0" — expected a whole number of tokens from 1 to 4294967295
    t.csv:2: num_decode_tokens: "-1" — expected a whole number of tokens from 1 to 4294967295
    t.csv:3: 2 fields, none for num_decode_tokens — expected 3, as in the header
    "#);
}

#[test]
fn reports_stay_short() {
    let header = "x".repeat(1_000_000);
    assert!(fault(header).len() < 400);
    let report = row_fault(&"0,0,1\n".repeat(23));
    assert_eq!(report.lines().count(), 21);
    assert!(report.starts_with("t.csv:2: "), "{report}");
    assert!(report.ends_with("\n… and 3 more"), "{report}");
}

proptest::proptest! {
    #[test]
    fn every_row_is_a_request_or_has_a_fault(
        rows in proptest::collection::vec("[0-9]{1,2},[0-9]{1,2},[0-9]{1,2}|[-+.,eN0-9 é]{0,9}", 1..6),
    ) {
        let text = format!("{HEADER}{}", rows.join("\n"));
        let mut reader = Reader::of_text("t.csv", text.as_bytes(), &ReadOptions::default()).unwrap();
        let requests = reader.by_ref().count();
        let error = reader.finish().err();
        let faults = error.iter().flat_map(TraceError::faults);
        let faulty: BTreeSet<_> = faults.filter_map(TraceFault::line).collect();
        let blank = rows.iter().filter(|row| row.trim_ascii().is_empty()).count();
        proptest::prop_assert_eq!(requests + faulty.len() + blank, rows.len());
    }
}
