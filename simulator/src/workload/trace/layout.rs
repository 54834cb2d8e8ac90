//! Which columns of a table mean what.

use std::borrow::Cow;
use std::str::FromStr;

use thiserror::Error;

use super::clock::{Clock, ParseClockError};
use super::format::Format;

/// The columns of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    pub(crate) arrival: Cow<'static, str>,
    pub(crate) prompt: Cow<'static, str>,
    pub(crate) output: Cow<'static, str>,
    /// The name of the model, where there is such a column.
    pub(crate) model: Option<Cow<'static, str>>,
    /// A word that says whether the request was served, where there is such a column.
    pub(crate) status: Option<Cow<'static, str>>,
    /// The name of the text with which the prompt begins, and how many tokens of it.
    pub(crate) prefix: Option<[Cow<'static, str>; 2]>,
    pub(crate) clock: Clock,
}

impl Layout {
    /// The forms that a header can tell.
    pub(crate) fn known() -> [Self; 4] {
        let plain = |format, [arrival, prompt, output]: [&'static str; 3], clock| Self {
            format,
            arrival: arrival.into(),
            prompt: prompt.into(),
            output: output.into(),
            model: None,
            status: None,
            prefix: None,
            clock,
        };
        [
            plain(
                Format::Azure,
                ["TIMESTAMP", "ContextTokens", "GeneratedTokens"],
                Clock::Calendar,
            ),
            Self {
                model: Some("model".into()),
                ..plain(
                    Format::Seconds,
                    ["arrived_at", "num_prefill_tokens", "num_decode_tokens"],
                    Clock::Seconds,
                )
            },
            Self {
                model: Some("Model".into()),
                ..plain(
                    Format::BurstGpt,
                    ["Timestamp", "Request tokens", "Response tokens"],
                    Clock::Seconds,
                )
            },
            Self {
                model: Some("model".into()),
                status: Some("status".into()),
                prefix: Some(["prefix_group".into(), "prefix_length".into()]),
                ..plain(
                    Format::TraceV2,
                    ["arrival_time_us", "input_tokens", "output_tokens"],
                    Clock::Microseconds,
                )
            },
        ]
    }

    /// The columns that have to be there, as a header.
    pub(crate) fn required(&self) -> String {
        [&*self.arrival, &self.prompt, &self.output].join(",")
    }

    /// Where the columns stand among `names`; `None` when one that has to be there is not.
    pub(crate) fn places<S: AsRef<str>>(&self, names: &[S]) -> Option<Places> {
        let place = |column: &str| names.iter().position(|name| name.as_ref() == column);
        let optional = |column: &Option<Cow<'static, str>>| column.as_deref().and_then(place);
        let prefix = self.prefix.as_ref();
        Some(Places {
            arrival: place(&self.arrival)?,
            prompt: place(&self.prompt)?,
            output: place(&self.output)?,
            model: optional(&self.model),
            status: optional(&self.status),
            prefix: prefix.and_then(|[group, length]| Some([place(group)?, place(length)?])),
        })
    }
}

/// Where the columns of a layout stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) arrival: usize,
    pub(crate) prompt: usize,
    pub(crate) output: usize,
    pub(crate) model: Option<usize>,
    pub(crate) status: Option<usize>,
    pub(crate) prefix: Option<[usize; 2]>,
}

impl Places {
    /// Whether something is read from a column.
    pub(crate) fn uses(&self, column: usize) -> bool {
        [self.arrival, self.prompt, self.output].contains(&column)
            || [self.model, self.status].contains(&Some(column))
            || self.prefix.is_some_and(|prefix| prefix.contains(&column))
    }
}

/// The columns of a table that no form describes.
///
/// Written as `arrival=ts:ms,input=prompt_len,output=gen_len,model=name`. The unit of time is one of
/// s, ms, us, ns and date, and s where none is given; `model` may be left out. Times count from the
/// first row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMap(pub(crate) Layout);

impl FromStr for ColumnMap {
    type Err = ParseColumnMapError;

    fn from_str(text: &str) -> Result<Self, ParseColumnMapError> {
        let (mut arrival, mut prompt, mut output, mut model) = (None, None, None, None);
        let mut clock = Clock::Seconds;
        for part in text.split(',') {
            let (role, column) = part
                .split_once('=')
                .ok_or_else(|| ParseColumnMapError::NoColumn(part.to_owned()))?;
            let column = column.trim();
            let slot = match role.trim() {
                "arrival" => {
                    let (column, unit) = column.rsplit_once(':').unwrap_or((column, "s"));
                    clock = unit.parse()?;
                    arrival = Some(Cow::Owned(column.to_owned()));
                    continue;
                }
                "input" => &mut prompt,
                "output" => &mut output,
                "model" => &mut model,
                other => return Err(ParseColumnMapError::UnknownRole(other.to_owned())),
            };
            *slot = Some(Cow::Owned(column.to_owned()));
        }
        let missing = ParseColumnMapError::Missing;
        Ok(Self(Layout {
            format: Format::Mapped,
            arrival: arrival.ok_or(missing("arrival"))?,
            prompt: prompt.ok_or(missing("input"))?,
            output: output.ok_or(missing("output"))?,
            model,
            status: None,
            prefix: None,
            clock,
        }))
    }
}

/// The text is no map of columns.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseColumnMapError {
    /// A part has no equals sign.
    #[error("expected a role and a column, such as input=prompt_len, not {0:?}")]
    NoColumn(String),
    /// The role is none of the four.
    #[error("expected one of the roles arrival, input, output and model, not {0:?}")]
    UnknownRole(String),
    /// A role that is needed has no column.
    #[error("expected a column for {0}")]
    Missing(&'static str),
    /// The unit of time is none.
    #[error(transparent)]
    Clock(#[from] ParseClockError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_names_columns_and_their_unit() {
        let map: ColumnMap = "arrival=when:ms, input=in,output=out".parse().unwrap();
        assert_eq!(map.0.clock, Clock::Milliseconds);
        let places = map.0.places(&["out", "x", "when", "in"]).unwrap();
        assert_eq!((places.arrival, places.prompt, places.output), (2, 3, 0));
        assert!(places.uses(0) && !places.uses(1));
        assert_eq!(map.0.places(&["out", "when"]), None);
        let map: ColumnMap = "arrival=t,input=i,output=o,model=m".parse().unwrap();
        assert_eq!((map.0.clock, map.0.model.as_deref()), (Clock::Seconds, Some("m")));
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<ColumnMap>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "a role and a column");
        check("input=i,output=o", "a column for arrival");
        check("arrival=t:h,input=i,output=o", "one of s, ms, us, ns and date, not \"h\"");
        check("arrival=t,prompt=i,output=o", "not \"prompt\"");
    }
}
