//! A calendar that is ahead, for one command and all that it starts; nothing else of the machine sees it.
//!
//! Programs read the time without a system call, from a page that the kernel maps into each of them. Here the first
//! process of the sandbox follows the command (`ptrace`): whatever is executed is not told of that page, so that it asks
//! by system calls; a filter stops those that ask for the calendar, and they are answered here. Waits until a time of
//! the calendar are shortened by as much. All other calls, and all other clocks, run on without a stop.
//! Files get their times from the kernel, which knows nothing of this.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, WaitOptions, WaitStatus};
use seccompiler::{BpfProgram, apply_filter};

use super::ptrace::{self, Go, Registers};
use super::wire::Answer;
use super::{filter, processes};

/// Entries of the list that the kernel gives a new program: where its page is, and what is passed over.
const PAGE: u64 = libc::AT_SYSINFO_EHDR;
const IGNORED: u64 = libc::AT_IGNORE;
/// Bytes of a word.
const WORD: u64 = 8;
/// Bytes below the stack's end that belong to the function that runs.
const RED_ZONE: u64 = 128;
/// Words of arguments and environment that are passed over at most.
const FARTHEST: u64 = 4 << 20;

/// Holds a command back until it is followed.
pub(in crate::backend) struct Gate {
    inside: UnixStream,
    outside: UnixStream,
    filter: BpfProgram,
    ahead: i64,
}

/// A command that is followed.
pub(in crate::backend) struct Followed {
    command: Pid,
    ahead: i64,
    /// Processes in a call of which an argument was changed: the register and its own value.
    changed: HashMap<Pid, (Register, u64)>,
}

/// Registers that hold an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Register {
    Third,
    Fourth,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was answered here.
    Done(i64),
    /// It goes on, with a time that was changed.
    Changed(Register),
    /// It goes on as it is.
    Untouched,
}

impl Gate {
    /// One for a calendar that is ahead by so many seconds; none where it is not.
    pub(in crate::backend) fn new(ahead: i64) -> io::Result<Option<Self>> {
        if ahead == 0 {
            return Ok(None);
        }
        let (inside, outside) = UnixStream::pair()?;
        let filter = filter::time()?;
        Ok(Some(Self {
            inside,
            outside,
            filter,
            ahead,
        }))
    }

    /// For the new process: returns when it is followed.
    pub(in crate::backend) fn pass(&self) -> io::Result<()> {
        // Who may follow it is asked of its memory too. Nobody else is there yet, and the change of ids ends it.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
        (&self.inside).write_all(&[1])?;
        (&self.inside).read_exact(&mut [0])?;
        apply_filter(&self.filter).map_err(io::Error::other)
    }

    /// For its parent, which must reap it.
    pub(in crate::backend) fn follow(&self, command: Pid) -> io::Result<Followed> {
        (&self.outside).read_exact(&mut [0])?;
        ptrace::seize(command)?;
        (&self.outside).write_all(&[1])?;
        Ok(Followed {
            command,
            ahead: self.ahead,
            changed: HashMap::new(),
        })
    }
}

impl Followed {
    /// Reaps whatever ends until the command does, and answers those that ask for the time.
    pub(in crate::backend) fn reap(mut self) -> io::Result<Answer> {
        loop {
            let waited = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::UNTRACED));
            let Some((pid, status)) = waited? else {
                continue;
            };
            if let Some(stop) = Stop::of(status) {
                let how = self.stopped(pid, stop);
                ptrace::resume(pid, how)?;
                continue;
            }
            self.changed.remove(&pid);
            if pid != self.command {
                continue;
            }
            if let Some(answer) = Answer::of(status) {
                return Ok(answer);
            }
        }
    }

    /// What a process that stands still is to do. One whose memory cannot be reached goes on as it is.
    fn stopped(&mut self, pid: Pid, stop: Stop) -> Go {
        match stop {
            Stop::Executed => {
                // One that may not be read keeps its page, and with it the machine's time.
                let _kept = hide_page(pid);
                Go::On(0)
            }
            Stop::Asks => match self.answer(pid) {
                Ok(true) => Go::ToCallEnd,
                Ok(false) | Err(_) => Go::On(0),
            },
            Stop::CallEnded => {
                if let Some((register, value)) = self.changed.remove(&pid) {
                    let _killed = restore(pid, register, value);
                }
                Go::On(0)
            }
            Stop::ByItsGroup => {
                if pid == self.command {
                    let _woken = processes::wake(pid);
                }
                Go::Waiting
            }
            Stop::New => Go::On(0),
            Stop::Signal(signal) => Go::On(signal),
        }
    }

    /// Answers a call; whether its end has to be seen.
    fn answer(&mut self, pid: Pid) -> io::Result<bool> {
        let mut registers = ptrace::registers(pid)?;
        match call(pid, &mut registers, self.ahead) {
            Outcome::Done(result) => {
                // No call has this number: none is made, and the result is that of the register.
                registers.orig_rax = u64::MAX;
                registers.rax = result.cast_unsigned();
                ptrace::set_registers(pid, &registers)?;
                Ok(false)
            }
            Outcome::Changed(register) => {
                let own = *place(&mut registers, register);
                *place(&mut registers, register) = scratch(&registers);
                ptrace::set_registers(pid, &registers)?;
                self.changed.insert(pid, (register, own));
                Ok(true)
            }
            Outcome::Untouched => Ok(false),
        }
    }
}

/// Why a process stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It has executed a program that has not begun.
    Executed,
    /// It is about to ask for the time, or to wait for one.
    Asks,
    /// A call that was changed has ended.
    CallEnded,
    /// A signal that stops has stopped it.
    ByItsGroup,
    /// It is new, or has something new.
    New,
    /// A signal is about to be given to it.
    Signal(i32),
}

impl Stop {
    fn of(status: WaitStatus) -> Option<Self> {
        let signal = status.stopping_signal()?;
        let event = status.as_raw() >> 16;
        let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        Some(match event {
            libc::PTRACE_EVENT_EXEC => Self::Executed,
            libc::PTRACE_EVENT_SECCOMP => Self::Asks,
            libc::PTRACE_EVENT_STOP if stops.contains(&signal) => Self::ByItsGroup,
            0 if signal == libc::SIGTRAP | 0x80 => Self::CallEnded,
            0 => Self::Signal(signal),
            _ => Self::New,
        })
    }
}

/// Does a call, or changes it.
fn call(pid: Pid, registers: &mut Registers, ahead: i64) -> Outcome {
    use rustix::time::{ClockId, clock_gettime};
    let number = registers.orig_rax.cast_signed();
    let (first, second) = (registers.rdi, registers.rsi);
    let real = clock_gettime(ClockId::Realtime);
    let seconds = real.tv_sec + ahead;
    let done = |written: io::Result<()>, result: i64| {
        Outcome::Done(match written {
            Ok(()) => result,
            Err(_) => -i64::from(libc::EFAULT),
        })
    };
    match number {
        libc::SYS_clock_gettime => done(write(pid, second, (seconds, real.tv_nsec)), 0),
        libc::SYS_gettimeofday => {
            let time = write(pid, first, (seconds, real.tv_nsec / 1000));
            // A zone, which no kernel has known for decades.
            let zone = if second == 0 {
                Ok(())
            } else {
                ptrace::poke(pid, second, 0)
            };
            done(time.and(zone), 0)
        }
        libc::SYS_time if first == 0 => Outcome::Done(seconds),
        libc::SYS_time => done(ptrace::poke(pid, first, seconds.cast_unsigned()), seconds),
        libc::SYS_futex => earlier(pid, registers, (Register::Fourth, ahead)),
        libc::SYS_clock_nanosleep => earlier(pid, registers, (Register::Third, ahead)),
        _ => Outcome::Untouched,
    }
}

/// Writes a time of two words where a program wants it; nowhere is fine.
fn write(pid: Pid, at: u64, (seconds, part): (i64, i64)) -> io::Result<()> {
    if at == 0 {
        return Ok(());
    }
    ptrace::poke(pid, at, seconds.cast_unsigned())?;
    ptrace::poke(pid, at.wrapping_add(WORD), part.cast_unsigned())
}

/// Puts the time that a call waits for, as the kernel counts, where nothing else is.
fn earlier(pid: Pid, registers: &mut Registers, (register, ahead): (Register, i64)) -> Outcome {
    let at = *place(registers, register);
    if at == 0 {
        return Outcome::Untouched;
    }
    let to = scratch(registers);
    let copy = || -> io::Result<()> {
        let seconds = ptrace::peek(pid, at)?.cast_signed();
        let part = ptrace::peek(pid, at.wrapping_add(WORD))?;
        let sooner = seconds.saturating_sub(ahead).max(0);
        write(pid, to, (sooner, part.cast_signed()))
    };
    match copy() {
        Ok(()) => Outcome::Changed(register),
        Err(_) => Outcome::Untouched,
    }
}

fn place(registers: &mut Registers, register: Register) -> &mut u64 {
    match register {
        Register::Third => &mut registers.rdx,
        Register::Fourth => &mut registers.r10,
    }
}

/// Room for two words below the stack that is in use.
fn scratch(registers: &Registers) -> u64 {
    registers.rsp.wrapping_sub(RED_ZONE + 2 * WORD) & !0xf
}

/// Gives a register its own value back: a compiler relies on the kernel leaving it.
fn restore(pid: Pid, register: Register, value: u64) -> io::Result<()> {
    let mut registers = ptrace::registers(pid)?;
    *place(&mut registers, register) = value;
    ptrace::set_registers(pid, &registers)
}

/// Takes the page of the time out of what the kernel tells a program that has not begun: behind the count of its
/// arguments, these, and its environment, each list with a zero at its end.
fn hide_page(pid: Pid) -> io::Result<()> {
    let start = ptrace::registers(pid)?.rsp;
    let mut at = start + WORD * (ptrace::peek(pid, start)?.min(FARTHEST) + 2);
    let end = at + WORD * FARTHEST;
    while at < end && ptrace::peek(pid, at)? != 0 {
        at += WORD;
    }
    at += WORD;
    loop {
        match ptrace::peek(pid, at)? {
            PAGE => return ptrace::poke(pid, at, IGNORED),
            libc::AT_NULL => return Ok(()),
            _ if at >= end => return Ok(()),
            _ => at += 2 * WORD,
        }
    }
}
