//! What stands above the panels of a figure: title, subtitle and legend.

use plotters::prelude::{DrawingBackend, RGBColor};

use super::canvas::{Align, Canvas, PlotError};
use super::palette::{INK, MUTED};
use super::panel::SMALL;
use super::{MARGIN, WIDTH};

/// A color and what it stands for.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) color: RGBColor,
}

/// Entries in one row of the legend.
const IN_ROW: usize = 4;

/// The height of a header in logical pixels.
pub(super) fn height(legend: &[Entry]) -> f64 {
    62.0 + 18.0 * legend.len().div_ceil(IN_ROW) as f64
}

/// Draws a header at the top of the figure.
pub(super) fn draw<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    title: &str,
    subtitle: &str,
    legend: &[Entry],
) -> Result<(), PlotError> {
    canvas.text(title, (MARGIN, 26.0), Align::Left, 17.0, INK)?;
    canvas.text(subtitle, (MARGIN, 48.0), Align::Left, SMALL, MUTED)?;
    let column = (WIDTH - 2.0 * MARGIN) / IN_ROW as f64;
    for (idx, entry) in legend.iter().enumerate() {
        let x = MARGIN + column * (idx % IN_ROW) as f64;
        let y = 70.0 + 18.0 * (idx / IN_ROW) as f64;
        canvas.line(&[(x, y), (x + 18.0, y)], entry.color, 2.4)?;
        let name = shortened(canvas, &entry.name, column - 34.0)?;
        canvas.text(&name, (x + 24.0, y), Align::Left, SMALL, INK)?;
    }
    Ok(())
}

/// A name cut to a width in small text, with an ellipsis where it was cut.
pub(super) fn shortened<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    name: &str,
    width: f64,
) -> Result<String, PlotError> {
    let mut short = name.to_owned();
    while canvas.width(&short, SMALL)? > width {
        let kept = short.chars().count().saturating_sub(2);
        short = short.chars().take(kept).chain(['…']).collect();
        if kept == 0 {
            break;
        }
    }
    Ok(short)
}
