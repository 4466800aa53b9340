//! Environments of a few packages, and traces in them.

use super::*;
use crate::backend::{Touch, Touched, Trace};
use crate::documents::config::{Allowance, Allowed};
use crate::record::UsageRecord;
use crate::rpm::Requirement;

fn package(name: &str, requires: &[&str], files: &[&str]) -> PackageFacts {
    let mut facts = PackageFacts::new(format!("{name}-1-1.x86_64").parse().unwrap());
    facts.requires = requires
        .iter()
        .map(|text| Requirement {
            dependency: text.parse().unwrap(),
            pre: false,
        })
        .collect();
    facts.files = files.iter().map(ToString::to_string).collect();
    facts
}

fn environment() -> Vec<PackageFacts> {
    vec![
        package("bash", &["libc"], &["/usr/bin/bash", "/usr/bin/sh"]),
        package("libc", &[], &["/usr/lib/libc.so.6"]),
        package("gcc", &["libc", "binutils"], &["/usr/bin/gcc"]),
        package("binutils", &["libc"], &["/usr/bin/ld"]),
        package("zlib", &["libc"], &["/usr/lib/libz.so.1.3"]),
        package(
            "zlib-devel",
            &["zlib"],
            &["/usr/lib/libz.so", "/usr/include/zlib.h"],
        ),
        package("which", &["libc"], &["/usr/bin/which"]),
        package("all", &["gettext"], &[]),
        package("gettext", &[], &["/usr/bin/msgfmt"]),
        package("macros", &[], &["/usr/lib/rpm/macros.d/macros.x"]),
        package("m4", &[], &["/usr/share/aclocal/x.m4"]),
    ]
}

fn trace(seen: &[(&str, Touch, Option<&str>)]) -> Trace {
    let mut trace = Trace {
        processes: true,
        ..Trace::default()
    };
    for (path, touch, target) in seen {
        let seen = Touched {
            touch: *touch,
            process: Some("cc1".to_owned()).filter(|_| *touch > Touch::LookedUp),
            target: target.map(str::to_owned),
        };
        trace.note((*path).to_owned(), seen);
    }
    trace
}

fn settings() -> Settings {
    Settings {
        enabled: true,
        strict: false,
        allow: vec![Allowance {
            what: Allowed::Undeclared("which".to_owned()),
            packages: Vec::new(),
            reason: "old scripts".to_owned(),
        }],
    }
}

/// What is said of a build with these BuildRequires that did this.
fn judged(asks: &[&str], seen: &[(&str, Touch, Option<&str>)]) -> UsageRecord {
    let environment = environment();
    let tracing = Tracing {
        settings: settings(),
        base: vec![Wanted::package("bash", "template")],
        given: BTreeSet::new(),
    };
    let ground = Ground::new(&environment, &tracing);
    let asks: Vec<(String, String)> = asks
        .iter()
        .enumerate()
        .map(|(line, text)| ((*text).to_owned(), format!("x.spec:{line}")))
        .collect();
    let own = package("own", &["which"], &["/usr/share/own"]);
    let spec = Spec {
        name: "x",
        asks: &asks,
        own: &[&own],
    };
    judge(&ground, spec, &trace(seen), &tracing.settings)
}

fn told(usage: &UsageRecord) -> String {
    let undeclared = usage.undeclared.iter().map(|one| {
        let files = one.files.iter().map(|file| {
            let process = file.process.as_deref().unwrap_or("-");
            format!("{} {} by {process}", file.how.words(), file.path)
        });
        format!(
            "{} [{}] {}{}{}",
            one.package.name,
            files.collect::<Vec<_>>().join(", "),
            one.add,
            one.with
                .as_ref()
                .map_or(String::new(), |with| format!(", with {with}")),
            one.allowed
                .as_ref()
                .map_or(String::new(), |why| format!(", allowed: {why}")),
        )
    });
    let unused = usage.unused.iter();
    let unused = unused.map(|one| format!("unused {} ({})", one.requirement, one.place));
    undeclared.chain(unused).collect::<Vec<_>>().join("\n")
}

use Touch::{Executed, LookedUp, Opened};

#[test]
fn what_is_used_and_not_reachable_is_undeclared() {
    let usage = judged(
        &["gcc"],
        &[
            ("/usr/bin/bash", Executed, None),
            ("/usr/lib/libc.so.6", Opened, None),
            ("/usr/bin/gcc", Executed, None),
            ("/usr/bin/ld", Executed, None),
            ("/usr/lib/libz.so", LookedUp, Some("/usr/lib/libz.so.1.3")),
            ("/usr/lib/libz.so.1.3", Opened, None),
            ("/usr/bin/msgfmt", LookedUp, None),
            ("/usr/bin/which", Executed, None),
            ("/usr/share/aclocal/x.m4", Opened, None),
            ("/usr/lib/rpm/macros.d/macros.x", Opened, None),
        ],
    );
    insta::assert_snapshot!(told(&usage), @r"
    which [executed /usr/bin/which by cc1] BuildRequires: which, allowed: old scripts
    zlib [opened /usr/lib/libz.so.1.3 by cc1] BuildRequires: zlib, with zlib-devel
    zlib-devel [followed /usr/lib/libz.so by cc1] BuildRequires: zlib-devel
    gettext [looked for /usr/bin/msgfmt by -] BuildRequires: /usr/bin/msgfmt
    ");
    let names = |all: Vec<&crate::record::Undeclared>| {
        let names = all.iter().map(|one| one.package.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(usage.to_declare().collect()), "zlib-devel");
    assert_eq!(usage.files, 8);
}

#[test]
fn what_is_declared_and_not_touched_is_unused() {
    let seen = [("/usr/bin/gcc", Executed, None)];
    let asks = ["gcc", "zlib-devel", "all", "macros", "bash", "nobody"];
    insta::assert_snapshot!(told(&judged(&asks, &seen)), @r"
    unused zlib-devel (x.spec:1)
    unused all (x.spec:2)
    unused bash (x.spec:4)
    ");
    // What only it pulls in was touched; a file that was only looked for is touched, too.
    let more = [
        ("/usr/bin/gcc", Executed, None),
        ("/usr/lib/libz.so.1.3", Opened, None),
        ("/usr/bin/msgfmt", LookedUp, None),
        ("/usr/bin/bash", Opened, None),
    ];
    assert_eq!(told(&judged(&asks, &more)), "");
}

#[test]
fn the_project_s_own_packages_count_as_others_do() {
    let seen = [
        ("/usr/share/own", Opened, None),
        ("/usr/bin/which", Opened, None),
    ];
    assert_eq!(told(&judged(&["own"], &seen)), "");
    insta::assert_snapshot!(told(&judged(&[], &seen)), @r"
    own [opened /usr/share/own by cc1] BuildRequires: own
    which [opened /usr/bin/which by cc1] BuildRequires: which, with own, allowed: old scripts
    ");
}

#[test]
fn what_writes_the_loader_s_cache_uses_no_library() {
    let environment = environment();
    let tracing = Tracing {
        settings: settings(),
        base: Vec::new(),
        given: BTreeSet::new(),
    };
    let ground = Ground::new(&environment, &tracing);
    let spec = Spec {
        name: "x",
        asks: &[],
        own: &[],
    };
    let seen = [
        ("/usr/sbin/ldconfig", Executed, None),
        ("/usr/lib/libz.so.1.3", Opened, None),
    ];
    let mut trace = trace(&seen);
    assert!(told(&judge(&ground, spec, &trace, &tracing.settings)).contains("opened"));
    trace.processes = false;
    assert_eq!(told(&judge(&ground, spec, &trace, &tracing.settings)), "");
}

#[test]
fn where_events_were_lost_nothing_is_called_unused() {
    let environment = environment();
    let tracing = Tracing {
        settings: settings(),
        base: Vec::new(),
        given: BTreeSet::new(),
    };
    let ground = Ground::new(&environment, &tracing);
    let spec = Spec {
        name: "x",
        asks: &[("gcc".to_owned(), "x.spec".to_owned())],
        own: &[],
    };
    let lost = Trace {
        lost: true,
        ..Trace::default()
    };
    let usage = judge(&ground, spec, &lost, &tracing.settings);
    assert!(usage.unused.is_empty() && usage.gap.is_some());
}
