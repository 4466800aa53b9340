//! What this host must allow, and what mends it where it does not.

use rustix::process::geteuid;

use super::cgroup::Cgroups;
use super::ids::{Ids, helpers_missing};

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is missing, and how that was seen.
    pub what: String,
    /// The command that mends it.
    pub remedy: String,
}

/// Everything that stands in the way here, without trying anything: empty when there is nothing.
///
/// What only a trial can tell (overlayfs in a user namespace on the store's file system)
/// is tried by `Native::open`.
pub fn check() -> Vec<Problem> {
    let mut problems = namespaces(geteuid().is_root(), &setting);
    match Ids::of_caller() {
        Ok(ids) if ids.direct() => {}
        Ok(_) => problems.extend(helpers_missing()),
        Err(missing) => problems.extend(missing.into_iter().chain(helpers_missing())),
    }
    problems
}

/// Something that the sandbox needs of the host, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What mends it; none where it is good.
    pub remedy: Option<String>,
}

/// What the sandbox needs of the host, the good and the bad. Nothing is tried.
pub fn host() -> Vec<Fact> {
    let root = geteuid().is_root();
    let fact = |what: &str, found: String| Fact {
        what: what.to_owned(),
        found,
        remedy: None,
    };
    let bad = |what: &str, problems: Vec<Problem>| -> Vec<Fact> {
        let each = problems.into_iter();
        each.map(|problem| Fact {
            what: what.to_owned(),
            found: problem.what,
            remedy: Some(problem.remedy),
        })
        .collect()
    };
    let mut facts = bad("user namespaces", namespaces(root, &setting));
    if facts.is_empty() {
        let most = setting("user.max_user_namespaces")
            .map_or("unlimited".to_owned(), |most| most.to_string());
        facts.push(fact(
            "user namespaces",
            format!("allowed (user.max_user_namespaces is {most})"),
        ));
    }
    match Ids::of_caller() {
        Ok(ids) => facts.push(fact("subordinate ids", ids.to_string())),
        Err(problems) => facts.extend(bad("subordinate ids", problems)),
    }
    let missing: Vec<Problem> = helpers_missing().into_iter().filter(|_| !root).collect();
    if missing.is_empty() {
        let found = if root {
            "not needed by root"
        } else {
            "there, with the rights that they need"
        };
        facts.push(fact("newuidmap, newgidmap", found.to_owned()));
    }
    facts.extend(bad("newuidmap, newgidmap", missing));
    facts.push(match Cgroups::find() {
        Some(cgroups) => fact("cgroups", format!("limits can be set in {cgroups}")),
        None => Fact {
            what: "cgroups".to_owned(),
            found: "none can be made here: limits of memory and processes are not enforced"
                .to_owned(),
            remedy: Some(
                "where systemd runs: systemd-run --user --scope -p Delegate=yes pristine build"
                    .to_owned(),
            ),
        },
    });
    facts
}

/// The value of a sysctl, where there is one.
fn setting(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs_err::read_to_string(path).ok()?.trim().parse().ok()
}

/// Problems with the settings for user namespaces; `setting` gives the value of a sysctl where there is one.
fn namespaces(root: bool, setting: &dyn Fn(&str) -> Option<u64>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut require = |name: &str, bad: &dyn Fn(u64) -> bool, good: u64, meaning: &str| {
        if let Some(value) = setting(name).filter(|value| bad(*value)) {
            problems.push(Problem {
                what: format!("this host {meaning}: {name} is {value}"),
                remedy: format!("sudo sysctl -w {name}={good}"),
            });
        }
    };
    // Two for each run of the tool, more for parallel runs.
    require(
        "user.max_user_namespaces",
        &|value| value < 4,
        15_000,
        "allows too few user namespaces",
    );
    if !root {
        require(
            "kernel.unprivileged_userns_clone",
            &|value| value == 0,
            1,
            "allows user namespaces to root only",
        );
        let restricted = |value| value != 0;
        require(
            "kernel.apparmor_restrict_unprivileged_userns",
            &restricted,
            0,
            "restricts user namespaces by AppArmor",
        );
    }
    problems
}

/// The command that installs a package, named for each family of distributions.
pub(super) fn package_command(names: &[(&str, &str)]) -> String {
    let release = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let family = release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE="))
        .collect::<Vec<_>>()
        .join(" ");
    let found = names
        .iter()
        .find(|(name, _)| family.contains(name))
        .or(names.first());
    let (name, package) = found.copied().unwrap_or_default();
    match name {
        "fedora" => format!("sudo dnf install {package}"),
        "suse" => format!("sudo zypper install {package}"),
        "arch" => format!("sudo pacman -S {package}"),
        _ => format!("sudo apt-get install {package}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_setting_is_named_with_its_remedy() {
        let bad = |name: &str| match name {
            "kernel.apparmor_restrict_unprivileged_userns" => Some(1),
            "kernel.unprivileged_userns_clone" | "user.max_user_namespaces" => Some(0),
            _ => None,
        };
        let text = |root| {
            namespaces(root, &bad)
                .iter()
                .map(|problem| format!("{} -> {}", problem.what, problem.remedy))
                .collect::<Vec<_>>()
                .join("\n")
        };
        insta::assert_snapshot!(text(false), @r"
        this host allows too few user namespaces: user.max_user_namespaces is 0 -> sudo sysctl -w user.max_user_namespaces=15000
        this host allows user namespaces to root only: kernel.unprivileged_userns_clone is 0 -> sudo sysctl -w kernel.unprivileged_userns_clone=1
        this host restricts user namespaces by AppArmor: kernel.apparmor_restrict_unprivileged_userns is 1 -> sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
        ");
        assert_eq!(namespaces(true, &bad).len(), 1);
        assert_eq!(namespaces(false, &|_| None), []);
    }
}
