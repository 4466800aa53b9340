//! A container's run: started with an order for the program inside, followed to its end.

use std::io::{self, Read};

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::ContainerState;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::connect::{Engine, PAUSE, TRIES, has_status, is_between, is_missing};
use super::figures;
use super::terminal::Terminal;
use super::trace::Beside;
use super::wire::{LONGEST, Last, LastWords, Order, Work, frame};
use crate::backend::native::wire::Answer;
use crate::backend::{BackendError, Limit, LimitHit, Limits, Stream, Usage};
use crate::cancel::Cancel;

/// The caller's side of what runs.
pub(super) struct Talk<'a, 'i> {
    /// Inputs, one after the other, each with an end of its own.
    pub(super) inputs: Vec<&'i mut (dyn Read + Send + 'i)>,
    pub(super) output: &'a mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    pub(super) cancel: Option<&'a Cancel>,
    pub(super) limits: &'a Limits,
    /// Bytes that the clone held before.
    pub(super) held: u64,
    /// The caller's terminal, which takes the place of input and output.
    pub(super) terminal: Option<Terminal>,
    /// Who watches what it uses.
    pub(super) beside: Option<&'a mut Beside>,
}

/// How it ended.
pub(super) enum Ended {
    Answered(Answer, Usage),
    Limit(LimitHit),
}

/// What was decided before a container ended by itself.
pub(super) enum Verdict {
    Cancelled,
    Limit(LimitHit),
    Output(io::Error),
    Input(io::Error),
}

/// Starts a container with an order, and follows it until it is dead.
pub(super) async fn run(
    engine: &Engine,
    id: &str,
    work: Work,
    talk: Talk<'_, '_>,
) -> Result<Ended, BackendError> {
    let nonce = nonce().map_err(|source| BackendError::Step {
        doing: "make a nonce".to_owned(),
        source,
    })?;
    let memory = talk.limits.memory;
    let words = LastWords::new(&nonce);
    let order = Order { nonce, work };
    let followed = match talk.terminal {
        Some(terminal) => {
            terminal
                .session(engine, id, &order, (talk.cancel, words))
                .await
        }
        None => follow(engine, id, &order, (talk, words)).await,
    };
    let (answer, verdict) = match followed {
        Ok(followed) => followed,
        Err(error) => {
            // Nothing may run on when this returns.
            let _gone = kill(engine, id).await;
            return Err(error);
        }
    };
    wait(engine, id).await?;
    let mut state = match (&answer, memory) {
        // It has told all that there is to know.
        (Some(_), None) => ContainerState::default(),
        _ => state(engine, id).await?,
    };
    if engine.podman && memory.is_some() && answer.as_ref().is_some_and(|last| last.kills > 0) {
        // Podman tells of the first process only. A kill elsewhere on the machine at the same time is taken for one here.
        state.oom_killed = Some(true);
    }
    judge(answer, verdict, state, memory)
}

/// What the engine knows of a container that has ended.
async fn state(engine: &Engine, id: &str) -> Result<ContainerState, BackendError> {
    let mut tries = 0;
    loop {
        match engine.api.inspect_container(id, None).await {
            Ok(found) => return Ok(found.state.unwrap_or_default()),
            Err(error) if is_missing(&error) => {
                return Err(lost("its container was removed by someone else"));
            }
            Err(error) if tries < TRIES && is_between(&error) => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(engine.failed("look at a container")(error)),
        }
    }
}

fn judge(
    last: Option<Last>,
    verdict: Option<Verdict>,
    state: ContainerState,
    memory: Option<u64>,
) -> Result<Ended, BackendError> {
    let step = |doing: &str, source| {
        Err(BackendError::Step {
            doing: doing.to_owned(),
            source,
        })
    };
    match verdict {
        Some(Verdict::Cancelled) => return Err(BackendError::Interrupted),
        Some(Verdict::Limit(limit)) => return Ok(Ended::Limit(limit)),
        Some(Verdict::Output(source)) => return step("write the archive", source),
        Some(Verdict::Input(source)) => return step("read the archive", source),
        None => {}
    }
    let short_of_memory = state.oom_killed == Some(true);
    match (last, memory) {
        // Even where the command made nothing of the loss of a process: what it made is not to be trusted.
        (last, Some(limit)) if short_of_memory => {
            let mut hit = LimitHit::new(Limit::Memory, limit);
            let kills = last.map_or(1, |last| last.kills.max(1));
            hit.counters.insert("oom_kill".to_owned(), kills);
            Ok(Ended::Limit(hit))
        }
        (Some(last), _) => {
            let usage = last.spent.map(Usage::from).unwrap_or_default();
            Ok(Ended::Answered(last.answer, usage))
        }
        (None, _) if short_of_memory => Err(lost(
            "its container was killed: the engine's machine is out of memory",
        )),
        (None, _) => {
            let why = state.error.filter(|error| !error.is_empty());
            let code = state.exit_code.unwrap_or_default();
            Err(lost(&why.unwrap_or_else(|| {
                format!("its container was killed from outside (exit code {code})")
            })))
        }
    }
}

fn lost(why: &str) -> BackendError {
    BackendError::Step {
        doing: "follow the command".to_owned(),
        source: io::Error::other(why.to_owned()),
    }
}

/// Kills it; done where it does not run.
pub(super) async fn kill(engine: &Engine, id: &str) -> Result<(), bollard::errors::Error> {
    let options = KillContainerOptionsBuilder::default()
        .signal("SIGKILL")
        .build();
    match engine.api.kill_container(id, Some(options)).await {
        // It is not running.
        Err(error) if has_status(&error, 409) || is_missing(&error) => Ok(()),
        other => other,
    }
}

/// Waits until nothing of it runs.
async fn wait(engine: &Engine, id: &str) -> Result<(), BackendError> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    let mut waiting = Box::pin(engine.api.wait_container(id, Some(options)));
    match waiting.next().await {
        Some(Err(error))
            if !matches!(
                error,
                bollard::errors::Error::DockerContainerWaitError { .. }
            ) && !is_missing(&error) =>
        {
            Err(engine.failed("wait for a container")(error))
        }
        _ => Ok(()),
    }
}

/// The answer, and what was decided before it ended by itself.
pub(super) type Followed = (Option<Last>, Option<Verdict>);
/// The way to a container's standard input.
pub(super) type Way = std::pin::Pin<Box<dyn AsyncWrite + Send>>;

/// Attaches to a container, then starts it: nothing that it says is missed.
pub(super) async fn start(
    engine: &Engine,
    id: &str,
) -> Result<AttachContainerResults, BackendError> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .build();
    let attached = engine.api.attach_container(id, Some(options)).await;
    let attached = attached.map_err(engine.failed("attach to a container"))?;
    let started = engine.api.start_container(id, None).await;
    started.map_err(engine.failed("start a container"))?;
    Ok(attached)
}

async fn follow(
    engine: &Engine,
    id: &str,
    order: &Order,
    (talk, words): (Talk<'_, '_>, LastWords),
) -> Result<Followed, BackendError> {
    let mut attached = start(engine, id).await?;
    if let Some(beside) = talk.beside {
        beside.begin(engine, id).await;
    }
    let now = Instant::now();
    let mut following = Following {
        engine,
        id,
        words,
        output: talk.output,
        limits: talk.limits,
        begun: now,
        last_output: now,
        verdict: None,
    };
    let order = serde_json::to_vec(order).unwrap_or_default();
    let mut sending = Box::pin(send(attached.input, order, talk.inputs));
    let mut met = Box::pin(figures::met(engine, id, talk.limits, talk.held));
    // Kept to the end: when it is dropped the program inside takes the tool for gone.
    let mut way = None;
    loop {
        let due = following.due();
        tokio::select! {
            biased;
            () = cancelled(talk.cancel), if following.verdict.is_none() => {
                following.stop(Verdict::Cancelled).await?;
            }
            item = attached.output.next() => match item {
                Some(Ok(item)) => following.take(item).await?,
                // Why it broke is told by the container's state.
                Some(Err(_)) | None => break,
            },
            sent = &mut sending, if way.is_none() => match sent {
                Ok(kept) => way = Some(Some(kept)),
                Err(error) => {
                    way = Some(None);
                    following.stop(Verdict::Input(error)).await?;
                }
            },
            hit = &mut met, if following.verdict.is_none() => {
                following.stop(Verdict::Limit(hit)).await?;
            }
            () = until(due.as_ref()), if due.is_some() => {
                if let Some((_, limit)) = due {
                    following.stop(Verdict::Limit(limit)).await?;
                }
            }
        }
    }
    following.end()
}

/// What is known while a container runs.
struct Following<'a> {
    engine: &'a Engine,
    id: &'a str,
    words: LastWords,
    output: &'a mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    limits: &'a Limits,
    begun: Instant,
    last_output: Instant,
    verdict: Option<Verdict>,
}

impl Following<'_> {
    async fn take(&mut self, item: LogOutput) -> Result<(), BackendError> {
        self.last_output = Instant::now();
        let given = match item {
            LogOutput::StdErr { message } => {
                let before = self.words.take(&message);
                if before.is_empty() {
                    return Ok(());
                }
                (self.output)(Stream::Err, &before)
            }
            other => (self.output)(Stream::Out, &other.into_bytes()),
        };
        match given {
            Ok(()) => Ok(()),
            Err(error) => self.stop(Verdict::Output(error)).await,
        }
    }

    /// Ends the container. The first verdict stands.
    async fn stop(&mut self, verdict: Verdict) -> Result<(), BackendError> {
        if self.verdict.is_some() {
            return Ok(());
        }
        self.verdict = Some(verdict);
        kill(self.engine, self.id)
            .await
            .map_err(self.engine.failed("end a container"))
    }

    /// The next limit, and when it is reached.
    fn due(&self) -> Option<(Instant, LimitHit)> {
        if self.verdict.is_some() {
            return None;
        }
        let time = self
            .limits
            .time
            .map(|limit| (self.begun + limit, LimitHit::of_time(Limit::Time, limit)));
        let silence = self.limits.silence.map(|limit| {
            (
                self.last_output + limit,
                LimitHit::of_time(Limit::Silence, limit),
            )
        });
        time.into_iter().chain(silence).min_by_key(|(at, _)| *at)
    }

    fn end(self) -> Result<Followed, BackendError> {
        let (rest, answer) = self.words.end();
        if !rest.is_empty() && self.verdict.is_none() {
            (self.output)(Stream::Err, &rest).map_err(|source| BackendError::Step {
                doing: "pass the output on".to_owned(),
                source,
            })?;
        }
        Ok((answer, self.verdict))
    }
}

/// Sends the order and then the inputs, to their ends.
async fn send(
    mut way: Way,
    order: Vec<u8>,
    sources: Vec<&mut (dyn Read + Send + '_)>,
) -> io::Result<Way> {
    // What cannot be sent has no reader any more; how that came is told by the end of the output.
    if way.write_all(&frame(&order)).await.is_err() || way.flush().await.is_err() {
        return Ok(way);
    }
    let mut buffer = vec![0; LONGEST / 4];
    for source in sources {
        loop {
            let length = match source.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let sent = way.write_all(&frame(&buffer[..length])).await;
            if sent.is_err() || way.flush().await.is_err() {
                return Ok(way);
            }
            if length == 0 {
                break;
            }
        }
    }
    Ok(way)
}

/// Waits for the token; for ever where there is none.
pub(super) async fn cancelled(cancel: Option<&Cancel>) {
    match cancel {
        Some(cancel) => cancel.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<&(Instant, LimitHit)>) {
    match due {
        Some((at, _)) => tokio::time::sleep_until(*at).await,
        None => std::future::pending().await,
    }
}

/// Unguessable text.
pub(super) fn nonce() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(crate::digest::Digest::of(&bytes).hex())
}
