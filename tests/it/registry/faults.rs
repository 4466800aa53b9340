//! A registry that breaks off, fails, lies, or offers what was not asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pristine::digest::Digest;
use pristine::events::Silent;
use pristine::oci::{Image, Layout};
use pristine::registry::{CredentialFiles, Registry, RegistryError, RegistryOptions};

use super::images;
use crate::support::http::{Answer, Request, Server};

/// What a registry has, by the path of the request.
type Content = BTreeMap<String, Vec<u8>>;

/// An image as a registry has it, under the tag `1`.
fn content() -> (Content, Digest, Digest) {
    let folder = tempfile::tempdir().unwrap();
    let (layout, image) = images::layout(folder.path(), "one");
    let mut content = Content::new();
    let (manifest, _) = layout.manifest(&image.manifest).unwrap();
    for (digest, _) in pristine::oci::blobs_of(&manifest).unwrap() {
        let (file, _) = layout.open_blob(&digest).unwrap();
        let bytes = fs_err::read(file.path()).unwrap();
        content.insert(format!("v2/env/blobs/{digest}"), bytes);
    }
    content.insert(
        format!("v2/env/manifests/{}", image.manifest),
        manifest.clone(),
    );
    content.insert("v2/env/manifests/1".to_owned(), manifest);
    (content, image.manifest, image.layers[0].digest)
}

/// A registry with this content; `bend` may give other answers than a good one would.
fn serve(
    content: Content,
    bend: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| {
        let good = match content.get(&request.path) {
            Some(bytes) => Answer::ranged(request, bytes, "\"1\""),
            None if request.path == "v2/" => Answer::whole(b"{}"),
            None => Answer::status(404),
        };
        bend(request, good)
    })
}

fn good(_: &Request, answer: Answer) -> Answer {
    answer
}

fn pull(server: &Server, layout: &Layout, reference: &str) -> Result<Image, RegistryError> {
    pull_for(server, layout, reference, "x86_64")
}

fn pull_for(
    server: &Server,
    layout: &Layout,
    reference: &str,
    architecture: &str,
) -> Result<Image, RegistryError> {
    let name = format!("{}/env{reference}", server.origin())
        .parse()
        .unwrap();
    let options = RegistryOptions {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        credentials: CredentialFiles::default(),
        ..RegistryOptions::default()
    };
    let registry = Registry::open(&name, options).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(registry.pull(layout, architecture, &Silent))
}

fn empty() -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open(folder.path()).unwrap();
    (folder, layout)
}

/// The message, its causes, and what the layout lists; server and digests by name.
fn refusal(server: &Server, layout: &Layout, result: Result<Image, RegistryError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(layout.images().unwrap(), [], "{error}");
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        text = format!("{text}: {source}");
        cause = source;
    }
    text.replace(&server.origin(), "SERVER")
        .replace(server.origin().trim_start_matches("http://"), "SERVER")
}

#[test]
fn a_blob_that_breaks_off_is_resumed() {
    let (content, manifest, layer) = content();
    let path = format!("v2/env/blobs/{layer}");
    let broken = path.clone();
    let server = serve(content, move |request, answer| {
        if request.path == broken && request.earlier < 2 {
            return answer.cut(300_000);
        }
        answer
    });
    let (_folder, layout) = empty();
    let image = pull(&server, &layout, ":1").unwrap();
    assert_eq!(image.reference.manifest, manifest);
    assert_eq!(layout.image(&manifest).unwrap(), image);
    assert_eq!(server.ranges(&path), [None, Some(300_000), Some(600_000)]);
}

#[test]
fn a_registry_that_fails_for_a_while_is_asked_again() {
    let (content, manifest, _) = content();
    let server = serve(content, |request, answer| {
        if request.earlier < 2 {
            return Answer::status(503);
        }
        answer
    });
    let (_folder, layout) = empty();
    let image = pull(&server, &layout, ":1").unwrap();
    assert_eq!(image.reference.manifest, manifest);
}

#[test]
fn a_registry_that_fails_for_good_is_given_up() {
    let (content, _, layer) = content();
    let path = format!("v2/env/blobs/{layer}");
    let broken = path.clone();
    let server = serve(content, move |request, answer| {
        if request.path == broken {
            return Answer::status(503);
        }
        answer
    });
    let (_folder, layout) = empty();
    let text = refusal(&server, &layout, pull(&server, &layout, ":1"));
    assert!(
        text.starts_with("cannot pull a blob of `SERVER/env:1` (3 tries): "),
        "{text}"
    );
    assert_eq!(server.ranges(&path).len(), 3);
}

/// A registry that wants tokens of its own server, which answers as `token` says.
fn with_tokens(
    content: Content,
    token: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Server {
    let origin = Arc::new(OnceLock::new());
    let known: Arc<OnceLock<String>> = Arc::clone(&origin);
    let server = serve(content, move |request, answer| {
        if request.path.starts_with("token?") {
            return token(request);
        }
        if request.authorization.as_deref() == Some("Bearer the-token") {
            return answer;
        }
        let realm = format!(
            "Bearer realm=\"{}/token\",service=\"test\"",
            known.get().unwrap()
        );
        Answer::status(401).with("WWW-Authenticate", realm)
    });
    origin.set(server.origin()).unwrap();
    server
}

#[test]
fn tokens_are_asked_for_where_the_registry_wants_them() {
    let (content, manifest, _) = content();
    let server = with_tokens(content, |request| {
        assert!(
            request.path.contains("scope=repository%3Aenv%3Apull"),
            "{}",
            request.path
        );
        // What stands before a server that fails for a moment.
        if request.earlier < 2 {
            return Answer::status(503);
        }
        Answer::whole(br#"{ "token": "the-token" }"#)
    });
    let (_folder, layout) = empty();
    let image = pull(&server, &layout, ":1").unwrap();
    assert_eq!(image.reference.manifest, manifest);
}

#[test]
fn tokens_that_are_refused_are_no_fault_of_the_line() {
    let (content, _, _) = content();
    let server = with_tokens(content, |_| {
        let refusal = br#"{ "errors": [{ "code": "DENIED", "message": "no" }] }"#;
        Answer::refused(401, refusal)
    });
    let (_folder, layout) = empty();
    let text = refusal(&server, &layout, pull(&server, &layout, ":1"));
    assert_eq!(
        text,
        "the registry refused access to `SERVER/env:1`: there is no file to look for credentials in"
    );
    let tokens = server.requests();
    let tokens = tokens
        .iter()
        .filter(|request| request.path.starts_with("token?"));
    assert_eq!(tokens.count(), 1);
}

#[test]
fn wrong_bytes_are_never_kept() {
    let (good_content, manifest, layer) = content();
    let path = format!("v2/env/blobs/{layer}");
    let mut wrong = good_content[&path].clone();
    wrong[1000] ^= 1;
    let found = Digest::of(&wrong);
    for times in [1, usize::MAX] {
        let (path, wrong) = (path.clone(), wrong.clone());
        let server = serve(good_content.clone(), move |request, answer| {
            if request.path == path && request.earlier < times {
                return Answer::whole(&wrong);
            }
            answer
        });
        let (_folder, layout) = empty();
        let result = pull(&server, &layout, ":1");
        if times == 1 {
            assert_eq!(result.unwrap().reference.manifest, manifest);
            continue;
        }
        let text = refusal(&server, &layout, result);
        let expected =
            format!("a blob of `SERVER/env:1` has the digest {found} instead of {layer}");
        assert_eq!(text, expected);
        assert!(layout.open_blob(&layer).is_err() && layout.open_blob(&found).is_err());
    }
}

#[test]
fn blobs_that_are_longer_than_they_should_be_are_cut_off() {
    let (mut content, _, layer) = content();
    content
        .get_mut(&format!("v2/env/blobs/{layer}"))
        .unwrap()
        .push(0);
    let server = serve(content, good);
    let (_folder, layout) = empty();
    let text = refusal(&server, &layout, pull(&server, &layout, ":1"));
    assert!(text.contains("bytes or more instead of"), "{text}");
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let (mut content, manifest, _) = content();
    let path = format!("v2/env/manifests/{manifest}");
    content.get_mut(&path).unwrap().push(b'\n');
    let found = Digest::of(&content[&path]);
    let server = serve(content, good);
    let (_folder, layout) = empty();
    let text = refusal(
        &server,
        &layout,
        pull(&server, &layout, &format!("@{manifest}")),
    );
    let expected = format!(
        "the manifest of `SERVER/env@{manifest}` has the digest {found} instead of {manifest}"
    );
    assert_eq!(text, expected);
}

#[test]
fn what_is_gone_is_said() {
    let (mut content, manifest, layer) = content();
    let server = serve(content.clone(), good);
    let (_folder, layout) = empty();
    let text = refusal(&server, &layout, pull(&server, &layout, ":2"));
    assert_eq!(text, "`SERVER/env:2` is not in the registry");
    content.remove(&format!("v2/env/blobs/{layer}"));
    let server = serve(content, good);
    let reference = format!("@{manifest}");
    let text = refusal(&server, &layout, pull(&server, &layout, &reference));
    assert_eq!(
        text,
        format!("`SERVER/env{reference}` is not in the registry")
    );
}

#[test]
fn an_index_is_resolved_for_the_architecture() {
    let (mut content, manifest, _) = content();
    let size = content["v2/env/manifests/1"].len();
    let entry = |digest: &Digest, architecture: &str, os: &str| {
        format!(
            r#"{{ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{digest}", "size": {size},
                 "platform": {{ "architecture": "{architecture}", "os": "{os}" }} }}"#
        )
    };
    let other = Digest::of(b"other");
    let index = format!(
        r#"{{ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{}] }}"#,
        [
            entry(&other, "amd64", "windows"),
            entry(&other, "unknown", "unknown"),
            entry(&other, "s390x", "linux"),
            entry(&manifest, "amd64", "linux"),
        ]
        .join(",")
    );
    content.insert("v2/env/manifests/1".to_owned(), index.clone().into_bytes());
    let by_digest = format!("@{}", Digest::of(index.as_bytes()));
    content.insert(
        format!("v2/env/manifests/{}", &by_digest[1..]),
        index.into_bytes(),
    );
    let server = serve(content, good);
    for reference in [":1", by_digest.as_str()] {
        let (_folder, layout) = empty();
        let text = refusal(
            &server,
            &layout,
            pull_for(&server, &layout, reference, "aarch64"),
        );
        let expected =
            format!("`SERVER/env{reference}` has no image for aarch64, only for amd64, s390x");
        assert_eq!(text, expected);
        let image = pull(&server, &layout, reference).unwrap();
        assert_eq!(image.reference.manifest, manifest);
    }
}

#[test]
fn an_image_for_another_architecture_is_refused() {
    let (content, _, layer) = content();
    let server = serve(content, good);
    let (_folder, layout) = empty();
    let result = pull_for(&server, &layout, ":1", "riscv64");
    let text = refusal(&server, &layout, result);
    assert_eq!(
        text,
        "`SERVER/env:1` has no image for riscv64, only for amd64"
    );
    assert_eq!(server.ranges(&format!("v2/env/blobs/{layer}")), []);
}

#[test]
fn images_in_docker_s_older_form_are_taken() {
    let (mut content, _, _) = content();
    let text = String::from_utf8(content["v2/env/manifests/1"].clone()).unwrap();
    let docker = text
        .replace(
            "vnd.oci.image.manifest.v1+json",
            "vnd.docker.distribution.manifest.v2+json",
        )
        .replace(
            "vnd.oci.image.config.v1+json",
            "vnd.docker.container.image.v1+json",
        )
        .replace(
            "vnd.oci.image.layer.v1.tar+zstd",
            "vnd.docker.image.rootfs.diff.tar.zstd",
        );
    assert!(!docker.contains("vnd.oci"), "{docker}");
    content.insert("v2/env/manifests/1".to_owned(), docker.clone().into_bytes());
    let server = serve(content, good);
    let (folder, layout) = empty();
    let image = pull(&server, &layout, ":1").unwrap();
    let manifest = Digest::of(docker.as_bytes());
    assert_eq!(layout.image(&manifest).unwrap(), image);
    let index = fs_err::read_to_string(folder.path().join("index.json")).unwrap();
    assert!(
        index.contains("application/vnd.docker.distribution.manifest.v2+json"),
        "{index}"
    );
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let (mut content, _, layer) = content();
    let path = content
        .keys()
        .find(|path| path.contains("/blobs/") && !path.contains(&layer.hex()))
        .unwrap()
        .clone();
    let config = String::from_utf8(content.remove(&path).unwrap()).unwrap();
    let (before, after) = config.split_once("\"diff_ids\":[\"sha256:").unwrap();
    let forged = format!(
        "{before}\"diff_ids\":[\"sha256:{}{}",
        "0".repeat(64),
        &after[64..]
    );
    let digest = Digest::of(forged.as_bytes());
    let old = path.rsplit('/').next().unwrap();
    let manifest = String::from_utf8(content["v2/env/manifests/1"].clone()).unwrap();
    content.insert(
        "v2/env/manifests/1".to_owned(),
        manifest.replace(old, &digest.to_string()).into_bytes(),
    );
    content.insert(format!("v2/env/blobs/{digest}"), forged.into_bytes());
    let server = serve(content, good);
    let (_folder, layout) = empty();
    let text = refusal(&server, &layout, pull(&server, &layout, ":1"));
    assert!(
        text.contains(&format!("instead of sha256:{}", "0".repeat(64))),
        "{text}"
    );
}

#[test]
fn what_is_no_manifest_is_refused() {
    for text in ["", "{}", "[]", "<html>", r#"{"schemaVersion":1}"#] {
        let mut content = Content::new();
        content.insert("v2/env/manifests/1".to_owned(), text.as_bytes().to_vec());
        let server = serve(content, good);
        let (_folder, layout) = empty();
        assert!(pull(&server, &layout, ":1").is_err(), "{text}");
        assert_eq!(layout.images().unwrap(), []);
    }
}
