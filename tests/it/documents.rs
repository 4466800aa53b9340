//! Documents as users write them: every defect has a message, every example and template loads,
//! every key is documented.
#![expect(
    clippy::unwrap_used,
    reason = "a test panics where something is not as it should be"
)]

use std::path::Path;

use pristine::documents::template::RepositorySource;
use pristine::documents::{DocumentError, Lock, Name, Project, Recipe, Template, Url};
use pristine::error::Kind;

/// Reads everything that the project in `directory` has; a lock must be there.
fn load(directory: &Path) -> Result<(), DocumentError> {
    let project = Project::load(directory)?;
    project.packages()?;
    Template::load(directory, &project.template)?;
    if let Some(recipe) = &project.recipe {
        Recipe::load(directory, recipe)?;
    }
    Lock::load(directory)?;
    Ok(())
}

/// The message that the broken project `defect` gets, with paths relative to it.
fn complaint(defect: &str) -> String {
    let directory = Path::new("tests/it/fixtures/broken").join(defect);
    let error = load(&directory).expect_err(defect);
    error
        .to_string()
        .replace(&format!("{}/", directory.display()), "")
}

#[test]
fn every_broken_project_has_its_message() {
    let messages = include_str!("documents.rs");
    for entry in fs_err::read_dir("tests/it/fixtures/broken").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            messages.contains(&format!("complaint(\"{name}\")")),
            "no test reads fixtures/broken/{name}"
        );
    }
}

/// What the error of `result` says is allowed in the place of an unknown key.
fn allowed<T: std::fmt::Debug>(result: Result<T, DocumentError>) -> Vec<String> {
    let text = result.unwrap_err().to_string();
    let keys = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("= keys allowed here: "));
    keys.unwrap_or_else(|| panic!("{text}"))
        .split(", ")
        .map(str::to_owned)
        .collect()
}

fn template(text: &str) -> Result<Template, DocumentError> {
    let contents = |path: &pristine::documents::RelativePath| {
        let docs = fs_err::read_to_string("docs/template.md").unwrap();
        let (_, file) = docs.split_once(&format!("```ini {path}\n")).unwrap();
        Ok(file.split_once("```").unwrap().0.to_owned())
    };
    Template::parse_with(&"x".parse().unwrap(), text, Path::new("x.toml"), &contents)
}

fn recipe(text: &str) -> Result<Recipe, DocumentError> {
    Recipe::parse(&"x".parse().unwrap(), text, Path::new("x.toml"), &|_| {
        Ok(Vec::new())
    })
}

fn project(text: &str) -> Result<Project, DocumentError> {
    Project::parse(text, Path::new("pristine.toml"))
}

/// Asserts that `document` in `docs/` has each of `keys` in a table, where that key is asked for.
fn assert_documented(document: &str, table: &str, keys: &[String]) {
    assert!(!keys.is_empty(), "{document} {table}");
    let text = fs_err::read_to_string(Path::new("docs").join(document)).unwrap();
    for key in keys {
        assert!(
            text.contains(&format!("\n| `{key}` |"))
                || text.contains(&format!("`{key}`")) && table.starts_with('{'),
            "docs/{document}: `{key}` of {table}"
        );
    }
}

/// Every table of a document, and how one in it begins; an unknown key is put after it.
fn tables(document: &str) -> &'static [(&'static str, &'static str)] {
    match document {
        "project-file.md" => &[
            ("top", ""),
            ("[project]", "[project]\n"),
            ("[packages]", "[packages]\n"),
            ("[package.NAME]", "[package.x]\n"),
            ("[store]", "[store]\n"),
            ("[build]", "[build]\n"),
            ("[recipe]", "[recipe]\n"),
            ("[trace]", "[trace]\n"),
            ("[audit]", "[audit]\n"),
        ],
        "template.md" => &[
            ("top", ""),
            ("rootfs", "[rootfs]\n"),
            ("[[repository]]", "[[repository]]\n"),
            ("keys", "[[repository]]\n[[repository.keys]]\n"),
            ("check", "[[repository]]\n[repository.check]\n"),
            ("[builder]", "[builder]\n"),
            ("[normalise]", "[normalise]\n"),
        ],
        "recipe.md" => &[
            ("top", ""),
            ("[[rpm]]", "[[rpm]]\n"),
            ("{keys}", "[[rpm]]\n[[rpm.keys]]\n"),
            ("[[file]]", "[[file]]\n"),
            ("[[command]]", "[[command]]\n"),
        ],
        _ => &[
            ("top", ""),
            ("[inputs]", "[inputs]\n"),
            ("{template}", "[inputs.template]\n"),
            ("[base]", "[base]\n"),
            ("{rootfs}", "[base.rootfs]\n"),
            ("{layers}", "[[base.layers]]\n"),
            ("{installed}", "[[base.installed]]\n"),
            ("[[repository]]", "[[repository]]\n"),
            ("{metadata}", "[[repository]]\n[[repository.metadata]]\n"),
            ("[[key]]", "[[key]]\n"),
            ("[[package]]", "[[package]]\n"),
            ("{sources}", "[[package]]\n[[package.sources]]\n"),
            ("{binaries}", "[[package]]\n[[package.binaries]]\n"),
            ("[tools]", "[tools]\n"),
            ("[environment]", "[environment]\n"),
            ("{rpms}", "[environment]\n[[environment.rpms]]\n"),
        ],
    }
}

#[test]
fn every_key_is_documented() {
    for document in ["project-file.md", "template.md", "recipe.md", "lock.md"] {
        for (table, start) in tables(document) {
            let text = format!("format = 1\n{start}no-such-key = 1\n");
            let keys = match document {
                "project-file.md" => allowed(project(&text)),
                "template.md" => allowed(template(&text)),
                "recipe.md" => allowed(recipe(&text)),
                _ => allowed(Lock::parse(&text)),
            };
            assert_documented(document, table, &keys);
        }
    }
}

/// The fenced blocks of `text` that have a file name, with that name.
fn examples(text: &str) -> Vec<(&str, String)> {
    let mut examples: Vec<(&str, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(info) = line.strip_prefix("```") {
            let name = info.split_once("toml ").map(|(_, name)| name);
            inside = name.is_some();
            examples.extend(name.map(|name| (name, String::new())));
        } else if let (true, Some((_, example))) = (inside, examples.last_mut()) {
            example.push_str(line);
            example.push('\n');
        }
    }
    examples
}

#[test]
fn every_example_in_the_docs_loads() {
    let mut loaded = 0;
    let pages = fs_err::read_dir("docs").unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    for path in pages.filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let text = fs_err::read_to_string(&path).unwrap();
        for (name, example) in examples(&text) {
            let result = match name.split('/').next() {
                Some("pristine.toml") => project(&example).map(drop),
                Some("templates") => template(&example).map(drop),
                Some("recipes") => recipe(&example).map(drop),
                Some("pristine.lock") => Lock::parse(&example).map(drop),
                _ => panic!("{}: what is {name}?", path.display()),
            };
            result.unwrap_or_else(|error| panic!("{}, {name}:\n{error}", path.display()));
            loaded += 1;
        }
    }
    assert!(loaded >= 6, "only {loaded} examples");
}

#[test]
fn the_lock_in_the_docs_is_what_is_written() {
    let text = fs_err::read_to_string("docs/lock.md").unwrap();
    let (_, example) = examples(&text).remove(0);
    assert_eq!(Lock::parse(&example).unwrap().to_text(), example);
}

/// The names of the TOML files in `folder`.
fn names(folder: &str) -> Vec<Name> {
    let files = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<Name> = files
        .filter_map(|file| file.strip_suffix(".toml")?.parse().ok())
        .collect();
    names.sort();
    names
}

#[test]
fn every_template_loads() {
    let names = names("templates");
    for distribution in [
        "almalinux-9",
        "amazon-linux-2023",
        "azure-linux-3",
        "centos-stream-10",
        "fedora-43",
        "opensuse-tumbleweed",
        "rocky-9",
    ] {
        assert!(
            names.iter().any(|name| name.as_str() == distribution),
            "{distribution}"
        );
    }
    for name in names {
        let template =
            Template::load(Path::new("."), &name).unwrap_or_else(|error| panic!("{error}"));
        for repository in &template.repositories {
            assert!(
                repository.trusted.is_none() && repository.check.packages,
                "{name}: packages are signed"
            );
            let urls: Vec<&Url> = match &repository.source {
                RepositorySource::BaseUrls(urls) => urls.iter().collect(),
                RepositorySource::Metalink(url) | RepositorySource::MirrorList(url) => vec![url],
            };
            for url in urls
                .into_iter()
                .chain(repository.keys.iter().map(|key| &key.url))
            {
                let whole = url.as_str().starts_with("https://")
                    || url.as_str().starts_with("./")
                    || url.as_str().starts_with("file:///");
                assert!(whole && !url.as_str().contains('$'), "{name}: {url}");
            }
        }
    }
}

#[test]
fn every_recipe_loads() {
    let names = names("recipes");
    assert!(!names.is_empty());
    for name in names {
        Recipe::load(Path::new("."), &name).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_exit_codes_are_documented() {
    let text = fs_err::read_to_string("docs/exit-codes.md").unwrap();
    for kind in [Kind::Input, Kind::Lock, Kind::CannotRun, Kind::Interrupted] {
        assert!(
            text.contains(&format!("\n| {} |", kind.exit_code())),
            "{kind:?}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one message after the other")]
fn a_broken_project_is_explained() {
    insta::assert_snapshot!(complaint("conditional-both-ways"), @"
    pristine.toml:7:10: `zlib` is built both with and without `docs`
      |
    7 | [package.zlib]
      |          ^^^^
    ");
    insta::assert_snapshot!(complaint("format-missing"), @"
    pristine.toml: missing key `format`
      = begin the file with `format = 1`
    ");
    insta::assert_snapshot!(complaint("format-newer"), @"
    pristine.toml:1:10: format 7 is newer than this pristine understands
      |
    1 | format = 7
      |          ^
      = the newest format it understands is 1
    ");
    insta::assert_snapshot!(complaint("key-missing"), @"
    pristine.toml:3:1: missing key `template`
      |
    3 | [project]
      | ^^^^^^^^^
    ");
    insta::assert_snapshot!(complaint("key-of-another-tool"), @"
    pristine.toml:8:1: unknown key `network`
      |
    8 | network = true
      | ^^^^^^^
      = a package is built without network: name its sources by URL in the spec, or fetch them in the recipe
      = keys allowed here: skip, with, without, timeout, silence, memory, swap, processes, cpu_time, cores, disk, jobs
    ");
    insta::assert_snapshot!(complaint("key-twice"), @"
    pristine.toml:9:1: duplicate key
      |
    9 | keep_runs = 6
      | ^^^^^^^^^
    ");
    insta::assert_snapshot!(complaint("key-unknown"), @r#"
    pristine.toml:8:1: unknown key `timout`
      |
    8 | timout = "2h"
      | ^^^^^^
      = did you mean `timeout`?
      = keys allowed here: timeout, silence, memory, swap, processes, cpu_time, cores, disk, jobs, vendor, packager, macros, keep_runs
    "#);
    insta::assert_snapshot!(complaint("limit-wrong"), @r#"
    pristine.toml:8:11: `2 hours` is not a length of time
      |
    8 | timeout = "2 hours"
      |           ^^^^^^^^^
      = write a whole number and a unit (`90s`, `30m`, `2h`), or `none`
    "#);
    insta::assert_snapshot!(complaint("macro-wrong"), @r#"
    pristine.toml:8:12: `%dist` is not the name of a macro
      |
    8 | macros = { "%dist" = ".x" }
      |            ^^^^^^^
      = it has at least three letters, digits and `_`, no `%`, and does not begin with a digit
    "#);
    insta::assert_snapshot!(complaint("memory-wrong"), @r#"
    pristine.toml:8:10: `8GB` is not an amount of memory
      |
    8 | memory = "8GB"
      |          ^^^^^
      = write a whole number and a unit (`512MiB`, `8GiB`, `1TiB`), or `none`
    "#);
    insta::assert_snapshot!(complaint("merge-conflict"), @"
    pristine.toml:5:1: the file holds an unresolved merge
      |
    5 | <<<<<<< HEAD
      | ^^^^^^^^^^^^
    ");
    insta::assert_snapshot!(complaint("mirror-wrong"), @r#"
    pristine.toml:8:29: `mirror.local` is not a URL
      |
    8 | "https://mirror.example" = ["mirror.local"]
      |                             ^^^^^^^^^^^^^^
      = write an `https`, `http` or `file` URL, or a path below the project's directory that begins with `./`
    "#);
    insta::assert_snapshot!(complaint("name-wrong"), @r#"
    pristine.toml:4:8: `my demo` is not a name
      |
    4 | name = "my demo"
      |        ^^^^^^^^^
      = a name has letters, digits and `._+-`, begins with a letter or digit, and is at most 128 characters long
    "#);
    insta::assert_snapshot!(complaint("number-negative"), @"
    pristine.toml:8:13: expected a whole number above 0, found integer `-1`
      |
    8 | keep_runs = -1
      |             ^^
    ");
    insta::assert_snapshot!(complaint("number-zero"), @"
    pristine.toml:8:8: expected a whole number above 0, found integer `0`
      |
    8 | jobs = 0
      |        ^
    ");
    insta::assert_snapshot!(complaint("package-twice"), @r#"
    pristine.toml: two packages are named `zlib`: `packages/zlib-old/zlib.spec` and `packages/zlib/zlib.spec`
      = name the patterns of the specs that are meant: `specs = ["…"]`
    "#);
    insta::assert_snapshot!(complaint("package-unknown"), @"
    pristine.toml:7:10: the project has no package `zlip`
      |
    7 | [package.zlip]
      |          ^^^^
      = did you mean `zlib`?
      = packages: libpng, zlib
    ");
    insta::assert_snapshot!(complaint("packages-none"), @"
    pristine.toml: the project has no packages
      = no file fits: packages/*/*.spec
    ");
    insta::assert_snapshot!(complaint("pattern-outside"), @r#"
    pristine.toml:8:31: `../other/*.spec` leads out of the project
      |
    8 | specs = ["packages/*/*.spec", "../other/*.spec"]
      |                               ^^^^^^^^^^^^^^^^^
      = write a pattern below the project's directory that ends with `.spec` (`packages/*/*.spec`)
    "#);
    insta::assert_snapshot!(complaint("pattern-wrong"), @r#"
    pristine.toml:8:10: `packages/[a/*.spec` is not a pattern
      |
    8 | specs = ["packages/[a/*.spec"]
      |          ^^^^^^^^^^^^^^^^^^^^
      = at character 10: invalid range pattern
    "#);
    insta::assert_snapshot!(complaint("project-missing"), @"
    pristine.toml: no such file
      = a project is a directory with this file; `pristine demo` writes one to try
    ");
    insta::assert_snapshot!(complaint("syntax"), @r#"
    pristine.toml:8:23: invalid basic string, expected `"`
      |
    8 | vendor = "Example Ltd.
      |                       ^
    "#);
    insta::assert_snapshot!(complaint("table-expected"), @r#"
    pristine.toml:8:8: expected a table, found text "skip"
      |
    8 | zlib = "skip"
      |        ^^^^^^
    "#);
    insta::assert_snapshot!(complaint("table-missing"), @"pristine.toml: missing key `project`");
    insta::assert_snapshot!(complaint("text-not-utf8"), @"pristine.toml: line 6 is not UTF-8 text");
    insta::assert_snapshot!(complaint("type-wrong"), @r#"
    pristine.toml:8:9: expected a list, found text "packages/*/*.spec"
      |
    8 | specs = "packages/*/*.spec"
      |         ^^^^^^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(complaint("value-missing"), @"
    pristine.toml:8:9: the value is missing
      |
    8 | vendor =
      |         ^
    ");
}

#[test]
fn a_broken_template_is_explained() {
    insta::assert_snapshot!(complaint("architecture-unknown"), @r#"
    templates/mini.toml:2:16: unknown value `x86-64`
      |
    2 | architecture = "x86-64"
      |                ^^^^^^^^
      = did you mean `x86_64`?
      = values allowed here: x86_64, aarch64, ppc64le, s390x, riscv64
    "#);
    insta::assert_snapshot!(complaint("base-without-registry"), @r#"
    templates/mini.toml:3:9: `base:9` is not the name of an image
      |
    3 | image = "base:9"
      |         ^^^^^^^^
      = its registry must be named: `registry.example.org/name:tag`, `docker.io/library/name:tag`
    "#);
    insta::assert_snapshot!(complaint("builder-root"), @"
    templates/mini.toml:11:7: the builder is an unprivileged user: a number from 1 to 65535
       |
    11 | uid = 0
       |       ^
    ");
    insta::assert_snapshot!(complaint("group-as-tool"), @r#"
    templates/mini.toml:4:17: a group is not a tool: name packages
      |
    4 | tools = ["rpm", "@build"]
      |                 ^^^^^^^^
    "#);
    insta::assert_snapshot!(complaint("key-id-short"), @r#"
    templates/mini.toml:8:65: `350D275D` is not the fingerprint of a key
      |
    8 | keys = [{ url = "https://mirror.example/key.asc", fingerprint = "350D275D" }]
      |                                                                 ^^^^^^^^^^
      = write all 40 (or 64) hexadecimal digits, as `gpg --show-keys` prints them; a key id is too short to pin a key
    "#);
    insta::assert_snapshot!(complaint("key-without-place"), @r#"
    templates/mini.toml:8:9: a key has exactly one of `url` and `file`
      |
    8 | keys = [{ fingerprint = "21CB256AE16FC54C6E652949702D426D350D275D" }]
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(complaint("packages-empty"), @r#"
    templates/mini.toml: the template has neither packages nor groups
      = name the base set: `packages = ["bash", "rpm-build"]`
    "#);
    insta::assert_snapshot!(complaint("path-wrong"), @r#"
    templates/mini.toml:11:27: `var/log` is not an absolute path
       |
    11 | remove = ["/var/cache/*", "var/log"]
       |                           ^^^^^^^^^
       = it begins with `/` and has no `.`, `..` or empty components
    "#);
    insta::assert_snapshot!(complaint("repository-key-unknown"), @r#"
    templates/mini.toml:7:1: unknown key `base_url`
      |
    7 | base_url = ["https://mirror.example/main"]
      | ^^^^^^^^
      = did you mean `baseurl`?
      = keys allowed here: name, baseurl, metalink, mirrorlist, keys, check, trusted, reason, priority, cost, include, exclude, module_hotfixes, skip_if_unavailable, proxy, sslclientcert, sslclientkey, sslcacert
    "#);
    insta::assert_snapshot!(complaint("repository-none"), @"
    templates/mini.toml: the template has no repository
      = add a table `[[repository]]` with `name`, `keys` and one of `baseurl`, `metalink`, `mirrorlist`
    ");
    insta::assert_snapshot!(complaint("repository-of-dnf"), @"
    templates/mini.toml:9:1: unknown key `gpgcheck`
      |
    9 | gpgcheck = false
      | ^^^^^^^^
      = signatures are checked unless `check = { packages = false }` or `check = { metadata = false }` says otherwise
      = keys allowed here: name, baseurl, metalink, mirrorlist, keys, check, trusted, reason, priority, cost, include, exclude, module_hotfixes, skip_if_unavailable, proxy, sslclientcert, sslclientkey, sslcacert
    ");
    insta::assert_snapshot!(complaint("repository-priority"), @"
    templates/mini.toml:9:12: a priority is a number from 1 (first) to 99
      |
    9 | priority = 0
      |            ^
    ");
    insta::assert_snapshot!(complaint("repository-trusted-and-signed"), @r#"
    templates/mini.toml:6:8: both `keys` and `trusted = true`
      |
    6 | name = "main"
      |        ^^^^^^
      = signatures are checked, or they are not: leave one out
    "#);
    insta::assert_snapshot!(complaint("repository-twice"), @r#"
    templates/mini.toml:11:8: two repositories are named `main`
       |
    11 | name = "main"
       |        ^^^^^^
    "#);
    insta::assert_snapshot!(complaint("repository-two-places"), @"
    templates/mini.toml:5:1: a repository has exactly one of `baseurl`, `metalink` and `mirrorlist`
      |
    5 | [[repository]]
      | ^^^^^^^^^^^^^^
    ");
    insta::assert_snapshot!(complaint("repository-unverified"), @r#"
    templates/mini.toml:6:8: nothing would verify the repository `main`
      |
    6 | name = "main"
      |        ^^^^^^
      = check its metadata or its packages, or say `trusted = true` and a `reason`
    "#);
    insta::assert_snapshot!(complaint("repository-without-keys"), @r#"
    templates/mini.toml:6:8: no `keys`: nothing says whose signature is trusted
      |
    6 | name = "main"
      |        ^^^^^^
      = pin one: `keys = [{ url = "…", fingerprint = "…" }]`, or say `trusted = true` and a `reason`
    "#);
    insta::assert_snapshot!(complaint("template-missing"), @"
    templates/mimi.toml: there is no template `mimi`
      = did you mean `mini`?
      = templates: fedora-43, mini
    ");
    insta::assert_snapshot!(complaint("template-none"), @"
    templates/mini.toml: there is no template `mini`
      = there are no templates
    ");
    insta::assert_snapshot!(complaint("url-with-password"), @r#"
    templates/mini.toml:8:17: the URL of `mirror.example` holds a user name or a password
      |
    8 | keys = [{ url = "https://**********@mirror.example/key.asc", fingerprint = "21CB256AE16FC54C6E652949…
      |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = it would end up in the lock: use a mirror that needs none
    "#);
    insta::assert_snapshot!(complaint("url-wrong"), @r#"
    templates/mini.toml:7:12: `mirror.example/main` is not a URL
      |
    7 | baseurl = ["mirror.example/main"]
      |            ^^^^^^^^^^^^^^^^^^^^^
      = write an `https`, `http` or `file` URL, or a path below the project's directory that begins with `./`
    "#);
    insta::assert_snapshot!(complaint("variable-unknown"), @r#"
    templates/mini.toml:7:12: there is no variable `$basarch`
      |
    7 | baseurl = ["https://mirror.example/$basarch/main"]
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = did you mean `$basearch`?
      = variables: arch, basearch; set more in the table `[variables]`
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one message after the other")]
fn a_broken_recipe_is_explained() {
    insta::assert_snapshot!(complaint("command-both"), @"
    recipes/base.toml:3:1: a command has exactly one of `run` and `script`
      |
    3 | [[command]]
      | ^^^^^^^^^^^
    ");
    insta::assert_snapshot!(complaint("command-empty"), @"
    recipes/base.toml:4:7: the command names no program
      |
    4 | run = []
      |       ^^
    ");
    insta::assert_snapshot!(complaint("command-string"), @r#"
    recipes/base.toml:4:7: expected a list, found text "make install"
      |
    4 | run = "make install"
      |       ^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(complaint("digest-wrong"), @r#"
    recipes/base.toml:5:10: `d41d8cd98f00b204e9800998ecf8427e` is not a SHA-256 digest
      |
    5 | sha256 = "d41d8cd98f00b204e9800998ecf8427e"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = expected 64 hexadecimal digits, with or without `sha256:` before them
    "#);
    insta::assert_snapshot!(complaint("file-mode"), @r#"
    recipes/base.toml:6:8: `rw-r--r--` is not a file mode
      |
    6 | mode = "rw-r--r--"
      |        ^^^^^^^^^^^
      = write three or four octal digits (`0644`, `0755`)
    "#);
    insta::assert_snapshot!(complaint("file-mode-number"), @"
    recipes/base.toml:6:8: expected text in quotes, found integer `644`
      |
    6 | mode = 644
      |        ^^^
    ");
    insta::assert_snapshot!(complaint("file-owner"), @r#"
    recipes/base.toml:6:9: `nobody` is not an owner and a group
      |
    6 | owner = "nobody"
      |         ^^^^^^^^
      = write numbers from 0 to 65535 or `root` (`root:root`, `1000:1000`)
    "#);
    insta::assert_snapshot!(complaint("file-path-relative"), @r#"
    recipes/base.toml:4:8: `etc/motd` is not an absolute path
      |
    4 | path = "etc/motd"
      |        ^^^^^^^^^^
      = it begins with `/` and has no `.`, `..` or empty components
    "#);
    insta::assert_snapshot!(complaint("file-source-missing"), @r#"
    recipes/base.toml:5:10: there is no file `files/motd`
      |
    5 | source = "files/motd"
      |          ^^^^^^^^^^^^
      = paths are relative to the project's directory
    "#);
    insta::assert_snapshot!(complaint("file-two-contents"), @"
    recipes/base.toml:3:1: a file has exactly one of `content` and `source`
      |
    3 | [[file]]
      | ^^^^^^^^
    ");
    insta::assert_snapshot!(complaint("recipe-missing"), @"
    recipes/bace.toml: there is no recipe `bace`
      = did you mean `base`?
      = recipes: base, tools
    ");
    insta::assert_snapshot!(complaint("recipe-not-executable"), @"
    recipes/base: the script is not executable
      = make it so: chmod +x recipes/base
    ");
    insta::assert_snapshot!(complaint("recipe-twice"), @"
    recipes/base.toml: two recipes are named `base`
      = the other is `recipes/base`: remove or rename one
    ");
    insta::assert_snapshot!(complaint("recipe-without-interpreter"), @"
    recipes/base: the script does not begin with `#!`
      = name its interpreter in the first line: `#!/bin/sh`; a declared recipe is named `NAME.toml`
    ");
    insta::assert_snapshot!(complaint("rpm-unsigned"), @r#"
    recipes/base.toml:4:7: no `keys`: nothing says whose signature is trusted
      |
    4 | url = "https://mirror.example/tool.rpm"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = pin one: `keys = [{ url = "…", fingerprint = "…" }]`, or say `trusted = true` and a `reason`
    "#);
    insta::assert_snapshot!(complaint("rpm-without-reason"), @r#"
    recipes/base.toml:4:7: trusted without a reason
      |
    4 | url = "https://mirror.example/tool.rpm"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = say why: `reason = "…"`
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one message after the other")]
fn a_broken_lock_is_explained() {
    insta::assert_snapshot!(complaint("lock-key-missing"), @r#"
    pristine.lock:32:171: the lock has no such key
       |
    32 | …aaaaaaaaaaaaaaaa", key = "31CB256AE16FC54C6E652949702D426D350D275D" },
       |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-key-unknown"), @r#"
    pristine.lock:5:1: unknown key `epoch_source`
      |
    5 | epoch_source = "now"
      | ^^^^^^^^^^^^
      = did you mean `epoch`?
      = keys allowed here: format, architecture, epoch, inputs, base, repository, key, package, tools, environment
      = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-location-wrong"), @r#"
    pristine.lock:32:66: expected a location relative to the repository
       |
    32 |   { nevra = "bash-5.2-1.x86_64", repository = "main", location = "/etc/passwd", size = 1, sha256 = "…
       |                                                                  ^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-merge-conflict"), @"
    pristine.lock:32:1: the file holds an unresolved merge
       |
    32 | <<<<<<< HEAD
       | ^^^^^^^^^^^^
       = take either side and write it anew: git checkout --ours pristine.lock && pristine lock
    ");
    insta::assert_snapshot!(complaint("lock-missing"), @"
    pristine.lock: no such file
      = write it: pristine lock
    ");
    insta::assert_snapshot!(complaint("lock-nevra-wrong"), @r#"
    pristine.lock:32:13: `bash-5.2` is not a package's full name
       |
    32 |   { nevra = "bash-5.2", repository = "main", location = "bash.rpm", size = 1, sha256 = "aaaaaaaaaaaa…
       |             ^^^^^^^^^^
       = expected name-[epoch:]version-release.arch
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-newer"), @"
    pristine.lock:2:10: format 2 is newer than this pristine understands
      |
    2 | format = 2
      |          ^
      = the newest format it understands is 1
      = use the version of pristine that wrote it, or write it anew: pristine lock
    ");
    insta::assert_snapshot!(complaint("lock-origin-missing"), @r#"
    pristine.lock:32:3: an RPM has either `repository` and `location`, or `url`
       |
    32 |   { nevra = "bash-5.2-1.x86_64", size = 1, sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…
       |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-repository-unknown"), @r#"
    pristine.lock:32:3: the lock has no repository `mian`
       |
    32 |   { nevra = "bash-5.2-1.x86_64", repository = "mian", location = "bash.rpm", size = 1, sha256 = "aaa…
       |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-rpm-twice"), @r#"
    pristine.lock:33:3: bash-5.2-1.x86_64 is named twice
       |
    33 |   { nevra = "bash-5.2-1.x86_64", repository = "main", location = "bash.rpm", size = 1, sha256 = "aaa…
       |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-source-name"), @r#"
    pristine.lock:32:3: `../../x` is not a file name
       |
    32 |   { file = "../../x" },
       |   ^^^^^^^^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-tool-unknown"), @r#"
    pristine.lock:26:3: dash-5.2-1.x86_64 is neither in the environment nor in `only`
       |
    26 |   "dash-5.2-1.x86_64",
       |   ^^^^^^^^^^^^^^^^^^^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    "#);
    insta::assert_snapshot!(complaint("lock-truncated"), @"
    pristine.lock:32:159: unclosed inline table, expected `}`
       |
    32 | …aaaaaaaaaaaaaaaaaaaaaaaaa
       |                           ^
       = locks are not written by hand: restore it from git, or write it anew: pristine lock
    ");
}
