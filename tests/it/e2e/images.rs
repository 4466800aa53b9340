//! Environments that begin with an image or a root archive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use pristine::digest::Digest;
use pristine::documents::Lock;
use pristine::documents::lock::{BaseOrigin, LockedBase};
use pristine::oci::{Image, ImageConfig, Layout};
use pristine::record::Record;
use pristine::registry::{CredentialFiles, Registry, RegistryOptions};

use super::project::{OTHER_STORE, Project, files, spec, spec_with};
use crate::support::packages::package;
use crate::support::registry::{DockerRegistry, Wants};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What one build from repositories gave: the image that the others begin with.
struct First {
    archive: Vec<u8>,
    record: Record,
    lock: Lock,
    repository: BTreeMap<PathBuf, Vec<u8>>,
}

/// Built once for all tests. `None`, with a word about why, where there is no distribution.
fn first() -> Option<&'static First> {
    static FIRST: OnceLock<Option<First>> = OnceLock::new();
    let make = || {
        let project = Project::hello()?;
        project.good(&["build"]);
        let archive = project.path("archive.tar");
        project.good(&["snapshot", "export", archive.to_str().unwrap()]);
        Some(First {
            archive: fs_err::read(archive).unwrap(),
            record: project.record(),
            lock: lock(&project),
            repository: files(&project.run_folder().join("repository")),
        })
    };
    FIRST.get_or_init(make).as_ref()
}

impl First {
    /// Pushes the image, in the form that `change` gives it.
    fn push(&self, name: &str, change: impl FnOnce(&Layout, &Image) -> Image) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        let image = layout.import_archive(&mut self.archive.as_slice()).unwrap();
        let image = change(&layout, &layout.image(&image.manifest).unwrap());
        let options = RegistryOptions {
            credentials: CredentialFiles::default(),
            ..RegistryOptions::default()
        };
        let client = Registry::open(&name.parse().unwrap(), options).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime
            .block_on(client.push(&layout, &image, &pristine::events::Silent))
            .unwrap();
    }
}

/// The same in a registry of the test's own, under the name `team/env:1`, and that name.
fn published() -> Option<(DockerRegistry, &'static First, String)> {
    let registry = DockerRegistry::start(Wants::default())?;
    let first = first()?;
    let name = format!("http://{}/team/env:1", registry.address);
    first.push(&name, |_, image| image.clone());
    Some((registry, first, name))
}

/// A project of one package whose template has `base` and nothing else.
fn upon(base: &str) -> Option<Project> {
    let project = Project::hello()?;
    project.write(
        "templates/base.toml",
        format!("format = 1\narchitecture = \"x86_64\"\n{base}\n"),
    );
    Some(project)
}

fn lock(project: &Project) -> Lock {
    Lock::load(&project.path("")).unwrap()
}

fn base(project: &Project) -> LockedBase {
    lock(project).base.unwrap()
}

fn manifest(project: &Project) -> String {
    match base(project).origin {
        BaseOrigin::Image { manifest, .. } => manifest.to_string(),
        other @ BaseOrigin::Rootfs { .. } => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_pulled_locked_and_built_in() {
    let Some((registry, first, name)) = published() else {
        return;
    };
    let second = upon(&format!("image = \"{name}\"")).unwrap();
    // A tag may be another image tomorrow.
    let refused = second
        .run(&["build"])
        .failure()
        .replace(&registry.address, "REGISTRY");
    insta::assert_snapshot!(refused, @"
    exit 3: error: the template `base` names the image `http://REGISTRY/team/env:1` by a tag, and pristine.lock has no digest of it
      hint: look which image it is now, and write its digest into the lock: pristine lock
    ");
    second.good(&["lock"]);
    let snapshot = first.record.snapshot;
    assert_eq!(manifest(&second), snapshot.to_string());
    let locked = lock(&second);
    let (own, others) = (locked.base.as_ref().unwrap(), &first.lock);
    assert_eq!(own.layers.len(), 1);
    assert_eq!(Some(own.layers[0].diff_id), others.environment.tree);
    assert_eq!(locked.environment.tree, others.environment.tree);
    let mut names: Vec<_> = others
        .environment
        .rpms
        .iter()
        .map(|rpm| rpm.nevra.clone())
        .collect();
    names.sort();
    let mut installed: Vec<_> = own.installed.iter().map(|rpm| rpm.nevra.clone()).collect();
    installed.sort();
    assert_eq!(installed, names);
    assert!(locked.environment.rpms.is_empty() && locked.tools.packages.is_empty());

    second.good(&["build", "--locked"]);
    let record = second.record();
    assert_eq!(record.base.as_ref().unwrap().digest, snapshot);
    assert_eq!(record.base.unwrap().name, name);
    assert_eq!(record.installed, names);
    let repository = files(&second.run_folder().join("repository"));
    assert!(first.repository == repository, "the packages differ");
    let shell = second.good(&["enter", "--", "rpm", "-q", "bash"]);
    assert!(shell.out.starts_with("bash-"), "{}", shell.all());

    // Without the registry, what is in the store is enough; without both, the registry is named.
    let address = registry.address.clone();
    drop(registry);
    second.good(&["build", "--locked"]);
    let elsewhere = second.path(OTHER_STORE);
    let ran = second.run(&["--store", elsewhere.to_str().unwrap(), "build", "--locked"]);
    assert_eq!(ran.code, Some(4), "{}", ran.all());
    assert!(ran.err.contains(&address), "{}", ran.all());
}

#[test]
fn a_tag_stays_resolved_until_it_may_move() {
    let Some((_registry, _, name)) = published() else {
        return;
    };
    let second = upon(&format!("image = \"{name}\"")).unwrap();
    second.good(&["lock"]);
    let text = second.read("pristine.lock");
    let third = Project::hello().unwrap();
    third.write(
        "recipes/own.toml",
        "format = 1\n[[file]]\npath = \"/etc/own\"\ncontent = \"own\\n\"\n",
    );
    third.edit(
        "pristine.toml",
        "template = \"base\"",
        "template = \"base\"\nrecipe = \"own\"",
    );
    third.good(&["build"]);
    third.good(&["snapshot", "push", &name]);
    second.good(&["lock"]);
    assert_eq!(second.read("pristine.lock"), text);
    second.good(&["build", "--locked"]);
    second.good(&["update"]);
    assert_eq!(manifest(&second), third.record().snapshot.to_string());
    assert_eq!(base(&second).layers.len(), 2);
    second.good(&["build", "--locked"]);
}

#[test]
fn a_lock_of_another_image_is_refused() {
    let Some((registry, _, name)) = published() else {
        return;
    };
    let second = upon(&format!("image = \"{name}\"")).unwrap();
    second.good(&["lock"]);
    let text = second.read("pristine.lock");
    let digest = manifest(&second);
    let none = format!("sha256:{}", "0".repeat(64));
    second.write("pristine.lock", text.replace(&digest, &none));
    let gone = second.run(&["build", "--locked"]).failure();
    insta::assert_snapshot!(gone.replace(&registry.address, "REGISTRY"), @"
    exit 2: error: `http://REGISTRY/team/env@sha256:0000000000000000000000000000000000000000000000000000000000000000` is not in the registry
      hint: look at the name; registries also say this of images that they do not show to you
    ");
    let diff_id = base(&second).layers[0].diff_id.to_string();
    second.write(
        "pristine.lock",
        text.replace(
            &format!("diff_id = \"{diff_id}"),
            &format!("diff_id = \"{none}"),
        ),
    );
    insta::assert_snapshot!(second.run(&["build", "--locked"]).failure(), @"
    exit 3: error: the layers of the base are not those in pristine.lock
      hint: the lock was changed by hand: restore it from git, or write it anew: pristine lock
    ");
    // Another tree than the one in the lock.
    second.write(
        "pristine.lock",
        text.replace(&format!("tree = \"{diff_id}"), &format!("tree = \"{none}")),
    );
    let other = second.run(&["build", "--locked"]);
    assert_eq!(other.code, Some(3), "{}", other.all());
    assert!(
        other.err.contains("differs from the lock"),
        "{}",
        other.all()
    );
    second.write("pristine.lock", text);
    second.good(&["build", "--locked"]);
}

/// The same image as Docker wrote them before there was OCI: its media types, layers packed with gzip.
fn in_docker_s_form(layout: &Layout, image: &Image) -> Image {
    let keep = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        let mut writer = layout.blob_writer().unwrap();
        writer.write(bytes).unwrap();
        writer.finish(&digest, bytes.len() as u64).unwrap();
        (digest, bytes.len())
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = layout.open_layer(&image.reference.layers[0]).unwrap();
    std::io::copy(&mut tar, &mut gzip).unwrap();
    let layer = keep(&gzip.finish().unwrap());
    let (config, _) = layout.open_blob(&image.reference.config).unwrap();
    let config = keep(&fs_err::read(config.path()).unwrap());
    let entry = |kind: &str, (digest, size): (Digest, usize)| {
        format!(
            r#"{{"mediaType":"application/vnd.docker.{kind}","digest":"{digest}","size":{size}}}"#
        )
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","config":{},"layers":[{}]}}"#,
        entry("container.image.v1+json", config),
        entry("image.rootfs.diff.tar.gzip", layer)
    );
    layout.adopt(manifest.as_bytes()).unwrap()
}

#[test]
fn an_image_in_docker_s_older_form_is_a_base() {
    let Some(registry) = DockerRegistry::start(Wants::default()) else {
        return;
    };
    let Some(first) = first() else { return };
    let name = format!("http://{}/team/docker:1", registry.address);
    first.push(&name, in_docker_s_form);
    let second = upon(&format!("image = \"{name}\"")).unwrap();
    second.good(&["lock"]);
    let base = base(&second);
    assert_eq!(Some(base.layers[0].diff_id), first.lock.environment.tree);
    let layout = Layout::open(&second.path("cache/oci")).unwrap();
    let (_, kind) = layout
        .manifest(&manifest(&second).parse().unwrap())
        .unwrap();
    assert_eq!(kind, DOCKER_MANIFEST);
    second.good(&["build", "--locked"]);
    let repository = files(&second.run_folder().join("repository"));
    assert!(first.repository == repository, "the packages differ");
}

/// A project upon that image, with a repository, which lacks binutils and has a recipe.
fn lacking(image: &str) -> Option<Project> {
    let check = "ld --version > /dev/null\nrpm -q binutils > /dev/null\ntest -e /etc/own\n\
         rpm -V --nofiles binutils bash\n";
    let project = Project::new()?
        .package(
            "hello",
            &spec_with("hello", "BuildRequires: binutils", "%check", check),
        )
        .package("plain", &spec("plain", ""))
        .recipe("[[file]]\npath = \"/etc/own\"\ncontent = \"own\\n\"\n");
    let template = project.read("templates/base.toml");
    let (start, rest) = template.split_once("packages = ").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    project.write(
        "templates/base.toml",
        format!("{start}image = \"{image}\"\n{rest}"),
    );
    Some(project)
}

#[test]
fn packages_are_added_to_an_image_by_its_own_rpm() {
    let Some((_registry, first, name)) = published() else {
        return;
    };
    let second = lacking(&name).unwrap();
    second.good(&["lock"]);
    let locked = lock(&second);
    let added: Vec<&str> = locked
        .environment
        .rpms
        .iter()
        .map(|rpm| rpm.nevra.name.as_str())
        .collect();
    assert!(
        added.contains(&"binutils") && !added.contains(&"bash"),
        "{added:?}"
    );
    assert!(locked.environment.replaced.is_empty() && locked.environment.rpms[0].key.is_some());
    let base = locked.base.as_ref().unwrap();
    assert_eq!(Some(base.layers[0].diff_id), first.lock.environment.tree);
    assert_ne!(locked.environment.tree, first.lock.environment.tree);

    // Each full build makes the added layer anew, and compares it with the lock.
    second.good(&["build", "--locked"]);
    assert_eq!(second.outcomes(), ["hello: built", "plain: built"]);
    let record = second.record();
    assert_eq!(Some(record.environment), locked.environment.tree);
    assert!(record.installed.len() > base.installed.len());
    second.good(&["build", "--locked"]);
    assert_eq!(second.record().snapshot, record.snapshot);
    let list = second.good(&["snapshot", "list"]);
    assert!(
        list.out.contains(&record.snapshot.short()),
        "{}",
        list.all()
    );
    let inside = second.good(&[
        "enter",
        "--root",
        "--",
        "sh",
        "-c",
        "ls -d /packages /var/lib/rpm.transaction; rpm -qa | wc -l",
    ]);
    assert_eq!(
        inside.out.trim(),
        record.installed.len().to_string(),
        "{}",
        inside.all()
    );
}

#[test]
fn a_snapshot_upon_an_image_goes_to_another_machine() {
    let Some((registry, _, name)) = published() else {
        return;
    };
    let second = lacking(&name).unwrap();
    second.good(&["lock"]);
    second.good(&["build", "--locked"]);
    let shared = format!("http://{}/team/added:1", registry.address);
    second.good(&["snapshot", "push", &shared]);
    let store = second.path(OTHER_STORE);
    let other = ["--store", store.to_str().unwrap()];
    let pulled = second.good(&[&other[..], &["snapshot", "pull", &shared]].concat());
    assert!(
        pulled
            .err
            .contains("it is the snapshot of the project's lock"),
        "{}",
        pulled.all()
    );
    let others = second.good(&[&other[..], &["snapshot", "pull", &name]].concat());
    assert!(
        others
            .err
            .contains("it is not the snapshot of the project's lock"),
        "{}",
        others.all()
    );
    second.good(&[&other[..], &["enter", "--", "ld", "--version"]].concat());
    let fetched = files(&store.join("blobs"));
    assert!(
        fetched.is_empty(),
        "packages were fetched: {:?}",
        fetched.keys()
    );
}

#[test]
fn packages_of_an_image_stay_unless_something_needs_others() {
    let Some(registry) = DockerRegistry::start(Wants::default()) else {
        return;
    };
    let Some(first) = Project::hello() else {
        return;
    };
    let own = first.repository("own");
    own.add(&mut package("lib", "1"));
    own.publish();
    first.wants("lib");
    first.good(&["build"]);
    let name = format!("http://{}/team/env:1", registry.address);
    first.good(&["snapshot", "push", &name]);

    let second = upon(&format!(
        "image = \"{name}\"\npackages = [\"lib\"]\ntools = [\"rpm\"]"
    ))
    .unwrap();
    let own = second.repository("own");
    own.add(&mut package("lib", "2"));
    let mut app = package("app", "1");
    app.requires(rpm::Dependency::eq("lib", "2"));
    own.add(&mut app);
    own.publish();
    second.good(&["lock"]);
    assert_eq!(lock(&second).environment.rpms, []);
    second.wants("app");
    second.good(&["lock"]);
    let locked = lock(&second);
    let names = |all: Vec<pristine::rpm::Nevra>| {
        let names = all.iter().map(ToString::to_string);
        names
            .filter(|name| name.starts_with("lib-") || name.starts_with("app-"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(locked.environment.replaced.clone()),
        ["lib-1-1.noarch"]
    );
    let mut installed = locked.installed();
    installed.sort();
    assert_eq!(names(installed), ["app-1-1.noarch", "lib-2-1.noarch"]);
    second.good(&["build", "--locked"]);
    assert_eq!(
        names(second.record().installed),
        ["app-1-1.noarch", "lib-2-1.noarch"]
    );
    let inside = second.good(&["enter", "--", "rpm", "-q", "lib", "app"]);
    assert_eq!(inside.out, "lib-2-1.noarch\napp-1-1.noarch\n");
    second.good(&["build", "--locked"]);
}

#[test]
fn a_snapshot_that_only_says_to_be_the_lock_s_is_not_used() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    let layout = Layout::open(&project.path("cache/oci")).unwrap();
    let mut writer = layout.layer_writer().unwrap();
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    std::io::Write::write_all(&mut writer, &empty).unwrap();
    let layer = writer.finish().unwrap();
    let label = (
        "io.pristine.lock".to_owned(),
        lock(&project).digest().to_string(),
    );
    let config = ImageConfig {
        architecture: "x86_64".to_owned(),
        epoch: 0,
        env: BTreeMap::new(),
        labels: BTreeMap::from([label]),
        history: vec![],
    };
    layout.write_image(&[layer], &config).unwrap();
    let shell = project.good(&["enter", "--", "rpm", "-q", "bash"]);
    assert!(shell.out.starts_with("bash-"), "{}", shell.all());
    project.good(&["build", "--locked", "--reuse-snapshot"]);
    assert_eq!(
        project.record().environment,
        lock(&project).environment.tree.unwrap()
    );
}

#[test]
fn what_no_repository_and_no_image_has_is_said() {
    let Some((_registry, _, name)) = published() else {
        return;
    };
    let second = upon(&format!("image = \"{name}\"")).unwrap();
    second.write(
        "packages/hello/hello.spec",
        spec("hello", "BuildRequires: nowhere"),
    );
    second.good(&["lock"]);
    let ran = second.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(
        second.outcomes()[0].contains("nowhere"),
        "{:?}",
        second.outcomes()
    );
}

#[test]
fn what_a_recipe_s_command_installs_is_there_for_the_build() {
    let Some((_registry, _, name)) = published() else {
        return;
    };
    let second = upon(&format!("image = \"{name}\"")).unwrap();
    let own = second.repository("own");
    own.add(&mut package("extra", "1"));
    let made = second.path("own/extra-1-1.noarch.rpm");
    second.write(
        "templates/base.toml",
        format!("format = 1\narchitecture = \"x86_64\"\nimage = \"{name}\"\n"),
    );
    second.write(
        "packages/hello/hello.spec",
        spec("hello", "BuildRequires: extra"),
    );
    assert!(made.exists());
    let second = second.recipe(
        "[[file]]\npath = \"/root/extra.rpm\"\nsource = \"own/extra-1-1.noarch.rpm\"\n\
         [[command]]\nrun = [\"rpm\", \"--install\", \"--nosignature\", \"/root/extra.rpm\"]\n",
    );
    second.good(&["lock"]);
    second.good(&["build", "--locked"]);
    assert_eq!(second.outcomes(), ["hello: built"]);
    second.write("recipes/own.toml", "format = 1\npackages = [\"extra\"]\n");
    insta::assert_snapshot!(second.run(&["lock"]).failure(), @"
    exit 2: error: the recipe `own` asks for packages, but the template `base` has no repository
      hint: add a table `[[repository]]` to the template, or install them by a command of the recipe
    ");
}

#[test]
fn a_root_archive_is_a_base() {
    let Some(first) = Project::hello() else {
        return;
    };
    first.good(&["build"]);
    let plain = first.path("root.tar");
    first.good(&["snapshot", "export", "--tar", plain.to_str().unwrap()]);
    let bytes = fs_err::read(&plain).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &bytes).unwrap();
    let packed = [
        ("root.tar", bytes.clone()),
        ("root.tar.gz", gzip.finish().unwrap()),
        (
            "root.tar.xz",
            liblzma::encode_all(bytes.as_slice(), 0).unwrap(),
        ),
        (
            "root.tar.zst",
            zstd::encode_all(bytes.as_slice(), 1).unwrap(),
        ),
    ];
    let project = upon("").unwrap();
    let diff_id = Digest::of(&bytes);
    for (name, content) in packed {
        let sha256 = Digest::of(&content);
        project.write(name, &content);
        let rootfs = format!(
            "rootfs = {{ url = \"./{name}\", sha256 = \"{}\" }}",
            sha256.hex()
        );
        project.write(
            "templates/base.toml",
            format!("format = 1\narchitecture = \"x86_64\"\n{rootfs}\n"),
        );
        project.good(&["lock"]);
        let base = base(&project);
        assert_eq!(base.layers[0].diff_id, diff_id, "{name}");
        assert!(!base.installed.is_empty());
    }
    project.good(&["build", "--locked"]);
    let record = project.record().base.unwrap();
    assert_eq!(record.name, "./root.tar.zst");
    assert!(project.read("pristine.lock").contains(&record.digest.hex()));
    project.edit("templates/base.toml", "./root.tar.zst", "./root.tar.gz");
    let wrong = project.run(&["lock"]);
    assert_eq!(
        wrong.code,
        Some(0),
        "the store has it by its digest: {}",
        wrong.all()
    );
    let store = project.path(OTHER_STORE);
    let wrong = project.run(&["--store", store.to_str().unwrap(), "lock"]);
    assert_eq!(wrong.code, Some(4), "{}", wrong.all());
    assert!(wrong.err.matches("sha256:").count() >= 2, "{}", wrong.all());
}

#[test]
fn a_base_without_rpm_is_refused() {
    let Some(project) = upon("") else { return };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, "etc/empty", std::io::empty())
        .unwrap();
    let bytes = tar.into_inner().unwrap();
    let sha256 = Digest::of(&bytes).hex();
    project.write("root.tar", bytes);
    project.write(
        "templates/base.toml",
        format!("format = 1\narchitecture = \"x86_64\"\nrootfs = {{ url = \"./root.tar\", sha256 = \"{sha256}\" }}\n"),
    );
    insta::assert_snapshot!(project.run(&["lock"]).failure(), @"
    exit 2: error: the base's own rpm could not export its database (exit code 127):
    pristine: cannot run `rpmdb`: not found
      hint: a base needs an rpm of its own: take one with the package rpm-build
    ");
}
