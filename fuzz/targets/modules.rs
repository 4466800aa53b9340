//! Streams of modules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pristine::repository::Modules;

fuzz_target!(|bytes: &[u8]| {
    drop(Modules::parse(bytes, "modules.yaml"));
});
