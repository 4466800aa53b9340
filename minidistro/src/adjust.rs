//! What Debian's maintainer scripts would have done, as files, dependencies and scriptlets.
//!
//! Those scripts are not run. A few packages would not work without what they set up; each rule here replaces a part
//! of one script, or makes the package a better member of an RPM distribution.

use rpm::{Dependency, PackageBuilder, Scriptlet};

use crate::Suite;
use crate::provides;
use crate::tree::{Content, Kind, Node, Tree, parent};

/// What the conversion of one package depends on besides the package.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) suite: Suite,
    /// The package that owns `awk`.
    pub(crate) awk: Option<&'static str>,
}

/// Commands that Debian makes with its alternatives: package, link, and the command, or its start, it stands for.
const ALTERNATIVES: &[(&str, &str, &str)] = &[
    ("automake", "/usr/bin/aclocal", "aclocal-1."),
    ("automake", "/usr/bin/automake", "automake-1."),
    ("bison", "/usr/bin/yacc", "bison.yacc"),
    ("cpp", "/usr/lib/cpp", "/usr/bin/cpp"),
    ("debianutils", "/usr/bin/which", "which.debianutils"),
    ("g++", "/usr/bin/c++", "g++"),
    ("gawk", "/usr/bin/awk", "gawk"),
    ("gcc", "/usr/bin/c89", "c89-gcc"),
    ("gcc", "/usr/bin/c99", "c99-gcc"),
    ("gcc", "/usr/bin/cc", "gcc"),
    ("less", "/usr/bin/pager", "less"),
    ("mawk", "/usr/bin/awk", "mawk"),
    ("original-awk", "/usr/bin/awk", "original-awk"),
    ("vim-tiny", "/usr/bin/vi", "vim.tiny"),
    ("xz-utils", "/usr/bin/lzma", "xz"),
    ("xz-utils", "/usr/bin/unlzma", "unxz"),
];

/// Paths outside `/usr` by which scripts name their interpreters.
const OLD_PATHS: &[(&str, &[&str])] = &[
    ("bash", &["/bin/bash"]),
    (
        "coreutils",
        &[
            "/bin/cat",
            "/bin/cp",
            "/bin/echo",
            "/bin/ln",
            "/bin/mkdir",
            "/bin/mv",
            "/bin/rm",
            "/bin/true",
        ],
    ),
    ("dash", &["/bin/dash", "/bin/sh"]),
    ("gawk", &["/bin/gawk"]),
    ("grep", &["/bin/egrep", "/bin/fgrep", "/bin/grep"]),
    ("libc-bin", &["/sbin/ldconfig"]),
    ("sed", &["/bin/sed"]),
    ("tar", &["/bin/tar"]),
];

/// Folders that every system has, with their modes.
const FOLDERS: &[(&str, u16)] = &[
    ("/boot", 0o755),
    ("/dev", 0o755),
    ("/etc/ld.so.conf.d", 0o755),
    ("/etc/opt", 0o755),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/run/lock", 0o1777),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr/lib64", 0o755),
    ("/usr/libexec", 0o755),
    ("/usr/local", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/local/etc", 0o755),
    ("/usr/local/include", 0o755),
    ("/usr/local/lib", 0o755),
    ("/usr/local/sbin", 0o755),
    ("/usr/local/share", 0o755),
    ("/usr/local/share/man", 0o755),
    ("/usr/local/src", 0o755),
    ("/var/mail", 0o775),
    ("/var/opt", 0o755),
    ("/var/tmp", 0o1777),
];

/// Links that base-files owns.
const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/etc/mtab", "../proc/self/mounts"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/usr/local/man", "share/man"),
    ("/var/lock", "/run/lock"),
    ("/var/run", "/run"),
    ("/var/spool/mail", "../mail"),
];

/// Makes the links that merge `/usr` before any package brings a file.
const MERGE_USR: &str = r#"for _, name in ipairs({"bin", "sbin", "lib", "lib64"}) do
  if not posix.stat("/" .. name, "type") then
    posix.mkdir("/usr")
    posix.mkdir("/usr/" .. name)
    posix.symlink("usr/" .. name, "/" .. name)
  end
end
"#;

/// Adds bash to the list of login shells.
const ADD_SHELLS: &str = r#"local known = {}
local list = io.open("/etc/shells", "r")
if list then
  for line in list:lines() do known[line] = true end
  list:close()
end
list = io.open("/etc/shells", "a")
if list then
  for _, shell in ipairs({"/bin/bash", "/usr/bin/bash"}) do
    if not known[shell] then list:write(shell .. "\n") end
  end
  list:close()
end
"#;

/// Takes bash out of the list of login shells when it is removed, not when it is upgraded.
const REMOVE_SHELLS: &str = r#"if [ "$1" = 0 ] && [ -f /etc/shells ]; then
    kept=
    while IFS= read -r line; do
        case $line in /bin/bash | /usr/bin/bash) ;; *) kept="$kept$line
" ;; esac
    done < /etc/shells
    printf %s "$kept" > /etc/shells
fi
"#;

/// Writes the cache of shared libraries. ldconfig's own notes (inode numbers, times) would differ each time.
const LDCONFIG: &str = "/sbin/ldconfig && rm -f /var/cache/ldconfig/aux-cache\n";

/// What PAM's modules of libpam-modules ask for, by file of `/etc/pam.d`.
const PAM: &[(&str, &str)] = &[
    ("common-account", "account required pam_unix.so\n"),
    ("common-auth", "auth required pam_unix.so nullok\n"),
    (
        "common-password",
        "password required pam_unix.so yescrypt\n",
    ),
    ("common-session", "session required pam_unix.so\n"),
    (
        "common-session-noninteractive",
        "session required pam_unix.so\n",
    ),
];

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
            node.group = "root".to_owned();
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
                open += &format!("{}\n", fields.join(":"));
                hidden += &match file {
                    "/etc/passwd" => format!("{name}:*::0:99999:7:::\n"),
                    _ => format!("{name}:*::\n"),
                };
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
