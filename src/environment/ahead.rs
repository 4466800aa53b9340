//! Packages made ready for rpm, on processors that it leaves idle while it installs others.
//!
//! rpm decompresses and installs on one thread. It opens each package by name when its turn
//! comes, so a package may until then be replaced, in one step, by one with the same
//! headers and a payload that is decompressed already. Whichever rpm finds, it installs the same.
//! When rpm has gone on to another package, the published one is put back: what is ready at once
//! has a bound, and its memory serves for what comes next.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::environment::create::Ingredient;
use crate::environment::pace::Pace;
use crate::environment::turns::{Opened, Turns, Watch};
use crate::tree::payload::write_plain;

/// Smaller packages stay as they are: to make a file costs more than to decompress so little.
const SMALLEST: u64 = 32 << 10;
/// So do larger ones: the space that this takes has a bound.
const LARGEST: u64 = 64 << 20;
/// Bytes that are ready at once, where it is known which package is next.
const NEAR: u64 = 64 << 20;
/// The same where it is not, and where nobody sees how far rpm is.
const MOST: u64 = 1 << 30;
/// Inside, rpm is root without a right to files of others.
const READABLE: u32 = 0o644;

/// A folder with the packages of one transaction.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    folder: &'a Path,
    packages: &'a [Ingredient],
    turns: Turns<'a>,
}

impl<'a> Ahead<'a> {
    /// Links verified packages of the store into `folder`, an empty one on the same file system.
    pub(super) fn new(
        folder: &'a Path,
        packages: &'a [Ingredient],
        turns: Turns<'a>,
    ) -> io::Result<Self> {
        fs_err::set_permissions(folder, Permissions::from_mode(0o755))?;
        let ahead = Self {
            folder,
            packages,
            turns,
        };
        for (name, package) in ahead.names().zip(packages) {
            fs_err::hard_link(&package.path, folder.join(name))?;
        }
        Ok(ahead)
    }

    /// The packages' file names, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.packages.len()).map(name)
    }

    /// Does `work` and meanwhile makes packages ready; when it is done, the rest is left as it is. The folder should be
    /// removed soon after.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let idle = thread::available_parallelism().map_or(0, |all| all.get() - 1);
        let known = self.turns.known();
        let unknown = known.is_none();
        let watch = Watch::on(self.folder)
            .inspect_err(|error| tracing::debug!(%error, "how far rpm is, is not seen"))
            .ok();
        let most = if unknown || watch.is_none() {
            MOST
        } else {
            NEAR
        };
        let order = known.unwrap_or_else(|| (0..self.packages.len()).collect());
        let pace = Pace::new(order, most);
        let (result, opened) = thread::scope(|scope| {
            for _ in 0..idle {
                scope.spawn(|| self.make_ready(&pace));
            }
            let watching = watch
                .as_ref()
                .map(|watch| scope.spawn(|| watch.follow(|name| self.opened(name, &pace))));
            // Even where the work panics: the threads would be waited for.
            let end = End(&pace, watch.as_ref());
            let result = work();
            drop(end);
            let opened = watching.and_then(|watching| watching.join().ok());
            (result, opened)
        });
        if let Some(opened) = opened.filter(|_| unknown) {
            self.turns.keep(&self.places(&opened));
        }
        result
    }

    /// The packages' places in the order in which each was opened last; of other files nothing.
    fn places(&self, opened: &Opened) -> Vec<usize> {
        let files = opened.last();
        files
            .into_iter()
            .filter_map(|file| self.place(file))
            .collect()
    }

    /// The place of the package with this file name.
    fn place(&self, file: &str) -> Option<usize> {
        let digits = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let place = digits.parse().ok()?;
        (place < self.packages.len()).then_some(place)
    }

    /// rpm opens a package: the one before is installed.
    fn opened(&self, file: &str, pace: &Pace) {
        let passed = self.place(file).and_then(|place| pace.opened(place));
        if let Some(passed) = passed {
            self.put_back(passed);
        }
    }

    fn make_ready(&self, pace: &Pace) {
        while let Some(at) = pace.next() {
            match self.replace(at, &self.packages[at].path) {
                Ok(bytes) => {
                    if !pace.ready(at, bytes) {
                        self.put_back(at);
                    }
                }
                // A full disk, most likely: rpm has the package as it was.
                Err(error) => {
                    tracing::debug!(%error, package = %self.packages[at].nevra, "not made ready");
                    return;
                }
            }
        }
    }

    /// The size of what stands in the package's place now; 0 where it was left.
    fn replace(&self, at: usize, package: &Path) -> io::Result<u64> {
        let input = fs_err::File::open(package)?;
        if !(SMALLEST..=LARGEST).contains(&input.metadata()?.len()) {
            return Ok(0);
        }
        let new = tempfile::NamedTempFile::new_in(self.folder)?;
        let mut output = BufWriter::with_capacity(1 << 20, new);
        if !write_plain(input, &mut output)? {
            return Ok(0);
        }
        output.flush()?;
        let new = output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        new.as_file()
            .set_permissions(Permissions::from_mode(READABLE))?;
        let bytes = new.as_file().metadata()?.len();
        put(new, &self.folder.join(name(at)))?;
        Ok(bytes)
    }

    /// Puts the published package into its place again.
    fn put_back(&self, at: usize) {
        let place = self.folder.join(name(at));
        let aside = self.folder.join(format!("published-{at:05}"));
        let put = fs_err::hard_link(&self.packages[at].path, &aside)
            .and_then(|()| fs_err::rename(&aside, &place));
        if let Err(error) = put {
            tracing::debug!(%error, "a package that was made ready stays");
        }
    }
}

/// Ends the threads beside the work.
struct End<'a>(&'a Pace, Option<&'a Watch>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
        if let Some(watch) = self.1 {
            watch.end();
        }
    }
}

/// Puts a new file in the place of another, in one step.
///
/// They are exchanged where the file system can do that: what is renamed over another file, ext4 writes to the disk at
/// once, and these files live for a second.
fn put(new: tempfile::NamedTempFile, place: &Path) -> io::Result<()> {
    match renameat_with(CWD, new.path(), CWD, place, RenameFlags::EXCHANGE) {
        // Under the temporary name is now what was there; it is removed.
        Ok(()) => new.close(),
        Err(_) => Ok(new.persist(place).map(drop)?),
    }
}

/// What the packages' file names begin with.
const PREFIX: &str = "package-";
/// And end with.
const SUFFIX: &str = ".rpm";

/// Long on purpose: rpm 6.1 loses file names of up to 15 bytes between reading and installing ("open of … failed").
fn name(at: usize) -> String {
    format!("{PREFIX}{at:05}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::digest::Digest;
    use crate::store::Store;

    /// Two packages as far as this module reads them: lead, two headers, a payload.
    fn package(folder: &Path, name: &str, payload: &[u8]) -> Ingredient {
        let mut bytes = vec![0; 96];
        bytes[..4].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb]);
        for _ in 0..2 {
            bytes.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 8]);
            // One tag, of type INT32, at offset 0, once.
            for word in [1000_u32, 4, 0, 1] {
                bytes.extend(word.to_be_bytes());
            }
            bytes.extend([0; 8]);
        }
        bytes.extend(payload);
        let path = folder.join(name);
        fs_err::write(&path, &bytes).unwrap();
        Ingredient {
            nevra: format!("{name}-1-1.noarch").parse().unwrap(),
            sha256: Digest::of(&bytes),
            path,
        }
    }

    /// Without a pattern, so that it is as large when it is packed.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut random = 1_u64;
        let next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            random.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    #[test]
    fn packages_are_replaced_in_the_stage_until_they_are_passed_and_nowhere_else() {
        let (store, stage) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let content = noise(1 << 20);
        let packed = zstd::encode_all(&content[..], 19).unwrap();
        let packages = [
            package(store.path(), "packed", &packed),
            package(store.path(), "small", &packed[..1000]),
            package(store.path(), "other", &content),
            package(store.path(), "broken", &packed[..packed.len() - 3]),
        ];
        let kept = Store::open(&store.path().join("store")).unwrap();
        let turns = Turns::of(&kept, "tools", &packages);
        let ahead = Ahead::new(stage.path(), &packages, turns).unwrap();
        let read = |name: &str| fs_err::read(stage.path().join(name)).unwrap();
        let names: Vec<String> = ahead.names().collect();
        assert_eq!(
            names,
            [
                "package-00000.rpm",
                "package-00001.rpm",
                "package-00002.rpm",
                "package-00003.rpm"
            ]
        );
        let file = |at: usize| {
            let metadata = fs_err::metadata(stage.path().join(&names[at]));
            std::os::unix::fs::MetadataExt::ino(&metadata.unwrap())
        };
        let published = file(0);
        let limit = Instant::now() + Duration::from_mins(1);
        let until = |what: &str, so: &dyn Fn() -> bool| {
            while !so() {
                assert!(Instant::now() < limit, "{what}");
                thread::yield_now();
            }
        };
        ahead.during(|| {
            for name in &names {
                read(name);
            }
            if thread::available_parallelism().unwrap().get() > 1 {
                until("it is made ready", &|| file(0) != published);
                assert_ne!(Digest::of(&read(&names[0])), packages[0].sha256);
                read(&names[1]);
                until("it was passed", &|| file(0) == published);
            }
            for (package, name) in packages.iter().zip(&names) {
                assert_eq!(Digest::of(&read(name)), package.sha256, "{name}");
            }
        });
        for package in &packages {
            assert_eq!(
                Digest::of(&fs_err::read(&package.path).unwrap()),
                package.sha256
            );
        }
        let left = std::fs::read_dir(stage.path()).unwrap().count();
        assert_eq!(left, packages.len());
    }
}
