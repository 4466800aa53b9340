//! A small lock for tests.

use super::{
    BaseOrigin, BinaryFacts, InstalledRpm, Lock, LockedBase, LockedDocument, LockedEnvironment,
    LockedInputs, LockedKey, LockedLayer, LockedMetadata, LockedPackage, LockedRepository,
    LockedRpm, LockedSource, LockedTools, Origin, RemoteSource, SpecFacts,
};
use crate::digest::Digest;
use crate::documents::template::RepositorySource;
use crate::documents::values::{Architecture, Fingerprint};

/// An RPM of the repository `main` with the digest of `content`.
pub(crate) fn rpm(nevra: &str, content: &str) -> LockedRpm {
    LockedRpm {
        nevra: nevra.parse().unwrap(),
        origin: Origin::Repository {
            name: "main".parse().unwrap(),
            location: format!("Packages/{nevra}.rpm"),
        },
        size: 1000,
        digest: Digest::of(content.as_bytes()),
        key: Some(fingerprint()),
    }
}

fn fingerprint() -> Fingerprint {
    "ab".repeat(20).parse().unwrap()
}

/// A package of the project with one binary package of the same name.
pub(super) fn package(name: &str, build_requires: &[&str]) -> LockedPackage {
    LockedPackage {
        name: name.parse().unwrap(),
        spec: format!("packages/{name}/{name}.spec").parse().unwrap(),
        digest: Digest::of(name.as_bytes()),
        facts: SpecFacts {
            changelog: true,
            nevra: format!("{name}-1.0-1.src").parse().unwrap(),
            build_requires: build_requires.iter().map(ToString::to_string).collect(),
            binaries: vec![BinaryFacts {
                nevra: format!("{name}-1.0-1.x86_64").parse().unwrap(),
                provides: vec![format!("{name} = 1.0-1")],
                requires: Vec::new(),
            }],
        },
        sources: vec![
            LockedSource {
                file: format!("{name}-1.0.tar.gz"),
                remote: Some(RemoteSource {
                    url: format!("https://upstream.example/{name}-1.0.tar.gz")
                        .parse()
                        .unwrap(),
                    size: 2000,
                    digest: Digest::of(b"tarball"),
                }),
            },
            LockedSource {
                file: "fix.patch".to_owned(),
                remote: None,
            },
        ],
    }
}

/// Two packages, two RPMs in the environment, one more in the tools.
pub(crate) fn lock() -> Lock {
    let document = |name: &str| LockedDocument {
        name: name.parse().unwrap(),
        digest: Digest::of(name.as_bytes()),
    };
    let key = |fingerprint: Fingerprint| LockedKey {
        url: "https://mirror.example/key.asc".parse().unwrap(),
        digest: Digest::of(b"key"),
        fingerprint,
    };
    let mut third_party = rpm("tool-1-1.x86_64", "tool");
    third_party.origin = Origin::Url("./rpms/tool.rpm".parse().unwrap());
    third_party.key = None;
    Lock {
        architecture: Architecture::X86_64,
        epoch: 1_700_000_000,
        inputs: LockedInputs {
            template: document("mini"),
            recipe: Some(document("base")),
            requests: vec!["zlib with tests".to_owned()],
            left_out: Vec::new(),
        },
        base: None,
        repositories: vec![LockedRepository {
            name: "main".parse().unwrap(),
            source: RepositorySource::BaseUrls(vec![
                "https://mirror.example/main".parse().unwrap(),
            ]),
            revision: "1700000000".to_owned(),
            repomd: Digest::of(b"repomd"),
            key: Some(fingerprint()),
            metadata: vec![LockedMetadata {
                kind: "primary".parse().unwrap(),
                location: "repodata/primary.xml.zst".to_owned(),
                size: 3000,
                digest: Digest::of(b"primary"),
            }],
        }],
        keys: vec![key(fingerprint()), key("cd".repeat(20).parse().unwrap())],
        packages: vec![
            package("libpng", &["gcc", "zlib-devel >= 1.0"]),
            package("zlib", &["gcc", "make"]),
        ],
        tools: LockedTools {
            packages: vec![
                "bash-5.2-1.x86_64".parse().unwrap(),
                "rpm-build-4.20-1.x86_64".parse().unwrap(),
            ],
            only: vec![rpm("rpm-build-4.20-1.x86_64", "rpm-build")],
        },
        environment: LockedEnvironment {
            tree: Some(Digest::of(b"tree")),
            rpms: vec![rpm("bash-5.2-1.x86_64", "bash"), third_party],
            replaced: Vec::new(),
        },
    }
}

fn base(origin: BaseOrigin, layers: Vec<LockedLayer>) -> LockedBase {
    let installed = ["bash-5.1-1.x86_64", "glibc-2.42-1.x86_64"].map(|nevra| InstalledRpm {
        nevra: nevra.parse().unwrap(),
        header: Digest::of(nevra.as_bytes()),
    });
    LockedBase {
        origin,
        layers,
        installed: installed.to_vec(),
    }
}

/// An image of two layers.
pub(crate) fn image() -> LockedBase {
    let origin = BaseOrigin::Image {
        name: "registry.example/base:9".parse().unwrap(),
        manifest: Digest::of(b"manifest"),
    };
    let layer = |name: &str| LockedLayer {
        diff_id: Digest::of(name.as_bytes()),
        digest: Some(Digest::of(name.to_uppercase().as_bytes())),
    };
    base(origin, vec![layer("first"), layer("second")])
}

/// A root archive.
pub(super) fn rootfs() -> LockedBase {
    let origin = BaseOrigin::Rootfs {
        url: "./root.tar.xz".parse().unwrap(),
        sha256: Digest::of(b"root"),
    };
    let layer = LockedLayer {
        diff_id: Digest::of(b"tar"),
        digest: None,
    };
    base(origin, vec![layer])
}
