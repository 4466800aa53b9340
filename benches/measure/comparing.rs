//! Two packages held against each other.

use std::path::Path;
use std::time::Instant;

use pristine::compare::{self, Conditions};

use super::seconds;

/// Files of a large package; a third of each cannot be compressed.
const FILES: usize = 100;
const PIECE: usize = 64;

/// Writes `first.rpm` and `twin.rpm`, which are the same, and `other.rpm`, in which one file differs: about `mebibytes` each.
pub(super) fn packages(folder: &Path, mebibytes: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let size = mebibytes * (1 << 20) / FILES;
    let contents: Vec<Vec<u8>> = (0..FILES)
        .map(|_| {
            let mut content = Vec::with_capacity(size);
            while content.len() < size {
                for _ in 0..PIECE / 8 {
                    content.extend(next().to_le_bytes());
                }
            }
            content.truncate(size);
            content
        })
        .collect();
    write(&folder.join("first.rpm"), &contents);
    fs_err::copy(folder.join("first.rpm"), folder.join("twin.rpm")).unwrap();
    let mut changed = contents;
    let middle = size / 2;
    changed[FILES / 2][middle..middle + 24].copy_from_slice(b"built 2026-11-24 19:13 .");
    write(&folder.join("other.rpm"), &changed);
}

fn write(path: &Path, contents: &[Vec<u8>]) {
    let mut builder = rpm::PackageBuilder::new("large", "1", "MIT", "x86_64", "a large package");
    let compression = rpm::CompressionWithLevel::Zstd(1);
    builder.using_config(
        rpm::BuildConfig::v4()
            .source_date(1_600_000_000_u32)
            .compression(compression),
    );
    for (number, content) in contents.iter().enumerate() {
        let options = rpm::FileOptions::new(format!("/usr/share/large/{number:03}"));
        builder
            .with_file_contents(content.as_slice(), options)
            .unwrap();
    }
    builder.build().unwrap().write_file(path).unwrap();
}

/// Compares two package files, once.
pub(super) fn compare(first: &Path, second: &Path) {
    let start = Instant::now();
    let comparison = compare::packages(first, second, &Conditions::default()).unwrap();
    println!(
        "{}",
        serde_json::json!({
            "seconds": seconds(start),
            "verdict": comparison.verdict,
            "differences": comparison.differences.len(),
        })
    );
}
