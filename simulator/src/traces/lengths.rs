//! The exact distribution of token counts that come one by one.

use std::collections::BTreeMap;

use optimizer::units::Tokens;

use super::moments::Moments;

/// How often each token count occurred. It takes memory for the counts that occur, of which there
/// are never more than a context has tokens.
#[derive(Debug, Clone, Default)]
pub(super) struct LengthCounts {
    short: Vec<u64>,
    /// Counts from [`SHORT`] on.
    long: BTreeMap<u64, u64>,
    total: u64,
}

/// Counts below this stand in a plain list, which is faster.
const SHORT: u64 = 1 << 16;

impl LengthCounts {
    pub(super) fn add(&mut self, tokens: Tokens) {
        self.total += 1;
        let tokens = tokens.get();
        if tokens >= SHORT {
            *self.long.entry(tokens).or_default() += 1;
            return;
        }
        let idx = usize::try_from(tokens).unwrap_or(0);
        if self.short.len() <= idx {
            self.short.resize(idx + 1, 0);
        }
        self.short[idx] += 1;
    }

    /// Each token count that occurred, in increasing order, and how often.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let short = (0..).zip(self.short.iter().copied()).filter(|&(_, count)| count > 0);
        short.chain(self.long.iter().map(|(&tokens, &count)| (tokens, count)))
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn moments(&self) -> Moments {
        let mut moments = Moments::default();
        for (tokens, count) in self.iter() {
            moments.add_repeated(tokens as f64, count as f64);
        }
        moments
    }

    /// The smallest count that at least this share of all counts does not exceed; `None` when there
    /// are none.
    pub(super) fn quantile(&self, share: f64) -> Option<Tokens> {
        let rank = (self.total as f64 * share).max(1.0);
        let mut seen = 0;
        let found = self.iter().find(|&(_, count)| {
            seen += count;
            seen as f64 >= rank - 1e-9
        });
        found.or_else(|| self.iter().last()).map(|(tokens, _)| Tokens::new(tokens))
    }

    /// The share of counts up to each that occurred.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let mut seen = 0;
        self.iter()
            .map(|(tokens, count)| {
                seen += count;
                (tokens as f64, seen as f64 / self.total as f64)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let mut counts = LengthCounts::default();
        assert_eq!(counts.quantile(0.5), None);
        for tokens in [30, 10, 100_000, 20] {
            counts.add(Tokens::new(tokens));
        }
        let check = |share: f64, tokens: u64| {
            assert_eq!(counts.quantile(share), Some(Tokens::new(tokens)), "{share}");
        };
        check(0.0, 10);
        check(0.25, 10);
        check(0.26, 20);
        check(0.75, 30);
        check(1.0, 100_000);
        assert_eq!(counts.moments().mean(), Some(25_015.0));
        assert_eq!(counts.curve()[1], (20.0, 0.5));
    }
}
