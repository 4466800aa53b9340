//! Metalinks and mirror lists.

use pristine::digest::Digest;

use super::trial::Trial;
use crate::support::http::Answer;
use crate::support::packages::package;

const METALINK: &str = "packages = [\"apple\"]\n[[repository]]\nname = \"main\"\nmetalink = \"SERVER/metalink?repo=main-$basearch\"\nKEYRING\n";

/// A metalink about what the repository in `site/FOLDER` has now, older states behind it.
fn metalink(trial: &Trial, mirrors: &[&str], states: &[Vec<u8>]) -> String {
    let version = |bytes: &Vec<u8>| {
        format!(
            "<size>{}</size><verification><hash type=\"md5\">00</hash><hash type=\"sha256\">{}</hash></verification>",
            bytes.len(),
            Digest::of(bytes).hex()
        )
    };
    let (current, older) = states.split_first().unwrap();
    let alternates: Vec<String> = older
        .iter()
        .map(|bytes| format!("<mm0:alternate>{}</mm0:alternate>", version(bytes)))
        .collect();
    let alternates = alternates.concat();
    let urls: Vec<String> = mirrors
        .iter()
        .zip((1..=100).rev())
        .map(|(mirror, preference)| {
            format!("<url protocol=\"http\" preference=\"{preference}\">{mirror}/repodata/repomd.xml</url>")
        })
        .collect();
    let urls = urls.concat();
    format!(
        "<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" xmlns:mm0=\"http://fedorahosted.org/mirrormanager\"><files>\
         <file name=\"repomd.xml\">{}<mm0:alternates>{alternates}</mm0:alternates><resources>{urls}</resources></file></files></metalink>",
        version(current)
    )
    .replace("SERVER", &trial.server.origin())
}

fn repomd(trial: &Trial, name: &str) -> Vec<u8> {
    fs_err::read(trial.path(&format!("site/{name}/repodata/repomd.xml"))).unwrap()
}

/// Two states of a repository: `old` has apple 1, `new` has apple 2.
fn two_states(trial: &Trial) -> [Vec<u8>; 2] {
    for (name, version) in [("old", "1"), ("new", "2")] {
        let repository = trial.repository(name);
        repository.add(&mut package("apple", version));
        repository.publish();
    }
    [repomd(trial, "new"), repomd(trial, "old")]
}

#[test]
fn mirrors_that_lag_behind_are_passed_over() {
    let trial = Trial::new();
    let states = two_states(&trial);
    let mirrors = ["SERVER/gone", "SERVER/old", "SERVER/new"];
    trial.publish("metalink", metalink(&trial, &mirrors, &states));
    let template = trial.template("", METALINK);
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(solved.names(), "apple-2-1.noarch");
    assert_eq!(solved.repositories[0].repomd, Digest::of(&states[0]));
    // What belongs to it comes from the mirror that has it, without asking the others once more.
    assert_eq!(trial.asked("gone/repodata/repomd.xml.asc"), 0);
    assert_eq!(trial.asked("old/repodata/repomd.xml.asc"), 0);
    assert_eq!(trial.asked("new/repodata/repomd.xml.asc"), 1);
    assert_eq!(trial.asked("metalink?repo=main-x86_64"), 1);
}

#[test]
fn an_older_state_that_the_metalink_names_will_do() {
    let trial = Trial::new();
    let states = two_states(&trial);
    trial.publish("metalink", metalink(&trial, &["SERVER/old"], &states));
    let template = trial.template("", METALINK);
    assert_eq!(
        trial.solve(&template, None).unwrap().names(),
        "apple-1-1.noarch"
    );
    trial.publish("metalink", metalink(&trial, &["SERVER/old"], &states[..1]));
    let error = trial.solve(&template, None).unwrap_err();
    let text = trial.message(&error);
    assert!(text.contains("repodata/repomd.xml of main"), "{text}");
    assert!(text.contains("expected"), "{text}");
}

#[test]
fn the_lock_does_not_change_with_the_mirrors_and_builds_ask_for_them_anew() {
    let trial = Trial::new();
    let states = two_states(&trial);
    trial.publish("metalink", metalink(&trial, &["SERVER/new"], &states));
    let template = trial.template("", METALINK);
    let solved = trial.solve(&template, None).unwrap();
    fs_err::rename(trial.path("site/new"), trial.path("site/moved")).unwrap();
    trial.publish(
        "metalink",
        metalink(&trial, &["SERVER/gone", "SERVER/moved"], &states),
    );
    assert_eq!(
        trial.solve(&template, None).unwrap().repositories,
        solved.repositories
    );
    let before = trial.asked("metalink?repo=main-x86_64");
    trial.fetch(&template, &solved).unwrap();
    assert_eq!(trial.asked("metalink?repo=main-x86_64"), before + 1);
    assert_eq!(trial.asked("moved/apple-2-1.noarch.rpm"), 1);
    // With everything in the store nobody is asked at all.
    let before = trial.server.requests().len();
    trial.fetch(&template, &solved).unwrap();
    assert_eq!(trial.server.requests().len(), before);
}

#[test]
fn mirror_lists_are_read_with_their_variables() {
    let trial = Trial::new();
    two_states(&trial);
    let list = format!("# a comment\n\n{}/gone\n/$wanted/\n", trial.server.origin());
    trial.publish("lists/mirror.list", list);
    let tables = "packages = [\"apple\"]\n[variables]\nwanted = \"new\"\n[[repository]]\nname = \"main\"\n\
                  mirrorlist = \"SERVER/lists/mirror.list\"\nKEYRING\n";
    let template = trial.template("", tables);
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(solved.names(), "apple-2-1.noarch");
    trial.fetch(&template, &solved).unwrap();
    trial.answer(
        "lists/mirror.list",
        Answer::whole(b"<html>Please sign in</html>"),
    );
    let error = trial.solve(&template, None).unwrap_err();
    insta::assert_snapshot!(trial.message(&error), @"the repository `main` cannot be read: `mirror list of main` is damaged or not repository metadata: it names no http or https mirror; it begins with `<html>Please sign in</html>`");
}

#[test]
fn a_repository_may_be_left_out_with_a_warning() {
    let trial = Trial::new();
    two_states(&trial);
    let tables = "packages = [\"apple\"]\n[[repository]]\nname = \"main\"\nbaseurl = [\"SERVER/old\"]\nKEYRING\n\
                  [[repository]]\nname = \"extras\"\nbaseurl = [\"SERVER/none\"]\nskip_if_unavailable = true\nKEYRING\n";
    let template = trial.template("", tables);
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(solved.left_out, ["extras"]);
    assert_eq!(solved.repositories.len(), 1);
    let warnings = trial.warnings();
    assert!(
        warnings[0].starts_with("the repository `extras` is left out: "),
        "{warnings:?}"
    );
    // What is there and is not what it should be is never passed over.
    trial.answer("none/repodata/repomd.xml", Answer::whole(b"<repomd/>"));
    assert!(trial.solve(&template, None).is_err());
}
