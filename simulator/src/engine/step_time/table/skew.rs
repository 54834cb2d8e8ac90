//! What decode attention costs more when sequences are of unequal length.
//!
//! Attention is timed with sequences of equal length. A kernel gives every sequence to a processor
//! of its own, so one that is longer than the others keeps the layer from ending. The profiler
//! times such batches, too, and fits to them a share α:
//!
//! ```text
//! time = time at the mean length + α · (time at the greatest length − time at the mean length)
//! ```
//!
//! `skew_fit.csv` has α by classes of four things: the prompt's chunk, sequences, how far the mean
//! length lies between the least and the greatest, and the greatest. Only the rows without a chunk
//! are used. In the recorded run on RTX PRO 6000, whose steps are known one by one, they bring
//! decode steps of 128 sequences from 0.71 ms too short to 0.13 ms, of 26.5 ms. Those with a chunk
//! were fitted to few samples each and make it worse: the spread of the errors goes from 2.4 to
//! 6.1 ms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::fault::{TableError, TableFault};
use super::read::{Row, rows};

/// α of decode-only batches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Skew {
    /// By class: each is named by its upper bounds, [`u32::MAX`] where it has none.
    shares: BTreeMap<Class, f64>,
    /// The bounds that occur, by axis.
    bounds: [BTreeSet<u32>; 3],
    /// The mean over all samples, for classes without one.
    pooled: f64,
}

/// At most so many sequences, percent of the way from the least length to the greatest, and tokens
/// of the longest sequence.
type Class = [u32; 3];

const COLUMNS: [&str; 7] =
    ["pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label", "alpha", "n_samples"];

impl Skew {
    /// Reads a `skew_fit.csv`; `None` when it has no decode-only batches.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, TableError> {
        let mut shares = BTreeMap::new();
        let mut bounds: [BTreeSet<u32>; 3] = Default::default();
        let (mut sum, mut samples) = (0.0, 0.0);
        for Row { line, fields } in rows(path, COLUMNS)? {
            let [chunk, sequences, way, longest, _, share, count] = fields;
            if chunk != "0" {
                continue;
            }
            let number = |column: usize, value: &str| {
                value
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite())
                    .ok_or_else(|| fault(path, line, COLUMNS[column], value, "a number"))
            };
            let (share, count) = (number(5, &share)?, number(6, &count)?);
            let mut class = Class::default();
            for (axis, label) in [sequences, way, longest].iter().enumerate() {
                class[axis] = upper_bound(label).ok_or_else(|| {
                    let expected = "a class such as n<=8, sr<=15%, kvB<=4k or n>256";
                    fault(path, line, COLUMNS[axis + 1], label, expected)
                })?;
                bounds[axis].insert(class[axis]);
            }
            sum += share * count;
            samples += count;
            if shares.insert(class, share).is_some() {
                return Err(TableError::new(path, Some(line), TableFault::Twice));
            }
        }
        Ok((samples > 0.0).then(|| Self { shares, bounds, pooled: sum / samples }))
    }

    /// α of a batch of `sequences` sequences of `mean` tokens on average, the least and the most of
    /// which are `range`. Between 0 and 1: beyond lies the noise of differences that are small.
    pub(super) fn share(&self, sequences: u32, mean: f64, range: (u32, u32)) -> f64 {
        let (least, most) = (f64::from(range.0), f64::from(range.1));
        let way = 100.0 * (mean - least) / (most - least);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        let values = [sequences, way.ceil() as u32, range.1];
        let class = std::array::from_fn(|axis| {
            let bounds = &self.bounds[axis];
            let bound = bounds.range(values[axis]..).next().or_else(|| bounds.last());
            bound.copied().unwrap_or(u32::MAX)
        });
        self.shares.get(&class).copied().unwrap_or(self.pooled).clamp(0.0, 1.0)
    }
}

/// The number in a label such as `kvB<=4k`; [`u32::MAX`] when the class has no upper bound.
fn upper_bound(label: &str) -> Option<u32> {
    if let Some((_, number)) = label.split_once("<=") {
        let number = number.trim_end_matches('%');
        let (number, unit) = number.strip_suffix('k').map_or((number, 1), |k| (k, 1024));
        return number.parse::<u32>().ok()?.checked_mul(unit);
    }
    label.contains('>').then_some(u32::MAX)
}

fn fault(
    path: &Path,
    line: u64,
    column: &'static str,
    value: &str,
    expected: &'static str,
) -> TableError {
    let fault = TableFault::Value { column, value: value.to_owned(), expected };
    TableError::new(path, Some(line), fault)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<Option<Skew>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skew_fit.csv");
        fs::write(&path, format!("{}\n{text}", COLUMNS.join(","))).unwrap();
        let prefix = format!("{}/", folder.path().display());
        Skew::read(&path).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    const FIT: &str = "0,n<=2,sr<=15%,kvB<=1k,kp=0,0.5,1\n\
                       0,n<=2,sr<=15%,kvB>1k,kp=0,-0.1,1\n\
                       0,n<=8,sr<=15%,kvB<=1k,kp=0,0.3,2\n\
                       0,n<=8,sr>15%,kvB<=1k,kp=0,0.1,4\n\
                       16,n<=8,sr>15%,kvB<=1k,kp=0,0.9,4\n";

    #[test]
    fn a_batch_finds_its_class() {
        let skew = read(FIT).unwrap().unwrap();
        let check = |sequences, mean, range, expected: f64| {
            let found = skew.share(sequences, mean, range);
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        };
        check(2, 110.0, (100, 300), 0.5);
        check(3, 110.0, (100, 300), 0.3);
        check(3, 200.0, (100, 300), 0.1);
        check(1000, 200.0, (100, 300), 0.1);
        // 1024 is the last length of the class of 1k. What is below zero is noise.
        check(2, 110.0, (100, 1024), 0.5);
        check(2, 110.0, (100, 1025), 0.0);
        // No sample: (0.5 − 0.1 + 2 · 0.3 + 4 · 0.1) / 8.
        check(8, 110.0, (100, 2000), 0.175);
    }

    #[test]
    fn a_fit_without_decode_only_batches_is_none() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("16,n<=8,sr>15%,kvB<=1k,kp=0,0.9,4\n").unwrap(), None);
    }

    #[test]
    fn a_faulty_fit_is_refused() {
        let check = |part: &str, instead: &str, expected: &str| {
            assert_eq!(read(&FIT.replacen(part, instead, 1)).unwrap_err(), expected);
        };
        check(
            "n<=2",
            "two",
            "skew_fit.csv:2: n_label: \"two\" — expected a class such as n<=8, sr<=15%, kvB<=4k or \
             n>256",
        );
        check("0.5", "NaN", "skew_fit.csv:2: alpha: \"NaN\" — expected a number");
        check(
            "kvB>1k",
            "kvB<=1k",
            "skew_fit.csv:3: this size was given before — expected one row for each",
        );
    }
}
