//! A surface in logical pixels over any backend of plotters.
//!
//! plotters places everything on whole pixels. The canvas is therefore a grid [`FINE`] times finer
//! than the picture: an SVG gets quarter pixels, and a PNG is scaled down from it, which smooths it.

use std::sync::LazyLock;

use plotters::coord::Shift;
use plotters::prelude::{
    Circle, DrawingArea, DrawingAreaErrorKind, DrawingBackend, FontStyle, IntoDrawingArea,
    PathElement, Polygon, RGBColor, Rectangle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, ShapeStyle, TextStyle, register_font};
use thiserror::Error;

/// Steps of the grid in one logical pixel.
pub(super) const FINE: u32 = 4;

/// The embedded font comes first, so that an SVG shows it where it is installed.
const FONT: &str = "Roboto, Helvetica, Arial, sans-serif";

static FONT_IS_THERE: LazyLock<bool> = LazyLock::new(|| {
    let bytes = include_bytes!("../../../assets/Roboto-Regular.ttf");
    register_font(FONT, FontStyle::Normal, bytes).is_ok()
});

/// The family under which the embedded font is known to plotters.
///
/// # Errors
///
/// When the font is damaged.
pub(crate) fn embedded_font() -> Result<&'static str, PlotError> {
    if *FONT_IS_THERE { Ok(FONT) } else { Err(PlotError::Font) }
}

/// A figure cannot be drawn.
#[derive(Debug, Error)]
pub enum PlotError {
    /// The embedded font is not one.
    #[error("the embedded font cannot be read")]
    Font,
    /// The backend refused; for files this is an error of the file system.
    #[error("{0}")]
    Backend(String),
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Backend(error.to_string())
    }
}

/// What a backend makes of a wide line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// A path with a stroke.
    Vector,
    /// Pixels. plotters outlines the whole path as one polygon there, which comes apart at sharp
    /// angles, so every segment is drawn on its own.
    Raster,
}

/// A point in logical pixels, from the top left.
pub(super) type Point = (f64, f64);

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Center,
    Right,
}

/// A surface in logical pixels.
pub(super) struct Canvas<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    medium: Medium,
}

impl<DB: DrawingBackend> Canvas<DB> {
    /// A white surface. The backend must have [`FINE`] pixels for each logical one.
    pub(super) fn new(backend: DB, medium: Medium) -> Result<Self, PlotError> {
        embedded_font()?;
        let area = backend.into_drawing_area();
        area.fill(&RGBColor(255, 255, 255))?;
        Ok(Self { area, medium })
    }

    /// Hands the picture to the backend.
    pub(super) fn present(&self) -> Result<(), PlotError> {
        Ok(self.area.present()?)
    }

    /// A line through `points`.
    pub(super) fn line(
        &self,
        points: &[Point],
        color: RGBColor,
        width: f64,
    ) -> Result<(), PlotError> {
        let style = ShapeStyle {
            color: color.to_rgba(),
            filled: false,
            stroke_width: fine(width).unsigned_abs(),
        };
        let path: Vec<_> = points.iter().map(|&point| at(point)).collect();
        match self.medium {
            Medium::Vector => self.area.draw(&PathElement::new(path, style))?,
            Medium::Raster => {
                for pair in path.windows(2) {
                    self.area.draw(&PathElement::new(pair, style))?;
                }
                let joints = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
                for &joint in joints {
                    self.area.draw(&Circle::new(joint, fine(width) / 2, color.filled()))?;
                }
            }
        }
        Ok(())
    }

    /// A line through `points` in dashes of `dash` pixels with gaps of `gap` pixels.
    pub(super) fn dashes(
        &self,
        points: &[Point],
        color: RGBColor,
        width: f64,
        (dash, gap): (f64, f64),
    ) -> Result<(), PlotError> {
        let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
        let (mut drawing, mut left) = (true, dash);
        for pair in points.windows(2) {
            let (mut from, to) = (pair[0], pair[1]);
            loop {
                let length = (to.0 - from.0).hypot(to.1 - from.1);
                if length <= left {
                    left -= length;
                    piece.push(to);
                    break;
                }
                let share = left / length;
                from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
                piece.push(from);
                if drawing {
                    self.line(&piece, color, width)?;
                }
                (drawing, left) = (!drawing, if drawing { gap } else { dash });
                piece = vec![from];
            }
        }
        if drawing { self.line(&piece, color, width) } else { Ok(()) }
    }

    /// A filled polygon.
    pub(super) fn fill(
        &self,
        points: &[Point],
        color: RGBColor,
        opacity: f64,
    ) -> Result<(), PlotError> {
        let path: Vec<_> = points.iter().map(|&point| at(point)).collect();
        Ok(self.area.draw(&Polygon::new(path, color.mix(opacity)))?)
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(
        &self,
        (from, to): (Point, Point),
        color: RGBColor,
        opacity: f64,
    ) -> Result<(), PlotError> {
        Ok(self.area.draw(&Rectangle::new([at(from), at(to)], color.mix(opacity).filled()))?)
    }

    /// A dot with a white rim, which sets it off from the line that it marks.
    pub(super) fn dot(&self, center: Point, color: RGBColor, radius: f64) -> Result<(), PlotError> {
        let white = RGBColor(255, 255, 255);
        self.area.draw(&Circle::new(at(center), fine(radius + 1.0), white.filled()))?;
        Ok(self.area.draw(&Circle::new(at(center), fine(radius), color.filled()))?)
    }

    /// One line of text whose middle is at the height of `anchor`.
    pub(super) fn text(
        &self,
        text: &str,
        anchor: Point,
        align: Align,
        size: f64,
        color: RGBColor,
    ) -> Result<(), PlotError> {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let style = style(size).color(&color).pos(Pos::new(horizontal, VPos::Center));
        // Measured: plotters' rasterizer puts the baseline higher than its SVG does.
        let lower = if self.medium == Medium::Raster { 0.14 * size } else { 0.0 };
        Ok(self.area.draw_text(text, &style, at((anchor.0, anchor.1 + lower)))?)
    }

    /// The width of a text in the embedded font, in logical pixels.
    pub(super) fn width(&self, text: &str, size: f64) -> Result<f64, PlotError> {
        let (width, _) = self.area.estimate_text_size(text, &style(size))?;
        Ok(f64::from(width) / f64::from(FINE))
    }
}

fn style(size: f64) -> TextStyle<'static> {
    // plotters' sizes are line heights; 1.24 is its factor between them and the em.
    TextStyle::from((FONT, size * 1.24 * f64::from(FINE)))
}

fn at((x, y): Point) -> (i32, i32) {
    (fine(x), fine(y))
}

/// Logical pixels in steps of the grid.
#[expect(clippy::cast_possible_truncation, reason = "a picture is smaller than 2^31 steps")]
fn fine(pixels: f64) -> i32 {
    (pixels * f64::from(FINE)).round() as i32
}
