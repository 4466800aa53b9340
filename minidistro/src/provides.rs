//! What RPM packages provide by their content: shared libraries and pkg-config modules.
//!
//! rpmbuild writes dependencies of this kind into every package with a program in it, so a distribution without them
//! could not install what is built on it. The names are those of rpm's own `elfdeps` and `pkgconfigdeps`.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek};

use elf::abi::{DT_SONAME, ET_DYN, SHT_DYNAMIC, SHT_GNU_VERDEF, VER_FLG_BASE};
use elf::endian::AnyEndian;
use elf::file::Class;
use elf::gnu_symver::VerDefIterator;
use elf::{ElfStream, ParseError};
use rpm::Dependency;

use crate::tree::{Content, Kind, Tree, parent};
use crate::version::Evr;

/// Where the loader looks.
const LIBRARIES: &[&str] = &["/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"];
/// Where pkg-config looks.
const MODULES: &[&str] = &[
    "/usr/lib/pkgconfig",
    "/usr/lib/x86_64-linux-gnu/pkgconfig",
    "/usr/share/pkgconfig",
];
/// Its package provides the loader's features.
const LOADER: &str = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// All of them, sorted and each once. What cannot be read provides nothing.
pub(crate) fn provides(tree: &Tree) -> Vec<Dependency> {
    let mut libraries = BTreeSet::new();
    let mut dependencies = Vec::new();
    for (path, node) in tree {
        let Kind::File(content) = &node.kind else {
            continue;
        };
        if LIBRARIES.contains(&parent(path)) && path.contains(".so") {
            libraries.extend(library(content));
        }
        let module = path
            .rsplit_once('/')
            .and_then(|(_, file)| file.strip_suffix(".pc"));
        if let (true, Some(module), Content::Bytes(bytes)) =
            (MODULES.contains(&parent(path)), module, content)
        {
            dependencies.push(pkg_config(module, bytes));
        }
    }
    if tree.contains_key(LOADER) {
        libraries.insert("rtld(GNU_HASH)".to_owned());
    }
    dependencies.extend(libraries.into_iter().map(Dependency::any));
    dependencies
}

fn library(content: &Content) -> Vec<String> {
    let found = match content {
        Content::Bytes(bytes) => sonames(Cursor::new(bytes)),
        Content::Spooled(file) => match fs_err::File::open(file) {
            Ok(file) => sonames(file),
            Err(_) => return Vec::new(),
        },
    };
    // Linker scripts and the like have such names too.
    found.unwrap_or_default()
}

/// `name()(64bit)`, and the same for each version that the library defines.
fn sonames(file: impl Read + Seek) -> Result<Vec<String>, ParseError> {
    let mut elf = ElfStream::<AnyEndian, _>::open_stream(file)?;
    if elf.ehdr.e_type != ET_DYN || elf.ehdr.class != Class::ELF64 {
        return Ok(Vec::new());
    }
    let section = |elf: &ElfStream<AnyEndian, _>, kind| {
        elf.section_headers()
            .iter()
            .find(|h| h.sh_type == kind)
            .copied()
    };
    let Some(dynamic) = section(&elf, SHT_DYNAMIC) else {
        return Ok(Vec::new());
    };
    let entry = elf
        .dynamic()?
        .and_then(|table| table.iter().find(|entry| entry.d_tag == DT_SONAME));
    let Some(entry) = entry else {
        return Ok(Vec::new());
    };
    let strings = strings(&mut elf, dynamic.sh_link)?;
    let name = text(&strings, entry.d_val()).to_owned();
    let mut found = vec![format!("{name}()(64bit)")];
    if let Some(header) = section(&elf, SHT_GNU_VERDEF) {
        let strings = self::strings(&mut elf, header.sh_link)?;
        let (endian, class) = (elf.ehdr.endianness, elf.ehdr.class);
        let (data, _) = elf.section_data(&header)?;
        for (definition, mut names) in
            VerDefIterator::new(endian, class, header.sh_info.into(), 0, data)
        {
            if let Some(version) = names
                .next()
                .filter(|_| definition.vd_flags & VER_FLG_BASE == 0)
            {
                found.push(format!(
                    "{name}({})(64bit)",
                    text(&strings, version.vda_name.into())
                ));
            }
        }
    }
    Ok(found)
}

fn strings<S: Read + Seek>(
    elf: &mut ElfStream<AnyEndian, S>,
    section: u32,
) -> Result<Vec<u8>, ParseError> {
    let header = elf
        .section_headers()
        .get(section as usize)
        .copied()
        .ok_or(ParseError::BadOffset(section.into()))?;
    Ok(elf.section_data(&header)?.0.to_vec())
}

/// The text at `offset` in a string table; empty where there is none.
fn text(table: &[u8], offset: u64) -> &str {
    let bytes = usize::try_from(offset)
        .ok()
        .and_then(|start| table.get(start..))
        .unwrap_or_default();
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

fn pkg_config(module: &str, bytes: &[u8]) -> Dependency {
    let name = format!("pkgconfig({module})");
    let text = String::from_utf8_lossy(bytes);
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("Version:"))
        .map(str::trim);
    // A version out of a variable is not looked up.
    match version
        .filter(|version| !version.contains('$'))
        .and_then(Evr::from_debian)
    {
        Some(version) => Dependency::eq(name, version.version),
        None => Dependency::any(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    fn tree(path: &str, bytes: &[u8]) -> Tree {
        let node = Node::new(Kind::File(Content::Bytes(bytes.to_vec())), 0o644, 0);
        Tree::from([(path.to_owned(), node)])
    }

    fn names(tree: &Tree) -> Vec<String> {
        provides(tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn libraries_name_themselves_and_their_versions() {
        let libc = ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"]
            .iter()
            .find_map(|path| fs_err::read(path).ok());
        let names = names(&tree(
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            &libc.expect("a host with glibc on x86_64"),
        ));
        assert!(
            names.contains(&"libc.so.6()(64bit)".to_owned()),
            "{names:?}"
        );
        assert!(
            names.contains(&"libc.so.6(GLIBC_2.34)(64bit)".to_owned()),
            "{names:?}"
        );
        assert!(
            !names.contains(&"libc.so.6(libc.so.6)(64bit)".to_owned()),
            "{names:?}"
        );
    }

    #[test]
    fn anything_else_provides_nothing() {
        assert_eq!(
            names(&tree("/usr/lib/libx.so", b"GROUP ( /lib/libx.so.1 )")),
            Vec::<String>::new()
        );
        assert_eq!(
            names(&tree("/usr/lib/libx.so.1", b"\x7fELF")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn modules_are_named_with_their_version() {
        let path = "/usr/lib/x86_64-linux-gnu/pkgconfig/zlib.pc";
        assert_eq!(
            names(&tree(path, b"prefix=/usr\nVersion: 1.3.1\n")),
            ["pkgconfig(zlib) = 1.3.1"]
        );
        assert_eq!(names(&tree(path, b"Version: ${v}\n")), ["pkgconfig(zlib)"]);
    }
}
