//! A list of mirrors, and what they must have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pristine::repository::Metalink;

fuzz_target!(|bytes: &[u8]| {
    let from = "https://from.example/x";
    drop(Metalink::parse(bytes, from, "metalink.xml"));
});
