//! A lock file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pristine::documents::Lock;

fuzz_target!(|bytes: &[u8]| {
    drop(Lock::parse(&String::from_utf8_lossy(bytes)));
});
