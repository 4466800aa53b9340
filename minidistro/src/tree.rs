//! The files of a package while it is converted, laid out as on a distribution with a merged `/usr`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Files by absolute path.
pub(crate) type Tree = BTreeMap<String, Node>;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub(crate) mode: u16,
    pub(crate) user: String,
    pub(crate) group: String,
    /// Seconds since 1970.
    pub(crate) mtime: u32,
    /// Whether it is configuration that an administrator may have changed.
    pub(crate) config: bool,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File(Content),
    /// Another name of a file of the same package.
    HardLink(String),
    SymLink(String),
    /// Made by a scriptlet; owned, not shipped.
    Ghost,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Small ones stay in memory.
    Bytes(Vec<u8>),
    /// The others wait on disk.
    Spooled(PathBuf),
}

impl Node {
    /// A file of root's.
    pub(crate) fn new(kind: Kind, mode: u16, mtime: u32) -> Self {
        Self {
            kind,
            mode,
            user: "root".to_owned(),
            group: "root".to_owned(),
            mtime,
            config: false,
        }
    }
}

/// Where a path of a Debian package is on a distribution with merged `/usr`, `/run` and `/run/lock`.
pub(crate) fn merged(path: &str) -> String {
    for (old, new) in [
        ("/bin", "/usr/bin"),
        ("/sbin", "/usr/sbin"),
        ("/lib", "/usr/lib"),
        ("/lib32", "/usr/lib32"),
        ("/lib64", "/usr/lib64"),
        ("/libx32", "/usr/libx32"),
        ("/var/run", "/run"),
        ("/var/lock", "/run/lock"),
    ] {
        match path.strip_prefix(old) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                return format!("{new}{rest}");
            }
            _ => {}
        }
    }
    path.to_owned()
}

/// `.`, `..` and doubled slashes taken out of an absolute path.
pub(crate) fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The folder of an absolute path, without a slash at its end.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The target that a symbolic link at `path` must have once both ends are where [`merged`] puts them.
fn moved_target(path: &str, target: &str) -> String {
    let new = merged(path);
    if target.starts_with('/') || new == path {
        return target.to_owned();
    }
    let end = merged(&normal(&format!("{}/{target}", parent(path))));
    let (from, to): (Vec<&str>, Vec<&str>) =
        (parent(&new).split('/').collect(), end.split('/').collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = vec![".."; from.len() - common];
    [up, to[common..].to_vec()].concat().join("/")
}

/// Puts a file of a Debian package where it belongs.
///
/// Where two paths become one, a file wins over a link: the link was there to lead to it.
pub(crate) fn place(tree: &mut Tree, path: &str, mut node: Node) {
    let mut new = merged(path);
    match &mut node.kind {
        Kind::SymLink(target) => {
            // The links that merge `/usr` are what all else relies on: they stay where they are.
            let joined = if target.starts_with('/') {
                target.clone()
            } else {
                format!("{}/{target}", parent(path))
            };
            let end = merged(&normal(&joined));
            if end == new {
                if parent(path).is_empty() {
                    path.clone_into(&mut new);
                } else {
                    return;
                }
            } else {
                *target = moved_target(path, target);
            }
        }
        Kind::HardLink(target) => *target = merged(target),
        _ => {}
    }
    let weaker = |kind: &Kind| matches!(kind, Kind::SymLink(_) | Kind::Directory);
    if !tree.contains_key(&new) || !weaker(&node.kind) {
        tree.insert(new, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_merge() {
        for (old, new) in [
            ("/bin/sh", "/usr/bin/sh"),
            ("/lib", "/usr/lib"),
            ("/lib64/ld.so", "/usr/lib64/ld.so"),
            ("/library/x", "/library/x"),
            ("/usr/bin/x", "/usr/bin/x"),
            ("/var/run/x", "/run/x"),
        ] {
            assert_eq!(merged(old), new);
        }
    }

    #[test]
    fn links_keep_their_targets() {
        for (path, target, moved) in [
            ("/lib/a/libz.so.1", "libz.so.1.3", "libz.so.1.3"),
            ("/lib/a/x", "../../usr/share/x", "../../share/x"),
            ("/bin/x", "../usr/bin/y", "y"),
            ("/bin/x", "/etc/x", "/etc/x"),
            ("/usr/lib/x", "../../lib/y", "../../lib/y"),
            ("/sbin/x", "../bin/y", "../bin/y"),
        ] {
            assert_eq!(moved_target(path, target), moved, "{path}");
        }
    }

    #[test]
    fn a_file_wins_over_the_link_to_it() {
        let file = || Node::new(Kind::File(Content::Bytes(vec![1])), 0o755, 0);
        let link = |target: &str| Node::new(Kind::SymLink(target.to_owned()), 0o777, 0);
        let mut tree = Tree::new();
        place(&mut tree, "/usr/bin/touch", link("/bin/touch"));
        place(&mut tree, "/bin/touch", file());
        place(&mut tree, "/usr/bin/cat", file());
        place(&mut tree, "/bin/cat", link("../usr/bin/cat"));
        place(&mut tree, "/bin", link("usr/bin"));
        assert_eq!(tree["/usr/bin/touch"], file());
        assert_eq!(tree["/usr/bin/cat"], file());
        assert_eq!(tree["/bin"], link("usr/bin"));
        assert_eq!(tree.len(), 3);
    }
}
