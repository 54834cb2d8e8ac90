//! Where requests come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use optimizer::units::{Seconds, Timestamp, Tokens};

use super::Resolver;
use crate::document::FieldPath;
use crate::scenario::file::{
    ClassFile, ClientFile, GeneratedFile, ModelFile, TraceFile, TrafficFile,
};
use crate::workload::trace::{Trace, TraceError, TraceFault};
use crate::workload::{
    ArrivalProcess, Client, JointLengths, Length, Lengths, Pace, Pattern, ServiceClass, SharedText,
    Workload, WorkloadProblem,
};

/// The requests of a model.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) workload: Workload,
    /// When the last request arrives; for drawn requests, when they end.
    pub(super) last_arrival: Seconds,
    /// For each source.
    pub(super) shortest_prompts: Vec<ShortestPrompt>,
}

/// The shortest prompt that may come.
#[derive(Debug)]
pub(super) struct ShortestPrompt {
    pub(super) tokens: Tokens,
    /// The field that says so.
    pub(super) at: FieldPath,
}

impl Resolver<'_> {
    /// The traffic of the model at `at`; `source` sets its chance apart from that of the others.
    pub(super) fn traffic(
        &mut self,
        at: &FieldPath,
        model: &ModelFile,
        source: &str,
    ) -> Option<Traffic> {
        self.check_classes(&at.key("classes"), &model.classes);
        let at = at.key("traffic");
        let mut traffic = Traffic::default();
        let sound = match &model.traffic {
            TrafficFile::Trace(file) => {
                self.trace(&at.key("trace"), file, Client::default(), &mut traffic)
            }
            TrafficFile::Generated(file) => {
                self.generated(&at.key("generated"), file, Client::default(), source, &mut traffic)
            }
            TrafficFile::Clients(clients) => {
                self.clients(&at.key("clients"), clients, &model.classes, source, &mut traffic)
            }
        };
        sound.map(|()| traffic)
    }

    fn check_classes(&mut self, at: &FieldPath, classes: &[ClassFile]) {
        for (idx, class) in classes.iter().enumerate() {
            let at = at.index(idx);
            if classes[..idx].iter().any(|other| other.name == class.name) {
                self.note(&at.key("name"), "expected each class once");
            }
            if let Some(slo) = &class.slo {
                self.check_slo(&at.key("slo"), slo);
            }
        }
    }

    fn clients(
        &mut self,
        at: &FieldPath,
        clients: &[ClientFile],
        classes: &[ClassFile],
        source: &str,
        traffic: &mut Traffic,
    ) -> Option<()> {
        if clients.is_empty() {
            self.note(at, "expected at least one client");
            return None;
        }
        let mut all = Some(());
        for (idx, file) in clients.iter().enumerate() {
            let at = at.index(idx);
            if clients[..idx].iter().any(|other| other.name == file.name) {
                self.note(&at.key("name"), "expected each client once");
            }
            let class = self.class(&at.key("class"), file.class.as_deref(), classes);
            let client = Client {
                name: file.name.clone(),
                class: class.unwrap_or_default(),
                tenant: file.tenant.clone(),
            };
            let sound = match (&file.trace, &file.generated) {
                (Some(trace), None) => self.trace(&at.key("trace"), trace, client, traffic),
                (None, Some(generated)) => {
                    let source = format!("{source}/{}", file.name);
                    self.generated(&at.key("generated"), generated, client, &source, traffic)
                }
                (Some(_), Some(_)) => {
                    self.note(&at.key("generated"), "expected trace or generated, not both");
                    None
                }
                (None, None) => {
                    self.note(&at, "expected trace or generated");
                    None
                }
            };
            all = all.and(sound);
        }
        all
    }

    /// The class of this name, or that of requests without one.
    fn class(
        &mut self,
        at: &FieldPath,
        name: Option<&str>,
        classes: &[ClassFile],
    ) -> Option<ServiceClass> {
        let Some(name) = name else { return Some(ServiceClass::default()) };
        let Some(class) = classes.iter().find(|class| class.name == name) else {
            let known: BTreeSet<_> = classes.iter().map(|class| class.name.clone()).collect();
            let known: Vec<_> = known.into_iter().collect();
            let problem = if known.is_empty() {
                self.document.problem(at, "expected a class of the model's classes, which has none")
            } else {
                self.document.unknown_name(at, &known)
            };
            self.note_problem(problem);
            return None;
        };
        let ClassFile { name, priority, slo } = class.clone();
        Some(ServiceClass { name, priority, slo })
    }

    fn trace(
        &mut self,
        at: &FieldPath,
        file: &TraceFile,
        client: Client,
        traffic: &mut Traffic,
    ) -> Option<()> {
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
        let last = self.duration.map_or(last, |duration| duration.min(last));
        traffic.last_arrival = traffic.last_arrival.max(last);
        traffic.shortest_prompts.push(ShortestPrompt { tokens, at });
        traffic.workload.add_trace(client, Arc::new(trace), file.speed);
        Some(())
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

    fn generated(
        &mut self,
        at: &FieldPath,
        file: &GeneratedFile,
        client: Client,
        source: &str,
        traffic: &mut Traffic,
    ) -> Option<()> {
        let known = self.problems.len();
        let completed = file.completed();
        let pace = self.pace(at, file, &completed);
        let lengths = self.lengths(at, &completed);
        let shared = completed.shared.unwrap_or_default();
        let mut problems = Vec::new();
        match &pace {
            Some(Pace::Open { process, profile }) => {
                process.validate(&at.key("arrivals").to_string(), &mut problems);
                profile.validate(&at.key("profile").to_string(), &mut problems);
            }
            Some(Pace::Closed(users)) => {
                users.validate(&at.key("users").to_string(), &mut problems);
            }
            None => {}
        }
        if let Some(lengths) = &lengths {
            lengths.validate(&at.to_string(), &mut problems);
        }
        for (idx, text) in shared.iter().enumerate() {
            text.validate(&at.key("shared").index(idx).to_string(), &mut problems);
        }
        if let Some(session) = &completed.session {
            session.validate(&at.key("session").to_string(), &mut problems);
        }
        for WorkloadProblem { path, expected } in problems {
            let path = path.parse().expect("the workload names its fields as documents do");
            self.note(&path, format!("expected {expected}"));
        }
        if let Some(Pace::Open { process, .. }) = &pace
            && process.rate().is_zero()
        {
            self.note_zero_rate(at, file, process.rate_field());
        }
        if self.duration.is_none() {
            let message = "expected a duration, because generated traffic has no end of its own";
            self.note(&FieldPath::root().key("duration"), message);
        }
        if self.problems.len() > known {
            return None;
        }

        let (pace, lengths, duration) = (pace?, lengths?, self.duration?);
        let before = shared.iter().map(SharedText::least).sum::<Tokens>();
        let first = completed.session.as_ref().and_then(|session| session.first_prompt.as_ref());
        let prompt = first.map_or_else(|| lengths.shortest_prompt(), Length::least);
        traffic.last_arrival = traffic.last_arrival.max(duration);
        traffic.shortest_prompts.push(ShortestPrompt {
            tokens: before + prompt,
            at: if file.prompt.is_some() { at.key("prompt") } else { at.clone() },
        });
        let pattern = Pattern {
            pace,
            lengths,
            shared,
            session: completed.session,
            fit_context: completed.fit_context.unwrap_or(false),
        };
        let until = Timestamp::ZERO + duration;
        traffic.workload.add_generated(client, &pattern, until, self.streams, source);
        Some(())
    }

    /// What drives a client. A preset has arrivals, but no rate of its own.
    fn pace(
        &mut self,
        at: &FieldPath,
        given: &GeneratedFile,
        completed: &GeneratedFile,
    ) -> Option<Pace> {
        if let Some(users) = &given.users {
            for (name, clashes) in [
                ("rate", given.rate.is_some()),
                ("arrivals", given.arrivals.is_some()),
                ("profile", given.profile.is_some()),
            ] {
                if clashes {
                    self.note(&at.key(name), format!("expected users or {name}, not both"));
                }
            }
            return Some(Pace::Closed(users.clone()));
        }
        if given.rate.is_none() && given.arrivals.is_none() {
            if !self.guesses.cover(at) {
                self.note(at, "expected a rate, arrivals or users");
            }
            return None;
        }
        let profile = completed.profile.clone().unwrap_or_default();
        let process = match (completed.arrivals.clone(), given.rate) {
            (Some(process), Some(rate)) => process.with_rate(rate),
            (Some(process), None) => process,
            (None, rate) => ArrivalProcess::Poisson { rate: rate? },
        };
        Some(Pace::Open { process, profile })
    }

    fn note_zero_rate(&mut self, at: &FieldPath, file: &GeneratedFile, field: &str) {
        let field =
            if file.arrivals.is_some() { format!("arrivals.{field}") } else { "rate".to_owned() };
        let at = format!("{at}.{field}").parse().expect("fields are named as documents do");
        self.note(&at, "expected a rate above zero");
    }

    fn lengths(&mut self, at: &FieldPath, file: &GeneratedFile) -> Option<JointLengths> {
        if let Some(cells) = &file.mixture {
            for (name, clashes) in [
                ("prompt", file.prompt.is_some()),
                ("output", file.output.is_some()),
                ("correlation", file.correlation.is_some()),
            ] {
                if clashes {
                    self.note(&at.key(name), format!("expected mixture or {name}, not both"));
                }
            }
            return Some(JointLengths::Mixture(cells.clone()));
        }
        let preset_is_known = !self.guesses.cover(&at.key("preset"));
        for (name, given) in [("prompt", &file.prompt), ("output", &file.output)] {
            if given.is_none() && preset_is_known {
                let message = format!("expected {name}, mixture or a preset");
                self.note(&at.key(name), message);
            }
        }
        let lengths = Lengths { prompt: file.prompt.clone()?, output: file.output.clone()? };
        Some(match file.correlation {
            None => lengths.into(),
            Some(correlation) => JointLengths::Correlated { lengths, correlation },
        })
    }
}
