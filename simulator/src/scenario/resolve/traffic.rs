//! Where requests come from.

use std::sync::Arc;

use optimizer::units::{Seconds, Timestamp, Tokens};

use super::Resolver;
use crate::document::FieldPath;
use crate::scenario::file::{GeneratedFile, TraceFile, TrafficFile};
use crate::workload::trace::{Trace, TraceError, TraceFault};
use crate::workload::{ArrivalProcess, Length, Lengths, Workload, WorkloadProblem};

/// The requests of a model.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) workload: Workload,
    /// When the last request arrives; for drawn requests, when they end.
    pub(super) last_arrival: Seconds,
    pub(super) shortest_prompt: ShortestPrompt,
}

/// The shortest prompt that may come.
#[derive(Debug)]
pub(super) struct ShortestPrompt {
    pub(super) tokens: Tokens,
    /// The field that says so.
    pub(super) at: FieldPath,
}

impl Resolver<'_> {
    /// The traffic of one model; `source` sets its chance apart from that of the others.
    pub(super) fn traffic(
        &mut self,
        at: &FieldPath,
        file: &TrafficFile,
        source: &str,
    ) -> Option<Traffic> {
        match file {
            TrafficFile::Trace(file) => self.trace(&at.key("trace"), file),
            TrafficFile::Generated(file) => self.generated(&at.key("generated"), file, source),
        }
    }

    fn trace(&mut self, at: &FieldPath, file: &TraceFile) -> Option<Traffic> {
        let at = at.key("file");
        let trace = match Trace::read(&self.path_of(&at, &file.file)) {
            Ok(trace) => trace,
            Err(error) => {
                self.note_trace(&at, &error);
                return None;
            }
        };
        let tokens = trace.arrivals().iter().map(|arrival| arrival.prompt).min()?;
        let last = Seconds::new(trace.duration().value() / f64::from(file.speed));
        Some(Traffic {
            workload: Workload::trace(Arc::new(trace), file.speed),
            last_arrival: self.duration.map_or(last, |duration| duration.min(last)),
            shortest_prompt: ShortestPrompt { tokens, at },
        })
    }

    fn note_trace(&mut self, at: &FieldPath, error: &TraceError) {
        let problem = |message: &str| self.document.problem(at, message);
        self.note_problem(match error.faults() {
            [TraceFault::Unreadable(error)] => {
                problem(&format!("expected a file that can be read: {error}"))
                    .with_help("another trace can be given with --trace FILE")
            }
            _ => problem("expected a trace without faults").with_help(error.to_string()),
        });
    }

    fn generated(&mut self, at: &FieldPath, file: &GeneratedFile, source: &str) -> Option<Traffic> {
        let known = self.problems.len();
        let mut problems = Vec::new();
        file.arrivals.validate(&at.key("arrivals").to_string(), &mut problems);
        file.prompt.validate(&at.key("prompt").to_string(), &mut problems);
        file.output.validate(&at.key("output").to_string(), &mut problems);
        for WorkloadProblem { path, expected } in problems {
            let path = path.parse().expect("the workload names its fields as documents do");
            self.note(&path, format!("expected {expected}"));
        }
        if file.arrivals.rate().is_zero() {
            let at = at.key("arrivals").key(process_name(&file.arrivals)).key("rate");
            self.note(&at, "expected a rate above zero");
        }
        if self.duration.is_none() {
            let message = "expected a duration, because generated traffic has no end of its own";
            self.note(&FieldPath::root().key("duration"), message);
        }
        if self.problems.len() > known {
            return None;
        }
        let duration = self.duration?;
        let lengths = Lengths { prompt: file.prompt.clone(), output: file.output.clone() };
        let until = Timestamp::ZERO + duration;
        Some(Traffic {
            workload: Workload::drawn(&file.arrivals, lengths, until, self.streams, source),
            last_arrival: duration,
            shortest_prompt: ShortestPrompt {
                tokens: shortest(&file.prompt),
                at: at.key("prompt"),
            },
        })
    }
}

const fn process_name(process: &ArrivalProcess) -> &'static str {
    match process {
        ArrivalProcess::Poisson { .. } => "poisson",
        ArrivalProcess::Gamma { .. } => "gamma",
        ArrivalProcess::ModulatedGamma { .. } => "modulatedGamma",
    }
}

/// The smallest count of a distribution.
fn shortest(length: &Length) -> Tokens {
    match length {
        Length::Constant(tokens) => *tokens,
        Length::Uniform { min, .. } => *min,
        Length::Geometric { .. } | Length::Lognormal { .. } => Tokens::new(1),
        Length::Quantiles(table) => table.at(0.0),
    }
}
