//! What arrives is held against what was promised, while it arrives and at its end.

use super::error::{Fault, Problem};
use super::{Download, Fetcher, Progress, Transfer};
use crate::digest::Digest;

impl Fetcher {
    /// The longest that a download may be, in bytes.
    pub(super) fn limit(&self, download: &Download) -> u64 {
        download
            .size
            .or(download.max_size)
            .unwrap_or(self.options.max_size)
    }

    /// Refuses a length that is announced and cannot be right; counts one that was not known.
    pub(super) fn announce(
        &self,
        download: &Download,
        total: u64,
        progress: &Progress<'_>,
    ) -> Result<(), Problem> {
        match download.size {
            Some(expected) if total != expected => Err(Problem::lasting(format!(
                "it has {total} bytes, expected {expected}"
            ))),
            Some(_) => Ok(()),
            None if total > self.limit(download) => Err(Problem::lasting(format!(
                "it has {total} bytes, more than the {} allowed",
                self.limit(download)
            ))),
            None => {
                progress.expect(total);
                Ok(())
            }
        }
    }

    /// Adds bytes that arrived. More than may come are refused at once, and their disk space given back.
    pub(super) fn take(
        &self,
        download: &Download,
        bytes: &[u8],
        transfer: &mut Transfer,
        progress: &Progress<'_>,
    ) -> Result<(), Fault> {
        let limit = self.limit(download);
        if transfer.length().saturating_add(bytes.len() as u64) > limit {
            progress.restart(transfer)?;
            let promise = if download.size.is_some() {
                "expected"
            } else {
                "allowed"
            };
            return Err(
                Problem::lasting(format!("it has more than the {limit} bytes {promise}")).into(),
            );
        }
        transfer.append(bytes)?;
        progress.add(bytes.len() as u64);
        Ok(())
    }

    /// The digest of a file that came to its end, if that is the file that was promised.
    pub(super) fn check(
        &self,
        download: &Download,
        transfer: &mut Transfer,
        progress: &Progress<'_>,
    ) -> Result<Digest, Fault> {
        let length = transfer.length();
        if let Some(expected) = download.size.filter(|&expected| length < expected) {
            return Err(
                Problem::passing(format!("it ended after {length} of {expected} bytes")).into(),
            );
        }
        let actual = transfer.digest();
        let Some(expected) = download.digest.filter(|&expected| expected != actual) else {
            return Ok(actual);
        };
        let reason = format!("its content has {actual}, expected {expected}");
        let of_one_piece = transfer.of_one_piece();
        progress.restart(transfer)?;
        // Pieces of several mirrors or runs do not tell who lied: once more from the start.
        Err(if of_one_piece {
            Problem::lasting(reason)
        } else {
            Problem::again(reason)
        }
        .into())
    }
}
