//! A small RPM distribution, made from Debian packages.
//!
//! [`generate`] downloads some Debian packages with all they need, turns each into a real RPM, and writes a signed
//! rpm-md repository of them: with it, all that works on RPM distributions can be tried and tested where only a Debian
//! mirror can be reached. No tool of the host is used.
//!
//! Invariants:
//! - nothing is used that the signed index of the suite does not name with its SHA-256;
//! - the same Debian packages give the same repository, byte for byte;
//! - a reader of the repository sees the old one or the new one, whole.
//!
//! The signing key is public, secret half included: see [`FINGERPRINT`].

mod adjust;
mod closure;
mod convert;
mod deb;
mod error;
mod fetch;
mod header;
mod index;
mod key;
mod meta;
mod mirror;
mod packages;
mod provides;
mod relation;
mod release;
mod repository;
mod rules;
mod sources;
mod tree;
mod universe;
mod version;
mod workers;

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

pub use error::MinidistroError;
pub use mirror::{FALLBACK, of_host};
pub use packages::{Suite, default_packages};
pub use sources::Source;

use crate::adjust::Context;
use crate::convert::Converter;
use crate::fetch::{Fetcher, Wanted};
use crate::index::{Binary, Index};
use crate::key::SigningKey;
use crate::release::Release;
use crate::workers::Workers;

/// Fingerprint of the key that signs packages and metadata, 40 lower-case hexadecimal digits.
///
/// The key is derived from a text in the source, so everybody has its secret half: its signatures show that
/// signatures are checked, and nothing about who made a package.
pub const FINGERPRINT: &str = "757d6b99e52d84149f60c0f858ea10df30515592";

/// The index of all packages, below the suite's folder.
const PACKAGES: &str = "main/binary-amd64/Packages.xz";

/// Downloads that run at the same time.
const DOWNLOADS: usize = 8;
/// Conversions that run at the same time: each holds one compressed payload in memory.
const CONVERSIONS: usize = 2;

/// What to generate, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Debian suite.
    pub suite: Suite,
    /// The root of a Debian archive (`http://…/debian`). `None`: the one that the host's apt uses, else [`FALLBACK`].
    pub mirror: Option<String>,
    /// Wanted packages; what they need comes with them.
    pub packages: Vec<String>,
    /// The repository. RPMs of an earlier run are used again where they would come out the same.
    pub output: PathBuf,
    /// Where downloads are kept, named by their SHA-256.
    pub downloads: PathBuf,
    /// Debian source packages whose upstream tarballs are wanted too: found in the index, not downloaded.
    pub sources: Vec<String>,
}

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// It is known what is needed.
    Planned {
        /// Number of packages.
        packages: usize,
        /// Size of the Debian packages together, bytes.
        bytes: u64,
    },
    /// A Debian package is there.
    Downloaded {
        /// Its name.
        name: String,
        /// Its size, bytes.
        bytes: u64,
    },
    /// Its RPM is there.
    Converted {
        /// Its name.
        name: String,
        /// Whether an earlier run had made it.
        reused: bool,
    },
}

/// What was generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of RPMs.
    pub packages: usize,
    /// Size of the RPMs together, bytes.
    pub bytes: u64,
    /// SHA-256 of `repodata/repomd.xml`, hexadecimal.
    pub repomd_sha256: String,
    /// Fingerprint of the signing key, hexadecimal.
    pub fingerprint: String,
    /// The upstream tarballs of [`Options::sources`], in the same order.
    pub sources: Vec<Source>,
}

/// Generates the repository, with the public key in the file `RPM-GPG-KEY-minidistro` beside `repodata`.
///
/// See [`MinidistroError`] for what can go wrong; the repository of an earlier run then still stands. While another
/// process generates into the same folder, this one waits.
pub async fn generate(
    options: &Options,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Summary, MinidistroError> {
    let output = options.output.clone();
    let _lock = blocking(move || repository::claim(&output)).await?;
    let archive = Archive::open(options).await?;
    let plan = archive.plan(options).await?;
    let sources = archive.sources(&options.sources).await?;
    progress(Progress::Planned {
        packages: plan.len(),
        bytes: plan.iter().map(|binary| binary.size).sum(),
    });

    let key = SigningKey::derive()?;
    let converter = Arc::new(Converter {
        output: options.output.clone(),
        context: Context::of(options.suite, &plan),
        signer: key.package_signer()?,
    });
    let workers = Workers::start(&converter, CONVERSIONS);
    let metas = meta::packages(&plan);
    let jobs = plan
        .into_iter()
        .map(|binary| archive.convert(binary, &workers, progress));
    let mut locations: Vec<String> = futures_util::stream::iter(jobs)
        .buffer_unordered(DOWNLOADS)
        .try_collect()
        .await?;
    for meta in metas {
        let converter = converter.clone();
        locations.push(blocking(move || converter.gather(&meta)).await?.location);
    }
    locations.sort();

    let output = options.output.clone();
    let (packages, fingerprint) = (locations.len(), key.fingerprint());
    let (repomd_sha256, bytes) =
        blocking(move || repository::write(&output, &locations, &key)).await?;
    Ok(Summary {
        packages,
        bytes,
        repomd_sha256,
        fingerprint,
        sources,
    })
}

/// Writes metadata of all packages of the suite, some 60,000, into the output folder: a universe for solvers as large
/// as any distribution's. They have no packages and no signature. Gives their number.
pub async fn universe(options: &Options) -> Result<usize, MinidistroError> {
    let archive = Archive::open(options).await?;
    let (path, suite) = (archive.index(PACKAGES).await?, options.suite);
    let output = options.output.clone();
    blocking(move || {
        let mut text = String::new();
        let file = fs_err::File::open(&path).map_err(MinidistroError::file(&path))?;
        let read = liblzma::read::XzDecoder::new(file).read_to_string(&mut text);
        read.map_err(MinidistroError::file(&path))?;
        fs_err::create_dir_all(&output).map_err(MinidistroError::file(&output))?;
        universe::write(&text, &output).map_err(|reason| MinidistroError::Index {
            what: format!("{}/{PACKAGES}", suite.codename()),
            reason,
        })
    })
    .await
}

/// The public half of the signing key, in ASCII armor. See [`FINGERPRINT`].
pub fn signing_key_armored() -> Result<String, MinidistroError> {
    SigningKey::derive()?.armored()
}

/// A Debian archive whose release file is verified.
struct Archive {
    fetcher: Fetcher,
    root: String,
    suite: Suite,
    release: Release,
}

impl Archive {
    async fn open(options: &Options) -> Result<Self, MinidistroError> {
        let fetcher = Fetcher::new(&options.downloads)?;
        let root = options
            .mirror
            .clone()
            .or_else(|| of_host(Path::new("/etc/apt")))
            .unwrap_or_else(|| FALLBACK.to_owned());
        let root = root.trim_end_matches('/').to_owned();
        let codename = options.suite.codename();
        let url = format!("{root}/dists/{codename}/InRelease");
        let text = fetcher.text(&url).await?;
        let release = blocking(move || Release::verify(&text, &url, codename)).await?;
        Ok(Self {
            fetcher,
            root,
            suite: options.suite,
            release,
        })
    }

    /// An index file, by its digest in the release file.
    async fn index(&self, file: &str) -> Result<PathBuf, MinidistroError> {
        let dist = format!("{}/dists/{}", self.root, self.suite.codename());
        let unknown = || MinidistroError::Index {
            what: format!("{dist}/InRelease"),
            reason: format!("it does not name {file}"),
        };
        let sha256 = self.release.sha256(file).ok_or_else(unknown)?.to_owned();
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        // By digest: the plain name changes its content while a mirror is updated.
        self.fetcher
            .file(&Wanted {
                url: format!("{dist}/{folder}/by-hash/SHA256/{sha256}"),
                sha256,
            })
            .await
    }

    async fn plan(&self, options: &Options) -> Result<Vec<Binary>, MinidistroError> {
        let file = PACKAGES;
        let (path, roots, suite) = (
            self.index(file).await?,
            options.packages.clone(),
            self.suite,
        );
        // Growing such a text while it is read would take twice the memory. The size is only a hint.
        let size = self
            .release
            .size(file.trim_end_matches(".xz"))
            .min(256 << 20);
        blocking(move || {
            let unreadable = |reason| MinidistroError::Index {
                what: format!("{}/{file}", suite.codename()),
                reason,
            };
            let file = fs_err::File::open(&path).map_err(MinidistroError::file(&path))?;
            let mut text = String::with_capacity(size);
            let read = liblzma::read::XzDecoder::new(file).read_to_string(&mut text);
            read.map_err(MinidistroError::file(&path))?;
            let index = Index::read(&text).map_err(unreadable)?;
            closure::closure(&index, &roots, suite.codename())
        })
        .await
    }

    async fn sources(&self, wanted: &[String]) -> Result<Vec<Source>, MinidistroError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let file = "main/source/Sources.xz";
        let (path, wanted, root) = (self.index(file).await?, wanted.to_vec(), self.root.clone());
        let suite = self.suite.codename();
        blocking(move || {
            let packages = fs_err::File::open(&path).map_err(MinidistroError::file(&path))?;
            let packages = BufReader::new(liblzma::read::XzDecoder::new(packages));
            sources::find(packages, &wanted, &root, suite)
        })
        .await
    }

    async fn convert(
        &self,
        binary: Binary,
        workers: &Workers,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<String, MinidistroError> {
        let wanted = Wanted {
            url: format!("{}/{}", self.root, binary.filename),
            sha256: binary.sha256.clone(),
        };
        let deb = self.fetcher.file(&wanted).await?;
        let name = binary.name.clone();
        progress(Progress::Downloaded {
            name: name.clone(),
            bytes: binary.size,
        });
        let converted = workers.convert(binary, deb).await?;
        progress(Progress::Converted {
            name,
            reused: converted.reused,
        });
        Ok(converted.location)
    }
}

/// Work that reads, hashes or compresses, off the threads that wait for the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MinidistroError> + Send + 'static,
) -> Result<T, MinidistroError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
