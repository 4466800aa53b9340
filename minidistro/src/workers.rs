//! The threads that convert.
//!
//! Few, and the same ones from first to last: what bounds the memory is how many packages are in flight, and each
//! thread's allocator keeps what it once had.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use crate::convert::{Converted, Converter};
use crate::error::MinidistroError;
use crate::index::Binary;

struct Job {
    binary: Binary,
    deb: PathBuf,
    reply: oneshot::Sender<Result<Converted, MinidistroError>>,
}

/// A handle to the threads; they end with it.
#[derive(Debug)]
pub(crate) struct Workers {
    jobs: mpsc::Sender<Job>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(converter: &Arc<Converter>, count: usize) -> Self {
        let (jobs, queue) = mpsc::channel(1);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let (converter, queue) = (converter.clone(), queue.clone());
            drop(tokio::task::spawn_blocking(move || {
                work(&converter, &queue);
            }));
        }
        Self { jobs }
    }

    /// Converts the Debian package at `deb` when a thread is free.
    pub(crate) async fn convert(
        &self,
        binary: Binary,
        deb: PathBuf,
    ) -> Result<Converted, MinidistroError> {
        let stopped = || MinidistroError::Convert {
            package: "the next package".to_owned(),
            reason: "the threads that convert have stopped".to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job { binary, deb, reply })
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

fn work(converter: &Converter, queue: &Mutex<mpsc::Receiver<Job>>) {
    let next = || queue.lock().ok()?.blocking_recv();
    while let Some(job) = next() {
        let result = converter.convert(&job.binary, &job.deb);
        // Nobody waits any more when another package has failed.
        let _unheard = job.reply.send(result);
    }
}
