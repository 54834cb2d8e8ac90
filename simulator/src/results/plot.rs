//! The figures of a run, as SVG and as PNG.
//!
//! Each figure is drawn by one function over the backend, so both files show the same. Neither asks
//! for a font of the system: text in a PNG is set in the embedded one, and an SVG holds it as text.

mod axis;
mod canvas;
mod distribution;
mod header;
mod latency;
mod palette;
mod panel;
mod thin;
mod timeline;

use std::path::Path;

use optimizer::units::Fraction;
use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};

pub use self::canvas::PlotError;
pub(crate) use self::canvas::embedded_font;
use self::canvas::{Canvas, FINE, Medium};
use self::latency::Latency;
use self::timeline::Timeline;
use crate::records::Recording;

/// The width of every figure in logical pixels.
const WIDTH: f64 = 900.0;
/// The empty rim of every figure.
const MARGIN: f64 = 24.0;
/// Pixels of a PNG for each logical one.
const PNG_SCALE: u32 = 2;

/// A figure.
#[derive(Debug)]
pub struct Figure(Kind);

enum Kind {
    Latency(Latency),
    Timeline(Timeline),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Latency(_) => "Latency",
            Self::Timeline(_) => "Timeline",
        })
    }
}

impl Figure {
    /// The distributions of TTFT, TPOT, ITL and E2E, one curve for each model.
    #[must_use]
    pub fn latency(recording: &Recording) -> Self {
        Self(Kind::Latency(Latency::of(recording)))
    }

    /// Arrivals, replicas, KV cache and queues over time. `kv_threshold` is the share of the KV
    /// cache from which on the policy calls a replica saturated.
    #[must_use]
    pub fn timeline(recording: &Recording, kv_threshold: Option<Fraction>) -> Self {
        Self(Kind::Timeline(Timeline::of(recording, kv_threshold)))
    }

    /// The figure as a document.
    ///
    /// # Errors
    ///
    /// [`PlotError`] when the embedded font is damaged.
    pub fn svg(&self) -> Result<String, PlotError> {
        let (width, height) = self.size(1);
        let (fine_width, fine_height) = self.size(FINE);
        let mut document = String::new();
        let backend = SVGBackend::with_string(&mut document, (fine_width, fine_height));
        self.draw(backend, Medium::Vector)?;
        // The coordinates stay fine; only the size that is shown is the logical one.
        let fine = format!("<svg width=\"{fine_width}\" height=\"{fine_height}\"");
        let logical =
            format!("<svg width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\"");
        Ok(document.replacen(&fine, &logical, 1))
    }

    /// Writes the figure as a picture of twice its logical size. The path must end in `.png`.
    ///
    /// # Errors
    ///
    /// [`PlotError`] when the file cannot be written or the embedded font is damaged.
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        let fine_size = self.size(FINE);
        let mut pixels = vec![0; 3 * fine_size.0 as usize * fine_size.1 as usize];
        self.draw(BitMapBackend::with_buffer(&mut pixels, fine_size), Medium::Raster)?;
        let pixels = halved(&pixels, fine_size.0 as usize);
        let size = self.size(PNG_SCALE);
        let mut file = BitMapBackend::new(path, size);
        let written = file.blit_bitmap((0, 0), size, &pixels).and_then(|()| file.present());
        written.map_err(|error| PlotError::Backend(error.to_string()))
    }

    fn draw(&self, backend: impl DrawingBackend, medium: Medium) -> Result<(), PlotError> {
        let canvas = Canvas::new(backend, medium)?;
        match &self.0 {
            Kind::Latency(figure) => figure.draw(&canvas)?,
            Kind::Timeline(figure) => figure.draw(&canvas)?,
        }
        canvas.present()
    }

    /// Width and height in pixels, of which a logical one has `scale` each way.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    fn size(&self, scale: u32) -> (u32, u32) {
        let height = match &self.0 {
            Kind::Latency(figure) => figure.height(),
            Kind::Timeline(figure) => figure.height(),
        };
        (WIDTH as u32 * scale, height.ceil() as u32 * scale)
    }
}

/// A picture of half the size, in which every pixel is the mean of four. Both sides are even.
fn halved(pixels: &[u8], width: usize) -> Vec<u8> {
    let mut small = Vec::with_capacity(pixels.len() / 4);
    for rows in pixels.chunks_exact(2 * 3 * width) {
        let (upper, lower) = rows.split_at(3 * width);
        for (above, below) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            for part in 0..3 {
                let sum = [above[part], above[part + 3], below[part], below[part + 3]];
                let sum: u16 = sum.into_iter().map(u16::from).sum();
                small.push(u8::try_from(sum.div_ceil(4)).unwrap_or(u8::MAX));
            }
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use optimizer::units::Seconds;

    use super::*;
    use crate::results::sample::{self, Shape};

    const BASE: Shape = Shape::HALF_HOUR;

    /// Every tag is closed by its own name, and no number came out as none.
    fn check_well_formed(name: &str, svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let tag_name = tag.trim_start_matches('/').split_whitespace().next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(tag_name), "{name}");
            } else if !tag.ends_with('/') {
                open.push(tag_name);
            }
        }
        assert!(open.is_empty(), "{name}: {open:?}");
        assert!(svg.starts_with("<svg width=\"900\""), "{name}");
        for wrong in ["NaN", "inf", "-2147483648", "2147483647"] {
            assert!(!svg.contains(wrong), "{name}: {wrong}");
        }
        assert!(svg.len() < 300_000, "{name}: {} bytes", svg.len());
    }

    #[test]
    fn every_run_has_figures() {
        let week = Seconds::new(604_800.0);
        for (name, recording) in [
            ("half an hour", sample::recording(BASE)),
            ("one variant", sample::recording(Shape { variants: 1, ..BASE })),
            ("many", sample::recording(Shape { models: 8, variants: 12, ..BASE })),
            ("30 s", sample::recording(Shape { duration: Seconds::new(30.0), samples: 6, ..BASE })),
            ("a week", sample::recording(Shape { duration: week, samples: 20_160, ..BASE })),
            ("one request", sample::recording(Shape { requests: 1, samples: 1, ..BASE })),
            ("no request", sample::empty(BASE)),
            ("no variant", sample::empty(Shape { variants: 0, ..BASE })),
            ("no time", sample::empty(Shape { duration: Seconds::ZERO, ..BASE })),
        ] {
            check_well_formed(name, &Figure::latency(&recording).svg().unwrap());
            check_well_formed(name, &Figure::timeline(&recording, None).svg().unwrap());
        }
    }

    #[test]
    fn a_figure_tells_what_it_shows() {
        let recording = sample::recording(BASE);
        let svg = Figure::latency(&recording).svg().unwrap();
        for text in ["SLO 1 s", "98.4% within 1 s", "TTFT (s, logarithmic)", "p99 1.20 s"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.contains("diurnal &lt;chat&gt; &amp; batch"));
        let svg = Figure::timeline(&recording, Some(Fraction::new(0.85))).svg().unwrap();
        for text in ["threshold 85%", "time (min)", "llama-8b-h100-0", "14 scaling decisions"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_png_has_twice_the_size() {
        let recording = sample::recording(Shape { requests: 50, ..BASE });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latency.png");
        let figure = Figure::latency(&recording);
        figure.write_png(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((number(16), number(20)), figure.size(2));
        assert!(figure.write_png(&dir.path().join("no/such/folder.png")).is_err());
    }

    #[test]
    fn halving_takes_the_mean_of_four_pixels() {
        let upper = [10, 20, 30, 20, 30, 40];
        let lower = [30, 40, 50, 40, 50, 60];
        assert_eq!(halved(&[upper, lower].concat(), 2), [25, 35, 45]);
    }
}
