#![expect(unsafe_code, reason = "tries system calls that no safe library offers")]
//! Things of the host's that a program inside might get hold of, and the ways to them.

use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

/// Things that exist on the host while this lives, all called by one name.
pub(crate) struct Planted {
    files: [PathBuf; 2],
    segment: i32,
}

impl Planted {
    /// A file, a file in shared memory and a System V segment that anybody may use.
    pub(crate) fn new(name: &str) -> Self {
        let files = files(name);
        for file in &files {
            fs_err::write(file, "of the host").unwrap();
        }
        // SAFETY: plain numbers.
        let segment = unsafe { libc::shmget(key(name), 4096, libc::IPC_CREAT | 0o666) };
        assert!(segment >= 0, "{}", io::Error::last_os_error());
        Self { files, segment }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        for file in &self.files {
            let _gone = fs_err::remove_file(file);
        }
        // SAFETY: the segment is this value's own, and is attached nowhere.
        unsafe { libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

fn files(name: &str) -> [PathBuf; 2] {
    ["/tmp", "/dev/shm"].map(|folder| Path::new(folder).join(name))
}

/// A key that the name gives.
fn key(name: &str) -> libc::key_t {
    let sum = name.bytes().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    (sum | 1).cast_signed()
}

/// Every probe with whether it reached what is outside.
pub(crate) fn all(name: &str) -> Vec<(&'static str, bool)> {
    let files = files(name);
    // SAFETY: plain numbers; nothing is attached.
    let segment = unsafe { libc::shmget(key(name), 0, 0) } >= 0;
    vec![
        ("the host's file", files[0].exists()),
        ("the host's shared memory", files[1].exists()),
        ("the host's System V memory", segment),
        ("the host's file, past a chroot", past_a_chroot(&files[0])),
        ("a handle of the first process", takes_a_handle()),
        ("a network but the loopback", has_a_route()),
    ]
}

/// Whether a UDP socket can be given an address outside: the kernel looks for a route, nothing is sent.
fn has_a_route() -> bool {
    UdpSocket::bind("0.0.0.0:0").is_ok_and(|socket| socket.connect("192.0.2.1:53").is_ok())
}

/// Takes standard input from the first process, which may only who could trace it.
fn takes_a_handle() -> bool {
    // SAFETY: plain numbers; what is opened is closed.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, 1, 0);
        if process < 0 {
            return false;
        }
        let taken = libc::syscall(libc::SYS_pidfd_getfd, process, 0, 0);
        for handle in [process, taken].into_iter().filter(|handle| *handle >= 0) {
            libc::close(i32::try_from(handle).unwrap());
        }
        taken >= 0
    }
}

/// The old way out of a chroot: into a second one, with a handle on what is outside of that, then up and up. In a
/// process of its own, in which nothing but system calls happens.
fn past_a_chroot(file: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let file = std::ffi::CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: the child calls nothing that allocates or locks; all strings live through the calls.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let outside = libc::open(c"/".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
            if libc::chroot(c"/tmp".as_ptr()) == 0 {
                libc::fchdir(outside);
                for _ in 0..64 {
                    libc::chdir(c"..".as_ptr());
                }
                libc::chroot(c".".as_ptr());
            }
            let found = libc::access(file.as_ptr(), libc::F_OK);
            libc::_exit(i32::from(found == 0));
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        libc::WEXITSTATUS(status) == 1
    }
}
