//! What packages use and do not declare, and the reverse, in words for the terminal.

use std::collections::BTreeMap;

use crate::record::{Means, PackageRecord, Record, UsageRecord};
use crate::words::clean;

/// One line about a whole run; none where there is nothing to say.
pub(super) fn summary(record: &Record) -> Option<String> {
    let usages = || {
        record
            .packages
            .iter()
            .filter_map(|package| package.usage.as_ref())
    };
    let number = |says: &dyn Fn(&UsageRecord) -> bool| usages().filter(|usage| says(usage)).count();
    let undeclared = number(&|usage| usage.to_declare().next().is_some());
    let unused = number(&|usage| usage.to_remove().next().is_some());
    let mut said = Vec::new();
    if undeclared > 0 {
        said.push(format!(
            "{} what {} not declare",
            subject(undeclared, "uses", "use"),
            if undeclared == 1 {
                "it does"
            } else {
                "they do"
            }
        ));
    }
    if unused > 0 {
        said.push(format!(
            "{} what {} not use",
            subject(unused, "asks for", "ask for"),
            if unused == 1 { "it does" } else { "they do" }
        ));
    }
    (!said.is_empty()).then(|| format!("{}: pristine show", said.join(", ")))
}

fn subject(number: usize, one: &str, several: &str) -> String {
    if number == 1 {
        format!("1 package {one}")
    } else {
        format!("{number} packages {several}")
    }
}

/// Why packages were not watched, or not fully: each reason with the packages.
pub(super) fn gaps(packages: &[PackageRecord]) -> Vec<String> {
    let mut gaps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let gap = package
            .usage
            .as_ref()
            .and_then(|usage| usage.gap.as_deref());
        if let Some(gap) = gap {
            gaps.entry(gap).or_default().push(&package.name);
        }
    }
    let told = gaps.into_iter().map(|(gap, packages)| {
        format!(
            "what {} used was not watched, or not all of it: {gap}",
            several(&packages)
        )
    });
    told.collect()
}

fn several(packages: &[&str]) -> String {
    match packages {
        [one] => format!("`{one}`"),
        all => format!("{} packages", all.len()),
    }
}

/// A package in lines: what to add to its spec, what to look at, what to remove.
pub(super) fn lines(package: &PackageRecord) -> Vec<String> {
    let Some(usage) = &package.usage else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for one in usage.to_declare() {
        let package = &one.package;
        lines.push(format!(
            "uses {package} and does not declare it; add: {}",
            one.add
        ));
        for file in &one.files {
            let by = file
                .process
                .as_ref()
                .map(|process| format!(" by {process}"));
            lines.push(format!(
                "  {} was {}{}",
                file.path,
                file.how.words(),
                by.unwrap_or_default()
            ));
        }
    }
    for one in usage.looked_for() {
        let path = one.files.first().map_or("", |file| file.path.as_str());
        lines.push(format!(
            "looks for {path} ({}) and does not declare it; if it matters, add: {}",
            one.package.name, one.add
        ));
    }
    for one in usage.to_remove() {
        lines.push(format!(
            "uses nothing of `{}`, {}",
            one.requirement, one.place
        ));
    }
    if usage.means == Means::EventsWithoutProcesses && !lines.is_empty() {
        lines.push("(which process it was, the kernel tells root alone)".to_owned());
    }
    lines.iter().map(|line| clean(line, false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{How, Undeclared, Unused, UsedFile};
    use crate::report::sample;

    fn undeclared(name: &str, path: &str, how: How, process: Option<&str>) -> Undeclared {
        Undeclared {
            package: format!("{name}-1-1.x86_64").parse().unwrap(),
            how,
            files: vec![UsedFile {
                path: path.to_owned(),
                how,
                process: process.map(str::to_owned),
            }],
            add: format!("BuildRequires: {name}"),
            with: None,
            allowed: None,
        }
    }

    fn usage() -> UsageRecord {
        let allowed = Undeclared {
            allowed: Some("why not".to_owned()),
            ..undeclared("which", "/usr/bin/which", How::Executed, None)
        };
        UsageRecord {
            means: Means::Events,
            gap: None,
            files: 3,
            packages: Vec::new(),
            undeclared: vec![
                undeclared(
                    "zlib-devel",
                    "/usr/include/zlib.h",
                    How::Opened,
                    Some("cc1"),
                ),
                allowed,
                undeclared("gettext", "/usr/bin/msgfmt", How::LookedFor, None),
            ],
            unused: vec![Unused {
                requirement: "xz >= 5".to_owned(),
                place: "packages/x/x.spec:3 (BuildRequires)".to_owned(),
                allowed: None,
            }],
        }
    }

    #[test]
    fn each_package_is_told_what_to_add_and_what_to_remove() {
        let mut package = sample::built("x", 0, 1);
        package.usage = Some(usage());
        insta::assert_snapshot!(lines(&package).join("\n"), @r"
        uses zlib-devel-1-1.x86_64 and does not declare it; add: BuildRequires: zlib-devel
          /usr/include/zlib.h was opened by cc1
        looks for /usr/bin/msgfmt (gettext) and does not declare it; if it matters, add: BuildRequires: gettext
        uses nothing of `xz >= 5`, packages/x/x.spec:3 (BuildRequires)
        ");
        package.usage = Some(UsageRecord {
            means: Means::EventsWithoutProcesses,
            ..usage()
        });
        let last = lines(&package).pop().unwrap();
        assert_eq!(last, "(which process it was, the kernel tells root alone)");
    }

    #[test]
    fn a_run_is_told_in_a_line_and_what_was_not_watched_with_its_reason() {
        let mut packages: Vec<PackageRecord> = ["a", "b", "c", "d"]
            .map(|name| sample::built(name, 0, 1))
            .to_vec();
        for package in &mut packages[..2] {
            package.usage = Some(usage());
        }
        packages[2].usage = Some(UsageRecord::untraced(
            "this backend cannot see what is opened",
        ));
        insta::assert_snapshot!(gaps(&packages).join("\n"), @"what `c` used was not watched, or not all of it: this backend cannot see what is opened");
        let mut record = sample::record("20260102-030405-1", packages);
        insta::assert_snapshot!(summary(&record).unwrap(), @"2 packages use what they do not declare, 2 packages ask for what they do not use: pristine show");
        record.packages.truncate(1);
        insta::assert_snapshot!(summary(&record).unwrap(), @"1 package uses what it does not declare, 1 package asks for what it does not use: pristine show");
        record.packages.clear();
        assert_eq!(summary(&record), None);
    }
}
