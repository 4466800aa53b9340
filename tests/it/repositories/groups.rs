//! `@group`, in templates and recipes.

use pristine::documents::{Recipe, RelativePath};

use super::trial::{Dnf, Trial};
use crate::support::packages::package;

const COMPS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group>
    <id>buildsys-build</id><name>Buildsystem building group</name><description/><default>false</default><uservisible>false</uservisible>
    <packagelist>
      <packagereq type="mandatory">bash</packagereq>
      <packagereq type="default">make</packagereq>
      <packagereq type="optional">cmake</packagereq>
      <packagereq type="mandatory">gone</packagereq>
      <packagereq type="conditional" requires="fish">bash-fish</packagereq>
      <packagereq type="conditional" requires="zsh">bash-zsh</packagereq>
    </packagelist>
  </group>
  <group><id>shells</id><name>Shells</name><packagelist><packagereq>fish</packagereq></packagelist></group>
  <environment>
    <id>minimal-environment</id><name>Minimal Install</name><description/><display_order>3</display_order>
    <grouplist><groupid>buildsys-build</groupid><groupid>shells</groupid></grouplist>
    <optionlist><groupid>editors</groupid></optionlist>
  </environment>
</comps>
"#;

fn trial() -> Trial {
    let trial = Trial::new();
    let repository = trial.repository("main");
    for name in [
        "bash",
        "make",
        "cmake",
        "bash-fish",
        "bash-zsh",
        "fish",
        "zsh",
    ] {
        repository.add(&mut package(name, "1"));
    }
    repository.publish();
    let packed = zstd::encode_all(COMPS.as_bytes(), 3).unwrap();
    // The plain form is listed first, as createrepo_c does; the small one is what is fetched.
    repository.attach("group", "comps.xml", b"not looked at");
    repository.attach("group_zst", "comps.xml.zst", &packed);
    trial
}

const TABLE: &str = "[[repository]]\nname = \"main\"\nbaseurl = [\"SERVER/main\"]\nKEYRING\n";

fn solved(trial: &Trial, top: &str) -> String {
    let template = trial.template(top, TABLE);
    match trial.solve(&template, None) {
        Ok(solved) => solved.names().replace("-1-1.noarch", ""),
        Err(error) => trial.message(&error),
    }
}

#[test]
fn groups_are_what_dnf_takes_them_for() {
    let trial = trial();
    // dnf reads the record `group`, which is no comps here.
    let plain = trial.path("plain");
    copy(&trial.path("site/main"), &plain);
    let repomd = fs_err::read_to_string(plain.join("repodata/repomd.xml")).unwrap();
    let at = repomd.find("<data type=\"group\">").unwrap();
    let end = repomd[at..].find("</data>").unwrap() + at + "</data>".len();
    let repomd = format!("{}{}", &repomd[..at], &repomd[end..]).replace("group_zst", "group");
    fs_err::write(plain.join("repodata/repomd.xml"), repomd).unwrap();
    for (top, dnf, expected) in [
        (
            "groups = [\"buildsys-build\"]",
            "@buildsys-build",
            "bash make",
        ),
        (
            "packages = [\"fish\", \"@buildsys-build\"]",
            "@buildsys-build fish",
            "bash bash-fish fish make",
        ),
        (
            "groups = [\"^minimal-environment\"]",
            "@minimal-environment",
            "bash bash-fish fish make",
        ),
    ] {
        assert_eq!(solved(&trial, top), expected, "{top}");
        let Some(program) = Dnf::new(&[&plain], &["--assumeno"]) else {
            continue;
        };
        let arguments: Vec<&str> = std::iter::once("install").chain(dnf.split(' ')).collect();
        let (_, text) = program.run(&arguments);
        let mut names: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(" noarch "))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.join(" "), expected, "dnf: {text}");
    }
    assert!(
        trial
            .warnings()
            .contains(&"the group `buildsys-build` names the package `gone`, which no repository has: left out".to_owned())
    );
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs_err::remove_dir_all(to).ok();
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs_err::copy(entry.path(), place).unwrap();
        }
    }
}

#[test]
fn less_and_more_of_a_group_can_be_asked_for() {
    let trial = trial();
    let top = "groups = [\"buildsys-build\"]\ngroup_packages = [\"mandatory\"]";
    assert_eq!(solved(&trial, top), "bash");
    let top =
        "groups = [\"Buildsystem building group\"]\ngroup_packages = [\"mandatory\", \"optional\"]";
    assert_eq!(solved(&trial, top), "bash cmake");
}

#[test]
fn unknown_groups_are_an_error() {
    let trial = trial();
    insta::assert_snapshot!(solved(&trial, "packages = [\"@buildsys\"]"), @"no repository has the group `buildsys`");
    insta::assert_snapshot!(solved(&trial, "groups = [\"^minimal\"]"), @"no repository has the environment `minimal`");
    // Without comps there are no groups, and without groups nobody reads comps.
    trial.repository("main").publish();
    insta::assert_snapshot!(solved(&trial, "groups = [\"buildsys-build\"]"), @"no repository has the group `buildsys-build`");
    assert_eq!(solved(&trial, "packages = [\"bash\"]"), "bash");
}

#[test]
fn recipes_have_groups_too() {
    let trial = trial();
    let template = trial.template("packages = [\"zsh\"]", TABLE);
    let text = "format = 1\npackages = [\"@shells\"]\ngroups = [\"buildsys-build\"]\n";
    let none = |_: &RelativePath| Ok(Vec::new());
    let path = std::path::Path::new("own.toml");
    let recipe = Recipe::parse(&"own".parse().unwrap(), text, path, &none).unwrap();
    let solved = trial.solve(&template, Some(&recipe)).unwrap();
    assert_eq!(
        solved.names().replace("-1-1.noarch", ""),
        "bash bash-fish bash-zsh fish make zsh"
    );
    // The lock says which file the groups came from.
    let kinds: Vec<&str> = solved.repositories[0]
        .metadata
        .iter()
        .map(|file| file.kind.as_str())
        .collect();
    assert_eq!(kinds, ["primary", "group_zst"]);
}
