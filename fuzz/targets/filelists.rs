//! The files of a repository's packages.
#![no_main]

mod file;

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use pristine::repository::find_files;

fuzz_target!(|bytes: &[u8]| {
    let wanted = BTreeSet::from(["/usr/bin/first".to_owned()]);
    drop(find_files(file::with(bytes), "filelists.xml", &wanted));
});
