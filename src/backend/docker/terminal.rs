//! The caller's own terminal, joined to the one that our program opens inside.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bollard::container::LogOutput;
use futures_util::StreamExt as _;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::stdio::{stdin, stdout};
use rustix::termios::tcgetwinsize;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::connect::Engine;
use super::follow::{Followed, Verdict, Way, cancelled, kill, start};
use super::wire::{LastWords, Order, ToTerminal, frame};
use crate::backend::BackendError;
use crate::backend::native::terminal::Raw;
pub(super) use crate::backend::native::terminal::is_there;
use crate::cancel::Cancel;

/// A terminal that passes everything on as it is, until it is dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    _raw: Raw,
}

impl Terminal {
    /// Takes the terminal over.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self { _raw: Raw::take()? })
    }

    /// Joins it to the terminal inside until the container is dead.
    pub(super) async fn session(
        self,
        engine: &Engine,
        id: &str,
        order: &Order,
        (cancel, mut words): (Option<&Cancel>, LastWords),
    ) -> Result<Followed, BackendError> {
        let step = |doing: &str| {
            let doing = doing.to_owned();
            move |source| BackendError::Step { doing, source }
        };
        let mut resized =
            signal(SignalKind::window_change()).map_err(step("watch the terminal's size"))?;
        let mut hung_up = signal(SignalKind::hangup()).map_err(step("watch the terminal"))?;
        let mut attached = start(engine, id).await?;
        let order = serde_json::to_vec(order).unwrap_or_default();
        give(&mut attached.input, &frame(&order)).await;
        let mut keys = Keys::read().map_err(step("read the terminal"))?;
        let mut silent = false;
        let mut verdict = None;
        loop {
            tokio::select! {
                biased;
                () = cut(cancel, &mut hung_up), if verdict.is_none() => {
                    verdict = Some(Verdict::Cancelled);
                    kill(engine, id).await.map_err(engine.failed("end a container"))?;
                }
                item = attached.output.next() => {
                    let Some(Ok(item)) = item else { break };
                    let bytes = match item {
                        LogOutput::StdErr { message } => words.take(&message),
                        other => other.into_bytes().to_vec(),
                    };
                    show(&bytes).map_err(step("write to the terminal"))?;
                }
                typed = keys.typed.recv(), if !silent => {
                    silent = typed.is_none();
                    let typed = typed.map(|keys| ToTerminal::Keys(keys).frame());
                    give(&mut attached.input, &typed.unwrap_or_default()).await;
                }
                _ = resized.recv() => {
                    let size = ToTerminal::Size(size()).frame();
                    give(&mut attached.input, &size).await;
                }
            }
        }
        let (rest, answer) = words.end();
        show(&rest).map_err(step("write to the terminal"))?;
        Ok((answer, verdict))
    }
}

/// Waits for the caller's token, or for the terminal to be gone.
async fn cut(cancel: Option<&Cancel>, hung_up: &mut Signal) {
    tokio::select! {
        () = cancelled(cancel) => {}
        _ = hung_up.recv() => {}
    }
}

/// Sends bytes. What cannot be sent has no reader any more: the output ends next.
async fn give(way: &mut Way, bytes: &[u8]) {
    if way.write_all(bytes).await.is_ok() {
        let _gone = way.flush().await;
    }
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut output = std::fs::File::from(stdout().try_clone_to_owned()?);
    output.write_all(bytes)
}

/// Rows and columns of the caller's terminal.
pub(super) fn size() -> (u16, u16) {
    tcgetwinsize(stdout()).map_or((24, 80), |size| (size.ws_row, size.ws_col))
}

/// What is typed, read by a thread that ends with this value: no key of later programs is taken.
struct Keys {
    typed: mpsc::Receiver<Vec<u8>>,
    end: Arc<OwnedFd>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keys {
    fn read() -> io::Result<Self> {
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (sender, typed) = mpsc::channel(16);
        let (theirs, mut input) = (
            Arc::clone(&end),
            std::fs::File::from(stdin().try_clone_to_owned()?),
        );
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut both = [
                    PollFd::from_borrowed_fd(theirs.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN),
                ];
                if poll(&mut both, None).is_err() {
                    continue;
                }
                if !both[0].revents().is_empty() {
                    return;
                }
                match input.read(&mut buffer) {
                    Ok(length @ 1..) if sender.blocking_send(buffer[..length].to_vec()).is_ok() => {
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => return,
                }
            }
        });
        Ok(Self {
            typed,
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.typed.close();
        let _told = rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
