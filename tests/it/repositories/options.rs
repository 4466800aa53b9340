//! What a template says of a repository beside its place: held against dnf where dnf has the same.

use std::collections::BTreeSet;

use pristine::documents::lock::Origin;

use super::trial::{Dnf, Solved, Trial};
use crate::support::packages::{Packing, Sums, package};

fn origins(solved: &Solved) -> String {
    let origins = solved.rpms.iter().map(|rpm| match &rpm.origin {
        Origin::Repository { name, .. } => format!("{}@{name}", rpm.nevra.evr()),
        Origin::Url(url) => url.to_string(),
    });
    origins.collect::<Vec<_>>().join(" ")
}

/// `apple` 1 in `one`, `apple` 2 in `two` and `three`.
fn three() -> Trial {
    let trial = Trial::new();
    for (name, version) in [("one", "1"), ("two", "2"), ("three", "2")] {
        let repository = trial.repository(name);
        repository.add(&mut package("apple", version));
        repository.publish();
    }
    trial
}

/// Repository, key and value.
type Settings<'a> = &'a [(&'a str, &'a str, u32)];

#[test]
fn priority_and_cost_decide_as_in_dnf() {
    let trial = three();
    let cases: [(Settings<'_>, &str); 4] = [
        (&[], "2-1@two"),
        (&[("one", "priority", 50)], "1-1@one"),
        (&[("three", "cost", 10)], "2-1@three"),
        (&[("three", "cost", 10), ("two", "priority", 98)], "2-1@two"),
    ];
    for (settings, expected) in cases {
        let tables: Vec<String> = ["one", "two", "three"]
            .iter()
            .map(|name| {
                let mine = settings.iter().filter(|(own, ..)| own == name);
                let lines: Vec<String> = mine
                    .map(|(_, key, value)| format!("{key} = {value}\n"))
                    .collect();
                format!(
                    "[[repository]]\nname = \"{name}\"\nbaseurl = [\"SERVER/{name}\"]\n{}KEYRING\n",
                    lines.concat()
                )
            })
            .collect();
        let template = trial.template("packages = [\"apple\"]", &tables.concat());
        let solved = trial.solve(&template, None).unwrap();
        assert_eq!(origins(&solved), expected, "{settings:?}");
        let folders = ["one", "two", "three"].map(|name| trial.path("site").join(name));
        let folders: Vec<_> = folders.iter().map(std::path::PathBuf::as_path).collect();
        let options: Vec<String> = settings
            .iter()
            .map(|(name, key, value)| format!("--setopt={name}.{key}={value}"))
            .collect();
        let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
        arguments.push("--assumeno");
        let Some(dnf) = Dnf::new(&folders, &arguments) else {
            continue;
        };
        let (_, text) = dnf.run(&["install", "apple"]);
        let line = text.lines().find(|line| line.contains(" noarch ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            format!("{}@{}", words[2], words[3]),
            expected,
            "dnf: {text}"
        );
    }
}

#[test]
fn include_and_exclude_mean_what_they_mean_in_dnf() {
    let trial = Trial::new();
    let main = trial.repository("main");
    for (name, version) in [
        ("kernel", "5.1"),
        ("kernel", "5.2"),
        ("kernel-debug", "5.1"),
        ("kernel-core", "5.1"),
        ("apple", "1"),
        ("apple-pie", "1"),
    ] {
        main.add(&mut package(name, version));
    }
    let mut aged = package("aged", "2");
    main.add(aged.epoch(3));
    main.publish();
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &["kernel"]),
        (&[], &["kernel*"]),
        (&[], &["kernel-5.1*", "apple.noarch"]),
        (&[], &["kernel-0:5.1-1.noarch"]),
        (&[], &["aged-3:2-1", "kernel-core-5.1-1"]),
        (&[], &["*-5.2"]),
        (&["apple*"], &[]),
        (&["kernel*", "aged"], &["kernel-debug", "aged-2-1.noarch"]),
        (&["nothing"], &[]),
    ];
    for (include, exclude) in cases {
        let list = |globs: &[&str]| format!("{globs:?}");
        let table = format!(
            "[[repository]]\nname = \"main\"\nbaseurl = [\"SERVER/main\"]\ninclude = {}\nexclude = {}\nKEYRING\n",
            list(include),
            list(exclude)
        );
        let template = trial.template("packages = [\"apple\"]", &table);
        let seen: BTreeSet<String> = trial
            .visible(&template)
            .unwrap()
            .into_iter()
            .map(|name| name.replace("3:", ""))
            .collect();
        let options = [
            format!("--setopt=main.includepkgs={}", include.join(",")),
            format!("--setopt=main.excludepkgs={}", exclude.join(",")),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let folder = trial.path("site/main");
        let Some(dnf) = Dnf::new(&[&folder], &options) else {
            continue;
        };
        assert_eq!(seen, dnf.visible(), "{include:?} {exclude:?}");
    }
}

#[test]
fn what_is_hidden_is_told_where_it_is_missed() {
    let trial = three();
    let table = "[[repository]]\nname = \"one\"\nbaseurl = [\"SERVER/one\"]\nexclude = [\"app*\"]\nKEYRING\n";
    let template = trial.template("packages = [\"apple >= 1\"]", table);
    let error = trial.solve(&template, None).unwrap_err();
    insta::assert_snapshot!(trial.message(&error), @"
    the trial cannot be installed together:
    templates/base.toml:3 asks for `apple >= 1`, but no package provides it (one has apple-1-1.noarch, but the repository's `exclude` in the template hides it)
    ");
}

#[test]
fn metadata_may_be_compressed_in_any_way() {
    for packing in [
        Packing::Plain,
        Packing::Gzip,
        Packing::Bzip2,
        Packing::Xz,
        Packing::Zstd,
    ] {
        let trial = three();
        trial.repository("one").add(&mut package("apple", "1"));
        let one = trial.repository("one");
        one.publish();
        one.reshape(packing, Sums::Sha256);
        let table = "[[repository]]\nname = \"one\"\nbaseurl = [\"SERVER/one\"]\nKEYRING\n";
        let template = trial.template("packages = [\"apple\"]", table);
        let solved = trial.solve(&template, None).unwrap();
        assert_eq!(solved.names(), "apple-1-1.noarch", "{packing:?}");
    }
}

#[test]
fn repositories_may_lie_on_this_machine() {
    let trial = three();
    let folder = trial.path("site/two");
    let table = format!(
        "[[repository]]\nname = \"two\"\nbaseurl = [\"file:///nowhere\", \"file://{}\"]\nKEYRING\n\
         [[repository]]\nname = \"one\"\nbaseurl = [\"./site/one\"]\nKEYRING\n",
        folder.display()
    );
    let template = trial.template("packages = [\"apple\"]", &table);
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(origins(&solved), "2-1@two");
    trial.fetch(&template, &solved).unwrap();
}

#[test]
fn a_repository_may_have_a_proxy() {
    let trial = three();
    let table = |proxy: &str| {
        format!(
            "[[repository]]\nname = \"one\"\nbaseurl = [\"http://far.invalid/one\"]\n{proxy}\nKEYRING\n"
        )
    };
    let template = trial.template("packages = [\"apple\"]", &table("proxy = \"SERVER\""));
    let solved = trial.solve(&template, None).unwrap();
    trial.fetch(&template, &solved).unwrap();
    assert_eq!(trial.asked("http://far.invalid/one/repodata/repomd.xml"), 1);
    assert_eq!(
        trial.asked("http://far.invalid/one/apple-1-1.noarch.rpm"),
        1
    );
    // The next repository of the same run goes its own way.
    let template = trial.template("packages = [\"apple\"]", &table("proxy = \"none\""));
    let error = trial.solve(&template, None).unwrap_err();
    assert!(trial.message(&error).contains("cannot connect"), "{error}");
}
