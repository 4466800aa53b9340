//! What Ctrl-C and a polite request to end do.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::cancel::Cancel;
use crate::error::Kind;

/// The first signal ends the work in order; the second ends the program at once (what runs in sandboxes dies with it,
/// and the next run removes the rest).
pub(super) fn watch(cancel: &Cancel) -> io::Result<()> {
    let (mut seen, tell) = UnixStream::pair()?;
    pipe::register(SIGINT, tell.try_clone()?)?;
    pipe::register(SIGTERM, tell)?;
    let cancel = cancel.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut signal = [0];
            while seen.read_exact(&mut signal).is_ok() {
                if cancel.is_cancelled() {
                    #[expect(clippy::exit, reason = "the second Ctrl-C means now")]
                    std::process::exit(i32::from(Kind::Interrupted.exit_code()));
                }
                cancel.cancel();
            }
        })?;
    Ok(())
}
