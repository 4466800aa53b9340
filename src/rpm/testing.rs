//! Packages and tools for tests.

use std::path::{Path, PathBuf};

/// Whether `program` is on this host. With `PRISTINE_REQUIRE_ALL=1` a missing one is an error, not a skip.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn tool(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|folder| folder.join(program).exists());
    if !found {
        assert!(
            std::env::var_os("PRISTINE_REQUIRE_ALL").is_none(),
            "`{program}` is missing"
        );
        eprintln!("skipped: `{program}` is missing");
    }
    found
}

/// A small package with one of everything.
pub(crate) fn build_package(folder: &Path, name: &str) -> PathBuf {
    let mut builder =
        rpm::PackageBuilder::new(name, "1.2~rc1", "MIT", "x86_64", "a package for tests");
    builder.epoch(1).release("3").vendor("pristine tests");
    builder.using_config(rpm::BuildConfig::v4().source_date(1_600_000_000_u32));
    let any = rpm::Dependency::any;
    builder
        .provides(any("virtual"))
        .provides(rpm::Dependency::eq("versioned", "0:2"));
    builder
        .requires(rpm::Dependency::greater_eq("needed", "1:1-1"))
        .requires(any("(a if b else c)"))
        .requires(rpm::Dependency::script_pre("shadow"));
    builder
        .conflicts(rpm::Dependency::less("enemy", "2"))
        .obsoletes(any("former"))
        .recommends(any("friend"));
    let file = format!("{name}.sh");
    builder
        .with_file_contents(
            b"#!/bin/sh\n",
            rpm::FileOptions::new(format!("/usr/bin/{file}")).permissions(0o755),
        )
        .unwrap();
    let path = folder.join(format!("{name}.rpm"));
    builder.build().unwrap().write_file(&path).unwrap();
    path
}
