//! `[store]`: where the store is, and which runs and snapshots stay in it.

use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

use crate::documents::error::DocumentError;
use crate::documents::source::Source;
use crate::documents::values::{ByteSize, Line};

/// Runs that stay where the project file says nothing.
const LAST: u32 = 10;

/// Which runs of the project stay, and with them their snapshots and what those were made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many days that have any.
    pub daily: u32,
    /// The newest of each of so many weeks that have any.
    pub weekly: u32,
    /// Bytes of all that stays, beyond which the oldest go.
    pub max_size: Option<u64>,
    /// Whether the project file says so: then each build applies it at its end.
    pub stated: bool,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            last: LAST,
            daily: 0,
            weekly: 0,
            max_size: None,
            stated: false,
        }
    }
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStore {
    pub(super) path: Option<Line>,
    keep: Option<RawKeep>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct RawKeep {
    last: NonZeroU32,
    daily: u32,
    weekly: u32,
    max_size: ByteSize,
}

impl Default for RawKeep {
    fn default() -> Self {
        Self {
            last: NonZeroU32::MIN,
            daily: 0,
            weekly: 0,
            max_size: ByteSize::NONE,
        }
    }
}

impl Keep {
    /// The rule of a project file; `keep_runs` of `[build]` is an older way to write `last`.
    pub(super) fn of(
        source: &Source<'_>,
        store: &RawStore,
        keep_runs: Option<&Spanned<NonZeroU32>>,
    ) -> Result<Self, DocumentError> {
        match (&store.keep, keep_runs) {
            (Some(_), Some(old)) => {
                let number = old.get_ref();
                let message = "`keep_runs` and `keep` of `[store]` both say which runs stay";
                let error = source.error(old.span(), message);
                Err(error.note(format!(
                    "write `keep = {{ last = {number} }}` in `[store]`, and remove `keep_runs`"
                )))
            }
            (Some(keep), None) => Ok(Self {
                last: keep.last.get(),
                daily: keep.daily,
                weekly: keep.weekly,
                max_size: keep.max_size.limit(),
                stated: true,
            }),
            (None, Some(number)) => Ok(Self {
                last: number.get_ref().get(),
                stated: true,
                ..Self::default()
            }),
            (None, None) => Ok(Self::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn keep(rest: &str) -> Result<Keep, String> {
        parsed(rest).map(|project| project.keep)
    }

    #[test]
    fn what_stays_is_said_once() {
        let rule =
            keep("[store]\nkeep = { last = 3, daily = 7, weekly = 4, max_size = \"40GiB\" }");
        let expected = Keep {
            last: 3,
            daily: 7,
            weekly: 4,
            max_size: Some(40 << 30),
            stated: true,
        };
        assert_eq!(rule, Ok(expected));
        let old = keep("[build]\nkeep_runs = 5").unwrap();
        assert_eq!((old.last, old.stated), (5, true));
        let least = keep("[store]\nkeep = { daily = 7 }").unwrap();
        assert_eq!((least.last, least.daily), (1, 7));
        let both = keep("[store]\nkeep = { last = 3 }\n[build]\nkeep_runs = 5").unwrap_err();
        insta::assert_snapshot!(both, @"
        pristine.toml:8:13: `keep_runs` and `keep` of `[store]` both say which runs stay
          |
        8 | keep_runs = 5
          |             ^
          = write `keep = { last = 5 }` in `[store]`, and remove `keep_runs`
        ");
    }
}
