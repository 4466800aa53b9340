//! Connections to engines on other machines: TLS with a certificate of one's own, and `ssh`.
//!
//! By ssh it is as with Docker's own command: each connection is the standard streams of
//! `docker system dial-stdio` there. When this process ends they end, and with them all that hangs on it.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{ChildStderr, Command};
use tokio_rustls::TlsConnector;

/// Seconds until a command must have begun to answer.
pub(super) const PATIENCE: u64 = 60 * 60;
/// Most that is read of what `ssh` says.
const SAID: u64 = 8 << 10;
/// How long its last words are waited for once it has ended: a connection that it keeps for others holds them open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The engine's API by TLS, with the certificates of a folder.
pub(super) fn tls((host, port): (&str, u16), certificates: &Path) -> io::Result<Docker> {
    api(Way::Tls {
        connector: TlsConnector::from(Arc::new(configuration(certificates)?)),
        name: ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        at: (host.to_owned(), port),
    })
}

/// The engine's API by `ssh` with these arguments.
pub(super) fn ssh(words: &[String]) -> io::Result<Docker> {
    api(Way::Ssh(words.to_vec()))
}

fn api(way: Way) -> io::Result<Docker> {
    let client = Client::builder(TokioExecutor::new()).build(Dialer(Arc::new(way)));
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(bollard::errors::Error::from) }
    };
    // The name is for the requests only: the dialer knows the way.
    let name = Some("http://engine");
    let api = Docker::connect_with_custom_transport(transport, name, PATIENCE, API_DEFAULT_VERSION);
    api.map_err(io::Error::other)
}

/// TLS with the CA of a folder, and with its certificate where it has one.
fn configuration(folder: &Path) -> io::Result<rustls::ClientConfig> {
    let unusable = |name: &str, why: String| {
        let path = folder.join(name);
        io::Error::other(format!("cannot use `{}`: {why}", path.display()))
    };
    let read = |name: &str| {
        let read = fs_err::read(folder.join(name));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unusable(name, "there is no such file".to_owned()),
            kind => unusable(name, kind.to_string()),
        })
    };
    let certificates = |name: &str| {
        let found = CertificateDer::pem_slice_iter(&read(name)?).collect::<Result<Vec<_>, _>>();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(unusable(name, "there is no certificate in it".to_owned())),
            Err(error) => Err(unusable(name, error.to_string())),
        }
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable("ca.pem", error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    if !folder.join("cert.pem").exists() && !folder.join("key.pem").exists() {
        return Ok(builder.with_no_client_auth());
    }
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")?);
    let key = key.map_err(|error| unusable("key.pem", error.to_string()))?;
    let with_own = builder.with_client_auth_cert(certificates("cert.pem")?, key);
    with_own.map_err(|error| unusable("cert.pem", error.to_string()))
}

/// Opens connections.
#[derive(Clone)]
struct Dialer(Arc<Way>);

enum Way {
    Tls {
        connector: TlsConnector,
        name: ServerName<'static>,
        at: (String, u16),
    },
    Ssh(Vec<String>),
}

impl Way {
    async fn dial(&self) -> io::Result<Line> {
        match self {
            Self::Tls {
                connector,
                name,
                at,
            } => {
                let stream = TcpStream::connect((at.0.as_str(), at.1)).await?;
                stream.set_nodelay(true)?;
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Line(Box::new(stream)))
            }
            Self::Ssh(words) => Ok(Line(Box::new(remote(words)?))),
        }
    }
}

/// The way is known: what is asked for does not matter.
impl<Uri> tower_service::Service<Uri> for Dialer {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Line>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let way = Arc::clone(&self.0);
        Box::pin(async move { way.dial().await.map(TokioIo::new) })
    }
}

/// Both directions of a connection.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that is open.
struct Line(Box<dyn Duplex>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Starts `ssh`; its streams are the connection.
fn remote(words: &[String]) -> io::Result<impl Duplex + use<>> {
    let started = Command::new("ssh")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for this process, which has something to clear up by these connections.
        .process_group(0)
        .spawn();
    let mut child =
        started.map_err(|error| io::Error::other(format!("cannot start `ssh`: {error}")))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("`ssh` has no streams"));
    };
    let said = tokio::spawn(last_words(child, stderr));
    let answers = Answers {
        stdout,
        said: Some(said),
    };
    Ok(tokio::io::join(answers, stdin))
}

/// Reads what `ssh` says, to its end; it is a child that is waited for.
async fn last_words(mut child: tokio::process::Child, stderr: ChildStderr) -> String {
    let mut text = Vec::new();
    let mut stderr = stderr.take(SAID);
    tokio::select! {
        _ = stderr.read_to_end(&mut text) => {}
        () = async {
            let _ended = child.wait().await;
            tokio::time::sleep(LAST_WORDS).await;
        } => {}
    }
    tokio::spawn(async move { child.wait().await });
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// What comes by ssh. That nothing comes is an error, which `ssh` has told.
struct Answers {
    stdout: tokio::process::ChildStdout,
    /// Until something has come.
    said: Option<tokio::task::JoinHandle<String>>,
}

impl AsyncRead for Answers {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(context, buffer))?;
        let Some(said) = self.said.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        if buffer.filled().len() == before {
            let said = ready!(Pin::new(said).poll(context)).unwrap_or_default();
            return Poll::Ready(Err(io::Error::other(format!("ssh: {said}"))));
        }
        self.said = None;
        Poll::Ready(Ok(()))
    }
}
