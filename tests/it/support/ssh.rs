//! A server of ssh of a test's own, on the loopback, and the `ssh` that trusts it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::engine::free_port;

/// A running server.
pub(crate) struct Sshd {
    folder: tempfile::TempDir,
    server: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

const KEYS: &str = "ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f user \
                    && ssh-keygen -q -t ed25519 -N '' -f stranger";

impl Sshd {
    /// Starts it; `None`, with a word about why, where there is none.
    pub(crate) fn start() -> Option<Self> {
        let server = Path::new("/usr/sbin/sshd");
        if !rustix::process::geteuid().is_root() || !server.exists() {
            crate::conformance::skip("sshd needs root here, and the package openssh-server");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        configure(folder.path(), port);
        fs_err::create_dir_all("/run/sshd").unwrap();
        let server = Command::new(server)
            .args(["-D", "-e", "-f"])
            .arg(folder.path().join("server"))
            .stdin(Stdio::null())
            .stderr(
                fs_err::File::create(folder.path().join("log"))
                    .unwrap()
                    .into_file(),
            )
            .spawn()
            .unwrap();
        let mut sshd = Self {
            folder,
            server,
            port,
        };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = sshd.server.try_wait().unwrap();
            let log = || fs_err::read_to_string(sshd.folder.path().join("log")).unwrap();
            assert!(ended.is_none(), "{}", log());
            std::thread::yield_now();
        }
        Some(sshd)
    }

    /// A `PATH` on which `ssh` has the key of `user`, which is known here, or of `stranger`, which is not.
    pub(crate) fn path(&self, key: &str) -> String {
        let own = self.folder.path().join(format!("as-{key}"));
        format!("{}:{}", own.display(), std::env::var("PATH").unwrap())
    }
}

/// Keys, and the settings of the server and of its clients.
fn configure(folder: &Path, port: u16) {
    let place = folder.display().to_string();
    let write = |name: &str, text: &str| fs_err::write(folder.join(name), text).unwrap();
    let keys = Command::new("sh")
        .args(["-c", KEYS])
        .current_dir(&place)
        .status();
    assert!(keys.unwrap().success());
    write(
        "server",
        &format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\n\
                 StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
        ),
    );
    let host = fs_err::read_to_string(folder.join("host.pub")).unwrap();
    write("known", &format!("[127.0.0.1]:{port} {host}"));
    for key in ["user", "stranger"] {
        write(
            &format!("{key}.config"),
            &format!(
                "IdentityFile {place}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {place}/known\n"
            ),
        );
        // `ssh` as it is, with settings of its own: it looks for them in no other place.
        let name = format!("as-{key}");
        fs_err::create_dir(folder.join(&name)).unwrap();
        let program = format!("{name}/ssh");
        write(
            &program,
            &format!("#!/bin/sh\nexec /usr/bin/ssh -F {place}/{key}.config \"$@\"\n"),
        );
        let executable = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(folder.join(&program), executable).unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _ended = self.server.wait();
    }
}
