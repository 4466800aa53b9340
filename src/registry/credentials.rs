//! Where other tools keep what logs in to registries: the files of Docker and Podman, and their helpers.

use std::io;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;

use super::RegistryError;
use crate::documents::ImageName;

/// Files that may hold credentials, first match first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The files; those that do not exist are passed over.
    pub files: Vec<PathBuf>,
}

/// What was found for one registry.
pub(super) struct Found {
    pub(super) auth: RegistryAuth,
    /// What to say where the registry refuses.
    pub(super) origin: String,
}

impl CredentialFiles {
    /// The files of the user who runs this, in the order in which Podman looks: `REGISTRY_AUTH_FILE` alone where it is
    /// set, else `containers/auth.json` in `XDG_RUNTIME_DIR` and in the configuration folder, then Docker's
    /// `config.json` in `DOCKER_CONFIG` or `~/.docker`.
    pub fn of_user() -> Self {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Self { files: vec![file] };
        }
        let home = |folder: &str| variable("HOME").map(|home| home.join(folder));
        let podman = [
            variable("XDG_RUNTIME_DIR"),
            variable("XDG_CONFIG_HOME").or_else(|| home(".config")),
        ];
        let docker = variable("DOCKER_CONFIG").or_else(|| home(".docker"));
        let podman = podman.into_iter().flatten();
        Self {
            files: podman
                .map(|folder| folder.join("containers/auth.json"))
                .chain(docker.map(|folder| folder.join("config.json")))
                .collect(),
        }
    }

    /// The credentials of the image's registry, none where no file has any.
    pub(super) fn find(&self, name: &ImageName) -> Result<Found, RegistryError> {
        for file in &self.files {
            let text = match fs_err::read(file) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unusable(file, error)),
            };
            if let Some(auth) = in_file(&text, name, file)? {
                return Ok(Found {
                    auth,
                    origin: format!("the credentials in `{}` were refused", file.display()),
                });
            }
        }
        let files: Vec<String> = self
            .files
            .iter()
            .map(|file| format!("`{}`", file.display()))
            .collect();
        Ok(Found {
            auth: RegistryAuth::Anonymous,
            origin: match files.as_slice() {
                [] => "there is no file to look for credentials in".to_owned(),
                files => format!("no credentials for it in {}", files.join(", ")),
            },
        })
    }
}

fn unusable(file: &Path, why: impl std::fmt::Display) -> RegistryError {
    RegistryError::Credentials {
        file: file.to_owned(),
        why: why.to_string(),
    }
}

/// What one file has for the image's registry.
fn in_file(
    text: &[u8],
    name: &ImageName,
    file: &Path,
) -> Result<Option<RegistryAuth>, RegistryError> {
    let document: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| unusable(file, error))?;
    match get_credential_from_reader(text, &key(&document, name)) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(RegistryAuth::Basic(user, password)))
        }
        Ok(DockerCredential::IdentityToken(_)) => Err(unusable(
            file,
            format!(
                "it has an identity token for `{}`, which cannot be used here: log in with a password or an access token",
                name.registry()
            ),
        )),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // The helpers' way to say that they have none.
        Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
            if [&stdout, &stderr]
                .iter()
                .any(|said| said.contains("credentials not found")) =>
        {
            Ok(None)
        }
        Err(CredentialRetrievalError::HelperFailure {
            helper,
            stdout,
            stderr,
        }) => {
            let said = format!("{stderr} {stdout}");
            Err(unusable(
                file,
                format!("its helper `{helper}` failed: {}", said.trim()),
            ))
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => Err(unusable(
            file,
            "the helper that it names for this registry cannot be run",
        )),
        Err(error) => Err(unusable(file, error)),
    }
}

/// Under which key the file has the image: Podman knows keys for parts of a registry, the longest of which counts.
fn key(document: &serde_json::Value, name: &ImageName) -> String {
    let reference = name.reference();
    let mut keys = Vec::new();
    let mut path = format!("{}/{}", reference.registry(), reference.repository());
    while let Some(end) = path.rfind('/') {
        keys.push(path.clone());
        path.truncate(end);
    }
    keys.push(path);
    let hub = (reference.registry() == "docker.io").then_some("https://index.docker.io/v1/");
    keys.extend(hub.map(str::to_owned));
    let known = |key: &String| {
        ["auths", "credHelpers"]
            .iter()
            .any(|table| document[table].get(key).is_some())
    };
    let fallback = hub.unwrap_or(reference.registry()).to_owned();
    keys.into_iter().find(known).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, image: &str) -> Result<Option<RegistryAuth>, RegistryError> {
        in_file(
            file.as_bytes(),
            &image.parse().unwrap(),
            Path::new("auth.json"),
        )
    }

    fn user(file: &str, image: &str) -> Option<String> {
        found(file, image).unwrap().map(|auth| match auth {
            RegistryAuth::Basic(user, password) => format!("{user}:{password}"),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_longest_key_counts() {
        // `a:1`, `b:2` and `c:3`.
        let file = r#"{ "auths": {
            "r.example": { "auth": "YTox" },
            "r.example/team": { "auth": "Yjoy" },
            "https://index.docker.io/v1/": { "auth": "Yzoz" } } }"#;
        for (image, expected) in [
            ("r.example/base:9", Some("a:1")),
            ("r.example/team/base:9", Some("b:2")),
            ("r.example/team/deep/base:9", Some("b:2")),
            ("r.example/teams/base:9", Some("a:1")),
            ("docker.io/library/base:9", Some("c:3")),
            ("other.example/base:9", None),
        ] {
            assert_eq!(user(file, image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let token = r#"{ "auths": { "r.example": { "identitytoken": "x" } } }"#;
        let helper = r#"{ "credHelpers": { "r.example": "there-is-none-of-that-name" } }"#;
        let wrong = ["{", token, helper].map(|file| {
            let error = found(file, "r.example/base:9").unwrap_err();
            error.to_string()
        });
        insta::assert_snapshot!(wrong.join("\n"), @"
        cannot use the credentials in `auth.json`: EOF while parsing an object at line 1 column 1
        cannot use the credentials in `auth.json`: it has an identity token for `r.example`, which cannot be used here: log in with a password or an access token
        cannot use the credentials in `auth.json`: the helper that it names for this registry cannot be run
        ");
    }

    #[test]
    fn files_that_are_missing_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["none.json", "auth.json"].map(|name| folder.path().join(name));
        fs_err::write(
            &files[1],
            r#"{ "auths": { "r.example": { "auth": "YTox" } } }"#,
        )
        .unwrap();
        let files = CredentialFiles {
            files: files.to_vec(),
        };
        let found = files.find(&"r.example/base:9".parse().unwrap()).unwrap();
        assert_eq!(
            found.auth,
            RegistryAuth::Basic("a".to_owned(), "1".to_owned())
        );
        let none = CredentialFiles::default();
        let found = none.find(&"r.example/base:9".parse().unwrap()).unwrap();
        assert_eq!(found.auth, RegistryAuth::Anonymous);
    }
}
