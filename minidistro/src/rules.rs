//! The tables of [`crate::adjust`]: what maintainer scripts and Debian's alternatives would have set up.

/// Commands that Debian makes with its alternatives: package, link, and the command, or its start, it stands for.
pub(crate) const ALTERNATIVES: &[(&str, &str, &str)] = &[
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
pub(crate) const OLD_PATHS: &[(&str, &[&str])] = &[
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
pub(crate) const FOLDERS: &[(&str, u16)] = &[
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
pub(crate) const LINKS: &[(&str, &str)] = &[
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
pub(crate) const MERGE_USR: &str = r#"for _, name in ipairs({"bin", "sbin", "lib", "lib64"}) do
  if not posix.stat("/" .. name, "type") then
    posix.mkdir("/usr")
    posix.mkdir("/usr/" .. name)
    posix.symlink("usr/" .. name, "/" .. name)
  end
end
"#;

/// Adds bash to the list of login shells.
pub(crate) const ADD_SHELLS: &str = r#"local known = {}
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
pub(crate) const REMOVE_SHELLS: &str = r#"if [ "$1" = 0 ] && [ -f /etc/shells ]; then
    kept=
    while IFS= read -r line; do
        case $line in /bin/bash | /usr/bin/bash) ;; *) kept="$kept$line
" ;; esac
    done < /etc/shells
    printf %s "$kept" > /etc/shells
fi
"#;

/// Writes the cache of shared libraries. ldconfig's own notes (inode numbers, times) would differ each time.
pub(crate) const LDCONFIG: &str = "/sbin/ldconfig && rm -f /var/cache/ldconfig/aux-cache\n";

/// What PAM's modules of libpam-modules ask for, by file of `/etc/pam.d`.
pub(crate) const PAM: &[(&str, &str)] = &[
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
