//! The packages of a repository, by both readers.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use pristine::repository::{read_primary, read_primary_plainly};

fuzz_target!(|bytes: &[u8]| {
    let path = file::with(bytes);
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    let quick = read_primary(path, "primary.xml", |entry| found.push(entry));
    let plain = read_primary_plainly(path, "primary.xml", |entry| expected.push(entry));
    assert_eq!(quick.is_ok(), plain.is_ok());
    if plain.is_ok() {
        assert_eq!(found, expected);
    }
});
