//! A package, up to its payload.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use pristine::rpm::read_package;

fuzz_target!(|bytes: &[u8]| {
    drop(read_package(file::with(bytes)));
});
