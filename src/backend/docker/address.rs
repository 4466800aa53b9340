//! Where an engine is, as its own command takes it: variables of the environment, contexts, and
//! the forms of an address.

use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use super::Brand;
use crate::backend::BackendError;
use crate::digest::Digest;

/// Where Docker Engine listens by itself.
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";
/// Ports of Docker Engine without and with TLS.
const PORTS: (u16, u16) = (2375, 2376);

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What is looked for there.
    pub brand: Brand,
    /// As it was given.
    pub(super) text: String,
    pub(super) route: Route,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// A socket of this machine.
    Unix(String),
    /// Without any protection: host and port.
    Tcp(String, u16),
    /// Host, port, and the folder with `ca.pem`, `cert.pem` and `key.pem`.
    Tls(String, u16, PathBuf),
    /// The command's arguments after `ssh`.
    Ssh(Vec<String>),
}

/// Reads a variable of the environment.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

fn unavailable(what: String, remedy: impl Into<String>) -> BackendError {
    BackendError::Unavailable {
        what,
        remedy: remedy.into(),
    }
}

impl Address {
    /// Where an engine of that brand is looked for, as its own command does.
    pub fn find(brand: Brand, variable: Variable<'_>) -> Result<Self, BackendError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        match brand {
            Brand::Docker => docker(&variable),
            Brand::Podman => {
                let given = variable("CONTAINER_HOST");
                Self::parse(brand, &given.unwrap_or_else(|| podman_socket(&variable)))
            }
        }
    }

    /// Reads an address that asks for no TLS.
    pub fn parse(brand: Brand, text: &str) -> Result<Self, BackendError> {
        Self::read(brand, text, None)
    }

    /// Reads an address; where it is tcp, it is with TLS if there is a folder of certificates.
    fn read(brand: Brand, text: &str, certificates: Option<PathBuf>) -> Result<Self, BackendError> {
        let wrong = || {
            unavailable(
                format!("`{text}` is not the address of an engine"),
                "addresses are unix:///PATH, tcp://HOST:PORT and ssh://USER@HOST",
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let route = match scheme {
            "unix" if rest.starts_with('/') => Route::Unix(rest.to_owned()),
            "tcp" => {
                let rest = if rest.starts_with(':') || rest.is_empty() {
                    format!("localhost{rest}")
                } else {
                    rest.to_owned()
                };
                let url = Url::parse(&format!("tcp://{rest}")).map_err(|_| wrong())?;
                let plain = url.username().is_empty() && matches!(url.path(), "" | "/");
                let host = url.host_str().filter(|_| plain).ok_or_else(wrong)?;
                let host = host.trim_matches(['[', ']']).to_owned();
                match certificates {
                    Some(folder) => Route::Tls(host, url.port().unwrap_or(PORTS.1), folder),
                    None => Route::Tcp(host, url.port().unwrap_or(PORTS.0)),
                }
            }
            "ssh" => Route::Ssh(ssh(brand, text).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        Ok(Self {
            brand,
            text: text.to_owned(),
            route,
        })
    }

    /// What is to be looked at where nobody answers.
    pub(super) fn remedy(&self) -> String {
        match &self.route {
            Route::Unix(_) => self.brand.start().to_owned(),
            Route::Tcp(..) => "this address is asked without TLS; with it: DOCKER_TLS_VERIFY=1, and `ca.pem`, `cert.pem` and \
                               `key.pem` in the folder DOCKER_CERT_PATH"
                .to_owned(),
            Route::Tls(_, _, folder) => format!(
                "its certificate must be signed by `ca.pem` and its name be that of the address; yours are `cert.pem` and \
                 `key.pem`: all in `{}`",
                folder.display()
            ),
            Route::Ssh(words) => format!(
                "`ssh {}` must reach the engine without a question: with a key that is accepted, and a host key that is known",
                words.join(" ")
            ),
        }
    }
}

/// The arguments of `ssh` that reach the engine of that address, as Docker's own command has them.
fn ssh(brand: Brand, text: &str) -> Option<Vec<String>> {
    let url = Url::parse(text).ok()?;
    let unknown = url.password().is_some() || url.query().is_some() || url.fragment().is_some();
    let host = url.host_str().filter(|_| !unknown)?;
    // There is nobody to answer: Ctrl-C and the progress of a build are on the terminal.
    let mut words = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-T"]
        .map(str::to_owned)
        .to_vec();
    if !url.username().is_empty() {
        words.extend(["-l".to_owned(), url.username().to_owned()]);
    }
    if let Some(port) = url.port() {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words.extend(["--".to_owned(), host.trim_matches(['[', ']']).to_owned()]);
    let (program, option) = match brand {
        Brand::Docker => ("docker", "--host"),
        Brand::Podman => ("podman", "--url"),
    };
    words.push(program.to_owned());
    if !matches!(url.path(), "" | "/") {
        let socket = format!("unix://{}", url.path());
        // The other side's shell reads it.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+@".contains(c);
        if !socket.chars().all(plain) {
            return None;
        }
        words.extend([option.to_owned(), socket]);
    }
    words.extend(["system", "dial-stdio"].map(str::to_owned));
    Some(words)
}

fn podman_socket(variable: Variable<'_>) -> String {
    let own = variable("XDG_RUNTIME_DIR")
        .map(|folder| format!("{folder}/podman/podman.sock"))
        .filter(|path| Path::new(path).exists());
    let path = own.unwrap_or_else(|| "/run/podman/podman.sock".to_owned());
    format!("unix://{path}")
}

/// `DOCKER_HOST`, else the context that `DOCKER_CONTEXT` or the configuration names, else the usual socket.
fn docker(variable: Variable<'_>) -> Result<Address, BackendError> {
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")));
    let Some(text) = variable("DOCKER_HOST") else {
        let name = match (variable("DOCKER_CONTEXT"), &folder) {
            (Some(name), _) => Some(name),
            (None, Some(folder)) => current_context(&folder.join("config.json"))?,
            (None, None) => None,
        };
        return match (name.filter(|name| name != "default"), folder) {
            (Some(name), Some(folder)) => context(&folder, &name),
            _ => Address::parse(Brand::Docker, DOCKER_SOCKET),
        };
    };
    let verified = variable("DOCKER_TLS_VERIFY").is_some();
    if variable("DOCKER_TLS").is_some() && !verified && text.starts_with("tcp://") {
        return Err(unverified("DOCKER_TLS"));
    }
    let certificates = variable("DOCKER_CERT_PATH").map(PathBuf::from).or(folder);
    Address::read(Brand::Docker, &text, certificates.filter(|_| verified))
}

fn unverified(asked_by: &str) -> BackendError {
    unavailable(
        format!("{asked_by} asks for TLS with an engine whose certificate is not looked at"),
        "name the CA: `ca.pem` in the folder DOCKER_CERT_PATH, with DOCKER_TLS_VERIFY=1, or a context with --docker ca=…",
    )
}

/// What is read of Docker's configuration.
#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

/// A context, as Docker's command keeps it.
#[derive(Deserialize)]
struct Context {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, BackendError> {
    let unreadable = |why: String| {
        unavailable(
            format!("cannot read `{}`: {why}", path.display()),
            "mend it, or name the engine by DOCKER_HOST",
        )
    };
    match fs_err::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.kind().to_string())),
    }
}

fn current_context(configuration: &Path) -> Result<Option<String>, BackendError> {
    let read = load::<Configuration>(configuration)?;
    Ok(read
        .and_then(|read| read.current_context)
        .filter(|name| !name.is_empty()))
}

/// The engine of a context.
fn context(folder: &Path, name: &str) -> Result<Address, BackendError> {
    let id = Digest::of(name.as_bytes()).hex();
    let contexts = folder.join("contexts");
    let Some(context) = load::<Context>(&contexts.join("meta").join(&id).join("meta.json"))? else {
        return Err(unavailable(
            format!("there is no docker context `{name}`"),
            "`docker context ls` lists them; or name the engine by DOCKER_HOST",
        ));
    };
    let endpoint = context.endpoints.docker;
    let certificates = contexts.join("tls").join(&id).join("docker");
    let protected = certificates.is_dir();
    if endpoint.skip_tls_verify && endpoint.host.starts_with("tcp://") {
        return Err(unverified(&format!("the docker context `{name}`")));
    }
    let host = match endpoint.host.as_str() {
        "" => DOCKER_SOCKET,
        host => host,
    };
    Address::read(Brand::Docker, host, protected.then_some(certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(brand: Brand, variables: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Address::find(brand, &variable) {
            Ok(address) => format!("{:?}", address.route),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn engines_are_looked_for_where_their_own_commands_do() {
        let docker = |variables: &[(&str, &str)]| found(Brand::Docker, variables);
        assert_eq!(docker(&[]), r#"Unix("/var/run/docker.sock")"#);
        assert_eq!(
            docker(&[("DOCKER_HOST", "")]),
            r#"Unix("/var/run/docker.sock")"#
        );
        let host = ("DOCKER_HOST", "tcp://far");
        assert_eq!(docker(&[host]), r#"Tcp("far", 2375)"#);
        assert_eq!(
            docker(&[host, ("DOCKER_CERT_PATH", "/c")]),
            r#"Tcp("far", 2375)"#
        );
        let verify = ("DOCKER_TLS_VERIFY", "1");
        assert_eq!(
            docker(&[host, verify, ("HOME", "/h")]),
            r#"Tls("far", 2376, "/h/.docker")"#
        );
        assert_eq!(
            docker(&[host, verify, ("DOCKER_CERT_PATH", "/c")]),
            r#"Tls("far", 2376, "/c")"#
        );
        assert_eq!(
            docker(&[host, ("DOCKER_TLS", "1")]),
            "DOCKER_TLS asks for TLS with an engine whose certificate is not looked at"
        );
        let podman = |variables: &[(&str, &str)]| found(Brand::Podman, variables);
        assert_eq!(podman(&[]), r#"Unix("/run/podman/podman.sock")"#);
        assert_eq!(
            podman(&[("CONTAINER_HOST", "tcp://[::1]:8080")]),
            r#"Tcp("::1", 8080)"#
        );
    }

    #[test]
    fn addresses_are_read_as_docker_s_command_reads_them() {
        let read = |text: &str| match Address::parse(Brand::Docker, text) {
            Ok(address) => format!("{:?}", address.route),
            Err(error) => error.to_string(),
        };
        assert_eq!(read("unix:///a b/socket"), r#"Unix("/a b/socket")"#);
        assert_eq!(read("10.0.0.1:99"), r#"Tcp("10.0.0.1", 99)"#);
        assert_eq!(read("tcp://:99"), r#"Tcp("localhost", 99)"#);
        for wrong in [
            "unix://relative",
            "http://a",
            "fd://",
            "tcp://a/b",
            "ssh://",
            "ssh://a?b",
            "ssh://a:b@c",
            "ssh://a/b;c",
        ] {
            assert_eq!(
                read(wrong),
                format!("`{wrong}` is not the address of an engine")
            );
        }
        let words = |brand, text: &str| ssh(brand, text).unwrap()[5..].join(" ");
        assert_eq!(
            words(Brand::Docker, "ssh://far"),
            "-- far docker system dial-stdio"
        );
        assert_eq!(
            words(Brand::Docker, "ssh://me@far:22/run/own.sock"),
            "-l me -p 22 -- far docker --host unix:///run/own.sock system dial-stdio"
        );
        assert_eq!(
            words(Brand::Podman, "ssh://[::1]/run/podman.sock"),
            "-- ::1 podman --url unix:///run/podman.sock system dial-stdio"
        );
    }

    #[test]
    fn contexts_are_read_where_docker_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let own = ("DOCKER_CONFIG", place);
        let id = Digest::of(b"far").hex();
        let meta = folder.path().join("contexts/meta").join(&id);
        let write = |path: &Path, text: &str| {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            crate::files::write_atomic(path, text.as_bytes()).unwrap();
        };
        let chosen = |more: &[(&str, &str)]| found(Brand::Docker, &[&[own], more].concat());
        assert_eq!(
            chosen(&[("DOCKER_CONTEXT", "far")]),
            "there is no docker context `far`"
        );
        let endpoint =
            r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:1","SkipTLSVerify":false}}}"#;
        write(&meta.join("meta.json"), endpoint);
        assert_eq!(chosen(&[]), r#"Unix("/var/run/docker.sock")"#);
        assert_eq!(chosen(&[("DOCKER_CONTEXT", "far")]), r#"Tcp("far", 1)"#);
        write(
            &folder.path().join("config.json"),
            r#"{"auths":{},"currentContext":"far"}"#,
        );
        assert_eq!(chosen(&[]), r#"Tcp("far", 1)"#);
        assert_eq!(
            chosen(&[("DOCKER_CONTEXT", "default")]),
            r#"Unix("/var/run/docker.sock")"#
        );
        assert_eq!(chosen(&[("DOCKER_HOST", "unix:///a")]), r#"Unix("/a")"#);
        let tls = folder.path().join("contexts/tls").join(&id).join("docker");
        write(&tls.join("ca.pem"), "");
        assert_eq!(chosen(&[]), format!(r#"Tls("far", 1, {tls:?})"#));
        write(&meta.join("meta.json"), &endpoint.replace("false", "true"));
        assert_eq!(
            chosen(&[]),
            "the docker context `far` asks for TLS with an engine whose certificate is not looked at"
        );
        write(&folder.path().join("config.json"), "{");
        assert!(chosen(&[]).contains("config.json`: EOF while parsing"));
    }
}
