//! Every backend gives the same, and what goes wrong with an engine is told.

use super::identity::project;
use super::project::{Project, files, spec, spec_with};
use crate::conformance::{processes, wait_until};
use crate::remote::protected;
use crate::support::engine::{Engine, engine, podman};

/// Builds with an engine, in a store of its own, what native has built.
fn same_with(project: &Project, backend: &str, variables: &[(&str, String)]) {
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
    for (name, value) in variables {
        command.env(name, value);
    }
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
    same_with(&project, "docker", &[("DOCKER_HOST", engine.host())]);
}

#[test]
fn podman_gives_the_same_bytes_as_native_from_the_same_lock() {
    let (Some(project), Some(engine)) = (project(), podman()) else {
        return;
    };
    project.good(&["--backend", "native", "build"]);
    same_with(&project, "podman", &[("CONTAINER_HOST", engine.host())]);
}

#[test]
fn an_engine_without_this_machine_s_files_gives_the_same_bytes() {
    let Some(project) = project() else {
        return;
    };
    let certificates = tempfile::tempdir().unwrap();
    let hidden = project.path("other");
    fs_err::create_dir(&hidden).unwrap();
    // As on another machine: where this one has the store, that one has nothing.
    let before = format!("mount -t tmpfs none '{}'", hidden.display());
    let Some((engine, host)) = protected(certificates.path(), before) else {
        return;
    };
    project.good(&["--backend", "native", "build"]);
    let place = certificates.path().display().to_string();
    let variables = [
        ("DOCKER_HOST", host),
        ("DOCKER_TLS_VERIFY", "1".to_owned()),
        ("DOCKER_CERT_PATH", place),
    ];
    same_with(&project, "docker", &variables);
    let label = "label=io.pristine.store";
    let left = engine.docker(&["ps", "-aq", "--filter", label]);
    let volumes = engine.docker(&["volume", "ls", "-q", "--filter", label]);
    assert_eq!((left.as_str(), volumes.as_str()), ("", ""));
}

#[test]
fn an_engine_that_is_killed_in_a_build_is_told_and_the_next_run_goes_on() {
    let (Some(project), Some(_)) = (Project::new(), engine()) else {
        return;
    };
    // One of its own: others use the tests' engine.
    let engine = Engine::start("docker").unwrap();
    // Nobody else's: one that another run of the tests has left would be taken for it.
    let marker = format!("loses-its-engine-{}", std::process::id());
    let script = format!("mkfifo /tmp/never; sh -c 'read line < /tmp/never' {marker}");
    let project = project
        .package("a", &spec("a", ""))
        .package("b", &spec_with("b", "BuildRequires: a", "%build", &script));
    let mut running = project.spawn(project.docker(&engine.host(), &["build"]));
    running.until_so("b is built", || processes(&marker) > 0);
    engine.kill();
    let ran = running.wait();
    let run = project.record().run;
    let told = ran.failure().replace(&engine.host(), "ENGINE");
    // Whatever was asked of it as it dies; refused, reset, closed or a broken pipe.
    let filters = vec![
        (r"cannot [^:]+: the engine", "cannot STEP: the engine"),
        (r"any more: .*", "any more: WHY"),
    ];
    insta::with_settings!({filters => filters}, {
        insta::assert_snapshot!(told.replace(&run, "RUN"), @r"
        exit 4: error: cannot build `b` in a sandbox: cannot STEP: the engine at `ENGINE` does not answer any more: WHY
          hint: what was built is kept; to go on: pristine build --resume RUN
        ");
    });
    assert_eq!(project.outcomes(), ["a: built", "b: interrupted"]);
    engine.start_again();
    project.write("packages/b/b.spec", spec("b", "BuildRequires: a"));
    let again = project.docker(&engine.host(), &["build", "--resume", "latest"]);
    let ran = project.spawn(again).wait();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let before = format!("a: as in run {run}");
    assert_eq!(project.outcomes(), [before.as_str(), "b: built"]);
    wait_until("nothing of it runs", || processes(&marker) == 0);
    let label = "label=io.pristine.session";
    let containers = engine.docker(&["ps", "-aq", "--filter", label]);
    let volumes = engine.docker(&["volume", "ls", "-q", "--filter", label]);
    assert_eq!((containers.as_str(), volumes.as_str()), ("", ""));
}
