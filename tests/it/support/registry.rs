//! A real registry on the loopback, ended with the test: Debian's `docker-registry`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::conformance::skip;

/// Who may log in where `Wants::login` is set: user and password.
pub(crate) const LOGIN: [&str; 2] = ["user", "secret"];
/// The same for the registry: bcrypt of the password.
const HTPASSWD: &str = "user:$2b$04$sLmv/r3cP9Uf4lDxiY8YseGnyWoiSjJROkCV4srVRk6IaoaXOzPUG\n";

/// What the registry asks of its clients.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wants {
    pub(crate) login: bool,
    pub(crate) tls: bool,
}

/// The registry; its folder goes with it.
pub(crate) struct DockerRegistry {
    child: Child,
    folder: tempfile::TempDir,
    /// `127.0.0.1` and its port.
    pub(crate) address: String,
}

impl DockerRegistry {
    /// `None` (and a line that says why) where there is none.
    pub(crate) fn start(wants: Wants) -> Option<Self> {
        for (program, package) in [
            ("docker-registry", "docker-registry"),
            ("openssl", "openssl"),
        ] {
            if Command::new(program).arg("--version").output().is_err() {
                skip(&format!("a real registry needs the package {package}"));
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n",
            at("data")
        );
        if wants.tls {
            certificates(&folder);
            let (certificate, key) = (at("cert.pem"), at("key.pem"));
            config.extend([
                "  tls:\n    certificate: ",
                &certificate,
                "\n    key: ",
                &key,
                "\n",
            ]);
        }
        if wants.login {
            fs_err::write(at("htpasswd"), HTPASSWD).unwrap();
            let path = at("htpasswd");
            let lines = ["auth:", "  htpasswd:", "    realm: test", "    path: "];
            config.extend([lines.join("\n").as_str(), &path, "\n"]);
        }
        fs_err::write(at("config.yml"), config).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said.extend([line.as_str(), "\n"]);
            let rest = line.split_once("listening on ")?.1;
            let end = rest.find([',', '"'])?;
            Some(rest[..end].to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("docker-registry did not start:\n{said}"));
        // It must not block on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Self {
            child,
            folder,
            address,
        })
    }

    /// The certificate of its CA, where it speaks TLS.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A CA of our own, and a certificate of it for the loopback.
fn certificates(folder: &tempfile::TempDir) {
    fs_err::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for command in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"),
        format!("req {key} -keyout key.pem -out request.pem -subj /CN=registry"),
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem".to_owned(),
    ] {
        let output = Command::new("openssl")
            .args(command.split(' '))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "openssl {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
