//! Kinds of traffic whose numbers were published: `presets.yaml`.

use std::collections::BTreeMap;

use super::file::{GeneratedFile, PresetName};
use crate::document::Document;

impl PresetName {
    /// All of them, with the names that files use.
    const ALL: [(Self, &'static str); 6] = [
        (Self::Chat, "chat"),
        (Self::Code, "code"),
        (Self::Summarization, "summarization"),
        (Self::Rag, "rag"),
        (Self::Reasoning, "reasoning"),
        (Self::Agents, "agents"),
    ];

    /// The traffic of this kind. Its rate stands for a proportion and has to be set.
    pub(super) fn traffic(self) -> GeneratedFile {
        let document = Document::parse("presets.yaml", include_str!("presets.yaml"))
            .expect("the file is part of the program");
        let mut presets: BTreeMap<String, GeneratedFile> =
            document.read().expect("the file is part of the program");
        let (_, name) =
            Self::ALL.into_iter().find(|(kind, _)| *kind == self).expect("all are there");
        presets.remove(name).expect("every preset is in the file")
    }
}

impl GeneratedFile {
    /// Takes from the preset what is not given. Lengths that are given as a mixture take the place
    /// of both distributions, and the other way round.
    pub(super) fn completed(&self) -> Self {
        let Some(preset) = self.preset else { return self.clone() };
        let preset = preset.traffic();
        let given = self.clone();
        let in_pairs = given.prompt.is_some() || given.output.is_some();
        let mixture = given.mixture.or(preset.mixture.filter(|_| !in_pairs));
        let apart = mixture.is_none();
        Self {
            preset: None,
            rate: given.rate,
            arrivals: given.arrivals.or(preset.arrivals),
            profile: given.profile.or(preset.profile),
            users: given.users.or(preset.users),
            prompt: given.prompt.or(preset.prompt.filter(|_| apart)),
            output: given.output.or(preset.output.filter(|_| apart)),
            correlation: given.correlation.or(preset.correlation.filter(|_| apart)),
            mixture,
            shared: given.shared.or(preset.shared),
            session: given.session.or(preset.session),
            // The recorded models had other contexts.
            fit_context: given.fit_context.or(Some(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use optimizer::units::{Timestamp, Tokens};

    use super::*;
    use crate::kernel::Streams;
    use crate::workload::stats::Statistics;
    use crate::workload::{
        Arrival, Client, JointLengths, Lengths, Pace, Pattern, RateProfile, Workload,
    };

    /// What a preset sends in a time, at the rate of its source.
    fn sent(preset: PresetName, seconds: f64) -> Vec<Arrival> {
        let GeneratedFile { arrivals, prompt, output, correlation, shared, session, .. } =
            preset.traffic();
        let lengths = Lengths { prompt: prompt.unwrap(), output: output.unwrap() };
        let lengths = match correlation {
            Some(correlation) => JointLengths::Correlated { lengths, correlation },
            None => lengths.into(),
        };
        let pace = Pace::Open { process: arrivals.unwrap(), profile: RateProfile::default() };
        let shared = shared.unwrap_or_default();
        let pattern = Pattern { pace, lengths, shared, session, fit_context: true };
        let mut workload = Workload::default();
        let until = Timestamp::from_seconds(seconds);
        workload.add_generated(Client::default(), &pattern, until, Streams::new(1), "preset");
        workload.collect()
    }

    #[track_caller]
    fn close(what: &str, actual: f64, expected: f64, share: f64) {
        let tolerance = share * expected.abs();
        assert!(
            (actual - expected).abs() <= tolerance,
            "{what}: {actual} is not {expected} ± {tolerance}"
        );
    }

    #[test]
    fn every_preset_is_in_the_file_and_valid() {
        let document = Document::parse("presets.yaml", include_str!("presets.yaml")).unwrap();
        let presets: BTreeMap<String, GeneratedFile> = document.read().unwrap();
        assert_eq!(presets.len(), PresetName::ALL.len());
        for (preset, name) in PresetName::ALL {
            let mut problems = Vec::new();
            let traffic = preset.traffic();
            traffic.arrivals.unwrap().validate("arrivals", &mut problems);
            traffic.prompt.unwrap().validate("prompt", &mut problems);
            traffic.output.unwrap().validate("output", &mut problems);
            for text in traffic.shared.iter().flatten() {
                text.validate("shared", &mut problems);
            }
            if let Some(session) = traffic.session {
                session.validate("session", &mut problems);
            }
            assert_eq!(problems, [], "{name}");
        }
    }

    /// Means, which the quantiles of a preset do not state, against those of the recording.
    #[test]
    fn presets_have_the_means_of_their_sources() {
        for (preset, seconds, prompt, output) in [
            (PresetName::Chat, 7200.0, 1155.0, 211.0),
            (PresetName::Code, 36_000.0, 2048.0, 28.0),
            (PresetName::Summarization, 20_000.0, 2588.0, 291.0),
            // Instructions of another length, and fewer passages, make the recorded mean 3,300.
            (PresetName::Rag, 20_000.0, 3384.0, 308.0),
            (PresetName::Reasoning, 50_000.0, 1268.0, 1527.0),
        ] {
            let found = Statistics::of(&sent(preset, seconds)).unwrap();
            close(&format!("prompt of {preset:?}"), found.prompt.mean, prompt, 0.08);
            close(&format!("output of {preset:?}"), found.output.mean, output, 0.08);
        }
    }

    #[test]
    fn arrivals_vary_as_recorded() {
        let chat = Statistics::of(&sent(PresetName::Chat, 18_000.0)).unwrap();
        close("gaps of chat", chat.interarrival_cv.unwrap(), 1.09, 0.05);
        close("rate of chat", chat.rate_cv.unwrap(), 0.22, 0.15);
        assert!((chat.correlation.unwrap() + 0.11).abs() < 0.02, "{:?}", chat.correlation);
        let code = Statistics::of(&sent(PresetName::Code, 100_000.0)).unwrap();
        close("rate of code", code.rate.unwrap().value(), 2.57, 0.05);
        close("gaps of code", code.interarrival_cv.unwrap(), 13.15, 0.15);
        close("minutes of code", code.rate_cv.unwrap(), 1.04, 0.15);
    }

    #[test]
    fn an_agent_begins_with_its_instructions() {
        let first = sent(PresetName::Agents, 36_000.0);
        assert!((500..700).contains(&first.len()), "{}", first.len());
        assert!(first.iter().all(|turn| turn.prompt > Tokens::new(4096)));
        let shared = first[0].content.segments()[0];
        assert!(first.iter().all(|turn| turn.content.segments()[0] == shared));
    }

    #[test]
    fn what_is_given_wins_over_the_preset() {
        let given = |text: &str| -> GeneratedFile { serde_json::from_str(text).unwrap() };
        let chat = PresetName::Chat.traffic();
        let file =
            given(r#"{"preset": "chat", "rate": "5/s", "output": {"constant": 7}}"#).completed();
        assert_eq!((file.prompt, file.correlation), (chat.prompt, chat.correlation));
        assert_eq!(file.output, Some(crate::workload::Length::Constant(Tokens::new(7))));
        assert_eq!(file.arrivals, chat.arrivals);
        let cell = r#"{"prompt": {"constant": 1}, "output": {"constant": 1}}"#;
        let file = given(&format!(r#"{{"preset": "chat", "mixture": [{cell}]}}"#)).completed();
        assert_eq!((file.prompt, file.output, file.correlation), (None, None, None));
    }
}
