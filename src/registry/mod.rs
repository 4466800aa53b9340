//! Images in registries: pulled into the store's layout and pushed from it, without a daemon.
//!
//! Invariants: what arrives is kept only with the digest and the size that the manifest names, the manifest only
//! with the digest that was asked for, and the image is listed only when every layer's tar was verified; what is
//! tried again is tried in a fixed order after fixed pauses; credentials go to their own registry and nowhere else.
//! Dropping a future stops its work at once and leaves nothing but whole, verified blobs.

mod credentials;
mod error;
mod progress;
mod pull;
mod push;

use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};

use crate::documents::ImageName;

pub use credentials::CredentialFiles;
pub use error::RegistryError;

use credentials::Found;
use error::passing;

/// How a registry is asked. Proxies come from the environment, trusted CAs from the system (`SSL_CERT_FILE`).
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Tries of each request.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest wait for more bytes.
    pub idle: Duration,
    /// Where credentials are looked for.
    pub credentials: CredentialFiles,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_pause: Duration::from_millis(500),
            connect: Duration::from_secs(20),
            idle: Duration::from_mins(1),
            credentials: CredentialFiles::of_user(),
        }
    }
}

/// A registry, asked for one image.
pub struct Registry {
    client: Client,
    name: ImageName,
    options: RegistryOptions,
    found: Found,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.name.to_string())
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Looks for the credentials of the registry of `name`; nothing is sent yet.
    pub fn open(name: &ImageName, options: RegistryOptions) -> Result<Self, RegistryError> {
        // An error means that the process has a provider already, which does as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let found = options.credentials.find(name)?;
        let config = ClientConfig {
            protocol: if name.plain_http() {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            // One PUT for a blob: what every registry can do.
            use_monolithic_push: true,
            connect_timeout: Some(options.connect),
            read_timeout: Some(options.idle),
            user_agent: concat!("pristine/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|source| RegistryError::Client { source })?;
        Ok(Self {
            client,
            name: name.clone(),
            options,
            found,
        })
    }

    /// Logs in for `operation`, as the registry wants it, and so learns early where that fails.
    async fn log_in(&self, operation: RegistryOperation) -> Result<(), RegistryError> {
        let reference = self.name.reference();
        self.patiently("reach the registry of", || async {
            let done = self.client.auth(reference, &self.found.auth, operation);
            done.await.map(|_token| ())
        })
        .await
    }

    fn auth(&self) -> &RegistryAuth {
        &self.found.auth
    }

    /// Tries until it succeeds, fails for good, or failed too often.
    async fn patiently<T, F>(
        &self,
        doing: &'static str,
        mut work: impl FnMut() -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, oci_client::errors::OciDistributionError>>,
    {
        let mut tries = 1;
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(error) if tries < self.options.attempts && passing(&error) => {
                    tracing::debug!(doing, tries, %error, "a try failed");
                    self.pause(tries).await;
                    tries += 1;
                }
                Err(error) => return Err(self.failed(doing, tries, error)),
            }
        }
    }

    /// Waits after so many failures.
    async fn pause(&self, failures: u32) {
        let factor = 1_u32 << failures.saturating_sub(1).min(10);
        tokio::time::sleep(self.options.first_pause.saturating_mul(factor)).await;
    }
}
