//! An HTTP server on the loopback that misbehaves as told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// The first byte asked for, where not all is.
    pub(crate) from: Option<u64>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// How many requests for this path came before.
    pub(crate) earlier: usize,
}

/// What the server does.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// All of the body.
    Whole,
    /// So many bytes, then the connection is closed.
    Cut(usize),
    /// So many bytes, then nothing until the server ends.
    Stall(usize),
    /// The body again and again, until the client hangs up.
    Endless,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: vec![],
            body: vec![],
            end: End::Whole,
        }
    }

    /// A status with a body.
    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..Self::status(status)
        }
    }

    /// The whole body, whatever range was asked for.
    pub(crate) fn whole(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..Self::status(200)
        }
    }

    /// What a good server gives: the range asked for, if `If-Range` names this version of the file.
    pub(crate) fn ranged(request: &Request, body: &[u8], tag: &str) -> Self {
        let same = request.if_range.as_deref().is_none_or(|asked| asked == tag);
        let answer = match request.from.filter(|_| same) {
            None => Self::whole(body),
            Some(from) if from >= body.len() as u64 => Self::status(416),
            Some(from) => {
                let rest = body[usize::try_from(from).unwrap()..].to_vec();
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                Self {
                    body: rest,
                    ..Self::status(206)
                }
                .with("Content-Range", range)
            }
        };
        answer.with("ETag", tag)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn cut(self, bytes: usize) -> Self {
        Self {
            end: End::Cut(bytes),
            ..self
        }
    }

    pub(crate) fn stall(self, bytes: usize) -> Self {
        Self {
            end: End::Stall(bytes),
            ..self
        }
    }

    pub(crate) fn endless(self) -> Self {
        Self {
            end: End::Endless,
            ..self
        }
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server; it ends when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    earlier: BTreeMap<String, usize>,
    stalled: Vec<TcpStream>,
    ended: bool,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            state: Mutex::default(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.state.lock().unwrap().ended {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that hangs up is no fault of the server.
                    std::thread::spawn(move || stream.and_then(|stream| shared.serve(stream)).ok());
                }
            }
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// Where each request for `path` wanted to begin.
    pub(crate) fn ranges(&self, path: &str) -> Vec<Option<u64>> {
        let requests = self.requests().into_iter();
        requests
            .filter(|request| request.path == path)
            .map(|request| request.from)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stalled = {
            let mut state = self.shared.state.lock().unwrap();
            state.ended = true;
            std::mem::take(&mut state.stalled)
        };
        for stream in stalled {
            stream.shutdown(Shutdown::Both).ok();
        }
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut request = read_request(&stream)?;
        {
            let mut state = self.state.lock().unwrap();
            let earlier = state.earlier.entry(request.path.clone()).or_default();
            request.earlier = *earlier;
            *earlier += 1;
            state.requests.push(request.clone());
        }
        self.answer(stream, &(self.handler)(&request))
    }

    fn answer(&self, mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
        let mut head = vec![
            format!("HTTP/1.1 {} Some Reason", answer.status),
            "Connection: close".to_owned(),
        ];
        head.extend(
            answer
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        if !matches!(answer.end, End::Endless) {
            head.push(format!("Content-Length: {}", answer.body.len()));
        }
        stream.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes())?;
        match answer.end {
            End::Whole => stream.write_all(&answer.body),
            End::Cut(bytes) => stream.write_all(&answer.body[..bytes.min(answer.body.len())]),
            End::Stall(bytes) => {
                stream.write_all(&answer.body[..bytes])?;
                self.state.lock().unwrap().stalled.push(stream);
                Ok(())
            }
            End::Endless => loop {
                stream.write_all(&answer.body)?;
            },
        }
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .trim_start_matches('/')
        .to_owned();
    let mut request = Request {
        path,
        from: None,
        if_range: None,
        authorization: None,
        earlier: 0,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let from = value
                    .strip_prefix("bytes=")
                    .and_then(|range| range.strip_suffix('-'));
                request.from = Some(from.unwrap().parse().unwrap());
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(request)
}
