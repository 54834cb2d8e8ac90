//! Traffic like that of a trace, in a small file.
//!
//! ```yaml
//! source: "hour.csv: 19,366 requests in 3501.7 s"
//! arrivals:
//!   window: 60s
//!   ratesPerSecond: [5.2, 4.9, 6.1]
//!   gapCv: 1
//!   switching: {depth: 0.31, stay: 12s}
//! lengths:
//!   - {share: 0.05, first: [3, 12, 40], second: [10, 95, 430]}
//! prefixes:
//!   common: {share: 0.98, tokens: 512}
//!   reuse:
//!     - {share: 1, first: [0, 510, 980], second: [1200, 60000]}
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `window`, `ratesPerSecond` | the rate in each window; after the last one it begins again |
//! | `gapCv` | the gaps between arrivals, in units of the mean gap at the time, are Gamma with this coefficient of variation: 1 is a Poisson process |
//! | `switching` | the rate is `1 + depth` or `1 − depth` times as large, and stays so for an exponential time of mean `stay`: with `gapCv: 1` a Markov-modulated Poisson process of two states. Left out when the rate does not switch |
//! | `lengths` | prompt tokens (`first`) and output tokens (`second`): a band is drawn by its share, then both, each from its quantiles at even shares |
//! | `common` | the share of prompts that begin with one and the same text, such as a system prompt, and its tokens |
//! | `reuse` | which share of a prompt behind that text, in thousandths (`first`), an earlier prompt had there, and how many milliseconds ago that arrived (`second`) |
//!
//! What it does not have: any order of the lengths in time, any dependence of prefixes on lengths,
//! and the text of outputs.

use std::fmt;

use optimizer::units::{Seconds, Tokens};
use serde::{Deserialize, Serialize};

use super::bands::{Band, JointTable};
use crate::document::{Document, FieldPath, Problem, Problems};

/// Traffic like that of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FittedTraffic {
    /// What it was fitted to, for people.
    #[serde(default)]
    pub source: String,
    /// When requests arrive.
    pub arrivals: FittedArrivals,
    /// Prompt and output tokens.
    pub lengths: JointTable,
    /// What prompts have in common; left out when they have nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<FittedPrefixes>,
}

/// What prompts have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedPrefixes {
    /// The text with which most prompts begin.
    pub common: CommonPrefix,
    /// The share of what is left of a prompt, in thousandths, that an earlier prompt had there, and
    /// that prompt's age in milliseconds.
    pub reuse: JointTable,
}

/// A text with which many prompts begin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonPrefix {
    /// The share of prompts that begin with it.
    pub share: f64,
    /// Its length.
    pub tokens: Tokens,
}

/// When requests arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FittedArrivals {
    /// How long each rate holds.
    pub window: Seconds,
    /// Requests per second in each window, from time zero on; after the last it begins again.
    pub rates_per_second: Vec<f64>,
    /// The coefficient of variation of the gaps, in units of the mean gap at the time.
    pub gap_cv: f64,
    /// How the rate switches within windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switching: Option<Switching>,
}

/// A rate that switches between two values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switching {
    /// The rate is 1 + depth or 1 − depth times as large, half of the time each.
    pub depth: f64,
    /// The mean time until it switches.
    pub stay: Seconds,
}

impl FittedTraffic {
    /// Reads a file's text. `name` is what reports call it.
    ///
    /// # Errors
    ///
    /// With every problem of the text, each at its place.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(name, text)?;
        let traffic: Self = document.read()?;
        Problems::reject(traffic.problems(&document))?;
        Ok(traffic)
    }

    /// Whatever the types do not hold.
    fn problems(&self, document: &Document) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, path: &FieldPath, expected: &str| {
            if !holds {
                problems.push(document.problem(path, format!("expected {expected}")));
            }
        };
        let arrivals = FieldPath::root().key("arrivals");
        let FittedArrivals { window, rates_per_second: rates, gap_cv, switching } = &self.arrivals;
        // Shorter windows than the clock of a file tells have no arrivals to tell them apart.
        let window_holds = window.value() >= 1e-6;
        check(window_holds, &arrivals.key("window"), "a time of 1us or more");
        let at = arrivals.key("ratesPerSecond");
        check(rates.iter().any(|&rate| rate > 0.0), &at, "a rate above zero");
        for (idx, &rate) in rates.iter().enumerate() {
            check(rate >= 0.0 && rate.is_finite(), &at.index(idx), "a rate that is not negative");
        }
        let cv_holds = (0.0..=100.0).contains(gap_cv);
        check(cv_holds, &arrivals.key("gapCv"), "a number from 0 to 100");
        if let Some(Switching { depth, stay }) = switching {
            let at = arrivals.key("switching");
            let depth_holds = (0.0..=1.0).contains(depth);
            check(depth_holds, &at.key("depth"), "a number from 0 to 1");
            check(stay.value() >= 1e-6, &at.key("stay"), "a time of 1us or more");
        }
        let mut check_table = |at: &FieldPath, table: &JointTable, least: u64| {
            check(!table.bands().is_empty(), at, "at least one band");
            for (idx, Band { share, first, second }) in table.bands().iter().enumerate() {
                let at = at.index(idx);
                let share_holds = *share > 0.0 && share.is_finite();
                check(share_holds, &at.key("share"), "a share above zero");
                for (name, counts) in [("first", first), ("second", second)] {
                    let holds = counts.len() >= 2
                        && counts.is_sorted()
                        && counts.iter().all(|count| (least..=MOST).contains(count));
                    let expected = "two counts or more, none below the one before, in their range";
                    check(holds, &at.key(name), expected);
                }
            }
        };
        check_table(&FieldPath::root().key("lengths"), &self.lengths, 1);
        if let Some(FittedPrefixes { common, reuse }) = &self.prefixes {
            let at = FieldPath::root().key("prefixes");
            check_table(&at.key("reuse"), reuse, 0);
            let share_holds = (0.0..=1.0).contains(&common.share);
            check(share_holds, &at.key("common").key("share"), "a number from 0 to 1");
        }
        problems
    }
}

/// No request has more tokens, as a trace cannot hold more.
const MOST: u64 = u32::MAX as u64;

impl fmt::Display for FittedTraffic {
    /// The file's text, which [`parse`](Self::parse) reads: short lists on one line, as a serializer
    /// would not have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FittedArrivals { window, rates_per_second, gap_cv, switching } = &self.arrivals;
        writeln!(f, "source: {:?}", self.source)?;
        writeln!(f, "arrivals:")?;
        writeln!(f, "  window: {window}")?;
        let rates: Vec<_> = rates_per_second.iter().map(f64::to_string).collect();
        writeln!(f, "  ratesPerSecond:")?;
        for (idx, rates) in rates.chunks(10).enumerate() {
            let begin = if idx == 0 { "    [" } else { "     " };
            let end = if (idx + 1) * 10 >= rates_per_second.len() { "]" } else { "," };
            writeln!(f, "{begin}{}{end}", rates.join(", "))?;
        }
        writeln!(f, "  gapCv: {gap_cv}")?;
        if let Some(Switching { depth, stay }) = switching {
            writeln!(f, "  switching: {{depth: {depth}, stay: {stay}}}")?;
        }
        writeln!(f, "lengths:")?;
        self.lengths.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        let Some(FittedPrefixes { common, reuse }) = &self.prefixes else { return Ok(()) };
        writeln!(f, "prefixes:")?;
        writeln!(f, "  common: {{share: {}, tokens: {}}}", common.share, common.tokens)?;
        writeln!(f, "  reuse:")?;
        reuse.to_string().lines().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"source: "a \"trace\": 5 requests"
arrivals:
  window: 1m
  ratesPerSecond:
    [0, 1.5, 2, 3, 4, 5, 6, 7, 8, 9,
     10, 11]
  gapCv: 1.25
  switching: {depth: 0.5, stay: 20s}
lengths:
  - {share: 0.25, first: [1, 20], second: [7, 7, 9]}
  - {share: 0.75, first: [20, 90], second: [1, 5]}
prefixes:
  common: {share: 0.5, tokens: 512}
  reuse:
    - {share: 1, first: [0, 900], second: [0, 60000]}
"#;

    #[test]
    fn a_file_is_written_as_it_is_read() {
        let traffic = FittedTraffic::parse("t.yaml", TEXT).unwrap();
        assert_eq!(traffic.arrivals.window, Seconds::new(60.0));
        assert_eq!(traffic.to_string(), TEXT);
        let plain = FittedTraffic {
            prefixes: None,
            arrivals: FittedArrivals { switching: None, ..traffic.arrivals.clone() },
            ..traffic
        };
        assert_eq!(FittedTraffic::parse("t.yaml", &plain.to_string()).unwrap(), plain);
    }

    #[test]
    fn each_problem_has_its_place() {
        let check = |part: &str, instead: &str, expected: &str| {
            assert_eq!(TEXT.matches(part).count(), 1, "{part:?}");
            let text = TEXT.replace(part, instead);
            let problems = FittedTraffic::parse("t.yaml", &text).unwrap_err().to_string();
            assert!(problems.contains(expected), "{problems}");
        };
        check("window: 1m", "window: 0s", "t.yaml:3:11: arrivals.window: 0s — expected a time");
        check("[0, 1.5", "[0, -1", "arrivals.ratesPerSecond[1]: -1 — expected a rate that is not");
        check("gapCv: 1.25", "gapCv: -1", "arrivals.gapCv: -1 — expected a number from 0 to 100");
        check("depth: 0.5", "depth: 2", "arrivals.switching.depth: 2 — expected a number from 0");
        check("[20, 90]", "[90, 20]", "lengths[1].first");
        check("[1, 20]", "[0, 20]", "lengths[0].first");
        check("share: 0.25", "share: 0", "lengths[0].share: 0 — expected a share above zero");
        check(
            "share: 0.5,",
            "share: 1.5,",
            "prefixes.common.share: 1.5 — expected a number from 0",
        );
        check("gapCv: 1.25", "gapcv: 1", "did you mean gapCv?");
    }
}
