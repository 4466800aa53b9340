//! How a snapshot was made: noted when it is made, told by `pristine snapshot show`.

use std::path::Path;
use std::process::{Command, Stdio};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::commands::context::{Documents, Workshop, now};
use crate::digest::Digest;
use crate::documents::Lock;
use crate::error::Failure;
use crate::oci::Origin;

/// Notes how the image of a lock was made here.
pub(super) fn made(
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
    image: &Digest,
) -> Result<(), Failure> {
    let folder = fs_err::canonicalize(&documents.project.directory).ok();
    let git = |arguments: &[&str]| git(&documents.project.directory, arguments);
    let commit = git(&["rev-parse", "HEAD"]);
    let origin = Origin {
        template: Some((
            documents.template.name.to_string(),
            documents.template.digest,
        )),
        recipe: (documents.recipe.as_ref()).map(|recipe| (recipe.name.to_string(), recipe.digest)),
        remote: git(&["remote", "get-url", "origin"])
            .map(|url| without_password(&url))
            .or_else(|| git(&["rev-parse", "--show-toplevel"]))
            .filter(|_| commit.is_some()),
        place: git(&["rev-parse", "--show-prefix"]).unwrap_or_default(),
        changed: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
        commit,
        folder,
        ..here()
    };
    Ok(workshop
        .layout
        .note_origin(image, &origin, Some(&lock.to_text()))?)
}

/// The origin of an image that was brought from `place`.
pub(super) fn brought(place: String) -> Origin {
    Origin {
        brought: Some(place),
        ..here()
    }
}

/// What was done now, by this program.
fn here() -> Origin {
    let made = (OffsetDateTime::UNIX_EPOCH + now()).replace_nanosecond(0);
    Origin {
        made: made
            .ok()
            .and_then(|made| made.format(&Rfc3339).ok())
            .unwrap_or_default(),
        tool: concat!("pristine ", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Origin::default()
    }
}

/// What git says of the project; nothing where there is no git, or no repository.
#[expect(
    clippy::disallowed_methods,
    reason = "asks a program of the host about the user's own files"
)]
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// The commands that make an image again from nothing.
pub(super) fn commands(origin: &Origin, manifest: &Digest, lock: &Digest) -> Vec<String> {
    let mut commands = Vec::new();
    match (&origin.commit, &origin.remote, &origin.folder) {
        (Some(commit), Some(remote), _) => {
            let place = quoted(&format!("again/{}", origin.place));
            let place = place.trim_end_matches('/');
            commands.push(format!("git clone {} again", quoted(remote)));
            commands.push(format!("cd {place} && git checkout --quiet {commit}"));
        }
        (.., Some(folder)) => commands.push(format!("cd {}", quoted(&folder.to_string_lossy()))),
        _ => {}
    }
    commands.push(format!("sha256sum pristine.lock    # {}", lock.hex()));
    commands.push(
        "pristine --store ./again build --locked    # fetches, creates, compares with the lock"
            .to_owned(),
    );
    commands.push(format!(
        "pristine --store ./again snapshot list    # {}",
        manifest.short()
    ));
    commands
}

/// A URL without the password or token that CI systems put into it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') || scheme.starts_with("http") => {
            format!("{scheme}://{host}{path}")
        }
        _ => url.to_owned(),
    }
}

/// A word of a shell command.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@+=,".contains(&byte);
    if word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_noted() {
        for (url, noted) in [
            (
                "https://ci:token@example.org/a.git",
                "https://example.org/a.git",
            ),
            ("https://token@example.org/a@b", "https://example.org/a@b"),
            ("ssh://git@example.org/a.git", "ssh://git@example.org/a.git"),
            ("git@example.org:a.git", "git@example.org:a.git"),
        ] {
            assert_eq!(without_password(url), noted);
        }
    }

    #[test]
    fn the_commands_begin_with_the_commit_or_with_the_folder() {
        let digest = Digest::of(b"1");
        let of_git = Origin {
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            remote: Some("ssh://git@example.org/a b.git".to_owned()),
            place: "rpms/".to_owned(),
            ..Origin::default()
        };
        let of_folder = Origin {
            folder: Some("/srv/it's".into()),
            ..Origin::default()
        };
        let all = [of_git, of_folder].map(|origin| commands(&origin, &digest, &digest).join("\n"));
        insta::assert_snapshot!(all.join("\n"), @r#"
        git clone 'ssh://git@example.org/a b.git' again
        cd again/rpms && git checkout --quiet 0123456789abcdef0123456789abcdef01234567
        sha256sum pristine.lock    # 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
        pristine --store ./again build --locked    # fetches, creates, compares with the lock
        pristine --store ./again snapshot list    # 6b86b273ff34
        cd '/srv/it'\''s'
        sha256sum pristine.lock    # 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b
        pristine --store ./again build --locked    # fetches, creates, compares with the lock
        pristine --store ./again snapshot list    # 6b86b273ff34
        "#);
    }
}
