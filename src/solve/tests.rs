//! The solver on small universes written as tables.

use super::*;
use crate::documents::template::Policy;
use crate::rpm::{Dependency, Nevra, PackageFacts, Requirement};

/// `name-version-release.arch; tag: value, value; tag: value`
fn package(text: &str) -> PackageFacts {
    let mut parts = text.split(';').map(str::trim);
    let mut facts = PackageFacts::new(parts.next().unwrap().parse::<Nevra>().unwrap());
    for part in parts {
        let (tag, values) = part.split_once(':').unwrap();
        for value in values.split(',').map(str::trim) {
            let dependency = || value.parse::<Dependency>().unwrap();
            match tag {
                "provides" => facts.provides.push(dependency()),
                "requires" | "pre" => facts.requires.push(Requirement {
                    dependency: dependency(),
                    pre: tag == "pre",
                }),
                "conflicts" => facts.conflicts.push(dependency()),
                "obsoletes" => facts.obsoletes.push(dependency()),
                "recommends" => facts.recommends.push(dependency()),
                "files" => facts.files.push(value.to_owned()),
                other => panic!("{other}"),
            }
        }
    }
    facts
}

struct Boxed(PackageFacts);

impl AsRef<PackageFacts> for Boxed {
    fn as_ref(&self) -> &PackageFacts {
        &self.0
    }
}

fn packages(lines: &[&str]) -> Vec<Boxed> {
    lines.iter().map(|line| Boxed(package(line))).collect()
}

fn universe(lines: &[&str]) -> Universe {
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_repository("base", Preference::default(), &packages(lines));
    universe
}

fn request(wanted: &[&str]) -> Request {
    Request {
        install: wanted
            .iter()
            .map(|text| Wanted::package(*text, "the test"))
            .collect(),
        ..Request::default()
    }
}

fn names(solution: &Solution) -> Vec<String> {
    solution
        .packages
        .iter()
        .map(|selected| selected.nevra.to_string())
        .collect()
}

/// In alphabetical order, for tests that are not about order.
fn solved(universe: &mut Universe, request: &Request) -> Vec<String> {
    let mut names = names(&universe.solve(request).unwrap());
    names.sort();
    names
}

/// `what: packages => wanted => solution`
const CHOICES: &str = "\
the newest version: a-1-1.noarch | a-1.10-1.noarch | a-1.9-1.noarch => a => a-1.10-1.noarch
an older one by name: a-1-1.noarch | a-2-1.noarch => a-1 => a-1-1.noarch
an epoch beats a version: a-9-1.noarch | a-1:1-1.noarch => a => a-1:1-1.noarch
what obsoletes the name: a-1-1.noarch | b-2-1.noarch; obsoletes: a < 2; provides: a = 2 => a => b-2-1.noarch
what obsoletes it in all versions: a-1-1.noarch | b-2-1.noarch; obsoletes: a => a => b-2-1.noarch
what obsoletes something else: a-1-1.noarch | b-2-1.noarch; obsoletes: c | c-1-1.noarch => a => a-1-1.noarch
own architecture first: a-1-1.i686 | a-1-1.x86_64 => a => a-1-1.x86_64
the other one where asked: a-1-1.i686 | a-1-1.x86_64 => a.i686 => a-1-1.i686
a foreign architecture never: a-2-1.aarch64 | a-1-1.noarch => a => a-1-1.noarch
a capability: a-1-1.noarch; provides: x = 1 | b-1-1.noarch; provides: x = 3 => x >= 2 => b-1-1.noarch
a file: a-1-1.noarch; files: /usr/bin/x => /usr/bin/x => a-1-1.noarch
a required file: a-1-1.noarch; files: /usr/bin/x | b-1-1.noarch; requires: /usr/bin/x => b => a-1-1.noarch | b-1-1.noarch
itself: a-1-1.noarch; provides: x; requires: x, a = 1 => a => a-1-1.noarch
its own file: a-1-1.noarch; files: /bin/x; requires: /bin/x => a => a-1-1.noarch
rpm's own features: a-1-1.noarch; requires: rpmlib(Foo) <= 4 => a => a-1-1.noarch
no weak ones: a-1-1.noarch; recommends: b | b-1-1.noarch => a => a-1-1.noarch
a way around a conflict: a-1-1.noarch | a-2-1.noarch; conflicts: b | b-1-1.noarch => a | b => a-1-1.noarch | b-1-1.noarch
if, met: a-1-1.noarch; requires: (b if c) | b-1-1.noarch | c-1-1.noarch => a | c => a-1-1.noarch | b-1-1.noarch | c-1-1.noarch
if, not met: a-1-1.noarch; requires: (b if c) | b-1-1.noarch | c-1-1.noarch => a => a-1-1.noarch
else: a-1-1.noarch; requires: (b if c else d) | b-1-1.noarch | d-1-1.noarch => a => a-1-1.noarch | d-1-1.noarch
or: a-1-1.noarch; requires: (x or b) | b-1-1.noarch => a => a-1-1.noarch | b-1-1.noarch
with: a-1-1.noarch; requires: (x >= 2 with x < 3) | b-1-1.noarch; provides: x = 1 | c-1-1.noarch; provides: x = 2.5 | d-1-1.noarch; provides: x = 3 => a => a-1-1.noarch | c-1-1.noarch
without: a-1-1.noarch; requires: (x without y) | b-1-1.noarch; provides: x, y | c-1-1.noarch; provides: x => a => a-1-1.noarch | c-1-1.noarch
unless: a-1-1.noarch; conflicts: (b unless c) | b-1-1.noarch | c-1-1.noarch => a | b => a-1-1.noarch | b-1-1.noarch | c-1-1.noarch
unless, not needed: a-1-1.noarch; conflicts: (b unless c) | c-1-1.noarch => a => a-1-1.noarch
unless with else: a-1-1.noarch; conflicts: (b unless c else d) | b-1-1.noarch | c-1-1.noarch | d-1-1.noarch => a | b => a-1-1.noarch | b-1-1.noarch | c-1-1.noarch
without, an older one: a-1-1.noarch; requires: (x without x >= 2) | b-1-1.noarch; provides: x = 1 | c-1-1.noarch; provides: x = 2 => a => a-1-1.noarch | b-1-1.noarch
no other word size by a name: a-1-1.x86_64; requires: b | b-1-1.i686 | b-1-1.x86_64 => a => a-1-1.x86_64 | b-1-1.x86_64
no other word size though it is newer: a-1-1.x86_64; requires: b | b-2-1.i686 | b-1-1.x86_64 => a => a-1-1.x86_64 | b-1-1.x86_64
the other word size where required, beside the own: a-1-1.x86_64; requires: b(x86-32) | b-1-1.i686; provides: b(x86-32) | b-1-1.x86_64 => a => a-1-1.x86_64 | b-1-1.i686 | b-1-1.x86_64
both word sizes where asked: a-1-1.i686 | a-1-1.x86_64 => a.i686 | a.x86_64 => a-1-1.i686 | a-1-1.x86_64
from noarch to an architecture: a-1-1.noarch | a-2-1.x86_64 => a => a-2-1.x86_64
from an architecture to noarch: a-1-1.x86_64 | a-2-1.noarch => a => a-2-1.noarch
two kernels where asked: kernel-1-1.x86_64; provides: kernel = 1-1 | kernel-2-1.x86_64; provides: kernel = 2-1 => kernel-1 | kernel-2 => kernel-1-1.x86_64 | kernel-2-1.x86_64
a kernel's modules by name: m-1-1.x86_64; provides: installonlypkg(kernel-module) | m-2-1.x86_64; provides: installonlypkg(kernel-module) => m-1 | m-2 => m-1-1.x86_64 | m-2-1.x86_64
obsoletes mean names alone: a-1-1.noarch; obsoletes: v | b-1-1.noarch; provides: v => a | b => a-1-1.noarch | b-1-1.noarch
an obsolete of other versions: a-1-1.noarch; obsoletes: b < 1 | b-1-1.noarch => a | b => a-1-1.noarch | b-1-1.noarch
its own name obsoleted: a-2-1.noarch; obsoletes: a < 2 => a => a-2-1.noarch
a conflict with what it provides: a-1-1.noarch; provides: v; conflicts: v => a => a-1-1.noarch
a release that is missing in what is required: a-1-1.noarch; requires: b = 1 | b-1-7.noarch => a => a-1-1.noarch | b-1-7.noarch
a release that is missing in what is provided: a-1-1.noarch; requires: v = 1-5 | b-1-7.noarch; provides: v = 1 => a => a-1-1.noarch | b-1-7.noarch
what is provided without a version: a-1-1.noarch; requires: v >= 5 | b-1-7.noarch; provides: v => a => a-1-1.noarch | b-1-7.noarch
config of its own: a-1-1.noarch; provides: config(a) = 1-1; requires: config(a) = 1-1 => a => a-1-1.noarch
config of another: a-1-1.noarch; requires: config(b) = 1-1 | b-1-1.noarch; provides: config(b) = 1-1 => a => a-1-1.noarch | b-1-1.noarch
rpm's features in a rich one: a-1-1.noarch; requires: rpmlib(RichDependencies) <= 4.12.0-1, (b if c) | b-1-1.noarch => a => a-1-1.noarch
a cycle of provides: a-1-1.noarch; provides: x; requires: y | b-1-1.noarch; provides: y; requires: z | c-1-1.noarch; provides: z; requires: x => a => a-1-1.noarch | b-1-1.noarch | c-1-1.noarch
nested: a-1-1.noarch; requires: ((b and c) if (d or e)) | b-1-1.noarch | c-1-1.noarch | d-1-1.noarch | e-1-1.noarch => a | e => a-1-1.noarch | b-1-1.noarch | c-1-1.noarch | e-1-1.noarch";

#[test]
fn choices_are_those_of_dnf() {
    let list = |text: &'static str| text.split('|').map(str::trim).collect::<Vec<_>>();
    for line in CHOICES.lines() {
        let [packages, wanted, expected] = line.split(" => ").collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let (_, packages) = packages.split_once(": ").unwrap();
        let solution = universe(&list(packages)).solve(&request(&list(wanted)));
        let mut names = names(&solution.unwrap_or_else(|error| panic!("{line}: {error}")));
        names.sort();
        assert_eq!(names, list(expected), "{line}");
    }
}

#[test]
fn weak_dependencies_come_where_asked_for() {
    let mut universe = universe(&["a-1-1.noarch; recommends: b", "b-1-1.noarch"]);
    let request = Request {
        allow_weak: true,
        ..request(&["a"])
    };
    assert_eq!(
        solved(&mut universe, &request),
        ["a-1-1.noarch", "b-1-1.noarch"]
    );
}

/// Found on synthetic repositories, where each of the three answers as the dnf of its name.
#[test]
fn newer_dnfs_take_only_what_obsoletes_the_newest() {
    let lines = [
        "a-1-1.noarch; requires: missing",
        "a-3-1.noarch; requires: missing",
        "b-1-1.noarch; obsoletes: a < 2",
    ];
    let mut universe = universe(&lines);
    let mut answer = |policy| {
        let solution = universe.solve(&Request {
            policy,
            ..request(&["a"])
        });
        solution.ok().map(|solution| names(&solution))
    };
    assert_eq!(answer(Policy::Dnf4), Some(vec!["b-1-1.noarch".to_owned()]));
    assert_eq!((answer(Policy::Dnf423), answer(Policy::Dnf5)), (None, None));
}

/// The same for what is asked for by what it provides.
#[test]
fn dnf5_takes_the_other_word_size_of_what_provides_something() {
    let lines = [
        "p-1-1.i686; provides: v",
        "p-1-1.x86_64; provides: v; requires: missing",
    ];
    let mut universe = universe(&lines);
    let mut answer = |policy| {
        let solution = universe.solve(&Request {
            install: vec![Wanted::dependency("v", "package p (BuildRequires)")],
            policy,
            ..Request::default()
        });
        solution.ok().map(|solution| names(&solution))
    };
    assert_eq!((answer(Policy::Dnf4), answer(Policy::Dnf423)), (None, None));
    assert_eq!(answer(Policy::Dnf5), Some(vec!["p-1-1.i686".to_owned()]));
}

#[test]
fn a_build_requirement_is_met_by_any_provider() {
    let mut universe = universe(&["a-1-1.noarch", "b-1-1.noarch; provides: a = 5"]);
    let request = Request {
        install: vec![Wanted::dependency("a >= 4", "package p (BuildRequires)")],
        ..Request::default()
    };
    assert_eq!(solved(&mut universe, &request), ["b-1-1.noarch"]);
}

#[test]
fn repositories_have_priorities() {
    let mut universe = Universe::new("x86_64").unwrap();
    let base = universe.add_repository(
        "base",
        Preference::default(),
        &packages(&["a-2-1.noarch", "b-1-1.noarch"]),
    );
    let preferred = Preference {
        priority: 10,
        ..Preference::default()
    };
    let own = universe.add_repository(
        "own",
        preferred,
        &packages(&["c-1-1.noarch", "a-1-1.noarch"]),
    );
    let solution = universe.solve(&request(&["a", "b"])).unwrap();
    let mut found: Vec<_> = solution
        .packages
        .iter()
        .map(|selected| {
            (
                selected.nevra.name.as_str(),
                selected.repository,
                selected.package,
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("a", own, 1), ("b", base, 1)]);
}

#[test]
fn what_the_project_provides_is_not_asked_from_repositories() {
    let mut universe = universe(&[
        "tool-1-1.noarch; requires: libown >= 2",
        "libown-3-1.noarch",
        "other-1-1.noarch; requires: libown",
    ]);
    let mut request = request(&["tool"]);
    assert_eq!(
        solved(&mut universe, &request),
        ["libown-3-1.noarch", "tool-1-1.noarch"]
    );
    request.exclude = vec!["libown = 2.5-1".parse().unwrap()];
    assert_eq!(solved(&mut universe, &request), ["tool-1-1.noarch"]);
    request.exclude = vec!["libown = 1-1".parse().unwrap()];
    assert_eq!(
        solved(&mut universe, &request),
        ["libown-3-1.noarch", "tool-1-1.noarch"],
        "too old does not count"
    );
    request.exclude = Vec::new();
    assert_eq!(
        solved(&mut universe, &request),
        ["libown-3-1.noarch", "tool-1-1.noarch"],
        "nothing stays behind"
    );
}

#[test]
fn kept_packages_stay_where_that_is_possible() {
    let lines = [
        "a-1-1.noarch; requires: b",
        "a-2-1.noarch; requires: b",
        "b-1-1.noarch",
        "b-2-1.noarch",
        "c-1-1.noarch; requires: b >= 2",
        "x-1-1.noarch; provides: v",
        "y-1-1.noarch; provides: v",
    ];
    let mut universe = universe(&lines);
    let mut request = request(&["a"]);
    request.keep = vec![
        "a-1-1.noarch".parse().unwrap(),
        "b-1-1.noarch".parse().unwrap(),
    ];
    assert_eq!(
        solved(&mut universe, &request),
        ["a-1-1.noarch", "b-1-1.noarch"]
    );
    request.keep.remove(0);
    assert_eq!(
        solved(&mut universe, &request),
        ["a-2-1.noarch", "b-1-1.noarch"],
        "`update a`"
    );
    request.install.push(Wanted::package("c", "the test"));
    assert_eq!(
        solved(&mut universe, &request),
        ["a-2-1.noarch", "b-2-1.noarch", "c-1-1.noarch"],
        "what no longer fits gives way"
    );
    for provider in ["x", "y"] {
        request.install = vec![Wanted::dependency("v", "the test")];
        request.keep = vec![format!("{provider}-1-1.noarch").parse().unwrap()];
        assert_eq!(
            solved(&mut universe, &request),
            [format!("{provider}-1-1.noarch")],
            "a chosen provider stays"
        );
    }
}

#[test]
fn only_what_is_not_installed_yet_is_added() {
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_installed(&packages(&[
        "glibc-1-1.x86_64; provides: libc.so.6",
        "zlib-1-1.x86_64; provides: libz.so.1",
    ]));
    universe.add_repository(
        "own",
        Preference::default(),
        &packages(&[
            "png-1-1.x86_64; requires: libz.so.1",
            "zlib-2-1.x86_64; provides: libz.so.1",
            "app-1-1.x86_64; requires: png, zlib >= 2, libc.so.6",
        ]),
    );
    let mut wanted = Request {
        install: vec![Wanted::dependency("png", "package p")],
        ..Request::default()
    };
    assert_eq!(solved(&mut universe, &wanted), ["png-1-1.x86_64"]);
    wanted.install = vec![
        Wanted::dependency("app", "package p"),
        Wanted::dependency("libc.so.6", "package p"),
    ];
    let solution = universe.solve(&wanted).unwrap();
    assert_eq!(names(&solution).len(), 3);
    assert_eq!(solution.replaced, ["zlib-1-1.x86_64".parse().unwrap()]);
}

#[test]
fn transactions_are_ordered_and_cycles_are_broken_before_scriptlets() {
    let mut universe = universe(&[
        "app-1-1.noarch; requires: bash; pre: shadow",
        "bash-1-1.noarch; requires: glibc, filesystem",
        "filesystem-1-1.noarch; requires: setup",
        "glibc-1-1.noarch; requires: filesystem, glibc-common",
        "glibc-common-1-1.noarch; requires: glibc",
        "setup-1-1.noarch",
        "shadow-1-1.noarch; requires: glibc; pre: setup",
    ]);
    let order = names(&universe.solve(&request(&["app"])).unwrap());
    let place = |name: &str| {
        order
            .iter()
            .position(|entry| entry.starts_with(&format!("{name}-1")))
            .unwrap()
    };
    for (before, after) in [
        ("setup", "filesystem"),
        ("filesystem", "glibc"),
        ("glibc", "bash"),
        ("glibc", "shadow"),
        ("shadow", "app"),
        ("bash", "app"),
    ] {
        assert!(
            place(before) < place(after),
            "{before} before {after} in {order:?}"
        );
    }
}

#[test]
fn the_order_of_adding_does_not_matter() {
    let mut lines = vec![
        "a-1-1.noarch; requires: v, w",
        "x-1-1.noarch; provides: v",
        "y-1-1.noarch; provides: v, w",
        "z-1-1.noarch; provides: w",
        "y-2-1.noarch; provides: w",
    ];
    let expected = names(&universe(&lines).solve(&request(&["a"])).unwrap());
    for _rotation in 0..lines.len() {
        lines.rotate_left(1);
        assert_eq!(
            names(&universe(&lines).solve(&request(&["a"])).unwrap()),
            expected
        );
        lines.swap(0, 1);
        assert_eq!(
            names(&universe(&lines).solve(&request(&["a"])).unwrap()),
            expected
        );
    }
}

#[test]
fn file_lists_are_asked_for_only_where_they_are_needed() {
    let lines = [
        "a-1-1.noarch; requires: /usr/lib/x, /usr/bin/y",
        "far-1-1.noarch; requires: /usr/lib/far",
        "owner-1-1.noarch; requires: /usr/share/z",
        "y-1-1.noarch; files: /usr/bin/y",
        "last-1-1.noarch",
    ];
    let mut universe = Universe::new("x86_64").unwrap();
    let base = universe.add_repository("base", Preference::default(), &packages(&lines));
    let request = request(&["a"]);
    assert!(universe.solve(&request).is_err());
    let needed = universe.needs_filelists(&request);
    assert_eq!(needed.iter().collect::<Vec<_>>(), ["/usr/lib/x"]);
    universe.add_files(&needed, [(base, 2, vec!["/usr/lib/x".to_owned()])]);
    let needed = universe.needs_filelists(&request);
    assert_eq!(
        needed.iter().collect::<Vec<_>>(),
        ["/usr/share/z"],
        "the owner reaches further"
    );
    universe.add_files(&needed, [(base, 4, vec!["/usr/share/z".to_owned()])]);
    assert!(universe.needs_filelists(&request).is_empty());
    assert_eq!(
        solved(&mut universe, &request),
        [
            "a-1-1.noarch",
            "last-1-1.noarch",
            "owner-1-1.noarch",
            "y-1-1.noarch"
        ]
    );
}

#[test]
fn unsolvable_requests_are_explained() {
    let explain = |lines: &[&str], wanted: &[(&str, &str)]| {
        let install = wanted
            .iter()
            .map(|(text, by)| Wanted::dependency(*text, *by))
            .collect();
        let request = Request {
            install,
            ..Request::default()
        };
        universe(lines).solve(&request).unwrap_err().to_string()
    };
    let base = "template base";
    let foo = "package foo (BuildRequires)";
    insta::assert_snapshot!(explain(&["zlib-devel-1-1.noarch"], &[("zlib-dvel", foo), ("qqq", base)]), @"
    package foo (BuildRequires) asks for `zlib-dvel`, but no package provides it (the nearest name is `zlib-devel`)
    template base asks for `qqq`, but no package provides it
    ");
    insta::assert_snapshot!(explain(&["a-1-1.noarch", "a-2-1.noarch"], &[("a >= 3", foo)]), @"package foo (BuildRequires) asks for `a >= 3`, but no package provides it (there is only a-2-1.noarch, a-1-1.noarch)");
    insta::assert_snapshot!(explain(&["app-1-1.noarch; requires: mid", "mid-1-1.noarch; requires: libx.so.5", "x-1-1.noarch; provides: libx.so.4"], &[("app", foo)]), @"package foo (BuildRequires) asks for `app`, but app-1-1.noarch requires `mid`, and mid-1-1.noarch requires `libx.so.5`, which no package provides (the nearest name is `libx.so.4`)");
    insta::assert_snapshot!(explain(&["app-1-1.noarch; requires: lib >= 2", "app-2-1.noarch; requires: lib >= 3", "lib-1-1.noarch"], &[("app", foo)]), @"package foo (BuildRequires) asks for `app`, but app-2-1.noarch requires `lib >= 3`, which no package provides (there is only lib-1-1.noarch); app-1-1.noarch requires `lib >= 2`, which no package provides (there is only lib-1-1.noarch)");
    insta::assert_snapshot!(explain(&["a-1-1.noarch; conflicts: x", "b-1-1.noarch; requires: c", "c-1-1.noarch; provides: x"], &[("a", base), ("b", foo)]), @"template base asks for `a` and package foo (BuildRequires) asks for `b`, but b-1-1.noarch requires `c`, and a-1-1.noarch conflicts with `x`, which is c-1-1.noarch");
    insta::assert_snapshot!(explain(&["a-1-1.noarch; requires: lib = 1", "b-1-1.noarch; requires: lib = 2", "lib-1-1.noarch", "lib-2-1.noarch"], &[("a", base), ("b", foo)]), @"template base asks for `a` and package foo (BuildRequires) asks for `b`, but b-1-1.noarch requires `lib = 2`, and a-1-1.noarch requires `lib = 1`, and lib-2-1.noarch and lib-1-1.noarch cannot be installed together");
    insta::assert_snapshot!(explain(&["a-1-1.noarch; obsoletes: b", "b-1-1.noarch"], &[("a", base), ("b", foo)]), @"template base asks for `a` and package foo (BuildRequires) asks for `b`, but a-1-1.noarch takes the place of b-1-1.noarch");
    insta::assert_snapshot!(explain(&["a-1-1.aarch64"], &[("a", foo)]), @"package foo (BuildRequires) asks for `a`, but no package provides it (there is only a-1-1.aarch64)");
    insta::assert_snapshot!(explain(&["a-1-1.noarch; requires: (b and nothing)", "b-1-1.noarch"], &[("a", foo)]), @"package foo (BuildRequires) asks for `a`, but a-1-1.noarch requires `(b and nothing)`, and no package provides `nothing`");
    insta::assert_snapshot!(explain(&["a-1-1.noarch; conflicts: (a if c)"], &[("a", foo)]), @"package foo (BuildRequires) asks for `a`, but a-1-1.noarch conflicts with `(a if c)`, which it provides itself");
    insta::assert_snapshot!(explain(&["b-1-1.noarch"], &[("(b and nothing)", foo)]), @"package foo (BuildRequires) asks for `(b and nothing)`, but no package provides `nothing`");
}

#[test]
fn hostile_dependencies_end_in_bounded_time() {
    // As many alternatives, and as deep, as anybody could write into one line.
    let wide: Vec<String> = (0..100_000).map(|number| format!("n{number}")).collect();
    let deep = format!("{}x{}", "(a and ".repeat(200_000), ")".repeat(200_000));
    let mut facts: Vec<PackageFacts> = ["wide-1-1.noarch", "deep-1-1.noarch", "good-1-1.noarch"]
        .map(|text| PackageFacts::new(text.parse().unwrap()))
        .into();
    let requirement = |text: &str| Requirement {
        dependency: Dependency::new(text, None),
        pre: false,
    };
    facts[0]
        .requires
        .push(requirement(&format!("({})", wide.join(" or "))));
    facts[1].requires.push(requirement(&deep));
    // Everybody provides and requires what everybody provides.
    for number in 0..2000 {
        let mut package = PackageFacts::new(format!("c{number}-1-1.noarch").parse().unwrap());
        package.provides.push(Dependency::new("all", None));
        package.requires.push(requirement("all"));
        package
            .requires
            .push(requirement(&format!("c{}", (number + 1) % 2000)));
        facts.push(package);
    }
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_repository("hostile", Preference::default(), &facts);
    assert!(universe.solve(&request(&["wide"])).is_err());
    assert!(universe.solve(&request(&["deep"])).is_err());
    assert_eq!(
        solved(&mut universe, &request(&["good"])),
        ["good-1-1.noarch"]
    );
    assert_eq!(solved(&mut universe, &request(&["c0"])).len(), 2000);
}

#[test]
fn combinations_that_would_explode_are_refused() {
    // In the form that solvers need, this has two to the power of its length of parts.
    let pairs: Vec<String> = (0..60)
        .map(|number| format!("(a{number} and b{number})"))
        .collect();
    let mut lines = vec!["good-1-1.noarch".to_owned()];
    for number in 0..60 {
        lines.push(format!("a{number}-1-1.noarch"));
        lines.push(format!("b{number}-1-1.noarch"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut facts: Vec<PackageFacts> = lines.iter().map(|line| package(line)).collect();
    facts[0].requires.push(Requirement {
        dependency: Dependency::new(&format!("({})", pairs.join(" or ")), None),
        pre: false,
    });
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_repository("hostile", Preference::default(), &facts);
    let message = universe.solve(&request(&["good"])).unwrap_err().to_string();
    assert!(message.contains("good-1-1.noarch"), "{message}");
}
