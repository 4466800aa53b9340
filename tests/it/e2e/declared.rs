//! What builds use and do not declare: named from outside, with the line to add; and what they declare and do not use.

use std::collections::BTreeMap;

use pristine::record::{Class, How, Means, Outcome, PackageRecord};
use rpm::{Dependency, FileOptions};

use super::project::{Project, spec_with};
use crate::support::packages::{self, Repository};

/// The packages of the environment that are used undeclared: a kind each.
fn kinds(repository: &Repository) {
    let add = |name: &str, path: &str, text: &str, mode: u16, provides: Option<&str>| {
        let mut builder = packages::package(name, "1");
        let options = FileOptions::new(path).permissions(mode);
        builder.with_file_contents(text, options).unwrap();
        if let Some(provides) = provides {
            builder.provides(Dependency::any(provides));
        }
        repository.add(&mut builder);
    };
    add("k-header", "/usr/include/k.h", "#define K 7\n", 0o644, None);
    add("k-library", "/usr/lib/libk.a", "!<arch>\n", 0o644, None);
    let script = "#!/bin/sh\necho made\n";
    add("k-tools", "/usr/bin/ktool", script, 0o755, None);
    add("k-asked", "/usr/bin/kasked", script, 0o755, None);
    add("k-probe", "/usr/bin/kprobe", script, 0o755, None);
    add("k-data", "/usr/share/k/table", "1 2 3\n", 0o644, None);
    add("k-real", "/usr/share/k-real/text", "text\n", 0o644, None);
    add("k-idle", "/usr/share/k-idle/text", "text\n", 0o644, None);
    let module = "/usr/share/perl5/K/Mod.pm";
    add(
        "perl-K",
        module,
        "package K::Mod;\n1;\n",
        0o644,
        Some("perl(K::Mod)"),
    );
    let module = "/usr/lib/python3/dist-packages/kmod.py";
    add(
        "python3-k",
        module,
        "K = 7\n",
        0o644,
        Some("python3dist(kmod)"),
    );
    let text = "Name: k\nVersion: 1\nDescription: k\nCflags: -DK\n";
    add(
        "k-pc",
        "/usr/share/pkgconfig/k.pc",
        text,
        0o644,
        Some("pkgconfig(k)"),
    );
    let mut link = packages::package("k-link", "1");
    let options = FileOptions::symlink("/usr/share/k-link/current", "../k-real/text");
    link.with_symlink(options).unwrap();
    link.requires(Dependency::any("k-real"));
    repository.add(&mut link);
    repository.publish();
}

/// A package that uses something: its name, what it declares beside a compiler, what it does, and what it does
/// not declare.
const USES: [(&str, &str, &str, &str); 10] = [
    (
        "header",
        "",
        "echo '#include <k.h>' > x.c\ngcc -c x.c",
        "k-header: opened /usr/include/k.h by cc1; BuildRequires: k-header",
    ),
    (
        "library",
        "",
        "echo 'int main(void) { return 0; }' > x.c\ngcc x.c -lk",
        "k-library: opened /usr/lib/libk.a by x86_64-linux-gnu-ld.bfd; BuildRequires: k-library",
    ),
    (
        "tool",
        "",
        "ktool > made",
        "k-tools: executed /usr/bin/ktool; BuildRequires: /usr/bin/ktool",
    ),
    (
        "perl",
        "",
        "cat /usr/share/perl5/K/Mod.pm > made",
        "perl-K: opened /usr/share/perl5/K/Mod.pm by cat; BuildRequires: perl(K::Mod)",
    ),
    (
        "python",
        "",
        "cat /usr/lib/python3/dist-packages/kmod.py > made",
        "python3-k: opened /usr/lib/python3/dist-packages/kmod.py by cat; BuildRequires: python3dist(kmod)",
    ),
    (
        "pkgconfig",
        "",
        "flags=$(sed -n 's/^Cflags: //p' /usr/share/pkgconfig/k.pc)\ngcc $flags --version",
        "k-pc: opened /usr/share/pkgconfig/k.pc by sed; BuildRequires: pkgconfig(k)",
    ),
    (
        "data",
        "",
        "cat /usr/share/k/table > made",
        "k-data: opened /usr/share/k/table by cat; BuildRequires: k-data",
    ),
    (
        "link",
        "BuildRequires: k-real",
        "cat /usr/share/k-link/current",
        "k-link: followed /usr/share/k-link/current by cat; BuildRequires: k-link",
    ),
    (
        "configure",
        "",
        "printf 'kprobe --version || exit 1\\n' > configure\nsh configure",
        "k-probe: executed /usr/bin/kprobe; BuildRequires: /usr/bin/kprobe",
    ),
    (
        "asks",
        "",
        "[ -x /usr/bin/kasked ]",
        "k-asked: looked for /usr/bin/kasked; BuildRequires: /usr/bin/kasked",
    ),
];

/// What every one of these packages declares.
const COMPILER: &str = "BuildRequires: gcc\nBuildRequires: libc6-dev";

fn preamble(declares: &str) -> String {
    format!("{COMPILER}\n{declares}")
}

/// `header`, `library` and so on: a compiler is declared, and used.
fn using(name: &str, declares: &str, does: &str) -> String {
    let compiles = "echo 'int y;' > y.c\ngcc -c y.c -o y.o\n";
    spec_with(
        name,
        &preamble(declares),
        "%build",
        &format!("{compiles}{does}"),
    )
}

/// What the record says of a package. Who executed a program may be gone before anybody can ask.
fn told(package: &PackageRecord) -> Vec<String> {
    let usage = package.usage.as_ref().unwrap();
    let processes = usage.means == Means::Events;
    let undeclared = usage.undeclared.iter().map(|one| {
        let file = &one.files[0];
        let process = file
            .process
            .as_ref()
            .filter(|_| processes && file.how != How::Executed);
        let by = process.map_or(String::new(), |process| format!(" by {process}"));
        let (name, how) = (&one.package.name, file.how.words());
        format!("{name}: {how} {}{by}; {}", file.path, one.add)
    });
    let unused = usage.unused.iter();
    let unused = unused.map(|one| format!("unused {} ({})", one.requirement, one.place));
    undeclared.chain(unused).collect()
}

/// What is expected, as far as this user is told it: without root nobody says which process it was.
fn expected(text: &str, package: &PackageRecord) -> String {
    let processes = package.usage.as_ref().unwrap().means == Means::Events;
    match text.split_once(" by ").filter(|_| !processes) {
        Some((before, after)) => {
            let (_, line) = after.split_once(';').unwrap();
            format!("{before};{line}")
        }
        None => text.to_owned(),
    }
}

fn by_name(project: &Project) -> BTreeMap<String, PackageRecord> {
    let packages = project.record().packages.into_iter();
    packages
        .map(|package| (package.name.clone(), package))
        .collect()
}

/// The payload of a package's only binary RPM; its header names the source package, and that has the BuildRequires.
fn payload(project: &Project, package: &PackageRecord) -> Vec<u8> {
    let mut outputs = package.outputs.iter();
    let rpm = outputs.find(|file| file.path.to_str().unwrap().ends_with(".noarch.rpm"));
    let path = project
        .run_folder()
        .join("repository")
        .join(&rpm.unwrap().path);
    rpm::Package::open(path).unwrap().payload
}

#[test]
fn each_kind_of_undeclared_dependency_is_named_with_its_line_and_nothing_clean_is() {
    let Some(mut project) = Project::new() else {
        return;
    };
    kinds(&project.repository("kinds"));
    let mut asks = vec!["k-idle".to_owned(), "k-link".to_owned()];
    let mut does = String::from("cat /usr/share/k-idle/text\n");
    for (name, declares, uses, line) in USES {
        project = project.package(name, &using(name, declares, uses));
        asks.push(line.rsplit_once(": ").unwrap().1.to_owned());
        does = format!("{does}{uses}\n");
    }
    // Declares all of it: so all of it is in the environment.
    let all: Vec<String> = asks
        .iter()
        .map(|ask| format!("BuildRequires: {ask}"))
        .collect();
    let clean = using("clean", &all.join("\n"), &does);
    let idle = using(
        "idle",
        "BuildRequires: k-data, k-idle",
        "cat /usr/share/k/table",
    );
    let project = project.package("clean", &clean).package("idle", &idle);
    let ran = project.good(&["build"]);
    let packages = by_name(&project);
    for (name, _, _, line) in USES {
        let package = &packages[name];
        assert_eq!(told(package), [expected(line, package)], "{name}");
    }
    assert_eq!(told(&packages["clean"]), Vec::<String>::new());
    let place = "packages/idle/idle.spec:9 (BuildRequires)";
    assert_eq!(
        told(&packages["idle"]),
        [format!("unused k-idle ({place})")]
    );
    let said = "9 packages use what they do not declare, 1 package asks for what it does not use: pristine show";
    assert!(ran.out.contains(said), "{}", ran.out);
    let shown = project.good(&["show"]).out;
    assert!(
        shown.contains("add: BuildRequires: pkgconfig(k)"),
        "{shown}"
    );
    let page = fs_err::read_to_string(project.run_folder().join("report.html")).unwrap();
    assert!(page.contains("BuildRequires: perl(K::Mod)"));

    // What is unused can be removed, and the package has the same in it.
    let before = payload(&project, &packages["idle"]);
    project.edit(
        "packages/idle/idle.spec",
        "BuildRequires: k-data, k-idle",
        "BuildRequires: k-data",
    );
    project.good(&["build", "--only", "idle"]);
    let again = &by_name(&project)["idle"];
    assert_eq!(told(again), Vec::<String>::new());
    assert_eq!(payload(&project, again), before);
}

#[test]
fn what_is_called_undeclared_is_missed_where_only_what_is_declared_is_there() {
    let Some(mut project) = Project::new() else {
        return;
    };
    kinds(&project.repository("kinds"));
    for (name, declares, uses, _) in USES {
        project = project.package(name, &using(name, declares, uses));
    }
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    for (name, package) in by_name(&project) {
        assert!(matches!(package.outcome, Outcome::Failed { .. }), "{name}");
    }
    // With the line that was named, each builds, and is clean.
    for (name, _, _, line) in USES {
        let line = line.rsplit_once("; ").unwrap().1;
        let spec = format!("packages/{name}/{name}.spec");
        project.edit(
            &spec,
            "BuildRequires: gcc\n",
            &format!("BuildRequires: gcc\n{line}\n"),
        );
    }
    project.good(&["build"]);
    for (name, package) in by_name(&project) {
        // What the line brings is declared by it.
        assert_eq!(told(&package), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_is_undeclared_fails_where_that_is_asked_for_and_is_not_allowed() {
    let Some(project) = Project::new() else {
        return;
    };
    kinds(&project.repository("kinds"));
    let uses = spec_with("uses", "", "%build", "ktool\ncat /usr/share/k/table");
    let declares = "BuildRequires: /usr/bin/ktool, k-data";
    let declares = spec_with(
        "declares",
        declares,
        "%build",
        "ktool\ncat /usr/share/k/table",
    );
    let project = project
        .package("uses", &uses)
        .package("declares", &declares);
    let ran = project.run(&["build", "--strict"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    insta::assert_snapshot!(project.outcomes().join("\n"), @"
    declares: built
    uses: failed: it uses what its spec does not declare: k-tools (`BuildRequires: /usr/bin/ktool`), k-data (`BuildRequires: k-data`)
    ");
    let uses = &by_name(&project)["uses"];
    assert!(matches!(
        uses.outcome,
        Outcome::Failed {
            class: Class::Undeclared,
            ..
        }
    ));
    let built = super::project::files(&project.run_folder().join("repository"));
    assert!(
        !built
            .keys()
            .any(|path| path.to_str().unwrap().starts_with("uses-"))
    );
    // A good run from before, where nobody was strict, does not stand in for it.
    project.good(&["build"]);
    let ran = project.run(&["build", "--strict", "--since", "latest"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    // Allowed, with a reason, it builds.
    let text = project.read("pristine.toml");
    let allow = "[trace]\nstrict = true\nallow = [\n  { undeclared = \"k-tools\", reason = \"every machine has it\" },\n  \
        { undeclared = \"k-data\", packages = [\"uses\"], reason = \"data only\" },\n]\n";
    project.write("pristine.toml", format!("{text}{allow}"));
    project.good(&["build"]);
    let usage = by_name(&project)["uses"].usage.clone().unwrap();
    let reasons: Vec<_> = usage
        .undeclared
        .iter()
        .map(|one| one.allowed.clone())
        .collect();
    assert_eq!(
        reasons,
        [
            Some("every machine has it".to_owned()),
            Some("data only".to_owned())
        ]
    );
    // Nor is anything watched where that is not wanted.
    project.write("pristine.toml", format!("{text}[trace]\nenabled = false\n"));
    project.good(&["build"]);
    assert_eq!(by_name(&project)["uses"].usage, None);
}
