//! Reading a Debian package.

use std::io::{self, Read};
use std::path::Path;

use deb822_fast::Paragraph;

use crate::tree::{self, Content, Kind, Node, Tree};

/// Files up to this size (bytes) are held in memory while a package is converted.
const IN_MEMORY: u64 = 64 * 1024;

/// An opened Debian package.
#[derive(Debug)]
pub(crate) struct Deb {
    /// The control fields.
    pub(crate) control: Paragraph,
    /// Its files.
    pub(crate) tree: Tree,
}

/// Reads the package at `path`; large files go to the folder `spool`. The error says what is wrong.
pub(crate) fn read(path: &Path, spool: &Path) -> Result<Deb, String> {
    let file = fs_err::File::open(path).map_err(|error| error.to_string())?;
    let mut archive = ar::Archive::new(io::BufReader::new(file));
    let (mut control, mut conffiles, mut tree) = (None, String::new(), None);
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        match name.split_once(".tar").unwrap_or((&name, "")) {
            ("control", compression) => {
                (control, conffiles) = control_member(decoder(member, compression)?)?;
            }
            ("data", compression) => {
                let data = data_member(decoder(member, compression)?, spool);
                tree = Some(data.map_err(|error| error.to_string())?);
            }
            _ => {}
        }
    }
    let mut tree = tree.ok_or("it has no data member")?;
    for path in conffiles
        .lines()
        .map(str::trim)
        .filter(|path| path.starts_with('/'))
    {
        if let Some(node) = tree.get_mut(&tree::merged(path)) {
            node.config = true;
        }
    }
    Ok(Deb {
        control: control.ok_or("it has no control file")?,
        tree,
    })
}

fn decoder<'a>(member: impl Read + 'a, compression: &str) -> Result<Box<dyn Read + 'a>, String> {
    Ok(match compression {
        "" => Box::new(member),
        ".gz" => Box::new(flate2::read::GzDecoder::new(member)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(member)),
        ".zst" => Box::new(zstd::Decoder::new(member).map_err(|error| error.to_string())?),
        other => return Err(format!("compression `{other}` is not known")),
    })
}

fn control_member(reader: impl Read) -> Result<(Option<Paragraph>, String), String> {
    let read = || -> io::Result<(Option<String>, String)> {
        let (mut control, mut conffiles) = (None, String::new());
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = absolute(&entry.path_bytes())?;
            match name.as_str() {
                "/control" => {
                    let mut text = String::new();
                    entry.read_to_string(&mut text)?;
                    control = Some(text);
                }
                "/conffiles" => drop(entry.read_to_string(&mut conffiles)?),
                _ => {}
            }
        }
        Ok((control, conffiles))
    };
    let (control, conffiles) = read().map_err(|error| error.to_string())?;
    let control = control
        .map(|text| {
            text.parse()
                .map_err(|error| format!("control file: {error}"))
        })
        .transpose()?;
    Ok((control, conffiles))
}

fn data_member(reader: impl Read, spool: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(reader);
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let path = absolute(&entry.path_bytes())?;
        if path == "/" {
            continue;
        }
        let kind = kind(&mut entry, &spool.join(number.to_string()))?;
        let header = entry.header();
        let mut node = Node::new(kind, u16::try_from(header.mode()? & 0o7777).unwrap_or(0), 0);
        node.mtime = u32::try_from(header.mtime()?).unwrap_or(0);
        node.user = owner(header.username_bytes(), header.uid()?)?;
        node.group = owner(header.groupname_bytes(), header.gid()?)?;
        tree::place(&mut tree, &path, node);
    }
    Ok(tree)
}

fn kind(entry: &mut tar::Entry<impl Read>, spooled: &Path) -> io::Result<Kind> {
    let link = |entry: &tar::Entry<_>| {
        let target = entry
            .link_name_bytes()
            .ok_or_else(|| invalid("a link without a target"))?;
        String::from_utf8(target.into_owned()).map_err(|_| invalid("a link's target is not UTF-8"))
    };
    Ok(match entry.header().entry_type() {
        tar::EntryType::Directory => Kind::Directory,
        tar::EntryType::Symlink => Kind::SymLink(link(entry)?),
        tar::EntryType::Link => Kind::HardLink(absolute(link(entry)?.as_bytes())?),
        tar::EntryType::Regular | tar::EntryType::Continuous if entry.size() <= IN_MEMORY => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Kind::File(Content::Bytes(bytes))
        }
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            io::copy(entry, fs_err::File::create(spooled)?.file_mut())?;
            Kind::File(Content::Spooled(spooled.to_owned()))
        }
        other => return Err(invalid(&format!("a file of the kind {other:?}"))),
    })
}

/// A path of the archive as an absolute one, without a slash at its end.
fn absolute(path: &[u8]) -> io::Result<String> {
    let path = std::str::from_utf8(path).map_err(|_| invalid("a path is not UTF-8"))?;
    if path.split('/').any(|part| part == "..") {
        return Err(invalid(&format!("the path `{path}` leads outside")));
    }
    Ok(tree::normal(path))
}

/// Names, not numbers: those differ between distributions.
fn owner(name: Option<&[u8]>, id: u64) -> io::Result<String> {
    match name {
        Some(name) if !name.is_empty() => Ok(String::from_utf8_lossy(name).into_owned()),
        _ if id == 0 => Ok("root".to_owned()),
        _ => Err(invalid(&format!(
            "an owner without a name, with the number {id}"
        ))),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
