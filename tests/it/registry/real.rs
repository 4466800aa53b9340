//! The program and a real registry.

use std::io::Read as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pristine::oci::Layout;

use super::images;
use crate::support::http::{Answer, Server};
use crate::support::program;
use crate::support::registry::{DockerRegistry, LOGIN, Wants};

/// A project without anything but what `snapshot` needs, and a home of its own.
struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.write(
            "pristine.toml",
            "format = 1\n[project]\nname = \"p\"\ntemplate = \"t\"\n",
        );
        project.write(
            "templates/t.toml",
            "format = 1\narchitecture = \"x86_64\"\npackages = [\"bash\"]\n\
             [[repository]]\nname = \"r\"\nbaseurl = [\"./r\"]\ntrusted = true\nreason = \"a test\"\n",
        );
        project
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.0.path().join(relative);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn layout(&self) -> Layout {
        Layout::open(&self.oci()).unwrap()
    }

    fn oci(&self) -> std::path::PathBuf {
        self.0.path().join("cache/oci")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("snapshot")
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.0.path());
        command
    }

    /// Standard output of a run that must succeed.
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Exit code and message of a run that must fail, with stable names.
    fn bad(&self, command: &mut Command, registry: &DockerRegistry) -> String {
        let output = command.output().unwrap();
        let code = output.status.code().unwrap();
        assert_ne!(code, 0);
        let home = self.0.path().to_str().unwrap();
        format!("exit {code}: {}", said(&output).trim_end())
            .replace(home, "HOME")
            .replace(&registry.address, "REGISTRY")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn login_file(registry: &DockerRegistry, password: &str) -> String {
    // `user:secret` and `user:wrong!`.
    let auth = if password == LOGIN[1] {
        "dXNlcjpzZWNyZXQ="
    } else {
        "dXNlcjp3cm9uZyE="
    };
    format!(
        "{{ \"auths\": {{ \"{}\": {{ \"auth\": \"{auth}\" }} }} }}",
        registry.address
    )
}

#[test]
fn a_snapshot_goes_through_a_registry() {
    let Some(registry) = DockerRegistry::start(Wants::default()) else {
        return;
    };
    let (first, second) = (Project::new(), Project::new());
    let (_, image) = images::layout(&first.oci(), "one");
    let name = format!("http://{}/team/env:nightly", registry.address);
    let digest = image.manifest.to_string();
    let pinned = format!("http://{}/team/env@{digest}", registry.address);
    assert_eq!(first.good(&["push", &name, "--snapshot", ""]), pinned);
    // All of it is there already, and that is no error.
    assert_eq!(
        first.good(&["push", &name, "--snapshot", &image.manifest.short()]),
        pinned
    );
    assert_eq!(second.good(&["pull", &name]), digest);
    assert_eq!(
        second.layout().image(&image.manifest).unwrap().reference,
        image
    );
    assert!(second.good(&["list"]).contains(&image.manifest.short()));
    // Everything is there already.
    assert_eq!(second.good(&["pull", &pinned]), digest);
    // A tag that moves on.
    let moved = Project::new();
    let (_, newer) = images::layout(&moved.oci(), "two");
    moved.good(&["push", &name, "--snapshot", ""]);
    assert_eq!(second.good(&["pull", &name]), newer.manifest.to_string());
    assert_eq!(second.good(&["pull", &pinned]), digest);
    let none = |name: &str| {
        let name = name.replace("ADDRESS", &registry.address);
        second.bad(&mut second.command(&["pull", &name]), &registry)
    };
    insta::assert_snapshot!(none("http://ADDRESS/team/env:never"), @"
    exit 2: error: `http://REGISTRY/team/env:never` is not in the registry
      hint: look at the name; registries also say this of images that they do not show to you
    ");
    insta::assert_snapshot!(none(&format!("http://ADDRESS/team/env@sha256:{}", "0".repeat(64))), @"
    exit 2: error: `http://REGISTRY/team/env@sha256:0000000000000000000000000000000000000000000000000000000000000000` is not in the registry
      hint: look at the name; registries also say this of images that they do not show to you
    ");
    // Plain HTTP is not tried unless it is asked for, not on the loopback either.
    insta::assert_snapshot!(none("ADDRESS/team/env:nightly"), @"
    exit 4: error: the registry `REGISTRY` does not speak TLS
      hint: where that is as it should be: `http://` before the image's name asks it without
    ");
}

#[test]
fn a_registry_that_cannot_be_reached_is_named() {
    let Some(registry) = DockerRegistry::start(Wants::default()) else {
        return;
    };
    let project = Project::new();
    let name = format!("http://{}/team/env:nightly", registry.address);
    let mut command = project.command(&["pull", &name]);
    let address = registry.address.clone();
    drop(registry);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let text = said(&output);
    assert!(
        text.contains(&address) && text.contains("4 tries"),
        "{text}"
    );
}

/// A registry that asks who one is, a project with an image, and a name for that there.
fn login_needed() -> Option<(DockerRegistry, Project, String)> {
    let registry = DockerRegistry::start(Wants {
        login: true,
        tls: false,
    })?;
    let project = Project::new();
    images::layout(&project.oci(), "one");
    let name = format!("http://{}/team/env:nightly", registry.address);
    Some((registry, project, name))
}

#[test]
fn credentials_come_from_the_files_of_docker_and_podman() {
    let Some((registry, project, name)) = login_needed() else {
        return;
    };
    let push = || project.command(&["push", &name, "--snapshot", ""]);
    insta::assert_snapshot!(project.bad(&mut push(), &registry), @"
    exit 4: error: the registry refused access to `http://REGISTRY/team/env:nightly`: no credentials for it in `HOME/.config/containers/auth.json`, `HOME/.docker/config.json`
      hint: log in first: podman login REGISTRY, or docker login REGISTRY
    ");
    project.write(".docker/config.json", &login_file(&registry, "wrong!"));
    insta::assert_snapshot!(project.bad(&mut push(), &registry), @"
    exit 4: error: the registry refused access to `http://REGISTRY/team/env:nightly`: the credentials in `HOME/.docker/config.json` were refused
      hint: log in first: podman login REGISTRY, or docker login REGISTRY
    ");
    project.write(".docker/config.json", "{ \"auths\": ");
    insta::assert_snapshot!(project.bad(&mut push(), &registry), @"exit 4: error: cannot use the credentials in `HOME/.docker/config.json`: EOF while parsing a value at line 1 column 11");
    fs_err::remove_file(project.0.path().join(".docker/config.json")).unwrap();

    let good = login_file(&registry, LOGIN[1]);
    let works = |file: &str, set: Option<(&str, &str)>| {
        project.write(file, &good);
        let mut command = project.command(&["pull", &name]);
        command.envs(set.map(|(variable, value)| (variable, project.0.path().join(value))));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{file}: {}", said(&output));
        fs_err::remove_file(project.0.path().join(file)).unwrap();
        // Without the file it does not: nothing else had them.
        assert!(
            !project
                .command(&["pull", &name])
                .output()
                .unwrap()
                .status
                .success()
        );
    };
    project.write("auth.json", &good);
    let pushed = push()
        .env("REGISTRY_AUTH_FILE", project.0.path().join("auth.json"))
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", said(&pushed));
    works(".docker/config.json", None);
    works("other/config.json", Some(("DOCKER_CONFIG", "other")));
    works(".config/containers/auth.json", None);
    works("run/containers/auth.json", Some(("XDG_RUNTIME_DIR", "run")));
}

#[test]
fn credential_helpers_are_asked() {
    let Some((registry, project, name)) = login_needed() else {
        return;
    };
    let helper = |script: &str| {
        let path = project.0.path().join("docker-credential-trial");
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let mut command = project.command(&["push", &name, "--snapshot", ""]);
        command.env(
            "PATH",
            format!(
                "{}:{}",
                project.0.path().display(),
                std::env::var("PATH").unwrap()
            ),
        );
        command
    };
    let answer = format!(
        "read asked; [ \"$1 $asked\" = \"get {}\" ] && echo '{{\"Username\":\"{}\",\"Secret\":\"{}\"}}'",
        registry.address, LOGIN[0], LOGIN[1]
    );
    let by_name = format!(
        "{{ \"credHelpers\": {{ \"{}\": \"trial\" }} }}",
        registry.address
    );
    for file in [by_name.as_str(), "{ \"credsStore\": \"trial\" }"] {
        project.write(".docker/config.json", file);
        let output = helper(&answer).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let none = "read asked; echo credentials not found in native keychain; exit 1";
        assert!(
            project
                .bad(&mut helper(none), &registry)
                .contains("no credentials for it")
        );
    }
    insta::assert_snapshot!(project.bad(&mut helper("read asked; echo locked >&2; exit 1"), &registry), @"exit 4: error: cannot use the credentials in `HOME/.docker/config.json`: its helper `docker-credential-trial` failed: locked");
}

#[test]
fn tls_is_trusted_with_the_right_ca_alone() {
    let wants = Wants {
        login: true,
        tls: true,
    };
    let Some(registry) = DockerRegistry::start(wants) else {
        return;
    };
    let project = Project::new();
    let (_, image) = images::layout(&project.oci(), "one");
    project.write(".docker/config.json", &login_file(&registry, LOGIN[1]));
    let name = format!("{}/team/env:nightly", registry.address);
    let push = |ca: Option<&Path>| {
        let mut command = project.command(&["push", &name, "--snapshot", ""]);
        command.envs(ca.map(|ca| ("SSL_CERT_FILE", ca)));
        command
    };
    insta::assert_snapshot!(project.bad(&mut push(None), &registry), @"
    exit 4: error: no trusted connection to the registry `REGISTRY`: invalid peer certificate: UnknownIssuer
      hint: if the registry has a CA of its own, install its certificate, or name it: SSL_CERT_FILE=/path/to/ca.pem
    ");
    let output = push(Some(&registry.ca())).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let second = Project::new();
    second.write(".docker/config.json", &login_file(&registry, LOGIN[1]));
    let mut pull = second.command(&["pull", &name]);
    let output = pull.env("SSL_CERT_FILE", registry.ca()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        second.layout().image(&image.manifest).unwrap().reference,
        image
    );
}

/// Passes connections on to a registry; of the first ones, only so many bytes.
fn shaky(registry: &DockerRegistry, connections: usize, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = registry.address.clone();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
            let limit = if number < connections {
                bytes
            } else {
                u64::MAX
            };
            let (mut from, mut into) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _gone = std::io::copy(&mut from, &mut into);
                let _gone = into.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || {
                let mut into = &server;
                let _gone = std::io::copy(&mut (&client).take(limit), &mut into);
                let _gone = server.shutdown(Shutdown::Both);
                let _gone = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_push_over_a_shaky_line_succeeds() {
    let Some(registry) = DockerRegistry::start(Wants::default()) else {
        return;
    };
    let project = Project::new();
    let (_, image) = images::layout(&project.oci(), "one");
    let name = format!("http://{}/team/env:1", shaky(&registry, 3, 200_000));
    project.good(&["push", &name, "--snapshot", ""]);
    let second = Project::new();
    let name = format!("http://{}/team/env:1", registry.address);
    assert_eq!(second.good(&["pull", &name]), image.manifest.to_string());
}

#[test]
fn an_interrupted_pull_leaves_nothing() {
    let (asked, hears) = std::sync::mpsc::channel();
    let server = Server::start(move |request| {
        let Some(name) = request.path.strip_prefix("v2/env/") else {
            return Answer::whole(b"{}");
        };
        if name.starts_with("manifests/") {
            let digest = pristine::digest::Digest::of(b"");
            let entry = |kind: &str| {
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":9000}}"#
                )
            };
            let config = entry("config.v1+json");
            let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
            return Answer::whole(manifest.as_bytes());
        }
        asked.send(()).unwrap();
        Answer::whole(&[0; 9000]).stall(4000)
    });
    let project = Project::new();
    let name = format!("{}/env:1", server.origin());
    let mut command = project.command(&["pull", &name]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    hears.recv().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left = |folder: &str| {
        fs_err::read_dir(project.oci().join(folder))
            .unwrap()
            .count()
    };
    assert_eq!((left("tmp"), left("blobs/sha256")), (0, 0));
}
