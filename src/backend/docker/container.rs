//! One container: made and removed.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
    ResourcesUlimits,
};
use bollard::query_parameters::RemoveContainerOptionsBuilder;

use super::connect::{Engine, has_status, is_missing};
use super::wire::{PLACE, VERB};
use crate::backend::{BackendError, Limits};

/// What root inside keeps, as with the native backend; engines differ in what they give by default.
const KEPT: [&str; 12] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Hidden besides what engines hide: `/sys` is no part of what a build sees, with any backend.
const MASKED: [&str; 16] = [
    "/sys",
    "/proc/acpi",
    "/proc/asound",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/bus",
    "/proc/interrupts",
    "/proc/mdstat",
];
const READ_ONLY: [&str; 3] = ["/proc/fs", "/proc/irq", "/proc/sys"];
/// What a container is made of.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Image id or name.
    pub(super) image: String,
    /// The machine's name inside.
    pub(super) host_name: String,
    pub(super) labels: HashMap<String, String>,
    pub(super) mounts: Vec<Mount>,
    /// Folders in memory, and how many bytes each may hold.
    pub(super) memory: Vec<(String, u64)>,
    /// The host's network; else none.
    pub(super) network: bool,
    /// The program inside mounts something before it gives the right to do so away.
    pub(super) mounting: bool,
    pub(super) limits: Limits,
}

/// The volume with the tool's own program.
pub(super) fn program_mount(volume: &str) -> Mount {
    volume_mount(volume, PLACE, true)
}

/// A volume at a path inside.
pub(super) fn volume_mount(volume: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: (!volume.is_empty()).then(|| volume.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn number(value: Option<u64>) -> Option<i64> {
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}

/// What engines count together.
pub(super) fn memory_and_swap(limits: &Limits) -> Option<u64> {
    let swap = limits.swap.unwrap_or(0);
    limits.memory.map(|memory| memory.saturating_add(swap))
}

/// Hundredths of a processor in the engines' unit.
pub(super) fn nano_cpus(hundredths: u32) -> i64 {
    i64::from(hundredths) * 10_000_000
}

/// An empty folder: a volume of this container alone, which is mounted after what it is to hide (a tmpfs is not).
pub(super) fn empty_mount(target: &str) -> Mount {
    volume_mount("", target, false)
}

/// Empty folders in memory that everybody may write: as mounts of the newer kind they could run no program. Podman would copy into
/// them what they hide.
fn in_memory(folders: Vec<(String, u64)>, podman: bool) -> HashMap<String, String> {
    let empty = if podman { ",notmpcopyup" } else { "" };
    let options = |size: u64| format!("rw,exec,nosuid,nodev,size={size}{empty}");
    let folders = folders.into_iter();
    folders
        .map(|(target, size)| (target, options(size)))
        .collect()
}

/// Makes a container; gives its id.
pub(super) async fn create(engine: &Engine, frame: Frame) -> Result<String, BackendError> {
    let text = |values: &[&str]| Some(values.iter().map(|&value| value.to_owned()).collect());
    let mut security = vec!["no-new-privileges"];
    if frame.mounting {
        security.push("apparmor=unconfined");
    }
    // Podman does not read the paths where Docker has them.
    let masked = format!("mask={}", MASKED.join(":"));
    if engine.podman {
        security.push(&masked);
    }
    let mut capabilities = KEPT.to_vec();
    if frame.mounting {
        capabilities.push("SYS_ADMIN");
    }
    let host = HostConfig {
        mounts: Some(frame.mounts),
        tmpfs: Some(in_memory(frame.memory, engine.podman)),
        network_mode: Some(if frame.network { "host" } else { "none" }.to_owned()),
        cap_drop: text(&["ALL"]),
        cap_add: text(&capabilities),
        security_opt: text(&security),
        masked_paths: text(&MASKED),
        readonly_paths: text(&READ_ONLY),
        memory: number(frame.limits.memory),
        memory_swap: number(memory_and_swap(&frame.limits)),
        nano_cpus: frame.limits.cores.map(nano_cpus),
        pids_limit: number(frame.limits.processes),
        ulimits: Some(resources(engine.podman)),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(frame.image),
        hostname: Some(frame.host_name),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: text(&[
            &format!("{PLACE}/loader"),
            "--library-path",
            PLACE,
            &format!("{PLACE}/pristine"),
            VERB,
        ]),
        env: Some(Vec::new()),
        labels: Some(frame.labels),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    let made = engine.api.create_container(None, body).await;
    Ok(made.map_err(engine.failed("make a container"))?.id)
}

/// Limits on resources. Podman asks for more files and processes than a host without `CAP_SYS_RESOURCE`
/// gives: it is told to be content with what this process has. The program inside lowers them further.
fn resources(podman: bool) -> Vec<ResourcesUlimits> {
    use rustix::process::{Resource, getrlimit};
    let limit = |name: &str, soft: i64, hard: i64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft),
        hard: Some(hard),
    };
    let mut limits = vec![limit("core", 0, 0)];
    if podman {
        let own = |resource, most: u64| {
            let own = getrlimit(resource).maximum.unwrap_or(most).min(most);
            i64::try_from(own).unwrap_or(i64::MAX)
        };
        let files = own(Resource::Nofile, 1 << 20);
        let processes = own(Resource::Nproc, 32768);
        limits.push(limit("nofile", files.min(1024), files));
        limits.push(limit("nproc", processes, processes));
    }
    limits
}

/// Removes a container with its unnamed volumes, whatever state it is in.
pub(super) async fn remove(engine: &Engine, id: &str) -> Result<(), BackendError> {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match engine.api.remove_container(id, Some(options)).await {
        Err(error) if !is_missing(&error) && !has_status(&error, 409) => {
            Err(engine.failed("remove a container")(error))
        }
        _ => Ok(()),
    }
}
