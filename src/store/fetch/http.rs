//! One try of one file at one HTTP server.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::header::{
    CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
    RETRY_AFTER,
};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, Response, StatusCode, Url};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{Fault, Problem, Retry};
use super::job::Job;
use super::{FetchError, FetchOptions, Fetcher};
use crate::digest::Digest;
use crate::documents::template::{Access, Proxy as Chosen};

/// The client, and what is wrong with it.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    /// The machine has no CA certificates: no `https` server can be trusted.
    without_roots: bool,
}

impl Http {
    /// A request for a whole file.
    pub(super) fn get(&self, url: &str) -> reqwest::RequestBuilder {
        self.client.get(url)
    }

    fn new(options: &FetchOptions, access: &Access) -> Result<Self, FetchError> {
        // An error means that the process has a provider already, which does as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let parts = Parts::read(access)?;
        let builder = || {
            parts.add_to(
                Client::builder()
                    .user_agent(&options.user_agent)
                    .connect_timeout(options.connect)
                    .referer(false),
            )
        };
        match builder().build() {
            Ok(client) => Ok(Self {
                client,
                without_roots: false,
            }),
            // Without CA certificates not even a client for plain `http` can be built,
            // and that is all that is needed where digests and signatures are checked.
            Err(first) => match builder().tls_certs_only(parts.authorities.clone()).build() {
                Ok(client) => Ok(Self {
                    client,
                    without_roots: parts.authorities.is_empty(),
                }),
                Err(_) => Err(FetchError::Client(first)),
            },
        }
    }
}

/// What an [`Access`] adds to a client.
struct Parts {
    proxy: Option<Proxy>,
    direct: bool,
    identity: Option<Identity>,
    authorities: Vec<Certificate>,
}

impl Parts {
    fn read(access: &Access) -> Result<Self, FetchError> {
        let unusable = |path: &Path, why: String| FetchError::Access {
            path: path.to_owned(),
            why,
        };
        let read = |path: &Path| {
            fs_err::read(path).map_err(|error| unusable(path, error.kind().to_string()))
        };
        let (proxy, direct) = match &access.proxy {
            Chosen::Environment => (None, false),
            Chosen::Direct => (None, true),
            Chosen::At(url) => (Some(Proxy::all(url).map_err(FetchError::Client)?), false),
        };
        let mut identity = None;
        if let (Some(certificate), Some(key)) = (&access.certificate, &access.key) {
            let mut pem = read(certificate)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            let made = Identity::from_pem(&pem);
            identity = Some(made.map_err(|error| unusable(certificate, cause(&error)))?);
        }
        let mut authorities = Vec::new();
        if let Some(path) = &access.authority {
            let found = Certificate::from_pem_bundle(&read(path)?);
            authorities = found.map_err(|error| unusable(path, cause(&error)))?;
            if authorities.is_empty() {
                return Err(unusable(path, "there is no certificate in it".to_owned()));
            }
        }
        Ok(Self {
            proxy,
            direct,
            identity,
            authorities,
        })
    }

    fn add_to(&self, builder: ClientBuilder) -> ClientBuilder {
        let mut builder = match (&self.proxy, self.direct) {
            (Some(proxy), _) => builder.proxy(proxy.clone()),
            (None, true) => builder.no_proxy(),
            (None, false) => builder,
        };
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        if !self.authorities.is_empty() {
            builder = builder.tls_certs_merge(self.authorities.clone());
        }
        builder
    }
}

/// Scheme, host and port of `url`, or all of it where it has none.
pub(super) fn origin(url: &str) -> String {
    match Url::parse(url).map(|url| url.origin()) {
        Ok(origin) if origin.is_tuple() => origin.ascii_serialization(),
        _ => url.to_owned(),
    }
}

impl Fetcher {
    /// Asks the server at `url` for the file, or the rest of it, and checks it.
    pub(super) async fn load(&self, url: &str, job: &mut Job<'_>) -> Result<Digest, Fault> {
        let mut response = self.ask(url, job).await?;
        if let Some(rest) = response.content_length() {
            job.announce(job.transfer.length().saturating_add(rest))?;
        }
        let validator = validator(response.headers()).map(|validator| (url.to_owned(), validator));
        job.transfer.begin_piece(validator);
        let mut pace = Pace::new(&self.options);
        loop {
            match timeout_at(pace.deadline, response.chunk()).await {
                Err(_elapsed) => return Err(pace.too_slow().into()),
                Ok(Err(error)) => {
                    let length = job.transfer.length();
                    let reason = format!(
                        "the connection broke after {length} bytes: {}",
                        cause(&error)
                    );
                    return Err(Problem::passing(reason).into());
                }
                Ok(Ok(None)) => return job.check(),
                Ok(Ok(Some(bytes))) => {
                    pace.count(bytes.len() as u64);
                    job.take(&bytes)?;
                }
            }
        }
    }

    /// Sends the request; returns a response whose body goes to the end of what is there.
    async fn ask(&self, url: &str, job: &mut Job<'_>) -> Result<Response, Fault> {
        let http = &self.http(&job.download.access).map_err(Fault::Fatal)?;
        // Bytes of another mirror or an earlier run are worth resuming only where the digest will tell.
        if job.transfer.validator(url).is_none() && job.download.digest.is_none() {
            job.restart()?;
        }
        let offset = job.transfer.length();
        let mut request = http.client.get(url);
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
            if let Some(validator) = job.transfer.validator(url) {
                request = request.header(IF_RANGE, validator);
            }
        }
        let limit = self.options.connect + self.options.idle;
        let response = match timeout(limit, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.refusal(http, url, &error).into()),
            Err(_elapsed) => {
                return Err(
                    Problem::passing(format!("no answer in {} s", limit.as_secs_f32())).into(),
                );
            }
        };
        match response.status() {
            StatusCode::OK => job.restart()?,
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                if range_start(response.headers()) != Some(offset) {
                    job.restart()?;
                    return Err(Problem::again("it sent another part than it was asked for").into());
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                job.restart()?;
                return Err(Problem::again("it has no more than was there already").into());
            }
            status => return Err(status_problem(status, response.headers()).into()),
        }
        Ok(response)
    }

    /// The client for this way of reaching servers: one each, which keeps its connections.
    pub(super) fn http(&self, access: &Access) -> Result<Http, FetchError> {
        let mut clients = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = clients.get(access) {
            return Ok(http.clone());
        }
        let http = Http::new(&self.options, access)?;
        clients.insert(access.clone(), http.clone());
        Ok(http)
    }

    /// Why no answer came.
    pub(super) fn refusal(&self, http: &Http, url: &str, error: &reqwest::Error) -> Problem {
        let cause = cause(error);
        if error.is_builder() {
            return Problem::lasting(format!("not an address to fetch from: {cause}"));
        }
        if error.is_redirect() {
            return Problem::lasting(format!("it redirects wrongly: {cause}"));
        }
        if !error.is_connect() {
            return Problem::passing(format!("no answer: {cause}"));
        }
        let mut reason = format!("cannot connect: {cause}");
        if error.is_timeout() {
            reason = format!("cannot connect in {} s", self.options.connect.as_secs_f32());
        } else if http.without_roots && url.starts_with("https:") {
            reason.push_str(
                " (this machine has no CA certificates: install its package `ca-certificates`)",
            );
        }
        Problem {
            unreachable: true,
            ..Problem::passing(reason)
        }
    }
}

/// The innermost cause: the outer ones repeat the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn status_problem(status: StatusCode, headers: &HeaderMap) -> Problem {
    let passing = status.is_server_error()
        || [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status);
    let retry = match retry_after(headers) {
        _ if !passing => Retry::Never,
        Some(pause) => Retry::After(pause),
        None => Retry::Later,
    };
    Problem {
        retry,
        ..Problem::passing(status.to_string())
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// How long the server asks to wait. A date counts from the server's own clock, not from ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
    (date(value)? - date(text(headers, DATE)?)?).try_into().ok()
}

/// What names this version of the file for `If-Range`: a strong entity tag, or a date.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let strong = headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

/// The first byte of a `Content-Range: bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_RANGE)?
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

/// Watches that bytes arrive fast enough: so many in every span of `idle`.
struct Pace {
    deadline: Instant,
    span: Duration,
    needed: u64,
    counted: u64,
}

impl Pace {
    fn new(options: &FetchOptions) -> Self {
        let needed = options
            .minimum_rate
            .saturating_mul(options.idle.as_secs())
            .max(1);
        Self {
            deadline: Instant::now() + options.idle,
            span: options.idle,
            needed,
            counted: 0,
        }
    }

    fn count(&mut self, bytes: u64) {
        self.counted += bytes;
        if self.counted >= self.needed {
            self.counted = 0;
            self.deadline = Instant::now() + self.span;
        }
    }

    fn too_slow(&self) -> Problem {
        Problem::passing(format!(
            "only {} bytes came in {} s",
            self.counted,
            self.span.as_secs_f32()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = (DATE, "Wed, 21 Oct 2026 07:28:00 GMT");
        let cases = [
            (headers(&[(RETRY_AFTER, "120")]), Some(120)),
            (
                headers(&[(RETRY_AFTER, "Wed, 21 Oct 2026 07:29:30 GMT"), now.clone()]),
                Some(90),
            ),
            (
                headers(&[(RETRY_AFTER, "Wed, 21 Oct 2026 07:29:30 GMT")]),
                None,
            ),
            (
                headers(&[(RETRY_AFTER, "Wed, 21 Oct 2026 07:20:00 GMT"), now]),
                None,
            ),
            (headers(&[(RETRY_AFTER, "soon")]), None),
            (headers(&[]), None),
        ];
        for (headers, seconds) in cases {
            assert_eq!(
                retry_after(&headers),
                seconds.map(Duration::from_secs),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn only_a_strong_tag_or_a_date_names_a_version() {
        let date = (LAST_MODIFIED, "Wed, 21 Oct 2026 07:28:00 GMT");
        let cases = [
            (headers(&[(ETAG, "\"x\""), date.clone()]), Some("\"x\"")),
            (headers(&[(ETAG, "W/\"x\""), date.clone()]), Some(date.1)),
            (headers(&[(ETAG, "W/\"x\"")]), None),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                validator(&headers)
                    .as_ref()
                    .map(|value| value.to_str().unwrap()),
                expected
            );
        }
    }

    #[test]
    fn a_range_must_be_well_formed() {
        for (value, expected) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 5-9/*", Some(5)),
            ("bytes */10", None),
            ("lines 5-9/10", None),
            ("bytes -5", None),
        ] {
            assert_eq!(
                range_start(&headers(&[(CONTENT_RANGE, value)])),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn origins_are_told_apart_by_port() {
        for (url, expected) in [
            ("http://host/a", "http://host"),
            ("http://host:81/a", "http://host:81"),
            ("https://user@host/a", "https://host"),
            ("file:///a", "file:///a"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }

    #[test]
    fn some_refusals_pass() {
        for (status, lasting) in [
            (404, true),
            (403, true),
            (206, true),
            (408, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let problem = status_problem(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
            assert_eq!(problem.retry == Retry::Never, lasting, "{status}");
        }
    }
}
