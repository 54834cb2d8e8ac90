//! The figures of a trace, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::results::plot::embedded_font;
use crate::traces::Inspection;

const SIZE: (u32, u32) = (900, 420);

/// Okabe and Ito's blue and vermilion, which color-blind readers tell apart.
const PROMPT: RGBColor = RGBColor(0, 114, 178);
const OUTPUT: RGBColor = RGBColor(213, 94, 0);

/// Points of a curve: with more, two neighbors would be less than a pixel apart in height.
const MOST_POINTS: usize = 400;

/// Bars of a histogram for each tenfold of tokens.
const BARS_PER_DECADE: f64 = 10.0;

/// A named curve.
type Curve<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

/// Draws four figures into `folder`, named after the trace: `.rate.svg`, `.lengths.svg`, `.cdf.svg`
/// and `.gaps.svg`.
///
/// # Errors
///
/// When a file cannot be written.
pub(super) fn draw(folder: &Path, file: &Path, found: &Inspection) -> Result<()> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let path = |kind: &str| folder.join(format!("{name}.{kind}.svg"));
    let curves = &found.curves;
    if !curves.rate.is_empty() {
        draw_rate(&path("rate"), &name, &curves.rate)?;
    }
    let both = [("prompt", PROMPT, &curves.prompt), ("output", OUTPUT, &curves.output)];
    let histograms = both.map(|(label, color, curve)| (label, color, histogram(curve)));
    draw_logarithmic(&path("lengths"), &name, ("tokens", "share of requests"), &histograms)?;
    let stairs = both.map(|(label, color, curve)| (label, color, thinned(curve)));
    draw_logarithmic(&path("cdf"), &name, ("tokens", "share of requests up to"), &stairs)?;
    // A gap of zero has no place on a logarithmic axis.
    let gaps: Vec<_> = curves.gap.iter().copied().filter(|&(gap, _)| gap > 0.0).collect();
    if !gaps.is_empty() {
        let gaps = [("gaps", PROMPT, thinned(&gaps))];
        draw_logarithmic(&path("gaps"), &name, ("seconds", "share of gaps up to"), &gaps)?;
    }
    Ok(())
}

fn draw_rate(path: &Path, title: &str, rates: &[(f64, f64)]) -> Result<()> {
    let end = rates.last().map_or(1.0, |&(at, _)| at.max(1.0));
    let (unit, name) = match end {
        end if end > 2.0 * 86_400.0 => (86_400.0, "days"),
        end if end > 2.0 * 3600.0 => (3600.0, "hours"),
        end if end > 120.0 => (60.0, "minutes"),
        _ => (1.0, "seconds"),
    };
    let most = rates.iter().map(|&(_, rate)| rate).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (embedded_font()?, 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end / unit, 0.0..most * 1.05)
        .map_err(failed)?;
    mesh(&mut chart, (name, "requests per second"))?;
    let line = rates.iter().map(|&(at, rate)| (at / unit, rate));
    chart.draw_series(LineSeries::new(line, PROMPT.stroke_width(1))).map_err(failed)?;
    root.present().map_err(failed)
}

/// Draws curves over a logarithmic axis.
fn draw_logarithmic(
    path: &Path,
    title: &str,
    axes: (&str, &str),
    curves: &[Curve<'_>],
) -> Result<()> {
    let points = || curves.iter().flat_map(|(_, _, points)| points);
    let low = points().map(|&(x, _)| x).fold(f64::INFINITY, f64::min);
    let high = points().map(|&(x, _)| x).fold(low * 10.0, f64::max);
    let most = points().map(|&(_, y)| y).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (embedded_font()?, 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d((low..high).log_scale(), 0.0..most * 1.05)
        .map_err(failed)?;
    mesh(&mut chart, axes)?;
    for (label, color, points) in curves {
        let color = *color;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))
            .map_err(failed)?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font((embedded_font()?, 12))
        .background_style(WHITE.mix(0.8))
        .border_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)
}

fn mesh<X>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, RangedCoordf64>>,
    (x, y): (&str, &str),
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .label_style((embedded_font()?, 12))
        .x_desc(x)
        .x_label_formatter(&short)
        .y_desc(y)
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)
}

/// A number without zeros behind it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "plotters hands out references")]
fn short(value: &f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

/// Stairs with few points: the share is kept where it has grown by a pixel.
fn thinned(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (idx, &(x, share)) in curve.iter().enumerate() {
        let below = points.last().map_or(0.0, |&(_, share)| share);
        if share - below >= 1.0 / MOST_POINTS as f64 || idx + 1 == curve.len() {
            points.extend([(x, below), (x, share)]);
        }
    }
    points
}

/// The outline of a histogram whose bars are equally wide on a logarithmic axis.
fn histogram(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let bar = |x: f64| (x.max(1.0).log10() * BARS_PER_DECADE).floor();
    let mut outline: Vec<(f64, f64)> = Vec::new();
    let (mut begin, mut below) = (f64::NEG_INFINITY, 0.0);
    for (idx, &(x, share)) in curve.iter().enumerate() {
        // The share of a bar is known at the last count within it.
        if curve.get(idx + 1).is_some_and(|&(next, _)| bar(next) <= bar(x)) {
            continue;
        }
        let [low, high] = [bar(x), bar(x) + 1.0].map(|bar| 10_f64.powf(bar / BARS_PER_DECADE));
        if low > begin * 1.000_001 && begin.is_finite() {
            outline.extend([(begin, 0.0), (low, 0.0)]);
        }
        outline.extend([(low, share - below), (high, share - below)]);
        (begin, below) = (high, share);
    }
    outline
}

/// An error of the drawing library, which is not an error that can be passed on as it is.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_a_bar_for_each_tenth_of_a_decade() {
        // 0.2 at 1 token, 0.3 at 10 and 11 tokens together, 0.5 at 100.
        let outline = histogram(&[(1.0, 0.2), (10.0, 0.4), (11.0, 0.5), (100.0, 1.0)]);
        let bars: Vec<_> = outline.iter().filter(|&&(_, share)| share > 0.0).collect();
        assert_eq!(bars.len(), 6, "{outline:?}");
        for (bar, share) in bars.iter().step_by(2).zip([0.2, 0.3, 0.5]) {
            assert!((bar.1 - share).abs() < 1e-12, "{outline:?}");
        }
        assert!(outline.is_sorted_by(|a, b| a.0 <= b.0), "{outline:?}");
    }

    #[test]
    fn a_curve_of_many_points_keeps_its_ends() {
        let curve: Vec<_> = (1..=100_000).map(|x| (f64::from(x), f64::from(x) / 1e5)).collect();
        let points = thinned(&curve);
        assert!(points.len() <= 2 * MOST_POINTS + 2, "{}", points.len());
        assert_eq!(points.last(), Some(&(100_000.0, 1.0)));
    }
}
