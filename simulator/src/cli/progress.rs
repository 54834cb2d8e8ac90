//! The bar that shows how far a run has come.

use std::io::{self, IsTerminal};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use optimizer::units::Seconds;

use crate::world::Progress;

/// A bar of simulated time on the standard error, if that is a terminal.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    length: Seconds,
}

impl Bar {
    /// A bar for a run of `length`; nothing is drawn when the user wants it `quiet`.
    pub(super) fn new(length: Seconds, quiet: bool) -> Self {
        let bar = if quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(STEPS)
        };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        bar.set_style(style.progress_chars("━╸─"));
        Self { bar, length }
    }

    /// Shows how far the run has come.
    pub(super) fn show(&self, progress: &Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let now = progress.now.as_seconds();
        self.bar.set_position(position(now / self.length.value()));
        let speed_up = now / self.bar.elapsed().as_secs_f64();
        self.bar.set_message(format!(
            "{} of {} · {} requests · {speed_up:.0}× real time",
            clock(now),
            clock(self.length.value()),
            HumanCount(progress.arrived),
        ));
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar of the bytes of a file on the standard error, if that is a terminal.
#[derive(Debug)]
pub(super) struct FileBar {
    bar: ProgressBar,
    name: String,
}

impl FileBar {
    /// A bar for the file of this name; nothing is drawn when the user wants it `quiet`.
    pub(super) fn new(name: &str, quiet: bool) -> Self {
        let bar = if quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(STEPS)
        };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        bar.set_style(style.progress_chars("━╸─"));
        Self { bar, name: name.to_owned() }
    }

    /// Shows which share of the file was read, and how many requests were in it.
    pub(super) fn show(&self, share: f64, requests: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(position(share));
        self.bar.set_message(format!("{} · {} requests", self.name, HumanCount(requests)));
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line on the standard error that says what is being done, if that is a terminal.
#[derive(Debug)]
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    /// A line that says nothing yet.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        if !io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{pos} runs done · {wide_msg}");
        bar.set_style(style.expect("the template is well-formed"));
        Self(bar)
    }

    /// Says that the last thing is done, and what the next one is.
    pub(super) fn show(&self, next: &str) {
        if !self.0.message().is_empty() {
            self.0.inc(1);
        }
        self.0.set_message(next.to_owned());
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Positions of the bar.
const STEPS: u64 = 10_000;

const TEMPLATE: &str = "{bar:32} {msg} · {eta} left";

/// Where the bar stands when a `share` of the run is done. A run may outlast its last arrival.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
fn position(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * STEPS as f64) as u64
}

/// A simulated time as a clock shows it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is wanted")]
fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_outlasts_its_length_stays_at_the_end() {
        assert_eq!(position(0.5), 5000);
        assert_eq!(position(1.5), STEPS);
        assert_eq!(position(f64::NAN), 0);
    }

    #[test]
    fn times_are_shown_as_on_a_clock() {
        assert_eq!(clock(59.9), "0:00:59");
        assert_eq!(clock(90_061.0), "25:01:01");
    }
}
