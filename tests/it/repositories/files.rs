//! `.repo` files used as they are.

use pristine::documents::Template;

use super::trial::Trial;
use crate::support::packages::{Key, package};

fn trial() -> Trial {
    let trial = Trial::new();
    for (name, version) in [("main", "1"), ("updates", "2"), ("off", "3")] {
        let repository = trial.repository(name);
        repository.add(&mut package("apple", version));
        repository.publish();
    }
    let file = "[base]\nname=Base\nbaseurl=SERVER/nowhere\n  SERVER/$tree/\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=SERVER/keys\n\n\
                [updates]\nmirrorlist=SERVER/list\ngpgkey=SERVER/keys\n\n[off]\nbaseurl=SERVER/off\nenabled=0\n"
        .replace("SERVER", &trial.server.origin());
    fs_err::write(trial.path("main.repo"), file).unwrap();
    trial.publish("list", format!("{}/updates/\n", trial.server.origin()));
    // Two keys in one file, as distributions that change theirs have it.
    trial.publish(
        "keys",
        format!("{}\n{}", Key::new(9).armored(), Key::new(7).armored()),
    );
    trial
}

fn template(trial: &Trial, keys: &str) -> Template {
    let top = format!(
        "packages = [\"apple\"]\nrepo_files = [\"main.repo\"]\nkeys = [{keys}]\n[variables]\ntree = \"main\"\n"
    );
    trial.template(&top, "")
}

#[test]
fn what_is_missing_may_be_in_a_repository_that_is_not_enabled() {
    let trial = trial();
    let key = "keys = [{ fingerprint = \"FP\" }]";
    let top = format!(
        "packages = [\"apple >= 3\"]\nrepo_files = [\"main.repo\"]\n{key}\n[variables]\ntree = \"main\"\n"
    );
    let error = trial.solve(&trial.template(&top, ""), None).unwrap_err();
    insta::assert_snapshot!(trial.message(&error), @"
    the trial cannot be installed together:
    templates/base.toml:3 asks for `apple >= 3`, but no package provides it (there is only apple-2-1.noarch, apple-1-1.noarch; not looked into: off, which main.repo does not enable)
    ");
}

#[test]
fn keys_are_pinned_in_the_template() {
    let trial = trial();
    let template = template(&trial, "{ fingerprint = \"FP\" }");
    let solved = trial.solve(&template, None).unwrap();
    assert_eq!(solved.names(), "apple-2-1.noarch");
    let names: Vec<&str> = solved
        .repositories
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["base", "updates"]);
    assert!(solved.repositories[0].key.is_some());
    trial.fetch(&template, &solved).unwrap();
    // The same key out of a file of the project's own.
    fs_err::write(trial.path("own.asc"), Key::new(7).armored()).unwrap();
    fs_err::remove_file(trial.path("site/keys")).unwrap();
    let own = super::files::template(&trial, "{ fingerprint = \"FP\", file = \"own.asc\" }");
    assert_eq!(trial.solve(&own, None).unwrap().names(), "apple-2-1.noarch");
}

#[test]
fn keys_that_are_not_pinned_are_named() {
    let trial = trial();
    let error = trial.solve(&template(&trial, ""), None).unwrap_err();
    insta::assert_snapshot!(trial.message(&error), @"no key of the repository `base` is pinned by its template; SERVER/keys has 839E3E619B9C3F99DB4790D103B26C9E9B76342D (Test <test@example.org>), SERVER/keys has 342C25FD3FE71DF8FDCA402B8DFC5FCE41028CD5 (Test <test@example.org>)");
    let stranger = "{ fingerprint = \"21CB256AE16FC54C6E652949702D426D350D275D\" }";
    let error = trial.solve(&template(&trial, stranger), None).unwrap_err();
    assert!(
        trial
            .message(&error)
            .starts_with("no key of the repository `base` is pinned")
    );
    // The other key of the file is trusted, and has not signed this.
    let other = format!("{{ fingerprint = \"{}\" }}", Key::new(9).fingerprint());
    let error = trial.solve(&template(&trial, &other), None).unwrap_err();
    insta::assert_snapshot!(trial.message(&error), @"`repomd.xml of the repository base` is not trusted: it is signed by the key 342C25FD3FE71DF8FDCA402B8DFC5FCE41028CD5, which is not trusted here (trusted: 839E3E619B9C3F99DB4790D103B26C9E9B76342D)");
}
