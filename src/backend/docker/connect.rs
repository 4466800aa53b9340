//! Finding and reaching an engine: Docker Engine, or Podman by its Docker-compatible socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bollard::Docker;
use bollard::errors::Error;

use crate::backend::BackendError;

/// The oldest API that is understood: Docker Engine 20.10.
const OLDEST: (u64, u64) = (1, 41);
/// Seconds until an engine must have begun to answer: importing an image takes long, and it answers when it has.
const PATIENCE: u64 = 60 * 60;

/// Which engine is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    /// Docker Engine, or whatever `DOCKER_HOST` names.
    Docker,
    /// Podman, or whatever `CONTAINER_HOST` names.
    Podman,
}

impl Brand {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker Engine",
            Self::Podman => "Podman",
        }
    }

    /// What starts it.
    fn start(self) -> &'static str {
        match self {
            Self::Docker => {
                "install Docker Engine (`sudo apt-get install docker.io`) and start it: \
                 `sudo systemctl start docker`; or name another by DOCKER_HOST"
            }
            Self::Podman => {
                "install Podman and start its socket: `systemctl --user start podman.socket`; \
                 or name another by CONTAINER_HOST"
            }
        }
    }

    /// What lets this user reach its socket.
    fn permit(self) -> &'static str {
        match self {
            Self::Docker => {
                "`sudo usermod -aG docker $USER`, then log in again (this group is as good as root); \
                 or use the native backend, which needs no such right"
            }
            Self::Podman => "start a socket of your own: `systemctl --user start podman.socket`",
        }
    }

    /// Where it is looked for, as its own command does; `variable` reads the environment.
    pub fn address(self, variable: &dyn Fn(&str) -> Option<String>) -> String {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        match self {
            Self::Docker => {
                variable("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
            }
            Self::Podman => variable("CONTAINER_HOST").unwrap_or_else(|| {
                let own = variable("XDG_RUNTIME_DIR")
                    .map(|folder| format!("{folder}/podman/podman.sock"))
                    .filter(|path| Path::new(path).exists());
                let path = own.unwrap_or_else(|| "/run/podman/podman.sock".to_owned());
                format!("unix://{path}")
            }),
        }
    }
}

/// An engine that answers.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Its API, in the newest version that both sides speak.
    pub api: Docker,
    /// Where it is.
    pub address: String,
    /// Name and version, as it says.
    pub version: String,
    /// It is Podman behind its Docker-compatible socket.
    pub podman: bool,
}

impl Engine {
    /// Reaches the engine at `address`; says what is missing where it cannot.
    pub async fn connect(brand: Brand, address: &str) -> Result<Self, BackendError> {
        let unavailable = |what: String, remedy: &str| BackendError::Unavailable {
            what,
            remedy: remedy.to_owned(),
        };
        if let Some(path) = address.strip_prefix("unix://") {
            look(brand, path)?;
        }
        let silent = |error: Error| {
            let why = said(&error);
            unavailable(
                format!("{} at `{address}` does not answer: {why}", brand.name()),
                brand.start(),
            )
        };
        let api = Docker::connect_with_host(address).map_err(|error| match error {
            Error::UnsupportedURISchemeError { .. } => unavailable(
                format!("`{address}` is not the address of an engine"),
                "addresses are unix:///PATH and tcp://HOST:PORT; TLS and ssh are not supported yet by this version",
            ),
            error => silent(error),
        })?;
        let api = api.with_timeout(std::time::Duration::from_secs(PATIENCE));
        let api = api.negotiate_version().await.map_err(silent)?;
        let version = api.version().await.map_err(silent)?;
        let spoken = version.api_version.clone().unwrap_or_default();
        if number(&spoken) < OLDEST {
            return Err(unavailable(
                format!(
                    "{} at `{address}` is too old: it speaks API {spoken}, and {}.{} is needed",
                    brand.name(),
                    OLDEST.0,
                    OLDEST.1
                ),
                "install Docker Engine 20.10 or newer, or Podman 4 or newer",
            ));
        }
        let podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name.contains("Podman"));
        let name = if podman { Brand::Podman } else { Brand::Docker };
        Ok(Self {
            api,
            address: address.to_owned(),
            version: format!(
                "{} {}, API {spoken}",
                name.name(),
                version.version.unwrap_or_default()
            ),
            podman,
        })
    }

    /// Whether host paths mean the same to it as to this process.
    pub fn is_local(&self) -> bool {
        self.address.starts_with("unix://")
    }

    /// Gives an error of the engine's the words for what was being done.
    pub(super) fn failed(&self, doing: impl Into<String>) -> impl FnOnce(Error) -> BackendError {
        let address = self.address.clone();
        let doing = doing.into();
        move |error| {
            let text = match &error {
                Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
                Error::DockerStreamError { error } => error.clone(),
                Error::HyperResponseError { .. }
                | Error::HyperLegacyError { .. }
                | Error::IOError { .. }
                | Error::RequestTimeoutError => {
                    let why = said(&error);
                    format!("the engine at `{address}` does not answer any more: {why}")
                }
                _ => said(&error),
            };
            BackendError::Step {
                doing,
                source: io::Error::other(text),
            }
        }
    }
}

/// What stands in the way to a socket, which the engine's own errors do not tell well.
fn look(brand: Brand, path: &str) -> Result<(), BackendError> {
    let Err(error) = UnixStream::connect(path) else {
        return Ok(());
    };
    let name = brand.name();
    let (what, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("{name} is not running: there is no socket `{path}`"),
            brand.start(),
        ),
        io::ErrorKind::ConnectionRefused => (
            format!("{name} is not running: nobody listens on the socket `{path}`"),
            brand.start(),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("this user may not use the socket `{path}` of {name}"),
            brand.permit(),
        ),
        _ => (
            format!("{name} cannot be reached by the socket `{path}`: {error}"),
            brand.start(),
        ),
    };
    Err(BackendError::Unavailable {
        what,
        remedy: remedy.to_owned(),
    })
}

/// Whether the engine says that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    has_status(error, 404)
}

/// Whether the engine answered with this status.
pub(super) fn has_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// An error with all its causes, in one line.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn number(version: &str) -> (u64, u64) {
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_looked_for_where_their_own_commands_do() {
        let none = |_: &str| None;
        let set = |name: &str| Some(format!("tcp://{}", name.to_lowercase()));
        assert_eq!(Brand::Docker.address(&none), "unix:///var/run/docker.sock");
        assert_eq!(Brand::Docker.address(&set), "tcp://docker_host");
        assert_eq!(
            Brand::Podman.address(&none),
            "unix:///run/podman/podman.sock"
        );
        assert_eq!(Brand::Podman.address(&set), "tcp://container_host");
        let empty = |_: &str| Some(String::new());
        assert_eq!(Brand::Docker.address(&empty), "unix:///var/run/docker.sock");
    }

    #[test]
    fn versions_are_numbers() {
        assert!(number("1.9") < number("1.41"));
        assert!(number("2") > OLDEST);
        assert!(number("") < OLDEST);
    }
}
