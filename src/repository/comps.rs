//! comps: groups of packages, and environments, which are groups of groups.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use rpmrepo_metadata::{CompsGroup, CompsPackageReq, CompsXml};

use super::RepositoryError;
use super::stream::{Whole, damaged, events, guarded, text, whole_file};

/// The largest comps that is read, bytes once decompressed.
const MAX_SIZE: u64 = 64 << 20;

/// The groups and environments of one or more repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comps {
    groups: BTreeMap<String, Group>,
    environments: BTreeMap<String, Environment>,
}

/// A group by its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    name: String,
    members: BTreeMap<String, Member>,
}

/// An environment by its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Environment {
    name: String,
    groups: Vec<String>,
}

/// A package of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The package's name.
    pub name: String,
    /// When it belongs to the group.
    pub kind: MemberKind,
    /// The package beside which alone a conditional one is installed.
    pub requires: Option<String>,
    /// Only the package of the machine's own architecture is meant.
    pub own_architecture: bool,
}

/// When a package of a group is installed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberKind {
    /// Always.
    Mandatory,
    /// Unless the group is asked for with less.
    Default,
    /// Where another package is installed.
    Conditional,
    /// Only where the group is asked for with more.
    Optional,
}

impl MemberKind {
    /// comps itself takes `mandatory` where nothing is said, and so does dnf where something unknown is.
    fn of(text: &str) -> Self {
        match text {
            "default" => Self::Default,
            "conditional" => Self::Conditional,
            "optional" => Self::Optional,
            _ => Self::Mandatory,
        }
    }
}

impl Comps {
    /// Reads the possibly compressed comps at `path`; `name` is what errors call it.
    pub fn read(path: &Path, name: &str) -> Result<Self, RepositoryError> {
        Self::parse(&whole_file(path, name, MAX_SIZE)?, name)
    }

    /// Reads the bytes of a comps; `name` is what errors call it.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, RepositoryError> {
        text(bytes, name)?;
        let reader = BufReader::new(Whole::new(bytes, "</comps>"));
        let data = guarded(name, || CompsXml::read_data(events(reader)))?;
        let mut comps = Self::default();
        for group in data.groups {
            check_id(&group.id, name)?;
            comps.add_group(group);
        }
        for environment in data.environments {
            check_id(&environment.id, name)?;
            let known = comps.environments.entry(environment.id).or_default();
            known.name = environment.name;
            known.groups.extend(environment.group_ids);
        }
        Ok(comps)
    }

    fn add_group(&mut self, group: CompsGroup) {
        let known = self.groups.entry(group.id).or_default();
        known.name = group.name;
        for package in group.packages {
            known.members.insert(package.name.clone(), member(package));
        }
    }

    /// Adds the groups of another repository. Of a group that both have the packages of both belong to it;
    /// what the later repository says of one of them holds.
    pub fn merge(&mut self, other: Self) {
        for (id, group) in other.groups {
            let known = self.groups.entry(id).or_default();
            known.name = group.name;
            known.members.extend(group.members);
        }
        for (id, environment) in other.environments {
            let known = self.environments.entry(id).or_default();
            known.name = environment.name;
            for group in environment.groups {
                if !known.groups.contains(&group) {
                    known.groups.push(group);
                }
            }
        }
    }

    /// The packages of those `kinds` in the group of that id or display name, by name; `None` where there is no such group.
    pub fn group(&self, wanted: &str, kinds: &[MemberKind]) -> Option<Vec<Member>> {
        let group = find(&self.groups, wanted, |group| &group.name)?;
        let members = group.members.values();
        Some(
            members
                .filter(|member| kinds.contains(&member.kind))
                .cloned()
                .collect(),
        )
    }

    /// The ids of the groups that belong to the environment of that id or display name.
    pub fn environment(&self, wanted: &str) -> Option<&[String]> {
        find(&self.environments, wanted, |environment| &environment.name)
            .map(|environment| environment.groups.as_slice())
    }

    /// The ids of all groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The ids of all environments.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.keys().map(String::as_str)
    }
}

/// An id is looked for before a display name, whose case does not matter.
fn find<'a, T>(
    all: &'a BTreeMap<String, T>,
    wanted: &str,
    name: impl Fn(&T) -> &String,
) -> Option<&'a T> {
    all.get(wanted).or_else(|| {
        let wanted = wanted.to_lowercase();
        all.values().find(|one| name(one).to_lowercase() == wanted)
    })
}

fn check_id(id: &str, name: &str) -> Result<(), RepositoryError> {
    if id.is_empty() || id.chars().any(char::is_control) {
        return Err(damaged(
            name,
            &format_args!("it has a group with the id `{}`", id.escape_debug()),
        ));
    }
    Ok(())
}

fn member(package: CompsPackageReq) -> Member {
    Member {
        kind: MemberKind::of(&package.reqtype),
        requires: package.requires.filter(|name| !name.is_empty()),
        own_architecture: package.basearchonly == Some(true),
        name: package.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[MemberKind] = &[
        MemberKind::Mandatory,
        MemberKind::Default,
        MemberKind::Conditional,
        MemberKind::Optional,
    ];

    fn comps(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n<comps>{inside}</comps>\n"
        )
    }

    fn group(id: &str, packages: &str) -> String {
        format!(
            "<group><id>{id}</id><name>The {id} Tools</name><name xml:lang=\"de\">Werkzeuge</name><description/>\
             <default>false</default><uservisible>true</uservisible><packagelist>{packages}</packagelist></group>"
        )
    }

    fn sample() -> Comps {
        let packages = "<packagereq type=\"mandatory\">make</packagereq><packagereq type=\"default\">gcc</packagereq>\
             <packagereq type=\"optional\">cmake</packagereq><packagereq>rpm</packagereq>\
             <packagereq type=\"conditional\" requires=\"fish\">gcc-fish</packagereq>\
             <packagereq type=\"mandatory\" basearchonly=\"true\">glibc</packagereq>";
        let environment = "<environment><id>minimal</id><name>Minimal Install</name><description/><display_order>3</display_order>\
             <grouplist><groupid>build</groupid></grouplist><optionlist><groupid default=\"true\">more</groupid></optionlist></environment>";
        let text = comps(
            &[
                &group("build", packages),
                environment,
                "<langpacks><match name=\"a\" install=\"a-%s\"/></langpacks>",
            ]
            .concat(),
        );
        Comps::parse(text.as_bytes(), "comps of fedora").unwrap()
    }

    fn names(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn groups_and_environments_are_found_by_id_and_name() {
        let comps = sample();
        let some = comps
            .group("build", &[MemberKind::Mandatory, MemberKind::Default])
            .unwrap();
        assert_eq!(names(&some), ["gcc", "glibc", "make", "rpm"]);
        assert!(some[1].own_architecture);
        let all = comps.group("the BUILD tools", ALL).unwrap();
        assert_eq!(
            names(&all),
            ["cmake", "gcc", "gcc-fish", "glibc", "make", "rpm"]
        );
        assert_eq!(all[2].requires.as_deref(), Some("fish"));
        assert_eq!(comps.group("none", ALL), None);
        assert_eq!(
            comps.environment("Minimal install"),
            Some(&["build".to_owned()][..])
        );
        assert_eq!(comps.environment("build"), None);
    }

    #[test]
    fn groups_of_two_repositories_are_one() {
        let mut comps = sample();
        let other = group(
            "build",
            "<packagereq type=\"mandatory\">cmake</packagereq><packagereq type=\"default\">ninja</packagereq>",
        );
        let other = Comps::parse(super::tests::comps(&other).as_bytes(), "other").unwrap();
        comps.merge(other);
        let mandatory = comps.group("build", &[MemberKind::Mandatory]).unwrap();
        assert_eq!(names(&mandatory), ["cmake", "glibc", "make", "rpm"]);
    }

    #[test]
    fn damaged_comps_are_refused() {
        let error = |bytes: &[u8]| {
            Comps::parse(bytes, "comps of fedora")
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(error(b"\xff"), @"`comps of fedora` is damaged or not repository metadata: byte 0 is not UTF-8 text");
        insta::assert_snapshot!(error(b"<html>"), @"`comps of fedora` is damaged or not repository metadata: I/O error: it ends before `</comps>`");
        insta::assert_snapshot!(error(comps(&group("", "")).as_bytes()), @"`comps of fedora` is damaged or not repository metadata: it has a group with the id ``");
        let bomb = comps(&group("&bomb;", "")).replace(
            "\"comps.dtd\"",
            "\"comps.dtd\" [<!ENTITY bomb \"&bomb;&bomb;\">]",
        );
        insta::assert_snapshot!(error(bomb.as_bytes()), @"`comps of fedora` is damaged or not repository metadata: at 1..5: unrecognized entity `bomb`");
        let text = comps(&group("build", "<packagereq>make</packagereq>"));
        for cut in 0..text.trim_end().len() {
            assert!(
                Comps::parse(&text.as_bytes()[..cut], "c").is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn what_comes_out_of_a_small_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("comps.xml.zst");
        let mut bomb = zstd::Encoder::new(fs_err::File::create(&path).unwrap(), 1).unwrap();
        for _ in 0..65 {
            std::io::Write::write_all(&mut bomb, &vec![b' '; 1 << 20]).unwrap();
        }
        bomb.finish().unwrap();
        assert!(path.metadata().unwrap().len() < 1 << 20);
        let error = Comps::read(&path, "comps of fedora").unwrap_err();
        insta::assert_snapshot!(error, @"`comps of fedora` is damaged or not repository metadata: it is larger than 64 MiB");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[<>/a-z =\"&;#]{0,80}") {
            let _whatever = Comps::parse(comps(&group("a", &text)).as_bytes(), "c");
        }
    }
}
