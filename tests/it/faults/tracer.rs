#![expect(
    unsafe_code,
    reason = "a child asks to be traced between fork and exec"
)]
//! Follows a program from system call to system call, and hurts it at one of them.
//!
//! Only the tool's own processes are followed: one that becomes another program is let go. The tracer is a
//! process of its own (this test program again), since it waits for all of its children.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

const ORDER: &str = "PRISTINE_TEST_TRACER_ORDER";

/// What is done to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hurt {
    /// Nothing: its calls are counted.
    Nothing,
    /// The tool gets SIGKILL when the call of this number begins, whichever of its processes makes it.
    Kill(u64),
    /// The process that makes the call gets SIGKILL.
    KillItself(u64),
    /// The call of this number, and with `lasting` all after it, is not made and gives this error.
    Error { at: u64, errno: i32, lasting: bool },
    /// The write of this number writes but one byte.
    Short(u64),
}

/// A program, and what is to be done to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) hurt: Hurt,
    /// Where its output goes.
    pub(crate) output: PathBuf,
    /// Where the tracer writes what it saw.
    pub(crate) answer: PathBuf,
}

/// What the tracer saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Calls that change something, of all the tool's processes together.
    pub(crate) calls: u64,
    /// The call that was hurt.
    pub(crate) hurt: Option<String>,
    /// Exit code of the tool; none where a signal ended it.
    pub(crate) code: Option<i32>,
    /// Processes that were followed.
    pub(crate) processes: usize,
}

/// Runs an order to its end: until no process that was followed is left.
pub(crate) fn conduct(order: &Order) -> Seen {
    let text = serde_json::to_string(order).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "faults::tracer::tracer"])
        .env(ORDER, text)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the tracer failed: {said}");
    serde_json::from_slice(&fs_err::read(&order.answer).unwrap()).unwrap()
}

#[test]
#[ignore = "follows a program, started by another test"]
fn tracer() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    // The tracer of a process is one thread: this one starts it and waits for it.
    let seen = Tracer::start(&order).follow();
    fs_err::write(&order.answer, serde_json::to_vec(&seen).unwrap()).unwrap();
}

struct Tracer<'a> {
    order: &'a Order,
    main: Pid,
    seen: Seen,
    /// Threads that were told apart from new ones, with what their call shall give.
    threads: BTreeMap<Pid, Option<i64>>,
    done: bool,
}

impl<'a> Tracer<'a> {
    fn start(order: &'a Order) -> Self {
        let output = fs_err::File::create(&order.output).unwrap().into_parts().0;
        let mut command = Command::new(&order.program);
        command
            .args(&order.arguments)
            .current_dir(&order.folder)
            .env_clear()
            .envs(&order.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        // SAFETY: one system call, which is safe between fork and exec.
        unsafe {
            command.pre_exec(|| ptrace::traceme().map_err(std::io::Error::from));
        }
        let main = Pid::from_raw(command.spawn().unwrap().id().cast_signed());
        let stopped = waitpid(main, None).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(main, Signal::SIGTRAP));
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACEVFORK
            | ptrace::Options::PTRACE_O_TRACEEXEC
            | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(main, options).unwrap();
        ptrace::syscall(main, None).unwrap();
        Self {
            order,
            main,
            seen: Seen::default(),
            threads: BTreeMap::from([(main, None)]),
            done: order.hurt == Hurt::Nothing,
        }
    }

    fn follow(mut self) -> Seen {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => self.event(status),
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => {}
                Err(error) => panic!("cannot wait: {error}"),
            }
        }
        self.seen.processes = self.seen.processes.max(1);
        self.seen
    }

    fn event(&mut self, status: WaitStatus) {
        // A thread that was killed meanwhile is gone: what is asked of it then fails with ESRCH.
        match status {
            WaitStatus::Exited(pid, code) => {
                if pid == self.main {
                    self.seen.code = Some(code);
                }
                self.threads.remove(&pid);
            }
            WaitStatus::Signaled(pid, ..) => {
                self.threads.remove(&pid);
            }
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => {
                if self.is_another_program(pid) {
                    self.threads.remove(&pid);
                    gone_is_fine(ptrace::detach(pid, None));
                } else {
                    gone_is_fine(ptrace::syscall(pid, None));
                }
            }
            WaitStatus::PtraceEvent(pid, ..) => gone_is_fine(ptrace::syscall(pid, None)),
            WaitStatus::Stopped(pid, signal) => {
                let new = !self.threads.contains_key(&pid);
                if new {
                    self.threads.insert(pid, None);
                    self.seen.processes += 1;
                }
                // A new thread begins with a SIGSTOP that is the kernel's, not the program's.
                let pass = (!(new && signal == Signal::SIGSTOP)).then_some(signal);
                gone_is_fine(ptrace::syscall(pid, pass));
            }
            _ => {}
        }
    }

    fn is_another_program(&self, pid: Pid) -> bool {
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        program.file_name() != self.order.program.file_name()
    }

    /// A call begins or ends.
    fn call(&mut self, pid: Pid) {
        let (Ok(mut registers), Ok(info)) = (ptrace::getregs(pid), ptrace::syscall_info(pid))
        else {
            return;
        };
        let entering = info.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        let pending = self.threads.entry(pid).or_default();
        if !entering && let Some(result) = pending.take() {
            registers.rax = result.cast_unsigned();
            gone_is_fine(ptrace::setregs(pid, registers));
        } else if entering && let Some(name) = self.changes(pid, &registers) {
            self.seen.calls += 1;
            if !self.done {
                self.hurt(pid, registers, name);
            }
        }
        gone_is_fine(ptrace::syscall(pid, None));
    }

    fn hurt(&mut self, pid: Pid, mut registers: libc::user_regs_struct, name: &str) {
        let number = self.seen.calls;
        match self.order.hurt {
            Hurt::Kill(at) if at == number => gone_is_fine(kill(self.main, Signal::SIGKILL)),
            Hurt::KillItself(at) if at == number => {
                gone_is_fine(kill(process_of(pid), Signal::SIGKILL));
            }
            Hurt::Error { at, errno, lasting } if at == number || (lasting && number > at) => {
                registers.orig_rax = u64::MAX;
                gone_is_fine(ptrace::setregs(pid, registers));
                self.threads.insert(pid, Some(-i64::from(errno)));
                self.done = !lasting;
                self.seen.hurt.get_or_insert(name.to_owned());
                return;
            }
            Hurt::Short(at) if number >= at && name.contains("write") && registers.rdx > 1 => {
                registers.rdx = 1;
                gone_is_fine(ptrace::setregs(pid, registers));
            }
            _ => return,
        }
        self.done = true;
        self.seen.hurt = Some(name.to_owned());
    }

    /// The name of a call that changes something that outlives the process; for errors only calls on files
    /// of the order's folder count, since a pipe has no disk that could be full.
    fn changes(&self, pid: Pid, registers: &libc::user_regs_struct) -> Option<&'static str> {
        let number = registers.orig_rax.cast_signed();
        let (_, name) = CALLS.iter().find(|(call, _)| *call == number)?;
        let writes = [
            "write",
            "pwrite64",
            "writev",
            "ftruncate",
            "fallocate",
            "copy_file_range",
        ];
        if writes.contains(name) {
            let file = std::fs::read_link(format!("/proc/{pid}/fd/{}", registers.rdi));
            let own = file.is_ok_and(|file| file.starts_with(&self.order.folder));
            return (own && registers.rdi > 2).then_some(name);
        }
        let opening = match *name {
            "open" => Some(registers.rsi),
            "openat" => Some(registers.rdx),
            "openat2" => ptrace::read(pid, registers.rdx as ptrace::AddressType)
                .ok()
                .map(|word| word.cast_unsigned() & 0xffff_ffff),
            _ => None,
        };
        let creates = u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned());
        // O_TMPFILE is more than one bit.
        let nameless = u64::from(libc::O_TMPFILE.cast_unsigned());
        match opening {
            Some(flags) => (flags & creates != 0 || flags & nameless == nameless).then_some(name),
            None => Some(name),
        }
    }
}

/// The process of a thread.
fn process_of(thread: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let group = group.and_then(|text| text.trim().parse().ok());
    Pid::from_raw(group.unwrap_or(thread.as_raw()))
}

fn gone_is_fine(done: nix::Result<()>) {
    assert!(matches!(done, Ok(()) | Err(Errno::ESRCH)), "{done:?}");
}

/// Calls that change what outlives a process.
const CALLS: &[(i64, &str)] = &[
    (libc::SYS_open, "open"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_write, "write"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_copy_file_range, "copy_file_range"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlink, "symlink"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_mknodat, "mknodat"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_fsetxattr, "fsetxattr"),
    (libc::SYS_setxattr, "setxattr"),
    (libc::SYS_utimensat, "utimensat"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_syncfs, "syncfs"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_fsmount, "fsmount"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_pivot_root, "pivot_root"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_flock, "flock"),
];

/// An order that runs the program under test in a folder.
pub(crate) fn order(folder: &Path, arguments: &[&str], hurt: Hurt) -> Order {
    let environment = [
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOME", folder.display().to_string()),
    ];
    Order {
        program: crate::support::program(),
        arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        folder: folder.to_owned(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        hurt,
        output: folder.join(".traced-output"),
        answer: folder.join(".traced-answer"),
    }
}
