//! Snapshots handed to a real Docker Engine.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use pristine::backend::docker::{Address, Brand, Docker};
use pristine::backend::{Backend as _, Io, RootId};
use pristine::cancel::Cancel;
use pristine::oci::{ImageConfig, Layout};

use crate::conformance::fixture;
use crate::support::engine::{Engine, docker, engine};
use crate::support::http::{Answer, Server};

/// A project whose store has one snapshot, of one file.
fn project(folder: &Path) {
    let text = "format = 1\n[project]\nname = \"p\"\ntemplate = \"t\"\n";
    fs_err::write(folder.join("pristine.toml"), text).unwrap();
    let list = pristine(folder)
        .args(["snapshot", "list"])
        .output()
        .unwrap();
    assert!(
        list.status.success(),
        "{}",
        String::from_utf8_lossy(&list.stderr)
    );
    let layout = Layout::open(&folder.join("cache/oci")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(3);
    header.set_mode(0o640);
    header.set_uid(7);
    header.set_gid(8);
    tar.append_data(&mut header, "etc/hello", &b"hi\n"[..])
        .unwrap();
    let mut writer = layout.layer_writer().unwrap();
    writer.write_all(&tar.into_inner().unwrap()).unwrap();
    let layer = writer.finish().unwrap();
    let config = ImageConfig {
        architecture: "x86_64".to_owned(),
        epoch: 0,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]),
        labels: BTreeMap::from([("io.pristine.lock".to_owned(), "sha256:1".to_owned())]),
        history: vec!["one file".to_owned()],
    };
    layout.write_image(&[layer], &config).unwrap();
}

fn pristine(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pristine"));
    command.arg("-C").arg(folder).env_remove("PRISTINE_STORE");
    command
}

#[test]
fn a_snapshot_is_loaded_into_docker() {
    let Some(engine) = engine() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let load = pristine(folder.path())
        .args(["snapshot", "load", "team/env:today", "--snapshot", ""])
        .env("DOCKER_HOST", engine.host())
        .output()
        .unwrap();
    assert!(
        load.status.success(),
        "{}",
        String::from_utf8_lossy(&load.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&load.stdout), "team/env:today\n");
    let config = engine.docker(&[
        "image",
        "inspect",
        "team/env:today",
        "--format",
        "{{json .Config}}",
    ]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["Labels"]["io.pristine.lock"], "sha256:1");
    assert_eq!(config["Env"][0], "PATH=/usr/bin");
    let container = engine.docker(&["create", "--network=none", "team/env:today", "/none"]);
    let archive = folder.path().join("export.tar");
    engine.docker(&[
        "export",
        container.trim(),
        "--output",
        &archive.display().to_string(),
    ]);
    let mut archive = tar::Archive::new(fs_err::File::open(&archive).unwrap());
    let found = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap() == Path::new("etc/hello"));
    let header = found.unwrap().header().clone();
    assert_eq!(
        (
            header.mode().unwrap() & 0o7777,
            header.uid().unwrap(),
            header.gid().unwrap()
        ),
        (0o640, 7, 8)
    );
}

#[test]
fn without_an_engine_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let load = pristine(folder.path())
        .args(["snapshot", "load", "env", "--snapshot", ""])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .unwrap();
    assert_eq!(load.status.code(), Some(4));
    let text = String::from_utf8_lossy(&load.stderr).into_owned();
    assert!(
        text.starts_with(
            "error: no container engine takes the snapshot: Docker Engine is not running: there is no socket `/nowhere/docker.sock`"
        ),
        "{text}"
    );
}

/// What `doctor` says about Docker with this `DOCKER_HOST`, as this user.
fn doctor(host: &str, user: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs_err::set_permissions(folder.path(), everybody).unwrap();
    let program = folder.path().join("pristine");
    // Where that user can run it.
    fs_err::copy(crate::support::program(), &program).unwrap();
    let mut command = match user {
        None => Command::new(&program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", user, "--regid", user, "--clear-groups"])
                .arg(&program);
            command
        }
    };
    let output = command
        .args(["--backend", "docker", "-C"])
        .arg(folder.path())
        .arg("doctor")
        .env("DOCKER_HOST", host)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let from = text
        .find("docker: ")
        .unwrap_or_else(|| panic!("{output:?}"));
    let to = text.find("podman: ").unwrap();
    format!("{}exit {}", &text[from..to], output.status.code().unwrap())
}

#[test]
fn doctor_says_what_is_wrong_with_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let host = format!("unix://{}", socket.display());
    let plain = |text: &str| text.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(plain(&doctor(&host, None)), @r"
    docker: does not work
      Docker Engine is not running: there is no socket `FOLDER/socket`
        to mend it: install Docker Engine (`sudo apt-get install docker.io`) and start it: `sudo systemctl start docker`; or name another by DOCKER_HOST
    exit 4
    ");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    insta::assert_snapshot!(plain(&doctor(&host, None)), @r"
    docker: does not work
      Docker Engine is not running: nobody listens on the socket `FOLDER/socket`
        to mend it: install Docker Engine (`sudo apt-get install docker.io`) and start it: `sudo systemctl start docker`; or name another by DOCKER_HOST
    exit 4
    ");
    insta::assert_snapshot!(doctor("udp://example", None), @r"
    docker: does not work
      `udp://example` is not the address of an engine
        to mend it: addresses are unix:///PATH, tcp://HOST:PORT and ssh://USER@HOST
    exit 4
    ");
    let server = Server::start(|request| {
        if request.path.contains("version") {
            Answer::whole(br#"{"Version": "19.03.15", "ApiVersion": "1.40"}"#)
        } else {
            Answer::status(404)
        }
    });
    let host = server.origin().replace("http://", "tcp://");
    insta::assert_snapshot!(doctor(&host, None).replace(&host, "HOST"), @r"
    docker: does not work
      Docker Engine at `HOST` is too old: it speaks API 1.40, and 1.41 is needed
        to mend it: install Docker Engine 20.10 or newer, or Podman 4 or newer
    exit 4
    ");
}

#[test]
fn doctor_tells_who_may_not_use_the_socket() {
    let Some(engine) = engine() else {
        return;
    };
    insta::assert_snapshot!(doctor(&engine.host(), None), @r"
    docker: works
      root inside is root outside, with fewer rights
    exit 0
    ");
    let socket = engine.folder().join("socket").display().to_string();
    // So that the socket itself is what refuses.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(engine.folder(), mode).unwrap();
    insta::assert_snapshot!(doctor(&engine.host(), Some("65534")).replace(&socket, "SOCKET"), @r"
    docker: does not work
      this user may not use the socket `SOCKET` of Docker Engine
        to mend it: `sudo usermod -aG docker $USER`, then log in again (this group is as good as root); or use the native backend, which needs no such right
    exit 4
    ");
}

/// A backend on an engine, with a small root.
fn backend(host: &str, store: &Path) -> (Docker, RootId) {
    let address = Address::parse(Brand::Docker, host).unwrap();
    let backend = Docker::open_with(store, &address, &crate::support::program()).unwrap();
    let base = backend.scratch_id();
    backend
        .import(&base, &mut std::io::Cursor::new(fixture::small_root()))
        .unwrap();
    (backend, base)
}

/// Runs a command that does not end, and does something as soon as it runs; gives the error, with its cause.
fn broken(clone: &mut dyn pristine::backend::Clone, act: &mut dyn FnMut()) -> String {
    let mut output = |_stream, _bytes: &[u8]| act();
    let io = Io {
        stdin: None,
        output: &mut output,
        cancel: &Cancel::new().unwrap(),
    };
    let command = fixture::shell("echo up; sleep 95.5");
    let error = clone.run(&command, io).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    format!("{error}: {cause}")
}

fn containers(host: &str, store: &Path) -> Vec<String> {
    let id = fs_err::read_to_string(store.join("docker/id")).unwrap();
    let filter = format!("label=io.pristine.store={id}");
    let listed = docker(host, &["ps", "-aq", "--filter", &filter]);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn containers_that_others_end_are_errors_and_the_next_run_works() {
    let Some(engine) = engine() else {
        return;
    };
    let store = tempfile::tempdir().unwrap();
    let host = engine.host();
    let (backend, base) = backend(&host, store.path());
    for (arguments, expected) in [
        (
            vec!["rm", "-f"],
            "cannot follow the command: its container was removed by someone else",
        ),
        (
            vec!["kill"],
            "cannot follow the command: its container was killed from outside (exit code 137)",
        ),
    ] {
        let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
        let mut act = || {
            let all = containers(&host, store.path());
            let ids = all.iter().map(String::as_str);
            docker(
                &host,
                &arguments.iter().copied().chain(ids).collect::<Vec<_>>(),
            );
        };
        assert_eq!(broken(&mut *clone, &mut act), expected);
        clone.destroy().unwrap();
        assert_eq!(containers(&host, store.path()), Vec::<String>::new());
        let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
        assert_eq!(
            fixture::run(&mut *clone, &fixture::shell("echo again")).text(),
            "again"
        );
        clone.destroy().unwrap();
    }
    backend.remove(&base).unwrap();
    let id = fs_err::read_to_string(store.path().join("docker/id")).unwrap();
    let images = engine.docker(&["images", "-q", &format!("localhost/pristine/{id}")]);
    assert_eq!(images, "", "nothing is left");
}

#[test]
fn an_engine_that_ends_in_the_middle_is_an_error() {
    if engine().is_none() {
        return;
    }
    // One of its own: others use the tests' engine.
    let engine = Engine::start("docker").unwrap();
    let store = tempfile::tempdir().unwrap();
    let (backend, base) = backend(&engine.host(), store.path());
    let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
    let pid = engine.pid();
    let mut act = || {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        // When its socket is gone it has stopped its containers and answers nobody any more.
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        if let Ok(handle) = handle {
            let mut poll = [rustix::event::PollFd::new(
                &handle,
                rustix::event::PollFlags::IN,
            )];
            rustix::event::poll(&mut poll, None).unwrap();
        }
    };
    let error = broken(&mut *clone, &mut act);
    let expected = format!("the engine at `{}` does not answer any more", engine.host());
    assert!(error.contains(&expected), "{error}");
    assert!(clone.destroy().is_err());
    assert_eq!(super::conformance::processes("95.5"), 0);
}
