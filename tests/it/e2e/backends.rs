//! Every backend gives the same, and what goes wrong with an engine is told.

use super::identity::project;
use super::project::{Project, files};
use crate::support::engine::{engine, podman};

/// Builds with an engine, in a store of its own, what native has built.
fn same_with(project: &Project, backend: &str, variable: (&str, String)) {
    let repository = |project: &Project| files(&project.run_folder().join("repository"));
    let (native, built) = (project.record(), repository(project));
    let arguments = [
        "--backend",
        backend,
        "--store",
        "other",
        "build",
        "--locked",
    ];
    let mut command = project.command(&arguments);
    command.env(variable.0, variable.1);
    let ran = project.spawn(command).wait();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let (cache, other) = (project.path("cache"), project.path("other"));
    fs_err::rename(&cache, project.path("native")).unwrap();
    fs_err::rename(&other, &cache).unwrap();
    let made = project.record();
    assert_eq!(made.environment, native.environment);
    // Podman writes accounts of its own into a tree that has none, as this one, while a recipe runs.
    assert!(backend == "podman" || made.snapshot == native.snapshot);
    assert!(!built.is_empty() && built == repository(project));
    fs_err::remove_dir_all(&cache).unwrap();
    fs_err::rename(project.path("native"), &cache).unwrap();
}

#[test]
fn docker_gives_the_same_bytes_as_native_from_the_same_lock() {
    let (Some(project), Some(engine)) = (project(), engine()) else {
        return;
    };
    project.good(&["--backend", "native", "build"]);
    same_with(&project, "docker", ("DOCKER_HOST", engine.host()));
}

#[test]
fn podman_gives_the_same_bytes_as_native_from_the_same_lock() {
    let (Some(project), Some(engine)) = (project(), podman()) else {
        return;
    };
    project.good(&["--backend", "native", "build"]);
    same_with(&project, "podman", ("CONTAINER_HOST", engine.host()));
}
