//! Engines that are reached by TLS and by ssh, some of them without this machine's files.

use std::path::Path;
use std::process::Command;

use crate::support::certificates::make_certificates;
use crate::support::engine::{Engine, Setting, engine, free_port};
use crate::support::ssh::Sshd;

/// What `doctor` says about Docker with these variables.
fn doctor(variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(crate::support::program());
    command
        .args(["--backend", "docker", "-C"])
        .arg(folder.path())
        .arg("doctor");
    for name in [
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
    ] {
        command.env_remove(name);
    }
    command.env("DOCKER_CONFIG", folder.path());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (from, to) = (text.find("docker: "), text.find("podman: "));
    let text = &text[from.unwrap()..to.unwrap()];
    text.replace(folder.path().to_str().unwrap(), "FOLDER")
}

/// An engine that talks only with those who have a certificate of its authority; its address.
pub(crate) fn protected(certificates: &Path, before: String) -> Option<(Engine, String)> {
    engine()?;
    if !make_certificates(certificates) {
        crate::conformance::skip("there is no openssl");
        return None;
    }
    for (from, to) in [("client.pem", "cert.pem"), ("client.key", "key.pem")] {
        fs_err::copy(certificates.join(from), certificates.join(to)).unwrap();
    }
    let port = free_port();
    let place = |name: &str| certificates.join(name).display().to_string();
    let options = [
        ("--host", format!("tcp://127.0.0.1:{port}")),
        ("--tlscacert", place("ca.pem")),
        ("--tlscert", place("server.pem")),
        ("--tlskey", place("server.key")),
    ];
    let options = options
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value]);
    let setting = Setting {
        before,
        options: options.chain(["--tlsverify".to_owned()]).collect(),
    };
    let engine = Engine::start_with("docker", &setting).unwrap();
    Some((engine, format!("tcp://127.0.0.1:{port}")))
}

/// Keeps a context `far` with the certificates of a folder, as `docker context create` does; gives where those are.
fn keep_context(folder: &Path, host: &str) -> std::path::PathBuf {
    let id = pristine::digest::Digest::of(b"far").hex();
    let meta = folder.join("contexts/meta").join(&id);
    let tls = folder.join("contexts/tls").join(&id).join("docker");
    for path in [&meta, &tls] {
        fs_err::create_dir_all(path).unwrap();
    }
    let endpoint = format!(r#"{{"Name":"far","Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
    fs_err::write(meta.join("meta.json"), endpoint).unwrap();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        fs_err::copy(folder.join(name), tls.join(name)).unwrap();
    }
    tls
}

#[test]
fn an_engine_is_reached_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_engine, host)) = protected(folder.path(), String::new()) else {
        return;
    };
    let place = folder.path().to_str().unwrap();
    let plain = |text: String| text.replace(&host, "HOST").replace(place, "FOLDER");
    let (host, verify) = (("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1"));
    let certificates = ("DOCKER_CERT_PATH", place);
    insta::assert_snapshot!(doctor(&[host, verify, certificates]), @r"
    docker: works
      root inside is root outside, with fewer rights
    ");
    let tls = keep_context(folder.path(), host.1);
    let context = [("DOCKER_CONFIG", place), ("DOCKER_CONTEXT", "far")];
    assert!(doctor(&context).starts_with("docker: works\n"));

    insta::assert_snapshot!(plain(doctor(&[host])), @r"
    docker: does not work
      Docker Engine at `HOST` does not answer: Docker responded with status code 400: Client sent an HTTP request to an HTTPS server.
        to mend it: this address is asked without TLS; with it: DOCKER_TLS_VERIFY=1, and `ca.pem`, `cert.pem` and `key.pem` in the folder DOCKER_CERT_PATH
    ");
    insta::assert_snapshot!(plain(doctor(&[host, verify])), @r"
    docker: does not work
      Docker Engine at `HOST` does not answer: cannot use `FOLDER/ca.pem`: there is no such file
        to mend it: its certificate must be signed by `ca.pem` and its name be that of the address; yours are `cert.pem` and `key.pem`: all in `FOLDER`
    ");
    // Another authority, and none of our own certificate.
    fs_err::copy(
        folder.path().join("server.pem"),
        folder.path().join("ca.pem"),
    )
    .unwrap();
    insta::assert_snapshot!(plain(doctor(&[host, verify, certificates])), @r"
    docker: does not work
      Docker Engine at `HOST` does not answer: invalid peer certificate: UnknownIssuer
        to mend it: its certificate must be signed by `ca.pem` and its name be that of the address; yours are `cert.pem` and `key.pem`: all in `FOLDER`
    ");
    fs_err::copy(tls.join("ca.pem"), folder.path().join("ca.pem")).unwrap();
    for name in ["cert.pem", "key.pem"] {
        fs_err::remove_file(folder.path().join(name)).unwrap();
    }
    insta::assert_snapshot!(plain(doctor(&[host, verify, certificates])), @r"
    docker: does not work
      Docker Engine at `HOST` does not answer: received fatal alert: BadCertificate
        to mend it: its certificate must be signed by `ca.pem` and its name be that of the address; yours are `cert.pem` and `key.pem`: all in `FOLDER`
    ");
}

#[test]
fn an_engine_is_reached_by_ssh() {
    let (Some(engine), Some(sshd)) = (engine(), Sshd::start()) else {
        return;
    };
    let socket = engine.host().replace("unix://", "");
    let address = |port: u16| format!("ssh://root@127.0.0.1:{port}{socket}");
    let tell = |key: &str, host: &str| {
        let path = sshd.path(key);
        let text = doctor(&[("DOCKER_HOST", host), ("PATH", &path)]);
        text.replace(&sshd.port.to_string(), "PORT")
            .replace(&socket, "/SOCKET")
    };
    let host = address(sshd.port);
    insta::assert_snapshot!(tell("user", &host), @r"
    docker: works
      root inside is root outside, with fewer rights
    ");
    insta::assert_snapshot!(tell("stranger", &host), @r"
    docker: does not work
      Docker Engine at `ssh://root@127.0.0.1:PORT/SOCKET` does not answer: ssh: root@127.0.0.1: Permission denied (publickey,password,keyboard-interactive).
        to mend it: `ssh -o BatchMode=yes -o ConnectTimeout=30 -T -l root -p PORT -- 127.0.0.1 docker --host unix:///SOCKET system dial-stdio` must reach the engine without a question: with a key that is accepted, and a host key that is known
    ");
    insta::assert_snapshot!(tell("user", &host.replace(&socket, "/no/socket")), @r"
    docker: does not work
      Docker Engine at `ssh://root@127.0.0.1:PORT/no/socket` does not answer: ssh: failed to open the raw stream connection: dial unix /no/socket: connect: no such file or directory
        to mend it: `ssh -o BatchMode=yes -o ConnectTimeout=30 -T -l root -p PORT -- 127.0.0.1 docker --host unix:///no/socket system dial-stdio` must reach the engine without a question: with a key that is accepted, and a host key that is known
    ");
}
