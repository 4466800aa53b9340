//! Servers that ask who the client is, as those of Red Hat do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::trial::Trial;
use crate::support::certificates::make_certificates;
use crate::support::packages::package;

/// A server of the files in `site` that talks only to clients of the authority; gives its port.
fn serve(folder: &Path, site: &Path) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![read("server.pem")], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = site.to_owned();
    // It ends with the test program.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, site) = (Arc::clone(&config), site.clone());
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let mut first = String::new();
                let mut reader = BufReader::new(&mut stream);
                // A client that is turned away is no fault of the server.
                reader.read_line(&mut first).ok()?;
                let mut line = String::new();
                while reader.read_line(&mut line).ok()? > 2 {
                    line.clear();
                }
                let path = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
                let (status, body) = match fs_err::read(site.join(path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).ok()?;
                stream.write_all(&body).ok()?;
                stream.flush().ok()?;
                stream.conn.send_close_notify();
                stream.flush().ok()
            });
        }
    });
    port
}

#[test]
fn a_client_certificate_opens_the_door() {
    let trial = Trial::new();
    if !make_certificates(&trial.path("")) {
        crate::conformance::skip("there is no openssl");
        return;
    }
    let repository = trial.repository("main");
    repository.add(&mut package("apple", "1"));
    repository.publish();
    let port = serve(&trial.path(""), &trial.path("site"));
    let solve = |settings: &str| {
        let table = format!(
            "[[repository]]\nname = \"main\"\nbaseurl = [\"https://localhost:{port}/main\"]\n{settings}\nKEYRING\n"
        )
        .replace("KEYRING", "keys = [{ file = \"site/main/KEY\", fingerprint = \"FP\" }]");
        let template = trial.template("packages = [\"apple\"]", &table);
        let solved = trial.solve(&template, None)?;
        trial.fetch(&template, &solved)?;
        Ok(solved.names())
    };
    let message = |settings: &str| {
        let error: Box<pristine::resolve::ResolveError> = solve(settings).unwrap_err();
        trial.message(&error)
    };
    let whole = "sslcacert = \"./ca.pem\"\nsslclientcert = \"./client.pem\"\nsslclientkey = \"./client.key\"";
    assert_eq!(solve(whole).unwrap(), "apple-1-1.noarch");
    // Nobody else gets in, and a server of an authority that is not trusted is not talked to.
    assert!(message("sslcacert = \"./ca.pem\"").contains("repomd.xml of main"));
    let untrusted = "sslclientcert = \"./client.pem\"\nsslclientkey = \"./client.key\"";
    let said = message(untrusted);
    assert!(
        said.contains("UnknownIssuer") || said.contains("CA certificates"),
        "{said}"
    );
    insta::assert_snapshot!(message("sslcacert = \"./none.pem\""), @"cannot use the certificates or the key in `PROJECT/none.pem`: entity not found");
    insta::assert_snapshot!(message("sslcacert = \"./client.key\""), @"cannot use the certificates or the key in `PROJECT/client.key`: there is no certificate in it");
}
