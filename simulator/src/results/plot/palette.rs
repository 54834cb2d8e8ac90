//! Colors: the palette of Okabe and Ito (2008), which stays readable without color vision, and
//! three grays.

use plotters::prelude::RGBColor;

/// Text and single lines.
pub(super) const INK: RGBColor = RGBColor(0x2b, 0x2f, 0x36);
/// Text that explains.
pub(super) const MUTED: RGBColor = RGBColor(0x6b, 0x72, 0x80);
/// Frames and ticks.
pub(super) const FRAME: RGBColor = RGBColor(0xb8, 0xbd, 0xc6);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xe9, 0xeb, 0xef);
/// Behind text that crosses lines.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// More replicas.
pub(super) const UP: RGBColor = RGBColor(0x00, 0x9e, 0x73);
/// Fewer replicas; also what waits at the gateway.
pub(super) const DOWN: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// Yellow is left out: it is too light for a line on white.
const SERIES: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x4d, 0x4d, 0x4d),
];

/// A color in which text is readable on white.
pub(super) fn readable(color: RGBColor) -> RGBColor {
    let RGBColor(red, green, blue) = color;
    let darker = |part: u8| part - part / 4;
    let brightness = 2 * u32::from(red) + 5 * u32::from(green) + u32::from(blue);
    if brightness > 8 * 140 { RGBColor(darker(red), darker(green), darker(blue)) } else { color }
}

/// The same color on white at half its strength.
pub(super) fn lighter(color: RGBColor) -> RGBColor {
    let RGBColor(red, green, blue) = color;
    let mix = |part: u8| part + (255 - part) / 2;
    RGBColor(mix(red), mix(green), mix(blue))
}

/// The color of the series at a position. Each time the palette is through, it starts over darker.
pub(super) fn series(idx: usize) -> RGBColor {
    let RGBColor(red, green, blue) = SERIES[idx % SERIES.len()];
    let rounds = (idx / SERIES.len()).min(3);
    let darker = |part: u8| (0..rounds).fold(part, |part, _| part - part / 3);
    RGBColor(darker(red), darker(green), darker(blue))
}
