#![expect(unsafe_code, reason = "tries system calls that no safe library offers")]
//! Doors that have let programs out of sandboxes, or let them see what they should not.
//!
//! The same code runs on the host, where it must find doors open, and inside, by this very
//! test program: a probe that finds nothing anywhere proves nothing.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use pristine::backend::{Command, Mount};

use super::outside;

/// Names the abstract socket of the host's, for the program inside.
const SOCKET: &str = "PRISTINE_PROBE";

/// The command that runs all probes inside.
pub(crate) fn command(socket: &str) -> Command {
    let mut command = Command::new([
        "/probe",
        "--ignored",
        "--exact",
        "conformance::probe::inside",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env.insert(SOCKET.to_owned(), socket.to_owned());
    command.mounts = vec![Mount::Host {
        source: std::env::current_exe().unwrap(),
        target: "/probe".to_owned(),
    }];
    command
}

#[test]
#[ignore = "runs inside a sandbox, started by another test"]
fn inside() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    for (name, open) in all(socket.to_str().unwrap()) {
        // On a line of its own: the test harness has not ended its line.
        println!("\nprobe {name} {}", if open { "open" } else { "closed" });
    }
}

/// Every probe with whether its door is open. Harmless where it is.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn all(socket: &str) -> Vec<(&'static str, bool)> {
    let call = |number, arguments: [libc::c_long; 5]| {
        // SAFETY: each call below is given null pointers or plain numbers, and fails without touching memory where those are wrong.
        unsafe {
            libc::syscall(
                number,
                arguments[0],
                arguments[1],
                arguments[2],
                arguments[3],
                arguments[4],
            )
        }
    };
    // A filter answers EPERM or ENOSYS before the arguments are looked at; the kernel would answer something else.
    let reaches_kernel = |number, arguments| {
        call(number, arguments) >= 0
            || !matches!(
                std::io::Error::last_os_error().raw_os_error(),
                Some(libc::EPERM | libc::ENOSYS)
            )
    };
    let exists = |path: &str| std::path::Path::new(path).exists();
    let writable = |path: &str| std::fs::OpenOptions::new().write(true).open(path).is_ok();
    let mut probes = vec![
        (
            "io_uring_setup",
            reaches_kernel(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        ),
        ("bpf", reaches_kernel(libc::SYS_bpf, [0, 0, 0, 0, 0])),
        (
            "perf_event_open",
            reaches_kernel(libc::SYS_perf_event_open, [0, 0, 0, -1, 0]),
        ),
        (
            "userfaultfd",
            reaches_kernel(libc::SYS_userfaultfd, [-1, 0, 0, 0, 0]),
        ),
        ("keyctl", reaches_kernel(libc::SYS_keyctl, [0, -3, 0, 0, 0])),
        (
            "add_key",
            reaches_kernel(libc::SYS_add_key, [0, 0, 0, 0, 0]),
        ),
        (
            "request_key",
            reaches_kernel(libc::SYS_request_key, [0, 0, 0, 0, 0]),
        ),
        (
            "open_by_handle_at",
            reaches_kernel(libc::SYS_open_by_handle_at, [-1, 0, 0, 0, 0]),
        ),
        ("mount", reaches_kernel(libc::SYS_mount, [0, 0, 0, 0, 0])),
        ("fsopen", reaches_kernel(libc::SYS_fsopen, [0, 0, 0, 0, 0])),
        (
            "open_tree",
            reaches_kernel(libc::SYS_open_tree, [-1, 0, 0, 0, 0]),
        ),
        ("umount", reaches_kernel(libc::SYS_umount2, [0, 0, 0, 0, 0])),
        ("setns", reaches_kernel(libc::SYS_setns, [-1, 0, 0, 0, 0])),
        ("clone3", reaches_kernel(libc::SYS_clone3, [0, 0, 0, 0, 0])),
        ("nested user namespace", nested_namespace()),
        ("syslog", reaches_kernel(libc::SYS_syslog, [3, 0, 0, 0, 0])),
        (
            "init_module",
            reaches_kernel(libc::SYS_finit_module, [-1, 0, 0, 0, 0]),
        ),
        (
            "kexec",
            reaches_kernel(libc::SYS_kexec_load, [0, 0, 0, -1, 0]),
        ),
        ("raw socket", socket_opens(libc::AF_PACKET, libc::SOCK_RAW)),
        (
            "vsock socket",
            socket_opens(libc::AF_VSOCK, libc::SOCK_STREAM),
        ),
        (
            "alg socket",
            socket_opens(libc::AF_ALG, libc::SOCK_SEQPACKET),
        ),
        ("push into a terminal", pushes()),
        (
            "the caller's abstract socket",
            UnixStream::connect_addr(&SocketAddr::from_abstract_name(socket).unwrap()).is_ok(),
        ),
        (
            "devices of the host",
            [
                "/dev/loop-control",
                "/dev/kvm",
                "/dev/fuse",
                "/dev/mem",
                "/dev/vda",
                "/dev/sda",
            ]
            .into_iter()
            .any(exists),
        ),
        ("core_pattern", writable("/proc/sys/kernel/core_pattern")),
        (
            "sysrq",
            writable("/proc/sysrq-trigger")
                && std::fs::metadata("/proc/sysrq-trigger").is_ok_and(|facts| !is_null(&facts)),
        ),
        (
            "cgroups",
            [
                "/sys/fs/cgroup/cgroup.procs",
                "/sys/fs/cgroup/memory/cgroup.procs",
            ]
            .into_iter()
            .any(writable),
        ),
        (
            "kernel memory",
            std::fs::metadata("/proc/kcore").is_ok_and(|facts| facts.len() > 0),
        ),
        (
            "keys",
            std::fs::read("/proc/keys").is_ok_and(|keys| !keys.is_empty()),
        ),
        (
            "new privileges",
            !std::fs::read_to_string("/proc/self/status")
                .unwrap()
                .contains("NoNewPrivs:\t1"),
        ),
        (
            "no filter",
            !std::fs::read_to_string("/proc/self/status")
                .unwrap()
                .contains("Seccomp:\t2"),
        ),
        (
            "first process's program",
            std::fs::File::open("/proc/1/exe").is_ok()
                && std::fs::File::open("/proc/1/mem").is_ok(),
        ),
        (
            "pivot_root",
            reaches_kernel(libc::SYS_pivot_root, [0, 0, 0, 0, 0]),
        ),
        (
            "the clock",
            reaches_kernel(libc::SYS_clock_settime, [-1, 0, 0, 0, 0]),
        ),
        ("reboot", reaches_kernel(libc::SYS_reboot, [0, 0, 0, 0, 0])),
        (
            "swapoff",
            reaches_kernel(libc::SYS_swapoff, [0, 0, 0, 0, 0]),
        ),
        (
            "fanotify",
            reaches_kernel(libc::SYS_fanotify_init, [-1, 0, 0, 0, 0]),
        ),
    ];
    probes.extend(outside::all(socket));
    probes
}

fn is_null(facts: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    facts.file_type().is_char_device() && facts.rdev() == libc::makedev(1, 3)
}

fn socket_opens(family: i32, kind: i32) -> bool {
    // SAFETY: plain numbers; the descriptor is closed at once.
    unsafe {
        let socket = libc::socket(family, kind | libc::SOCK_CLOEXEC, 0);
        if socket >= 0 {
            libc::close(socket);
        }
        socket >= 0
    }
}

/// In a process of its own: the namespace would stick. Nothing but system calls happens in it.
fn nested_namespace() -> bool {
    // SAFETY: the child calls nothing that allocates or locks.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let made = libc::unshare(libc::CLONE_NEWUSER);
            libc::_exit(i32::from(made == 0));
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        libc::WEXITSTATUS(status) == 1
    }
}

/// Whether TIOCSTI gets past a filter, on a pseudo-terminal of our own.
fn pushes() -> bool {
    use std::os::fd::AsRawFd as _;
    let Ok(terminal) =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)
    else {
        return false;
    };
    // The upper half of the request is ignored by the kernel, and must be by the filter.
    let request = libc::TIOCSTI | 0x1_0000_0000;
    // SAFETY: the pointer is to a byte that lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            terminal.as_raw_fd(),
            request,
            c"x".as_ptr(),
        )
    };
    result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}
