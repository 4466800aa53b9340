//! A lock whose repositories are known by lists of mirrors and whose packages by groups: it holds all that a build needs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pristine::digest::Digest;

use super::project::Project;
use crate::support::http::{Answer, Server};
use crate::support::packages::package;

const COMPS: &[u8] = b"<comps><group><id>orchard</id><name>Fruit</name><packagelist>\
    <packagereq type=\"mandatory\">apple</packagereq><packagereq type=\"optional\">plum</packagereq></packagelist></group></comps>";

fn metalink(repomd: &[u8], mirrors: &[String]) -> String {
    let urls: Vec<String> = mirrors
        .iter()
        .zip((1..=100).rev())
        .map(|(url, preference)| {
            format!("<url preference=\"{preference}\">{url}/repodata/repomd.xml</url>")
        })
        .collect();
    format!(
        "<metalink version=\"3.0\"><files><file name=\"repomd.xml\"><size>{}</size><verification><hash type=\"sha256\">{}</hash>\
         </verification><resources>{}</resources></file></files></metalink>",
        repomd.len(),
        Digest::of(repomd).hex(),
        urls.concat()
    )
}

/// A server of the project's folder, also below `a/`, and of two lists; it has nothing once it is `gone`.
fn serve(project: &Project, gone: &Arc<AtomicBool>, list: &Arc<Mutex<String>>) -> Server {
    let folder = project.path("");
    let (gone, list) = (Arc::clone(gone), Arc::clone(list));
    Server::start(move |request| match request.path.as_str() {
        _ if gone.load(Ordering::SeqCst) => Answer::status(404),
        "metalink" => Answer::whole(list.lock().unwrap().as_bytes()),
        "list" => Answer::whole(b"# mirrors\n./extras/\n"),
        path => fs_err::read(folder.join(path.trim_start_matches("a/")))
            .map_or_else(|_| Answer::status(404), |bytes| Answer::whole(&bytes)),
    })
}

#[test]
fn a_build_needs_neither_the_list_nor_the_mirrors_once_it_has_the_packages() {
    let Some(project) = Project::hello() else {
        return;
    };
    let extras = project.repository("extras");
    for name in ["apple", "plum"] {
        extras.add(&mut package(name, "1"));
    }
    extras.publish();
    extras.attach("group", "comps.xml", COMPS);
    let (gone, list) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let server = serve(&project, &gone, &list);
    let repomd = fs_err::read(project.path("mini/repodata/repomd.xml")).unwrap();
    *list.lock().unwrap() = metalink(&repomd, &[server.url("mini")]);
    let base = "templates/base.toml";
    let (one, other) = (server.url("metalink"), server.url("list"));
    project.edit(
        base,
        "baseurl = [\"./mini\"]",
        &format!("metalink = \"{one}\""),
    );
    project.edit(
        base,
        "baseurl = [\"./extras\"]",
        &format!("mirrorlist = \"{other}\""),
    );
    project.wants("@orchard");
    project.good(&["lock"]);
    let lock = project.read("pristine.lock");
    assert!(lock.contains(&format!("metalink = \"{one}\"\n")), "{lock}");
    assert!(
        lock.contains(&format!("mirrorlist = \"{other}\"\n")),
        "{lock}"
    );
    assert!(
        lock.contains("apple-1-1.noarch") && !lock.contains("plum"),
        "{lock}"
    );
    // Other mirrors on another day make no other lock.
    *list.lock().unwrap() = metalink(&repomd, &[server.url("none"), server.url("a/mini")]);
    project.good(&["lock"]);
    assert_eq!(project.read("pristine.lock"), lock);
    gone.store(true, Ordering::SeqCst);
    project.good(&["build", "--locked"]);
    insta::assert_snapshot!(project.plain(&project.run(&["lock"]).failure()).replace(&server.origin(), "SERVER"), @"
    exit 4: error: cannot fetch metalink of mini
      SERVER/metalink: 404 Not Found
    ");
    project.edit(base, "@orchard", "@orchad");
    gone.store(false, Ordering::SeqCst);
    insta::assert_snapshot!(project.run(&["lock"]).failure(), @"
    exit 2: error: no repository has the group `orchad`
      hint: there is: orchard
    ");
}
