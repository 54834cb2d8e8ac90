//! The distributions of the four latencies.

use optimizer::units::Seconds;
use plotters::prelude::{DrawingBackend, RGBColor};

use super::axis::Axis;
use super::canvas::{Align, Canvas, PlotError, Point};
use super::distribution::Distribution;
use super::header::{self, Entry};
use super::palette::{INK, MUTED, PAPER, readable, series};
use super::panel::{Bounds, Panel, SMALL};
use super::{MARGIN, WIDTH};
use crate::records::{Known, Latencies, ModelRecord, Recording, Tally};
use crate::results::format;
use crate::results::labels::model_names;

/// From the top of one row of panels to that of the next.
const ROW: f64 = 276.0;
/// The height of a panel's plotting area.
const PLOT: f64 = 190.0;
/// What a panel needs above its plotting area: its title and the labels of the targets.
const ABOVE: f64 = 42.0;
/// Models whose shares are told one by one; more would fill the panel.
const MOST_NOTES: usize = 4;

/// Pixels by which the label of a target may stand beside its line.
const MOST_SHIFT: f64 = 30.0;

/// Empirical distribution functions of TTFT, TPOT, ITL and E2E, one curve for each model.
pub(super) struct Latency {
    title: String,
    subtitle: String,
    models: Vec<(String, RGBColor)>,
    plots: Vec<Plot>,
}

/// One of the four.
struct Plot {
    title: &'static str,
    short: &'static str,
    of: &'static str,
    curves: Vec<Curve>,
}

/// The distribution of one model.
struct Curve {
    color: RGBColor,
    distribution: Distribution,
    target: Option<Seconds>,
}

/// The target of a model for one of the latencies.
type Target = fn(&ModelRecord) -> Option<Seconds>;

impl Latency {
    pub(super) fn of(recording: &Recording) -> Self {
        let names = model_names(recording);
        let models: Vec<_> =
            names.into_iter().enumerate().map(|(idx, name)| (name, series(idx))).collect();
        let curves = |target: Target, distribution: &dyn Fn(usize) -> Option<Distribution>| {
            let curve = |(idx, model): (usize, &ModelRecord)| {
                let distribution = distribution(idx)?;
                Some(Curve { color: series(idx), distribution, target: target(model) })
            };
            recording.models.iter().enumerate().filter_map(curve).collect()
        };
        let of_requests = |target: Target, latencies: fn(&Tally) -> &Latencies| {
            curves(target, &|idx| {
                let model = &recording.models[idx];
                match latencies(&model.tally).known() {
                    Known::Each(seconds) => Distribution::of(seconds.to_vec(), target(model)),
                    Known::Binned(binned) => Distribution::of_nanos(&binned.nanos, target(model)),
                }
            })
        };
        let plots = vec![
            Plot {
                title: "Time to first token",
                short: "TTFT",
                of: "share of requests",
                curves: of_requests(|model| Some(model.slo.ttft), |tally| &tally.ttft),
            },
            Plot {
                title: "Time per output token",
                short: "TPOT",
                of: "share of requests",
                curves: of_requests(|model| Some(model.slo.tpot), |tally| &tally.tpot),
            },
            Plot {
                title: "Inter-token latency",
                short: "ITL",
                of: "share of tokens",
                curves: curves(|_| None, &|idx| {
                    Distribution::of_nanos(&recording.models[idx].itl, None)
                }),
            },
            Plot {
                title: "End-to-end latency",
                short: "E2E",
                of: "share of requests",
                curves: of_requests(|_| None, |tally| &tally.e2e),
            },
        ];
        let title = format!("{}: latency", recording.scenario);
        Self { title, subtitle: subtitle(recording), models, plots }
    }

    /// The height of the figure in logical pixels.
    pub(super) fn height(&self) -> f64 {
        header::height(&self.legend()) + 2.0 * ROW
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), PlotError> {
        let legend = self.legend();
        header::draw(canvas, &self.title, &self.subtitle, &legend)?;
        let column = (WIDTH - 2.0 * MARGIN) / 2.0;
        for (idx, plot) in self.plots.iter().enumerate() {
            let left = MARGIN + column * (idx % 2) as f64 + 44.0;
            let top = header::height(&legend) + ROW * (idx / 2) as f64 + ABOVE;
            let right = left + column - 44.0 - if idx % 2 == 0 { 16.0 } else { 8.0 };
            plot.draw(canvas, Bounds { left, top, right, bottom: top + PLOT })?;
        }
        Ok(())
    }

    fn legend(&self) -> Vec<Entry> {
        let entry =
            |(name, color): &(String, RGBColor)| Entry { name: name.clone(), color: *color };
        if self.models.len() > 1 { self.models.iter().map(entry).collect() } else { Vec::new() }
    }
}

fn subtitle(recording: &Recording) -> String {
    let counts = recording.counts();
    let [rejected, failed, in_flight] = counts.lost();
    let arrived = format::counted(counts.arrived, "request");
    let outcomes = format::listed(&[(counts.completed, "completed"), rejected, failed, in_flight]);
    let outcomes = if outcomes.is_empty() { "none completed".to_owned() } else { outcomes };
    format!("{arrived}: {outcomes}. Dots mark p50 and p99.")
}

impl Plot {
    fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        bounds: Bounds,
    ) -> Result<(), PlotError> {
        let y = Axis::share(4);
        let (x, unit) = self.x_axis();
        let panel = Panel { canvas, bounds, x: &x, y: &y };
        panel.title(self.title, 29.0)?;
        panel.frame()?;
        canvas.text(self.of, (bounds.right, bounds.top - 29.0), Align::Right, SMALL, MUTED)?;
        if self.curves.is_empty() {
            return panel.remark("no request has one");
        }
        panel.x_labels(&format!("{} ({unit})", self.short))?;
        self.draw_targets(&panel)?;
        for curve in &self.curves {
            let distribution = &curve.distribution;
            panel.line(&distribution.outline(x.high()), curve.color, 1.8)?;
        }
        for curve in &self.curves {
            let (p50, p99) = (curve.distribution.p50, curve.distribution.p99);
            canvas.dot(panel.at((p50, 0.50)), curve.color, 2.6)?;
            canvas.dot(panel.at((p99, 0.99)), curve.color, 2.6)?;
        }
        self.draw_notes(&panel)
    }

    fn x_axis(&self) -> (Axis, &'static str) {
        let low = self.curves.iter().map(|c| c.distribution.low).fold(f64::INFINITY, f64::min);
        let high = self.curves.iter().map(|c| c.distribution.high).fold(0.0, f64::max);
        let target = self.curves.iter().filter_map(|c| c.target).max().unwrap_or(Seconds::ZERO);
        let low = Seconds::checked(low).unwrap_or(Seconds::ZERO);
        // Some room beyond the target, or its line would be the edge of the panel.
        Axis::latencies(low, Seconds::new(high).max(target * 1.1))
    }

    /// Dashed lines at the targets, with labels above the panel where they have room.
    fn draw_targets<DB: DrawingBackend>(&self, panel: &Panel<'_, DB>) -> Result<(), PlotError> {
        let Bounds { top, bottom, right, .. } = panel.bounds;
        let mut free_from = f64::NEG_INFINITY;
        let mut targets: Vec<_> =
            self.curves.iter().filter_map(|c| c.target.map(|target| (target, c.color))).collect();
        targets.sort_by_key(|(target, _)| *target);
        let single = targets.len() == 1;
        for (idx, (target, color)) in targets.into_iter().enumerate() {
            let color = if single { INK } else { color };
            let x = panel.x_at(target.value());
            panel.canvas.dashes(&[(x, top - 3.0), (x, bottom)], color, 1.2, (4.0, 3.0))?;
            let color = readable(color);
            let target = format::target(target);
            let label = if idx == 0 { format!("SLO {target}") } else { target };
            let half = panel.canvas.width(&label, SMALL)? / 2.0 + 2.0;
            // A label may stand a little beside its line to make room for the one before.
            let center = x.max(free_from + half).min(right - half + 8.0);
            if center - half >= free_from && (center - x).abs() <= MOST_SHIFT {
                panel.canvas.text(&label, (center, top - 10.0), Align::Center, SMALL, color)?;
                free_from = center + half;
            }
        }
        Ok(())
    }

    /// The shares within the targets and, for a single model, its percentiles, where no curve runs.
    fn draw_notes<DB: DrawingBackend>(&self, panel: &Panel<'_, DB>) -> Result<(), PlotError> {
        let notes = self.notes();
        let mut width: f64 = 0.0;
        for (note, _) in &notes {
            // Other fonts than the embedded one may be wider.
            width = width.max(panel.canvas.width(note, SMALL)? * 1.08);
        }
        let height = 16.0 * notes.len() as f64;
        let Bounds { left, top, right, bottom } = panel.bounds;
        let low_right = Bounds {
            left: right - width - 12.0,
            top: bottom - height - 8.0,
            right: right - 8.0,
            bottom: bottom - 4.0,
        };
        let top_left = Bounds {
            left: left + 8.0,
            top: top + 6.0,
            right: left + width + 12.0,
            bottom: top + height + 10.0,
        };
        let (place, align) = if self.is_free(panel, low_right) || !self.is_free(panel, top_left) {
            (low_right, Align::Right)
        } else {
            (top_left, Align::Left)
        };
        panel.canvas.rectangle(
            ((place.left, place.top), (place.right + 4.0, place.bottom)),
            PAPER,
            1.0,
        )?;
        for (idx, (note, color)) in notes.iter().enumerate() {
            let x = if align == Align::Right { place.right } else { place.left };
            let y = place.top + 10.0 + 16.0 * idx as f64;
            panel.canvas.text(note, (x, y), align, SMALL, *color)?;
        }
        Ok(())
    }

    fn notes(&self) -> Vec<(String, RGBColor)> {
        let within = |curve: &Curve| curve.distribution.within.zip(curve.target);
        let told = |curve: &Curve, color| {
            within(curve).map(|(share, target)| {
                (format!("{} within {}", format::percent(share), format::target(target)), color)
            })
        };
        let percentile = |name, value| format!("{name} {}", format::latency(Seconds::new(value)));
        match self.curves.as_slice() {
            [curve] => {
                let (p50, p99) = (curve.distribution.p50, curve.distribution.p99);
                let percentiles = [percentile("p50", p50), percentile("p99", p99)];
                let percentiles = percentiles.map(|text| (text, MUTED));
                told(curve, INK).into_iter().chain(percentiles).collect()
            }
            curves if curves.len() <= MOST_NOTES => {
                curves.iter().filter_map(|curve| told(curve, readable(curve.color))).collect()
            }
            curves => {
                let shares: Vec<_> =
                    curves.iter().filter_map(within).map(|(share, _)| share).collect();
                let (low, high) = (
                    shares.iter().copied().fold(1.0, f64::min),
                    shares.iter().copied().fold(0.0, f64::max),
                );
                let (low, high) = (format::percent(low), format::percent(high));
                let note = (format!("{low} to {high} within their SLO"), INK);
                (!shares.is_empty()).then_some(note).into_iter().collect()
            }
        }
    }

    /// Whether no curve runs through a part of the panel. A distribution function never falls, so
    /// it passes a rectangle by on the left and above, or on the right and below.
    fn is_free<DB: DrawingBackend>(&self, panel: &Panel<'_, DB>, part: Bounds) -> bool {
        self.curves.iter().all(|curve| {
            let points: Vec<Point> = curve
                .distribution
                .outline(panel.x.high())
                .into_iter()
                .map(|p| panel.at(p))
                .collect();
            points.iter().all(|p| p.0 <= part.left || p.1 <= part.top)
                || points.iter().all(|p| p.0 >= part.right || p.1 >= part.bottom)
        })
    }
}
