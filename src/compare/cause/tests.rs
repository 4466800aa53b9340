use super::*;
use crate::compare::conditions::{Account, Side, Span};

/// Sides that differ in everything that can be varied.
fn all_varied() -> Conditions {
    let side = |from: i64, zone: &str, offset: i32, name: &str, id: u32| Side {
        time: Some(Span {
            from,
            to: from + 600,
        }),
        ahead: None,
        time_zone: Some(zone.to_owned()),
        utc_offset: Some(offset),
        host: Some(format!("{name}-host")),
        paths: vec![format!("/build/{name}"), format!("/home/{name}user")],
        user: Some(Account {
            name: format!("{name}user"),
            id,
        }),
        group: Some(Account {
            name: format!("{name}group"),
            id: id + 1,
        }),
        locale: Some(if id == 1000 { "C.UTF-8" } else { "et_EE.UTF-8" }.to_owned()),
        processors: Some(if id == 1000 { 2 } else { 1 }),
        umask: Some(if id == 1000 { 0o022 } else { 0o002 }),
        kernel: vec![format!("6.{id}.0-{name}")],
        variables: [("CAPTURE".to_owned(), format!("captured-{name}"))].into(),
        directory_order: Some(if id == 1000 { "sorted" } else { "reversed" }.to_owned()),
        job_order: Some(if id == 1000 { "forward" } else { "backward" }.to_owned()),
        environment: Some("sha256:same".to_owned()),
        toolchain: None,
    };
    Conditions {
        first: side(1_764_011_600, "UTC", 0, "one", 1000),
        second: side(1_798_000_000, "Asia/Kathmandu", 20_700, "another", 2000),
    }
}

fn named(first: &[u8], second: &[u8], conditions: &Conditions) -> String {
    let found = sites(first, second);
    let findings = found.iter().map(|site| {
        explain(site, Format::Bytes, conditions).unwrap_or_else(|| unexplained(conditions))
    });
    let mut causes: Vec<&str> = findings.map(|finding| finding.cause.words()).collect();
    causes.dedup();
    causes.join(", ")
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn causes_are_named_by_what_is_in_the_bytes() {
    let conditions = all_varied();
    let table: &[(&str, &str, &str)] = &[
        (
            "built in /build/one/src\n",
            "built in /build/another/src\n",
            "build path",
        ),
        ("HOME=/home/oneuser", "HOME=/home/anotheruser", "build path"),
        ("by oneuser at dawn", "by anotheruser at dawn", "user"),
        ("uid=1000", "uid=2000", "user"),
        ("on one-host.", "on another-host.", "host name"),
        (
            "Linux 6.1000.0-one x86_64",
            "Linux 6.2000.0-another x86_64",
            "kernel",
        ),
        ("LANG=C.UTF-8", "LANG=et_EE.UTF-8", "locale"),
        ("make -j2 all", "make -j1 all", "parallelism"),
        ("cpus: 2\n", "cpus: 1\n", "parallelism"),
        (
            "X=captured-one",
            "X=captured-another",
            "environment variable",
        ),
        ("stamp 1764011617", "stamp 1798000005", "embedded time"),
        (
            "Nov 24 2025 19:13:37",
            "Dec 23 2026 05:06:45",
            "embedded time",
        ),
        (
            "Tue Nov 24 19:13:37 UTC 2025",
            "Wed Dec 23 10:51:45 +0545 2026",
            "embedded time",
        ),
        (
            "2025-11-24T19:13:37",
            "2026-12-23T05:06:45",
            "embedded time",
        ),
        (
            "on 24 November 2025",
            "on 23 December 2026",
            "embedded time",
        ),
        (
            ".TH A 1 \"November 2025\"",
            ".TH A 1 \"December 2026\"",
            "embedded time",
        ),
        ("2025-01-01 12:00:00", "2025-01-01 17:45:00", "time zone"),
        ("TZ is UTC.", "TZ is Asia/Kathmandu.", "time zone"),
        (
            "0b4f21e8-8a4d-4c3b-9f51-2f1f0f3d2c11",
            "a3d9c0de-11aa-4e0f-8b77-90ab12cd34ef",
            "random or uninitialised bytes",
        ),
        (
            "id=9f86d081884c7d65",
            "id=2c26b46b68ffc68f",
            "random or uninitialised bytes",
        ),
        (
            "at 0x7ffd3c2a1b40",
            "at 0x7ffe9b40c2d0",
            "random or uninitialised bytes",
        ),
        (
            "in /tmp/tmp.Zk3jQwA8xB",
            "in /tmp/tmp.p0LmN2vC4s",
            "random or uninitialised bytes",
        ),
        (
            "GCC: (Debian 14.2.0-19) 14.2.0",
            "GCC: (Debian 12.2.0-14) 12.2.0",
            "toolchain difference",
        ),
        ("a completely different", "text with no reason", "unknown"),
    ];
    for (first, second, expected) in table {
        assert_eq!(
            named(first.as_bytes(), second.as_bytes(), &conditions),
            *expected,
            "{first:?} and {second:?}"
        );
        assert_eq!(
            named(second.as_bytes(), first.as_bytes(), &conditions.flipped()),
            *expected,
            "flipped: {first:?} and {second:?}"
        );
    }
}

#[test]
fn binary_times_addresses_and_noise_are_known() {
    let conditions = all_varied();
    let around = |inner: &[u8]| [&[0_u8; 16][..], inner, &[0; 16]].concat();
    let noise = |seed: u32| {
        (0..32_u32)
            .map(|at| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect::<Vec<_>>()
    };
    let table: Vec<(Vec<u8>, Vec<u8>, &str)> = vec![
        (
            around(&1_764_011_617_u32.to_le_bytes()),
            around(&1_798_000_005_u32.to_le_bytes()),
            "embedded time",
        ),
        (
            around(&1_764_011_617_u32.to_be_bytes()),
            around(&1_798_000_005_u32.to_be_bytes()),
            "embedded time",
        ),
        (
            around(&1_764_011_617_123_u64.to_le_bytes()),
            around(&1_798_000_005_456_u64.to_le_bytes()),
            "embedded time",
        ),
        (
            around(&0x7ffd_3c2a_1b40_u64.to_le_bytes()),
            around(&0x7ffe_9b40_c2d0_u64.to_le_bytes()),
            "random or uninitialised bytes",
        ),
        (
            around(&noise(1)),
            around(&noise(77)),
            "random or uninitialised bytes",
        ),
        (around(&[1, 2]), around(&[3, 4]), "unknown"),
    ];
    for (first, second, expected) in table {
        assert_eq!(
            named(&first, &second, &conditions),
            expected,
            "{first:02x?}"
        );
    }
}

#[test]
fn orders_are_told_apart() {
    let conditions = all_varied();
    let lists = |first: &str, second: &str| {
        let list = |text: &'_ str| {
            text.split(' ')
                .map(|word| word.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        let (a, b) = (list(first), list(second));
        let (a, b): (Vec<&[u8]>, Vec<&[u8]>) = (
            a.iter().map(Vec::as_slice).collect(),
            b.iter().map(Vec::as_slice).collect(),
        );
        assert!(same_entries(&a, &b));
        order(&a, &b, &conditions).cause.words()
    };
    assert_eq!(lists("B a _c", "a B _c"), "locale");
    assert_eq!(lists("B _c a", "_c a B"), "locale");
    assert_eq!(lists("a b c d", "d c b a"), "directory order");
    assert_eq!(lists("x q a k", "k a q x"), "directory order");
    assert_eq!(lists("b d a c e", "d a e c b"), "parallelism");
}

#[test]
fn one_variation_alone_is_the_cause() {
    let mut conditions = Conditions::default();
    assert_eq!(
        unexplained(&conditions).cause,
        Cause::Unknown,
        "nothing is known"
    );
    conditions.first.umask = Some(0o022);
    conditions.second.umask = Some(0o022);
    assert_eq!(
        unexplained(&conditions).cause,
        Cause::Random,
        "nothing differs"
    );
    conditions.second.umask = Some(0o002);
    assert_eq!(unexplained(&conditions).cause, Cause::Umask);
    assert_eq!(unexplained(&all_varied()).cause, Cause::Unknown);
    assert_eq!(mode(0o644, 0o664, &all_varied()).cause, Cause::Umask);
    assert_eq!(mode(0o644, 0o755, &all_varied()).cause, Cause::Unknown);
    assert_eq!(
        owner(
            "oneuser:onegroup",
            "anotheruser:anothergroup",
            &all_varied()
        )
        .cause,
        Cause::User
    );
    assert_eq!(
        mtime(1_764_011_601, 1_798_000_001, &all_varied()).cause,
        Cause::EmbeddedTime
    );
}

#[test]
fn zones_as_posix_has_them_are_known_by_their_short_names() {
    let mut conditions = all_varied();
    conditions.second.time_zone = Some("AUDIT-14".to_owned());
    conditions.second.utc_offset = Some(14 * 3600);
    for (first, second) in [
        ("zone UTC\n", "zone AUDIT\n"),
        (
            "Fri Jan  2 00:00:00 UTC 1970",
            "Fri Jan  2 14:00:00 AUDIT 1970",
        ),
        (
            "Fri Jan  2 00:00:00 UTC 1970",
            "Fri Jan  2 14:00:00 +14 1970",
        ),
    ] {
        let found = named(first.as_bytes(), second.as_bytes(), &conditions);
        assert_eq!(found.split(", ").next(), Some("time zone"), "{second}");
    }
}

#[test]
fn every_cause_has_words_and_a_remedy() {
    for cause in Cause::ALL {
        assert!(!cause.words().is_empty());
        for format in [
            Format::Header,
            Format::File,
            Format::Text,
            Format::Gzip,
            Format::Zip,
            Format::Ar,
            Format::Tar,
            Format::Elf,
            Format::Code,
            Format::Python,
            Format::Image,
            Format::Bytes,
        ] {
            assert_eq!(
                remedy::remedy(cause, format).is_empty(),
                cause == Cause::Consequence,
                "{cause:?} in {format:?}"
            );
        }
    }
}
