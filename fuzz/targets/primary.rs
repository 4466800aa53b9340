//! The packages of a repository.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use pristine::repository::read_primary;

fuzz_target!(|bytes: &[u8]| {
    drop(read_primary(file::with(bytes), "primary.xml", drop));
});
