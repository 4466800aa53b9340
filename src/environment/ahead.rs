//! Packages made ready for rpm, on processors that it leaves idle while it installs others.
//!
//! rpm decompresses and installs on one thread. It opens each package by name when its turn
//! comes, so a package may until then be replaced, in one step, by one with the same
//! headers and a payload that is decompressed already. Whichever rpm finds, it installs the same.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::environment::create::Ingredient;
use crate::environment::turns::{Turns, Watch};
use crate::tree::payload::write_plain;

/// Smaller packages stay as they are: to make a file costs more than to decompress so little.
const SMALLEST: u64 = 32 << 10;
/// So do larger ones: the space that this takes has a bound.
const LARGEST: u64 = 64 << 20;
/// Bytes of packages, as published, that are made ready at most.
const MOST: u64 = 512 << 20;
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

    /// Does `work` and meanwhile makes packages ready; when it is done, the rest is left as it is,
    /// and the folder is emptied: at once, so that what was made is mostly never written to disk.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let idle = thread::available_parallelism().map_or(0, |all| all.get() - 1);
        let progress = Progress::default();
        let order = self.turns.order();
        let watch = Watch::on(self.folder);
        let result = thread::scope(|scope| {
            for _ in 0..idle {
                scope.spawn(|| self.make_ready(&order, &progress));
            }
            let result = work();
            progress.done.store(true, Ordering::Relaxed);
            result
        });
        match watch {
            Ok(watch) => self.turns.keep(&self.places(&watch.last_opened())),
            Err(error) => tracing::debug!(%error, "the order of a transaction is not seen"),
        }
        self.clear();
        result
    }

    /// The packages' places by their file names; of other files nothing.
    fn places(&self, files: &[String]) -> Vec<usize> {
        let places: BTreeMap<String, usize> = self.names().zip(0..).collect();
        files
            .iter()
            .filter_map(|file| places.get(file).copied())
            .collect()
    }

    /// Empties the folder, as far as that is possible: its owner removes it anyway.
    fn clear(&self) {
        for name in self.names() {
            if let Err(error) = fs_err::remove_file(self.folder.join(name)) {
                tracing::debug!(%error, "not removed yet");
            }
        }
    }

    fn make_ready(&self, order: &[usize], progress: &Progress) {
        while !progress.done.load(Ordering::Relaxed) {
            let Some(&at) = order.get(progress.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let package = &self.packages[at];
            if let Err(error) = self.replace(at, &package.path, progress) {
                // A full disk, most likely: rpm has the package as it was.
                tracing::debug!(%error, package = %package.nevra, "not made ready");
                return;
            }
        }
    }

    fn replace(&self, at: usize, package: &Path, progress: &Progress) -> io::Result<()> {
        let input = fs_err::File::open(package)?;
        let length = input.metadata()?.len();
        if !(SMALLEST..=LARGEST).contains(&length)
            || progress.taken.fetch_add(length, Ordering::Relaxed) > MOST
        {
            return Ok(());
        }
        let new = tempfile::NamedTempFile::new_in(self.folder)?;
        let mut output = BufWriter::with_capacity(1 << 20, new);
        if write_plain(input, &mut output)? {
            output.flush()?;
            let new = output
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            new.as_file()
                .set_permissions(Permissions::from_mode(READABLE))?;
            put(new, &self.folder.join(name(at)))?;
        }
        Ok(())
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

/// How far all threads together are.
#[derive(Debug, Default)]
struct Progress {
    next: AtomicUsize,
    taken: AtomicU64,
    done: AtomicBool,
}

/// Long on purpose: rpm 6.1 loses file names of up to 15 bytes between reading and installing ("open of … failed").
fn name(at: usize) -> String {
    format!("package-{at:05}.rpm")
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

    #[test]
    fn packages_are_replaced_in_the_stage_and_nowhere_else() {
        let (store, stage) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Without a pattern, so that it is as large when it is packed.
        let mut random = 1_u64;
        let noise = std::iter::repeat_with(|| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            random.to_be_bytes()[0]
        });
        let content: Vec<u8> = noise.take(1 << 20).collect();
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
        ahead.during(|| {
            let limit = Instant::now() + Duration::from_mins(1);
            let alone = thread::available_parallelism().unwrap().get() == 1;
            while !alone && Digest::of(&read("package-00000.rpm")) == packages[0].sha256 {
                assert!(Instant::now() < limit, "it was not replaced");
                thread::yield_now();
            }
            for (package, name) in packages.iter().zip(&names).skip(1) {
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
        assert_eq!(left, 0);
    }
}
