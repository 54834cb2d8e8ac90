//! Traffic made to the statistics of recorded traffic.
//!
//! Recordings are large, and their licenses travel with them; their statistics are facts. A
//! synthetic hour with the same statistics is small, free, and loads a fleet alike.

use optimizer::units::{RequestRate, Seconds, Timestamp};
use rand::RngExt;

use super::{Arrival, ArrivalProcess, ArrivalTimes, QuantileTable};
use crate::engine::Content;
use crate::kernel::Streams;

/// Chat traffic with the statistics of a recording: the conversation part of the Azure LLM
/// inference trace of 2023 (Azure Public Dataset, CC-BY-4.0), 19,366 requests in 3,501.7 s.
///
/// | | recorded |
/// |---|---|
/// | rate | 5.53/s, with a coefficient of variation of 0.22 over 60 s windows |
/// | gaps between arrivals | coefficient of variation 1.09 |
/// | prompt tokens | mean 1155, p50 1020, p90 2734, p99 4142, maximum 14050 |
/// | output tokens | mean 211, p50 129, p75 395, p90 424, p99 601, maximum 1000 |
/// | correlation of prompt and output | −0.11 |
///
/// Not reproduced are the order of lengths in time, which is independent here, and what lies
/// between the quantiles: above p99, lengths spread evenly up to the maximum or to p99.9.
///
/// The rate remembers itself for three minutes, so the duration should be much longer. All times
/// are whole microseconds, which a file holds exactly.
#[must_use]
pub fn azure_chat(duration: Seconds, streams: Streams) -> Vec<Arrival> {
    let process = ArrivalProcess::ModulatedGamma {
        rate: RequestRate::new(5.53),
        shape: shape_under_modulation(1.09, RATE_CV),
        cv: RATE_CV,
        correlation_time: Seconds::from_minutes(3.0),
    };
    let (prompts, outputs) = (azure_prompts(), azure_outputs());
    let mut lengths = streams.stream("azure-chat/lengths");
    ArrivalTimes::new(&process, Timestamp::ZERO + duration, streams, "azure-chat")
        .map(|at| {
            let (prompt, output) =
                dependent_pair(LENGTH_DEPENDENCE, lengths.random(), lengths.random());
            let at = Timestamp::from_nanos(at.as_nanos() / 1000 * 1000);
            let content = Content::default();
            Arrival { at, prompt: prompts.at(prompt), output: outputs.at(output), content }
        })
        .collect()
}

/// The coefficient of variation of the rate at an instant. Over 60 s windows it comes out as 0.22:
/// the window averages over changes of the rate (with a correlation time of 180 s, a factor of about
/// √(1 − 60/(3·180))), and chance adds a little.
///
/// Both numbers follow from the ratio of variance to mean of the recorded counts, which is 1.4, 3.9
/// and 16 in windows of 1, 10 and 60 s. The ratio is the expected count times the squared variation
/// of the rate, plus what the gaps alone give, 1/shape in long windows.
const RATE_CV: f64 = 0.225;

/// The parameter of [`dependent_pair`] that gives a correlation of −0.11 between token counts with
/// the distributions below. The covariance is the parameter times ∫F(1−F) of both.
const LENGTH_DEPENDENCE: f64 = -0.42;

/// The shape of Gamma gaps under a lognormal rate of variation `rate_cv`, so that the gaps vary by
/// `gap_cv` in all.
///
/// The squared gap is larger by the mean of 1/rate over requests, which is 1 + `rate_cv`² for a
/// lognormal rate of mean one. So 1 + `gap_cv`² = (1 + 1/shape)(1 + `rate_cv`²).
fn shape_under_modulation(gap_cv: f64, rate_cv: f64) -> f64 {
    let within = (1.0 + gap_cv * gap_cv) / (1.0 + rate_cv * rate_cv) - 1.0;
    within.recip()
}

/// The recorded p50, p90, p99 and maximum. The other counts are set so that the mean (1155) and
/// the mean logarithm (6.63) come out as recorded.
fn azure_prompts() -> QuantileTable {
    QuantileTable::new([
        (0.0, 10),
        (25.0, 470),
        (50.0, 1020),
        (75.0, 1100),
        (90.0, 2734),
        (99.0, 4142),
        (99.9, 4250),
        (100.0, 14_050),
    ])
}

/// The recorded p50, p75, p90, p99 and maximum. The other counts are set so that the mean (211),
/// and the mean and the deviation of the logarithm (5.02 and 0.86), come out as recorded.
fn azure_outputs() -> QuantileTable {
    QuantileTable::new([
        (0.0, 10),
        (25.0, 110),
        (50.0, 129),
        (65.0, 169),
        (75.0, 395),
        (90.0, 424),
        (99.0, 601),
        (100.0, 1000),
    ])
}

/// Turns two independent uniform numbers into two dependent ones, with the copula of Farlie,
/// Gumbel and Morgenstern: C(u, v) = uv(1 + θ(1 − u)(1 − v)). The rank correlation is θ/3.
fn dependent_pair(theta: f64, first: f64, second: f64) -> (f64, f64) {
    // Given u, the distribution of v is v(1 + a(1 − v)); its inverse solves a quadratic equation.
    let a = theta * (1.0 - 2.0 * first);
    let root = ((1.0 + a).powi(2) - 4.0 * a * second).sqrt();
    (first, 2.0 * second / (1.0 + a + root))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workload::stats::{LengthStatistics, Statistics};
    use crate::workload::trace::azure;

    fn close(what: &str, actual: f64, expected: f64, tolerance: f64) {
        assert!(
            (actual - expected).abs() <= tolerance,
            "{what}: {actual} is not {expected} ± {tolerance}",
        );
    }

    /// Compares with the mean, p50, p90, p99 and maximum of the recording. One of a hundred
    /// counts lies above p99, and they lie far apart, so p99 is the least certain.
    fn check_lengths(what: &str, found: &LengthStatistics, recorded: [f64; 5]) {
        let LengthStatistics { mean, p50, p90, p99, max, .. } = *found;
        let found = [mean, p50.as_f64(), p90.as_f64(), p99.as_f64(), max.as_f64()];
        let tolerances = [0.02, 0.03, 0.03, 0.1, 0.1];
        for ((found, recorded), tolerance) in found.into_iter().zip(recorded).zip(tolerances) {
            close(what, found, recorded, tolerance * recorded);
        }
        assert!(max.as_f64() <= recorded[4], "{what}: {max}");
    }

    /// The tolerances hold for any seed, not only for the one that is shipped.
    #[test]
    fn an_hour_has_the_statistics_of_the_recording() {
        for seed in 1..=5 {
            let hour = azure_chat(Seconds::new(3600.0), Streams::new(seed));
            let found = Statistics::of(&hour).unwrap();
            close("rate", found.rate.unwrap().value(), 5.53, 0.15);
            close("interarrival CV", found.interarrival_cv.unwrap(), 1.09, 0.03);
            close("rate CV", found.rate_cv.unwrap(), 0.22, 0.03);
            check_lengths("prompt", &found.prompt, [1155.0, 1020.0, 2734.0, 4142.0, 14_050.0]);
            check_lengths("output", &found.output, [211.0, 129.0, 424.0, 601.0, 1000.0]);
            close("output p75", found.output.p75.as_f64(), 395.0, 24.0);
            close("correlation", found.correlation.unwrap(), -0.11, 0.03);
        }
    }

    #[test]
    fn times_are_whole_microseconds() {
        let minute = azure_chat(Seconds::new(60.0), Streams::new(1));
        assert!(minute.len() > 100);
        assert!(minute.iter().all(|arrival| arrival.at.as_nanos() % 1000 == 0));
    }

    #[test]
    fn the_shipped_hour_is_what_the_code_makes() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/traces/azure-chat-synthetic.csv");
        let mut made = Vec::new();
        azure::write(&azure_chat(Seconds::new(3600.0), Streams::new(1)), &mut made).unwrap();
        // Comparing lines first keeps a failure short.
        let shipped = fs::read_to_string(path).unwrap();
        let differing = made.split(|&byte| byte == b'\n').zip(shipped.split('\n')).enumerate();
        let first = differing.into_iter().find(|(_, (made, shipped))| *made != shipped.as_bytes());
        assert_eq!(first.map(|(idx, _)| idx + 1), None, "the first line that differs");
        assert_eq!(made.len(), shipped.len());
    }

    #[test]
    fn pairs_stay_uniform_and_depend_as_asked() {
        let grid = || (0..200).map(|idx| (f64::from(idx) + 0.5) / 200.0);
        let pairs = || grid().flat_map(|u| grid().map(move |v| dependent_pair(-0.6, u, v)));
        let count = 40_000.0;
        close(
            "share below 0.3",
            pairs().filter(|(_, v)| *v < 0.3).count() as f64 / count,
            0.3,
            0.005,
        );
        let product = pairs().map(|(u, v)| (u - 0.5) * (v - 0.5)).sum::<f64>() / count;
        close("rank correlation", product * 12.0, -0.2, 0.005);
    }
}
