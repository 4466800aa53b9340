//! What the engine tells of a running container from outside, and the limits that are held against it: the processor
//! time of all its processes, and what it holds on the engine's disk.

use std::num::NonZero;
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptionsBuilder, StatsOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::connect::Engine;
use crate::backend::limits::milliseconds;
use crate::backend::{Limit, LimitHit, Limits};

/// Between two looks at processor time, at least; the engine may be asked over a network.
const SOON: Duration = Duration::from_millis(250);
/// The same, at most: the engine's machine may have more processors than this one.
const LATE: Duration = Duration::from_secs(5);
/// Between two looks at the disk, at least.
const DISK: Duration = Duration::from_secs(1);
/// A look takes at most this part of the time.
const SHARE: u32 = 50;

/// Waits until one of these limits is met; for ever where none is. `held` is what the clone held before.
pub(super) async fn met(engine: &Engine, id: &str, limits: &Limits, held: u64) -> LimitHit {
    tokio::select! {
        hit = of_processors(engine, id, limits.cpu) => hit,
        hit = of_disk(engine, id, limits.disk, held) => hit,
    }
}

async fn of_processors(engine: &Engine, id: &str, limit: Option<Duration>) -> LimitHit {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let mut spent = Duration::ZERO;
    loop {
        tokio::time::sleep(next(limit, spent)).await;
        spent = processor_time(engine, id).await.unwrap_or(spent);
        if spent >= limit {
            let mut hit = LimitHit::of_time(Limit::Cpu, limit);
            hit.peak = Some(milliseconds(spent));
            return hit;
        }
    }
}

/// The next look: when all processors together could have spent what is left.
fn next(limit: Duration, spent: Duration) -> Duration {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    (limit.saturating_sub(spent) / processors).clamp(SOON, LATE)
}

async fn of_disk(engine: &Engine, id: &str, limit: Option<u64>, before: u64) -> LimitHit {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let mut pause = DISK;
    loop {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        let held = before.saturating_add(disk(engine, id).await.unwrap_or(0));
        pause = DISK.max(begun.elapsed() * SHARE);
        if held > limit {
            let mut hit = LimitHit::new(Limit::Disk, limit);
            hit.peak = Some(held);
            return hit;
        }
    }
}

/// What all its processes have spent; `None` where the engine does not tell.
async fn processor_time(engine: &Engine, id: &str) -> Option<Duration> {
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true);
    let mut told = Box::pin(engine.api.stats(id, Some(options.build())));
    let told = told.next().await?.ok()?;
    let spent = told.cpu_stats?.cpu_usage?.total_usage?;
    Some(Duration::from_nanos(spent))
}

/// Bytes that a container holds beside its image; `None` where the engine does not tell.
pub(super) async fn disk(engine: &Engine, id: &str) -> Option<u64> {
    let options = InspectContainerOptionsBuilder::default().size(true).build();
    let found = engine.api.inspect_container(id, Some(options)).await.ok()?;
    u64::try_from(found.size_rw?).ok()
}
