#![expect(
    unsafe_code,
    reason = "ptrace has no safe wrapper in std or rustix; all use of it is here"
)]
//! `ptrace(2)` for 64-bit x86: processes that are followed, their registers and words of their memory.
//!
//! Every call names a process that this one follows and that stands still; on any other the kernel answers `ESRCH`.

use std::io;

use rustix::process::Pid;

/// What the kernel tells of beside signals, and that all followed ones die with their follower.
const OPTIONS: libc::c_int = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESECCOMP;

/// The general registers of a process.
pub(super) type Registers = libc::user_regs_struct;

/// A request whose result is but success or failure; `data` is a number, or the address of something that lives.
fn ask(request: libc::c_uint, pid: Pid, address: u64, data: usize) -> io::Result<()> {
    let pid = pid.as_raw_nonzero().get();
    // SAFETY: the callers pass numbers, or addresses of values of the size that the request writes or reads.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Follows a process, and all that it starts, without stopping it.
pub(super) fn seize(pid: Pid) -> io::Result<()> {
    let options = usize::try_from(OPTIONS).map_err(io::Error::other)?;
    ask(libc::PTRACE_SEIZE, pid, 0, options)
}

/// How a process that stands still goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    /// With a signal; 0 is none.
    On(i32),
    /// Until the system call that it is in has ended.
    ToCallEnd,
    /// Not at all: it was stopped by a signal, and waits for the one that wakes it.
    Waiting,
}

/// Lets a process go on. One that was killed meanwhile is no error.
pub(super) fn resume(pid: Pid, how: Go) -> io::Result<()> {
    let (request, signal) = match how {
        Go::On(signal) => (libc::PTRACE_CONT, signal),
        Go::ToCallEnd => (libc::PTRACE_SYSCALL, 0),
        Go::Waiting => (libc::PTRACE_LISTEN, 0),
    };
    let signal = usize::try_from(signal).map_err(io::Error::other)?;
    match ask(request, pid, 0, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        result => result,
    }
}

/// The registers.
pub(super) fn registers(pid: Pid) -> io::Result<Registers> {
    // SAFETY: plain integers; zero is a valid value of each, and the kernel fills them in.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    ask(
        libc::PTRACE_GETREGS,
        pid,
        0,
        std::ptr::from_mut(&mut registers).addr(),
    )?;
    Ok(registers)
}

/// Sets the registers.
pub(super) fn set_registers(pid: Pid, registers: &Registers) -> io::Result<()> {
    ask(
        libc::PTRACE_SETREGS,
        pid,
        0,
        std::ptr::from_ref(registers).addr(),
    )
}

/// A word of its memory.
pub(super) fn peek(pid: Pid, address: u64) -> io::Result<u64> {
    let pid = pid.as_raw_nonzero().get();
    // The word is the result, and any word is one: failure shows in `errno` alone.
    // SAFETY: glibc's wrapper reads the word into a variable of its own; `errno` is this thread's.
    let (word, errno) = unsafe {
        *libc::__errno_location() = 0;
        let word = libc::ptrace(libc::PTRACE_PEEKDATA, pid, address, 0_usize);
        (word, *libc::__errno_location())
    };
    match errno {
        0 => Ok(word.cast_unsigned()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Writes a word of its memory.
pub(super) fn poke(pid: Pid, address: u64, word: u64) -> io::Result<()> {
    let word = usize::try_from(word).map_err(io::Error::other)?;
    ask(libc::PTRACE_POKEDATA, pid, address, word)
}
