//! Traces in the columns of the Azure Public Dataset.
//!
//! | columns | time |
//! |---|---|
//! | `TIMESTAMP,ContextTokens,GeneratedTokens` | a date and time, such as `2023-11-16 18:15:46.6805900`; the first row becomes time zero. A time without an offset from UTC is in UTC |
//! | `arrived_at,num_prefill_tokens,num_decode_tokens` | seconds, taken as they are |
//!
//! The first is the form in which Azure publishes its LLM inference traces of 2023 and 2024, the
//! second the one to which simulators reduce it, this one included. The header says which of the
//! two a file has. Columns may stand in any order, and others are ignored.
//!
//! A request has at least one token of prompt and one of output. Azure's conversation trace of 2023
//! has no row with a zero; in other recordings a zero stands for a request that failed, and that
//! is no load that anyone could replay. So a zero is a fault, unless the reader is told what to do
//! with failed requests.

use std::io::{self, Write};

use optimizer::units::{Timestamp, Tokens};

use crate::workload::Arrival;

/// The columns that [`write_row`] writes, as a header.
pub const HEADER: &str = "arrived_at,num_prefill_tokens,num_decode_tokens";

/// Writes requests in the second form, with times to the microsecond. Requests whose times are
/// whole microseconds are read back exactly as they were.
///
/// # Errors
///
/// When writing fails.
pub fn write(arrivals: &[Arrival], mut to: impl Write) -> io::Result<()> {
    writeln!(to, "{HEADER}")?;
    for &Arrival { at, prompt, output, .. } in arrivals {
        write_row(at, prompt, output, &mut to)?;
    }
    to.flush()
}

/// Writes the row of one request, as [`write()`] does.
///
/// # Errors
///
/// When writing fails.
pub fn write_row(
    at: Timestamp,
    prompt: Tokens,
    output: Tokens,
    to: &mut impl Write,
) -> io::Result<()> {
    let micros = at.as_nanos().saturating_add(500) / 1000;
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    writeln!(to, "{seconds}.{fraction:06},{prompt},{output}")
}

#[cfg(test)]
mod tests;
