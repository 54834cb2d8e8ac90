//! How the commands read traces.

use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};
use optimizer::units::{RequestRate, Seconds};

use crate::cli::progress::FileBar;
use crate::traces;
use crate::workload::trace::{
    ColumnMap, FailedRows, Format, ReadOptions, ReadSummary, Reader, Record,
};

/// Flags that say how a file is to be read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading")]
pub(super) struct InputArgs {
    /// The format of the file [default: what its content tells]
    #[arg(long, value_name = "FORMAT", value_parser = format, conflicts_with = "map",
        help = format!("The format of the file, one of {} [default: what its content tells]", formats()))]
    format: Option<Format>,
    /// The columns of a CSV or Parquet file of no known format
    #[arg(long, value_name = "ROLE=COLUMN,…", help = MAP)]
    map: Option<ColumnMap>,
    /// What becomes of failed requests, whose length is zero or whose status says so [default: skip
    /// where a format marks failures, else refuse]
    #[arg(long, value_enum)]
    failed: Option<Failed>,
    /// Spread requests with one time evenly until the next, over this long at most; 0s keeps them
    /// together [default: 3s for mooncake, else 0s]
    #[arg(long, value_name = "SPAN")]
    spread: Option<Seconds>,
    /// Sort rows that are out of order, about a million of them at a time
    #[arg(long)]
    sort: bool,
    /// The rate, such as "5/s", at which requests arrive that have no times (sharegpt)
    #[arg(long, value_name = "RATE")]
    rate: Option<RequestRate>,
    /// Characters of a token, for texts without token counts (sharegpt)
    #[arg(long, value_name = "COUNT", default_value_t = 4.0, value_parser = positive)]
    chars_per_token: f64,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

const MAP: &str = "\
The columns of a CSV or Parquet file of no known format, such as \
\"arrival=ts:ms,input=prompt_len,output=gen_len,model=name\"; the unit of time is s, ms, us, ns or date";

/// What becomes of failed requests.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Failed {
    /// They are errors of the file
    Refuse,
    /// They are counted and left out
    Skip,
    /// They are counted and kept, with one token for a length of zero
    Keep,
}

impl InputArgs {
    fn options(&self, seed: u64) -> ReadOptions {
        let Self { format, map, failed, spread, sort, rate, chars_per_token, .. } = self;
        ReadOptions {
            format: *format,
            map: map.clone(),
            failed: failed.map(|failed| match failed {
                Failed::Refuse => FailedRows::Refuse,
                Failed::Skip => FailedRows::Skip,
                Failed::Keep => FailedRows::Keep,
            }),
            spread: *spread,
            sort: *sort,
            rate: *rate,
            seed,
            chars_per_token: *chars_per_token,
        }
    }

    /// Gives each request of a file to `take`, until that says `false`.
    ///
    /// # Errors
    ///
    /// When the file has a fault, or `take` fails.
    pub(super) fn read(
        &self,
        path: &Path,
        seed: u64,
        mut take: impl FnMut(Record, Option<Seconds>) -> Result<bool>,
    ) -> Result<ReadSummary> {
        let mut reader = traces::open(path, &self.options(seed))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let bar = FileBar::new(&name, self.quiet);
        let mut read = 0_u64;
        while let Some(record) = reader.next() {
            read += 1;
            if read.is_multiple_of(SHOWN) {
                bar.show(reader.share_read(), read);
            }
            if !take(record, reader.time_of_day())? {
                break;
            }
        }
        bar.clear();
        let summary = Reader::finish(reader)?;
        Ok(summary)
    }
}

/// The bar moves each time that so many requests were read.
const SHOWN: u64 = 1 << 14;

/// What a reader of the results should know about how the file was read, as sentences.
pub(super) fn notes(summary: &ReadSummary) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |count: u64, text: &str| {
        if count > 0 {
            notes.push(format!("{} {text}", indicatif::HumanCount(count)));
        }
    };
    let what = if summary.failed_kept { "were kept" } else { "were left out" };
    note(summary.failed, &format!("failed requests {what}"));
    note(summary.out_of_order, "rows stood behind a later one; they were sorted");
    note(summary.estimated, "requests have lengths that were estimated from characters");
    if summary.format == Some(Format::ShareGpt) {
        notes.push("the file has no times: arrivals are Poisson at the rate given".to_owned());
    }
    notes
}

fn format(text: &str) -> Result<Format, String> {
    let known = Format::ALL.into_iter().find(|format| format.name() == text);
    known.filter(|&format| format != Format::Mapped).ok_or_else(|| {
        format!("expected one of {}; columns of one's own are given with --map", formats())
    })
}

fn formats() -> String {
    let named = Format::ALL.into_iter().filter(|&format| format != Format::Mapped);
    named.map(Format::name).collect::<Vec<_>>().join(", ")
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above zero".to_owned())
}
