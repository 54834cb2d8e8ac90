//! What the prompts of a run have in common.
//!
//! A server with prefix caching computes the beginning of a prompt only once, as long as its blocks
//! stay in the cache, and keeps them once for all sequences that run. `requests.jsonl` has lengths
//! only, so the tokens come from `prompts.jsonl`, the workload that was sent: one request a line,
//! in the order of their numbers, with `input_tok_ids`.
//!
//! It matters. In the workload of the recorded runs of Llama-3.1-8B, 32 of 300 prompts begin as an
//! earlier one does, with 7.6 % of all prompt tokens. In the run on RTX 4090, whose cache is full,
//! a replay that computes them again has a 95th percentile of the time to first token that is 10 %
//! too long; one that finds them in the cache is 1.6 % too long, and admits all requests in the
//! order in which the server did.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::recording::{RunError, json, text};
use crate::engine::{Content, Segment, TextId};

/// The prompts of a run by their full blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// For each request, by its number: the blocks of its prompt from the beginning. Two prompts
    /// have a block in common exactly when they are the same up to its end.
    pub blocks: Vec<Vec<BlockText>>,
    /// Tokens of a block.
    pub block_size: u32,
    /// Prompt tokens in all.
    pub tokens: u64,
    /// Those of them in blocks with which an earlier prompt begins.
    pub repeated_tokens: u64,
}

/// Names a block's tokens and all those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockText(pub u64);

#[derive(Debug, Deserialize)]
struct PromptLine {
    input_tok_ids: Vec<u32>,
}

impl Prompts {
    /// Reads `prompts.jsonl` of a run of so many requests; `None` when the run has none. Lines are in
    /// the order of arrival.
    pub(super) fn read(
        folder: &Path,
        block_size: u32,
        requests: usize,
    ) -> Result<Option<Self>, RunError> {
        let path = folder.join("prompts.jsonl");
        if !path.exists() {
            return Ok(None);
        }
        let content = text(&path)?;
        let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let prompts = lines.map(|(idx, line)| {
            json::<PromptLine>(&path, line, idx + 1).map(|prompt| prompt.input_tok_ids)
        });
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        if prompts.len() != requests {
            let message =
                format!("{} prompts — expected one for each of {requests} requests", prompts.len());
            return Err(RunError::Malformed { file: path, line: prompts.len(), message });
        }
        Ok(Some(Self::of(&prompts, block_size)))
    }

    pub(super) fn of(prompts: &[Vec<u32>], block_size: u32) -> Self {
        // A tree: a block is known by the block before it and its own tokens.
        let mut known: BTreeMap<(Option<BlockText>, &[u32]), BlockText> = BTreeMap::new();
        let (mut tokens, mut repeated_tokens) = (0, 0);
        let mut blocks = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            tokens += prompt.len() as u64;
            let mut own = Vec::new();
            let mut before = None;
            for block in prompt.chunks_exact(block_size as usize) {
                let next = BlockText(known.len() as u64);
                let name = *known.entry((before, block)).or_insert(next);
                // The last token of a prompt is computed in any case, or there would be no output.
                let computed = (own.len() + 1) * block.len() == prompt.len();
                if name != next && !computed {
                    repeated_tokens += u64::from(block_size);
                }
                own.push(name);
                before = Some(name);
            }
            blocks.push(own);
        }
        Self { blocks, block_size, tokens, repeated_tokens }
    }

    /// What the prompt of a request has in common with others.
    pub(super) fn content(&self, request: usize) -> Content {
        let blocks = self.blocks.get(request).map_or(&[][..], Vec::as_slice);
        let segment =
            |block: &BlockText| Segment { text: TextId(block.0), tokens: self.block_size };
        Content::new(blocks.iter().map(segment), None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_block_is_known_by_all_before_it() {
        let prompts = [vec![1, 2, 3, 4, 5], vec![1, 2, 3, 4], vec![3, 4, 9], vec![1, 2, 7, 7, 1]];
        let found = Prompts::of(&prompts, 2);
        let names: Vec<Vec<u64>> = found
            .blocks
            .iter()
            .map(|blocks| blocks.iter().map(|block| block.0).collect())
            .collect();
        assert_eq!(names, [vec![0, 1], vec![0, 1], vec![2], vec![0, 3]]);
        // The first block of the second and of the fourth prompt; the last token of the second is
        // computed again.
        assert_eq!((found.tokens, found.repeated_tokens), (17, 4));
    }

    #[test]
    fn a_file_that_is_there_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let read = || {
            let read = Prompts::read(folder.path(), 2, 2).map_err(|error| error.to_string());
            read.map(|prompts| prompts.map(|prompts| prompts.repeated_tokens))
        };
        assert_eq!(read(), Ok(None));
        let path = folder.path().join("prompts.jsonl");
        let line = "{\"input_tok_ids\": [1, 2, 3], \"input_toks\": 3}\n";
        fs::write(&path, format!("{line}\n{line}")).unwrap();
        assert_eq!(read(), Ok(Some(2)));
        fs::write(&path, line).unwrap();
        let error = read().unwrap_err();
        assert!(error.ends_with("1 prompts — expected one for each of 2 requests"), "{error}");
        fs::write(&path, format!("{line}{{}}\n")).unwrap();
        assert!(read().unwrap_err().contains("prompts.jsonl:2: missing field `input_tok_ids`"));
    }
}
