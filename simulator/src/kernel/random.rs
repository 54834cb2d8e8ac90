//! Chance, in named streams.

use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

/// A stream of random numbers. The generator is fixed by name, so that a seed means the same in
/// every version of every library.
pub type Stream = Xoshiro256PlusPlus;

/// One independent stream for each purpose, all from one seed.
///
/// Arrivals, token lengths and faults each draw from their own stream. So a scenario that draws one
/// more length still sees the same arrivals, and two policies are compared on the same traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream of one purpose, from its beginning.
    #[must_use]
    pub fn stream(self, purpose: &str) -> Stream {
        // Seed and name are mixed apart, so that (seed, name) pairs do not meet by a simple sum.
        let seed = SplitMix64::seed_from_u64(self.seed).next_u64();
        Stream::seed_from_u64(seed ^ fnv1a(purpose.as_bytes()))
    }
}

/// The 64-bit FNV-1a hash: stable over versions and platforms, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seed: u64, purpose: &str) -> [u64; 3] {
        let mut stream = Streams::new(seed).stream(purpose);
        std::array::from_fn(|_| stream.next_u64())
    }

    #[test]
    fn a_stream_is_a_function_of_seed_and_purpose() {
        assert_eq!(head(1, "arrivals"), head(1, "arrivals"));
        assert_ne!(head(1, "arrivals"), head(2, "arrivals"));
        assert_ne!(head(1, "arrivals"), head(1, "lengths"));
    }

    /// A change here changes the meaning of every seed that anybody has written down.
    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // From an implementation of SplitMix64 and xoshiro256++ in another language.
        assert_eq!(
            head(1, "arrivals"),
            [6_777_504_604_097_017_528, 16_739_885_461_226_215_683, 31_624_356_832_077_024]
        );
    }
}
