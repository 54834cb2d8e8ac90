//! How much of the prompts a prefix cache would hold.

use optimizer::units::Tokens;
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::workload::trace::Record;

/// What prefix caches of several sizes would find, over all prompt tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixReuse {
    /// The share of prompt tokens that an infinite cache finds.
    pub share: f64,
    /// Tokens of all the different texts: what an infinite cache holds in the end. Outputs are not
    /// among them.
    pub distinct_tokens: u64,
    /// The same share for caches that hold less, and drop what was used longest ago.
    pub caches: Vec<CacheReuse>,
}

/// What a prefix cache of one size would find.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CacheReuse {
    /// The size of the cache, in tokens.
    pub tokens: u64,
    /// The share of prompt tokens that it finds.
    pub share: f64,
}

/// The sizes of caches: 2^16 tokens and four times as many each time. A replica's KV cache holds
/// 10^5 to 10^6; those beyond are fleets, or tiers below the GPU.
const SIZES: [u64; 8] = [1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30];

/// Measures reuse for caches of all sizes in one pass: a text is found by each cache that holds
/// more than what was used since the text was (Mattson et al. 1970, "Evaluation techniques for
/// storage hierarchies"). A prompt's prefix is found up to the first text that is not.
///
/// The work for a text grows with the logarithm of the number of texts, the memory with their
/// number: some 80 bytes each.
#[derive(Debug, Clone, Default)]
pub(super) struct ReuseCounts {
    recency: Recency,
    prompt_tokens: u64,
    /// Tokens that a cache of each of [`SIZES`] finds and a smaller one does not.
    found: [u64; SIZES.len()],
    /// Tokens that only a larger cache finds.
    found_beyond: u64,
}

impl ReuseCounts {
    /// Adds the prompt of a request, and returns the tokens that an infinite cache finds of it.
    pub(super) fn add(&mut self, record: &Record) -> Tokens {
        self.prompt_tokens += record.prompt.get();
        let segments = record.content.segments();
        let (mut hit, mut size) = (0, 0);
        for segment in segments {
            let Some(used_since) = self.recency.used_since(segment.text.0) else { break };
            // The tokens of the deepest text decide, because a prefix is found from its beginning.
            size = size.max(used_since + u64::from(segment.tokens));
            let tokens = u64::from(segment.tokens).min(record.prompt.get() - hit);
            hit += tokens;
            match SIZES.iter().position(|&large| size <= large) {
                Some(idx) => self.found[idx] += tokens,
                None => self.found_beyond += tokens,
            }
        }
        // The end of a prompt is dropped before its beginning, as vLLM does it.
        for segment in segments.iter().rev() {
            self.recency.touch(segment.text.0, segment.tokens);
        }
        Tokens::new(hit)
    }

    /// What was found; `None` when prompts have nothing in common.
    pub(super) fn reuse(&self) -> Option<PrefixReuse> {
        let all = self.found.iter().sum::<u64>() + self.found_beyond;
        if self.recency.is_empty() || self.prompt_tokens == 0 {
            return None;
        }
        let share = |tokens: u64| tokens as f64 / self.prompt_tokens as f64;
        let distinct_tokens = self.recency.tokens();
        let mut found = 0;
        let caches = SIZES.iter().zip(self.found).map(|(&tokens, more)| {
            found += more;
            CacheReuse { tokens, share: share(found) }
        });
        let caches = caches.filter(|cache| cache.tokens < distinct_tokens).collect();
        Some(PrefixReuse { share: share(all), distinct_tokens, caches })
    }
}

/// Texts in the order of their last use.
#[derive(Debug, Clone, Default)]
struct Recency {
    /// The place of each text in the order.
    places: FxHashMap<u64, usize>,
    /// Each place's text and its tokens; a place whose text was used again has none.
    texts: Vec<Option<(u64, u32)>>,
    /// Sums of tokens over ranges of places (Fenwick 1994).
    sums: Vec<u64>,
}

impl Recency {
    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The tokens of all texts.
    fn tokens(&self) -> u64 {
        self.texts.iter().flatten().map(|&(_, tokens)| u64::from(tokens)).sum()
    }

    /// The tokens of other texts that were used after this one; `None` when it never was used.
    fn used_since(&self, text: u64) -> Option<u64> {
        let place = *self.places.get(&text)?;
        Some(self.sum_up_to(self.texts.len()) - self.sum_up_to(place + 1))
    }

    fn touch(&mut self, text: u64, tokens: u32) {
        if let Some(&place) = self.places.get(&text) {
            self.set(place, None);
        }
        if self.texts.len() == self.sums.len() {
            self.close_ranks();
        }
        let place = self.texts.len();
        self.texts.push(None);
        self.set(place, Some((text, tokens)));
        self.places.insert(text, place);
    }

    /// Removes the places without texts, and makes room for as many texts again.
    fn close_ranks(&mut self) {
        let texts: Vec<_> = self.texts.drain(..).flatten().collect();
        self.sums = vec![0; (2 * texts.len()).max(1024)];
        for (place, (text, tokens)) in texts.into_iter().enumerate() {
            self.texts.push(None);
            self.set(place, Some((text, tokens)));
            self.places.insert(text, place);
        }
    }

    fn set(&mut self, place: usize, text: Option<(u64, u32)>) {
        let tokens = |text: Option<(u64, u32)>| text.map_or(0, |(_, tokens)| u64::from(tokens));
        let (less, more) = (tokens(self.texts[place]), tokens(text));
        self.texts[place] = text;
        let mut idx = place + 1;
        while idx <= self.sums.len() {
            self.sums[idx - 1] = self.sums[idx - 1] + more - less;
            idx += idx & idx.wrapping_neg();
        }
    }

    /// The tokens in the first `places` places.
    fn sum_up_to(&self, places: usize) -> u64 {
        let (mut idx, mut sum) = (places, 0);
        while idx > 0 {
            sum += self.sums[idx - 1];
            idx -= idx & idx.wrapping_neg();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use optimizer::units::Timestamp;

    use super::*;
    use crate::engine::{Content, Segment, TextId};

    const BLOCK: u32 = 1 << 14;

    fn prompt(texts: &[u64]) -> Record {
        let segment = |&text| Segment { text: TextId(text), tokens: BLOCK };
        Record {
            at: Timestamp::ZERO,
            prompt: Tokens::new(u64::from(BLOCK) * texts.len() as u64),
            output: Tokens::new(1),
            model: None,
            content: Content::new(texts.iter().map(segment), None),
        }
    }

    /// The share that a cache of so many blocks finds, from a list that is kept in order.
    fn share_by_list(prompts: &[Vec<u64>], blocks: usize) -> f64 {
        let (mut cache, mut found, mut all) = (VecDeque::new(), 0, 0);
        for texts in prompts {
            all += texts.len();
            found += texts.iter().take_while(|text| cache.contains(*text)).count();
            for &text in texts.iter().rev() {
                cache.retain(|&known| known != text);
                cache.push_front(text);
            }
            cache.truncate(blocks);
        }
        found as f64 / all as f64
    }

    #[test]
    fn reuse_by_hand() {
        let mut counts = ReuseCounts::default();
        assert_eq!(counts.reuse(), None);
        // Since 1 was used, three others were, so it takes a cache of four blocks to find it. It was
        // used after 2, as the beginning of a prompt is dropped last; so 2 takes five.
        for texts in [&[1, 2][..], &[3, 4, 5], &[1, 2, 6], &[9, 1]] {
            counts.add(&prompt(texts));
        }
        let reuse = counts.reuse().unwrap();
        assert_eq!(reuse.distinct_tokens, 7 * u64::from(BLOCK));
        assert!((reuse.share - 0.2).abs() < 1e-12, "what follows a new text is not found");
        assert_eq!(reuse.caches, [CacheReuse { tokens: 1 << 16, share: 0.1 }]);
    }

    proptest::proptest! {
        #[test]
        fn one_pass_finds_what_caches_of_each_size_find(
            prompts in proptest::collection::vec(proptest::collection::btree_set(0_u64..40, 1..6), 1..400),
        ) {
            let prompts: Vec<Vec<u64>> =
                prompts.into_iter().map(|texts| texts.into_iter().collect()).collect();
            let mut counts = ReuseCounts::default();
            for texts in &prompts {
                counts.add(&prompt(texts));
            }
            let reuse = counts.reuse().unwrap();
            proptest::prop_assert!((reuse.share - share_by_list(&prompts, 1000)).abs() < 1e-9);
            for cache in reuse.caches {
                let blocks = usize::try_from(cache.tokens / u64::from(BLOCK)).unwrap();
                proptest::prop_assert!((cache.share - share_by_list(&prompts, blocks)).abs() < 1e-9);
            }
        }
    }
}
