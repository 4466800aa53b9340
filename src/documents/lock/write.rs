//! The text of a lock. Written by hand, not by a serialiser: which line a value stands on is part of the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};

use super::{
    BaseOrigin, Lock, LockedBase, LockedPackage, LockedRepository, LockedRpm, LockedSource, Origin,
};
use crate::documents::source::FORMAT;
use crate::documents::template::RepositorySource;

/// Adds formatted text; writing to a `String` cannot fail.
macro_rules! add {
    ($out:expr, $($format:tt)*) => { let _infallible = writeln!($out, $($format)*); };
}

/// The text of `lock`.
pub(super) fn text(lock: &Lock) -> String {
    let mut out = String::from("# Written by `pristine lock`. Do not edit.\n");
    add!(out, "format = {FORMAT}");
    add!(out, "architecture = {}", quoted(lock.architecture));
    add!(out, "epoch = {}", lock.epoch);
    add!(out, "\n[inputs]");
    let documents = [
        ("template", Some(&lock.inputs.template)),
        ("recipe", lock.inputs.recipe.as_ref()),
    ];
    for (key, document) in documents
        .into_iter()
        .filter_map(|(key, document)| Some((key, document?)))
    {
        add!(
            out,
            "{key} = {{ name = {}, sha256 = {} }}",
            quoted(&document.name),
            quoted(document.digest.hex())
        );
    }
    list(&mut out, "requests", sorted(&lock.inputs.requests));
    if !lock.inputs.left_out.is_empty() {
        list(&mut out, "left_out", sorted(&lock.inputs.left_out));
    }
    if let Some(one) = &lock.base {
        base(&mut out, one);
    }
    for one in &lock.repositories {
        repository(&mut out, one);
    }
    for key in lock
        .keys
        .iter()
        .map(|key| (&key.fingerprint, key))
        .collect::<BTreeMap<_, _>>()
        .into_values()
    {
        add!(out, "\n[[key]]");
        add!(out, "fingerprint = {}", quoted(&key.fingerprint));
        add!(out, "url = {}", quoted(&key.url));
        add!(out, "sha256 = {}", quoted(key.digest.hex()));
    }
    for one in lock
        .packages
        .iter()
        .map(|package| (&package.name, package))
        .collect::<BTreeMap<_, _>>()
        .into_values()
    {
        package(&mut out, one);
    }
    environment(&mut out, lock);
    out
}

fn environment(out: &mut String, lock: &Lock) {
    add!(out, "\n[tools]");
    list(out, "packages", sorted(&lock.tools.packages));
    list(out, "only", lock.tools.only.iter().map(rpm));
    add!(out, "\n[environment]");
    if let Some(tree) = &lock.environment.tree {
        add!(out, "tree = {}", quoted(tree));
    }
    list(out, "rpms", lock.environment.rpms.iter().map(rpm));
    if !lock.environment.replaced.is_empty() {
        list(out, "replaced", sorted(&lock.environment.replaced));
    }
}

fn base(out: &mut String, base: &LockedBase) {
    add!(out, "\n[base]");
    match &base.origin {
        BaseOrigin::Image { name, manifest } => {
            add!(out, "image = {}", quoted(name));
            add!(out, "manifest = {}", quoted(manifest));
        }
        BaseOrigin::Rootfs { url, sha256 } => {
            let (url, sha256) = (quoted(url), quoted(sha256.hex()));
            add!(out, "rootfs = {{ url = {url}, sha256 = {sha256} }}");
        }
    }
    let layers = base.layers.iter().map(|layer| {
        let digest = layer.digest.map_or_else(String::new, |digest| {
            format!(", digest = {}", quoted(digest))
        });
        format!("{{ diff_id = {}{digest} }}", quoted(layer.diff_id))
    });
    list(out, "layers", layers);
    let installed: BTreeSet<_> = base.installed.iter().collect();
    let installed = installed.into_iter().map(|rpm| {
        let (nevra, header) = (quoted(&rpm.nevra), quoted(rpm.header.hex()));
        format!("{{ nevra = {nevra}, header = {header} }}")
    });
    list(out, "installed", installed);
}

fn repository(out: &mut String, repository: &LockedRepository) {
    add!(out, "\n[[repository]]");
    add!(out, "name = {}", quoted(&repository.name));
    match &repository.source {
        RepositorySource::BaseUrls(urls) => list(out, "urls", urls.iter().map(quoted)),
        RepositorySource::Metalink(url) => {
            add!(out, "metalink = {}", quoted(url));
        }
        RepositorySource::MirrorList(url) => {
            add!(out, "mirrorlist = {}", quoted(url));
        }
    }
    add!(out, "revision = {}", quoted(&repository.revision));
    add!(out, "repomd = {}", quoted(repository.repomd.hex()));
    if let Some(key) = &repository.key {
        add!(out, "key = {}", quoted(key));
    }
    let metadata = repository.metadata.iter().map(|file| {
        let (kind, location, sha256) = (
            quoted(&file.kind),
            quoted(&file.location),
            quoted(file.digest.hex()),
        );
        format!(
            "{{ kind = {kind}, location = {location}, size = {}, sha256 = {sha256} }}",
            file.size
        )
    });
    list(out, "metadata", metadata);
}

fn package(out: &mut String, package: &LockedPackage) {
    add!(out, "\n[[package]]");
    add!(out, "name = {}", quoted(&package.name));
    add!(out, "spec = {}", quoted(&package.spec));
    add!(out, "sha256 = {}", quoted(package.digest.hex()));
    add!(out, "nevra = {}", quoted(&package.facts.nevra));
    add!(out, "changelog = {}", package.facts.changelog);
    list(out, "build_requires", sorted(&package.facts.build_requires));
    list(out, "sources", package.sources.iter().map(source));
    let binaries = package.facts.binaries.iter().map(|binary| {
        let (provides, requires) = (inline(&binary.provides), inline(&binary.requires));
        format!(
            "{{ nevra = {}, provides = {provides}, requires = {requires} }}",
            quoted(&binary.nevra)
        )
    });
    list(out, "binaries", binaries);
}

fn source(source: &LockedSource) -> String {
    let file = quoted(&source.file);
    match &source.remote {
        Some(remote) => {
            let (url, sha256) = (quoted(&remote.url), quoted(remote.digest.hex()));
            format!(
                "{{ file = {file}, url = {url}, size = {}, sha256 = {sha256} }}",
                remote.size
            )
        }
        None => format!("{{ file = {file} }}"),
    }
}

fn rpm(rpm: &LockedRpm) -> String {
    let origin = match &rpm.origin {
        Origin::Repository { name, location } => format!(
            "repository = {}, location = {}",
            quoted(name),
            quoted(location)
        ),
        Origin::Url(url) => format!("url = {}", quoted(url)),
    };
    let key = rpm
        .key
        .as_ref()
        .map_or_else(String::new, |key| format!(", key = {}", quoted(key)));
    let (nevra, sha256) = (quoted(&rpm.nevra), quoted(rpm.digest.hex()));
    format!(
        "{{ nevra = {nevra}, {origin}, size = {}, sha256 = {sha256}{key} }}",
        rpm.size
    )
}

/// A list with one line per item, so that git merges and shows items.
fn list(out: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        add!(out, "{key} = []");
        return;
    }
    add!(out, "{key} = [");
    for item in items {
        add!(out, "  {item},");
    }
    add!(out, "]");
}

fn sorted<T: Ord + Display>(items: &[T]) -> impl Iterator<Item = String> {
    items
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(quoted)
}

fn inline(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

/// A TOML basic string: what it escapes is fixed here, since the digest of the text names the lock.
fn quoted(value: impl Display) -> String {
    let mut out = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn a_base_is_a_table_of_its_own() {
        let mut lock = sample::lock();
        let mut table = |base| {
            lock.base = Some(base);
            let text = lock.to_text();
            let start = text.find("[base]").unwrap();
            let end = text.find("\n[[repository]]").unwrap();
            text[start..end].to_owned()
        };
        let both = format!("{}\n{}", table(sample::image()), table(sample::rootfs()));
        insta::assert_snapshot!(both, @r#"
        [base]
        image = "registry.example/base:9"
        manifest = "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
        layers = [
          { diff_id = "sha256:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e", digest = "sha256:267d3b81a9dcd937f3b46a17a57fc0ca2133373389336861142673a73fc17bc6" },
          { diff_id = "sha256:16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4", digest = "sha256:84747dcd831c7131207a1042d74b60ac54fdcc10e7aef9e1f7940dda2c95dcae" },
        ]
        installed = [
          { nevra = "bash-5.1-1.x86_64", header = "3f4a3d24d3ad88136cbfc6ca05701ed19d33a6e4e4bf936b1e9ef7f83f1662ff" },
          { nevra = "glibc-2.42-1.x86_64", header = "5389374029ad056b1c75e15c8e27ddc8b53145c4ee0ba3f6eb079901c281a8ec" },
        ]

        [base]
        rootfs = { url = "./root.tar.xz", sha256 = "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2" }
        layers = [
          { diff_id = "sha256:90aebae315675cbf04612de4f7d5874850f48e0b8dd82becbeaa47ca93f5ebfb" },
        ]
        installed = [
          { nevra = "bash-5.1-1.x86_64", header = "3f4a3d24d3ad88136cbfc6ca05701ed19d33a6e4e4bf936b1e9ef7f83f1662ff" },
          { nevra = "glibc-2.42-1.x86_64", header = "5389374029ad056b1c75e15c8e27ddc8b53145c4ee0ba3f6eb079901c281a8ec" },
        ]
        "#);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one text")]
    fn the_text_is_this() {
        insta::assert_snapshot!(sample::lock().to_text(), @r#"
        # Written by `pristine lock`. Do not edit.
        format = 1
        architecture = "x86_64"
        epoch = 1700000000

        [inputs]
        template = { name = "mini", sha256 = "43385991f0be5fed6db7fb640c5f510d41bcaac6ecca6c842a0c2a2d2d2bf510" }
        recipe = { name = "base", sha256 = "cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2" }
        requests = [
          "zlib with tests",
        ]

        [[repository]]
        name = "main"
        urls = [
          "https://mirror.example/main",
        ]
        revision = "1700000000"
        repomd = "d0df476353bf7bd128a22e414a59d0baebd1fb57d11d6a197ad839227e02dad0"
        key = "ABABABABABABABABABABABABABABABABABABABAB"
        metadata = [
          { kind = "primary", location = "repodata/primary.xml.zst", size = 3000, sha256 = "986a1b7135f4986150aa5fa0028feeaa66cdaf3ed6a00a355dd86e042f7fb494" },
        ]

        [[key]]
        fingerprint = "ABABABABABABABABABABABABABABABABABABABAB"
        url = "https://mirror.example/key.asc"
        sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"

        [[key]]
        fingerprint = "CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD"
        url = "https://mirror.example/key.asc"
        sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"

        [[package]]
        name = "libpng"
        spec = "packages/libpng/libpng.spec"
        sha256 = "95f2e560bdf47de0a894d6754f96b36bf0fc8f500450e486116885524ed379c5"
        nevra = "libpng-1.0-1.src"
        changelog = true
        build_requires = [
          "gcc",
          "zlib-devel >= 1.0",
        ]
        sources = [
          { file = "libpng-1.0.tar.gz", url = "https://upstream.example/libpng-1.0.tar.gz", size = 2000, sha256 = "db4b4d0d1cb480bf9aeea253771c00febe627f236765fa37d6a5614f079a3aa0" },
          { file = "fix.patch" },
        ]
        binaries = [
          { nevra = "libpng-1.0-1.x86_64", provides = ["libpng = 1.0-1"], requires = [] },
        ]

        [[package]]
        name = "zlib"
        spec = "packages/zlib/zlib.spec"
        sha256 = "0ea55c28f8014d8886b6248fe3da5d588f55c0823847a6b4579f1131b051b5e2"
        nevra = "zlib-1.0-1.src"
        changelog = true
        build_requires = [
          "gcc",
          "make",
        ]
        sources = [
          { file = "zlib-1.0.tar.gz", url = "https://upstream.example/zlib-1.0.tar.gz", size = 2000, sha256 = "db4b4d0d1cb480bf9aeea253771c00febe627f236765fa37d6a5614f079a3aa0" },
          { file = "fix.patch" },
        ]
        binaries = [
          { nevra = "zlib-1.0-1.x86_64", provides = ["zlib = 1.0-1"], requires = [] },
        ]

        [tools]
        packages = [
          "bash-5.2-1.x86_64",
          "rpm-build-4.20-1.x86_64",
        ]
        only = [
          { nevra = "rpm-build-4.20-1.x86_64", repository = "main", location = "Packages/rpm-build-4.20-1.x86_64.rpm", size = 1000, sha256 = "33f7d69ad2b35bfc999354e667e9238c040f82b7bae9a56ae900078c6e57ef96", key = "ABABABABABABABABABABABABABABABABABABABAB" },
        ]

        [environment]
        tree = "sha256:dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622"
        rpms = [
          { nevra = "bash-5.2-1.x86_64", repository = "main", location = "Packages/bash-5.2-1.x86_64.rpm", size = 1000, sha256 = "37d2b12d5d9abc2a364ef9448767ee03938e383c0284193477dc7618f4b7c6c2", key = "ABABABABABABABABABABABABABABABABABABABAB" },
          { nevra = "tool-1-1.x86_64", url = "./rpms/tool.rpm", size = 1000, sha256 = "7c9bbe5ec9b3fb774e8fa0f54247e93c34ddf8e5d16fe3073420de0ae81a262d" },
        ]
        "#);
    }
}
