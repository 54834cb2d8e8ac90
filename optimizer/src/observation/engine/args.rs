//! An engine's configuration from its command line.

use std::num::NonZeroU32;
use std::str::FromStr;

use thiserror::Error;

use super::EngineConfig;
use crate::units::{Fraction, Tokens};

/// The token budget of a step in vLLM's first engine, and the least one without chunked prefill.
const V0_TOKEN_BUDGET: u64 = 2048;

impl EngineConfig {
    /// From the words of a vLLM container's command (entry point and arguments) and its environment.
    ///
    /// Options are written `--name=value` or `--name value`, with `-` or `_` between their words. A
    /// shell's `-c "vllm serve …"` is taken apart, and assignments to variables in it count. What
    /// does not matter here is skipped, known or not. Of an option that is given twice the last one
    /// counts.
    ///
    /// Where `--max-num-batched-tokens` is not given, it is 8192. With `VLLM_USE_V1=0` it is 2048
    /// when prefill is chunked, and otherwise the longest sequence, but at least 2048. These are the
    /// rules of the workload-variant-autoscaler; newer versions of vLLM also look at the GPU.
    ///
    /// # Errors
    ///
    /// The first option that matters here and has no value, or one that it cannot have.
    pub fn from_args<'a>(
        args: impl IntoIterator<Item = &'a str>,
        env: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, EngineArgsError> {
        let mut command = CommandLine::default();
        for (name, value) in env {
            command.assign(name, value);
        }
        command.read(&words(args))?;
        Ok(command.finish())
    }
}

/// An option of an engine's command line cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{option}: expected {expected}, not {value:?}")]
pub struct EngineArgsError {
    /// The option, as vLLM's documentation writes it.
    pub option: String,
    /// What stands there; empty when nothing does.
    pub value: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// A command line on its way to a configuration.
#[derive(Default)]
struct CommandLine {
    config: EngineConfig,
    max_batched_tokens: Option<Tokens>,
    is_first_engine: bool,
    chunks_prefill: bool,
    /// Each rank has its own server, so a replica is one rank.
    is_single_rank: bool,
}

impl CommandLine {
    fn assign(&mut self, name: &str, value: &str) {
        if name == "VLLM_USE_V1" {
            self.is_first_engine = ["0", "false"].contains(&value.trim());
        }
    }

    fn read(&mut self, words: &[String]) -> Result<(), EngineArgsError> {
        let mut rest = words.iter().map(String::as_str).peekable();
        while let Some(word) = rest.next() {
            let Some(option) = word.strip_prefix('-') else {
                if let Some((name, value)) = word.split_once('=') {
                    self.assign(name, value);
                }
                continue;
            };
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            let name = name.trim_start_matches('-').replace('_', "-");
            let next = rest.peek().copied().filter(|next| is_value(next));
            self.set(&name, inline.or(next).unwrap_or_default())?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), EngineArgsError> {
        let given = Given { name, value };
        let config = &mut self.config;
        match name {
            "gpu-memory-utilization" => {
                config.gpu_memory_utilization = given.parsed("a share between 0 and 1", share)?;
            }
            "block-size" => {
                config.block_size = given.parsed("a number of tokens above 0", tokens)?;
            }
            "kv-cache-dtype" => {
                config.kv_cache_dtype = given.parsed("a type, such as \"fp8\"", text)?;
            }
            "tensor-parallel-size" | "tp" => {
                config.tensor_parallel = given.parsed("a number of GPUs above 0", number)?;
            }
            "data-parallel-size" | "dp" => {
                let ranks = given.parsed("a number of engines above 0", number)?;
                config.data_parallel = Some(ranks);
            }
            "data-parallel-rank" | "dpn" => self.is_single_rank = true,
            "data-parallel-external-lb" | "dpe" => self.is_single_rank = given.is_on(),
            "num-gpu-blocks-override" => {
                config.num_blocks = Some(given.parsed("a number of blocks", number)?);
            }
            "max-num-batched-tokens" => {
                let budget = given.parsed("a number of tokens above 0", tokens)?;
                self.max_batched_tokens = Some(budget);
            }
            "max-num-seqs" => {
                config.max_sequences = given.parsed("a number of sequences above 0", number)?;
            }
            // The engine finds the longest sequence that fits, which is not known here.
            "max-model-len" if ["auto", "-1"].contains(&value) => config.max_model_len = None,
            "max-model-len" => {
                let longest = given.parsed("a number of tokens above 0, or \"auto\"", tokens)?;
                config.max_model_len = Some(longest);
            }
            "enforce-eager" => config.enforce_eager = given.is_on(),
            "no-enforce-eager" => config.enforce_eager = false,
            "enable-chunked-prefill" => self.chunks_prefill = given.is_on(),
            "no-enable-chunked-prefill" => self.chunks_prefill = false,
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> EngineConfig {
        let Self { mut config, max_batched_tokens, is_first_engine, chunks_prefill, .. } = self;
        let longest = config.max_model_len.unwrap_or_default();
        let default = match (is_first_engine, chunks_prefill) {
            (false, _) => config.max_batched_tokens,
            (true, true) => Tokens::new(V0_TOKEN_BUDGET),
            (true, false) => longest.max(Tokens::new(V0_TOKEN_BUDGET)),
        };
        config.max_batched_tokens = max_batched_tokens.unwrap_or(default);
        config.kv_capacity = config
            .num_blocks
            .map(|blocks| Tokens::new(u64::from(blocks).saturating_mul(config.block_size.get())));
        let ranks = config.data_parallel.filter(|_| !self.is_single_rank);
        config.data_parallel = ranks.or(Some(NonZeroU32::MIN));
        config
    }
}

/// An option and what was given for it.
struct Given<'a> {
    name: &'a str,
    value: &'a str,
}

impl Given<'_> {
    fn parsed<T>(
        &self,
        expected: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, EngineArgsError> {
        parse(self.value).ok_or_else(|| {
            let dashes = if self.name.len() > 3 { "--" } else { "-" };
            let option = format!("{dashes}{}", self.name);
            EngineArgsError { option, value: self.value.to_owned(), expected }
        })
    }

    /// Whether a switch is on. Most stand alone; some are followed by the truth.
    fn is_on(&self) -> bool {
        !["false", "0"].contains(&&*self.value.to_ascii_lowercase())
    }
}

fn share(text: &str) -> Option<Fraction> {
    text.parse().ok().and_then(Fraction::checked)
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A number of tokens as vLLM reads one: `16k` is 16 000, `16K` is 16 384, `25.6k` is 25 600.
fn tokens(text: &str) -> Option<Tokens> {
    const DECIMAL: [(char, f64); 3] = [('k', 1e3), ('m', 1e6), ('g', 1e9)];
    const BINARY: [(char, u64); 3] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let scale = |(suffix, _): &(char, f64)| text.ends_with(*suffix);
    let count = if let Some((suffix, unit)) = DECIMAL.into_iter().find(scale) {
        let number: f64 = text.trim_end_matches(suffix).parse().ok()?;
        whole(number * unit)?
    } else if let Some((suffix, unit)) = BINARY.into_iter().find(|(s, _)| text.ends_with(*s)) {
        text.trim_end_matches(suffix).parse::<u64>().ok()?.checked_mul(unit)?
    } else {
        text.parse().ok()?
    };
    (count > 0).then_some(Tokens::new(count))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number lies within the range of the count"
)]
fn whole(number: f64) -> Option<u64> {
    (0.0..1e18).contains(&number).then_some(number.round() as u64)
}

/// Whether a word after an option is its value. A negative number is one.
fn is_value(word: &str) -> bool {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    unsigned.len() == word.len() || unsigned.starts_with(|c: char| c.is_ascii_digit())
}

/// The words of a command, with those of a shell's script in its place.
fn words<'a>(args: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_shell = false;
    let mut is_script = false;
    for arg in args {
        if is_script {
            words.extend(shell_words(arg));
            (in_shell, is_script) = (false, false);
            continue;
        }
        is_script =
            in_shell && arg.starts_with('-') && !arg.starts_with("--") && arg.ends_with('c');
        in_shell |=
            ["sh", "bash", "dash", "ash", "zsh"].contains(&arg.rsplit('/').next().unwrap_or(arg));
        words.push(arg.to_owned());
    }
    words
}

/// The words of a script as a POSIX shell splits them. Variables stay as they are, and operators
/// between commands end words like white space.
fn shell_words(script: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = script.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(c),
            (_, '\\') => match chars.next() {
                None | Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, ';' | '&' | '|') => words.extend(word.take()),
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests;
