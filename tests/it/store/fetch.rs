//! Downloads from servers that fail in every way.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use pristine::cancel::Cancel;
use pristine::digest::Digest;
use pristine::events::{Event, Silent, Sink};
use pristine::store::Store;
use pristine::store::fetch::{Download, FetchError, FetchOptions, Fetched, Fetcher};

use super::{content, given_root, shown, start, unfinished};
use crate::support::http::{Answer, Server};

/// Short pauses, and no limit on how slow a busy machine may be.
fn options() -> FetchOptions {
    FetchOptions {
        attempts: 4,
        first_pause: Duration::from_millis(1),
        idle: Duration::from_mins(10),
        minimum_rate: 0,
        ..FetchOptions::default()
    }
}

struct Trial {
    folder: tempfile::TempDir,
    store: Store,
    fetcher: Fetcher,
}

impl Trial {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: FetchOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let fetcher = Fetcher::new(store.clone(), options);
        Self {
            folder,
            store,
            fetcher,
        }
    }

    fn fetch(&self, downloads: Vec<Download>) -> Result<Vec<Fetched>, FetchError> {
        run(&self.fetcher, downloads, &Silent, &Cancel::new().unwrap())
    }

    /// Fetches one file, and checks what is in the store then.
    fn one(&self, download: Download) -> Fetched {
        let expected = download.digest;
        let fetched = self.fetch(vec![download]).unwrap().remove(0);
        assert!(expected.is_none_or(|expected| expected == fetched.digest));
        assert_eq!(self.store.verified(&fetched.digest).unwrap(), fetched.path);
        assert_eq!(unfinished(&self.store), Vec::<String>::new());
        fetched
    }

    /// The message of a fetch that fails; addresses read `SERVER`.
    fn message(&self, downloads: Vec<Download>, server: &Server) -> String {
        let error = self.fetch(downloads).unwrap_err();
        shown(&error, self.folder.path()).replace(&server.origin(), "SERVER")
    }
}

fn run(
    fetcher: &Fetcher,
    downloads: Vec<Download>,
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<Vec<Fetched>, FetchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(fetcher.fetch(downloads, sink, cancel))
}

fn download(name: &str, urls: &[String], body: &[u8]) -> Download {
    Download {
        name: name.to_owned(),
        urls: urls.to_vec(),
        digest: Some(Digest::of(body)),
        size: Some(body.len() as u64),
        ..Download::default()
    }
}

/// An address where nobody listens, kept so that nobody else can begin to.
struct Dead {
    socket: OwnedFd,
    url: String,
}

impl Dead {
    fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddrV4::try_from(getsockname(&socket).unwrap()).unwrap();
        Self {
            socket,
            url: format!("http://{address}/x"),
        }
    }

    fn listen(self) -> TcpListener {
        rustix::net::listen(&self.socket, 8).unwrap();
        self.socket.into()
    }
}

#[test]
fn many_files_come_at_once_in_the_order_asked_for() {
    let bodies: Vec<Vec<u8>> = (0..30).map(|number| content(number * 7919)).collect();
    let server = Server::start({
        let bodies = bodies.clone();
        move |request| Answer::whole(&bodies[request.path.parse::<usize>().unwrap()])
    });
    let downloads: Vec<Download> = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            download(
                &number.to_string(),
                &[server.url(&number.to_string())],
                body,
            )
        })
        .collect();
    let (trial, told, cancel) = (Trial::new(), Told::default(), Cancel::new().unwrap());
    let fetched = run(&trial.fetcher, downloads.clone(), &told, &cancel).unwrap();
    for (fetched, body) in fetched.iter().zip(&bodies) {
        assert_eq!(fs_err::read(&fetched.path).unwrap(), *body);
        assert_eq!(
            (fetched.digest, fetched.size),
            (Digest::of(body), body.len() as u64)
        );
    }
    let bytes = bodies.iter().map(|body| body.len() as u64).sum();
    let end = Event::Transfer {
        files: 30,
        files_total: 30,
        bytes,
        bytes_total: bytes,
    };
    assert_eq!(told.0.lock().unwrap().last(), Some(&end));
    // What the store has is not fetched again.
    let again = trial.fetch(downloads).unwrap();
    assert!(again.iter().all(|fetched| fetched.url_used.is_none()));
    assert_eq!(server.requests().len(), 30);
}

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Sink for Told {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// A server whose files each fail in another way before they come.
fn faltering(body: Vec<u8>) -> Server {
    Server::start(move |request| {
        let good = Answer::ranged(request, &body, "\"1\"");
        let whole = Answer::whole(&body);
        match (request.path.as_str(), request.earlier) {
            ("busy", 0) => Answer::status(503).with("Retry-After", "0"),
            ("silent", 0) => whole.stall(80_000),
            ("elsewhere", 0) => Answer::status(302).with("Location", "/busy"),
            ("broken", 0..3) | ("wrong-part", 0) => good.cut(80_000),
            ("wrong-part", 1) => Answer::status(206).with("Content-Range", "bytes 5-9/10"),
            ("unranged", 0..3) | ("past", 0) => whole.cut(80_000),
            ("unranged", _) => whole,
            ("past", 1) => Answer::status(416),
            ("changing", 0) => Answer::ranged(request, &vec![1; 200_000], "\"0\"").cut(80_000),
            _ => good,
        }
    })
}

#[test]
fn every_passing_fault_is_overcome() {
    let body = content(300_000);
    let server = faltering(body.clone());
    let cases: [(&str, &[Option<u64>]); 6] = [
        ("busy", &[None, None]),
        (
            "broken",
            &[None, Some(80_000), Some(160_000), Some(240_000)],
        ),
        (
            "unranged",
            &[None, Some(80_000), Some(80_000), Some(80_000)],
        ),
        ("elsewhere", &[None]),
        ("past", &[None, Some(80_000), None]),
        ("wrong-part", &[None, Some(80_000), None]),
    ];
    for (path, ranges) in cases {
        Trial::new().one(download(path, &[server.url(path)], &body));
        assert_eq!(server.ranges(path), ranges, "{path}");
    }
    let broken = server
        .requests()
        .into_iter()
        .filter(|request| request.path == "broken");
    let tags: Vec<Option<String>> = broken.map(|request| request.if_range).collect();
    let tag = Some("\"1\"".to_owned());
    assert_eq!(tags, [None, tag.clone(), tag.clone(), tag]);
}

#[test]
fn a_server_that_falls_silent_is_left_and_asked_again() {
    let body = content(300_000);
    let server = faltering(body.clone());
    let trial = Trial::with(FetchOptions {
        idle: Duration::from_secs(1),
        ..options()
    });
    trial.one(download("x", &[server.url("silent")], &body));
    assert_eq!(server.ranges("silent"), [None, Some(80_000)]);
}

#[test]
fn a_file_without_digest_that_changes_meanwhile_is_fetched_from_its_start() {
    let body = content(300_000);
    let server = faltering(body.clone());
    let unknown = Download {
        digest: None,
        size: None,
        ..download("x", &[server.url("changing")], &body)
    };
    assert_eq!(Trial::new().one(unknown).digest, Digest::of(&body));
    assert_eq!(server.ranges("changing"), [None, Some(80_000)]);
}

#[test]
fn a_lasting_fault_moves_on_to_the_next_mirror_at_once() {
    let body = content(100_000);
    let server = hopeless(body.clone());
    for fault in ["gone", "forbidden", "wrong", "short", "long", "endless"] {
        let fetched = Trial::new().one(download(
            "x",
            &[server.url(fault), server.url("good")],
            &body,
        ));
        assert_eq!(fetched.url_used, Some(server.url("good")), "{fault}");
        assert_eq!(server.ranges(fault), [None], "{fault}");
    }
    let dead = Dead::new();
    for url in [
        server.url("loop"),
        dead.url.clone(),
        "gopher://x/y".to_owned(),
        "x".to_owned(),
        "/nowhere/x".to_owned(),
    ] {
        let fetched = Trial::new().one(download("x", &[url, server.url("good")], &body));
        assert_eq!(fetched.url_used, Some(server.url("good")));
    }
}

/// A server whose files each fail for good, but for `good`.
fn hopeless(body: Vec<u8>) -> Server {
    Server::start(move |request| {
        let whole = Answer::whole(&body);
        match request.path.as_str() {
            "gone" => Answer::status(404),
            "forbidden" => Answer::status(403),
            "busy" => Answer::status(503),
            "sleepy" => Answer::status(429).with("Retry-After", "3600"),
            "wrong" => Answer::whole(&vec![0; body.len()]),
            "short" => Answer::whole(&body[..50_000]),
            "long" => Answer::whole(&[&body[..], b"x"].concat()),
            "endless" => whole.endless(),
            "broken" => Answer::ranged(request, &body, "\"1\"").cut(10),
            "silent" => whole.stall(0),
            "loop" => Answer::status(302).with("Location", "/loop"),
            _ => whole,
        }
    })
}

#[test]
fn messages_name_every_address_and_both_digests() {
    let body = content(100_000);
    let server = hopeless(body.clone());
    let paths = [
        "gone", "busy", "sleepy", "wrong", "short", "endless", "broken", "silent", "loop",
    ];
    let mut urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    urls.extend([
        "gopher://x/y".to_owned(),
        "x".to_owned(),
        "/nowhere/x".to_owned(),
    ]);
    // One by one: what comes from several mirrors depends on which of them is faster.
    let messages = urls.into_iter().map(|url| {
        let idle = Duration::from_millis(if url.ends_with("/silent") {
            100
        } else {
            600_000
        });
        let trial = Trial::with(FetchOptions { idle, ..options() });
        trial.message(vec![download("hello-1.0.tar.gz", &[url], &body)], &server)
    });
    insta::assert_snapshot!(messages.collect::<Vec<_>>().join("\n"), @"
    cannot fetch hello-1.0.tar.gz
      SERVER/gone: 404 Not Found
    cannot fetch hello-1.0.tar.gz
      SERVER/busy: 503 Service Unavailable (tried 4 times)
    cannot fetch hello-1.0.tar.gz
      SERVER/sleepy: 429 Too Many Requests, and asks to come back after 3600 s
    cannot fetch hello-1.0.tar.gz
      SERVER/wrong: its content has sha256:9192c25b734fcbadbe32dadc28089c60db0e39f90cc20ce2e5733f57261acc0c, expected sha256:e2828dcee06899d45596daf4e4ccd23fba0682271d6b98e21aea2f017fe2771e
    cannot fetch hello-1.0.tar.gz
      SERVER/short: it has 50000 bytes, expected 100000
    cannot fetch hello-1.0.tar.gz
      SERVER/endless: it has more than the 100000 bytes expected
    cannot fetch hello-1.0.tar.gz
      SERVER/broken: the connection broke after 40 bytes: end of file before message length reached (tried 4 times)
    cannot fetch hello-1.0.tar.gz
      SERVER/silent: only 0 bytes came in 0.1 s (tried 4 times)
    cannot fetch hello-1.0.tar.gz
      SERVER/loop: it redirects wrongly: too many redirects
    cannot fetch hello-1.0.tar.gz
      gopher://x/y: not an address to fetch from: URL scheme is not allowed
    cannot fetch hello-1.0.tar.gz
      x: not an address to fetch from: relative URL without a base
    cannot fetch hello-1.0.tar.gz
      /nowhere/x: cannot read it: No such file or directory (os error 2)
    ");
    let both = [server.url("gone"), server.url("wrong")];
    let trial = Trial::new();
    insta::assert_snapshot!(trial.message(vec![download("hello-1.0.tar.gz", &both, &body)], &server), @"
    cannot fetch hello-1.0.tar.gz
      SERVER/gone: 404 Not Found
      SERVER/wrong: its content has sha256:9192c25b734fcbadbe32dadc28089c60db0e39f90cc20ce2e5733f57261acc0c, expected sha256:e2828dcee06899d45596daf4e4ccd23fba0682271d6b98e21aea2f017fe2771e
    ");
    let dead = Dead::new();
    let asked = download("hello-1.0.tar.gz", std::slice::from_ref(&dead.url), &body);
    let refused = trial.message(vec![asked], &server);
    insta::assert_snapshot!(refused.replace(&dead.url, "DEAD"), @"
    cannot fetch hello-1.0.tar.gz
      DEAD: cannot connect: Connection refused (os error 111) (tried 4 times)
    ");
}

#[test]
fn a_file_of_unknown_length_has_a_limit() {
    let body = content(100_000);
    let server = hopeless(body.clone());
    let limited = |path: &str, max_size| Download {
        name: "repomd.xml".to_owned(),
        urls: vec![server.url(path)],
        max_size: Some(max_size),
        ..Download::default()
    };
    let trial = Trial::new();
    let messages = [limited("endless", 150_000), limited("good", 99_999)];
    let messages = messages.map(|download| trial.message(vec![download], &server));
    insta::assert_snapshot!(messages.join("\n"), @"
    cannot fetch repomd.xml
      SERVER/endless: it has more than the 150000 bytes allowed
    cannot fetch repomd.xml
      SERVER/good: it has 100000 bytes, more than the 99999 allowed
    ");
    trial.one(limited("good", 100_000));
}

#[test]
fn all_files_that_are_gone_are_named_but_a_dead_network_ends_it() {
    let bodies: Vec<Vec<u8>> = (1..6).map(content).collect();
    let server = Server::start(|request| match request.path.as_str() {
        "2" | "4" => Answer::status(404),
        path => Answer::whole(&content(path.parse().unwrap())),
    });
    let all = |url: &dyn Fn(&str) -> String| -> Vec<Download> {
        let named = bodies.iter().map(|body| (body.len().to_string(), body));
        named
            .map(|(name, body)| download(&name, &[url(&name)], body))
            .collect()
    };
    let trial = Trial::new();
    insta::assert_snapshot!(trial.message(all(&|path| server.url(path)), &server), @"
    cannot fetch 2 of 5 files
      2
        SERVER/2: 404 Not Found
      4
        SERVER/4: 404 Not Found
    ");
    for name in [1, 3, 5] {
        trial.store.verified(&Digest::of(&content(name))).unwrap();
    }
    let trial = Trial::with(FetchOptions {
        parallel: std::num::NonZero::<usize>::MIN,
        ..options()
    });
    let dead = Dead::new();
    let FetchError::Failed { failures, total } =
        trial.fetch(all(&|_| dead.url.clone())).unwrap_err()
    else {
        panic!()
    };
    assert_eq!((failures.len(), total), (1, 5));
}

#[test]
fn a_mirror_that_is_down_is_tried_last_from_then_on() {
    let server = Server::start(|request| Answer::whole(request.path.as_bytes()));
    let trial = Trial::new();
    let (dead, live) = (Dead::new(), |path| server.url(path));
    let urls = |path| [dead.url.clone(), live(path)];
    let (first, second) = (urls("a"), urls("b"));
    trial.one(download("a", &first, b"a"));
    // Were it asked first again, the client would now wait for its answer.
    let revived = dead.listen();
    trial.one(download("b", &second, b"b"));
    revived.set_nonblocking(true).unwrap();
    assert_eq!(
        revived.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn pieces_of_different_mirrors_that_do_not_fit_are_fetched_again() {
    let body = content(100_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match (request.path.as_str(), request.earlier) {
            ("liar", _) => Answer::whole(&vec![0; body.len()]).cut(40_000),
            _ => Answer::ranged(request, &body, "\"1\""),
        }
    });
    let fetched = Trial::new().one(download(
        "x",
        &[server.url("liar"), server.url("good")],
        &body,
    ));
    assert_eq!(fetched.url_used, Some(server.url("good")));
    assert_eq!(server.ranges("good"), [Some(40_000), None]);
}

#[test]
fn local_files_go_through_the_same_checks() {
    let folder = tempfile::tempdir().unwrap();
    let (good, wrong) = (
        folder.path().join("a good file"),
        folder.path().join("wrong"),
    );
    let body = content(3 << 20);
    pristine::files::write_atomic(&good, &body).unwrap();
    pristine::files::write_atomic(&wrong, b"something else").unwrap();
    let plain = |path: &Path| path.to_str().unwrap().to_owned();
    let url = reqwest::Url::from_file_path(&good).unwrap().to_string();
    for address in [plain(&good), url] {
        let fetched = Trial::new().one(download("x", &[plain(&wrong), address.clone()], &body));
        assert_eq!(fetched.url_used, Some(address));
    }
    let trial = Trial::new();
    let missing = folder.path().join("missing");
    let error = trial
        .fetch(vec![download(
            "x",
            &[plain(&wrong), plain(&missing), plain(folder.path())],
            &body,
        )])
        .unwrap_err();
    insta::assert_snapshot!(shown(&error, folder.path()), @"
    cannot fetch x
      STORE/wrong: it has 14 bytes, expected 3145728
      STORE/missing: cannot read it: No such file or directory (os error 2)
      STORE: it is not a file
    ");
}

#[test]
fn a_damaged_blob_of_another_length_is_fetched_again() {
    let server = Server::start(|_| Answer::whole(b"abc"));
    let trial = Trial::new();
    let asked = download("x", &[server.url("x")], b"abc");
    let fetched = trial.one(asked.clone());
    std::fs::File::create(fetched.path).unwrap();
    assert_eq!(trial.one(asked.clone()).url_used, Some(server.url("x")));
    // The digest fits and the length does not: the one who asks is wrong, whatever the store has.
    for trial in [trial, Trial::new()] {
        trial
            .fetch(vec![Download {
                size: Some(4),
                ..asked.clone()
            }])
            .unwrap_err();
    }
}

/// Waits, without sleeping, until the store holds `length` bytes of the partial download.
fn wait_for_partial(store: &Store, digest: &Digest, length: u64) {
    let path = store
        .temporary_folder()
        .join(format!("partial-{}", digest.hex()));
    while path.metadata().map_or(0, |metadata| metadata.len()) < length {
        std::thread::yield_now();
    }
}

#[test]
fn an_interrupted_download_is_resumed_by_the_next_run() {
    let body = content(200_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.earlier {
            0 => Answer::whole(&body).stall(70_000),
            _ => Answer::ranged(request, &body, "\"1\""),
        }
    });
    let trial = Trial::new();
    let cancel = Cancel::new().unwrap();
    let asked = download("x", &[server.url("x")], &body);
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| run(&trial.fetcher, vec![asked.clone()], &Silent, &cancel));
        wait_for_partial(&trial.store, &Digest::of(&body), 70_000);
        cancel.cancel();
        assert!(matches!(
            fetching.join().unwrap(),
            Err(FetchError::Interrupted)
        ));
    });
    assert_eq!(
        unfinished(&trial.store),
        [format!("partial-{}", Digest::of(&body).hex())]
    );
    trial.one(asked.clone());
    assert_eq!(server.ranges("x"), [None, Some(70_000)]);
    assert!(matches!(
        run(&trial.fetcher, vec![asked], &Silent, &cancel),
        Err(FetchError::Interrupted)
    ));
}

#[test]
fn a_partial_download_that_is_all_there_is_only_checked() {
    let body = content(50_000);
    let trial = Trial::new();
    let asked = download("x", &["http://localhost:1/never-asked".to_owned()], &body);
    let path = trial
        .store
        .temporary_folder()
        .join(format!("partial-{}", Digest::of(&body).hex()));
    pristine::files::write_atomic(&path, &body).unwrap();
    assert_eq!(trial.one(asked).url_used, None);
    let server = Server::start(|request| Answer::ranged(request, &content(60_000), "\"1\""));
    for wrong in [content(60_000).split_off(1), content(70_000), vec![1; 10]] {
        let trial = Trial::new();
        let body = content(60_000);
        let path = trial
            .store
            .temporary_folder()
            .join(format!("partial-{}", Digest::of(&body).hex()));
        pristine::files::write_atomic(&path, &wrong).unwrap();
        trial.one(download("x", &[server.url("x")], &body));
    }
}

#[test]
fn a_killed_download_is_resumed_by_the_next_run() {
    let body = content(200_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.earlier {
            0 => Answer::whole(&body).stall(70_000),
            _ => Answer::ranged(request, &body, "\"1\""),
        }
    });
    let trial = Trial::new();
    let mut child = start(
        &[],
        "store::fetch::downloading",
        trial.folder.path(),
        &server.url("x"),
    );
    wait_for_partial(&trial.store, &Digest::of(&body), 70_000);
    child.kill().unwrap();
    child.wait().unwrap();
    trial.one(download("x", &[server.url("x")], &body));
    assert_eq!(server.ranges("x"), [None, Some(70_000)]);
}

#[test]
#[ignore = "run by a_killed_download_is_resumed_by_the_next_run"]
fn downloading() {
    let store = Store::open(&given_root()).unwrap();
    let url = std::env::var("PRISTINE_TEST_MORE").unwrap();
    let fetcher = Fetcher::new(store, options());
    run(
        &fetcher,
        vec![download("x", &[url], &content(200_000))],
        &Silent,
        &Cancel::new().unwrap(),
    )
    .unwrap();
}

#[test]
fn two_runs_may_fetch_the_same_at_once() {
    let body = content(2 << 20);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.earlier {
            // The first waits until the second is done.
            0 => Answer::whole(&body).stall(70_000),
            _ => Answer::ranged(request, &body, "\"1\""),
        }
    });
    let trial = Trial::new();
    let cancel = Cancel::new().unwrap();
    let asked = download("x", &[server.url("x")], &body);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&trial.fetcher, vec![asked.clone()], &Silent, &cancel));
        wait_for_partial(&trial.store, &Digest::of(&body), 70_000);
        let second = trial.fetch(vec![asked.clone()]).unwrap();
        trial.store.verified(&second[0].digest).unwrap();
        cancel.cancel();
        assert!(matches!(
            first.join().unwrap(),
            Err(FetchError::Interrupted)
        ));
    });
}

/// Part of `disk::on_a_small_disk`: a download that does not fit.
pub(super) fn on_a_small_disk(store: &Store) {
    let body = content(8 << 20);
    let server = Server::start({
        let body = body.clone();
        move |_| Answer::whole(&body)
    });
    let fetcher = Fetcher::new(store.clone(), options());
    let asked = vec![download("x", &[server.url("x"), server.url("y")], &body)];
    let error = run(&fetcher, asked, &Silent, &Cancel::new().unwrap()).unwrap_err();
    let text = shown(&error, store.root());
    assert!(
        text.starts_with("no space left in `STORE/tmp`: 8.0 MiB needed, "),
        "{text}"
    );
    assert_eq!(server.requests().len(), 1, "another mirror does not help");
}
