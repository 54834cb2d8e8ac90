//! A panel: a rectangle of the canvas with two axes.

use plotters::prelude::{DrawingBackend, RGBColor};

use super::axis::Axis;
use super::canvas::{Align, Canvas, PlotError, Point};
use super::palette::{FRAME, GRID, INK, MUTED, PAPER};

/// The size of tick labels and other small text.
pub(super) const SMALL: f64 = 11.0;
/// The size of a panel's title.
pub(super) const TITLE: f64 = 13.0;

/// A rectangle of the canvas, in logical pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// A panel with its axes.
pub(super) struct Panel<'a, DB: DrawingBackend> {
    pub(super) canvas: &'a Canvas<DB>,
    pub(super) bounds: Bounds,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
}

impl<DB: DrawingBackend> Panel<'_, DB> {
    /// Grid, base line and the labels of the vertical axis.
    pub(super) fn frame(&self) -> Result<(), PlotError> {
        let Bounds { left, top, right, bottom } = self.bounds;
        for (value, label) in &self.x.ticks {
            let x = self.x_at(*value);
            let width = if label.is_empty() { 0.5 } else { 1.0 };
            self.canvas.line(&[(x, top), (x, bottom)], GRID, width)?;
        }
        for (value, label) in &self.y.ticks {
            let y = self.y_at(*value);
            self.canvas.line(&[(left, y), (right, y)], GRID, 1.0)?;
            self.canvas.text(label, (left - 7.0, y), Align::Right, SMALL, MUTED)?;
        }
        self.canvas.line(&[(left, bottom), (right, bottom)], FRAME, 1.0)
    }

    /// The labels of the horizontal axis and, below them, what they are.
    pub(super) fn x_labels(&self, title: &str) -> Result<(), PlotError> {
        let Bounds { left, right, bottom, .. } = self.bounds;
        for (value, label) in self.x.ticks.iter().filter(|(_, label)| !label.is_empty()) {
            let x = self.x_at(*value);
            self.canvas.line(&[(x, bottom), (x, bottom + 4.0)], FRAME, 1.0)?;
            self.canvas.text(label, (x, bottom + 14.0), Align::Center, SMALL, MUTED)?;
        }
        let middle = f64::midpoint(left, right);
        self.canvas.text(title, (middle, bottom + 31.0), Align::Center, SMALL, MUTED)
    }

    /// A title at a height above the panel.
    pub(super) fn title(&self, title: &str, above: f64) -> Result<(), PlotError> {
        let Bounds { left, top, .. } = self.bounds;
        self.canvas.text(title, (left, top - above), Align::Left, TITLE, INK)
    }

    /// A remark in the middle of a panel that has nothing to show.
    pub(super) fn remark(&self, text: &str) -> Result<(), PlotError> {
        let Bounds { left, top, right, bottom } = self.bounds;
        let (x, y) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        let half = self.canvas.width(text, SMALL)? / 2.0 + 6.0;
        self.canvas.rectangle(((x - half, y - 9.0), (x + half, y + 9.0)), PAPER, 1.0)?;
        self.canvas.text(text, (x, y), Align::Center, SMALL, MUTED)
    }

    /// A line through values.
    pub(super) fn line(
        &self,
        values: &[Point],
        color: RGBColor,
        width: f64,
    ) -> Result<(), PlotError> {
        self.canvas.line(&self.points(values), color, width)
    }

    /// A dashed line through values.
    pub(super) fn dashes(
        &self,
        values: &[Point],
        color: RGBColor,
        width: f64,
    ) -> Result<(), PlotError> {
        self.canvas.dashes(&self.points(values), color, width, (5.0, 3.5))
    }

    /// The area between a line and another one, or the base.
    pub(super) fn area(
        &self,
        values: &[Point],
        base: Option<&[Point]>,
        color: RGBColor,
        opacity: f64,
    ) -> Result<(), PlotError> {
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return Ok(()) };
        let mut outline = self.points(values);
        match base {
            Some(base) => outline.extend(self.points(base).into_iter().rev()),
            None => outline.extend(self.points(&[(last.0, 0.0), (first.0, 0.0)])),
        }
        self.canvas.fill(&outline, color, opacity)
    }

    /// Where a pair of values stands on the canvas.
    pub(super) fn at(&self, (x, y): Point) -> Point {
        (self.x_at(x), self.y_at(y))
    }

    /// Where a value of the horizontal axis stands.
    pub(super) fn x_at(&self, value: f64) -> f64 {
        self.bounds.left + self.x.place(value) * (self.bounds.right - self.bounds.left)
    }

    /// Where a value of the vertical axis stands.
    pub(super) fn y_at(&self, value: f64) -> f64 {
        self.bounds.bottom - self.y.place(value) * (self.bounds.bottom - self.bounds.top)
    }

    fn points(&self, values: &[Point]) -> Vec<Point> {
        values.iter().map(|&value| self.at(value)).collect()
    }
}
