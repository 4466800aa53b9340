//! A base that others made, an image or a root archive: the packages in it, and more packages on top of it,
//! installed by its own rpm.

use std::fs::File;
use std::io::{BufReader, Read, Seek as _, Write};
use std::path::Path;

use crate::backend::{Backend, Clone, Command, Io, Mount, RootId, Stream};
use crate::cancel::Cancel;
use crate::environment::create::{EnvironmentError, Ingredient, keep_end};
use crate::oci::{Layer, Layout};
use crate::rpm::database::{InstalledPackage, normalise_header_stream, read_database};

/// Where the packages are visible while they are installed.
const PACKAGES: &str = "/packages";
/// Where the new database is made.
const ASIDE: &str = "/var/lib/rpm.transaction";
/// Puts the new database in the place of the old one, and removes what was needed on the way.
const REPLACE_DATABASE: &str = "db=$(rpm --eval '%{_dbpath}')\n\
    find \"$db/\" -mindepth 1 -delete 2>/dev/null || rm -rf \"$db\"/* \"$db\"/.??*\n\
    rm -f \"$ASIDE\"/.??*\n\
    mv \"$ASIDE\"/* \"$db/\"\n\
    rmdir \"$ASIDE\" \"$PACKAGES\"\n";

/// What packages are added with.
#[derive(Debug, Clone, Copy)]
pub struct Additions<'a> {
    /// The packages, in transaction order.
    pub packages: &'a [Ingredient],
    /// Whether they take the place of others in the base.
    pub replacing: bool,
    /// An empty folder in the store's file system, for the transaction alone.
    pub stage: &'a Path,
    /// Seconds since 1970: the time of the transaction.
    pub epoch: i64,
    /// Where streams are spooled.
    pub spool: &'a Path,
}

/// The layer of a root archive (plain, gzip, xz or zstd), made once.
pub fn layer_of_archive(layout: &Layout, archive: &Path) -> Result<Layer, EnvironmentError> {
    let failed = |source| EnvironmentError::Archive {
        path: archive.to_owned(),
        source,
    };
    let mut reader = decompressed(archive).map_err(failed)?;
    let mut writer = layout.layer_writer()?;
    std::io::copy(&mut reader, &mut writer).map_err(failed)?;
    Ok(writer.finish()?)
}

fn decompressed(archive: &Path) -> std::io::Result<Box<dyn Read>> {
    let mut file = fs_err::File::open(archive)?.into_parts().0;
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(6).read_to_end(&mut magic)?;
    file.rewind()?;
    let input = BufReader::with_capacity(128 << 10, file);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(input))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(input)?),
        _ => Box::new(input),
    })
}

/// The packages in a stack of roots, by their own rpm.
pub fn installed(
    backend: &dyn Backend,
    roots: &[RootId],
    spool: &Path,
    cancel: &Cancel,
) -> Result<Vec<InstalledPackage>, EnvironmentError> {
    let mut rpm = BaseRpm::open(backend, roots, spool, cancel)?;
    let exported = rpm.export()?;
    rpm.close()?;
    let mut packages = read_database(&mut BufReader::new(exported))?;
    packages.sort_by(|a, b| a.facts.cmp(&b.facts));
    Ok(packages)
}

/// Installs packages on top of the base; what that changed is a scratch root, not normalised yet.
pub fn add(
    backend: &dyn Backend,
    roots: &[RootId],
    additions: Additions<'_>,
    cancel: &Cancel,
) -> Result<RootId, EnvironmentError> {
    let mut rpm = BaseRpm::open(backend, roots, additions.spool, cancel)?;
    rpm.transaction(additions)?;
    let mut exported = BufReader::new(rpm.export()?);
    let mut fixed = rpm.spooled()?;
    let epoch = u32::try_from(additions.epoch).unwrap_or(0);
    normalise_header_stream(&mut exported, &mut fixed, epoch)?;
    fixed.rewind().map_err(rpm.spool_error())?;
    let mut import = Command::new(["rpmdb", "--dbpath", ASIDE, "--importdb"]);
    import.skip_sync = true;
    rpm.run("import its database", &import, (Some(&mut fixed), None))?;
    let mut replace = Command::new(["/bin/sh", "-e", "-c", REPLACE_DATABASE]);
    replace.env.insert("ASIDE".to_owned(), ASIDE.to_owned());
    replace
        .env
        .insert("PACKAGES".to_owned(), PACKAGES.to_owned());
    rpm.run("replace its database", &replace, (None, None))?;
    let changed = backend.scratch_id();
    rpm.clone
        .freeze(&changed)
        .map_err(EnvironmentError::backend("keep what was installed"))?;
    Ok(changed)
}

/// A clone of the base, and its rpm at work in it.
struct BaseRpm<'a> {
    clone: Box<dyn Clone>,
    spool: &'a Path,
    cancel: &'a Cancel,
}

/// Standard input and output of a command.
type Ends<'a> = (Option<&'a mut File>, Option<&'a mut File>);

impl<'a> BaseRpm<'a> {
    fn open(
        backend: &dyn Backend,
        roots: &[RootId],
        spool: &'a Path,
        cancel: &'a Cancel,
    ) -> Result<Self, EnvironmentError> {
        let clone = backend
            .open(roots)
            .map_err(EnvironmentError::backend("open the base"))?;
        Ok(Self {
            clone,
            spool,
            cancel,
        })
    }

    fn close(self) -> Result<(), EnvironmentError> {
        self.clone
            .destroy()
            .map_err(EnvironmentError::backend("remove the clone of the base"))
    }

    fn spool_error(&self) -> impl Fn(std::io::Error) -> EnvironmentError + use<> {
        let folder = self.spool.to_owned();
        move |source| EnvironmentError::Spool {
            folder: folder.clone(),
            source,
        }
    }

    fn spooled(&self) -> Result<File, EnvironmentError> {
        tempfile::tempfile_in(self.spool).map_err(self.spool_error())
    }

    /// The database, from its beginning.
    fn export(&mut self) -> Result<File, EnvironmentError> {
        let mut exported = self.spooled()?;
        let command = Command::new(["rpmdb", "--exportdb"]);
        self.run("export its database", &command, (None, Some(&mut exported)))?;
        exported.rewind().map_err(self.spool_error())?;
        Ok(exported)
    }

    /// Digests and signatures are checked before; rpm need not check them again.
    fn transaction(&mut self, additions: Additions<'_>) -> Result<(), EnvironmentError> {
        let failed = self.spool_error();
        let names: Vec<String> = (0..additions.packages.len())
            // Long on purpose: rpm 6.1 loses file names of up to 15 bytes.
            .map(|number| format!("package-{number:05}.rpm"))
            .collect();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(additions.stage, readable).map_err(&failed)?;
        for (name, package) in names.iter().zip(additions.packages) {
            fs_err::hard_link(&package.path, additions.stage.join(name)).map_err(&failed)?;
        }
        let mode: &[&str] = if additions.replacing {
            &["--upgrade", "--oldpackage"]
        } else {
            &["--install"]
        };
        let fixed = [
            "--nosignature",
            "--nodigest",
            "--nofiledigest",
            "--noplugins",
        ];
        let argv = ["rpm"].iter().chain(mode).chain(&fixed);
        // The kernel's file systems are mounted there; rpm leaves alone what is named here.
        let argv = argv.chain(&["--define", "_netsharedpath /proc:/dev:/sys"]);
        let argv = argv.map(|&word| word.to_owned());
        let files = names.iter().map(|name| format!("{PACKAGES}/{name}"));
        let mut command = Command::new(argv.chain(files));
        command.mounts = vec![Mount::Host {
            source: additions.stage.to_owned(),
            target: PACKAGES.to_owned(),
        }];
        // Honoured by rpm 4.20 and newer, and by shadow's tools in scriptlets.
        let epoch = additions.epoch.to_string();
        command.env.insert("SOURCE_DATE_EPOCH".to_owned(), epoch);
        // The layer is digested as a whole afterwards.
        command.skip_sync = true;
        self.run("install the packages", &command, (None, None))
    }

    fn run(
        &mut self,
        doing: &'static str,
        command: &Command,
        (stdin, mut stdout): Ends<'_>,
    ) -> Result<(), EnvironmentError> {
        let (mut said, mut broken) = (Vec::new(), None);
        let mut take = |stream: Stream, bytes: &[u8]| match (&mut stdout, stream) {
            (Some(file), Stream::Out) => {
                broken = broken.take().or_else(|| file.write_all(bytes).err());
            }
            _ => keep_end(&mut said, bytes),
        };
        let io = Io {
            stdin: stdin.map(|input| input as &mut (dyn Read + Send)),
            output: &mut take,
            cancel: self.cancel,
        };
        let exit = self
            .clone
            .run(command, io)
            .map_err(EnvironmentError::backend("run the base's rpm"))?;
        if let Some(source) = broken {
            return Err(self.spool_error()(source));
        }
        if exit.success() {
            return Ok(());
        }
        Err(EnvironmentError::BaseRpm {
            doing,
            exit,
            output: String::from_utf8_lossy(&said).into_owned(),
        })
    }
}
