//! What an environment begins with, out of a template's text.

use serde::Deserialize;
use toml::Spanned;

use super::Base;
use super::read::Context;
use crate::digest::Digest;
use crate::documents::error::DocumentError;
use crate::documents::values::ImageName;

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table (`{ url = \"…\", sha256 = \"…\" }`)"
)]
pub(super) struct RawRootfs {
    url: Spanned<String>,
    sha256: Digest,
}

impl Context<'_> {
    /// The base of a template that has `image`, `rootfs`, or neither.
    pub(super) fn base(
        &self,
        image: Option<ImageName>,
        rootfs: Option<Spanned<RawRootfs>>,
    ) -> Result<Option<Base>, DocumentError> {
        match (image, rootfs) {
            (None, None) => Ok(None),
            (Some(name), None) => Ok(Some(Base::Image(name))),
            (None, Some(rootfs)) => {
                let RawRootfs { url, sha256 } = rootfs.into_inner();
                let url = self.url(&url)?;
                Ok(Some(Base::Rootfs { url, sha256 }))
            }
            (Some(_), Some(rootfs)) => Err(self
                .source
                .error(rootfs.span(), "both `image` and `rootfs`")
                .note("an environment begins with one of them: leave the other out")),
        }
    }
}
