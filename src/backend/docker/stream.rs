//! Bodies of requests, written by blocking code.

use std::io::{self, BufWriter, Write};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes that are handed on at once.
const CHUNK: usize = 1 << 20;

/// A body that `write` writes on a thread of its own. The task gives what came of it: a reader
/// that is gone is no error there, since it says itself why.
pub fn body<E: Send + 'static>(
    write: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send + 'static,
) -> (
    impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    JoinHandle<Result<(), E>>,
) {
    let (sender, receiver) = mpsc::channel(4);
    let writing = tokio::task::spawn_blocking(move || {
        let mut output = BufWriter::with_capacity(CHUNK, Chunks(sender));
        let written = write(&mut output);
        let Chunks(sender) = match (output.flush(), output.into_parts()) {
            (Ok(()) | Err(_), (chunks, _rest)) => chunks,
        };
        if written.is_err() {
            // So that the other side does not take it for complete.
            let cut = io::Error::other("the source of this stream failed");
            let _gone = sender.blocking_send(Err(cut));
        }
        written
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    (stream, writing)
}

/// A writer whose chunks another task sends on.
struct Chunks(mpsc::Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
