//! A calendar that is ahead, on machines for which that is not made.

use std::convert::Infallible;
use std::io;

use rustix::process::Pid;

use super::wire::Answer;

/// None that there can be.
pub(in crate::backend) struct Gate(Infallible);

/// None that there can be.
pub(in crate::backend) struct Followed(Infallible);

impl Gate {
    /// Refuses a calendar that is ahead.
    pub(in crate::backend) fn new(ahead: i64) -> io::Result<Option<Self>> {
        if ahead == 0 {
            return Ok(None);
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the time can be another one on 64-bit x86 alone",
        ))
    }

    /// Never called.
    pub(in crate::backend) fn pass(&self) -> io::Result<()> {
        match self.0 {}
    }

    /// Never called.
    pub(in crate::backend) fn follow(&self, _command: Pid) -> io::Result<Followed> {
        match self.0 {}
    }
}

impl Followed {
    /// Never called.
    pub(in crate::backend) fn reap(self) -> io::Result<Answer> {
        match self.0 {}
    }
}
