//! Modules: the packages that they hide are those that dnf hides.

use std::collections::BTreeSet;

use super::trial::{Dnf, Trial};
use crate::support::packages::package;

/// A stream of one version and context (`name:stream:version:context`), in the way of modulemd.
fn stream(nsvc: &str, requires: &str, rpms: &[&str]) -> String {
    let parts: Vec<&str> = nsvc.split(':').collect();
    let [name, stream, version, context] = parts.as_slice() else {
        panic!("{nsvc}");
    };
    let artifacts: Vec<String> = rpms.iter().map(|rpm| format!("    - {rpm}\n")).collect();
    format!(
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: {stream}\n  version: {version}\n  context: {context}\n  arch: noarch\n\
         \x20 summary: a module\n  description: >-\n    of a test\n  license:\n    module:\n    - MIT\n  dependencies:\n  - requires: {{ {requires} }}\n\
         \x20 artifacts:\n    rpms:\n{}...\n",
        artifacts.concat()
    )
}

fn default(name: &str, stream: &str) -> String {
    format!(
        "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {name}\n  stream: \"{stream}\"\n  profiles:\n    \"{stream}\": []\n...\n"
    )
}

/// Streams with every case that the rules tell apart.
fn modules() -> String {
    let el9 = "platform: [el9]";
    [
        stream(
            "node:18:1:aaaa",
            el9,
            &["node-0:18-1.noarch", "node-docs-0:18-1.noarch"],
        ),
        stream(
            "node:18:2:aaaa",
            el9,
            &["node-0:18.1-1.noarch", "node-0:18.1-1.src"],
        ),
        stream(
            "node:20:1:bbbb",
            el9,
            &["node-0:20-1.noarch", "node-docs-0:20-1.noarch"],
        ),
        default("node", "18"),
        stream("perl:5.26:1:cccc", el9, &["perl-0:5.26-1.noarch"]),
        stream("perl:5.30:1:dddd", el9, &["perl-0:5.30-1.noarch"]),
        default("perl", "5.26"),
        stream(
            "perl-dbi:1:1:eeee",
            "platform: [el9], perl: [5.26]",
            &["perl-dbi-0:1-1.noarch"],
        ),
        stream(
            "perl-dbi:1:1:ffff",
            "platform: [el9], perl: [5.30]",
            &["perl-dbi-0:2-1.noarch"],
        ),
        default("perl-dbi", "1"),
        // Its default needs a platform that is not there.
        stream(
            "broken:1:1:gggg",
            "platform: [el8]",
            &["broken-0:1-1.noarch"],
        ),
        default("broken", "1"),
        // A package that left its module: the newest version says so.
        stream(
            "split:1:1:jjjj",
            el9,
            &["split-0:1-1.noarch", "piece-0:1-1.noarch"],
        ),
        stream("split:1:2:jjjj", el9, &["split-0:2-1.noarch"]).replace(
            "  artifacts:",
            "  demodularized:\n    rpms:\n    - piece\n  artifacts:",
        ),
        default("split", "1"),
        // Without a default; what another stream requires makes it active.
        stream("deep:1:1:hhhh", el9, &["deep-0:1-1.noarch"]),
        stream(
            "left:1:1:iiii",
            "platform: [], deep: [1]",
            &["left-0:1-1.noarch"],
        ),
    ]
    .concat()
}

/// Packages of those modules, and of none.
fn trial() -> Trial {
    let trial = Trial::new();
    let main = trial.repository("main");
    let mut release = package("release", "9");
    release.provides(rpm::Dependency::any("system-release"));
    release.provides(rpm::Dependency::any("base-module(platform:el9)"));
    main.add(&mut release);
    for (name, versions) in [
        ("node", &["16", "18", "18.1", "20", "21"][..]),
        ("node-docs", &["18", "20"]),
        ("perl", &["5.26", "5.30", "5.32"]),
        ("perl-dbi", &["1", "2", "3"]),
        ("loose", &["1"]),
        ("old", &["1"]),
        ("left", &["1", "2"]),
        ("broken", &["1", "2"]),
        ("deep", &["1", "2"]),
        ("split", &["0", "1", "2"]),
        ("piece", &["1", "2"]),
    ] {
        for version in versions {
            main.add(&mut package(name, version));
        }
    }
    let mut provider = package("other-node", "3");
    provider.provides(rpm::Dependency::any("node"));
    main.add(&mut provider);
    main.publish();
    let text = modules();
    main.attach("modules", "modules.yaml.gz", &gzip(text.as_bytes()));
    let fixes = trial.repository("fixes");
    fixes.add(&mut package("node", "22"));
    fixes.publish();
    trial
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, bytes).unwrap();
    gzip.finish().unwrap()
}

fn ours(trial: &Trial, top: &str, hotfixes: bool) -> Result<BTreeSet<String>, String> {
    let tables = format!(
        "packages = [\"release\"]\n{top}\n[[repository]]\nname = \"main\"\nbaseurl = [\"SERVER/main\"]\nKEYRING\n\
         [[repository]]\nname = \"fixes\"\nbaseurl = [\"SERVER/fixes\"]\nmodule_hotfixes = {hotfixes}\nKEYRING\n"
    );
    let template = trial.template("", &tables);
    trial
        .visible(&template)
        .map_err(|error| trial.message(&error))
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names
        .iter()
        .filter(|name| {
            !name.starts_with("release-") && !name.starts_with("loose") && !name.starts_with("old")
        })
        .map(|name| name.replace("-1.noarch", ""))
        .collect();
    names.join(" ")
}

#[test]
fn modules_hide_what_dnf_hides() {
    let trial = trial();
    let cases: [(&str, &[&str], bool); 6] = [
        ("", &[], false),
        ("", &[], true),
        ("modules = [\"node:20\"]", &["enable node:20"], false),
        (
            "modules = [\"perl:5.30\", \"-node\"]",
            &["enable perl:5.30", "disable node"],
            false,
        ),
        ("modules = [\"left:1\"]", &["enable left:1"], true),
        (
            "modules = [\"-broken\", \"-perl\", \"-deep\"]",
            &["disable broken perl deep"],
            false,
        ),
    ];
    for (top, commands, hotfixes) in cases {
        let seen = ours(&trial, top, hotfixes).unwrap();
        let (main, fixes) = (trial.path("site/main"), trial.path("site/fixes"));
        let hotfixes = format!("--setopt=fixes.module_hotfixes={}", u8::from(hotfixes));
        let Some(dnf) = Dnf::new(&[&main, &fixes], &[&hotfixes]) else {
            continue;
        };
        for command in commands {
            let arguments: Vec<&str> = std::iter::once("module")
                .chain(command.split(' '))
                .collect();
            let (good, text) = dnf.run(&arguments);
            assert!(good, "{command}: {text}");
        }
        assert_eq!(list(&seen), list(&dnf.visible()), "{top} {hotfixes}");
    }
}

#[test]
fn repositories_that_do_not_agree_on_a_default_leave_none() {
    let trial = trial();
    for (stream_of_fixes, expected) in [("18", "node-18"), ("20", "node-16")] {
        let text = [
            stream("node:20:3:bbbb", "platform: []", &["node-0:22-1.noarch"]),
            default("node", stream_of_fixes),
        ];
        let fixes = trial.repository("fixes");
        fixes.publish();
        fixes.attach(
            "modules",
            "modules.yaml.gz",
            &gzip(text.concat().as_bytes()),
        );
        let seen = ours(&trial, "", false).unwrap();
        assert!(list(&seen).contains(expected), "{}", list(&seen));
        let (main, fixes) = (trial.path("site/main"), trial.path("site/fixes"));
        if let Some(dnf) = Dnf::new(&[&main, &fixes], &[]) {
            assert_eq!(list(&seen), list(&dnf.visible()), "{stream_of_fixes}");
        }
    }
}

/// xorshift: the same modules everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Any modules with requirements among each other, their packages, and the streams that are enabled.
fn any_modules(trial: &Trial, seed: u64) -> Vec<(String, u64)> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let main = trial.repository("main");
    let mut text = String::new();
    let mut enabled = Vec::new();
    for module in 0..5 {
        let name = format!("m{module}");
        main.add(&mut package(&name, "0"));
        let streams = 1 + numbers.below(3);
        for stream_number in 1..=streams {
            for context in 0..=numbers.below(2) {
                let other = numbers.below(5);
                let requires = match numbers.below(5) {
                    _ if other == module => "platform: []".to_owned(),
                    0 => format!("platform: [el9], m{other}: [{}]", 1 + numbers.below(3)),
                    1 => format!("platform: [el9], m{other}: []"),
                    2 => format!("m{other}: [1, {}]", 2 + numbers.below(2)),
                    3 => format!("platform: [el{}]", 8 + numbers.below(2)),
                    _ => "platform: [el9]".to_owned(),
                };
                let version = format!("{stream_number}.{context}");
                main.add(&mut package(&name, &version));
                let artifact = format!("{name}-0:{version}-1.noarch");
                let nsvc = format!("{name}:{stream_number}:1:c{context}");
                text.push_str(&stream(&nsvc, &requires, &[&artifact]));
            }
        }
        let one = 1 + numbers.below(streams);
        match numbers.below(5) {
            0 => enabled.push((name, one)),
            1 => {}
            _ => text.push_str(&default(&name, &one.to_string())),
        }
    }
    main.publish();
    main.attach("modules", "modules.yaml", text.as_bytes());
    enabled
}

#[test]
fn any_modules_hide_what_dnf_hides() {
    let (mut compared, mut refused) = (0, 0);
    // In the one that is left out two defaults exclude each other: which stays is chance in dnf, and goes by name here.
    for seed in (0..16).filter(|seed| *seed != 5) {
        let trial = Trial::new();
        let enabled = any_modules(&trial, seed);
        let streams: Vec<String> = enabled
            .iter()
            .map(|(name, stream)| format!("{name}:{stream}"))
            .collect();
        let tables = format!(
            "packages = [\"m0\"]\nmodules = {streams:?}\nmodule_platform = \"platform:el9\"\n\
             [[repository]]\nname = \"main\"\nbaseurl = [\"SERVER/main\"]\nKEYRING\n"
        );
        // What cannot be together is an error here, and a warning in dnf.
        let Ok(seen) = trial.visible(&trial.template("", &tables)) else {
            refused += 1;
            continue;
        };
        let main = trial.path("site/main");
        let platform = "--setopt=module_platform_id=platform:el9";
        let Some(dnf) = Dnf::new(&[&main], &[platform]) else {
            return;
        };
        for (name, stream) in &enabled {
            dnf.enable(name, *stream);
        }
        assert_eq!(
            list(&seen),
            list(&dnf.visible()),
            "seed {seed}, {streams:?}"
        );
        compared += 1;
    }
    assert!(compared >= 8, "{compared} compared, {refused} refused");
}

#[test]
fn what_a_module_hides_names_its_stream() {
    let trial = trial();
    let table = "[[repository]]\nname = \"main\"\nbaseurl = [\"SERVER/main\"]\nKEYRING\n";
    let missing = |request: &str| {
        let template = trial.template(&format!("packages = [\"{request}\"]"), table);
        trial.message(&trial.solve(&template, None).unwrap_err())
    };
    insta::assert_snapshot!(missing("node >= 20"), @r#"
    the trial cannot be installed together:
    templates/base.toml:3 asks for `node >= 20`, but no package provides it (there is only node-18.1-1.noarch, node-18-1.noarch; main has node-20-1.noarch, but it is of the module stream node:20, which is not active: `modules = ["node:20"]` in the template enables it)
    "#);
    insta::assert_snapshot!(missing("node = 21"), @"
    the trial cannot be installed together:
    templates/base.toml:3 asks for `node = 21`, but no package provides it (there is only node-18.1-1.noarch, node-18-1.noarch; main has other-node-3-1.noarch, node-21-1.noarch, but the active module stream node:18 hides it, unless its repository has `module_hotfixes = true`)
    ");
}

#[test]
fn streams_that_are_chosen_hide_the_others() {
    let trial = trial();
    insta::assert_snapshot!(list(&ours(&trial, "", false).unwrap()), @"broken-2 deep-2 left-2 node-18 node-18.1 node-docs-18 perl-5.26 perl-dbi-1 piece-1 piece-2 split-1 split-2");
    insta::assert_snapshot!(list(&ours(&trial, "modules = [\"node:20\", \"perl:5.30\"]", true).unwrap()), @"broken-2 deep-2 left-2 node-20 node-22 node-docs-20 perl-5.30 perl-dbi-2 piece-1 piece-2 split-1 split-2");
    insta::assert_snapshot!(trial.warnings().join("\n"), @"
    the default stream module(broken:1) is not used: what it requires is not there, or in the way of another
    the default stream module(broken:1) is not used: what it requires is not there, or in the way of another
    ");
}

#[test]
fn wrong_choices_are_errors_that_name_the_right_ones() {
    let trial = trial();
    let error = |top: &str| ours(&trial, top, false).unwrap_err();
    insta::assert_snapshot!(error("modules = [\"nod:20\"]"), @"no repository has the module `nod`");
    insta::assert_snapshot!(error("modules = [\"node:22\"]"), @"no repository has the stream of a module `node:22`");
    insta::assert_snapshot!(error("modules = [\"node:20\", \"node:18\"]"), @"the template enables the streams `20` and `18` of the module `node`: only one can be");
    insta::assert_snapshot!(error("modules = [\"broken:1\"]"), @"
    the modules of the template cannot be installed together:
    template base (modules) asks for `module(broken:1)`, but broken:1:NoRequires-1-0.noarch requires `module(platform:el8)`, which no package provides (the nearest name is `module(platform:el9)`)
    ");
    insta::assert_snapshot!(error("modules = [\"node:20\"]\nmodule_platform = \"platform:el8\""), @"
    the modules of the template cannot be installed together:
    template base (modules) asks for `module(node:20)`, but node:20:NoRequires-1-0.noarch requires `module(platform:el9)`, which no package provides (the nearest name is `module(platform:el8)`)
    ");
}
