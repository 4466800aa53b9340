//! Groups of packages as requests: what dnf would install for `@group`.

use crate::documents::GroupName;
use crate::documents::template::GroupPackages;
use crate::events::Event;
use crate::repository::{Comps, Member, MemberKind};
use crate::resolve::ResolveError;
use crate::solve::Wanted;

/// Turns groups into requests.
#[derive(Debug)]
pub struct Groups<'a> {
    /// The groups of all repositories.
    pub comps: &'a Comps,
    /// Which packages of a group are installed.
    pub kinds: &'a [GroupPackages],
    /// The architecture, as rpm names it.
    pub arch: &'a str,
}

impl Groups<'_> {
    /// What `groups` stand for. `exists` says whether any repository has a package of that name: comps name
    /// packages that a repository does not have, and dnf passes over them with a warning, too.
    pub fn wanted(
        &self,
        groups: &[GroupName],
        asked_by: &str,
        exists: &dyn Fn(&str) -> bool,
        warn: &dyn Fn(Event),
    ) -> Result<Vec<Wanted>, ResolveError> {
        let mut wanted = Vec::new();
        for group in groups {
            for (id, member) in self.members(group)? {
                if exists(&member.name) {
                    let asked_by = format!("{asked_by} (group {id})");
                    wanted.push(Wanted::package(self.capability(&member), asked_by));
                } else {
                    let text = format!(
                        "the group `{id}` names the package `{}`, which no repository has: left out",
                        member.name
                    );
                    warn(Event::Warning { text });
                }
            }
        }
        Ok(wanted)
    }

    /// The packages of a group, or of all groups that belong to an environment, each with its group.
    fn members(&self, group: &GroupName) -> Result<Vec<(String, Member)>, ResolveError> {
        let kinds: Vec<MemberKind> = self.kinds.iter().map(|kind| member_kind(*kind)).collect();
        let of = |id: &str| {
            let members = self.comps.group(id, &kinds)?;
            let id = id.to_owned();
            Some(members.into_iter().map(move |member| (id.clone(), member)))
        };
        match group.environment() {
            None => of(group.as_str())
                .map(Iterator::collect)
                .ok_or_else(|| unknown("group", group.as_str(), self.comps.groups())),
            Some(environment) => {
                let ids = self.comps.environment(environment).ok_or_else(|| {
                    unknown("environment", environment, self.comps.environments())
                })?;
                // An environment may name groups that this architecture does not have.
                Ok(ids.iter().filter_map(|id| of(id)).flatten().collect())
            }
        }
    }

    fn capability(&self, member: &Member) -> String {
        match &member.requires {
            Some(requires) if member.kind == MemberKind::Conditional => {
                format!("({} if {requires})", member.name)
            }
            _ if member.own_architecture => format!("{}.{}", member.name, self.arch),
            _ => member.name.clone(),
        }
    }
}

fn member_kind(kind: GroupPackages) -> MemberKind {
    match kind {
        GroupPackages::Mandatory => MemberKind::Mandatory,
        GroupPackages::Default => MemberKind::Default,
        GroupPackages::Conditional => MemberKind::Conditional,
        GroupPackages::Optional => MemberKind::Optional,
    }
}

fn unknown<'a>(
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> ResolveError {
    ResolveError::Unknown {
        what,
        name: name.to_owned(),
        nearest: nearest(name, known),
    }
}

/// Up to three of `known` that are written most like `name`.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut ranked: Vec<_> = known
        .map(|known| {
            let plain = known.to_lowercase();
            let begins = plain.contains(&wanted) || wanted.contains(&plain);
            (!begins, strsim::damerau_levenshtein(&wanted, &plain), known)
        })
        .filter(|(other, steps, known)| !other || *steps <= 1 + known.len() / 3)
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked
        .into_iter()
        .take(3)
        .map(|(_, _, known)| known.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const COMPS: &str = "<comps>\
        <group><id>build</id><name>Build Tools</name><packagelist>\
        <packagereq type=\"mandatory\">make</packagereq><packagereq type=\"default\">gcc</packagereq>\
        <packagereq type=\"optional\">cmake</packagereq><packagereq type=\"mandatory\">gone</packagereq>\
        <packagereq type=\"conditional\" requires=\"fish\">gcc-fish</packagereq>\
        <packagereq type=\"mandatory\" basearchonly=\"true\">glibc</packagereq></packagelist></group>\
        <group><id>buildsys-build</id><name>Build system</name><packagelist><packagereq>rpm-build</packagereq></packagelist></group>\
        <environment><id>minimal</id><name>Minimal</name><grouplist><groupid>buildsys-build</groupid><groupid>absent</groupid></grouplist></environment>\
        </comps>";

    fn wanted(group: &str, kinds: &[GroupPackages]) -> Result<(Vec<String>, Vec<String>), String> {
        let comps = Comps::parse(COMPS.as_bytes(), "comps").unwrap();
        let groups = Groups {
            comps: &comps,
            kinds,
            arch: "x86_64",
        };
        let warnings = RefCell::new(Vec::new());
        let warn = |event| {
            if let Event::Warning { text } = event {
                warnings.borrow_mut().push(text);
            }
        };
        let wanted = groups
            .wanted(
                &[group.parse().unwrap()],
                "template base",
                &|name| name != "gone",
                &warn,
            )
            .map_err(|error| error.to_string())?;
        let wanted = wanted
            .into_iter()
            .map(|one| format!("{} for {}", one.capability, one.asked_by))
            .collect();
        Ok((wanted, warnings.into_inner()))
    }

    #[test]
    fn groups_become_requests() {
        use GroupPackages::{Conditional, Default, Mandatory, Optional};
        let (all, warnings) = wanted("build", &[Mandatory, Default, Conditional]).unwrap();
        assert_eq!(
            all,
            [
                "gcc for template base (group build)",
                "(gcc-fish if fish) for template base (group build)",
                "glibc.x86_64 for template base (group build)",
                "make for template base (group build)",
            ]
        );
        assert_eq!(
            warnings,
            ["the group `build` names the package `gone`, which no repository has: left out"]
        );
        let (all, _) = wanted("Build tools", &[Optional]).unwrap();
        assert_eq!(all, ["cmake for template base (group Build tools)"]);
        let (all, _) = wanted("^minimal", &[Mandatory]).unwrap();
        assert_eq!(all, ["rpm-build for template base (group buildsys-build)"]);
    }

    #[test]
    fn unknown_groups_name_the_nearest() {
        insta::assert_snapshot!(wanted("biuld", &[]).unwrap_err(), @"no repository has the group `biuld`");
        assert_eq!(
            nearest(
                "buildsys",
                ["build", "buildsys-build", "editors"].into_iter()
            ),
            ["build", "buildsys-build"]
        );
        insta::assert_snapshot!(wanted("^maximal", &[]).unwrap_err(), @"no repository has the environment `maximal`");
    }
}
