//! One download on its way: what arrives is held against what was promised, while it arrives and at its end.

use super::error::{Fault, Problem};
use super::{Download, FetchError, FetchOptions, Progress, Transfer};
use crate::digest::Digest;
use crate::store::StoreError;

/// One download on its way.
pub(super) struct Job<'a> {
    pub(super) download: &'a Download,
    pub(super) options: &'a FetchOptions,
    pub(super) transfer: Transfer,
    pub(super) progress: &'a Progress<'a>,
}

impl<'a> Job<'a> {
    /// Goes on with what `transfer` has already.
    pub(super) fn new(
        download: &'a Download,
        options: &'a FetchOptions,
        transfer: Transfer,
        progress: &'a Progress<'a>,
    ) -> Self {
        progress.add(transfer.length());
        Self {
            download,
            options,
            transfer,
            progress,
        }
    }

    /// The digest of the file if an earlier run was stopped when all of it was there.
    pub(super) fn complete(&mut self) -> Result<Option<Digest>, FetchError> {
        let length = self.transfer.length();
        if length == 0 || self.download.size.is_none_or(|size| length < size) {
            return Ok(None);
        }
        match self.check() {
            Ok(digest) => Ok(Some(digest)),
            Err(Fault::Mirror(_wrong_content)) => Ok(None),
            Err(Fault::Fatal(error)) => Err(error),
        }
    }

    /// The longest that the file may be, in bytes.
    fn limit(&self) -> u64 {
        let promised = self.download.size.or(self.download.max_size);
        promised.unwrap_or(self.options.max_size)
    }

    /// Throws away what arrived.
    pub(super) fn restart(&mut self) -> Result<(), StoreError> {
        self.progress.take_back(self.transfer.length());
        self.transfer.restart()
    }

    /// Refuses a length that is announced and that cannot be right; counts one that was not known.
    pub(super) fn announce(&self, total: u64) -> Result<(), Problem> {
        let limit = self.limit();
        match self.download.size {
            Some(expected) if total != expected => Err(Problem::lasting(format!(
                "it has {total} bytes, expected {expected}"
            ))),
            Some(_) => Ok(()),
            None if total > limit => Err(Problem::lasting(format!(
                "it has {total} bytes, more than the {limit} allowed"
            ))),
            None => {
                self.progress.expect(total);
                Ok(())
            }
        }
    }

    /// Adds bytes that arrived. More than may come are refused at once, and their disk space given back.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let limit = self.limit();
        if self.transfer.length().saturating_add(bytes.len() as u64) > limit {
            self.restart()?;
            let promise = if self.download.size.is_some() {
                "expected"
            } else {
                "allowed"
            };
            return Err(
                Problem::lasting(format!("it has more than the {limit} bytes {promise}")).into(),
            );
        }
        self.transfer.append(bytes)?;
        self.progress.add(bytes.len() as u64);
        Ok(())
    }

    /// The digest of a file that came to its end, if that is the file that was promised.
    pub(super) fn check(&mut self) -> Result<Digest, Fault> {
        let length = self.transfer.length();
        if let Some(expected) = self.download.size.filter(|&expected| length < expected) {
            return Err(
                Problem::passing(format!("it ended after {length} of {expected} bytes")).into(),
            );
        }
        let actual = self.transfer.digest();
        let Some(expected) = self.download.digest.filter(|&expected| expected != actual) else {
            return Ok(actual);
        };
        let reason = format!("its content has {actual}, expected {expected}");
        let of_one_piece = self.transfer.of_one_piece();
        self.restart()?;
        // Pieces of several mirrors or runs do not tell who lied: once more from the start.
        Err(if of_one_piece {
            Problem::lasting(reason)
        } else {
            Problem::again(reason)
        }
        .into())
    }
}
