#![expect(
    unsafe_code,
    reason = "fanotify with file handles has no safe wrapper; its three system calls and `name_to_handle_at` are here"
)]
//! The kernel's file events, by handle and name: no event opens a file, so that no privilege is needed to have them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Bytes of a file handle, at most (`MAX_HANDLE_SZ`).
const HANDLE: usize = 128;
/// `AT_HANDLE_FID`: a handle that only tells files apart.
const ONLY_TELLS_APART: i32 = 0x200;
/// Bytes of an event before its records.
const HEAD: usize = 24;
/// A record with a folder's handle and a name in it.
const FOLDER_AND_NAME: u8 = libc::FAN_EVENT_INFO_TYPE_DFID_NAME;

/// A new group of events, and whether it tells which process it was: root's does, whoever reads it, and has no bounds.
pub(super) fn group() -> io::Result<(OwnedFd, bool)> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_REPORT_DIR_FID
        | libc::FAN_REPORT_NAME;
    let unbounded = flags | libc::FAN_UNLIMITED_QUEUE | libc::FAN_UNLIMITED_MARKS;
    match open_group(unbounded) {
        Ok(group) => Ok((group, true)),
        Err(_) => Ok((open_group(flags)?, false)),
    }
}

fn open_group(flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let group = unsafe { libc::fanotify_init(flags, libc::O_RDONLY.cast_unsigned()) };
    if group < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(group) })
}

fn mark(
    group: BorrowedFd<'_>,
    flags: libc::c_uint,
    mask: u64,
    folder: BorrowedFd<'_>,
    name: &CStr,
) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | flags;
    // SAFETY: the name is a string that lives through the call.
    let result = unsafe {
        libc::fanotify_mark(
            group.as_raw_fd(),
            flags,
            mask,
            folder.as_raw_fd(),
            name.as_ptr(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Watches for openings of the files in a folder.
pub(super) fn watch(group: BorrowedFd<'_>, folder: BorrowedFd<'_>) -> io::Result<()> {
    let mask = libc::FAN_OPEN | libc::FAN_OPEN_EXEC | libc::FAN_EVENT_ON_CHILD;
    mark(group, libc::FAN_MARK_ONLYDIR, mask, folder, c".")
}

/// Hears no more of a file being opened, nor with `executed` of it being executed. Where the kernel cannot do that,
/// it is heard of again and again.
pub(super) fn enough_of(
    group: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &str,
    executed: bool,
) -> io::Result<()> {
    const EVICTABLE: libc::c_uint = 0x200;
    let flags = libc::FAN_MARK_IGNORED_MASK
        | libc::FAN_MARK_IGNORED_SURV_MODIFY
        | libc::FAN_MARK_DONT_FOLLOW
        | EVICTABLE;
    let executed = if executed { libc::FAN_OPEN_EXEC } else { 0 };
    let name = CString::new(name)?;
    mark(group, flags, libc::FAN_OPEN | executed, folder, &name)
}

/// What tells a folder from others in events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Handle(Vec<u8>);

/// The handle of an open folder.
pub(super) fn handle(folder: BorrowedFd<'_>) -> io::Result<Handle> {
    let mut bytes = [0_u8; 8 + HANDLE];
    bytes[..4].copy_from_slice(&u32::try_from(HANDLE).unwrap_or_default().to_ne_bytes());
    let mut mount = 0;
    // SAFETY: the buffer has the size that it names in its first field; the kernel copies from and to it as bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            folder.as_raw_fd(),
            c"".as_ptr(),
            bytes.as_mut_ptr(),
            &raw mut mount,
            libc::AT_EMPTY_PATH | ONLY_TELLS_APART,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let length = number(&bytes, 0).unwrap_or_default().min(HANDLE);
    Ok(Handle(bytes[..8 + length].to_vec()))
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// More came than was read in time.
    Lost,
    /// A file was opened.
    Opened {
        /// Its folder.
        folder: Handle,
        /// Its name there.
        name: String,
        /// To be executed.
        executed: bool,
        /// By which process; none where the kernel does not say.
        process: Option<i32>,
    },
}

/// The events in what was read of a group. What is none that was asked for is left out.
pub(super) fn events(mut bytes: &[u8]) -> Vec<Event> {
    let mut found = Vec::new();
    while let Some(length) = number(bytes, 0).filter(|length| (HEAD..=bytes.len()).contains(length))
    {
        let (event, rest) = bytes.split_at(length);
        found.extend(one(event));
        bytes = rest;
    }
    found
}

fn one(event: &[u8]) -> Option<Event> {
    let mask = u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?);
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return Some(Event::Lost);
    }
    let process = i32::from_ne_bytes(event.get(20..24)?.try_into().ok()?);
    let head = u16::from_ne_bytes(event.get(6..8)?.try_into().ok()?);
    let mut records = event.get(usize::from(head)..)?;
    while let Some(length) = records.get(2..4) {
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        let record = records.get(..length).filter(|_| length >= 4)?;
        if record[0] == FOLDER_AND_NAME {
            let (folder, name) = folder_and_name(record.get(12..)?)?;
            return Some(Event::Opened {
                folder,
                name,
                executed: mask & libc::FAN_OPEN_EXEC != 0,
                process: (process > 0).then_some(process),
            });
        }
        records = &records[length..];
    }
    None
}

fn folder_and_name(bytes: &[u8]) -> Option<(Handle, String)> {
    let length = 8 + number(bytes, 0)?;
    let (handle, name) = bytes.split_at_checked(length)?;
    let name = CStr::from_bytes_until_nul(name).ok()?;
    Some((Handle(handle.to_vec()), name.to_string_lossy().into_owned()))
}

/// The number of 32 bits at `at`.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(four)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(mask: u64, process: i32, name: &str) -> Vec<u8> {
        let mut record = vec![FOLDER_AND_NAME, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(4_u32.to_ne_bytes());
        record.extend(1_u32.to_ne_bytes());
        record.extend([9, 8, 7, 6]);
        record.extend(name.as_bytes());
        record.push(0);
        let length = u16::try_from(record.len()).unwrap();
        record[2..4].copy_from_slice(&length.to_ne_bytes());
        let mut event = u32::try_from(HEAD + record.len())
            .unwrap()
            .to_ne_bytes()
            .to_vec();
        event.extend([3, 0]);
        event.extend(u16::try_from(HEAD).unwrap().to_ne_bytes());
        event.extend(mask.to_ne_bytes());
        event.extend((-1_i32).to_ne_bytes());
        event.extend(process.to_ne_bytes());
        event.extend(record);
        event
    }

    #[test]
    fn events_are_read_one_after_the_other() {
        let mut bytes = event(libc::FAN_OPEN, 7, "a");
        bytes.extend(event(libc::FAN_OPEN | libc::FAN_OPEN_EXEC, 0, "bc"));
        bytes.extend(event(libc::FAN_Q_OVERFLOW, 0, ""));
        let folder = Handle([&[4, 0, 0, 0, 1, 0, 0, 0][..], &[9, 8, 7, 6]].concat());
        let opened = |name: &str, executed, process| Event::Opened {
            folder: folder.clone(),
            name: name.to_owned(),
            executed,
            process,
        };
        assert_eq!(
            events(&bytes),
            [
                opened("a", false, Some(7)),
                opened("bc", true, None),
                Event::Lost
            ]
        );
    }

    #[test]
    fn an_opening_is_heard_with_the_handle_of_its_folder() {
        use std::os::fd::AsFd as _;
        let place = tempfile::tempdir().unwrap();
        fs_err::write(place.path().join("file"), "x").unwrap();
        let folder = fs_err::File::open(place.path()).unwrap();
        let (group, _) = group().unwrap();
        watch(group.as_fd(), folder.as_fd()).unwrap();
        assert_eq!(fs_err::read(place.path().join("file")).unwrap(), b"x");
        let mut buffer = [0; 4096];
        let length = rustix::io::read(&group, &mut buffer).unwrap();
        let heard = events(&buffer[..length]);
        assert!(
            matches!(&heard[..], [Event::Opened { folder: of, name, executed: false, .. }]
                if *of == handle(folder.as_fd()).unwrap() && name == "file"),
            "{heard:?}"
        );
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..80) {
            drop(events(&bytes));
            let whole = event(libc::FAN_OPEN, 1, "name");
            drop(events(&whole[..cut.min(whole.len())]));
        }
    }
}
