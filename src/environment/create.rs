//! The environment from nothing: tools root, target root, one rpm transaction, normalised, digested.

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::backend::{Backend, BackendError, Command, Exit, Io, Mount, RootId, Stream};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::environment::ahead::Ahead;
use crate::environment::turns::Turns;
use crate::rpm::database::normalise_header_stream;
use crate::rpm::{Nevra, RpmError};
use crate::store::Store;
use crate::tree::Normalise;

/// Where the target root stands while the tools root's rpm fills it.
const TARGET: &str = "/target";
/// Where the packages are visible meanwhile.
const PACKAGES: &str = "/packages";
/// rpm's database of the transaction itself, where that tells the time; its content is imported into the
/// real one and it is removed.
const ASIDE: &str = "/var/lib/rpm.transaction";
/// From this version on rpm's install times count up from `SOURCE_DATE_EPOCH`, and its database is the same each time.
/// (rpm 4.18 and 4.19 know the variable too, and go the other way, which they also can.)
const DATED: &str = "4.20";
/// Begins the ids of tools roots.
pub const TOOLS: &str = "tools-";

/// A package in the store, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingredient {
    /// Its full name.
    pub nevra: Nevra,
    /// Its SHA-256.
    pub sha256: Digest,
    /// The verified file in the store.
    pub path: PathBuf,
}

/// What an environment is made of.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// An empty folder in the store's file system, for the transaction alone.
    pub stage: &'a Path,
    /// What the tools root is made of: the closure of `rpm`.
    pub tools: &'a [Ingredient],
    /// What is installed, in transaction order.
    pub packages: &'a [Ingredient],
    /// What is made the same in every tree.
    pub normalise: Normalise,
    /// Where streams are spooled, and hints kept.
    pub store: &'a Store,
}

/// Why an environment could not be made.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// The sandbox or a tree.
    #[error("cannot {doing}")]
    Backend {
        /// To read after "cannot".
        doing: &'static str,
        /// Its cause.
        #[source]
        source: BackendError,
    },
    /// rpm refused.
    #[error("the distribution's rpm could not {doing} ({exit}):\n{}", .output.trim_end())]
    Rpm {
        /// To read after "could not".
        doing: &'static str,
        /// How it ended.
        exit: Exit,
        /// What it said last.
        output: String,
    },
    /// The rpm of the base refused, or there is none.
    #[error("the base's own rpm could not {doing} ({exit}):\n{}", .output.trim_end())]
    BaseRpm {
        /// To read after "could not".
        doing: &'static str,
        /// How it ended.
        exit: Exit,
        /// What it said last.
        output: String,
    },
    /// A root archive.
    #[error("cannot read the root archive `{path}`")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// The exported headers cannot be read.
    #[error("cannot read the package database that rpm exported")]
    Headers {
        /// Its cause.
        #[from]
        source: RpmError,
    },
    /// A file in the store's temporary folder.
    #[error("cannot spool in `{folder}`")]
    Spool {
        /// The folder.
        folder: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// A recipe's command failed.
    #[error("the recipe's {step} failed ({exit}):\n{}", .output.trim_end())]
    Recipe {
        /// Which command.
        step: String,
        /// How it ended.
        exit: Exit,
        /// What it said last.
        output: String,
    },
    /// An image could not be kept or read.
    #[error(transparent)]
    Image(#[from] crate::oci::OciError),
    /// A layer is not what its digest says.
    #[error("a layer of the snapshot is damaged")]
    Layer {
        /// What is wrong.
        source: std::io::Error,
    },
    /// A file that the recipe names.
    #[error("cannot read `{path}`, which the recipe copies")]
    RecipeFile {
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
}

impl EnvironmentError {
    pub(super) fn backend(doing: &'static str) -> impl FnOnce(BackendError) -> Self {
        move |source| Self::Backend { doing, source }
    }
}

/// The id of the tools root of packages with these digests.
pub fn tools_root_id(packages: impl IntoIterator<Item = Digest>) -> RootId {
    let digests: Vec<String> = packages.into_iter().map(|digest| digest.hex()).collect();
    let digest = Digest::of(digests.join("\n").as_bytes());
    RootId(format!("{TOOLS}{}", digest.hex()))
}

/// Makes (or finds) a root of these packages' payloads, without scriptlets: good for running their
/// programs, not for anything that scriptlets set up.
pub fn tools_root(
    backend: &dyn Backend,
    packages: &[Ingredient],
) -> Result<RootId, EnvironmentError> {
    let id = tools_root_id(packages.iter().map(|package| package.sha256));
    let failed = || EnvironmentError::backend("unpack the tools root");
    if !backend.has(&id).map_err(failed())? {
        let scratch = backend.scratch_id();
        let paths: Vec<PathBuf> = packages
            .iter()
            .map(|package| package.path.clone())
            .collect();
        backend.unpack(&scratch, &paths).map_err(failed())?;
        backend.rename(&scratch, &id).map_err(failed())?;
    }
    Ok(id)
}

/// Installs the packages into a new root, in one transaction, by their own rpm. The root has a
/// scratch id and is not normalised yet.
pub fn install(
    backend: &dyn Backend,
    ingredients: &Ingredients<'_>,
    cancel: &Cancel,
) -> Result<RootId, EnvironmentError> {
    let tools = tools_root(backend, ingredients.tools)?;
    let target = backend.scratch_id();
    backend
        .import(&target, &mut std::io::empty())
        .map_err(EnvironmentError::backend("make the target root"))?;
    let mut rpm = Rpm {
        clone: backend
            .open(&[tools])
            .map_err(EnvironmentError::backend("open the tools root"))?,
        ingredients,
        target: &target,
        cancel,
    };
    let filled = rpm.fill();
    rpm.clone.destroy().map_err(EnvironmentError::backend(
        "remove the clone of the tools root",
    ))?;
    if let Err(error) = filled {
        backend
            .remove(&target)
            .map_err(EnvironmentError::backend("remove the target root"))?;
        return Err(error);
    }
    Ok(target)
}

/// The tools root's rpm at work on the target root.
struct Rpm<'a> {
    clone: Box<dyn crate::backend::Clone>,
    ingredients: &'a Ingredients<'a>,
    target: &'a RootId,
    cancel: &'a Cancel,
}

impl Rpm<'_> {
    fn command(&self, argv: Vec<String>) -> Command {
        let mut command = Command::new(argv);
        command.mounts = vec![
            Mount::Root {
                root: self.target.clone(),
                target: TARGET.to_owned(),
            },
            Mount::Host {
                source: self.ingredients.stage.to_owned(),
                target: PACKAGES.to_owned(),
            },
        ];
        command.inner_root = Some(TARGET.to_owned());
        // Honoured by rpm 4.20 and newer, and by shadow's tools in scriptlets.
        let epoch = self.ingredients.normalise.epoch.to_string();
        command.env.insert("SOURCE_DATE_EPOCH".to_owned(), epoch);
        // The tree is digested as a whole afterwards: a crash before that leaves nothing that is used.
        command.skip_sync = true;
        command
    }

    fn run(
        &mut self,
        doing: &'static str,
        argv: Vec<String>,
        stdin: Option<&mut (dyn Read + Send)>,
        mut stdout: Option<&mut dyn Write>,
    ) -> Result<(), EnvironmentError> {
        let command = self.command(argv);
        let mut said = Vec::new();
        let mut broken = None;
        let mut take = |stream: Stream, bytes: &[u8]| match (&mut stdout, stream) {
            (Some(writer), Stream::Out) if broken.is_none() => {
                broken = writer.write_all(bytes).err();
            }
            (Some(_), Stream::Out) => {}
            _ => keep_end(&mut said, bytes),
        };
        // A cast is a place where the trait object's lifetime may shrink.
        let stdin = stdin.map(|input| input as &mut (dyn Read + Send));
        let io = Io {
            stdin,
            output: &mut take,
            cancel: self.cancel,
        };
        let exit = self
            .clone
            .run(&command, io)
            .map_err(EnvironmentError::backend("run the distribution's rpm"))?;
        if let Some(source) = broken {
            return Err(self.spool_error(source));
        }
        let output = String::from_utf8_lossy(&said).into_owned();
        if exit.success() {
            tracing::debug!(doing, output, "rpm");
            return Ok(());
        }
        Err(EnvironmentError::Rpm {
            doing,
            exit,
            output,
        })
    }

    fn spool_error(&self, source: std::io::Error) -> EnvironmentError {
        EnvironmentError::Spool {
            folder: self.ingredients.store.temporary_folder(),
            source,
        }
    }

    /// Installs the packages, so that the database is the same each time.
    fn fill(&mut self) -> Result<(), EnvironmentError> {
        if dates_its_database(self.ingredients.tools) {
            return self.transaction(&[]);
        }
        self.transaction(&["--dbpath", ASIDE])?;
        self.import_database()
    }

    /// Digests and signatures are checked before; rpm need not check them again, nor write to disk in order.
    fn transaction(&mut self, database: &[&str]) -> Result<(), EnvironmentError> {
        let mut argv: Vec<String> = ["rpm", "--root", TARGET, "--install"]
            .into_iter()
            .chain(database.iter().copied())
            .chain([
                "--nosignature",
                "--nodigest",
                "--nofiledigest",
                "--noplugins",
            ])
            // The kernel's file systems are mounted there; rpm leaves alone what is named here.
            .chain(["--define", "_netsharedpath /proc:/dev"])
            .map(str::to_owned)
            .collect();
        let Ingredients {
            stage,
            packages,
            store,
            tools,
            ..
        } = *self.ingredients;
        let tools = tools_root_id(tools.iter().map(|package| package.sha256));
        let turns = Turns::of(store, &tools.0, packages);
        let ahead =
            Ahead::new(stage, packages, turns).map_err(|source| EnvironmentError::Spool {
                folder: stage.to_owned(),
                source,
            })?;
        argv.extend(ahead.names().map(|name| format!("{PACKAGES}/{name}")));
        ahead.during(|| self.run("install the packages", argv, None, None))
    }

    /// Writes the database anew from its headers, with fixed install times.
    fn import_database(&mut self) -> Result<(), EnvironmentError> {
        let folder = self.ingredients.store.temporary_folder();
        let spool = || tempfile::tempfile_in(&folder);
        let (mut exported, mut fixed) = match (spool(), spool()) {
            (Ok(exported), Ok(fixed)) => (exported, fixed),
            (Err(source), _) | (_, Err(source)) => return Err(self.spool_error(source)),
        };
        let argv = |tail: &[&str]| {
            ["rpmdb", "--root", TARGET]
                .iter()
                .chain(tail)
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let export = argv(&["--dbpath", ASIDE, "--exportdb"]);
        self.run("export its database", export, None, Some(&mut exported))?;
        exported
            .rewind()
            .map_err(|source| self.spool_error(source))?;
        let epoch = u32::try_from(self.ingredients.normalise.epoch).unwrap_or(0);
        normalise_header_stream(
            &mut std::io::BufReader::new(&mut exported),
            &mut fixed,
            epoch,
        )?;
        fixed.rewind().map_err(|source| self.spool_error(source))?;
        self.run(
            "import its database",
            argv(&["--importdb"]),
            Some(&mut fixed),
            None,
        )
    }
}

/// Whether the tools root's rpm takes install times from `SOURCE_DATE_EPOCH`.
fn dates_its_database(tools: &[Ingredient]) -> bool {
    let mut rpms = tools.iter().filter(|tool| tool.nevra.name == "rpm");
    rpms.any(|rpm| rpm.nevra.compare_version(DATED).is_ge())
}

/// Keeps the last 16 KiB of what a command says.
pub(super) fn keep_end(said: &mut Vec<u8>, bytes: &[u8]) {
    const MOST: usize = 16 << 10;
    said.extend_from_slice(bytes);
    if said.len() > MOST {
        said.drain(..said.len() - MOST);
    }
}
