//! What a build may do and see, and what others can do with its results.

use std::process::{Command, Output};

use super::project::{Project, spec, spec_with};
use crate::conformance::skip;

/// Runs a program of the host; `None`, with a word about it, where there is none.
fn host(program: &str, arguments: &[&str], home: &std::path::Path) -> Option<Output> {
    match Command::new(program)
        .args(arguments)
        .env("HOME", home)
        .env("LC_ALL", "C")
        .output()
    {
        Ok(output) => Some(output),
        Err(error) => {
            skip(&format!("the host's {program}: {error}"));
            None
        }
    }
}

#[test]
fn a_build_is_alone_without_network_and_without_rights() {
    let Some(project) = Project::new() else {
        return;
    };
    project.write("secret", "of the host");
    let secret = project.path("secret").display().to_string();
    let folder = project.path("").display().to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // A shell that ends at the first error does not end at `! command`.
    let check = format!(
        "no() {{ if \"$@\"; then echo \"this worked: $*\"; exit 1; fi; }}\n\
         test \"$(id -u):$(id -g):$(id -G)\" = 1000:1000:1000\n\
         test \"$(grep -c : /proc/net/dev)\" = 1\n\
         no bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'\n\
         no test -e {secret}\nno test -e {folder}\nno test -e /home/builder\nno test -e /root/.bashrc\n\
         test \"$(cat /proc/sys/kernel/hostname)\" = pristine\n\
         test \"$(ls /proc | grep -c '^[0-9]*$')\" -lt 12\n\
         no touch /etc/x\nno touch /usr/x\ntouch /tmp/x\n\
         no mount -t tmpfs none /mnt\nno chown 0:0 /tmp/x\nno chroot / true\n\
         test -z \"$HOST_SECRET\"\n\
         grep -q '^NoNewPrivs:.*1' /proc/self/status\n\
         grep -q '^CapEff:.*0000000000000000' /proc/self/status\n\
         test \"$(id -un)\" = builder\ntest \"$HOME\" = /builddir\n\
         date -d \"@$SOURCE_DATE_EPOCH\"\n\
         no test -e /dev/kvm\nno test -e /dev/vda\ntest -c /dev/null\n"
    );
    let project = project.package("a", &spec_with("a", "", "%check", &check));
    let mut command = project.command(&["build"]);
    command.env("HOST_SECRET", "of the host");
    let ran = project.spawn(command).wait();
    let log = fs_err::read_to_string(project.run_folder().join("logs/a.log")).unwrap();
    assert_eq!(ran.code, Some(0), "{}\n{log}", ran.all());
    drop(listener);
}

#[test]
fn a_build_sees_the_project_s_packages_that_it_asks_for_and_no_traces_of_others() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package("first", &spec_with("first", "", "%build", "touch /tmp/trace /var/tmp/trace /builddir/trace"))
        .package("second", &spec_with("second", "BuildRequires: first", "%check",
            "test -e /usr/share/first/text\nfor place in /tmp /var/tmp /builddir; do test ! -e $place/trace; done\nrpm -q first"))
        .package("third", &spec_with("third", "", "%check", "test ! -e /usr/share/first\nif rpm -q first; then exit 1; fi"));
    project.good(&["build"]);
    let record = project.record();
    let second = record
        .packages
        .iter()
        .find(|package| package.name == "second")
        .unwrap();
    assert_eq!(
        second.own_packages[0].path.to_str(),
        Some("first-1-1.noarch.rpm")
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn dnf_and_rpm_of_the_host_can_use_the_results() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.package(
        "child",
        &spec("child", "BuildRequires: hello\nRequires: hello"),
    );
    project.good(&["build"]);
    let repository = project.run_folder().join("repository");
    let home = project.path("home");
    fs_err::create_dir(&home).unwrap();
    for package in project.record().packages {
        for output in package.outputs {
            let path = repository.join(&output.path);
            let bytes = fs_err::read(&path).unwrap();
            assert_eq!(pristine::digest::Digest::of(&bytes), output.sha256);
            let path = path.display().to_string();
            let Some(checked) = host("rpm", &["-K", &path], &home) else {
                return;
            };
            assert!(checked.status.success(), "{checked:?}");
        }
    }
    let cache = format!("--setopt=cachedir={}", home.join("cache").display());
    let from = format!("--repofrompath=run,file://{}", repository.display());
    let arguments = [
        "-q",
        "--repo=run",
        "--releasever=1",
        "--setopt=reposdir=/nonexistent",
        &cache,
        &from,
        "repoquery",
        "--nvr",
        "--whatrequires",
        "hello",
    ];
    let Some(found) = host("dnf", &arguments, &home) else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&found.stdout).trim(),
        "child-1-1",
        "{found:?}"
    );
}
