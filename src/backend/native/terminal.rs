//! The caller's terminal, lent to a command and taken back.

use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

use super::sys;

/// A terminal that is to be as it was when the command ends, whatever the command did to it.
#[derive(Debug)]
pub(super) struct Terminal {
    group: Pid,
    settings: Option<Termios>,
}

impl Terminal {
    /// The terminal on standard input, if this process is in its foreground: nobody else may give it away.
    pub(super) fn lend() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        let group = getpgrp();
        (tcgetpgrp(stdin) == Ok(group)).then(|| Self {
            group,
            settings: tcgetattr(stdin).ok(),
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let stdin = rustix::stdio::stdin();
        // This process is in the background now: what it does here would stop it.
        sys::without_terminal_stop(|| {
            let _gone = tcsetpgrp(stdin, self.group);
            if let Some(settings) = &self.settings {
                let _gone = tcsetattr(stdin, OptionalActions::Drain, settings);
            }
        });
    }
}
