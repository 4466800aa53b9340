//! Every backend gives the same, and what goes wrong with an engine is told.

use std::process::Command;

use super::identity::project;
use super::project::{Project, files};
use crate::support::engine::engine;

/// The program with an engine to use.
fn with_engine(project: &Project, host: &str, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.env("DOCKER_HOST", host);
    command
}

#[test]
fn docker_gives_the_same_bytes_as_native_from_the_same_lock() {
    let (Some(project), Some(engine)) = (project(), engine()) else {
        return;
    };
    project.good(&["--backend", "native", "build"]);
    let repository = |project: &Project| files(&project.run_folder().join("repository"));
    let (native, built) = (project.record(), repository(&project));
    // A store of its own: nothing is taken over.
    let arguments = [
        "--backend",
        "docker",
        "--store",
        "other",
        "build",
        "--locked",
    ];
    let ran = project
        .spawn(with_engine(&project, &engine.host(), &arguments))
        .wait();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    fs_err::rename(project.path("cache"), project.path("first")).unwrap();
    fs_err::rename(project.path("other"), project.path("cache")).unwrap();
    let docker = project.record();
    assert_eq!(docker.environment, native.environment);
    assert_eq!(docker.snapshot, native.snapshot);
    assert!(!built.is_empty() && built == repository(&project));
}
