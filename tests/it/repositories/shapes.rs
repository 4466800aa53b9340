//! Repositories with the shapes of real distributions.

use pristine::digest::Digest;

use super::trial::Trial;
use crate::support::packages::{Packing, Repository, Sums, package};

const UPDATEINFO: &str = "<updates><update type=\"security\"><id>X-1</id></update></updates>";

/// `repomd.xml` as it is, for a metalink.
fn metalink(trial: &Trial, name: &str) {
    let bytes = fs_err::read(trial.path(&format!("site/{name}/repodata/repomd.xml"))).unwrap();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" type=\"dynamic\" \
         pubdate=\"Fri, 20 Nov 2026 10:00:00 GMT\" generator=\"mirrormanager\" xmlns:mm0=\"http://fedorahosted.org/mirrormanager\">\n\
         <files><file name=\"repomd.xml\"><mm0:timestamp>1700000000</mm0:timestamp><size>{}</size><verification>\
         <hash type=\"sha256\">{}</hash></verification><resources maxconnections=\"1\">\
         <url protocol=\"rsync\" type=\"rsync\" location=\"DE\" preference=\"100\">rsync://mirror.example/{name}/repodata/repomd.xml</url>\
         <url protocol=\"http\" type=\"http\" location=\"DE\" preference=\"99\">{}/{name}/repodata/repomd.xml</url>\
         </resources></file></files></metalink>",
        bytes.len(),
        Digest::of(&bytes).hex(),
        trial.server.origin()
    );
    trial.publish(&format!("{name}.metalink"), text);
}

fn filled(trial: &Trial, name: &str, packages: &[(&str, &str)]) -> Repository {
    let repository = trial.repository(name);
    for (name, version) in packages {
        repository.add(&mut package(name, version));
    }
    repository.publish();
    repository
}

#[test]
fn fedora() {
    let trial = Trial::new();
    let fedora = filled(&trial, "fedora", &[("bash", "5.2"), ("rpm-build", "4.20")]);
    fedora.reshape(Packing::Zstd, Sums::Sha256);
    let comps = "<comps><group><id>buildsys-build</id><name>Buildsystem building group</name><packagelist>\
                 <packagereq type=\"mandatory\">bash</packagereq><packagereq type=\"mandatory\">rpm-build</packagereq></packagelist></group>\
                 <category><id>base</id><name>Base</name><grouplist><groupid>buildsys-build</groupid></grouplist></category>\
                 <environment><id>minimal-environment</id><name>Minimal</name><grouplist><groupid>buildsys-build</groupid></grouplist></environment></comps>";
    fedora.attach("primary_zck", "primary.xml.zck", b"\0ZCK1 not read");
    fedora.attach("group", "comps.xml", comps.as_bytes());
    fedora.attach(
        "group_zst",
        "comps.xml.zst",
        &zstd::encode_all(comps.as_bytes(), 3).unwrap(),
    );
    let updates = filled(&trial, "updates", &[("bash", "5.3")]);
    updates.reshape(Packing::Zstd, Sums::Sha256);
    updates.attach("updateinfo", "updateinfo.xml", UPDATEINFO.as_bytes());
    for (name, repository) in [("fedora", &fedora), ("updates", &updates)] {
        // Fedora does not sign it.
        fs_err::remove_file(repository.folder.join("repodata/repomd.xml.asc")).unwrap();
        metalink(&trial, name);
    }
    let table = |name: &str| {
        format!(
            "[[repository]]\nname = \"{name}\"\nmetalink = \"SERVER/{name}.metalink\"\ncheck = {{ metadata = false }}\nKEYRING\n"
        )
    };
    let tables = [table("fedora"), table("updates")].concat();
    for groups in ["buildsys-build", "^minimal-environment"] {
        let template = trial.template(&format!("groups = [\"{groups}\"]"), &tables);
        let solved = trial.solve(&template, None).unwrap();
        assert_eq!(solved.names(), "bash-5.3-1.noarch rpm-build-4.20-1.noarch");
        trial.fetch(&template, &solved).unwrap();
    }
}

/// A stream of nodejs, as EL 9 has them.
fn nodejs(stream: &str) -> String {
    format!(
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: nodejs\n  stream: \"{stream}\"\n  version: 9040020240101000000\n  context: rhel9\n  arch: x86_64\n\
         \x20 summary: Javascript runtime\n  description: >-\n    Node.js\n  license:\n    module:\n    - MIT\n  dependencies:\n  - buildrequires:\n      platform: [el9]\n\
         \x20   requires:\n      platform: [el9]\n  profiles:\n    common:\n      rpms: [nodejs]\n  artifacts:\n    rpms:\n    - nodejs-0:{stream}.module-1.noarch\n\
         \x20   - nodejs-0:{stream}.module-1.src\n...\n"
    )
}

#[test]
fn enterprise_linux() {
    let trial = Trial::new();
    let base = trial.repository("BaseOS");
    let mut release = package("rocky-release", "9.4");
    release.provides(rpm::Dependency::any("system-release"));
    release.provides(rpm::Dependency::any("base-module(platform:el9)"));
    base.add(&mut release);
    base.publish();
    base.reshape(Packing::Gzip, Sums::Sha256);
    let apps = filled(
        &trial,
        "AppStream",
        &[
            ("nodejs", "16"),
            ("nodejs", "18.module"),
            ("nodejs", "20.module"),
        ],
    );
    apps.reshape(Packing::Gzip, Sums::Sha256);
    let modules = [nodejs("18"), nodejs("20")].concat();
    apps.attach(
        "modules",
        "modules.yaml.zst",
        &zstd::encode_all(modules.as_bytes(), 3).unwrap(),
    );
    for name in ["BaseOS", "AppStream"] {
        let list = format!(
            "# repo = {name}-9 arch = x86_64\n{}/{name}/\n",
            trial.server.origin()
        );
        trial.publish(&format!("mirrorlist/{name}-9"), list);
    }
    let table = |name: &str| {
        format!(
            "[[repository]]\nname = \"{name}\"\nmirrorlist = \"SERVER/mirrorlist/{name}-$releasever\"\ncheck = {{ metadata = false }}\nKEYRING\n"
        )
    };
    let tables = [table("BaseOS"), table("AppStream")].concat();
    // EL 9 has hardly any defaults: a package of no module is what there is until a stream is enabled.
    for (modules, expected) in [
        ("", "16"),
        ("modules = [\"nodejs:18\"]", "18.module"),
        ("modules = [\"nodejs:20\"]", "20.module"),
    ] {
        let top = format!(
            "packages = [\"nodejs\", \"rocky-release\"]\n{modules}\n[variables]\nreleasever = \"9\""
        );
        let template = trial.template(&top, &tables);
        let solved = trial.solve(&template, None).unwrap();
        assert_eq!(
            solved.names(),
            format!("nodejs-{expected}-1.noarch rocky-release-9.4-1.noarch")
        );
        trial.fetch(&template, &solved).unwrap();
    }
}

#[test]
fn opensuse() {
    let trial = Trial::new();
    let oss = trial.repository("oss");
    let mut pattern = package("patterns-devel-base-devel_rpm_build", "20170319");
    pattern.provides(rpm::Dependency::any("pattern()"));
    pattern.provides(rpm::Dependency::any("pattern-visible()"));
    pattern.requires(rpm::Dependency::any("gcc"));
    pattern.recommends(rpm::Dependency::any("less"));
    oss.add(&mut pattern);
    let mut language = package("gcc-lang", "14");
    language.supplements(rpm::Dependency::any("gcc"));
    oss.add(&mut language);
    for name in ["gcc", "less"] {
        oss.add(&mut package(name, "14"));
    }
    oss.publish();
    oss.reshape(Packing::Zstd, Sums::Sha512);
    oss.attach("susedata", "susedata.xml", b"<susedata/>");
    oss.attach("appdata", "appdata.xml", b"not read");
    fs_err::write(
        oss.folder.join("repodata/repomd.xml.key"),
        oss.key.armored(),
    )
    .unwrap();
    // The key lies in the repository itself: pinned, it may come from there.
    let table = "[[repository]]\nname = \"oss\"\nbaseurl = [\"SERVER/oss/\"]\n\
                 keys = [{ url = \"SERVER/oss/repodata/repomd.xml.key\", fingerprint = \"FP\" }]\n";
    let template = trial.template(
        "packages = [\"patterns-devel-base-devel_rpm_build\"]",
        table,
    );
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(
        solved.names(),
        "gcc-14-1.noarch patterns-devel-base-devel_rpm_build-20170319-1.noarch"
    );
    // Its checksums are SHA-512: what the lock has was found by fetching, and is the packages' own.
    for rpm in &solved.rpms {
        let path = oss.folder.join(format!(
            "{}-{}-1.noarch.rpm",
            rpm.nevra.name, rpm.nevra.version
        ));
        assert_eq!(rpm.digest, Digest::of(&fs_err::read(path).unwrap()));
    }
    // Known from an older lock, and in the store: not fetched once more.
    let before = trial.asked("oss/gcc-14-1.noarch.rpm");
    let again = trial.solve_after(&template, None, Some(&solved)).unwrap();
    assert_eq!(again.rpms, solved.rpms);
    assert_eq!(trial.asked("oss/gcc-14-1.noarch.rpm"), before);
    let weak = trial.template(
        "packages = [\"patterns-devel-base-devel_rpm_build\"]\nweak_dependencies = true",
        table,
    );
    assert_eq!(
        trial.solve(&weak, None).unwrap().names(),
        "gcc-14-1.noarch gcc-lang-14-1.noarch less-14-1.noarch patterns-devel-base-devel_rpm_build-20170319-1.noarch"
    );
}

#[test]
fn a_package_that_is_not_what_a_sha512_promises_is_refused() {
    let trial = Trial::new();
    let oss = filled(&trial, "oss", &[("gcc", "14")]);
    oss.reshape(Packing::Xz, Sums::Sha512);
    let path = oss.folder.join("gcc-14-1.noarch.rpm");
    let mut bytes = fs_err::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let table = "[[repository]]\nname = \"oss\"\nbaseurl = [\"SERVER/oss/\"]\nKEYRING\n";
    let template = trial.template("packages = [\"gcc\"]", table);
    let error = trial.solve(&template, None).unwrap_err();
    let text = trial.message(&error);
    assert!(
        text.starts_with("gcc-14-1.noarch of the repository `oss` is not what its metadata promise: expected sha512:"),
        "{text}"
    );
}

#[test]
fn amazon_linux() {
    let trial = Trial::new();
    let guid = "core/guids/0123abcd/x86_64";
    let core = filled(&trial, guid, &[("system-release", "2023.6")]);
    core.reshape(Packing::Gzip, Sums::Sha256);
    core.attach("updateinfo", "updateinfo.xml", UPDATEINFO.as_bytes());
    let list = format!("{}/{guid}/\n", trial.server.origin());
    trial.publish("al2023/core/mirrors/latest/x86_64/mirror.list", list);
    let table = "[[repository]]\nname = \"amazonlinux\"\nmirrorlist = \"SERVER/al${releasever}/core/mirrors/latest/$basearch/mirror.list\"\nKEYRING\n";
    let top = "packages = [\"system-release\"]\n[variables]\nreleasever = \"2023\"";
    let template = trial.template(top, table);
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(solved.names(), "system-release-2023.6-1.noarch");
    trial.fetch(&template, &solved).unwrap();
}
