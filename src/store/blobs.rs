//! Blobs: files named by the SHA-256 of what they hold.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::num::NonZero;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tempfile::TempPath;

use super::error::doing;
use super::{Store, StoreError, make_folder};
use crate::digest::{Digest, HashingWriter};

/// Bytes read or written at once.
const CHUNK: usize = 256 << 10;

/// A blob that is being written; it has no digest, and nobody sees it, before [`BlobWriter::commit`].
///
/// Dropping it removes it. A failed write's `io::Error` holds a [`StoreError`] that names the folder.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    path: TempPath,
    writer: BufWriter<HashingWriter<File>>,
    needed: Option<u64>,
}

impl BlobWriter {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.writer
            .write_all(bytes)
            .map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> StoreError {
        StoreError::from_write(self.store.root(), &self.path, self.needed, error)
    }

    /// Syncs the blob and gives it its name. Returns its digest and length.
    ///
    /// Where `expected` is given and the content has another digest, nothing is kept.
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let ((), digest, length) = self.end(expected, Store::adopt)?;
        Ok((digest, length))
    }

    fn end<T>(
        mut self,
        expected: Option<&Digest>,
        keep: impl FnOnce(&Store, File, TempPath, &Digest) -> Result<T, StoreError>,
    ) -> Result<(T, Digest, u64), StoreError> {
        self.writer
            .flush()
            .map_err(|error| self.write_error(error))?;
        let (hashing, _no_bytes_left) = self.writer.into_parts();
        let length = hashing.length();
        let (file, actual) = hashing.finish();
        if let Some(&expected) = expected.filter(|&&expected| expected != actual) {
            return Err(StoreError::Mismatch { expected, actual });
        }
        let kept = keep(&self.store, file, self.path, &actual)?;
        Ok((kept, actual, length))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A blob that was written just now: its content was hashed on its way, it has its name, and is not synced yet.
///
/// What is lost with the machine's power before [`Arrived::sync`] has a wrong length or a wrong digest afterwards, and is
/// fetched again.
#[derive(Debug)]
#[must_use = "it is not synced"]
pub struct Arrived {
    store: Store,
    digest: Digest,
    file: File,
    path: PathBuf,
    /// The folder that has its folder, where that is new.
    above: Option<PathBuf>,
}

impl Arrived {
    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Has it on the disk. Where that fails, the blob is removed.
    pub fn sync(self) -> Result<(), StoreError> {
        match self.file.sync_all() {
            Ok(()) => self.sync_name(),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// The same of one whose content is there.
    fn sync_name(self) -> Result<(), StoreError> {
        let sync = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all());
        let above = self.above.as_deref().map_or(Ok(()), sync);
        let folder = self.path.parent().unwrap_or(self.store.root());
        above
            .and_then(|()| sync(folder))
            .map_err(|error| self.lost(error))
    }

    fn lost(&self, error: io::Error) -> StoreError {
        remove_exactly(&self.file, &self.path);
        StoreError::from_write(self.store.root(), &self.path, None, error)
    }
}

impl Store {
    /// Where the blob of this digest is or would be.
    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs_folder().join(&hex[..2]).join(hex)
    }

    /// The blob's file, where the store has one. Its content is **not** checked:
    /// whoever uses it asks for it with [`Store::verified`].
    pub fn blob(&self, digest: &Digest) -> Option<PathBuf> {
        if let Err(error) = self.pin_content(&[*digest]) {
            tracing::warn!(%error, %digest, "a collection may remove what is used");
        }
        let path = self.blob_path(digest);
        path.is_file().then_some(path)
    }

    /// The blob's file, hashed just now. A damaged blob is removed, so that it is fetched again.
    pub fn verified(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        self.pin_content(&[*digest])?;
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::Missing {
                    digest: *digest,
                    root: self.root().to_owned(),
                });
            }
            Err(error) => return Err(doing("open", &path)(error)),
        };
        let hashed = Digest::of_reader(&mut BufReader::with_capacity(CHUNK, &file));
        let (actual, _length) = hashed.map_err(doing("read", &path))?;
        if actual == *digest {
            return Ok(path);
        }
        let removed = remove_exactly(&file, &path);
        Err(StoreError::Damaged {
            digest: *digest,
            path,
            actual,
            removed,
        })
    }

    /// The blobs' files in the order of `digests`, hashed just now on `threads` threads.
    /// The error tells of every blob that is missing or damaged, not only of the first.
    pub fn verify_many(
        &self,
        digests: &[Digest],
        threads: NonZero<usize>,
    ) -> Result<Vec<PathBuf>, StoreError> {
        self.pin_content(digests)?;
        let length = |digest: &Digest| {
            std::fs::metadata(self.blob_path(digest)).map_or(0, |metadata| metadata.len())
        };
        let mut order: Vec<(u64, usize)> = digests.iter().map(length).zip(0..).collect();
        // The longest first: else the last thread may start it when all others are done.
        order.sort_unstable_by(|one, other| other.cmp(one));
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(digests.len()));
        std::thread::scope(|scope| {
            for _ in 0..threads.get().min(digests.len()) {
                scope.spawn(|| {
                    while let Some(&(_, index)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.verified(&digests[index]);
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_unstable_by_key(|(index, _)| *index);
        let (paths, mut faults): (Vec<_>, Vec<_>) = results
            .into_iter()
            .map(|(_, result)| result)
            .partition(Result::is_ok);
        match (faults.len(), faults.pop()) {
            (0, _) | (_, None) => Ok(paths.into_iter().flatten().collect()),
            (1, Some(fault)) => fault.map(|_| Vec::new()),
            (_, Some(last)) => Err(StoreError::Unusable {
                faults: faults
                    .into_iter()
                    .chain([last])
                    .filter_map(Result::err)
                    .collect(),
            }),
        }
    }

    /// A new blob to write to. `needed` is its length where known, for the message of a full disk.
    pub fn writer(&self, needed: Option<u64>) -> Result<BlobWriter, StoreError> {
        let (file, path) = self.temporary_file(needed)?.into_parts();
        Ok(BlobWriter {
            store: self.clone(),
            path,
            writer: BufWriter::with_capacity(CHUNK, HashingWriter::new(file)),
            needed,
        })
    }

    /// Stores all that `reader` gives. Nothing is kept where it does not have the digest and
    /// length expected; reading stops as soon as there is more than `expected_length`.
    pub fn insert(
        &self,
        reader: impl Read,
        expected: Option<&Digest>,
        expected_length: Option<u64>,
    ) -> Result<Digest, StoreError> {
        let blob = self.filled(reader, expected_length)?;
        blob.commit(expected).map(|(digest, _)| digest)
    }

    /// The same, to be used before it is on the disk.
    pub fn insert_ahead(
        &self,
        reader: impl Read,
        expected: Option<&Digest>,
        expected_length: Option<u64>,
    ) -> Result<Arrived, StoreError> {
        let blob = self.filled(reader, expected_length)?;
        blob.end(expected, Self::place).map(|(arrived, ..)| arrived)
    }

    fn filled(
        &self,
        mut reader: impl Read,
        expected_length: Option<u64>,
    ) -> Result<BlobWriter, StoreError> {
        let mut blob = self.writer(expected_length)?;
        let mut chunk = vec![0; CHUNK];
        let mut actual = 0;
        loop {
            let count = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Source(error)),
            };
            actual += count as u64;
            if let Some(expected) = expected_length.filter(|&expected| actual > expected) {
                return Err(StoreError::Length { expected, actual });
            }
            blob.put(&chunk[..count])?;
        }
        if let Some(expected) = expected_length.filter(|&expected| actual < expected) {
            return Err(StoreError::Length { expected, actual });
        }
        Ok(blob)
    }

    /// Stores the content of the file at `path`.
    pub fn insert_file(
        &self,
        path: &Path,
        expected: Option<&Digest>,
    ) -> Result<Digest, StoreError> {
        let file = File::open(path).map_err(doing("open", path))?;
        let length = file.metadata().map_err(doing("inspect", path))?.len();
        self.insert(file, expected, expected.map(|_| length))
    }

    /// Makes a finished file in `tmp/` the blob of `digest`, which its content has; it has its name once it is on the disk.
    /// What was there under that name is replaced: it is the same, or it was damaged.
    pub(super) fn adopt(
        &self,
        file: File,
        path: TempPath,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let synced = file.sync_all();
        synced.map_err(|error| StoreError::from_write(self.root(), &path, None, error))?;
        self.place(file, path, digest)?.sync_name()
    }

    /// The same before it is on the disk.
    pub(super) fn place(
        &self,
        file: File,
        path: TempPath,
        digest: &Digest,
    ) -> Result<Arrived, StoreError> {
        self.pin_content(&[*digest])?;
        let target = self.blob_path(digest);
        let folder = target.parent().unwrap_or(self.root());
        let failed = |error| StoreError::from_write(self.root(), &target, None, error);
        file.set_permissions(PermissionsExt::from_mode(0o644))
            .map_err(failed)?;
        let mut above = None;
        if !folder.is_dir() {
            make_folder(folder, false).map_err(failed)?;
            above = folder.parent().map(Path::to_owned);
        }
        path.persist(&target).map_err(|error| failed(error.error))?;
        Ok(Arrived {
            store: self.clone(),
            digest: *digest,
            file,
            path: target,
            above,
        })
    }
}

/// Removes the file at `path` if it still is `file`: another process may have mended it.
fn remove_exactly(file: &File, path: &Path) -> bool {
    let (Ok(seen), Ok(now)) = (file.metadata(), std::fs::symlink_metadata(path)) else {
        return false;
    };
    (seen.dev(), seen.ino()) == (now.dev(), now.ino()) && std::fs::remove_file(path).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    fn threads() -> NonZero<usize> {
        NonZero::new(2).unwrap()
    }

    fn overwrite(path: &Path, bytes: &[u8]) {
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    fn shown(store: &Store, error: &StoreError) -> String {
        error
            .to_string()
            .replace(&*store.root().to_string_lossy(), "STORE")
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (_folder, store) = store();
        let digest = store.insert(&b"abc"[..], None, None).unwrap();
        assert_eq!(digest, Digest::of(b"abc"));
        let path = store.verified(&digest).unwrap();
        assert_eq!(store.blob(&digest), Some(path.clone()));
        assert_eq!(fs_err::read(&path).unwrap(), b"abc");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        assert_eq!(
            path.parent().unwrap().metadata().unwrap().mode() & 0o7777,
            0o755
        );
        assert_eq!(store.temporary_folder().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_arrived_is_there_before_it_is_synced() {
        let (_folder, store) = store();
        let (digest, other) = (Digest::of(b"abc"), Digest::of(b"abd"));
        let refused = store.insert_ahead(&b"abc"[..], Some(&other), None);
        assert!(matches!(refused, Err(StoreError::Mismatch { .. })));
        let arrived = store.insert_ahead(&b"abc"[..], Some(&digest), None);
        let arrived = arrived.unwrap();
        assert_eq!(*arrived.digest(), digest);
        let path = store.verified(&digest).unwrap();
        arrived.sync().unwrap();
        assert_eq!(fs_err::read(path).unwrap(), b"abc");
        assert_eq!(store.blob(&other), None);
        assert_eq!(store.temporary_folder().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_as_promised_leaves_nothing() {
        let (_folder, store) = store();
        let of = Digest::of;
        let cases = [
            store.insert(&b"abc"[..], Some(&of(b"abd")), None),
            store.insert(&b"abc"[..], Some(&of(b"abc")), Some(2)),
            store.insert(&b"abc"[..], Some(&of(b"abc")), Some(4)),
            store.insert(io::repeat(0), None, Some(1 << 20)),
        ];
        let messages = cases.map(|case| case.unwrap_err().to_string());
        insta::assert_snapshot!(messages.join("\n"), @"
        the content has sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, expected sha256:a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9
        the content is longer than the 2 bytes expected
        the content ends after 3 bytes, expected 4
        the content is longer than the 1048576 bytes expected
        ");
        assert_eq!(store.blob(&of(b"abc")), None);
        assert_eq!(store.temporary_folder().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_blob_is_reported_and_removed() {
        let (_folder, store) = store();
        let digest = store.insert(&b"abc"[..], None, None).unwrap();
        overwrite(&store.blob(&digest).unwrap(), b"abd");
        insta::assert_snapshot!(shown(&store, &store.verified(&digest).unwrap_err()), @"`STORE/blobs/sha256/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad` was damaged: its content has sha256:a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9; it was removed, and is fetched or made again");
        insta::assert_snapshot!(shown(&store, &store.verified(&digest).unwrap_err()), @"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad is not in the store `STORE`");
    }

    #[test]
    fn storing_again_mends_a_damaged_blob() {
        let (_folder, store) = store();
        let digest = store.insert(&b"abc"[..], None, None).unwrap();
        overwrite(&store.blob(&digest).unwrap(), b"abd");
        store.insert(&b"abc"[..], None, None).unwrap();
        store.verified(&digest).unwrap();
    }

    #[test]
    fn every_fault_of_many_is_told() {
        let (_folder, store) = store();
        let digests: Vec<Digest> = (0..40_u8)
            .map(|byte| {
                store
                    .insert(&vec![byte; usize::from(byte)][..], None, None)
                    .unwrap()
            })
            .collect();
        let paths = store.verify_many(&digests, threads()).unwrap();
        assert_eq!(
            paths,
            digests
                .iter()
                .map(|digest| store.blob_path(digest))
                .collect::<Vec<_>>()
        );
        overwrite(&paths[7], b"damage");
        std::fs::remove_file(&paths[30]).unwrap();
        insta::assert_snapshot!(shown(&store, &store.verify_many(&digests, threads()).unwrap_err()), @"
        2 blobs cannot be used
          `STORE/blobs/sha256/c0/c00efe33c067b26684902028a1ff7e6e10b155e351a86e7e3fc1b36c5301eb87` was damaged: its content has sha256:6f5a5c61ccdbd8ff2a620d28c86c721feda2dcc809d23b29e1983af5cc50bd85; it was removed, and is fetched or made again
          sha256:f084488d6820b7aee9ab42faa3b71ba03edd87862fe4f4f683f82db3bcc426a7 is not in the store `STORE`
        ");
        insta::assert_snapshot!(shown(&store, &store.verify_many(&digests[..20], threads()).unwrap_err()), @"sha256:c00efe33c067b26684902028a1ff7e6e10b155e351a86e7e3fc1b36c5301eb87 is not in the store `STORE`");
        assert_eq!(
            store.verify_many(&[], threads()).unwrap(),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn many_threads_may_store_the_same() {
        let (_folder, store) = store();
        let content = vec![7; 3 << 20];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| store.insert(&content[..], None, None).unwrap());
            }
        });
        store.verified(&Digest::of(&content)).unwrap();
        assert_eq!(store.temporary_folder().read_dir().unwrap().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_writer_stores_what_was_written(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5000), 0..9)) {
            let (_folder, store) = store();
            let mut writer = store.writer(None).unwrap();
            for piece in &pieces {
                writer.write_all(piece).unwrap();
            }
            let content = pieces.concat();
            let (digest, length) = writer.commit(None).unwrap();
            prop_assert_eq!(digest, Digest::of(&content));
            prop_assert_eq!(length, content.len() as u64);
            prop_assert_eq!(fs_err::read(store.verified(&digest).unwrap()).unwrap(), content);
        }
    }
}
