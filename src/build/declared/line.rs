//! The line for a spec that declares a package, in the form that says best what is used of it.

use crate::record::UsedFile;
use crate::rpm::{Dependency, PackageFacts};

/// Where pkg-config looks.
const PKG_CONFIG: &str = "/pkgconfig/";
/// Where programs are; their paths are known to every repository's metadata.
const PROGRAMS: [&str; 4] = ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"];

/// `BuildRequires: …` for a package of which these files were used.
pub(super) fn to_add(facts: &PackageFacts, used: &[&UsedFile]) -> String {
    let capabilities = used.iter().filter_map(|file| provided(facts, &file.path));
    let best = capabilities.min_by_key(|(rank, _)| *rank);
    let capability = best
        .map(|(_, capability)| capability)
        .or_else(|| program(facts, used))
        .unwrap_or_else(|| facts.nevra.name.clone());
    format!("BuildRequires: {capability}")
}

/// The capability by which a distribution's specs ask for such a file, where the package provides it.
fn provided(facts: &PackageFacts, path: &str) -> Option<(u8, String)> {
    let has = |capability: &str| {
        let mut provides = facts.provides.iter();
        provides.any(|provided| provided.name() == capability)
    };
    let (folder, file) = path.rsplit_once('/')?;
    if let Some(module) = file.strip_suffix(".pc")
        && format!("{folder}/").ends_with(PKG_CONFIG)
    {
        return Some((0, format!("pkgconfig({module})"))).filter(|(_, text)| has(text));
    }
    let cmake = file.strip_suffix("Config.cmake");
    if let Some(module) = cmake.or_else(|| file.strip_suffix("-config.cmake")) {
        return Some((1, format!("cmake({module})"))).filter(|(_, text)| has(text));
    }
    if let Some(path) = path.strip_suffix(".pm") {
        let path = path.replace('/', "::");
        let modules = facts.provides.iter().map(Dependency::name);
        let module = modules
            .filter_map(|name| name.strip_prefix("perl(")?.strip_suffix(')'))
            .filter(|module| path.ends_with(&format!("::{module}")))
            .max_by_key(|module| module.len());
        return module.map(|module| (2, format!("perl({module})")));
    }
    if path.contains("/site-packages/") || path.contains("/dist-packages/") {
        let mut names = facts.provides.iter().map(Dependency::name);
        let dist = names.find(|name| name.starts_with("python3dist("));
        return dist.map(|dist| (3, dist.to_owned()));
    }
    None
}

/// The path of a program, where programs are all that was used and none has the package's name.
fn program(facts: &PackageFacts, used: &[&UsedFile]) -> Option<String> {
    let is_program = |file: &&UsedFile| {
        let folder = PROGRAMS
            .iter()
            .find(|folder| file.path.starts_with(*folder));
        folder.is_some_and(|folder| !file.path[folder.len()..].contains('/'))
    };
    let named = |file: &&UsedFile| file.path.ends_with(&format!("/{}", facts.nevra.name));
    let programs = used.to_vec();
    if !programs.iter().all(is_program) || programs.iter().any(named) {
        return None;
    }
    Some(programs.first()?.path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::How;
    use crate::rpm::Dependency;

    #[test]
    fn each_kind_of_file_has_its_form() {
        let line = |name: &str, provides: &[&str], files: &[&str]| {
            let mut facts = PackageFacts::new(format!("{name}-1-1.x86_64").parse().unwrap());
            facts.provides = provides
                .iter()
                .map(|text| text.parse::<Dependency>().unwrap())
                .collect();
            let files: Vec<UsedFile> = files
                .iter()
                .map(|path| UsedFile {
                    path: (*path).to_owned(),
                    how: How::Opened,
                    process: None,
                })
                .collect();
            to_add(&facts, &files.iter().collect::<Vec<_>>())
        };
        let told = [
            line(
                "zlib-devel",
                &["pkgconfig(zlib) = 1.3"],
                &["/usr/include/zlib.h", "/usr/lib64/pkgconfig/zlib.pc"],
            ),
            line("zlib-devel", &["pkgconfig(zlib)"], &["/usr/include/zlib.h"]),
            line("odd", &[], &["/usr/lib64/pkgconfig/odd.pc"]),
            line(
                "fmt-devel",
                &["cmake(fmt)"],
                &["/usr/lib64/cmake/fmt/fmt-config.cmake"],
            ),
            line(
                "perl-Foo",
                &["perl(Bar)", "perl(Foo::Bar)"],
                &["/usr/share/perl5/vendor_perl/Foo/Bar.pm"],
            ),
            line(
                "python3-six",
                &["python3dist(six) = 1.16"],
                &["/usr/lib/python3.13/site-packages/six.py"],
            ),
            line("gawk", &[], &["/usr/bin/gawk", "/usr/bin/awk"]),
            line("shadow-utils", &[], &["/usr/sbin/useradd"]),
            line("words", &[], &["/usr/share/dict/words", "/usr/bin/look"]),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        BuildRequires: pkgconfig(zlib)
        BuildRequires: zlib-devel
        BuildRequires: odd
        BuildRequires: cmake(fmt)
        BuildRequires: perl(Foo::Bar)
        BuildRequires: python3dist(six)
        BuildRequires: gawk
        BuildRequires: /usr/sbin/useradd
        BuildRequires: words
        ");
    }
}
