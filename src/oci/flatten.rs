//! An image's layers merged into one plain root tar, without unpacking them.
//!
//! The layers are read twice: first for what upper layers hide and for the hard links whose
//! content upper layers hide, then to write what is left, lowest layer first.

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Write};

use tar::Builder;

use super::{Image, Layer, Layout, OciError};
use crate::tree::TreeError;
use crate::tree::canonical::{OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::tree::encode::{append_content, append_header};
use crate::tree::extract::inside;
use crate::tree::member::{Kind, Member, Members};

const BUFFER: usize = 256 * 1024;

impl Layout {
    /// Writes the image's merged tree as one uncompressed tar without whiteouts.
    ///
    /// Every layer is verified while it is read; where one is damaged, the error comes after a part was written.
    pub fn export_tar(&self, image: &Image, tar: &mut dyn Write) -> Result<(), OciError> {
        let error = OciError::stream("write the archive");
        let layers = &image.reference.layers;
        let mut traces = Vec::new();
        if layers.len() > 1 {
            for layer in layers {
                traces.push(self.trace(layer)?);
            }
        }
        let mut tar = Builder::new(tar);
        for (number, layer) in layers.iter().enumerate() {
            let above = traces.get(number + 1..).unwrap_or_default();
            let links = traces
                .get(number)
                .map_or_else(HashMap::new, |trace| trace.moved_content(above));
            let mut members =
                Members::new(BufReader::with_capacity(BUFFER, self.open_layer(layer)?));
            while let Some(mut member) = members.next_member()? {
                if rename(&mut member, above, &links)? {
                    append_header(&mut tar, &member).map_err(&error)?;
                    append_content(&mut tar, member.size, &mut members).map_err(&error)?;
                }
            }
            members.drain()?;
        }
        tar.into_inner().and_then(Write::flush).map_err(error)
    }

    /// Reads the names of a layer.
    fn trace(&self, layer: &Layer) -> Result<Trace, OciError> {
        let mut trace = Trace::default();
        let mut members = Members::new(BufReader::with_capacity(BUFFER, self.open_layer(layer)?));
        while let Some(member) = members.next_member()? {
            let path = path(&member, &member.name)?;
            match mark(&path) {
                Some(Mark::Opaque(folder)) => drop(trace.opaque.insert(folder.to_vec())),
                Some(Mark::Removed(path)) => drop(trace.removed.insert(path)),
                None => {
                    if member.kind == Kind::HardLink {
                        trace
                            .links
                            .push((path.clone(), self::path(&member, &member.link)?));
                    }
                    trace.entries.insert(path, member.kind == Kind::Folder);
                }
            }
        }
        members.drain()?;
        Ok(trace)
    }
}

/// What a layer has and hides.
#[derive(Debug, Default)]
struct Trace {
    /// Paths, and whether they are folders.
    entries: HashMap<Vec<u8>, bool>,
    removed: HashSet<Vec<u8>>,
    opaque: HashSet<Vec<u8>>,
    /// Hard links and their targets, in the layer's order.
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Trace {
    /// Whether this layer hides `path` of a lower one.
    fn hides(&self, path: &[u8]) -> bool {
        if self.entries.contains_key(path) || self.removed.contains(path) {
            return true;
        }
        let mut folder = path;
        while !folder.is_empty() {
            folder = folder
                .iter()
                .rposition(|&byte| byte == b'/')
                .map_or(&[], |at| &folder[..at]);
            if self.removed.contains(folder)
                || self.opaque.contains(folder)
                || self.entries.get(folder) == Some(&false)
            {
                return true;
            }
        }
        false
    }

    /// Hidden files that have hard links which are not hidden: the first of those links takes the content.
    fn moved_content(&self, above: &[Self]) -> HashMap<Vec<u8>, Vec<u8>> {
        let hidden = |path: &[u8]| above.iter().any(|trace| trace.hides(path));
        let mut moved = HashMap::new();
        for (link, target) in &self.links {
            if hidden(target) && !hidden(link) && !moved.contains_key(target) {
                moved.insert(target.clone(), link.clone());
            }
        }
        moved
    }
}

/// Gives an entry the name under which it is written; false where it is not written.
fn rename(
    member: &mut Member,
    above: &[Trace],
    moved: &HashMap<Vec<u8>, Vec<u8>>,
) -> Result<bool, OciError> {
    let mut path = path(member, &member.name)?;
    if mark(&path).is_some() || member.kind == Kind::Device {
        return Ok(false);
    }
    if member.kind == Kind::HardLink {
        let target = self::path(member, &member.link)?;
        let target = moved.get(&target).cloned().unwrap_or(target);
        // The link that takes the content was written in its place.
        if target == path {
            return Ok(false);
        }
        member.link = target;
    }
    if above.iter().any(|trace| trace.hides(&path)) {
        match moved.get(&path) {
            Some(link) if member.kind == Kind::File => path.clone_from(link),
            _ => return Ok(false),
        }
    }
    if member.kind == Kind::Folder {
        path = if path.is_empty() {
            b"./".to_vec()
        } else {
            [path, b"/".to_vec()].concat()
        };
    }
    member.name = path;
    Ok(true)
}

enum Mark<'a> {
    Opaque(&'a [u8]),
    Removed(Vec<u8>),
}

fn mark(path: &[u8]) -> Option<Mark<'_>> {
    let at = path.iter().rposition(|&byte| byte == b'/');
    let (folder, name) = at.map_or((&[] as &[u8], path), |at| (&path[..at], &path[at + 1..]));
    if name == OPAQUE_NAME {
        return Some(Mark::Opaque(folder));
    }
    let hidden = name.strip_prefix(WHITEOUT_PREFIX)?;
    Some(Mark::Removed(if folder.is_empty() {
        hidden.to_vec()
    } else {
        [folder, b"/", hidden].concat()
    }))
}

/// A name of an entry as a path inside; what leads out is refused.
fn path(member: &Member, name: &[u8]) -> Result<Vec<u8>, OciError> {
    inside(name)
        .map_err(|why| OciError::Tree(TreeError::refused("archive entry", &member.name, why)))
}
