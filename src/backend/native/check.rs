//! What this host must allow, and what mends it where it does not.

use rustix::process::geteuid;

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
    let mut problems = namespaces(geteuid().is_root(), &|name| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs_err::read_to_string(path).ok()?.trim().parse().ok()
    });
    match Ids::of_caller() {
        Ok(ids) if ids.direct() => {}
        Ok(_) => problems.extend(helpers_missing()),
        Err(missing) => problems.extend(missing.into_iter().chain(helpers_missing())),
    }
    problems
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
