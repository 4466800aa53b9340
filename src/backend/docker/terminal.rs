//! The caller's own terminal, joined to that of a container.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bollard::query_parameters::ResizeContainerTTYOptionsBuilder;
use futures_util::StreamExt as _;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::stdio::{stdin, stdout};
use rustix::termios::tcgetwinsize;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::connect::Engine;
use super::follow::{Followed, Verdict, Way, cancelled, kill, start};
use super::wire::{LastWords, Order, READY, frame};
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

    /// Joins both terminals until the container is dead.
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
        let mut keys = Keys::read().map_err(step("read the terminal"))?;
        let mut begun = Vec::new();
        let (mut ready, mut silent) = (false, false);
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
                    let bytes = item.into_bytes();
                    if ready {
                        show(&words.take(&bytes)).map_err(step("write to the terminal"))?;
                        continue;
                    }
                    begun.extend_from_slice(&bytes);
                    if begun.windows(READY.len()).any(|window| window == READY) {
                        ready = true;
                        give(&mut attached.input, order).await;
                        resize(engine, id).await;
                    }
                }
                typed = keys.typed.recv(), if ready && !silent => {
                    silent = typed.is_none();
                    // What cannot be sent has no reader any more: the output ends next.
                    let bytes = typed.unwrap_or_default();
                    if attached.input.write_all(&bytes).await.is_ok() {
                        let _gone = attached.input.flush().await;
                    }
                }
                _ = resized.recv(), if ready => resize(engine, id).await,
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

async fn give(way: &mut Way, order: &Order) {
    let order = serde_json::to_vec(order).unwrap_or_default();
    if way.write_all(&frame(&order)).await.is_ok() {
        let _gone = way.flush().await;
    }
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut output = std::fs::File::from(stdout().try_clone_to_owned()?);
    output.write_all(bytes)
}

/// Gives the container's terminal the size of the caller's.
async fn resize(engine: &Engine, id: &str) {
    let Ok(size) = tcgetwinsize(stdout()) else {
        return;
    };
    let options = ResizeContainerTTYOptionsBuilder::default()
        .h(i32::from(size.ws_row))
        .w(i32::from(size.ws_col))
        .build();
    if let Err(error) = engine.api.resize_container_tty(id, options).await {
        tracing::debug!(%error, "the terminal was not resized");
    }
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
