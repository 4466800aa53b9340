//! Finding and reaching an engine: Docker Engine, or Podman by its Docker-compatible socket.

use std::io;
use std::os::unix::net::UnixStream;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::address::{Address, Route};
use super::dial::{self, PATIENCE};
use crate::backend::BackendError;
use crate::backend::native::wire::Failure;

/// The oldest API that is understood: Docker Engine 20.10.
const OLDEST: (u64, u64) = (1, 41);

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
    pub(super) fn start(self) -> &'static str {
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
    /// It is reached by a socket of this machine: it sees the same files.
    pub(super) own_socket: bool,
}

impl Engine {
    /// Whether it is the Podman of an ordinary user of this machine. Older ones do not say so in Docker's words.
    pub(super) fn is_a_user_s_podman(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let socket = self.address.strip_prefix("unix://").filter(|_| self.podman);
        let facts = socket.and_then(|socket| fs_err::metadata(socket).ok());
        facts.is_some_and(|facts| facts.uid() != 0)
    }

    /// Reaches the engine at an address; says what is missing where it cannot.
    pub async fn connect(at: &Address) -> Result<Self, BackendError> {
        let silent = |error: Error| silent(at, &said(&error));
        let api = api(at)?.negotiate_version().await.map_err(silent)?;
        let version = api.version().await.map_err(silent)?;
        let spoken = version.api_version.clone().unwrap_or_default();
        if number(&spoken) < OLDEST {
            return Err(BackendError::Unavailable {
                what: format!(
                    "{} at `{}` is too old: it speaks API {spoken}, and {}.{} is needed",
                    at.brand.name(),
                    at.text,
                    OLDEST.0,
                    OLDEST.1
                ),
                remedy: "install Docker Engine 20.10 or newer, or Podman 4 or newer".to_owned(),
            });
        }
        let podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name.contains("Podman"));
        let name = if podman { Brand::Podman } else { Brand::Docker };
        Ok(Self {
            api,
            address: at.text.clone(),
            own_socket: matches!(at.route, Route::Unix(_)),
            version: format!(
                "{} {}, API {spoken}",
                name.name(),
                version.version.unwrap_or_default()
            ),
            podman,
        })
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
            let source = io::Error::other(text);
            told(&address, BackendError::Step { doing, source })
        }
    }

    /// An error of our program in a container: a full disk is one of the engine's.
    pub(super) fn inside(&self, failure: Failure) -> BackendError {
        told(&self.address, failure.into())
    }
}

/// Names the engine where its disk is full: nobody would look there.
fn told(address: &str, error: BackendError) -> BackendError {
    match error {
        BackendError::Step { doing, source } if is_full(&source) => BackendError::Unavailable {
            what: format!(
                "cannot {doing}: the disk of the engine at `{address}` is full: {source}"
            ),
            remedy:
                "make room there; `docker system df` (or `podman system df`) says what takes it"
                    .to_owned(),
        },
        error => error,
    }
}

fn is_full(error: &io::Error) -> bool {
    let text = error.to_string().to_lowercase();
    // As the kernel says it, wherever it comes through.
    text.contains("no space left on device") || text.contains("disk quota exceeded")
}

/// The API at an address, not yet asked anything.
fn api(at: &Address) -> Result<Docker, BackendError> {
    let made = match &at.route {
        Route::Unix(path) => {
            look(at.brand, path)?;
            let made = Docker::connect_with_unix(path, PATIENCE, API_DEFAULT_VERSION);
            made.map_err(|error| said(&error))
        }
        Route::Tcp(host, port) => {
            let host = if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            let made = Docker::connect_with_http(&host, PATIENCE, API_DEFAULT_VERSION);
            made.map_err(|error| said(&error))
        }
        Route::Tls(host, port, certificates) => {
            dial::tls((host, *port), certificates).map_err(|error| error.to_string())
        }
        Route::Ssh(words) => dial::ssh(words).map_err(|error| error.to_string()),
    };
    made.map_err(|why| silent(at, &why))
}

fn silent(at: &Address, why: &str) -> BackendError {
    BackendError::Unavailable {
        what: format!(
            "{} at `{}` does not answer: {why}",
            at.brand.name(),
            at.text
        ),
        remedy: at.remedy(),
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

/// Whether the engine will know more soon: Podman 5 has a state of its own, which the client does not know,
/// between the end of a container's processes and that of the container.
pub(super) fn is_between(error: &Error) -> bool {
    error.to_string().contains("unknown variant `stopped`")
}

/// How often, and after which pause, it is then asked again.
pub(super) const TRIES: u32 = 500;
/// See `TRIES`.
pub(super) const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// An error with its causes, in one line.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        // The client's own words for a connection that does not come about or breaks say less than what is below.
        if CLIENT.iter().any(|words| text.starts_with(words)) {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.trim_end().to_owned()
}

/// How the words of the client begin, at each of its levels.
const CLIENT: [&str; 3] = [
    "Error in the hyper legacy client",
    "client error (",
    "connection error",
];

fn number(version: &str) -> (u64, u64) {
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert!(number("1.9") < number("1.41"));
        assert!(number("2") > OLDEST);
        assert!(number("") < OLDEST);
    }
}
