//! What a repository publishes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pristine::repository::Repomd;

fuzz_target!(|bytes: &[u8]| {
    drop(Repomd::parse(bytes, "repomd.xml"));
});
