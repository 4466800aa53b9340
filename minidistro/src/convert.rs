//! One Debian package into one RPM.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use deb822_fast::Paragraph;
use rpm::signature::pgp::Signer;
use rpm::{
    BuildConfig, CompressionWithLevel, FileMode, FileOptions, FileOptionsBuilder, PackageBuilder,
    Timestamp,
};

use crate::adjust::{self, Context};
use crate::deb::{self, Deb};
use crate::error::MinidistroError;
use crate::header;
use crate::index::{Binary, required};
use crate::key::CREATED;
use crate::meta::Meta;
use crate::relation;
use crate::repository::SPOOL;
use crate::tree::{Content, Kind, Node, Tree};
use crate::version::Evr;

/// Changes whenever the same Debian package gives another RPM.
const CONVERTER: u32 = 4;
/// Of the payload. Higher levels are not worth their time here.
const ZSTD_LEVEL: i32 = 3;

/// What all conversions of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    /// The repository.
    pub(crate) output: PathBuf,
    pub(crate) context: Context,
    pub(crate) signer: Signer,
}

/// A converted package.
#[derive(Debug, Clone)]
pub(crate) struct Converted {
    /// Path of the RPM below the repository.
    pub(crate) location: String,
    /// Whether an earlier run had made it.
    pub(crate) reused: bool,
}

impl Converter {
    /// Converts the Debian package at `deb`, unless the repository has the same RPM already.
    pub(crate) fn convert(
        &self,
        binary: &Binary,
        deb: &Path,
    ) -> Result<Converted, MinidistroError> {
        let failed = |reason: String| MinidistroError::Convert {
            package: binary.name.clone(),
            reason,
        };
        let arch = if binary.filename.ends_with("_all.deb") {
            "noarch"
        } else {
            "x86_64"
        };
        let cookie = self.cookie(&format!("deb={}", binary.sha256));
        let (location, whole) = self.locate(&binary.name, &binary.version, arch, &cookie);
        if whole {
            return Ok(Converted {
                location,
                reused: true,
            });
        }
        let spool = tempfile::Builder::new()
            .prefix(SPOOL)
            .tempdir_in(&self.output);
        let spool = spool.map_err(MinidistroError::file(&self.output))?;
        let mut deb = deb::read(deb, spool.path()).map_err(failed)?;
        let mtime = deb
            .tree
            .values()
            .map(|node| node.mtime)
            .max()
            .unwrap_or(0)
            .max(CREATED);
        adjust::files(&binary.name, &mut deb.tree, &self.context, mtime);
        let mut builder = builder(binary, &deb, arch, mtime).map_err(failed)?;
        builder.cookie(cookie);
        add_files(&mut builder, &deb.tree).map_err(|error| failed(error.to_string()))?;
        let source = source_rpm(binary, &deb.control);
        self.finish(builder, &location, &source, mtime)?;
        Ok(Converted {
            location,
            reused: false,
        })
    }

    /// Makes a package without files.
    pub(crate) fn gather(&self, meta: &Meta) -> Result<Converted, MinidistroError> {
        let version = &meta.of.version;
        let cookie = self.cookie(&format!("requires={}", meta.requires.join(",")));
        let (location, whole) = self.locate(meta.name, version, "noarch", &cookie);
        if whole {
            return Ok(Converted {
                location,
                reused: true,
            });
        }
        let mut builder = PackageBuilder::new(
            meta.name,
            &version.version,
            "Apache-2.0",
            "noarch",
            meta.summary,
        );
        builder
            .using_config(configuration(CREATED))
            .release(&version.release)
            .build_host("localhost")
            .vendor("minidistro");
        if version.epoch != 0 {
            builder.epoch(version.epoch);
        }
        builder.cookie(cookie);
        for relation in meta.relations() {
            builder.requires(relation.to_rpm());
        }
        let source = format!(
            "{}-{}-{}.src.rpm",
            meta.name, version.version, version.release
        );
        self.finish(builder, &location, &source, CREATED)?;
        Ok(Converted {
            location,
            reused: false,
        })
    }

    /// Where the RPM belongs below the repository, and whether it is there.
    fn locate(&self, name: &str, version: &Evr, arch: &str, cookie: &str) -> (String, bool) {
        let initial = name.chars().next().unwrap_or('_');
        let location = format!(
            "packages/{initial}/{name}-{}-{}.{arch}.rpm",
            version.version, version.release
        );
        let path = self.output.join(&location);
        let whole = path.exists() && is_whole(&path, cookie);
        (location, whole)
    }

    /// Builds, signs and writes.
    fn finish(
        &self,
        mut builder: PackageBuilder,
        location: &str,
        source: &str,
        mtime: u32,
    ) -> Result<(), MinidistroError> {
        let failed = |error: rpm::Error| MinidistroError::Convert {
            package: location.to_owned(),
            reason: error.to_string(),
        };
        let mut package = builder.build().map_err(failed)?;
        header::finish(&mut package, source, &self.signer, mtime).map_err(failed)?;
        let path = self.output.join(location);
        let folder = path.parent().unwrap_or(&self.output);
        fs_err::create_dir_all(folder).map_err(MinidistroError::file(folder))?;
        let mut temporary = tempfile::Builder::new()
            .prefix(".rpm-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(MinidistroError::file(folder))?;
        package.write(&mut temporary).map_err(failed)?;
        temporary.flush().map_err(MinidistroError::file(&path))?;
        temporary
            .persist(&path)
            .map_err(|error| MinidistroError::File {
                path: path.clone(),
                source: error.error,
            })?;
        Ok(())
    }

    /// Stands in the RPM's header for all that it was made from.
    fn cookie(&self, input: &str) -> String {
        let awk = self.context.awk.unwrap_or("none");
        format!(
            "minidistro {CONVERTER} {} awk={awk} {input}",
            self.context.suite.codename()
        )
    }
}

fn configuration(time: u32) -> BuildConfig {
    BuildConfig::v4()
        .compression(CompressionWithLevel::Zstd(ZSTD_LEVEL))
        .source_date(time)
}

/// The name that the source RPM would have.
fn source_rpm(binary: &Binary, control: &Paragraph) -> String {
    // `Source: name (version)`, each part only where it differs from the package's own.
    let field = control.get("Source").unwrap_or(&binary.name);
    let (name, version) = field.split_once(" (").unwrap_or((field, ""));
    let version =
        Evr::from_debian(version.trim_end_matches(')')).unwrap_or_else(|| binary.version.clone());
    format!("{name}-{}-{}.src.rpm", version.version, version.release)
}

/// Whether the RPM was made from the same input, and is as it was written.
fn is_whole(path: &Path, cookie: &str) -> bool {
    rpm::Package::open(path).is_ok_and(|package| {
        package
            .metadata
            .get_cookie()
            .is_ok_and(|known| known == cookie)
            && package.verify_digests().is_ok()
    })
}

fn builder(binary: &Binary, deb: &Deb, arch: &str, mtime: u32) -> Result<PackageBuilder, String> {
    let control = &deb.control;
    let description = control.get("Description").unwrap_or_default();
    let summary = description.lines().next().unwrap_or_default();
    let version =
        Evr::from_debian(required(control, "Version")?).ok_or("its version cannot be read")?;
    if version != binary.version {
        return Err(format!(
            "it has the version {version}, the index says {}",
            binary.version
        ));
    }
    let license = format!("see /usr/share/doc/{}/copyright", binary.name);
    let mut builder = PackageBuilder::new(&binary.name, &version.version, &license, arch, summary);
    builder
        .using_config(configuration(mtime))
        .release(version.release)
        .build_host("localhost")
        .vendor("minidistro");
    if version.epoch != 0 {
        builder.epoch(version.epoch);
    }
    builder.description(paragraphs(description));
    for (field, set) in [
        (
            "Homepage",
            PackageBuilder::url as fn(&mut PackageBuilder, String) -> &mut PackageBuilder,
        ),
        ("Maintainer", PackageBuilder::packager),
        ("Section", PackageBuilder::group),
    ] {
        if let Some(value) = control.get(field) {
            set(&mut builder, value.to_owned());
        }
    }
    dependencies(&mut builder, binary, control)?;
    adjust::header(&binary.name, &deb.tree, &mut builder);
    Ok(builder)
}

/// `Breaks` and `Conflicts` are left out: Debian's unversioned `Provides` never match a versioned conflict, RPM's do.
fn dependencies(
    builder: &mut PackageBuilder,
    binary: &Binary,
    control: &Paragraph,
) -> Result<(), String> {
    let mut requires = BTreeSet::new();
    for relation in &binary.depends {
        let dependency = relation.to_rpm();
        if requires.insert(dependency.to_string()) {
            builder.requires(dependency);
        }
    }
    let mut provides = BTreeSet::from([binary.name.clone()]);
    for relation in relation::parse(control.get("Provides").unwrap_or_default())? {
        let dependency = relation.to_rpm();
        if provides.insert(dependency.to_string()) {
            builder.provides(dependency);
        }
    }
    Ok(())
}

/// The long description, with Debian's marks for empty lines taken out.
fn paragraphs(description: &str) -> String {
    let lines = description.lines().skip(1).map(|line| match line.trim() {
        "." => "",
        text => text,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn add_files(builder: &mut PackageBuilder, tree: &Tree) -> Result<(), rpm::Error> {
    let linked: BTreeSet<&str> = tree
        .values()
        .filter_map(|node| match &node.kind {
            Kind::HardLink(target) => Some(target.as_str()),
            _ => None,
        })
        .collect();
    for (path, node) in tree {
        match &node.kind {
            Kind::Directory => {
                builder.with_dir_entry(
                    options(FileOptions::dir(path), path, node).mode(FileMode::dir(node.mode)),
                )?;
            }
            Kind::SymLink(target) => {
                builder.with_symlink(options(FileOptions::symlink(path, target), path, node))?;
            }
            Kind::Ghost => {
                builder.with_ghost(
                    options(FileOptions::ghost(path), path, node).permissions(node.mode),
                )?;
            }
            Kind::File(content) => {
                let mut options =
                    options(FileOptions::new(path), path, node).mode(FileMode::regular(node.mode));
                if linked.contains(path.as_str()) {
                    options = options.hardlink(path);
                }
                add_content(builder, content, options)?;
            }
            Kind::HardLink(target) => {
                // All names of a file share the attributes that the first one had in the archive.
                let Some(Node {
                    kind: Kind::File(content),
                    ..
                }) = tree.get(target)
                else {
                    continue;
                };
                let options = options(FileOptions::new(path), path, &tree[target])
                    .mode(FileMode::regular(tree[target].mode));
                add_content(builder, content, options.hardlink(target))?;
            }
        }
    }
    Ok(())
}

fn add_content(
    builder: &mut PackageBuilder,
    content: &Content,
    options: FileOptionsBuilder,
) -> Result<(), rpm::Error> {
    match content {
        Content::Bytes(bytes) => builder.with_file_contents(bytes.clone(), options)?,
        Content::Spooled(file) => builder.with_file(file, options)?,
    };
    Ok(())
}

fn options(options: FileOptionsBuilder, path: &str, node: &Node) -> FileOptionsBuilder {
    let mut options = options
        .user(&node.user)
        .group(&node.group)
        .modified_at(Timestamp(node.mtime));
    if node.kind == Kind::Directory {
        return options;
    }
    if node.config {
        options = options.config().noreplace();
    }
    if path.starts_with("/usr/share/doc/") && path.ends_with("/copyright") {
        options = options.license();
    } else if ["/usr/share/doc/", "/usr/share/info/", "/usr/share/man/"]
        .iter()
        .any(|folder| path.starts_with(folder))
    {
        options = options.doc();
    }
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rpm::{FileFlags, IndexTag};

    use super::*;
    use crate::Suite;
    use crate::key::SigningKey;

    const CONTROL: &str = "Package: small
Version: 1:1.0-2-3
Architecture: amd64
Maintainer: Somebody <somebody@example.org>
Depends: libc6 (>= 2.38), gawk | mawk, debconf
Provides: tiny (= 2)
Breaks: old (<< 1)
Description: a package
 More about it.
 .
 The end.
";

    fn header(path: &str, kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_username("root").unwrap();
        header
            .set_groupname(if path.contains("shadow") {
                "shadow"
            } else {
                "root"
            })
            .unwrap();
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
    }

    fn deb(path: &Path) {
        let mut data = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind, mode, link: &str, content: &[u8]| {
            let mut header = header(path, kind, mode);
            header.set_size(content.len() as u64);
            match link {
                "" => data.append_data(&mut header, path, content).unwrap(),
                link => data.append_link(&mut header, path, link).unwrap(),
            }
        };
        add("./bin", tar::EntryType::Directory, 0o755, "", b"");
        add(
            "./bin/small",
            tar::EntryType::Regular,
            0o4755,
            "",
            &vec![7; 100_000],
        );
        add(
            "./bin/other",
            tar::EntryType::Link,
            0o4755,
            "./bin/small",
            b"",
        );
        add(
            "./usr/bin/small",
            tar::EntryType::Symlink,
            0o777,
            "/bin/small",
            b"",
        );
        add(
            "./etc/small.conf",
            tar::EntryType::Regular,
            0o644,
            "",
            b"x=1\n",
        );
        add(
            "./usr/share/shadow",
            tar::EntryType::Directory,
            0o2750,
            "",
            b"",
        );
        let data = data.into_inner().unwrap();
        let data = zstd::encode_all(data.as_slice(), 1).unwrap();
        let members = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", control_member()),
            ("data.tar.zst", data),
        ];
        let mut archive = ar::Builder::new(fs_err::File::create(path).unwrap().into_file());
        for (name, bytes) in members {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            archive.append(&header, bytes.as_slice()).unwrap();
        }
    }

    fn control_member() -> Vec<u8> {
        let mut control = tar::Builder::new(Vec::new());
        for (name, text) in [("./control", CONTROL), ("./conffiles", "/etc/small.conf\n")] {
            let mut header = header(name, tar::EntryType::Regular, 0o644);
            header.set_size(text.len() as u64);
            control
                .append_data(&mut header, name, text.as_bytes())
                .unwrap();
        }
        control.into_inner().unwrap()
    }

    fn convert(folder: &Path) -> (Converted, PathBuf) {
        let file = folder.join("small.deb");
        deb(&file);
        let text = "Package: small\nVersion: 1:1.0-2-3\nDepends: libc6 (>= 2.38), gawk | mawk, debconf\nFilename: small_amd64.deb\nSize: 1\nSHA256: 00\n";
        let binary = crate::index::Index::read(text)
            .unwrap()
            .binary("small")
            .unwrap();
        let converter = Converter {
            output: folder.to_owned(),
            context: Context {
                suite: Suite::Trixie,
                awk: Some("gawk"),
            },
            signer: SigningKey::derive().unwrap().package_signer().unwrap(),
        };
        let made = converter.convert(&binary, &file).unwrap();
        let path = folder.join(&made.location);
        (made, path)
    }

    #[test]
    fn the_same_package_gives_the_same_rpm() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ((converted, a), (_, b)) = (convert(one.path()), convert(two.path()));
        assert_eq!(converted.location, "packages/s/small-1.0.2-3.x86_64.rpm");
        assert!(!converted.reused);
        assert_eq!(fs_err::read(&a).unwrap(), fs_err::read(b).unwrap());
        assert_eq!(
            fs_err::metadata(&a).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert!(convert(one.path()).0.reused);
        // What is not as it was written is made again.
        let mut bytes = fs_err::read(&a).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(&a, bytes).unwrap();
        assert!(!convert(one.path()).0.reused);
    }

    #[test]
    fn the_header_says_what_the_package_was() {
        let folder = tempfile::tempdir().unwrap();
        let (_, path) = convert(folder.path());
        let package = rpm::Package::open(path).unwrap();
        let key = SigningKey::derive().unwrap().armored().unwrap();
        package
            .verify_signature(rpm::signature::pgp::Verifier::from_asc(&key).unwrap())
            .unwrap();
        let metadata = &package.metadata;
        assert_eq!(metadata.get_epoch().unwrap(), 1);
        assert_eq!(
            metadata.get_description().unwrap(),
            "More about it.\n\nThe end."
        );
        assert_eq!(metadata.get_source_rpm().unwrap(), "small-1.0.2-3.src.rpm");
        let requires: Vec<String> = metadata
            .get_requires()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        for wanted in [
            "libc6 >= 2.38-0",
            "(gawk or mawk)",
            "base-files",
            "base-passwd",
        ] {
            assert!(
                requires.iter().any(|dependency| dependency == wanted),
                "{wanted}: {requires:?}"
            );
        }
        assert!(
            !requires
                .iter()
                .any(|dependency| dependency.contains("debconf"))
        );
        assert!(metadata.get_conflicts().unwrap().is_empty());
        assert!(
            metadata
                .get_provides()
                .unwrap()
                .iter()
                .any(|dependency| dependency.to_string() == "tiny = 2-0")
        );
    }

    #[test]
    fn files_are_where_a_merged_usr_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let (_, path) = convert(folder.path());
        let metadata = rpm::PackageMetadata::open(path).unwrap();
        let files = metadata.get_file_entries().unwrap();
        let text: Vec<String> = files
            .iter()
            .map(|file| {
                let config = if file.flags().contains(FileFlags::CONFIG) {
                    " config"
                } else {
                    ""
                };
                let (mode, path) = (file.mode().raw_mode(), file.path());
                format!(
                    "{mode:o} {}:{} {}{config}",
                    file.user(),
                    file.group(),
                    path.display()
                )
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        100644 root:root /etc/small.conf config
        40755 root:root /usr/bin
        104755 root:root /usr/bin/other
        104755 root:root /usr/bin/small
        42750 root:shadow /usr/share/shadow
        ");
        let inodes = metadata
            .header
            .get_entry_data_as_u32_array(IndexTag::RPMTAG_FILEINODES)
            .unwrap();
        assert_eq!(inodes[2], inodes[3]);
    }
}
