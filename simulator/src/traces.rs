//! What is done with traces before anything runs: they are described, converted, and imitated.
//!
//! Everything here takes requests one by one from a [`Reader`] and remembers counts, not
//! requests, so a file of any length can be handled:
//!
//! | command | what | memory |
//! |---|---|---|
//! | `inspect` | an [`Inspection`], by an [`Inspector`] | a counter for each token count and hash that occurs |
//! | `convert` | a [`Filter`], and a [`Sink`] for what it lets through | a row group |
//! | `fit` | a [`FittedTraffic`], by a [`Fitter`], with its [`Goodness`] | 2^17 pairs of lengths |
//! | `synthesize` | [`Drawn`] requests of a fitted traffic | the prompts that may be continued |

mod moments;
mod windows;
mod lengths;
pub mod reuse;
pub mod inspection;
mod parquet;
pub mod filter;
pub mod sink;
pub mod bands;
pub mod fitted;
pub mod fit;
pub mod draw;
pub mod goodness;

use std::path::Path;

pub use draw::Drawn;
pub use filter::{Filter, Filtered};
pub use fit::Fitter;
pub use fitted::FittedTraffic;
pub use goodness::Goodness;
pub use inspection::{Inspection, Inspector};
pub use sink::{Form, Sink, SinkError, Written};

use crate::workload::trace::{Format, ReadOptions, Reader, TraceError, TraceFault};

/// Opens a trace of any form, Parquet included.
///
/// # Errors
///
/// When the file cannot be read, or is in none of the forms.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Reader, TraceError> {
    match Reader::open(path, options) {
        Err(error) if matches!(error.faults(), [TraceFault::Parquet]) => {
            // Its columns are those of a table, so that is the form that is left to tell.
            let format = options.format.filter(|&format| format != Format::Parquet);
            parquet::open(path, &ReadOptions { format, ..options.clone() })
        }
        other => other,
    }
}
