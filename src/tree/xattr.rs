//! Extended attributes that are part of a tree, and those that are not.
//!
//! Part of it: `security.capability`, `user.*` and POSIX ACLs. Not part of it: overlayfs'
//! own (`user.overlay.*`, `trusted.overlay.*`), which say how a layer is stored; labels
//! that the host gives (`security.selinux`, `security.ima`, …); the rest of `trusted.*`,
//! which a user namespace cannot see.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

/// File capabilities.
pub(super) const CAPABILITY: &[u8] = b"security.capability";
/// overlayfs: what lower layers hold in this folder is hidden.
pub(super) const OPAQUE: &[u8] = b"user.overlay.opaque";
const OPAQUE_TRUSTED: &[u8] = b"trusted.overlay.opaque";

/// The revision of `struct vfs_cap_data`, in its first little-endian word.
const REVISION: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
/// Length of revision 2; revision 3 has the namespace's root id after it.
const LENGTH_2: usize = 20;

/// Attributes by name, and whether the folder is opaque.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub kept: BTreeMap<Vec<u8>, Vec<u8>>,
    pub opaque: bool,
}

/// Whether an attribute belongs to a tree.
pub(super) fn belongs(name: &[u8]) -> bool {
    match name {
        CAPABILITY | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !is_overlay(name),
    }
}

/// Whether an attribute is overlayfs' own.
pub(super) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

/// Reads the attributes of an open file or folder that belong to a tree.
pub(super) fn read(file: BorrowedFd<'_>) -> rustix::io::Result<Attributes> {
    let mut found = Attributes::default();
    let mut list = Vec::with_capacity(1024);
    match grow(&mut list, |list| flistxattr(file, spare_capacity(list))) {
        Err(Errno::NOTSUP) => return Ok(found),
        other => other?,
    }
    for name in list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let opaque = name == OPAQUE || name == OPAQUE_TRUSTED;
        if !opaque && !belongs(name) {
            continue;
        }
        let mut value = Vec::with_capacity(256);
        grow(&mut value, |value| {
            fgetxattr(file, name, spare_capacity(value))
        })?;
        if opaque {
            found.opaque |= value == b"y";
        } else {
            let value = if name == CAPABILITY {
                without_root_id(value)
            } else {
                value
            };
            found.kept.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// Runs `call`, with more room as long as it asks for it; the kernel's limit is 64 KiB.
fn grow(
    buffer: &mut Vec<u8>,
    mut call: impl FnMut(&mut Vec<u8>) -> rustix::io::Result<usize>,
) -> rustix::io::Result<()> {
    loop {
        match call(buffer) {
            Err(Errno::RANGE) if buffer.capacity() <= 64 * 1024 => {
                buffer.reserve(buffer.capacity() * 2);
            }
            other => return other.map(|_length| ()),
        }
    }
}

/// Capabilities as root inside sees them: the id that root has outside does not belong to the tree.
fn without_root_id(mut value: Vec<u8>) -> Vec<u8> {
    if let Some(first) = value.first_chunk::<4>() {
        let word = u32::from_le_bytes(*first);
        if word & REVISION == REVISION_3 && value.len() > LENGTH_2 {
            value[..4].copy_from_slice(&((word & !REVISION) | REVISION_2).to_le_bytes());
            value.truncate(LENGTH_2);
        }
    }
    value
}

/// Sets one attribute of an open file or folder.
pub(super) fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    fsetxattr(file, &*name, value, XattrFlags::empty())
}

/// The value of `security.capability` (revision 2) for the text form that RPM headers hold
/// (`cap_net_raw=ep`, `= cap_chown,cap_kill+ep`); `None` where the text is not of that form.
pub(super) fn capability_value(text: &str) -> Option<Vec<u8>> {
    use rustix::thread::CapabilitySet;
    const ALL: u64 = (1 << 41) - 1;
    let (mut permitted, mut inheritable, mut effective) = (0_u64, 0_u64, 0_u64);
    for clause in text.split_whitespace() {
        let operators = clause.find(['=', '+', '-'])?;
        let (names, mut rest) = clause.split_at(operators);
        let mut set = if names.is_empty() || names.eq_ignore_ascii_case("all") {
            ALL
        } else {
            0
        };
        if set == 0 {
            for name in names.split(',') {
                let name = name.to_ascii_uppercase();
                set |= CapabilitySet::from_name(name.strip_prefix("CAP_")?)?.bits();
            }
        }
        while let Some(operator) = rest.chars().next() {
            let letters = &rest[1..];
            let end = letters.find(['=', '+', '-']).unwrap_or(letters.len());
            for (letter, bits) in [
                ('p', &mut permitted),
                ('i', &mut inheritable),
                ('e', &mut effective),
            ] {
                let meant = letters[..end].contains(letter);
                match operator {
                    '=' => *bits = (*bits & !set) | if meant { set } else { 0 },
                    '+' if meant => *bits |= set,
                    '-' if meant => *bits &= !set,
                    _ => {}
                }
            }
            if letters[..end].chars().any(|letter| !"pie".contains(letter)) {
                return None;
            }
            rest = &letters[end..];
        }
    }
    let words = |bits: u64| [low(bits), low(bits >> 32)];
    let ([permitted_low, permitted_high], [inheritable_low, inheritable_high]) =
        (words(permitted), words(inheritable));
    let head = REVISION_2 | u32::from(effective != 0);
    let value = [
        head,
        permitted_low,
        inheritable_low,
        permitted_high,
        inheritable_high,
    ];
    Some(value.into_iter().flat_map(u32::to_le_bytes).collect())
}

fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_texts() {
        let raw = 1_u32 << 13;
        let value = |words: [u32; 5]| {
            Some(
                words
                    .into_iter()
                    .flat_map(u32::to_le_bytes)
                    .collect::<Vec<u8>>(),
            )
        };
        let cases = [
            ("cap_net_raw=ep", value([0x0200_0001, raw, 0, 0, 0])),
            ("cap_net_raw+p", value([0x0200_0000, raw, 0, 0, 0])),
            ("= cap_net_raw+ep", value([0x0200_0001, raw, 0, 0, 0])),
            (
                "cap_net_raw=eip cap_net_raw-i",
                value([0x0200_0001, raw, 0, 0, 0]),
            ),
            (
                "cap_perfmon,CAP_CHOWN=i",
                value([0x0200_0000, 0, 1, 0, 1 << 6]),
            ),
            ("=", value([0x0200_0000, 0, 0, 0, 0])),
            ("cap_unknown=ep", None),
            ("cap_net_raw", None),
            ("cap_net_raw=x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(capability_value(text), expected, "{text}");
        }
    }

    #[test]
    fn the_id_of_root_outside_is_dropped() {
        let mut value: Vec<u8> = [0x0300_0001_u32, 7, 8, 9, 10, 100_000]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        let expected: Vec<u8> = [0x0200_0001_u32, 7, 8, 9, 10]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        assert_eq!(without_root_id(value.clone()), expected);
        assert_eq!(without_root_id(expected.clone()), expected);
        value.truncate(3);
        assert_eq!(without_root_id(value.clone()), value);
    }

    #[test]
    fn what_belongs() {
        for name in ["user.x", "security.capability", "system.posix_acl_access"] {
            assert!(belongs(name.as_bytes()), "{name}");
        }
        for name in [
            "user.overlay.opaque",
            "trusted.x",
            "trusted.overlay.redirect",
            "security.selinux",
            "btrfs.compression",
        ] {
            assert!(!belongs(name.as_bytes()), "{name}");
        }
    }
}
