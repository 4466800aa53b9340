//! Certificates of the tests' own.

use std::path::Path;
use std::process::{Command, Stdio};

/// Makes an authority, a certificate of a server and one of a client. `false` where there is no `openssl`.
pub(crate) fn make_certificates(folder: &Path) -> bool {
    let script = "set -e\n\
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority \
          -addext basicConstraints=critical,CA:TRUE\n\
        for who in server client; do\n\
          openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key -out $who.csr -subj /CN=$who\n\
          printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > $who.ext\n\
          openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext -out $who.pem\n\
        done\n";
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
