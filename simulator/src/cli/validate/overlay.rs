//! The figure of a run: batch and queue over time, recorded and simulated.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::results::plot::embedded_font;
use crate::validation::{Comparison, Sample};

const SIZE: (u32, u32) = (900, 420);

/// Okabe and Ito's blue and vermilion, which color-blind readers tell apart.
const RUNNING: RGBColor = RGBColor(0, 114, 178);
const WAITING: RGBColor = RGBColor(213, 94, 0);

/// A name, a color, and the value in one sample.
type Series = (&'static str, RGBColor, fn(&Sample) -> f64);

const SERIES: [Series; 2] =
    [("running", RUNNING, |sample| sample.running), ("waiting", WAITING, |sample| sample.waiting)];

/// Draws the samples of `comparison` as an SVG file: what was recorded as dots, what was simulated
/// as a line.
pub(super) fn draw(path: &Path, comparison: &Comparison) -> Result<()> {
    let Comparison { run, replay, .. } = comparison;
    let both = || run.samples.iter().chain(&replay.samples);
    let end = both().map(|sample| sample.t).fold(1.0, f64::max);
    let most = both().map(|sample| sample.running.max(sample.waiting)).fold(1.0, f64::max);

    let font = embedded_font()?;
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let title = format!("{} on {}", run.model, run.gpu);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (font, 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.05)
        .map_err(failed)?;
    let mesh = &mut chart.configure_mesh();
    mesh.label_style((font, 12))
        .x_desc("seconds")
        .y_desc("sequences")
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    for (name, color, value) in SERIES {
        let point = |sample: &Sample| (sample.t, value(sample));
        chart
            .draw_series(LineSeries::new(replay.samples.iter().map(point), color.stroke_width(2)))
            .map_err(failed)?
            .label(format!("{name}, simulated"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        let dots = run.samples.iter().map(|sample| Circle::new(point(sample), 2, color.filled()));
        chart
            .draw_series(dots)
            .map_err(failed)?
            .label(format!("{name}, recorded"))
            .legend(move |(x, y)| Circle::new((x + 8, y), 2, color.filled()));
    }
    let labels = &mut chart.configure_series_labels();
    labels
        .label_font((font, 12))
        .background_style(WHITE.mix(0.8))
        .border_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)
}

/// An error of the drawing library, which is not an error that can be passed on as it is.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}
