//! The run over time: arrivals, replicas with the decisions that moved them, KV cache and queues.

use optimizer::units::{Fraction, Timestamp};
use plotters::prelude::{DrawingBackend, RGBColor};

use super::axis::Axis;
use super::canvas::{Align, Canvas, PlotError, Point};
use super::header::{self, shortened};
use super::palette::{DOWN, INK, MUTED, UP, lighter, series};
use super::panel::{Bounds, Panel, SMALL};
use super::thin::{means, outline, peaks, stairs};
use super::{MARGIN, WIDTH};
use crate::records::{Recording, Sample, ScalingRecord};
use crate::results::format;
use crate::results::labels::{model_names, variant_names};

/// Where every plotting area begins and ends; to its right stand the names.
const LEFT: f64 = MARGIN + 44.0;
const RIGHT: f64 = WIDTH - 146.0;
/// Heights of the plotting areas.
const ARRIVALS: f64 = 96.0;
const KV: f64 = 116.0;
const QUEUE: f64 = 96.0;
/// What a panel needs above its plotting area for its title.
const ABOVE: f64 = 34.0;
/// What a variant's row needs above its plotting area for the marks of its decisions.
const MARKS: f64 = 15.0;
/// What the last panel needs below for the labels of the time axis.
const BELOW: f64 = 44.0;
/// Variants whose fullest replica is shown beside the mean; more would be a tangle.
const MOST_PAIRS: usize = 6;
/// Parts of the time axis for which a line has points, or fewer when there are many lines.
const PARTS: usize = 390;

/// The run over time.
pub(super) struct Timeline {
    title: String,
    subtitle: String,
    end: f64,
    time: Axis,
    time_title: &'static str,
    arrivals: Vec<Named>,
    variants: Vec<Variant>,
    waiting: Vec<Point>,
    at_gateway: Vec<Point>,
    threshold: Option<Fraction>,
}

/// A series with its name.
struct Named {
    name: String,
    color: RGBColor,
    values: Vec<Point>,
}

/// One variant over time.
struct Variant {
    name: String,
    accelerator: String,
    color: RGBColor,
    ready: Vec<Point>,
    coming: Vec<Point>,
    desired: Vec<Point>,
    /// The times of its decisions, and whether they asked for more.
    moves: Vec<(f64, bool)>,
    most: u32,
    /// Mean KV use while a replica is ready, in unbroken pieces.
    kv: Vec<Vec<Point>>,
    kv_max: Vec<Vec<Point>>,
}

impl Timeline {
    /// `threshold` is the KV use from which on the policy calls a replica saturated.
    pub(super) fn of(recording: &Recording, threshold: Option<Fraction>) -> Self {
        let (time, time_title) = Axis::time(recording.end);
        let end = time.high();
        let parts = (PARTS * 4 / recording.variants.len().max(1)).clamp(60, PARTS);
        let mut by_variant: Vec<Vec<&Sample>> =
            recording.variants.iter().map(|_| Vec::new()).collect();
        for sample in &recording.samples {
            by_variant[sample.variant].push(sample);
        }
        let names = variant_names(recording);
        let variants =
            by_variant.iter().zip(names).enumerate().map(|(idx, (samples, name))| Variant {
                name,
                accelerator: recording.variants[idx].accelerator.to_string(),
                moves: moves(&recording.scalings, idx),
                ..Variant::of(samples, series(idx), end, parts)
            });
        let variants: Vec<_> = variants.collect();
        let sum = |value: fn(&Sample) -> u32, once_per_model: bool| {
            let counted =
                |sample: &&Sample| !once_per_model || first_of_model(recording, sample.variant);
            let at_once = recording.samples.chunk_by(|a, b| a.at == b.at);
            let sums: Vec<Point> = at_once
                .map(|now| {
                    let sum: u32 = now.iter().filter(counted).map(value).sum();
                    (now[0].at.as_seconds(), f64::from(sum))
                })
                .collect();
            stairs(&peaks(&sums, end, PARTS), end)
        };
        Self {
            title: format!("{}: timeline", recording.scenario),
            subtitle: subtitle(recording),
            end,
            time,
            time_title,
            arrivals: arrivals(recording, &by_variant, end),
            variants,
            waiting: sum(|sample| sample.waiting, false),
            at_gateway: sum(|sample| sample.gateway_queue, true),
            threshold,
        }
    }

    /// The height of the figure in logical pixels.
    pub(super) fn height(&self) -> f64 {
        let rows = self.variants.len().max(1) as f64;
        let replicas = rows * (self.row() + MARKS);
        header::height(&[]) + ARRIVALS + replicas + KV + QUEUE + 4.0 * ABOVE + BELOW
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), PlotError> {
        header::draw(canvas, &self.title, &self.subtitle, &[])?;
        let mut top = header::height(&[]) - 4.0 + ABOVE;
        self.draw_arrivals(canvas, band(top, ARRIVALS))?;
        top += ARRIVALS + ABOVE;
        self.draw_replicas(canvas, top)?;
        top += self.variants.len().max(1) as f64 * (self.row() + MARKS) + ABOVE;
        self.draw_kv(canvas, band(top, KV))?;
        top += KV + ABOVE;
        self.draw_queue(canvas, band(top, QUEUE))
    }

    /// The height of one variant's plotting area: the more variants, the flatter.
    fn row(&self) -> f64 {
        match self.variants.len() {
            0..=2 => 72.0,
            3..=4 => 52.0,
            _ => 34.0,
        }
    }

    fn draw_arrivals<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        bounds: Bounds,
    ) -> Result<(), PlotError> {
        let y = Axis::from_zero(highest(self.arrivals.iter().map(|series| &series.values)), 4.0);
        let panel = Panel { canvas, bounds, x: &self.time, y: &y };
        panel.title("Arrivals (requests per second)", 15.0)?;
        panel.frame()?;
        for series in &self.arrivals {
            if self.arrivals.len() == 1 {
                panel.area(&series.values, None, series.color, 0.12)?;
            }
            panel.line(&series.values, series.color, 1.6)?;
        }
        if self.arrivals.iter().all(|series| series.values.is_empty()) {
            return panel.remark("no samples");
        }
        if self.arrivals.len() == 1 {
            return Ok(());
        }
        // What fits beside the panel; more models than that are told apart in the latency figure.
        for (idx, series) in self.arrivals.iter().take(6).enumerate() {
            beside(&panel, idx, &series.name, series.color)?;
        }
        Ok(())
    }

    fn draw_replicas<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        top: f64,
    ) -> Result<(), PlotError> {
        let row = self.row();
        let most = self.variants.iter().map(|variant| variant.most).max().unwrap_or(0);
        let y = Axis::counts(most, if row < 50.0 { 2.0 } else { 4.0 });
        let first = Panel { canvas, bounds: band(top + MARKS, row), x: &self.time, y: &y };
        first.title("Replicas", 15.0 + MARKS)?;
        legend_of_replicas(canvas, top - 15.0)?;
        if self.variants.is_empty() {
            first.frame()?;
            return first.remark("no variants");
        }
        for (idx, variant) in self.variants.iter().enumerate() {
            let bounds = band(top + MARKS + (row + MARKS) * idx as f64, row);
            let panel = Panel { canvas, bounds, x: &self.time, y: &y };
            panel.frame()?;
            panel.area(&variant.coming, Some(&variant.ready), variant.color, 0.28)?;
            panel.dashes(&variant.desired, INK, 1.0)?;
            panel.line(&variant.ready, variant.color, 2.0)?;
            let marks = variant.moves.iter().map(|&(time, up)| (panel.x_at(time), up));
            for (x, up) in spaced(marks) {
                triangle(canvas, (x, bounds.top - 7.0), up)?;
            }
            beside(&panel, 0, &variant.name, variant.color)?;
            let below = (RIGHT + 32.0, bounds.top + 22.0);
            canvas.text(&variant.accelerator, below, Align::Left, SMALL, MUTED)?;
        }
        Ok(())
    }

    fn draw_kv<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        bounds: Bounds,
    ) -> Result<(), PlotError> {
        let y = Axis::share(4);
        let panel = Panel { canvas, bounds, x: &self.time, y: &y };
        panel.title("KV cache in use", 15.0)?;
        let crowded = self.variants.len() > MOST_PAIRS;
        let note = if crowded {
            "mean of the ready replicas"
        } else {
            "thick: mean of the ready replicas, thin: the fullest one"
        };
        canvas.text(note, (RIGHT, bounds.top - 15.0), Align::Right, SMALL, MUTED)?;
        panel.frame()?;
        if let Some(threshold) = self.threshold {
            let level = threshold.value();
            panel.dashes(&[(0.0, level), (self.end, level)], INK, 1.0)?;
            let text = format!("threshold {}%", (level * 1e3).round() / 10.0);
            canvas.text(&text, (RIGHT + 10.0, panel.y_at(level)), Align::Left, SMALL, INK)?;
        }
        for variant in self.variants.iter().filter(|_| !crowded) {
            for piece in &variant.kv_max {
                panel.line(piece, lighter(variant.color), 0.75)?;
            }
        }
        for variant in &self.variants {
            for piece in &variant.kv {
                panel.line(piece, variant.color, 1.8)?;
            }
        }
        if self.variants.iter().all(|variant| variant.kv.is_empty()) {
            return panel.remark("no ready replica");
        }
        Ok(())
    }

    fn draw_queue<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        bounds: Bounds,
    ) -> Result<(), PlotError> {
        let y =
            Axis::from_zero(highest([&self.waiting, &self.at_gateway].into_iter()).max(4.0), 4.0);
        let panel = Panel { canvas, bounds, x: &self.time, y: &y };
        panel.title("Queue (waiting requests)", 15.0)?;
        panel.frame()?;
        panel.x_labels(self.time_title)?;
        for (idx, (name, color, values)) in
            [("in the engines", INK, &self.waiting), ("at the gateway", DOWN, &self.at_gateway)]
                .into_iter()
                .enumerate()
        {
            panel.area(values, None, color, 0.15)?;
            panel.line(values, color, 1.4)?;
            beside(&panel, idx, name, color)?;
        }
        Ok(())
    }
}

impl Variant {
    fn of(samples: &[&Sample], color: RGBColor, end: f64, parts: usize) -> Self {
        let series = |value: fn(&Sample) -> f64| -> Vec<Point> {
            samples.iter().map(|sample| (sample.at.as_seconds(), value(sample))).collect()
        };
        let steps = |value: fn(&Sample) -> f64| outline(&stairs(&series(value), end), end, parts);
        // A variant without a ready replica has no KV cache, so its line is interrupted.
        let pieces = |value: fn(&Sample) -> f64| -> Vec<Vec<Point>> {
            let runs = samples.chunk_by(|a, b| a.ready.get().min(1) == b.ready.get().min(1));
            let ready = runs.filter(|run| run[0].ready.get() > 0);
            let points =
                ready.map(|run| run.iter().map(|s| (s.at.as_seconds(), value(s))).collect());
            points.collect()
        };
        let exist = |sample: &&Sample| (sample.ready + sample.starting).max(sample.desired).get();
        Self {
            name: String::new(),
            accelerator: String::new(),
            color,
            ready: steps(|sample| sample.ready.as_f64()),
            coming: steps(|sample| (sample.ready + sample.starting).as_f64()),
            desired: steps(|sample| sample.desired.as_f64()),
            moves: Vec::new(),
            most: samples.iter().map(exist).max().unwrap_or(0),
            kv: pieces(|s| s.kv_usage).iter().map(|piece| means(piece, end, parts)).collect(),
            kv_max: pieces(|s| s.kv_usage_max)
                .iter()
                .map(|piece| peaks(piece, end, parts))
                .collect(),
        }
    }
}

fn subtitle(recording: &Recording) -> String {
    format!(
        "{} simulated, {}, {}",
        format::span(recording.end.since(Timestamp::ZERO)),
        format::counted(recording.counts().arrived, "request"),
        format::counted(recording.scalings.len() as u64, "scaling decision"),
    )
}

/// Arrivals of each model. Every sample of a model has the rate, so those of one variant will do.
fn arrivals(recording: &Recording, by_variant: &[Vec<&Sample>], end: f64) -> Vec<Named> {
    let single = recording.models.len() == 1;
    let names = model_names(recording).into_iter().enumerate();
    names
        .map(|(idx, name)| {
            let variant = recording.variants.iter().position(|variant| variant.model == idx);
            let samples = variant.map_or(&[][..], |variant| &by_variant[variant]);
            let rates: Vec<Point> =
                samples.iter().map(|s| (s.at.as_seconds(), s.arrival_rate)).collect();
            let color = if single { INK } else { series(6 - idx % 7) };
            Named { name, color, values: means(&rates, end, PARTS / 2) }
        })
        .collect()
}

fn first_of_model(recording: &Recording, variant: usize) -> bool {
    let model = recording.variants[variant].model;
    recording.variants.iter().position(|other| other.model == model) == Some(variant)
}

fn moves(scalings: &[ScalingRecord], variant: usize) -> Vec<(f64, bool)> {
    let of_variant = scalings.iter().filter(|s| s.variant == variant);
    // The mark tells what the decision changed, so it compares with the count wanted before.
    of_variant.map(|s| (s.at.as_seconds(), s.desired > s.previous)).collect()
}

/// The plotting area at a height.
fn band(top: f64, height: f64) -> Bounds {
    Bounds { left: LEFT, top, right: RIGHT, bottom: top + height }
}

/// A name with its color, to the right of a panel.
fn beside<DB: DrawingBackend>(
    panel: &Panel<'_, DB>,
    line: usize,
    name: &str,
    color: RGBColor,
) -> Result<(), PlotError> {
    let y = panel.bounds.top + 7.0 + 15.0 * line as f64;
    panel.canvas.line(&[(RIGHT + 10.0, y), (RIGHT + 26.0, y)], color, 2.4)?;
    let name = shortened(panel.canvas, name, WIDTH - 8.0 - RIGHT - 32.0)?;
    panel.canvas.text(&name, (RIGHT + 32.0, y), Align::Left, SMALL, INK)
}

fn legend_of_replicas<DB: DrawingBackend>(canvas: &Canvas<DB>, y: f64) -> Result<(), PlotError> {
    let mut x = RIGHT;
    for (name, sign) in
        [("scaled down", 4), ("scaled up", 3), ("starting", 2), ("desired", 1), ("ready", 0)]
    {
        canvas.text(name, (x, y), Align::Right, SMALL, MUTED)?;
        let end = x - canvas.width(name, SMALL)? * 1.05 - 6.0;
        let start = end - 18.0;
        match sign {
            0 => canvas.line(&[(start, y), (end, y)], MUTED, 2.0)?,
            1 => canvas.dashes(&[(start, y), (end, y)], INK, 1.0, (5.0, 3.5))?,
            2 => canvas.rectangle(((start, y - 5.0), (end, y + 5.0)), MUTED, 0.28)?,
            3 => triangle(canvas, (end - 5.0, y), true)?,
            _ => triangle(canvas, (end - 5.0, y), false)?,
        }
        x = start - if sign > 2 { 6.0 } else { 14.0 };
    }
    Ok(())
}

fn triangle<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    center: Point,
    up: bool,
) -> Result<(), PlotError> {
    let (x, y) = center;
    let (tip, base, color) = if up { (y - 4.0, y + 3.5, UP) } else { (y + 4.0, y - 3.5, DOWN) };
    canvas.fill(&[(x, tip), (x + 4.5, base), (x - 4.5, base)], color, 1.0)
}

/// Marks that stay apart in a long run: of marks of one direction that stand closer than four
/// pixels the first is kept, and a mark that would cover one of the other direction is moved aside.
fn spaced(marks: impl Iterator<Item = (f64, bool)>) -> impl Iterator<Item = (f64, bool)> {
    let mut last: Option<(f64, bool)> = None;
    marks.filter_map(move |(x, up)| {
        let placed = match last {
            Some((at, same)) if same == up && x - at < 4.0 => return None,
            Some((at, same)) if same != up && x - at < 9.0 => (at + 9.0, up),
            _ => (x, up),
        };
        last = Some(placed);
        last
    })
}

fn highest<'a>(series: impl Iterator<Item = &'a Vec<Point>>) -> f64 {
    series.flatten().map(|point| point.1).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_would_cover_each_other_are_thinned_or_moved_aside() {
        let marks = [(10.0, true), (12.0, true), (15.0, false), (40.0, true), (60.0, true)];
        let placed: Vec<_> = spaced(marks.into_iter()).collect();
        assert_eq!(placed, [(10.0, true), (19.0, false), (40.0, true), (60.0, true)]);
    }
}
