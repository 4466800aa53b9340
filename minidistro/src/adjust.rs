//! What Debian's maintainer scripts would have done, as files, dependencies and scriptlets.
//!
//! Those scripts are not run. A few packages would not work without what they set up; each rule here replaces a part
//! of one script, or makes the package a better member of an RPM distribution.

use rpm::{Dependency, PackageBuilder, Scriptlet};

use crate::Suite;
use crate::index::Binary;
use crate::provides;
use crate::rules::{
    ADD_SHELLS, ALTERNATIVES, FOLDERS, LDCONFIG, LINKS, MERGE_USR, OLD_PATHS, PAM, REMOVE_SHELLS,
};
use crate::tree::{Content, Kind, Node, Tree, parent};

/// What the conversion of one package depends on besides the package.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) suite: Suite,
    /// The package that owns `awk`.
    pub(crate) awk: Option<&'static str>,
}

impl Context {
    /// What `plan` means for the conversion of its packages.
    pub(crate) fn of(suite: Suite, plan: &[Binary]) -> Self {
        let mut known = ["gawk", "mawk", "original-awk"].into_iter();
        let awk = known.find(|awk| plan.iter().any(|binary| binary.name == *awk));
        Self { suite, awk }
    }
}

/// Changes the files of the package `name`. `mtime` is for what is added (seconds since 1970).
pub(crate) fn files(name: &str, tree: &mut Tree, context: &Context, mtime: u32) {
    let mut edit = Edit { tree, mtime };
    match name {
        "base-files" => edit.base_files(),
        "base-passwd" => edit.accounts(),
        "libc-bin" => edit.libc_bin(),
        "libpam-runtime" => {
            for (file, text) in PAM {
                edit.add(&format!("/etc/pam.d/{file}"), (*text).to_owned(), 0o644);
            }
        }
        "rpm-common" => edit.rpm_macros(context.suite),
        _ => {}
    }
    for (package, link, start) in ALTERNATIVES {
        if *package == name && (!link.ends_with("/awk") || context.awk == Some(name)) {
            edit.alternative(link, start);
        }
    }
}

/// Adds dependencies and scriptlets of the package `name`.
pub(crate) fn header(name: &str, tree: &Tree, builder: &mut PackageBuilder) {
    for (_, paths) in OLD_PATHS.iter().filter(|(package, _)| *package == name) {
        for path in *paths {
            builder.provides(Dependency::any(*path));
        }
    }
    for dependency in provides::provides(tree) {
        builder.provides(dependency);
    }
    if name != "base-files" {
        builder.requires(Dependency::any("base-files"));
    }
    let foreign = tree
        .values()
        .any(|node| node.user != "root" || node.group != "root");
    if foreign && !matches!(name, "base-files" | "base-passwd") {
        builder.requires(Dependency::script_pre("base-passwd"));
    }
    match name {
        "base-files" => drop(builder.pre_trans_script(lua(MERGE_USR))),
        "base-passwd" => {
            for (kind, path) in [("user", "/etc/passwd"), ("group", "/etc/group")] {
                for name in account_names(tree, path) {
                    builder.provides(Dependency::any(format!("{kind}({name})")));
                }
            }
        }
        "bash" => {
            builder.post_install_script(lua(ADD_SHELLS));
            builder.post_uninstall_script(Scriptlet::new(REMOVE_SHELLS));
        }
        "libc-bin" => {
            for path in ["/etc/ld.so.conf.d", "/usr/lib", "/usr/local/lib"] {
                builder.trans_file_trigger_in(path, None, Scriptlet::new(LDCONFIG));
                builder.trans_file_trigger_postun(path, None, Scriptlet::new(LDCONFIG));
            }
            builder.requires(Dependency::any("/bin/sh"));
            builder.requires(Dependency::any("coreutils"));
        }
        _ => {}
    }
}

fn lua(script: &str) -> Scriptlet {
    Scriptlet::new(script).prog(vec!["<lua>"])
}

fn account_names(tree: &Tree, path: &str) -> Vec<String> {
    let text = text(tree, path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(':').next())
        .map(str::to_owned)
        .collect()
}

/// The text of a small file.
fn text(tree: &Tree, path: &str) -> Option<String> {
    match &tree.get(path)?.kind {
        Kind::File(Content::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

struct Edit<'a> {
    tree: &'a mut Tree,
    mtime: u32,
}

impl Edit<'_> {
    /// A configuration file that a script would have written.
    fn add(&mut self, path: &str, text: String, mode: u16) -> &mut Node {
        let mut node = Node::new(
            Kind::File(Content::Bytes(text.into_bytes())),
            mode,
            self.mtime,
        );
        node.config = true;
        self.tree
            .entry(path.to_owned())
            .insert_entry(node)
            .into_mut()
    }

    /// A configuration file that a script would have copied from another file of the package.
    fn copy(&mut self, from: &str, to: &str) {
        if let Some(text) = text(self.tree, from) {
            self.add(to, text, 0o644);
        }
    }

    fn base_files(&mut self) {
        for (path, mode) in FOLDERS {
            self.tree.insert(
                (*path).to_owned(),
                Node::new(Kind::Directory, *mode, self.mtime),
            );
        }
        for (path, target) in LINKS {
            self.tree.insert(
                (*path).to_owned(),
                Node::new(Kind::SymLink((*target).to_owned()), 0o777, self.mtime),
            );
        }
        // The group of /var/local does not exist yet when base-files, the first of all, is installed.
        for node in self
            .tree
            .values_mut()
            .filter(|node| node.kind == Kind::Directory && node.group != "root")
        {
            "root".clone_into(&mut node.group);
            node.mode &= 0o1777;
        }
        self.copy("/usr/share/base-files/dot.bashrc", "/root/.bashrc");
        self.copy("/usr/share/base-files/dot.profile", "/root/.profile");
        self.copy("/usr/share/base-files/profile", "/etc/profile");
        self.copy("/usr/share/base-files/motd", "/etc/motd");
        self.add(
            "/etc/hosts",
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned(),
            0o644,
        );
        self.add(
            "/etc/shells",
            "# /etc/shells: valid login shells\n/bin/sh\n/usr/bin/sh\n".to_owned(),
            0o644,
        );
    }

    fn accounts(&mut self) {
        for (master, file, shadow) in [
            (
                "/usr/share/base-passwd/passwd.master",
                "/etc/passwd",
                "/etc/shadow",
            ),
            (
                "/usr/share/base-passwd/group.master",
                "/etc/group",
                "/etc/gshadow",
            ),
        ] {
            let Some(text) = text(self.tree, master) else {
                continue;
            };
            let (mut open, mut hidden) = (String::new(), String::new());
            for line in text.lines() {
                let mut fields: Vec<&str> = line.split(':').collect();
                let Some(name) = fields.first().copied() else {
                    continue;
                };
                if let Some(password) = fields.get_mut(1) {
                    *password = "x";
                }
                open.extend([fields.join(":").as_str(), "\n"]);
                let rest = if file == "/etc/passwd" {
                    ":*::0:99999:7:::\n"
                } else {
                    ":*::\n"
                };
                hidden.extend([name, rest]);
            }
            self.add(file, open, 0o644);
            // Not for the group `shadow`, which comes into being with this package.
            self.add(shadow, hidden, 0o600);
        }
    }

    fn libc_bin(&mut self) {
        self.copy("/usr/share/libc-bin/nsswitch.conf", "/etc/nsswitch.conf");
        // RPM's macros put libraries into /usr/lib64, where Debian's loader does not look.
        self.add(
            "/etc/ld.so.conf.d/lib64.conf",
            "/usr/local/lib64\n/usr/lib64\n".to_owned(),
            0o644,
        );
        self.tree.insert(
            "/etc/ld.so.cache".to_owned(),
            Node::new(Kind::Ghost, 0o644, self.mtime),
        );
        self.tree.insert(
            "/var/cache/ldconfig".to_owned(),
            Node::new(Kind::Directory, 0o700, self.mtime),
        );
    }

    fn rpm_macros(&mut self, suite: Suite) {
        // RPM distributions have the plugins in packages of their own; in a sandbox they are of no use, and the one
        // that unshares namespaces makes scriptlets fail where the root is no mount point.
        self.tree.retain(|path, _| {
            !path.starts_with("/usr/lib/rpm/macros.d/macros.transaction_")
                && !path.contains("/rpm-plugins/")
        });
        let files: Vec<String> = self
            .tree
            .keys()
            .filter(|path| path.starts_with("/usr/lib/rpm/") && path.ends_with("/macros"))
            .cloned()
            .collect();
        for path in files {
            let Some(Node {
                kind: Kind::File(Content::Bytes(bytes)),
                ..
            }) = self.tree.get_mut(&path)
            else {
                continue;
            };
            let Ok(text) = std::str::from_utf8(bytes) else {
                continue;
            };
            let lines = text
                .lines()
                .map(|line| match line.split_ascii_whitespace().next() {
                    Some("%_dbpath") => "%_dbpath\t\t%{_var}/lib/rpm",
                    Some("%_sharedstatedir") => "%_sharedstatedir\t%{_var}/lib",
                    Some("%_localstatedir") => "%_localstatedir\t\t%{_var}",
                    _ => line,
                });
            *bytes = lines
                .flat_map(|line| [line, "\n"])
                .collect::<String>()
                .into_bytes();
        }
        let text = format!("%dist .md{0}\n%minidistro {0}\n", suite.number());
        self.add("/usr/lib/rpm/macros.d/macros.dist", text, 0o644)
            .config = false;
    }

    /// Adds `link`, unless it is there, to the first file beside it (or at an absolute path) that starts with `start`.
    fn alternative(&mut self, link: &str, start: &str) {
        let start = if start.starts_with('/') {
            start.to_owned()
        } else {
            format!("{}/{start}", parent(link))
        };
        let target = self
            .tree
            .range(start.clone()..)
            .next()
            .map(|(path, _)| path.clone());
        if let Some(target) =
            target.filter(|path| path.starts_with(&start) && !self.tree.contains_key(link))
        {
            let target = match target.strip_prefix(&format!("{}/", parent(link))) {
                Some(beside) => beside.to_owned(),
                None => target,
            };
            self.tree.insert(
                link.to_owned(),
                Node::new(Kind::SymLink(target), 0o777, self.mtime),
            );
        }
    }
}
