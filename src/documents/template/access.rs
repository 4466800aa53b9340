//! How the servers of a repository are reached: the proxy, and the certificates that some ask for.

use std::path::{Path, PathBuf};

use crate::documents::values::{AbsolutePath, RelativePath, Url};

/// How the servers of a repository are reached. Nothing of it stands in the lock: it belongs to the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// The proxy.
    pub proxy: Proxy,
    /// A file of PEM certificates that says who we are, with `key`; a relative path counts from the project's directory.
    pub certificate: Option<PathBuf>,
    /// The file of its private key.
    pub key: Option<PathBuf>,
    /// A file of PEM certificates of authorities that are trusted beside the machine's own.
    pub authority: Option<PathBuf>,
}

impl Access {
    /// The same with paths made absolute: those that are relative count from `directory`.
    #[must_use]
    pub fn below(&self, directory: &Path) -> Self {
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| directory.join(path));
        Self {
            proxy: self.proxy.clone(),
            certificate: absolute(&self.certificate),
            key: absolute(&self.key),
            authority: absolute(&self.authority),
        }
    }
}

/// Which proxy is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proxy {
    /// What the environment says: `http_proxy`, `https_proxy`, `no_proxy`.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one.
    At(String),
}

/// The same as documents write it.
#[derive(Debug, Default)]
pub(super) struct RawAccess {
    pub(super) proxy: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) authority: Option<String>,
}

impl RawAccess {
    /// The access, or what is wrong with it.
    pub(super) fn check(self) -> Result<Access, String> {
        let proxy = match self.proxy.as_deref() {
            None => Proxy::Environment,
            Some("" | "none" | "_none_") => Proxy::Direct,
            Some(text) => {
                let url: Option<Url> = text.parse().ok();
                match url.filter(|url| url.as_str().starts_with("http")) {
                    Some(url) => Proxy::At(url.into()),
                    None => {
                        return Err(format!(
                            "`{text}` is not a proxy: write an `http` or `https` URL without user name, or `none`"
                        ));
                    }
                }
            }
        };
        if self.certificate.is_some() != self.key.is_some() {
            return Err(
                "`sslclientcert` and `sslclientkey` belong together: one of them is missing"
                    .to_owned(),
            );
        }
        Ok(Access {
            proxy,
            certificate: self.certificate.as_deref().map(path).transpose()?,
            key: self.key.as_deref().map(path).transpose()?,
            authority: self.authority.as_deref().map(path).transpose()?,
        })
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    let bare = text.strip_prefix("./").unwrap_or(text);
    if bare.parse::<AbsolutePath>().is_ok() || bare.parse::<RelativePath>().is_ok() {
        return Ok(bare.into());
    }
    Err(format!(
        "`{text}` is not a path: write an absolute one, or one below the project's directory"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Result<Proxy, String> {
        let raw = RawAccess {
            proxy: Some(text.to_owned()),
            ..RawAccess::default()
        };
        raw.check().map(|access| access.proxy)
    }

    #[test]
    fn proxies_are_urls_or_none() {
        assert_eq!(RawAccess::default().check().unwrap(), Access::default());
        assert_eq!(proxy("_none_"), Ok(Proxy::Direct));
        assert_eq!(
            proxy("http://proxy.example:3128"),
            Ok(Proxy::At("http://proxy.example:3128".to_owned()))
        );
        for bad in [
            "proxy.example:3128",
            "file:///x",
            "http://u:p@proxy.example",
            "socks5://x",
        ] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_has_a_key() {
        let access = |certificate: Option<&str>, key: Option<&str>| {
            let raw = RawAccess {
                certificate: certificate.map(str::to_owned),
                key: key.map(str::to_owned),
                ..RawAccess::default()
            };
            raw.check()
        };
        let good = access(
            Some("/etc/pki/entitlement/1.pem"),
            Some("./secret/1-key.pem"),
        )
        .unwrap();
        assert_eq!(good.key, Some("secret/1-key.pem".into()));
        assert!(access(Some("/a.pem"), None).is_err());
        assert!(access(Some("/a.pem"), Some("../b")).is_err());
    }
}
