//! Snapshots handed to a real Docker Engine.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use pristine::oci::{ImageConfig, Layout};

use crate::support::engine::engine;

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
            "error: no container engine answers (DOCKER_HOST, else /var/run/docker.sock)"
        ),
        "{text}"
    );
}
